"""The C library as Python sees it: settings, pointers, and memory for its workspaces."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._core import checks
from ..._core.cache import VERSION
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
    "kept_workspace",
    "lib",
    "pointer",
    "set_isa",
    "settings",
    "take_workspace",
]

Array = NDArray[Any]

_extension: Any = c_extension.load()
ffi, lib = _extension.ffi, _extension.lib
NULL, from_buffer = ffi.NULL, ffi.from_buffer

DTYPES = {"float32": lib.FASTRNN_FLOAT32, "float64": lib.FASTRNN_FLOAT64}


def isa_names() -> tuple[str, ...]:
    """The instruction sets compiled in that this processor runs, the best first."""
    every = range(lib.fastrnn_isa_count())
    return tuple(ffi.string(lib.fastrnn_isa_name(i)).decode() for i in every if lib.fastrnn_isa_runs(i))


class _Settings:
    """What the environment chose at the start, and :func:`set_isa` later."""

    def __init__(self) -> None:
        self.isa = lib.fastrnn_isa_default()
        if self.isa < 0:
            names, wanted = ", ".join(isa_names()), os.environ.get("FASTRNN_ISA")
            raise checks.SettingError(f"FASTRNN_ISA must be one of {names} on this processor, got {wanted!r}")
        threads = os.environ.get("FASTRNN_NUM_THREADS")
        if threads:
            if not threads.isdecimal() or not 1 <= int(threads) <= 256:
                raise checks.SettingError(f"FASTRNN_NUM_THREADS must be an integer from 1 to 256, got {threads!r}")
            lib.fastrnn_set_num_threads(int(threads))


settings = _Settings()


class _Workspace(threading.local):
    """This thread's workspace."""

    memory: tuple[int, Any] = -1, None  # its size, which fits nothing yet, and a pointer that keeps it


kept_workspace = _Workspace()


def set_isa(name: str | None) -> None:
    """Use this instruction set from now on (None: the default). Raises ValueError for one that does not run here.

    Layers pack their weights anew for it.
    """
    if name is not None:
        checks.choice("isa", name, isa_names())
    settings.isa = lib.fastrnn_isa_default() if name is None else lib.fastrnn_isa_find(name.encode())
    VERSION.increment()


def info() -> dict[str, Any]:
    """The ISA in use, those available, the compiler and the number of threads."""
    return {
        "isa": ffi.string(lib.fastrnn_isa_name(settings.isa)).decode(),
        "isas_available": list(isa_names()),
        "compiler": ffi.string(lib.fastrnn_compiler()).decode(),
        "threads": lib.fastrnn_get_num_threads(),
    }


def pointer(array: Array | None) -> Any:
    return NULL if array is None else from_buffer(array)


def int64s(array: Array | None) -> Any:
    return ffi.NULL if array is None else ffi.from_buffer("int64_t[]", array)


def take_workspace(size: int) -> Any:
    """This thread's workspace, at least ``size`` bytes."""
    if kept_workspace.memory[0] < size:
        memory = aligned(max(size, 4096))
        kept_workspace.memory = len(memory), from_buffer(memory)
    return kept_workspace.memory[1]


def aligned(size: int) -> Array:
    """Bytes that begin on a cache line; large ones from the pool."""
    block: Array = empty(size + 64, np.uint8)
    skip = -int(ffi.cast("uintptr_t", ffi.from_buffer(block))) % 64
    return block[skip : skip + size]
