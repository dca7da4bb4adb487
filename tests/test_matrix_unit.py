"""Products on a matrix unit: the order of their sums, and split products ("high"), which are as accurate as float32.

On a processor without one, ``test_kernels_on_an_emulated_matrix_unit`` in test_c_library.py runs these tests on a build that
has its instructions in plain C.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from cases import CELLS, make_case, name
from split_products import (
    ISA,
    Factors,
    arrays_of,
    assert_as_accurate_as_float32,
    by_column,
    by_row,
    compensating,
    constant,
    needs_unit,
    scaled,
    sometimes,
)

import fastrnn
from fastrnn import functional
from fastrnn._core.conversion import from_bfloat16, to_bfloat16
from fastrnn.backends import available
from fastrnn.backends.structs import CellSpec, StackSpec, Weights

pytestmark = pytest.mark.skipif("c" not in available(), reason="needs the C backend")
BOUNDED = [options for options in CELLS if options.get("nonlinearity") != "relu"]
TELLING = 0, 2, 8  # an RNN, a GRU with two recurrent products, an LSTM with peepholes and a projection


def flushed(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float32)
    return np.where(np.abs(values) < 2.0**-126, np.float32(0), values)


def tile_product(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return A B as the kernel and TDPBF16PS add: parts of k, in each the sums of tiles, and in a tile two chains.

    A part has up to 1024 of k, and what is left of tiles of 32 is a part of its own.
    """
    A, B = (from_bfloat16(to_bfloat16(flushed(operand))) for operand in (A, B))
    C, K = np.zeros((len(A), B.shape[1]), np.float32), A.shape[1]
    whole = (K + 1) // 32 * 32
    for begin, end in itertools.pairwise(sorted({*range(0, whole, 1024), whole, K})):
        part = np.zeros_like(C)
        for k in range(begin, end, 32):
            part = flushed(part + tile_sum(A[:, k : min(k + 32, end)], B[k : min(k + 32, end)]))
        C = flushed(C + part)
    return C


def tile_sum(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return what one instruction adds: a chain of the even k and one of the odd k, both from zero."""
    chains = np.zeros((2, len(A), B.shape[1]), np.float32)
    for k in range(A.shape[1]):
        chains[k % 2] = flushed(chains[k % 2] + A[:, k : k + 1].astype(np.float64) * B[k])
    return flushed(chains[0] + chains[1])


@needs_unit
@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("I", [7, 32, 501, 1100])
def test_sums_have_the_bits_of_the_instruction(I: int) -> None:  # noqa: E741
    rng = np.random.default_rng(I)
    x, W = rng.standard_normal((70, I), dtype=np.float32), rng.standard_normal((50, I), dtype=np.float32)
    x[3], W[5] = x[3] * 1e-37, W[5] * 1e-3  # products that are denormal
    spec = StackSpec(CellSpec("rnn", I, 50, nonlinearity="relu"), precision="medium")
    y = functional.stack_forward(spec, [Weights(W, np.zeros((50, 50), np.float32))], x[None], backend="c").y[0]
    np.testing.assert_array_equal(y, np.maximum(tile_product(x, W.T), 0))


LARGEST = 8355700  # of the integers that are split (csrc/kernels/slices.h)


def digits_of(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return three digits in base 256, ``[3, n, K]`` in -128..127, of each number, and the factors ``[n]`` of rows."""
    m = np.abs(rows).max(axis=1)
    q = rows * (np.float32(LARGEST) / m)[:, None]
    q = np.trunc(q + np.copysign(np.float32(0.5), q)).astype(np.int64)
    digits = np.stack([(q + 0x808080 >> shift) % 256 - 128 for shift in (16, 8, 0)])
    assert ((digits * np.array([65536, 256, 1])[:, None, None]).sum(0) == q).all()
    return digits, m * (np.float32(2**16) / np.float32(LARGEST))


def sliced_product(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return A B^T from products of digits, eight if K < 512, else six: exact sums, then roundings to float32."""
    (a, a_scale), (b, b_scale) = digits_of(A), digits_of(B)
    S = [sum(a[i] @ b[n - i].T for i in range(max(0, n - 2), min(n, 2) + 1)) for n in range(4)]
    S = [np.float32(sums).astype(np.float64) for sums in S]
    second = np.float32(S[3] / 256 + S[2]).astype(np.float64) if (A.shape[1] + 3) // 4 * 4 < 512 else S[2]
    low = np.float32(second / 256 + S[1]).astype(np.float64)
    scale = b_scale * a_scale[:, None]
    return np.float32(np.float32(low / 256 + S[0]).astype(np.float64) * scale)


@needs_unit
@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("I", [7, 64, 501, 1100])
def test_slices_have_the_bits_of_their_exact_sums(I: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: E741
    from fastrnn.backends._c import precision, stack

    monkeypatch.setattr(precision, "_obstacle_to_high", lambda spec, isa: "")  # without bounded states
    monkeypatch.setattr(stack, "largest_columns", lambda operand: np.ones(1))  # however large an error
    rng = np.random.default_rng(I)
    x, W = rng.standard_normal((70, I), dtype=np.float32), rng.standard_normal((50, I), dtype=np.float32)
    x[3], W[5], x[4, 1:] = x[3] * 2.0**-38, W[5] * 1e-3, 0
    spec = StackSpec(CellSpec("rnn", I, 50, nonlinearity="relu"), precision="high")
    y = functional.stack_forward(spec, [Weights(W, np.zeros((50, 50), np.float32))], x[None], backend="c").y[0]
    np.testing.assert_array_equal(y, np.maximum(sliced_product(x, W), 0))


@needs_unit
@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(
    "options", [pytest.param(o, marks=() if i in TELLING else pytest.mark.slow) for i, o in enumerate(BOUNDED)], ids=name
)
def test_split_products_are_as_accurate_as_float32(options: dict[str, object]) -> None:
    for *sizes, extra in (
        (9, 33, 130, 200, {}),
        (7, 17, 160, 201, {"ids": True}),
        (6, 20, 128, 192, {"lengths": True, "reverse": True, "padding": 0}),
    ):
        assert_as_accurate_as_float32([make_case(options, *sizes, "float32", seed=seed, **extra) for seed in range(4)])


SCALES: dict[str, tuple[bool, dict[str, Factors]]] = {  # with whether products are split
    "rows": (True, {"x": by_row(0)}),
    "large rows": (False, {"x": by_row(10)}),
    "outliers": (False, {"x": sometimes(0.01, 100)}),
    "heavy tails": (True, dict.fromkeys(("x", "W"), sometimes(0.2, 1.5))),
    "one outlier in a row of R": (
        False,
        {"R": lambda rng, shape: 1 + 1000 * (np.arange(shape[0] * shape[1]) == 99).reshape(shape)},
    ),
    "denormals": (True, {"x": sometimes(0.3, 1e-39), "R": sometimes(0.1, 1e-38)}),
    "columns": (False, {"W": by_column}),
    "columns of both": (False, {"x": compensating(1), "W": compensating(-1)}),
    "gradients": (True, {"dy": by_row(10), "dh_n": constant(1e-9)}),
    "small gradients": (True, dict.fromkeys(("dy", "dh_n", "dc_n", "dc"), constant(1e-20))),
}


@needs_unit
@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("options", [CELLS[8], CELLS[3], pytest.param(CELLS[0], marks=pytest.mark.slow)], ids=name)
@pytest.mark.parametrize(("runs", "factors"), SCALES.values(), ids=SCALES)
def test_badly_scaled_operands(options: dict[str, object], runs: bool, factors: dict[str, Factors]) -> None:
    cases = [scaled(make_case(options, 6, 17, 256, 256, "float32", seed=seed), factors) for seed in range(3)]
    assert_as_accurate_as_float32(cases, runs)


@needs_unit
@pytest.mark.usefixtures("any_size")
@pytest.mark.slow
def test_errors_do_not_grow_over_a_thousand_steps() -> None:
    for options in (CELLS[3], CELLS[8]):
        assert_as_accurate_as_float32([make_case(options, 1000, 16, 128, 192, "float32")])


@needs_unit
@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(
    ("key", "value"),
    [("x", np.nan), ("x", np.inf), ("x", 1e13), ("x", 3.4e38), ("h0", 1e13), ("W", -np.inf), ("R", 1e13)],
)
def test_values_that_do_not_split_well_run_in_float32(key: str, value: float) -> None:
    case = make_case(CELLS[8], 5, 16, 140, 200, "float32")
    array = getattr(case if hasattr(case, key) else case.params, key)
    array.reshape(-1)[7] = value
    high, full = arrays_of(case, "high"), arrays_of(case, "highest")
    assert all(np.array_equal(high[key], full[key], equal_nan=True) for key in full)


@needs_unit
def test_a_row_of_tiny_values_runs_in_float32_in_every_way_of_running() -> None:
    layer = fastrnn.LSTM(140, 256, rng=0, precision="high")
    full = fastrnn.LSTM(140, 256, rng=0)
    x = np.random.default_rng(0).standard_normal((4, 16, 140), dtype=np.float32)
    assert not np.array_equal(layer(x)[0], full(x)[0])
    x[2, 3] *= np.float32(1e-30)
    assert np.array_equal(layer(x)[0], full(x)[0])
    assert np.array_equal(layer.forward(x)[0][0], full(x)[0])
    assert np.array_equal(layer(x)[0], full(x)[0])


@needs_unit
@pytest.mark.parametrize("key", ["b_ih", "peephole", "c0"])
def test_what_is_not_finite_stays_so(key: str) -> None:
    case = make_case(CELLS[7], 5, 16, 256, 256, "float32")
    array = getattr(case if hasattr(case, key) else case.params, key)
    array.reshape(-1)[7] = np.nan
    high, full = arrays_of(case, "high"), arrays_of(case, "highest")
    assert np.isnan(full["y"]).any()
    np.testing.assert_array_equal(np.isnan(high["y"]), np.isnan(full["y"]))


@needs_unit
def test_weights_that_make_up_for_small_states_run_in_float32() -> None:
    x = np.random.default_rng(0).standard_normal((5, 16, 256), dtype=np.float32)
    layer, full = (fastrnn.LSTM(256, 256, 2, rng=0, precision=wanted) for wanted in ("high", "highest"))
    assert not np.array_equal(layer(x)[0], full(x)[0])
    for key in ("weight_hh_l0", "weight_ih_l1", "weight_hh_l1"):
        state = full.state_dict()
        state[key] = state[key] * np.where(np.arange(256) % 2, np.float32(1), np.float32(16))
        found = []
        for precision in ("high", "highest"):
            scaled_layer = fastrnn.LSTM(256, 256, 2, precision=precision)
            scaled_layer.load_state_dict(state)
            found.append(scaled_layer(x)[0])
        assert np.array_equal(*found), key


@needs_unit
@pytest.mark.usefixtures("any_size")
def test_bits_do_not_depend_on_threads_or_on_the_batch(set_threads) -> None:
    for options, H in ((CELLS[3], 300), (CELLS[8], 90)):
        case, found = make_case(options, 6, 40, 140, H, "float32"), []
        for count in (1, 2, 3):
            set_threads(count)
            found.append(arrays_of(case, "high"))
        assert all(np.array_equal(found[0][key], other[key]) for other in found[1:] for key in other)
        few = functional.stack_forward(
            StackSpec(case.spec, precision="high"), [case.params], case.x[:, 7:12], case.h0[None, 7:12],
            None if case.c0 is None else case.c0[None, 7:12], backend="c",
        )  # fmt: skip
        assert np.array_equal(few.y, found[0]["y"][:, 7:12])


@needs_unit
@pytest.mark.parametrize("precision", ["medium", "high"])
def test_batches_below_a_tile_run_in_float32(precision: str) -> None:
    layer, full = (fastrnn.GRU(140, 256, rng=0, precision=wanted) for wanted in (precision, "highest"))
    x = np.random.default_rng(1).standard_normal((6, 16, 140), dtype=np.float32)
    assert np.array_equal(layer(x[:, :15])[0], full(x[:, :15])[0])
    assert np.array_equal(layer.stream(x[:, :1])[0][0], full(x[:, :1])[0])
    assert not np.array_equal(layer(x)[0], full(x)[0])
    (few,), (many,) = layer.plan(6, 15), layer.plan(6, 16)
    assert few.precision == "highest"
    assert few.reason == f"on a matrix unit, {precision} needs at least 16 sequences, and the batch has 15"
    assert (many.isa, many.precision, many.reason) == (ISA, precision, "")


@needs_unit
def test_a_language_models_step_has_the_gradients_of_separate_calls() -> None:
    from fastrnn.text.char_model import CharModel

    ids = np.random.default_rng(2).integers(0, 11, (9, 20))
    found = []
    for precision in ("high", "highest"):
        with fastrnn.use_precision(precision):
            model = CharModel(32, "lstm", hidden=256, rng=3)
            loss, *_ = model.learn(ids[:-1], ids[1:])
            found.append((loss, {key: p.grad.copy() for key, p in model.named_parameters()}))
    assert abs(found[0][0] - found[1][0]) < 1e-6
    for key, value in found[1][1].items():
        error = np.abs(found[0][1][key] - value).max()
        assert error < 2e-6 * np.abs(value).max() + 1e-9, key
    assert any(not np.array_equal(found[0][1][key], value) for key, value in found[1][1].items())


def test_high_says_why_it_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastrnn.backends._c import precision, stack

    for unit, options, reason in (
        (False, {}, r"high needs a matrix unit \(ISA amx\), and \w+ is in use"),
        (True, {"compression": "bfloat16"}, "high is for weights in float32, and these are bfloat16"),
        (True, {"hidden_size": 255}, "high is not faster below 256 states, and the layer has 255"),
        (True, {"proj_size": 100}, "high is not faster below 256 states, and the layer has 100"),
    ):
        stack._kernel.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(precision, "has_matrix_unit", lambda isa, unit=unit: unit)
            (plan,) = fastrnn.LSTM(**{"input_size": 40, "hidden_size": 256, "rng": 0, "precision": "high"} | options).plan(
                6, 16
            )
            assert re.fullmatch(reason, plan.reason), plan.reason
            assert plan.precision == "highest"
    stack._kernel.cache_clear()
    monkeypatch.setattr(precision, "has_matrix_unit", lambda isa: True)
    (plan,) = fastrnn.RNN(40, 256, nonlinearity="relu", precision="high").plan(6, 16)
    assert plan.reason == "high needs states with a bound, and relu has none"
    stack._kernel.cache_clear()


def test_largest_columns() -> None:
    from fastrnn.backends._c.precision import largest_columns

    x = np.random.default_rng(0).uniform(-1, 1, (3, 5, 40)).astype(np.float32)
    np.testing.assert_array_equal(largest_columns(x), np.abs(x).max(axis=(0, 1)))
    for empty in (None, np.zeros((0, 3), np.float32), np.zeros((2, 3), np.float32)):
        assert not largest_columns(empty).any()
    for value in (np.nan, np.inf, -np.inf, 2.0**41, -(2.0**41)):
        bad = x.copy()
        bad[1, 2, 3] = value
        assert largest_columns(bad) is None
    x[2, 4] = 2.0**-41
    assert largest_columns(x) is None
    x[2, 4, 0] = -(2.0**-40)
    assert largest_columns(x) is not None
    # 1 beside 16 others whose squares add up to 4, or to 1.5 in a short row, or to less
    for n, others, splits in ((600, 0.51, True), (600, 0.49, False), (40, 0.31, True), (40, 0.3, False)):
        row = np.zeros((1, n), np.float32)
        row[0, 3:20], row[0, 5] = others, -1
        assert (largest_columns(row) is not None) == splits
