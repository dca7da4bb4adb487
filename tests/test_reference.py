"""The reference backend: finite differences, and what must hold of any backend. PyTorch is in test_reference_torch."""

from dataclasses import replace

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
    """The scalar whose gradients backward gives: each output times the gradient that comes into it, summed."""
    out = cases.forward("reference", case, keep_tape=False)._asdict()
    pairs = [(out[key], getattr(case, "d" + key)) for key in ("y", "h_n", "c_n", "c") if key in out]
    return sum(float(np.sum(value * np.nan_to_num(grad))) for value, grad in pairs)


def _central_differences(case, array, step=1e-5):
    """The gradient of _loss with respect to each element of ``array``, one of the case's own."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = _loss(case)
        array[index] = value - step
        gradient[index] = (above - _loss(case)) / (2 * step)
        array[index] = value
    return gradient


@EVERY_OPTION
@EVERY_CELL
def test_gradients_are_finite_differences(variant, options):
    case = _case(variant, **options)
    got = cases.run("reference", case)
    wanted = {"d" + key: _central_differences(case, array) for key, array in cases.inputs(case).items()}
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
def test_nothing_past_the_lengths_is_read(variant, options):
    nan, huge = (_case(variant, **options, padding=value) for value in (np.nan, 1e300))
    if options["ids"]:
        padding = np.arange(len(nan.x))[:, None] >= nan.lengths
        huge.x[padding] = 1 - np.maximum(huge.x[padding], 0)
    got = cases.run("reference", nan)
    cases.assert_agree(got, cases.run("reference", huge), 0)
    for key in got.keys() & {"y", "c", "dx"}:
        assert not got[key][np.arange(len(nan.x))[:, None] >= nan.lengths].any(), key


@EVERY_CELL
@pytest.mark.parametrize("reverse", [False, True])
def test_each_sequence_is_as_if_alone(variant, reverse):
    case = _case(variant, T=6, B=4, lengths=[3, 6, 1, 5], reverse=reverse)
    batch = cases.run("reference", case)
    total = {}
    for b, n in enumerate(case.lengths):
        names = [key for key in ("x", "h0", "c0", "dy", "dh_n", "dc_n", "dc") if getattr(case, key) is not None]
        alone = {key: _sequence(getattr(case, key), b, n) for key in names}
        results = cases.run("reference", replace(case, lengths=None, **alone))
        for key in [key for key in results if key in ("y", "h_n", "c_n", "c", "dx", "dh0", "dc0")]:
            assert cases.relative_error(_sequence(batch[key], b, n), results.pop(key)) < 1e-13
        total = {key: total.get(key, 0) + value for key, value in results.items()}
    cases.assert_agree({key: batch[key] for key in total}, total, 1e-13)


def _sequence(array, b, n):
    """Sequence b, of length n, of an array [T,B,...] or [B,...] as a batch of one."""
    return np.ascontiguousarray(array[:n, b : b + 1] if array.ndim == 3 else array[b : b + 1])


@settings(max_examples=50)
@given(data=st.data())
def test_more_padding_changes_nothing(data):
    T, extra = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    case = _drawn_case(data, T)
    padded = replace(case, lengths=case.lengths if case.lengths is not None else np.full(case.x.shape[1], T))
    for key in ("x", "dy", "dc"):
        if getattr(case, key) is not None:
            array = getattr(case, key)
            more = np.full((extra, *array.shape[1:]), 0 if array.dtype == np.int64 else np.nan, array.dtype)
            padded = replace(padded, **{key: np.concatenate([array, more])})
    got, wanted = cases.run("reference", padded), cases.run("reference", case)
    for key in got.keys() & {"y", "c", "dx"}:
        assert not got[key][T:].any()
        got[key] = got[key][:T]
    cases.assert_agree(got, wanted, 1e-13)


@settings(max_examples=50)
@given(data=st.data())
def test_the_order_of_the_batch_permutes_the_results(data):
    case = _drawn_case(data, data.draw(st.integers(1, 6)))
    order = np.array(data.draw(st.permutations(range(case.x.shape[1]))))

    def permuted(key, array):
        return np.ascontiguousarray(array[:, order] if key in ("x", "y", "c", "dx", "dy", "dc") else array[order])

    names = ("x", "h0", "c0", "lengths", "dy", "dh_n", "dc_n", "dc")
    arrays = {key: getattr(case, key) for key in names if getattr(case, key) is not None}
    got = cases.run("reference", replace(case, **{key: permuted(key, array) for key, array in arrays.items()}))
    wanted = cases.run("reference", case)
    of_the_batch = wanted.keys() & {"y", "h_n", "c_n", "c", "dx", "dh0", "dc0"}
    cases.assert_agree(got, wanted | {key: permuted(key, wanted[key]) for key in of_the_batch}, 1e-13)


def _drawn_case(data, T):
    variant, options = data.draw(st.sampled_from(cases.CELLS)), data.draw(st.sampled_from(cases.OPTIONS))
    return _case(variant, T=T, B=data.draw(st.integers(1, 4)), seed=data.draw(st.integers(0, 1000)), **options)


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
def test_saturated_gates_stay_finite_without_a_warning(variant):
    case = _case(variant, T=2)
    case.x *= 1e5
    for key, value in cases.run("reference", case).items():
        assert np.isfinite(value).all(), key


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
