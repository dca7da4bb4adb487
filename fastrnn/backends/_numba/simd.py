"""Memory and vectors in compiled code: matrices by address, vectors of floats as values.

Numba's own arrays would be slower. Numba vectorises a loop only if LLVM can prove that the arrays do not overlap, which it
cannot for the gates of one row, and slices of arrays take ten times as long to compile. Here a kernel uses vectors
explicitly, and float32 and float64 share its source.

``v + w``, ``-``, ``*``, ``/`` work lane by lane; ``a * b + c`` becomes a fused multiply-add if the processor has one. All
addresses and distances are in bytes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import overload, register_model
from numba.np.arrayobj import make_array

from .jit import VECTOR_BYTES, intrinsic, jit

CONTRACT = ("contract",)


class Matrix(NamedTuple):
    """A row-major matrix in memory: the address of its first element and the distance between rows.

    ``zero`` is 0 in the elements' type and so tells the compiler that type. The memory's owner must outlive the matrix.
    """

    address: int
    row: int
    zero: float


class Vector(types.Type):
    """Numba type of a vector that fills one register."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {self.lanes})")


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, ir_type(fe_type))  # type: ignore[no-untyped-call]


def ir_type(vector: Vector) -> ir.VectorType:
    """Return the LLVM type of a vector."""
    return ir.VectorType(ir.FloatType() if vector.dtype == types.float32 else ir.DoubleType(), vector.lanes)


def emit_load(builder: ir.IRBuilder, pointer: ir.Value, vector: Vector) -> ir.Value:
    """Emit the load of a vector from an address aligned for its elements."""
    value = builder.load(builder.bitcast(pointer, ir_type(vector).as_pointer()))
    value.align = vector.dtype.bitwidth // 8
    return value


def emit_store(builder: ir.IRBuilder, value: ir.Value, pointer: ir.Value, vector: Vector) -> None:
    """Emit the store of a vector to an address aligned for its elements."""
    store = builder.store(value, builder.bitcast(pointer, ir_type(vector).as_pointer()))
    store.align = vector.dtype.bitwidth // 8


def emit_splat(builder: ir.IRBuilder, scalar: ir.Value, vector: Vector) -> ir.Value:
    """Emit a vector with the same scalar in all lanes."""
    empty = ir.Constant(ir_type(vector), ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
    return builder.shuffle_vector(first, empty, lanes)


def byte_pointer(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Emit the conversion of an address to a byte pointer."""
    return builder.inttoptr(address, ir.IntType(8).as_pointer())


def _emit_place(builder: ir.IRBuilder, matrix: ir.Value, row: ir.Value, byte: ir.Value) -> ir.Value:
    address, distance, _ = cgutils.unpack_tuple(builder, matrix)  # type: ignore[no-untyped-call]
    return byte_pointer(builder, builder.add(builder.add(address, builder.mul(row, distance)), byte))


@intrinsic
def load(typing_context: Any, matrix: Any, row: Any, byte: Any) -> Any:
    """Read a vector from a row of a matrix, ``byte`` bytes after the row's start."""
    vector = Vector(matrix.types[2])

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit_load(builder, _emit_place(builder, *args), vector)

    return vector(matrix, types.intp, types.intp), emit


@intrinsic
def store(typing_context: Any, matrix: Any, row: Any, byte: Any, value: Any) -> Any:
    """Write a vector to a row of a matrix, ``byte`` bytes after the row's start."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_store(builder, args[3], _emit_place(builder, *args[:3]), value)
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, value), emit


@intrinsic
def load_element(typing_context: Any, matrix: Any, row: Any, byte: Any) -> Any:
    """Read a single number from a row of a matrix, ``byte`` bytes after the row's start."""
    element = matrix.types[2]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = context.get_value_type(element).as_pointer()
        return builder.load(builder.bitcast(_emit_place(builder, *args), pointer))

    return element(matrix, types.intp, types.intp), emit


@intrinsic
def store_element(typing_context: Any, matrix: Any, row: Any, byte: Any, value: Any) -> Any:
    """Write a single number to a row of a matrix, ``byte`` bytes after the row's start."""
    element = matrix.types[2]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[3], builder.bitcast(_emit_place(builder, *args[:3]), args[3].type.as_pointer()))
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, element), emit


@intrinsic
def item_size(typing_context: Any, matrix: Any) -> Any:
    """Return the bytes of a matrix's element."""
    size = matrix.types[2].bitwidth // 8

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_constant(types.intp, size)

    return types.intp(matrix), emit


@intrinsic
def copy_bytes(typing_context: Any, target: Any, source: Any, size: Any) -> Any:
    """Copy ``size`` bytes from one address to another; the two ranges do not overlap."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, origin = (byte_pointer(builder, address) for address in args[:2])
        cgutils.raw_memcpy(builder, to, origin, args[2], 1)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), emit


@intrinsic
def clear_bytes(typing_context: Any, target: Any, size: Any) -> Any:
    """Fill ``size`` bytes at an address with zeros."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        cgutils.memset(builder, byte_pointer(builder, args[0]), args[1], 0)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), emit


@intrinsic
def address_of(typing_context: Any, array: Any) -> Any:
    """Return the address of an array's first element."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = make_array(array)(context, builder, args[0]).data  # type: ignore[no-untyped-call]
        return builder.ptrtoint(data, context.get_value_type(types.intp))

    return types.intp(array), emit


@jit
def matrix(array: Any, row: int, zero: float) -> Matrix:
    """Return the matrix in a C-contiguous array with rows of ``row`` bytes; its address is 0 if the array is empty."""
    return Matrix(address_of(array) if array.size else 0, row, zero)


def constant(float32: float, float64: float | None = None) -> Any:
    """Make a function of a vector that returns a constant in all lanes of the same type."""
    return polynomial((float32,), (float32 if float64 is None else float64,))


def polynomial(float32: tuple[float, ...], float64: tuple[float, ...]) -> Any:
    """Make a function that evaluates a polynomial by Horner's rule; the coefficients begin with the constant term."""

    @intrinsic
    def evaluated(typing_context: Any, x: Any) -> Any:
        coefficients = float32 if x.dtype == types.float32 else float64

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            constants = [ir.Constant(ir_type(x), [value] * x.lanes) for value in coefficients]
            total = constants.pop()
            while constants:
                total = builder.fadd(builder.fmul(total, args[0], flags=CONTRACT), constants.pop(), flags=CONTRACT)
            return total

        return x(x), emit

    return evaluated


@intrinsic
def minimum(typing_context: Any, bound: Any, value: Any) -> Any:
    """Return the smaller of the two in each lane, and ``value`` where it is NaN."""
    return _bounded("<", bound)


@intrinsic
def maximum(typing_context: Any, bound: Any, value: Any) -> Any:
    """Return the larger of the two in each lane, and ``value`` where it is NaN."""
    return _bounded(">", bound)


def _bounded(comparison: str, vector: Vector) -> tuple[Any, Callable[..., Any]]:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(comparison, *args), *args)

    return vector(vector, vector), emit


@intrinsic
def where_positive(typing_context: Any, condition: Any, value: Any) -> Any:
    """Return ``value`` in the lanes where ``condition`` is above zero, else zero."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(ir_type(condition), None)
        return builder.select(builder.fcmp_ordered(">", args[0], zero), args[1], zero)

    return condition(condition, condition), emit


@intrinsic
def power_of_two(typing_context: Any, shifted: Any) -> Any:
    """Return 2^n; the lowest bits of each lane of ``shifted`` hold n plus the exponent's bias."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = shifted.dtype.bitwidth
        integers = ir.VectorType(ir.IntType(bits), shifted.lanes)
        mantissa = ir.Constant(integers, [23 if bits == 32 else 52] * shifted.lanes)
        return builder.bitcast(builder.shl(builder.bitcast(args[0], integers), mantissa), ir_type(shifted))

    return shifted(shifted), emit


def _operator(python_operator: Callable[..., Any], instruction: str) -> None:
    @intrinsic
    def on_vectors(typing_context: Any, a: Any, b: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args, flags=CONTRACT)

        return a(a, b), emit

    @overload(python_operator)
    def choose(a: Any, b: Any) -> Any:
        if not (isinstance(a, Vector) and a == b):
            return None

        def apply(a: Any, b: Any) -> Any:
            return on_vectors(a, b)

        return apply


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")
