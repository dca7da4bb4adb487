"""Registry of the backends, the implementations of the kernels, and the choice of the one in use."""

from __future__ import annotations

import importlib
import os
import warnings
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from .._core.cache import ARRAYS, VERSION
from .._core.checks import SettingError
from ._c import extension as c_extension

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .base import Backend

# Module of each backend, in the order in which they are tried when no backend was chosen by name.
MODULES = {"c": "._c.backend", "numba": "._numba.backend", "reference": ".reference"}
NAMES = tuple(MODULES)

_chosen: str | None = None


class BackendUnavailable(ImportError):
    """A backend that was chosen by name cannot run here; the message says why and what to do."""


@cache
def load(name: str) -> Backend:
    """Import a backend. Raises ValueError for an unknown name, BackendUnavailable if it cannot run here."""
    if name not in NAMES:
        raise ValueError(f"backend must be one of {', '.join(NAMES)}, got {name!r}")
    try:
        module = importlib.import_module(MODULES[name], __package__)
    except ImportError as error:
        raise BackendUnavailable(f"backend {name!r} is not available: {error}") from error
    backend: Backend = module.BACKEND
    return backend


@cache
def available() -> tuple[str, ...]:
    """Return the names of the backends that load here, the preferred one first."""
    found = []
    for name in NAMES:
        try:
            load(name)
        except BackendUnavailable:
            continue
        found.append(name)
    return tuple(found)


@cache
def _best() -> str:
    """Return the name of the first backend that loads, in order of preference.

    Later ones are not imported, because importing Numba is slow. Warns if an earlier one failed, because slower kernels
    should not be used unnoticed.
    """
    missing = []
    for name in NAMES:
        try:
            load(name)
        except BackendUnavailable as error:
            missing.append(str(error))
            continue
        if missing and not c_extension.missing():  # importing the package warned already
            warnings.warn(
                f"using backend {name!r}, because {'; '.join(missing)}. `fastrnn info` says what to do; "
                f"FASTRNN_BACKEND={name} chooses it without this warning",
                stacklevel=2,
            )
        return name
    raise BackendUnavailable(f"no backend is available: {'; '.join(missing)}")


def warn_of_missing_kernels() -> None:
    """Warn if the package has no C kernels, in a checkout or as installed, and say what to type."""
    fault = None if os.environ.get("FASTRNN_BACKEND") else c_extension.missing()
    if fault:
        rest = "until then slower kernels are used (FASTRNN_BACKEND=numba chooses them without this warning)"
        warnings.warn(f"{fault}; {rest}", stacklevel=3)


def current(name: str | None = None) -> Backend:
    """Return the backend in use: the argument, else ``use_backend``'s, else ``FASTRNN_BACKEND``, else the best one here.

    Layers call this after their weights or the choice have changed, not at every call.
    """
    wanted = os.environ.get("FASTRNN_BACKEND")
    if wanted and wanted not in NAMES:
        raise SettingError(f"FASTRNN_BACKEND must be one of {', '.join(NAMES)}, got {wanted!r}")
    return load(name or _chosen or wanted or _best())


def arrays_key(name: str | None = None) -> tuple[Backend, Any, object]:
    """Return the key for caching a form of parameters and gradients; its first item is the backend from :func:`current`."""
    arrays, backend = ARRAYS.latest, current(name)
    return backend, backend.settings(), arrays


@contextmanager
def _restoring(previous: str | None) -> Iterator[None]:
    try:
        yield
    finally:
        _choose(previous)


def _choose(name: str | None) -> None:
    global _chosen
    _chosen = name
    VERSION.increment()


def use_backend(name: str | None) -> AbstractContextManager[None]:
    """Choose the backend for the whole process: ``"c"``, ``"numba"``, ``"reference"``, or None for the default.

    The choice takes effect at once. As a context manager (``with use_backend("numba"):``) it restores the previous choice at
    the end. Raises ValueError for an unknown name and BackendUnavailable if the backend cannot run here.
    """
    if name is not None:
        load(name)
    previous = _chosen
    _choose(name)
    return _restoring(previous)
