"""Products of bfloat16 numbers ("medium"): their values on every instruction set, the setting, and what the plan says."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases import CELLS, Case, make_case, name
from tables import each_row

import fastrnn
from fastrnn import functional
from fastrnn._core.conversion import from_bfloat16, to_bfloat16
from fastrnn.backends import available, load
from fastrnn.backends.reference import STEPS, Layer
from fastrnn.backends.structs import CellSpec, StackSpec, Weights

pytestmark = pytest.mark.skipif("c" not in available(), reason="needs the C backend")


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let "medium" run on every instruction set and for every size, although it is faster on few."""
    from fastrnn.backends._c import precision, stack

    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda isa: True)
    monkeypatch.setattr(precision, "SMALLEST", 1)
    monkeypatch.setattr(precision, "SMALLEST_BATCH", 1)
    stack._kernel.cache_clear()
    yield
    stack._kernel.cache_clear()


@pytest.fixture
def hardware() -> None:
    if load("c").plan(StackSpec(CellSpec("rnn", 64, 64), precision="medium"), 1, 16)[0].precision != "medium":
        pytest.skip("needs a processor that multiplies bfloat16 faster than float32")


def rounded(values: np.ndarray) -> np.ndarray:
    return from_bfloat16(to_bfloat16(values.astype(np.float32))).astype(np.float64)


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


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("options", CELLS, ids=name)
def test_every_step_is_of_rounded_products(options: dict[str, object], isa: str) -> None:
    # 1100 inputs are several blocks of a product, an odd number fills half of a word, and 97 rows are several tiles
    for *sizes, ids in ((3, 1, 9, 21, False), (4, 7, 131, 33, False), (2, 97, 5, 64, True), (2, 3, 1101, 50, False)):
        case = make_case(options, *sizes, "float32", ids=ids)
        for training in (False, True):
            assert_steps(case, forward(case, keep_tape=training))


@pytest.mark.usefixtures("everywhere")
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


@pytest.mark.usefixtures("everywhere")
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


@pytest.mark.usefixtures("everywhere")
def test_no_gradient_comes_from_memory_that_was_not_written(isa: str) -> None:
    from fastrnn.backends._c.library import ffi, take_workspace

    for options, H in itertools.product(CELLS, (10, 40, 70)):
        case, found = make_case(options, 3, 5, 9, H, "float32"), []
        for content in (b"\x00", b"\xff"):  # words of all ones are NaN
            workspace = ffi.buffer(take_workspace(1 << 22), 1 << 22)
            workspace[:] = content * len(workspace)
            found.append(backward(case, forward(case, keep_tape=True)))
        assert all(np.array_equal(found[0][key], value) for key, value in found[1].items())


@pytest.mark.usefixtures("everywhere")
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


@pytest.mark.usefixtures("everywhere")
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


@pytest.mark.usefixtures("everywhere")
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


def test_the_instruction_has_the_bits_of_two_multiply_adds(c, everywhere) -> None:
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


@pytest.mark.usefixtures("everywhere")
def test_rounding_goes_to_the_even_neighbour_and_keeps_what_is_not_finite() -> None:
    ulp = np.float32(2.0**-8)
    x = np.array([1 + ulp, 1 + 3 * ulp, 1 + ulp + 2.0**-20, -1 - ulp, np.inf, -np.inf, np.nan, 3.4e38, 1.175e-38], "f4")
    weights = Weights(np.ones((8, 1), np.float32), np.zeros((8, 8), np.float32))
    spec = StackSpec(CellSpec("rnn", 1, 8, nonlinearity="relu"), precision="medium")
    y = functional.stack_forward(spec, [weights], x[None, :, None], backend="c").y[0, :, 0]
    np.testing.assert_array_equal(y, [1, 1 + 4 * ulp, 1 + 2 * ulp, 0, np.inf, 0, np.nan, np.inf, 0])


def layer_of(**options: object) -> fastrnn.LSTM:
    return fastrnn.LSTM(40, 64, rng=0, **options)


X = np.random.default_rng(0).standard_normal((6, 3, 40), dtype=np.float32)


@pytest.mark.usefixtures("everywhere")
def test_the_setting_applies_at_the_next_call_and_to_every_way_of_running() -> None:
    layer, before = layer_of(), layer_of()(X)[0]
    assert fastrnn.get_float32_matmul_precision() == "highest"
    stepper = layer.stepper()
    first = stepper(X[0, 0])
    with fastrnn.use_precision("medium"):
        assert fastrnn.get_float32_matmul_precision() == "medium"
        y, _ = layer(X)
        assert not np.array_equal(y, before)
        assert np.array_equal(layer.forward(X)[0][0], y)
        assert np.array_equal(layer.stream(X)[0][0], y)
        steps = layer.stepper()
        assert np.array_equal(np.stack([steps(x) for x in X[:, 0]]), y[:, 0])
        assert np.array_equal(functional.stack_forward(StackSpec(CellSpec("lstm", 40, 64)), [weights_of(layer)], X).y, y)
        with fastrnn.use_precision("highest"):
            assert np.array_equal(layer(X)[0], before)
        assert np.array_equal(layer(X)[0], y)
    assert np.array_equal(layer(X)[0], before)
    assert np.array_equal(stepper(X[1, 0]), before[1, 0])
    assert np.array_equal(first, before[0, 0])


def weights_of(layer: fastrnn.LSTM) -> Weights:
    return layer.stack.parts[0].weights()


@pytest.mark.usefixtures("everywhere")
def test_a_layers_own_precision_comes_before_the_setting() -> None:
    highest, medium = layer_of()(X)[0], layer_of(precision="medium")(X)[0]
    assert not np.array_equal(highest, medium)
    with fastrnn.use_precision("medium"):
        assert np.array_equal(layer_of(precision="highest")(X)[0], highest)
        assert np.array_equal(layer_of()(X)[0], medium)
    both = fastrnn.LSTM(40, 64, 2, bidirectional=True, merge="sum", rng=0, precision="medium")
    assert {plan.precision for plan in both.plan(6, 3)} == {"medium"}
    assert layer_of(precision="medium").compress("bfloat16").precision == "medium"


@pytest.mark.usefixtures("everywhere")
def test_compressed_weights_and_tables_of_embeddings() -> None:
    layer = layer_of(precision="medium")
    assert np.array_equal(layer.compress("bfloat16")(X)[0], layer(X)[0])  # their products have the same operands
    ids = np.arange(400).reshape(20, 20) % 7
    model = fastrnn.Sequential(fastrnn.Embedding(7, 40, rng=0), layer)
    highest = fastrnn.Sequential(model[0], layer_of(precision="highest"))
    error = np.abs(model(ids)[0] - highest(ids)[0]).max()
    assert 1e-5 < error < 5e-3


@pytest.mark.usefixtures("everywhere")
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


@each_row(
    ("options", "wanted", "reason"),
    [
        ({}, "highest", ""),
        ({"dtype": "float64"}, "medium", "medium is for float32, and the layer is float64"),
        ({"compression": "int8"}, "medium", "medium is for weights in float32 or bfloat16, and these are int8"),
        ({"compression": "int8"}, "high", "high is for weights in float32, and these are int8"),
        ({"compression": "bfloat16"}, "high", "high is for weights in float32, and these are bfloat16"),
        ({"backend": "reference"}, "medium", "medium needs backend c, and reference is in use"),
        ({"backend": "reference"}, "highest", ""),
    ],
)
def test_the_plan_says_why_a_precision_does_not_run(options, wanted, reason):
    (plan,) = layer_of(**options, precision=wanted).plan(6, 3)
    assert (plan.precision, plan.reason) == ("highest", reason)


def test_the_plan_names_the_instruction_set_and_the_size(c, monkeypatch: pytest.MonkeyPatch) -> None:
    c.set_isa(c.isa_names()[-1])
    (plan,) = layer_of(precision="medium").plan(6, 3)
    c.set_isa(None)
    assert plan.precision == "highest"
    assert re.fullmatch(
        r"medium needs an ISA that multiplies bfloat16 \(amx, avx512bf16\), and (avx2|base|neon) is in use", plan.reason
    )
    from fastrnn.backends._c import precision

    if "avx512bf16" in c.isa_names():
        c.set_isa("avx512bf16")
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda isa: False)
        (plan,) = fastrnn.GRU(64, 33, precision="medium").plan(6, 3)
        c.set_isa(None)
        assert plan.reason.startswith("medium is faster than float32 on AMD's processors and on matrix units only")
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda isa: True)
    (plan,) = fastrnn.GRU(64, 31, precision="medium").plan(6, 3)
    assert plan.reason == "medium is not faster below 32 hidden units, and the layer has 31"


@pytest.mark.usefixtures("hardware")
def test_medium_runs_where_the_processor_multiplies_bfloat16() -> None:
    (plan,) = layer_of(precision="medium").plan(6, 16)
    assert plan.isa in ("amx", "avx512bf16")
    assert (plan.precision, plan.reason) == ("medium", "")


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(("N", "I", "O"), [(1, 33, 47), (5, 40, 65), (16, 64, 32), (1001, 131, 70), (2100, 35, 300)])
def test_linear_layers_multiply_rounded_numbers(isa: str, N: int, I: int, O: int, set_threads) -> None:  # noqa: E741
    rng = np.random.default_rng(N)
    x, dy = (rng.standard_normal((N, size), dtype=np.float32) for size in (I, O))
    layer, found = fastrnn.Linear(I, O, rng=1, backend="c"), []
    W, b = (np.array(parameter, np.float64) for parameter in layer.parameters())
    expected = rounded(x) @ rounded(W).T + b, rounded(dy) @ rounded(W), rounded(dy).T @ rounded(x) + 1, dy.sum(0) + 1
    for count in (1, 3):
        set_threads(count)
        for parameter in layer.parameters():
            parameter.gradient()[...] = 1
        with fastrnn.use_precision("medium"):
            y, backward = layer.forward(x)
            assert np.array_equal(layer(x), y)
            found.append((y, backward(dy), layer.weight.grad.copy(), layer.bias.grad.copy()))
    assert all(map(np.array_equal, *found))
    for values, wanted in zip(found[0], expected, strict=True):
        np.testing.assert_allclose(values, wanted, rtol=2e-5, atol=2e-6 * np.abs(wanted).max())
    assert np.abs(y - (x @ W.T + b)).max() > 1e-3  # so the two can be told apart


@pytest.mark.usefixtures("everywhere")
def test_muon_orthogonalises_by_rounded_numbers(isa: str) -> None:
    from fastrnn.backends.orthogonal import orthogonalised

    matrix = np.random.default_rng(0).standard_normal((200, 60), dtype=np.float32)
    exact = orthogonalised(load("reference"), matrix.astype(np.float64))
    with fastrnn.use_precision("medium"):
        update = orthogonalised(load("c"), matrix)
    assert 2e-3 < np.linalg.norm(update - exact) / np.linalg.norm(exact) < 4e-2
    values = np.linalg.svd(update, compute_uv=False)
    assert 0.65 < values.min() < values.max() < 1.2


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(("V", "T", "B"), [(40, 9, 20), (33, 1, 15), (11, 3, 2)])
def test_a_language_models_step_has_the_bits_of_separate_calls(V: int, T: int, B: int, monkeypatch) -> None:
    from fastrnn.backends._c import precision
    from fastrnn.text.char_model import CharModel

    monkeypatch.setattr(precision, "SMALLEST", 32)  # so an output layer of 11 classes is in float32
    monkeypatch.setattr(precision, "SMALLEST_BATCH", 16)
    ids = np.random.default_rng(2).integers(0, V, (T + 1, B))
    with fastrnn.use_precision("medium"):
        model = CharModel(V, "lstm", hidden=64, rng=3)
        loss, *_ = model.learn(ids[:-1], ids[1:])
        found = {key: p.grad.copy() for key, p in model.named_parameters()}
        model.zero_grad()
        (logits, _), backward = model.forward(ids[:-1])
        separate, dlogits = fastrnn.losses.softmax_cross_entropy(logits, ids[1:])
        backward(dlogits)
    assert loss == separate
    for key, p in model.named_parameters():
        np.testing.assert_array_equal(found[key], p.grad, err_msg=key)


@pytest.mark.usefixtures("hardware")
def test_linear_layers_of_few_features_stay_in_float32_and_on_a_matrix_unit_those_of_few_rows() -> None:
    rng = np.random.default_rng(0)
    unit = load("c").plan(StackSpec(CellSpec("rnn", 64, 64)), 1, 1)[0].isa == "amx"
    for N, I, O, changes in ((20, 64, 31, False), (20, 31, 64, False), (20, 64, 32, True), (15, 64, 32, not unit)):  # noqa: E741
        layer, x = fastrnn.Linear(I, O, rng=1), rng.standard_normal((N, I), dtype=np.float32)
        with fastrnn.use_precision("medium"):
            y = layer(x)
        assert np.array_equal(y, layer(x)) != changes


@pytest.mark.usefixtures("everywhere")
def test_weights_of_few_rows_are_read_once_they_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a matrix unit few rows run in float32, for which weights are packed later; two threads may do so at once."""
    from fastrnn.backends._c import linear, precision

    monkeypatch.setattr(precision, "has_matrix_unit", lambda isa: True)
    monkeypatch.setattr(precision, "SMALLEST_BATCH", 16)
    layer, x = fastrnn.Linear(40, 33, rng=1, backend="c"), np.random.default_rng(0).standard_normal((20, 40), np.float32)
    wanted, found, library = layer(x[:4]), [], linear.lib

    class Library:
        def __getattr__(self, name: str) -> Any:
            return getattr(library, name)

        def fastrnn_linear_pack(self, *arguments: Any) -> None:
            monkeypatch.setattr(linear, "lib", library)
            found.append(layer(x[:4]))  # as another thread does, before the weights are packed
            library.fastrnn_linear_pack(*arguments)

    with fastrnn.use_precision("medium"):
        assert not np.array_equal(layer(x)[:4], wanted)
        monkeypatch.setattr(linear, "lib", Library())
        found.append(layer(x[:4]))
    assert np.array_equal(found, [wanted, wanted])


@pytest.mark.usefixtures("everywhere")
def test_a_precision_that_changes_while_a_linear_layer_is_prepared_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastrnn.layers import dense

    layer, x = fastrnn.Linear(40, 33, rng=1, backend="c"), np.random.default_rng(0).standard_normal((20, 40), np.float32)
    with fastrnn.use_precision("medium"):
        wanted = fastrnn.Linear(40, 33, rng=1, backend="c")(x)

    def late(*arguments: Any) -> Any:
        fastrnn.set_float32_matmul_precision("medium")  # as another thread does
        return prepared(*arguments)

    prepared = dense.prepared
    with fastrnn.use_precision("highest"):
        with monkeypatch.context() as during:
            during.setattr(dense, "prepared", late)
            layer(x)
        assert np.array_equal(layer(x), wanted)


@pytest.mark.usefixtures("everywhere")
def test_a_small_batch_of_a_language_model_keeps_the_precision_of_its_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few sequences run in float32 on a matrix unit, by a model that is prepared when they first come."""
    from fastrnn.backends._c import precision, train_step
    from fastrnn.text.char_model import CharModel

    monkeypatch.setattr(precision, "has_matrix_unit", lambda isa: True)
    monkeypatch.setattr(precision, "SMALLEST_BATCH", 16)
    ids = np.random.default_rng(2).integers(0, 40, (10, 20))
    models = [CharModel(40, "lstm", hidden=64, rng=3) for _ in range(2)]
    with fastrnn.use_precision("medium"):
        for model in models:  # makes the gradients, and then prepares the model for them
            model.learn(ids[:-1], ids[1:])
        models[0].learn(ids[:-1], ids[1:])
        with monkeypatch.context() as during:  # as if another thread changed the setting for a moment
            during.setattr(train_step, "get_float32_matmul_precision", lambda: "highest")
            models[0].learn(ids[:-1, :4], ids[1:, :4])
        found, wanted = (model.learn(ids[:-1, :4], ids[1:, :4])[0] for model in models)
    assert found == wanted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_records_medium_if_only_its_linear_layers_or_muon_use_it(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastrnn.backends._c import precision, stack
    from fastrnn.training._run.folder import Kernels

    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda isa: True)
    stack._kernel.cache_clear()
    layer = fastrnn.LSTM(65, 24, rng=0, dtype=dtype, backend="c")
    with fastrnn.use_precision("medium"):
        assert layer.plan(1, 32)[0].precision == "highest"
        assert Kernels.of(layer, 32).precision == ("medium" if dtype == "float32" else "highest")
    assert Kernels.of(layer, 32).precision == "highest"
    stack._kernel.cache_clear()


def test_bad_precisions() -> None:
    expected = "precision must be one of 'highest', 'high', 'medium', got 'low'"
    for call in (
        lambda: fastrnn.set_float32_matmul_precision("low"),
        lambda: layer_of(precision="low"),
        lambda: fastrnn.GRUCell(3, 4, precision="low"),
        lambda: fastrnn.use_precision("low").__enter__(),
        lambda: functional.stack_forward(StackSpec(CellSpec("lstm", 40, 64), precision="low"), [weights_of(layer_of())], X),
    ):
        with pytest.raises(ValueError, match=expected):
            call()
    with pytest.raises(KeyError), fastrnn.use_precision("medium"):
        raise KeyError
    assert fastrnn.get_float32_matmul_precision() == "highest"


def test_a_precision_is_no_part_of_the_architecture() -> None:
    assert "precision" not in layer_of(precision="medium").config()
