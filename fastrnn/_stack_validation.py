"""Validation of a stack's arguments; errors name the argument, what was expected and what was given."""

from __future__ import annotations

import numpy as np

from ._core import checks
from ._core.arrays import Array
from ._core.checks import PARAMETERS_DTYPE
from ._core.precision import optional_precision
from .backends.structs import BATCH_MAJOR, CELLS, PACKED, TIME_MAJOR, CellSpec, StackSpec, Weights

_AXES = {TIME_MAJOR: "T, B", BATCH_MAJOR: "B, T", PACKED: "N"}


def check_stack(stack: object) -> StackSpec:
    """Return the specification of a stack, with every field validated. Raises TypeError or ValueError."""
    if not isinstance(stack, StackSpec):
        raise TypeError(f"stack must be a StackSpec, got {checks.describe(stack)}")
    cell = stack.cell
    if not isinstance(cell, CellSpec):
        raise TypeError(f"stack.cell must be a CellSpec, got {checks.describe(cell)}")
    checks.choice("cell", cell.cell, CELLS)
    checks.choice("dtype", cell.dtype, checks.DTYPES)
    checks.choice("nonlinearity", cell.nonlinearity, ("tanh", "relu"))
    for name in ("input_size", "hidden_size"):
        checks.positive_int(name, getattr(cell, name))
    for name in ("reset_after", "reset_gate", "peephole"):
        checks.flag(name, getattr(cell, name))
    if checks.positive_int("proj_size", cell.proj_size, 0) >= cell.hidden_size:
        raise ValueError(f"proj_size must be less than hidden_size = {cell.hidden_size}, got {cell.proj_size}")
    if cell.cell != "lstm" and (cell.peephole or cell.proj_size):
        raise ValueError(f"peephole and proj_size must be left out of a stack of {cell.cell}: only an LSTM has them")
    checks.positive_int("layers", stack.layers)
    if checks.positive_int("directions", stack.directions) > 2:
        raise ValueError(f"directions must be 1 or 2, got {stack.directions}")
    checks.flag("reverse", stack.reverse)
    optional_precision(stack.precision)
    return stack


def check_weights(spec: CellSpec, weights: Weights) -> Weights:
    """Return the weights, validated against the spec and C-contiguous. Raises TypeError or ValueError."""
    if (weights.b_ih is None) != (weights.b_hh is None):
        given, missing = ("b_ih", "b_hh") if weights.b_hh is None else ("b_hh", "b_ih")
        raise ValueError(f"{missing} must be given when {given} is: both biases or neither")
    shapes = spec.shapes(bias=weights.b_ih is not None)
    extra = [name for name in ("peephole", "projection") if name not in shapes and getattr(weights, name) is not None]
    if extra:
        raise ValueError(f"{extra[0]} must be None: the specification of the cell has none")
    return Weights(**{name: check_array(name, getattr(weights, name), shape, spec) for name, shape in shapes.items()})


def check_array(name: str, value: object, shape: tuple[int, ...], spec: CellSpec, letters: str = "") -> Array:
    """Validate an array with :func:`fastrnn._core.checks.array`, for the spec's dtype."""
    return checks.array(name, value, shape, spec.dtype, letters, PARAMETERS_DTYPE)


def check_input(spec: CellSpec, x: object, rows: str = TIME_MAJOR) -> Array:
    """Return x as ``[T,B,I]`` of the spec's dtype or int64 ids ``[T,B]``. Raises TypeError or ValueError.

    ``rows`` can name another order of the rows: ``[B,T,I]`` or ``[N,I]``.
    """
    if not isinstance(x, np.ndarray):
        raise TypeError(f"x must be an array, got {checks.describe(x)}")
    axes = _AXES[rows]
    if x.dtype.kind in "iu":
        return _check_ids(spec, x, rows)
    wanted = f"a {spec.dtype} array of shape [{axes}, I={spec.input_size}] or integer token ids [{axes}]"
    ndim = 2 if rows == PACKED else 3
    if x.dtype != spec.dtype:
        # Floats [T, B] are probably ids, so converting them to the layer's dtype would not help.
        hint = checks.dtype_hint("x", x, spec.dtype, PARAMETERS_DTYPE) if x.ndim == ndim else ""
        raise TypeError(f"x must be {wanted}, got {checks.describe(x)}{hint}")
    if x.ndim != ndim or x.shape[-1] != spec.input_size:
        raise ValueError(f"x must be {wanted}, got {checks.describe(x)}")
    checks.steps(x, int(rows == BATCH_MAJOR))
    return checks.plain(x)


def _check_ids(spec: CellSpec, x: Array, rows: str) -> Array:
    if x.ndim != (1 if rows == PACKED else 2):
        raise ValueError(f"x must hold token ids in an array [{_AXES[rows]}], got {checks.describe(x)}")
    checks.steps(x, int(rows == BATCH_MAJOR))
    # A copy, because backward indexes with it and the caller may change the original.
    return np.array(checks.ids(x, spec.input_size), dtype=np.int64, order="C")


def check_lengths(lengths: object, T: int, B: int) -> Array | None:
    """Return lengths as int64 ``[B]``, each 0..T, or None if all are T. Raises TypeError or ValueError."""
    if lengths is None:
        return None
    array = checks.integers("lengths", lengths)
    if array.shape != (B,):
        raise ValueError(f"lengths must have shape [B] = ({B},), got shape {array.shape}")
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    if low < 0 or high > T:
        raise ValueError(f"lengths must each lie in 0..T = 0..{T}, got {low if low < 0 else high}")
    return None if (array == T).all() else np.array(array, dtype=np.int64)  # a copy, for the same reason as ids


def check_batch_sizes(batch_sizes: object, N: int) -> Array:
    """Return the lengths int64 ``[B]`` of the sequences that ``batch_sizes`` counts at each step.

    ``batch_sizes`` holds integers ``[T]`` from B down to at least 1, whose sum is N. Raises TypeError or ValueError.
    """
    sizes = checks.integers("batch_sizes", batch_sizes)
    if sizes.ndim != 1 or not sizes.size:
        raise ValueError(f"batch_sizes must have shape [T] with T >= 1, got shape {sizes.shape}")
    if sizes[-1] < 1 or (np.diff(sizes) > 0).any():
        raise ValueError(f"batch_sizes must not increase and must be at least 1, got {sizes.tolist()}")
    if sizes.sum() != N:
        raise ValueError(f"batch_sizes must add up to the N = {N} rows of x, got {sizes.sum()}")
    return lengths_of(sizes)


def lengths_of(batch_sizes: Array) -> Array:
    """Return the length of each sequence, the longest first, from the number of sequences that have each step."""
    steps_left = np.searchsorted(batch_sizes[::-1], np.arange(batch_sizes[0]), side="right")
    return len(batch_sizes) - steps_left.astype(np.int64)


def check_matrix(name: str, array: object) -> None:
    """Raise TypeError or ValueError unless ``array`` is a non-empty float array of two axes."""
    wanted = f"{name} must be a non-empty float32 or float64 array of two axes, got {checks.describe(array)}"
    if not isinstance(array, np.ndarray) or array.dtype not in checks.DTYPES:
        raise TypeError(wanted + checks.dtype_hint(name, array, checks.DTYPES[0], other=""))
    if array.ndim != 2 or array.size == 0:
        raise ValueError(wanted)
