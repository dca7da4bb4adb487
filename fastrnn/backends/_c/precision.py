"""The precision of products that runs for a stack, a batch and its values."""

from __future__ import annotations

import numpy as np

from ..._core.arrays import Array
from ..precision import Choice
from ..structs import StackSpec
from .library import ffi, lib

PRODUCTS = {
    "highest": lib.FASTRNN_PRODUCTS_FULL,
    "high": lib.FASTRNN_PRODUCTS_SPLIT,
    "medium": lib.FASTRNN_PRODUCTS_BFLOAT16,
}
SMALLEST = 32  # hidden units; an RNN of 16 units takes 3 % longer, one of 32 is 1.2 times as fast (Zen 5, B = 1 to 128)
SMALLEST_BATCH = 16  # sequences on a matrix unit, whose tiles have 16 rows; a prototype gained nothing at 8
LARGEST_MISMATCH = 2.0  # of the columns of x and W in split products: the factor by which errors may grow
LARGEST_SUM = 64.0  # of those products: errors are 1.5 times float32's there, and over twice at sums of 4000 (H = 512)
MOST_UNLIKE = 8.0  # the largest column of weights that multiply states, in lower quartiles of all columns
# States of "high": with 128, a forward pass takes 1.18 times as long as in float32, with 256 it takes 0.95 times (LSTM,
# Emerald Rapids). Below 128 sums are so short that float32's errors may be less than half as large.
SMALLEST_SPLIT = 256


def choose(spec: StackSpec, isa: int, wanted: str) -> Choice:
    """Return the precision that runs for a stack: the wanted one if it is faster here, else ``"highest"``."""
    reason = _obstacle(wanted, spec, isa)
    return Choice("highest" if reason else wanted, reason)


def choose_for_batch(choice: Choice, isa: int, B: int) -> Choice:
    """Return the choice for batches of B sequences."""
    if smallest_batch(choice.precision, isa) <= B:
        return choice
    reason = f"on a matrix unit, {choice.precision} needs at least {SMALLEST_BATCH} sequences, and the batch has {B}"
    return Choice("highest", reason)


def smallest_batch(precision: str, isa: int) -> int:
    """Return the number of sequences, or of rows, from which on a chosen precision runs; smaller batches run in float32."""
    return SMALLEST_BATCH if precision != "highest" and has_matrix_unit(isa) else 0


def precision_for_rows(precision: str, isa: int, N: int) -> str:
    """Return a linear layer's precision for N rows."""
    return precision if smallest_batch(precision, isa) <= N else "highest"


def choose_linear(wanted: str, weight: Array, isa: int) -> str:
    """Return the precision of a linear layer of weight ``[O, I]``: "medium" if it is wanted and faster, else "highest"."""
    fast = wanted == "medium" and weight.dtype == np.float32 and multiplies_bfloat16(isa)
    return "medium" if fast and min(weight.shape) >= SMALLEST else "highest"


def multiplies_bfloat16(isa: int) -> bool:
    """Return whether an ISA has instructions for products of bfloat16 numbers that are faster than float32's here."""
    return bool(lib.fastrnn_multiplies_bfloat16(isa))


def has_matrix_unit(isa: int) -> bool:
    """Return whether an ISA multiplies on a matrix unit."""
    return bool(lib.fastrnn_has_matrix_unit(isa))


def largest_columns(operand: Array | None) -> Array | None:
    """Return the largest magnitudes ``[n]`` of the columns of an operand ``[..., n]``, or None if it cannot be split.

    Each row of n numbers must be zero, or have its largest magnitude between 2^-40 and 2^40, and at most 0.2 of its sum of
    squares from that number, or 0.4 if n < 512. A row of slices has one scale, so beside a number that outweighs the others
    these lose bits.
    """
    if operand is None or not operand.size:
        return np.zeros(1 if operand is None else operand.shape[-1], np.float32)
    n = operand.shape[-1]
    columns = np.empty(n, np.float32)
    given = ffi.from_buffer("float[]", operand), operand.size // n, n, ffi.from_buffer("float[]", columns)
    return columns if lib.fastrnn_splits_well(*given) else None


def alike(columns: Array) -> bool:
    """Return whether columns of weights that multiply states, with these largest magnitudes ``[n]``, are about as large.

    Where they are not, the states may make up for it, and the small states lose bits in slices of one scale.
    """
    return bool(columns.max() <= MOST_UNLIKE * np.quantile(columns, 0.25))


def matched(x_columns: Array, W_columns: Array) -> bool:
    """Return whether slices of x and W keep what matters to their product, given the columns' largest magnitudes ``[n]``.

    A row of slices has one scale, so its small numbers lose bits. They matter if W multiplies them by large ones: if the
    largest product of two columns is far below that of the largest columns. They also matter if sums are so large that gates
    depend on the few of them that happen to be small.
    """
    largest = x_columns.max() * W_columns.max()
    even = largest <= LARGEST_MISMATCH * (x_columns * W_columns).max()
    return bool(even and largest * len(x_columns) ** 0.5 <= LARGEST_SUM)


def _obstacle(wanted: str, spec: StackSpec, isa: int) -> str:
    """Return why the wanted precision does not run, or an empty string."""
    if wanted == "highest":
        return ""
    if spec.cell.dtype != "float32":
        return f"{wanted} is for float32, and the layer is {spec.cell.dtype}"
    reason = _obstacle_to_high(spec, isa) if wanted == "high" else _obstacle_to_medium(spec, isa)
    if not reason and spec.cell.hidden_size < SMALLEST:
        return f"{wanted} is not faster below {SMALLEST} hidden units, and the layer has {spec.cell.hidden_size}"
    return reason


def _obstacle_to_high(spec: StackSpec, isa: int) -> str:
    if spec.weights != "full":
        return f"high is for weights in float32, and these are {spec.weights}"
    if not has_matrix_unit(isa):
        return f"high needs a matrix unit (ISA amx), and {_name_of(isa)} is in use"
    if spec.cell.nonlinearity == "relu":
        return "high needs states with a bound, and relu has none"
    states = spec.cell.proj_size or spec.cell.hidden_size
    if states < SMALLEST_SPLIT:
        return f"high is not faster below {SMALLEST_SPLIT} states, and the layer has {states}"
    return ""


def _obstacle_to_medium(spec: StackSpec, isa: int) -> str:
    if spec.weights == "int8":
        return "medium is for weights in float32 or bfloat16, and these are int8"
    if multiplies_bfloat16(isa):
        return ""
    if _name_of(isa) == "avx512bf16":
        return "medium is faster than float32 on AMD's processors and on matrix units only, and this is another processor"
    return f"medium needs an ISA that multiplies bfloat16 (amx, avx512bf16), and {_name_of(isa)} is in use"


def _name_of(isa: int) -> str:
    return str(ffi.string(lib.fastrnn_isa_name(isa)).decode())
