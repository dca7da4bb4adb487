"""The decorators that compile, and the vector length that they compile for."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numba.extending

# Contraction to fused multiply-add only: sums keep the order in which they are written, so results are the same from run
# to run and do not depend on the size of the batch.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


_njit: Any = numba.njit  # Any, because its stubs lack some of its options


def jit(function: Callable[..., Any]) -> Any:
    """Compile a function that other compiled functions call."""
    return _njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(function)


def jit_entry(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls, and cache the machine code on disk if a cache directory is writable.

    Numba identifies a cached function by its name and the contents of its own file, but these functions are built from
    several files. So the name contains a digest of all of them: after a change to any of them, no stale code is loaded.
    """
    function.__qualname__ += f"_{_sources_digest()}"
    try:
        return _njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # "no locator available": neither NUMBA_CACHE_DIR nor any default folder is writable
        return _njit(**OPTIONS)(function)


def intrinsic(function: Callable[..., Any]) -> Any:
    """Turn a function that emits instructions into one that compiled code can call."""
    return numba.extending.intrinsic(function)


@cache
def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _target() -> tuple[str, int]:
    """Return the instruction set that Numba compiles for, and the bytes of its vectors."""
    given: str | None = numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    if given is not None:  # NUMBA_CPU_FEATURES; empty for NUMBA_CPU_NAME=generic
        on = set(given.split(","))
    else:
        on = {f"+{name}" for name, present in llvmlite.binding.get_host_cpu_features().items() if present}
    if "+avx512f" in on:
        return "avx512", 64
    if "+avx2" in on:
        return "avx2", 32
    return ("neon" if platform.machine() in ("aarch64", "arm64") else "base"), 16


ISA, VECTOR_BYTES = _target()
