"""The backward pass of split products ("high"): their bits, and their errors compared with float32's.

On a processor without a matrix unit, ``test_kernels_on_an_emulated_matrix_unit`` in test_c_library.py runs these tests.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import CELLS, make_case, name
from split_products import (
    Factors,
    arrays_of,
    assert_as_accurate_as_float32,
    constant,
    needs_unit,
    scaled,
    sometimes,
)

from fastrnn import backends, functional
from fastrnn.backends import available
from fastrnn.backends.structs import CellSpec, StackSpec, Weights

pytestmark = [
    pytest.mark.skipif("c" not in available(), reason="needs the C backend"),
    needs_unit,
    pytest.mark.usefixtures("any_size"),
]


def digits_of(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return four digits in base 256 ``[4, n, K]`` of the numbers of each row, and the factors ``[n]`` of rows."""
    exponents = np.frexp(np.abs(rows).max(axis=1))[1] - 1
    q = np.trunc(np.ldexp(rows.astype(np.float64), 29 - exponents[:, None])).astype(np.int64)
    digits = np.stack([(q + 0x80808080 >> shift) % 256 - 128 for shift in (24, 16, 8, 0)])
    assert ((digits << np.array([24, 16, 8, 0])[:, None, None]).sum(0) == q).all()
    return digits, np.ldexp(1.0, exponents - 5)


def sliced_product(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return A B^T from ten products of digits of balanced operands: exact sums, then roundings to float32."""
    factors = np.ldexp(np.float32(1), np.frexp(np.abs(B).max(axis=0))[1] - 1)
    (a, a_scale), (b, b_scale) = digits_of(A * factors), digits_of(B / factors)
    total = np.zeros((len(A), len(B)))
    for n in (3, 2, 1, 0):
        exact = sum(a[i] @ b[n - i].T for i in range(n + 1))
        total = np.float32(total / 256 + np.float32(exact)).astype(np.float64)
    return np.float32(total * a_scale[:, None] * b_scale)


@pytest.mark.parametrize(("B", "I", "H"), [(70, 7, 50), (600, 64, 20), (1030, 130, 33)])
def test_slices_have_the_bits_of_their_exact_sums(B: int, I: int, H: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: E741
    """One step of a relu RNN from h0 = 0 passes the gradient of y on as it is, where y is not 0."""
    from fastrnn.backends._c import precision, stack

    monkeypatch.setattr(precision, "_obstacle_to_high", lambda spec, isa: "")  # without bounded states
    monkeypatch.setattr(stack, "largest_columns", lambda operand: np.ones(1))  # however large an error of y
    rng = np.random.default_rng(I)
    x, dy = rng.standard_normal((1, B, I), dtype=np.float32), rng.standard_normal((1, B, H), dtype=np.float32)
    W, R = rng.standard_normal((H, I), dtype=np.float32), rng.standard_normal((H, H), dtype=np.float32)
    dy[0, 3], dy[0, 4, 1:] = dy[0, 3] * 2.0**-100, dy[0, 4, 1:] * 2.0**-20
    dy[0, :40, 2] *= 2.0**12
    spec = StackSpec(CellSpec("rnn", I, H, nonlinearity="relu"), precision="high")
    out = functional.stack_forward(spec, [Weights(W, R)], x, np.zeros((1, B, H), np.float32), backend="c", keep_tape=True)
    grads = functional.stack_backward(out.tape, dy)
    da = np.where(out.y[0] > 0, dy[0], np.float32(0))
    np.testing.assert_array_equal(grads.dx[0], sliced_product(da, W.T))
    np.testing.assert_array_equal(grads.dh0[0], sliced_product(da, R.T))
    dW = np.zeros_like(W)
    for first in range(0, B, 512):
        dW += sliced_product(da[first : first + 512].T, x[0, first : first + 512].T)
    np.testing.assert_array_equal(grads.weights[0].W, dW)


def last_step(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return 1 for the last step and 0 for all others."""
    return (np.arange(shape[0]) == shape[0] - 1).reshape(-1, *[1] * (len(shape) - 1))


def some(share: float) -> Factors:
    """Return factors that are 1 for this share of the numbers and else 0."""
    return lambda rng, shape: rng.random(shape) < share


def of_some_rows(axis: int, exponent: int, every: int = 2) -> Factors:
    """Return 1 for one of ``every`` rows along an axis, and 2^exponent for the others."""

    def factors(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        row = np.arange(shape[axis]) % every
        return np.where(row, 2.0**exponent, 1).reshape([-1 if i == axis else 1 for i in range(len(shape))])

    return factors


def of_quiet_sequences(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return 1 for the odd sequences of ``[T, B, n]`` and else 0."""
    return np.arange(shape[1])[:, None] % 2


def by_gate(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return 2^-8 to 1 for each row of weights, so that some gates weigh less and have smaller gradients."""
    return 2.0 ** rng.integers(-8, 1, (shape[0], 1))


NO_STATE_GRADIENTS = dict.fromkeys(("dh_n", "dc_n", "dc"), constant(0))
ALL_GRADIENTS = ("dy", "dh_n", "dc_n", "dc")
GRADIENTS: dict[str, dict[str, Factors]] = {
    "of the last step": {"dy": last_step, **NO_STATE_GRADIENTS},
    "of few outputs": {"dy": some(0.01), **NO_STATE_GRADIENTS},
    "of outliers": {"dy": sometimes(0.001, 1e4)},
    "of single steps": {"dy": lambda rng, shape: 2.0 ** rng.integers(-30, 11, (*shape[:-1], 1)), "dh_n": constant(1e-9)},
    "of weak gates": {"W": by_gate, "R": by_gate},
    "of quiet sequences": {"x": of_some_rows(1, -14), "dy": of_quiet_sequences, **NO_STATE_GRADIENTS},
    "of units with small weights": {
        **dict.fromkeys(("dy", "dc"), of_some_rows(2, 12, every=16)),
        **dict.fromkeys(("dh_n", "dc_n"), of_some_rows(1, 12, every=16)),
        **dict.fromkeys(("W", "R"), of_some_rows(0, -12, every=16)),
    },
    "huge": dict.fromkeys(ALL_GRADIENTS, constant(2.0**100)),
    "tiny": dict.fromkeys(ALL_GRADIENTS, constant(2.0**-100)),
}
LAYERS = [  # with the sizes (T, B, I, H); 40 units are three vectors, in panels of two
    (CELLS[8], (12, 48, 96, 160)),
    (CELLS[3], (12, 48, 96, 160)),
    (CELLS[4], (9, 20, 40, 40)),
    (CELLS[0], (9, 20, 70, 70)),
]


@pytest.mark.parametrize("factors", GRADIENTS.values(), ids=GRADIENTS)
@pytest.mark.parametrize(("options", "sizes"), LAYERS, ids=lambda value: name(value) if isinstance(value, dict) else "")
def test_gradients_are_as_accurate_as_float32s(
    options: dict[str, object], sizes: tuple[int, ...], factors: dict[str, Factors]
) -> None:
    cases = [scaled(make_case(options, *sizes, "float32", seed=seed), factors) for seed in range(3)]
    assert_as_accurate_as_float32(cases)


def test_gradients_near_the_largest_float_stay_finite() -> None:
    case = make_case(CELLS[6], 3, 16, 64, 64, "float32")
    small = {key: constant(2.0**-8) for key in ("W", "R")}
    found = arrays_of(scaled(case, small | dict.fromkeys(ALL_GRADIENTS, constant(2.0**122))), "high")
    assert all(np.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize("options", [CELLS[3], CELLS[8]], ids=name)
def test_bits_do_not_depend_on_threads_that_share_the_hidden_units(options: dict[str, object], set_threads) -> None:
    case, found = make_case(options, 6, 5, 64, 320, "float32"), []
    for count in (1, 2, 3):
        set_threads(count)
        found.append(arrays_of(case, "high"))
    (plan,) = backends.load("c").plan(StackSpec(case.spec, precision="high"), 6, 5)
    assert plan.split == "hidden"
    assert all(np.array_equal(found[0][key], other[key]) for other in found[1:] for key in other)


def test_a_gradient_that_is_not_finite_reaches_what_depends_on_it() -> None:
    case = make_case(CELLS[6], 5, 16, 64, 64, "float32")
    dy = case.dy.copy()
    dy[3, 5, 7] = np.nan
    high, full = (arrays_of(replace(case, dy=dy), precision) for precision in ("high", "highest"))
    assert np.isnan(full["dx"][:4, 5]).all()
    assert not np.isnan(full["dx"][4]).any()
    for key in full:
        np.testing.assert_array_equal(np.isnan(high[key]), np.isnan(full[key]), err_msg=key)


def test_a_row_of_zeros_and_a_sequence_without_steps_have_no_gradient() -> None:
    case = make_case(CELLS[8], 5, 20, 64, 64, "float32", lengths=True)
    lengths = np.where(np.arange(20) == 11, 0, case.lengths)
    found = arrays_of(replace(case, lengths=lengths, dy=case.dy * (np.arange(20) != 4)[:, None]), "high")
    assert not found["dx"][:, 11].any()
    assert np.isfinite(found["dx"]).all()
