"""The reference backend: finite differences, and properties of any backend; see also test_reference_torch."""

from dataclasses import replace

import cases
import numpy as np
import pytest
from differences import central_differences
from tables import each_row

from fastrnn.backends import load
from fastrnn.backends.reference import sigmoid
from fastrnn.backends.structs import CellSpec, Inputs, OutputGradients, Plan, StackSpec, Weights

EVERY_CELL = pytest.mark.parametrize("variant", cases.CELLS, ids=cases.name)
EACH_CELL = each_row("variant", cases.CELLS, ids=cases.name)
EVERY_OPTION = pytest.mark.parametrize("options", cases.OPTIONS, ids=cases.name)


def _case(variant, **options):
    sizes = {"T": 4, "B": 3, "I": 2, "H": 3} | options
    return cases.make_case(variant, **sizes)


def _loss(case):
    """Return the scalar that backward differentiates: the sum of each output times its incoming gradient."""
    out = cases.forward("reference", case, keep_tape=False)._asdict()
    pairs = [(out[key], getattr(case, "d" + key)) for key in ("y", "h_n", "c_n", "c") if key in out]
    return sum(float(np.sum(value * np.nan_to_num(grad))) for value, grad in pairs)


@EVERY_OPTION
@EVERY_CELL
def test_gradients_are_finite_differences(variant, options):
    case = _case(variant, **options)
    got = cases.run("reference", case)
    arrays = cases.inputs(case).items()
    wanted = {"d" + key: central_differences(lambda: _loss(case), array, step=1e-5) for key, array in arrays}
    cases.assert_agree({key: got[key] for key in got if key in wanted}, wanted, 1e-8)


@EACH_CELL
def test_missing_gradients_are_zero(variant):
    case = _case(variant, lengths=True)
    for key in ("dy", "dh_n", "dc_n", "dc"):
        if getattr(case, key) is not None:
            absent = cases.run("reference", replace(case, **{key: None}))
            zeros = cases.run("reference", replace(case, **{key: np.zeros_like(getattr(case, key))}))
            cases.assert_agree(absent, zeros, 0)


@EACH_CELL
def test_missing_states_and_biases_are_zero(variant):
    case = _case(variant, bias=False)
    zero_bias = np.zeros(len(case.params.W))
    zeros = replace(case, h0=np.zeros_like(case.h0), params=replace(case.params, b_ih=zero_bias, b_hh=zero_bias))
    case = replace(case, h0=None)
    if case.c0 is not None:
        case, zeros = replace(case, c0=None), replace(zeros, c0=np.zeros_like(case.c0))
    wanted = cases.run("reference", zeros)
    del wanted["db_ih"], wanted["db_hh"]
    cases.assert_agree(cases.run("reference", case), wanted, 0)


@EACH_CELL
def test_ids_are_one_hot_vectors(variant):
    case = _case(variant, T=6, lengths=True, ids=True)
    assert -1 in case.x
    one_hot = np.vstack([np.eye(2), np.zeros(2)])[case.x]
    wanted = cases.run("reference", replace(case, x=one_hot))
    del wanted["dx"]
    cases.assert_agree(cases.run("reference", case), wanted, 1e-14)


@pytest.mark.parametrize("options", [o for o in cases.OPTIONS if o["lengths"]], ids=cases.name)
@EVERY_CELL
def test_each_sequence_is_as_if_alone_and_zeros_come_after_it(variant, options):
    """Neither padding (NaN if possible) nor the place in the batch changes a result."""
    case = _case(variant, **options | {"T": 7, "B": 4, "lengths": [3, 6, 1, 5]})
    batch = cases.run("reference", case)
    total = {}
    for b, n in enumerate(case.lengths):
        names = [key for key in ("x", "h0", "c0", "dy", "dh_n", "dc_n", "dc") if getattr(case, key) is not None]
        alone = {key: _sequence(key, getattr(case, key), b, n) for key in names}
        results = cases.run("reference", replace(case, lengths=None, **alone))
        for key in [key for key in results if key in ("y", "h_n", "c_n", "c", "dx", "dh0", "dc0")]:
            assert cases.relative_error(_sequence(key, batch[key], b, n), results.pop(key)) < 1e-13
        total = {key: total.get(key, 0) + value for key, value in results.items()}
    cases.assert_agree({key: batch[key] for key in total}, total, 1e-13)
    for key in batch.keys() & {"y", "c", "dx"}:
        assert not batch[key][np.arange(7)[:, None] >= case.lengths].any(), key


def _sequence(key, array, b, n):
    """Return sequence b, of length n, of an array [T,B,...] or [B,...] as a batch of one."""
    return np.ascontiguousarray(array[:n, b : b + 1] if key in ("x", "y", "c", "dx", "dy", "dc") else array[b : b + 1])


@EACH_CELL
def test_two_halves_with_the_state_carried_are_the_whole(variant):
    case = _case(variant, T=7)
    whole = cases.forward("reference", case)._asdict()
    first = cases.forward("reference", replace(case, x=case.x[:3]))._asdict()
    rest = replace(case, x=case.x[3:], h0=first["h_n"], c0=first.get("c_n"))
    second = cases.forward("reference", rest)._asdict()
    for key in ("y", "c"):
        if key in whole:
            halves = np.concatenate([first[key], second[key]])
            assert cases.relative_error(halves, whole[key]) < 1e-14
    assert cases.relative_error(second["h_n"], whole["h_n"]) < 1e-14


@EACH_CELL
def test_float32_is_float64_rounded_once(variant):
    case = _case(variant, dtype="float32", lengths=True, reverse=True)
    names = ("x", "h0", "c0", "dy", "dh_n", "dc_n", "dc")
    arrays = {key: getattr(case, key).astype(np.float64) for key in names if getattr(case, key) is not None}
    params = Weights(**{key: array.astype(np.float64) for key, array in case.params.items()})
    double = cases.run("reference", replace(case, params=params, **arrays))
    for key, value in cases.run("reference", case).items():
        assert value.dtype == np.float32, key
        np.testing.assert_array_equal(value, double[key].astype(np.float32), err_msg=key)


@EACH_CELL
def test_backward_adds_leaves_its_inputs_alone_and_uses_up_the_tape(variant):
    case = _case(variant, lengths=True)
    before = {key: array.copy() for key, array in cases.inputs(case).items()}
    tape = cases.forward("reference", case).tape
    once = cases.backward(tape, case)._asdict()
    with pytest.raises(RuntimeError, match="tape has been used"):
        cases.backward(tape, case)
    backend, grads = load("reference"), case.params.zeros_like()
    stack = StackSpec(case.spec, reverse=case.reverse)
    dout = OutputGradients(case.dy, *(None if d is None else d[None] for d in (case.dh_n, case.dc_n)), case.dc)
    inputs = Inputs(case.x, case.h0[None], None if case.c0 is None else case.c0[None], case.lengths)
    for _ in range(2):
        out = backend.forward(backend.prepare(stack, [case.params]), inputs, training=True)
        dx, *_ = backend.backward(out.tape, dout, [grads], need_dx=False)
    assert dx is None
    twice = {"d" + key: array for key, array in grads.items()}
    cases.assert_agree(twice, {key: 2 * once[key] for key in twice}, 1e-15)
    for key, array in cases.inputs(case).items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)


@EACH_CELL
def test_inference_gives_what_training_gives(variant):
    case = _case(variant, lengths=True)
    training, inference = (cases.forward("reference", case, keep_tape=keep)._asdict() for keep in (True, False))
    assert inference.pop("tape") is None
    assert training.pop("tape") is not None
    cases.assert_agree(inference, training, 0)


def test_without_a_reset_gate_reset_after_makes_no_difference():
    after, before = ({"cell": "gru", "reset_gate": False, "reset_after": value} for value in (True, False))
    cases.assert_agree(cases.run("reference", _case(before)), cases.run("reference", _case(after)), 0)


@EACH_CELL
def test_infinities_pass_through_without_a_warning(variant):
    case = _case(variant)
    case.x[1, 1] = np.inf
    case.dy[2, 1] = np.inf
    results = cases.run("reference", case)
    assert not np.isfinite(results["dW"]).all()
    assert np.isfinite(results["y"][:, [0, 2]]).all()
    assert np.isfinite(results["dx"][:, [0, 2]]).all()


def test_sigmoid():
    x = np.array([-np.inf, -1000, -40, -1, 0, 1, 40, 1000, np.inf])
    wanted = [0, 0, np.exp(-40.0), 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1, 1, 1]
    np.testing.assert_allclose(sigmoid(x), wanted, rtol=1e-15)
    assert np.isnan(sigmoid(np.array(np.nan)))


def test_plan():
    assert (
        load("reference").plan(StackSpec(CellSpec("rnn", 2, 3), 2), T=4, B=5) == [Plan("reference", "numpy", "none", 1)] * 2
    )
