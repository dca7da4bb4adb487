"""Split products ("high") on a matrix unit, or on a build that emulates one: their errors compared with float32's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from cases import Case

import fastrnn
from fastrnn import functional
from fastrnn.backends.structs import StackSpec, Weights

ISA = "amx"
HAS_UNIT = fastrnn.LSTM(1, 1).plan(1, 1)[0].isa == ISA
needs_unit = pytest.mark.skipif(not HAS_UNIT, reason="needs a matrix unit, or a build that emulates it")


def arrays_of(case: Case, precision: str, backend: str = "c") -> dict[str, np.ndarray]:
    """Return all outputs and gradients of a case, by name."""
    spec = StackSpec(case.spec, reverse=case.reverse, precision=precision)
    c0 = None if case.c0 is None else case.c0[None]
    out = functional.stack_forward(
        spec, [case.params], case.x, case.h0[None], c0,
        lengths=case.lengths, cell_states=case.c0 is not None, backend=backend, keep_tape=True,
    )  # fmt: skip
    dc_n = None if case.dc_n is None else case.dc_n[None]
    grads = functional.stack_backward(out.tape, case.dy, case.dh_n[None], dc_n, case.dc)
    found = {"y": out.y, "h_n": out.h_n, "c_n": out.c_n, "dx": grads.dx, "dh0": grads.dh0, "dc0": grads.dc0}
    found |= {f"d{key}": value for key, value in grads.weights[0].items()}
    return {key: value for key, value in found.items() if value is not None}


def in_float64(case: Case) -> Case:
    def convert(value: object) -> object:
        return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype == np.float32 else value

    names = ("x", "h0", "c0", "dy", "dh_n", "dc_n", "dc")
    params = Weights(**{key: convert(value) for key, value in case.params.items()})
    spec = replace(case.spec, dtype="float64")
    return replace(case, spec=spec, params=params, **{key: convert(getattr(case, key)) for key in names})


Factors = Callable[[np.random.Generator, tuple[int, ...]], object]


def scaled(case: Case, factors: dict[str, Factors]) -> Case:
    """Return the case with some arrays, or some of its parameters, times factors that are drawn for their shapes."""
    rng = np.random.default_rng(7)

    def product(key: str, array: np.ndarray) -> np.ndarray:
        return (array * factors[key](rng, array.shape)).astype(np.float32) if key in factors else array

    params = Weights(**{key: product(key, value) for key, value in case.params.items()})
    own = {key: product(key, getattr(case, key)) for key in factors if getattr(case, key, None) is not None}
    return replace(case, params=params, **own)


def assert_as_accurate_as_float32(cases: list[Case], runs: bool = True) -> None:
    """Compare errors against float64 with float32's own: at most twice, in rms and in 99 of 100 values.

    ``runs`` says whether products are split, or fall back to float32.
    """
    own, others = ([arrays_of(case, precision) for case in cases] for precision in ("high", "highest"))
    exact = [arrays_of(in_float64(case), "highest") for case in cases]
    assert all(np.array_equal(a["y"], b["y"]) != runs for a, b in zip(own, others, strict=True))
    for key in exact[0]:
        error, bound = (
            np.abs(np.concatenate([(found[key] - right[key]).ravel() for found, right in zip(results, exact, strict=True)]))
            for results in (own, others)
        )
        assert np.sqrt(np.mean(error**2)) <= 2 * np.sqrt(np.mean(bound**2)), key
        assert np.quantile(error, 0.99) <= 2 * np.quantile(bound, 0.99), key


def constant(value: float) -> Factors:
    return lambda rng, shape: value


def sometimes(share: float, value: float) -> Factors:
    return lambda rng, shape: np.where(rng.random(shape) < share, value, 1)


def by_row(largest: int) -> Factors:
    return lambda rng, shape: 2.0 ** rng.integers(-30, largest + 1, (*shape[:-1], 1))


def by_column(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 2.0 ** rng.integers(-30, 11, shape[-1])


def compensating(sign: int) -> Factors:
    """Return 2^8 for a third of the columns, or 2^-8 with the other sign, and 1 for the others."""
    return lambda rng, shape: np.where(np.arange(shape[-1]) % 3, 1, 2.0 ** (8 * sign))
