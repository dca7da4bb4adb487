"""Number and source of the C kernels' threads, and control of their number by threadpoolctl.

Numba's kernels and the reference backend run on the calling thread alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

from . import backends
from ._core import checks
from ._core.version import __version__

_set = bool(os.environ.get("FASTRNN_NUM_THREADS"))


def _library() -> Any:
    """Return the C library's binding, or None if the library was not built."""
    try:
        backends.load("c")
    except backends.BackendUnavailable:
        return None
    return sys.modules["fastrnn._fastrnn"].lib


def get_num_threads() -> int:
    """Return the largest number of threads a call may use.

    It is set by ``set_num_threads``, else by ``FASTRNN_NUM_THREADS``; the default is one per processor.
    """
    library = _library()
    return int(library.fastrnn_get_num_threads()) if library else 1


def set_num_threads(n: int) -> None:
    """Limit every call of this process to ``n`` threads, 1 to 256. Results do not depend on ``n``.

    Raises TypeError or ValueError for an invalid ``n``.
    """
    checks.positive_int("n", n)
    if n > 256:
        raise ValueError(f"n must be at most 256, got {n}")
    global _set
    _set = True
    library = _library()
    if library:
        library.fastrnn_set_num_threads(n)


def is_set() -> bool:
    """Return whether ``set_num_threads`` or ``FASTRNN_NUM_THREADS`` has set the number of threads."""
    return _set


def use_openmp_workers(use: bool = True) -> bool:
    """Run calls on PyTorch's OpenMP workers (or, if not ``use``, on the library's own); return whether they will.

    PyTorch's workers spin for some milliseconds after each operator and hold the cores that other threads would use. So in
    a script that alternates between PyTorch's operators and calls of this library, the calls are faster on the same workers.
    Results have the same bits.

    Returns False, and calls keep the library's own workers, if PyTorch is not imported, if its OpenMP library is not found,
    or in a forked child, where OpenMP would wait for the parent's workers. A child forked later has workers of its own.
    """
    library = _library()
    return bool(library and library.fastrnn_use_openmp(use))


def announce_to_threadpoolctl() -> None:
    """Register the C library's thread pool with threadpoolctl, if both are installed.

    ``threadpool_info`` then reports the pool and ``threadpool_limits`` limits it. This loads the library, because limits set
    before the first call must hold for that call.
    """
    try:
        import threadpoolctl
    except ImportError:
        return
    with suppress(checks.SettingError):  # the first call reports an invalid setting, where users can catch the error
        if _library():
            threadpoolctl.register(_controller(threadpoolctl))


def _controller(threadpoolctl: ModuleType) -> type:
    class FastrnnController(threadpoolctl.LibController):  # type: ignore[misc, name-defined]
        """Controller of the extension module, the shared library that exports the public header's functions."""

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
