"""Access to the C library from Python: settings, pointers, and memory for workspaces."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from ..._core import checks
from ..._core.arrays import Array
from ..._core.cache import SETTINGS
from ..._core.memory import empty
from . import extension as c_extension

__all__ = [
    "DTYPES",
    "NULL",
    "aligned",
    "ffi",
    "from_buffer",
    "info",
    "int64s",
    "isa_names",
    "lib",
    "pointer",
    "set_isa",
    "settings",
    "take_workspace",
    "thread_workspace",
]

_extension: Any = c_extension.load()
ffi, lib = _extension.ffi, _extension.lib
NULL, from_buffer = ffi.NULL, ffi.from_buffer

DTYPES = {"float32": lib.FASTRNN_FLOAT32, "float64": lib.FASTRNN_FLOAT64}


def isa_names() -> tuple[str, ...]:
    """Return the compiled instruction sets that this processor can run, the best first."""
    every = range(lib.fastrnn_isa_count())
    return tuple(ffi.string(lib.fastrnn_isa_name(i)).decode() for i in every if lib.fastrnn_isa_runs(i))


class _Settings:
    """Settings from the environment; :func:`set_isa` changes the instruction set later."""

    def __init__(self) -> None:
        self.isa = lib.fastrnn_isa_default()
        if self.isa < 0:
            names, wanted = ", ".join(isa_names()), os.environ.get("FASTRNN_ISA")
            if not names:
                raise checks.SettingError("the compiled kernels must have an instruction set of this processor, got none")
            raise checks.SettingError(f"FASTRNN_ISA must be one of {names} on this processor, got {wanted!r}")
        threads = os.environ.get("FASTRNN_NUM_THREADS")
        if threads:
            if not threads.isdecimal() or not 1 <= int(threads) <= 256:
                raise checks.SettingError(f"FASTRNN_NUM_THREADS must be an integer from 1 to 256, got {threads!r}")
            lib.fastrnn_set_num_threads(int(threads))


settings = _Settings()


class _Workspace(threading.local):
    """The current thread's workspace."""

    memory: tuple[int, Any] = -1, None  # size (-1: no memory yet), and a pointer that keeps the memory alive


thread_workspace = _Workspace()


def set_isa(name: str | None) -> None:
    """Choose the instruction set (None: the default). Raises ValueError for one that does not run here.

    Layers pack their weights again for it.
    """
    if name is not None:
        checks.choice("isa", name, isa_names())
    with SETTINGS.changing():
        settings.isa = lib.fastrnn_isa_default() if name is None else lib.fastrnn_isa_find(name.encode())


def info() -> dict[str, Any]:
    """Return the instruction set in use, those available, the compiler, the number of threads, and their source."""
    return {
        "isa": ffi.string(lib.fastrnn_isa_name(settings.isa)).decode(),
        "isas_available": list(isa_names()),
        "compiler": ffi.string(lib.fastrnn_compiler()).decode(),
        "threads": lib.fastrnn_get_num_threads(),
        "workers": "openmp" if lib.fastrnn_uses_openmp() else "own",
    }


def pointer(array: Array | None) -> Any:
    return NULL if array is None else from_buffer(array)


def int64s(array: Array | None) -> Any:
    return ffi.NULL if array is None else ffi.from_buffer("int64_t[]", array)


def take_workspace(size: int) -> Any:
    """Return the current thread's workspace, with at least ``size`` bytes."""
    if thread_workspace.memory[0] < size:
        memory = aligned(max(size, 4096))
        thread_workspace.memory = len(memory), from_buffer(memory)
    return thread_workspace.memory[1]


def aligned(size: int) -> Array:
    """Allocate bytes that begin on a cache line; large blocks come from the pool."""
    block: Array = empty(size + 64, np.uint8)
    skip = -int(ffi.cast("uintptr_t", ffi.from_buffer(block))) % 64
    return block[skip : skip + size]
