"""The catalogue of cases on which every backend is tested, and functions that run and compare a case::

    case = make_case(CELLS[5], T=7, B=5, I=4, H=6, lengths=True, reverse=True)
    assert_agree(run("c", case), run("reference", case), 1e-10)

Everything runs through :mod:`fastrnn.functional`, the path that users call.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import functional
from fastrnn.backends.structs import CellSpec, StackSpec, Weights

Array = NDArray[Any]

# Every variant of every cell, as options of CellSpec. Here proj_size only marks that there is a projection: make_case
# chooses its size. Without a reset gate, reset_after must make no difference.
CELLS: list[dict[str, Any]] = [
    {"cell": "rnn", "nonlinearity": "tanh"},
    {"cell": "rnn", "nonlinearity": "relu"},
    {"cell": "gru", "reset_after": True},
    {"cell": "gru", "reset_after": False},
    {"cell": "gru", "reset_gate": False},
    {"cell": "gru", "reset_gate": False, "reset_after": False},
    {"cell": "lstm"},
    {"cell": "lstm", "peephole": True},
    {"cell": "lstm", "proj_size": 1},
    {"cell": "lstm", "peephole": True, "proj_size": 1},
]

# Every combination of the options of make_case.
OPTIONS: list[dict[str, bool]] = [
    dict(zip(("bias", "lengths", "reverse", "ids"), values, strict=True))
    for values in itertools.product((True, False), repeat=4)
]


def name(options: dict[str, Any]) -> str:
    """Return a short name of a member of CELLS or OPTIONS, for ``pytest.mark.parametrize(..., ids=name)``."""
    words = [value if isinstance(value, str) else key for key, value in options.items() if value]
    absent = [f"no_{key}" for key, value in options.items() if value is False and key in ("bias", "reset_gate")]
    before = ["reset_before"] if options.get("reset_after") is False else []
    return "-".join(words + absent + before)


@dataclass(slots=True)
class Case:
    """Inputs of one layer and direction, forward and backward. ``dc`` is the gradient of all cell states.

    Change a part of it with ``dataclasses.replace``.
    """

    spec: CellSpec
    params: Weights
    x: Array
    h0: Array | None
    c0: Array | None
    lengths: Array | None
    reverse: bool
    dy: Array | None
    dh_n: Array | None
    dc_n: Array | None
    dc: Array | None


def make_case(
    variant: dict[str, Any],
    T: int,
    B: int,
    I: int,  # noqa: E741
    H: int,
    dtype: str = "float64",
    *,
    P: int | None = None,
    bias: bool = True,
    lengths: bool | Sequence[int] = False,
    reverse: bool = False,
    ids: bool = False,
    padding: float = np.nan,
    seed: int = 0,
) -> Case:
    """Return a case with random values, small enough to saturate no gate. The same arguments give the same values.

    ``P`` is the projection size, two thirds of H unless given. ``lengths=True`` draws lengths, among them 1 and T if B > 1,
    and 0 if B > 2. ``ids=True`` draws token ids instead of x, also -1. Past the lengths, x, dy and dc hold ``padding``,
    which a backend must not read.
    """
    rng = np.random.default_rng(seed)
    proj_size = (P or max(1, 2 * H // 3)) if variant.get("proj_size") else 0
    spec = CellSpec(**variant | {"input_size": I, "hidden_size": H, "dtype": dtype, "proj_size": proj_size})
    Y, lstm = spec.output_size, spec.cell == "lstm"

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    params = Weights(**{key: _parameter(rng, shape, dtype) for key, shape in spec.shapes(bias).items()})
    lengths_array = _lengths(rng, T, B, lengths)
    x = rng.integers(-1, I, size=(T, B)) if ids else normal(T, B, I)
    dy, dc = normal(T, B, Y), normal(T, B, H) if lstm else None
    for array in (x, dy, dc):
        if lengths_array is not None and array is not None and array.dtype == dtype:
            array[np.arange(T)[:, None] >= lengths_array] = padding
    return Case(
        spec=spec,
        params=params,
        x=x,
        h0=normal(B, Y),
        c0=normal(B, H) if lstm else None,
        lengths=lengths_array,
        reverse=reverse,
        dy=dy,
        dh_n=normal(B, Y),
        dc_n=normal(B, H) if lstm else None,
        dc=dc,
    )


def _parameter(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Return a parameter whose size leaves pre-activations and states around 1, however large the layer."""
    scale = shape[1] ** -0.5 if len(shape) == 2 else 0.5
    return (scale * rng.standard_normal(shape)).astype(dtype)


def _lengths(rng: np.random.Generator, T: int, B: int, lengths: bool | Sequence[int]) -> Array | None:
    if lengths is False:
        return None
    if lengths is not True:
        return np.asarray(lengths, dtype=np.int64)
    drawn = rng.integers(1, T + 1, size=B)
    if B > 1:
        drawn[rng.permutation(B)[:3]] = (1, T, 0)[:B]
    return drawn


def forward(backend: str | None, case: Case, **options: Any) -> Any:
    """Run a case forward through ``fastrnn.functional``, with any further options of its functions."""
    spec, params = case.spec, case.params
    arrays = (params.W, params.R, params.b_ih, params.b_hh)
    options = {"lengths": case.lengths, "reverse": case.reverse, "backend": backend} | options
    if spec.cell == "rnn":
        return functional.rnn_forward(case.x, case.h0, *arrays, nonlinearity=spec.nonlinearity, **options)
    if spec.cell == "gru":
        reset = {"reset_after": spec.reset_after, "reset_gate": spec.reset_gate}
        return functional.gru_forward(case.x, case.h0, *arrays, **reset, **options)
    extra = {"peephole": params.peephole, "projection": params.projection}
    return functional.lstm_forward(case.x, case.h0, case.c0, *arrays, **extra, **{"cell_states": True} | options)


def backward(tape: Any, case: Case, *, need_dx: bool = True) -> functional.Grads:
    """Run a case backward through ``fastrnn.functional``."""
    if case.spec.cell == "lstm":
        return functional.lstm_backward(tape, case.dy, case.dh_n, case.dc_n, case.dc, need_dx=need_dx)
    function = functional.rnn_backward if case.spec.cell == "rnn" else functional.gru_backward
    return function(tape, case.dy, case.dh_n, need_dx=need_dx)


def run(backend: str | None, case: Case) -> dict[str, Array]:
    """Return all outputs and gradients that the case has, by name.

    y, h_n, c_n, c, dx, dh0, dc0, dW, dR, db_ih, db_hh, dpeephole, dprojection.
    """
    out = forward(backend, case)
    results = out._asdict() | backward(out.tape, case)._asdict()
    return {key: value for key, value in results.items() if key != "tape" and value is not None}


def inputs(case: Case) -> dict[str, Array]:
    """Return the floating-point inputs of a case by name; ``run`` names the gradient of each "d" + its name."""
    params = {f.name: getattr(case.params, f.name) for f in fields(Weights)}
    arrays = {"x": case.x if case.x.ndim == 3 else None, "h0": case.h0, "c0": case.c0} | params
    return {key: value for key, value in arrays.items() if value is not None}


def relative_error(a: Array, b: Array) -> float:
    """Return max|a - b| / max|b|; max|a| if b is all zero; NaN if either has a NaN. The shapes must be equal."""
    assert a.shape == b.shape, f"shape {a.shape} is not {b.shape}"
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.max(np.abs(a - b), initial=0) / (np.max(np.abs(b), initial=0) or 1.0))


def assert_agree(got: dict[str, Array], wanted: dict[str, Array], tolerance: float) -> None:
    """Assert equal names, and for each name a relative error of at most ``tolerance``; any NaN fails."""
    assert got.keys() == wanted.keys()
    errors = {key: relative_error(got[key], wanted[key]) for key in wanted}
    wrong = {key: error for key, error in errors.items() if not error <= tolerance}
    assert not wrong, f"relative errors above {tolerance}: {wrong}"


def planned(spec, T, B, backward, isa=None, threads=0):
    """Return the C library's split and threads for forward or backward; a layer's ``plan`` covers forward only."""
    from fastrnn.backends._c import backend as c
    from fastrnn.backends._c import stack as c_stack

    stack = c_stack.kernel_of(StackSpec(spec), c.settings.isa if isa is None else isa).stack
    split, many = c.ffi.new("int32_t *"), c.ffi.new("int32_t *")
    c.lib.fastrnn_plan(stack, 0, [(T, B, c.ffi.NULL, 0, threads)], backward, split, many)
    return c._SPLITS[split[0]], many[0]


def digest(backend: str) -> dict[str, bytes]:
    """Return a hash of one run that two threads share. Spawned processes import this function."""
    case = make_case(CELLS[7], 6, 50, 9, 100, "float32", lengths=True)
    return {key: value.tobytes() for key, value in run(backend, case).items()}
