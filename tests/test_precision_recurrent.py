"""Recurrent layers with products of bfloat16 numbers ("medium"): values, gradients and bits on every instruction set."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cases import CELLS, Case, make_case, name
from medium_products import X, rounded

import fastrnn
from fastrnn import functional
from fastrnn.backends import available
from fastrnn.backends.reference import STEPS, Layer
from fastrnn.backends.structs import CellSpec, StackSpec, Weights

pytestmark = pytest.mark.skipif("c" not in available(), reason="needs the C backend")


class Rounding(np.ndarray):
    """An array whose products, and those of what is computed from it, are those of "medium": both operands are rounded."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        operands = [np.asarray(value, np.float64) for value in inputs]
        if ufunc is np.matmul:
            operands = [rounded(value) for value in operands]
        if "out" in options:
            options["out"] = tuple(np.asarray(array) for array in options["out"])
        return np.asarray(getattr(ufunc, method)(*operands, **options)).view(Rounding)


def reference_layer(case: Case) -> Layer:
    """The reference's layer, whose products round."""
    shapes = case.spec.shapes() | {"peephole": (3 * case.spec.hidden_size,)}
    given = dict(case.params.items())
    arrays = {key: np.asarray(given.get(key, np.zeros(shape)), np.float64) for key, shape in shapes.items()}
    matrices = {key: arrays[key].view(Rounding) for key in ("W", "R", "projection") if key in arrays}
    return Layer(case.spec, **{"projection": None} | arrays | matrices)


def stack_of(case: Case, precision: str = "medium") -> StackSpec:
    return StackSpec(case.spec, reverse=case.reverse, precision=precision)


def forward(case: Case, precision: str = "medium", **options: object) -> functional.StackOutput:
    c0 = None if case.c0 is None else case.c0[None]
    return functional.stack_forward(
        stack_of(case, precision), [case.params], case.x, case.h0[None], c0,
        lengths=case.lengths, cell_states=case.c0 is not None, backend="c", **options,
    )  # fmt: skip


def backward(case: Case, out: functional.StackOutput) -> dict[str, np.ndarray]:
    """All gradients by name; the loss depends on y, h_n, c_n and c."""
    dc_n = None if case.dc_n is None else case.dc_n[None]
    grads = functional.stack_backward(out.tape, case.dy, case.dh_n[None], dc_n, case.dc)
    found = {"dx": grads.dx, "dh0": grads.dh0, "dc0": grads.dc0}
    found |= {f"d{key}": value for key, value in grads.weights[0].items()}
    return {key: value for key, value in found.items() if value is not None}


def assert_steps(case: Case, out: functional.StackOutput) -> None:
    """Compare each step with the reference's, which begins at the state that the layer itself reached before it.

    So a state next to the middle between two bfloat16 numbers, which the reference may round to the other one, changes one
    step and not all later ones. States inside a step (r h of a GRU, and h before a projection) can do that as well.
    """
    T, B = case.x.shape[:2]
    c0 = np.zeros((B, 1)) if case.c0 is None else case.c0
    h, c = (np.concatenate([first[None], rest[:-1]]) for first, rest in ((case.h0, out.y), (c0, out.c if out.c is not None
            else np.zeros((T, B, 1)))))  # fmt: skip
    w = reference_layer(case)
    x = np.eye(case.spec.input_size)[case.x] * (case.x >= 0)[..., None] if case.x.ndim == 2 else case.x
    p = np.asarray(x.reshape(T * B, -1) @ w.W.T) + w.b_ih
    step = STEPS[case.spec.cell][0](w, p, h.reshape(T * B, -1).astype(float), c.reshape(T * B, -1).astype(float))
    inside = case.spec.proj_size or (case.spec.cell == "gru" and case.spec.reset_gate and not case.spec.reset_after)
    for found, expected in ((out.y, step.h), (out.c, step.c)):
        if found is not None:
            error = np.abs(found.reshape(T * B, -1) - np.asarray(expected))
            assert error.max() < (4e-3 if inside else 2e-5)
            assert np.sqrt(np.mean(error**2)) < (5e-5 if inside else 5e-6)


@pytest.mark.usefixtures("medium_everywhere")
@pytest.mark.parametrize("options", CELLS, ids=name)
def test_every_step_is_of_rounded_products(options: dict[str, object], isa: str) -> None:
    # 1100 inputs are several blocks of a product, an odd number fills half of a word, and 97 rows are several tiles
    for *sizes, ids in ((3, 1, 9, 21, False), (4, 7, 131, 33, False), (2, 97, 5, 64, True), (2, 3, 1101, 50, False)):
        case = make_case(options, *sizes, "float32", ids=ids)
        for training in (False, True):
            assert_steps(case, forward(case, keep_tape=training))


@pytest.mark.usefixtures("medium_everywhere")
@pytest.mark.parametrize("options", CELLS, ids=name)
def test_the_backward_of_a_step_is_of_rounded_products(options: dict[str, object], isa: str) -> None:
    case = make_case(options, 1, 37, 131, 33, "float32")
    found, w = backward(case, forward(case, keep_tape=True)), reference_layer(case)
    x, h, c0 = (np.asarray(a, np.float64).view(Rounding) for a in (case.x[0], case.h0, 0 if case.c0 is None else case.c0))
    grads = replace(w, **{key: np.zeros(a.shape) for key, a in vars_of(w).items()})
    forward_step, backward_step = STEPS[case.spec.cell]
    step = forward_step(w, np.asarray(x @ w.W.T) + w.b_ih, h, np.asarray(c0))
    dc = np.zeros(1) if case.dc is None else case.dc[0] + case.dc_n
    dp, dh0, dc0 = backward_step(w, step.saved, case.dy[0] + case.dh_n.astype(np.float64), dc, grads)
    expected = {f"d{key}": value for key, value in vars_of(grads).items()} | {"dh0": dh0[None], "dc0": dc0[None]}
    expected |= {"dx": (dp @ w.W)[None], "dW": dp.T @ x, "db_ih": dp.sum(0)}
    for key, value in found.items():
        error, largest = np.abs(value - np.asarray(expected[key])), np.abs(expected[key]).max()
        assert error.max() < 2e-3 * largest, key  # where the two round a gradient of a gate to different neighbours
        assert np.sqrt(np.mean(error**2)) < 2e-4 * largest, key


def vars_of(layer: Layer) -> dict[str, np.ndarray]:
    arrays = {key: getattr(layer, key) for key in ("W", "R", "b_ih", "b_hh", "peephole", "projection")}
    return {key: value for key, value in arrays.items() if value is not None}


@pytest.mark.usefixtures("medium_everywhere")
@pytest.mark.parametrize("options", CELLS, ids=name)
def test_gradients_are_near_those_in_float64(options: dict[str, object], isa: str) -> None:
    """docs/precision.md: an rms error of 1 % at most, relative to the gradient's own root mean square."""
    for *sizes, extra in (
        (6, 5, 9, 21, {"ids": True}),
        (5, 33, 40, 70, {"lengths": True}),
        (30, 40, 17, 64, {"reverse": True}),
    ):
        case = make_case(options, *sizes, "float32", **extra)
        if options.get("nonlinearity") == "relu":  # its derivative jumps at 0, so keep its arguments away from there
            case = replace(case, params=replace(case.params, b_ih=case.params.b_ih + 20, R=case.params.R / 10))
        exact = functional.stack_forward(
            StackSpec(case.spec, reverse=case.reverse), [case.params], case.x, case.h0[None],
            None if case.c0 is None else case.c0[None], lengths=case.lengths, cell_states=case.c0 is not None,
            backend="reference",
        )  # fmt: skip
        found, expected = backward(case, forward(case, keep_tape=True)), backward(case, exact)
        for key, value in expected.items():
            assert np.sqrt(np.mean((found[key] - value) ** 2)) < 1e-2 * np.sqrt(np.mean(value**2)), key


@pytest.mark.usefixtures("medium_everywhere")
def test_no_gradient_comes_from_memory_that_was_not_written(isa: str) -> None:
    from fastrnn.backends._c.library import ffi, take_workspace

    for options, H in itertools.product(CELLS, (10, 40, 70)):
        case, found = make_case(options, 3, 5, 9, H, "float32"), []
        for content in (b"\x00", b"\xff"):  # words of all ones are NaN
            workspace = ffi.buffer(take_workspace(1 << 22), 1 << 22)
            workspace[:] = content * len(workspace)
            found.append(backward(case, forward(case, keep_tape=True)))
        assert all(np.array_equal(found[0][key], value) for key, value in found[1].items())


@pytest.mark.usefixtures("medium_everywhere")
def test_lengths_and_reverse_select_the_same_rows(isa: str) -> None:
    for options, B in itertools.product((CELLS[3], CELLS[9]), (1, 5, 40)):
        case = make_case(options, 6, B, 10, 37, "float32", lengths=True, reverse=True)
        out = forward(case, keep_tape=True)
        for b in range(B):
            n = 6 if case.lengths is None else case.lengths[b]
            if n:
                x, c0 = np.ascontiguousarray(case.x[:n, b : b + 1][::-1]), None if case.c0 is None else case.c0[b : b + 1]
                own = forward(replace(case, x=x, h0=case.h0[b : b + 1], c0=c0, lengths=None, reverse=False))
                assert np.array_equal(out.y[:n, b], own.y[::-1, 0])
                assert np.array_equal(out.h_n[0, b], own.h_n[0, 0])
            assert not out.y[n:, b].any()


@pytest.mark.usefixtures("medium_everywhere")
@pytest.mark.parametrize("B", [1, 2, 5, 64])
def test_bits_do_not_depend_on_threads(B: int, set_threads) -> None:
    for options, H in itertools.product((CELLS[3], CELLS[8]), (21, 300)):
        case, found = make_case(options, 6, B, 40, H, "float32", lengths=B == 5), []
        for count in (1, 2, 3):
            set_threads(count)
            inference, out = forward(case, keep_tape=False), forward(case)
            assert np.array_equal(inference.y, out.y)
            found.append([a for a in (out.y, out.h_n, out.c_n, out.c) if a is not None])
            found[-1] += backward(case, out).values()
        for other in found[1:]:
            assert all(map(np.array_equal, found[0], other))


@pytest.mark.usefixtures("medium_everywhere")
def test_steps_and_samples_on_two_threads_have_the_bits_of_one(set_threads) -> None:
    from fastrnn.text.char_model import CharModel

    layer, model = fastrnn.LSTM(40, 512, 2, rng=0, precision="medium"), CharModel(11, "gru", hidden=600, rng=3)
    prime, uniforms, found = np.array([[-1], [4]]), np.random.default_rng(0).random((60, 1)), []
    for count in (1, 2):
        set_threads(count)
        stepper = layer.stepper()
        steps = np.stack([stepper(x) for x in np.tile(X[:, 0], (10, 1))])
        with fastrnn.use_precision("medium"):
            found.append((steps, model.generate(prime, uniforms).tokens))
    y, _ = layer(np.tile(X[:, :1], (10, 1, 1)))
    assert np.array_equal(found[0][0], y[:, 0])
    assert np.array_equal(found[1][0], y[:, 0])
    assert np.array_equal(found[0][1], found[1][1])


def test_the_instruction_has_the_bits_of_two_multiply_adds(c, medium_everywhere) -> None:
    isas = [isa for isa in c.isa_names() if isa != "amx"]  # which adds in another order
    if len(isas) < 2:
        pytest.skip("there is only one instruction set here")
    case = make_case(CELLS[1], 1, 40, 501, 70, "float32")  # relu: no other arithmetic
    found = []
    for isa in isas:
        c.set_isa(isa)
        found.append(forward(case).y)
    c.set_isa(None)
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.usefixtures("medium_everywhere")
def test_rounding_goes_to_the_even_neighbour_and_keeps_what_is_not_finite() -> None:
    ulp = np.float32(2.0**-8)
    x = np.array([1 + ulp, 1 + 3 * ulp, 1 + ulp + 2.0**-20, -1 - ulp, np.inf, -np.inf, np.nan, 3.4e38, 1.175e-38], "f4")
    weights = Weights(np.ones((8, 1), np.float32), np.zeros((8, 8), np.float32))
    spec = StackSpec(CellSpec("rnn", 1, 8, nonlinearity="relu"), precision="medium")
    y = functional.stack_forward(spec, [weights], x[None, :, None], backend="c").y[0, :, 0]
    np.testing.assert_array_equal(y, [1, 1 + 4 * ulp, 1 + 2 * ulp, 0, np.inf, 0, np.nan, np.inf, 0])


@pytest.mark.usefixtures("medium_everywhere")
def test_the_error_of_a_layer_is_what_the_docs_say() -> None:
    """docs/precision.md: over 100 steps, largest and rms error of y."""
    x = np.random.default_rng(1).standard_normal((100, 4, 128), dtype=np.float32)
    for kind, largest, rms in ((fastrnn.LSTM, 6e-3, 6e-4), (fastrnn.GRU, 1e-2, 1.2e-3), (fastrnn.RNN, 2e-2, 2.5e-3)):
        exact = kind(128, 128, rng=0, dtype="float64")
        layer = kind(128, 128, rng=0, precision="medium")
        exact.load_state_dict({key: value.astype(np.float64) for key, value in layer.state_dict().items()})
        error = layer(x)[0] - exact(x.astype(np.float64))[0]
        assert rms / 3 < np.sqrt(np.mean(error**2)) < rms
        assert np.abs(error).max() < largest
