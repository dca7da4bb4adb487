"""How many threads the C kernels may use, and threadpoolctl's view of them.

Numba's kernels and the reference run on the calling thread alone.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

from . import backends
from ._core import checks
from ._core.version import __version__


def _library() -> Any:
    """The C library's binding, or None where it was not built."""
    try:
        backends.load("c")
    except backends.BackendUnavailable:
        return None
    return sys.modules["fastrnn._fastrnn"].lib


def get_num_threads() -> int:
    """The number of threads a call may use at most: ``set_num_threads``, ``FASTRNN_NUM_THREADS``, or one per processor."""
    library = _library()
    return int(library.fastrnn_get_num_threads()) if library else 1


def set_num_threads(n: int) -> None:
    """Let every call of this process use at most ``n`` threads (at least 1, at most 256). Results do not depend on it.

    Raises TypeError or ValueError for a bad ``n``.
    """
    checks.positive_int("n", n)
    if n > 256:
        raise ValueError(f"n must be at most 256, got {n}")
    library = _library()
    if library:
        library.fastrnn_set_num_threads(n)


def announce_to_threadpoolctl() -> None:
    """Let ``threadpoolctl.threadpool_info`` and ``threadpool_limits`` see and limit the team, where both are installed.

    The library is loaded for it: limits set before the first call have to hold for that call too.
    """
    try:
        import threadpoolctl
    except ImportError:
        return
    with suppress(checks.SettingError):  # a bad setting is reported by the first call, where somebody can catch it
        if _library():
            threadpoolctl.register(_controller(threadpoolctl))


def _controller(threadpoolctl: ModuleType) -> type:
    class FastrnnController(threadpoolctl.LibController):  # type: ignore[misc, name-defined]
        """The extension module is the shared library; it exports the functions of the public header."""

        user_api = "fastrnn"
        internal_api = "fastrnn"
        filename_prefixes = ("_fastrnn",)
        check_symbols = ("fastrnn_get_num_threads", "fastrnn_set_num_threads")

        def get_num_threads(self) -> int:
            function = self.dynlib.fastrnn_get_num_threads
            function.restype = ctypes.c_int32
            return int(function())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.fastrnn_set_num_threads(ctypes.c_int32(num_threads))

        def get_version(self) -> str:
            return __version__

    return FastrnnController
