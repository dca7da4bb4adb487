"""Denormal numbers as zero while a kernel runs, as in the C library.

They carry no information in a recurrent state, and as operands or results they make some processors twenty times slower.
On processors other than x86 and Arm nothing changes.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .jit import intrinsic

# FLUSH: the bits of the floating-point mode that make denormal results and operands zero.
X86, ARM = platform.machine() in ("x86_64", "AMD64"), platform.machine() in ("aarch64", "arm64")
FLUSH = 0x8040 if X86 else 1 << 24


@intrinsic
def flush_denormals(typing_context: Any) -> Any:
    """Treat denormals as zero from here on; returns the previous mode, for :func:`restore_denormals`."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        before = _read(builder)
        _write(builder, builder.or_(before, before.type(FLUSH)))
        return before

    return types.int64(), emit


@intrinsic
def restore_denormals(typing_context: Any, mode: Any) -> Any:
    """Restore a mode that :func:`flush_denormals` returned."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _write(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), emit


def _read(builder: ir.IRBuilder) -> ir.Value:
    if X86:
        place = cgutils.alloca_once(builder, ir.IntType(32))  # type: ignore[no-untyped-call]
        _call(builder, ir.VoidType(), "llvm.x86.sse.stmxcsr", _bytes(builder, place))
        return builder.zext(builder.load(place), ir.IntType(64))
    return _call(builder, ir.IntType(64), "llvm.aarch64.get.fpcr") if ARM else ir.IntType(64)(0)


def _write(builder: ir.IRBuilder, mode: ir.Value) -> None:
    if X86:
        place = cgutils.alloca_once_value(builder, builder.trunc(mode, ir.IntType(32)))  # type: ignore[no-untyped-call]
        _call(builder, ir.VoidType(), "llvm.x86.sse.ldmxcsr", _bytes(builder, place))
    elif ARM:
        _call(builder, ir.VoidType(), "llvm.aarch64.set.fpcr", mode)


def _bytes(builder: ir.IRBuilder, place: ir.Value) -> ir.Value:
    return builder.bitcast(place, ir.IntType(8).as_pointer())


def _call(builder: ir.IRBuilder, result: ir.Type, name: str, *operands: ir.Value) -> ir.Value:
    function = ir.FunctionType(result, [operand.type for operand in operands])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), operands)  # type: ignore[no-untyped-call]
