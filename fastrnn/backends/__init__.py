"""The implementations of the kernels, by name, and which of them is in use."""

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

# The modules by the backends' names, in the order in which they are tried when nobody asked for one by name.
MODULES = {"c": "._c.backend", "numba": "._numba.backend", "reference": ".reference"}
NAMES = tuple(MODULES)

_chosen: str | None = None


class BackendUnavailable(ImportError):
    """A backend was asked for by name and cannot run here; the message says why and what to do."""


@cache
def load(name: str) -> Backend:
    """Import a backend. Raises ValueError for an unknown name, BackendUnavailable when it cannot run here."""
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
    """The names of the backends that load here, the preferred one first."""
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
    """The first backend in order of preference that loads; later ones (Numba is slow to import) are not touched.

    Warns when that is not the first one: nobody should use slower kernels for months without knowing.
    """
    missing = []
    for name in NAMES:
        try:
            load(name)
        except BackendUnavailable as error:
            missing.append(str(error))
            continue
        if missing and not c_extension.missing():  # which was told when the package was imported
            warnings.warn(
                f"using backend {name!r}, as {'; '.join(missing)}. `fastrnn info` says what to do; "
                f"FASTRNN_BACKEND={name} chooses it on purpose, without this warning",
                stacklevel=2,
            )
        return name
    raise BackendUnavailable(f"no backend is available: {'; '.join(missing)}")


def tell_of_missing_kernels() -> None:
    """Warn, where the package is imported from a checkout that has no C kernels, and say what to type."""
    fault = None if os.environ.get("FASTRNN_BACKEND") else c_extension.missing()
    if fault:
        rest = "until then slower kernels serve (FASTRNN_BACKEND=numba chooses them on purpose, without this warning)"
        warnings.warn(f"{fault}; {rest}", stacklevel=3)


def current(name: str | None = None) -> Backend:
    """The backend in use: the argument, else ``use_backend``'s, else ``FASTRNN_BACKEND``, else the best one here.

    Layers ask when their weights or the choice have changed, not at every call.
    """
    wanted = os.environ.get("FASTRNN_BACKEND")
    if wanted and wanted not in NAMES:
        raise SettingError(f"FASTRNN_BACKEND must be one of {', '.join(NAMES)}, got {wanted!r}")
    return load(name or _chosen or wanted or _best())


def arrays_key(name: str | None = None) -> tuple[Backend, Any, object]:
    """Return the backend as :func:`current` does, and with it the key of a form that it has of parameters and gradients."""
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

    Takes effect at once; as a context manager (``with use_backend("numba"):``) it restores the previous choice at the end.
    Raises ValueError for an unknown name and BackendUnavailable when the backend cannot run here.
    """
    if name is not None:
        load(name)
    previous = _chosen
    _choose(name)
    return _restoring(previous)
