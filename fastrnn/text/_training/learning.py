"""A cache of a language model in the backend's form, for its training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import backends
from ..._core.cache import SETTINGS, Cached, cached
from ...backends.base import Backend
from ...backends.structs import TrainedModel


class Learner:
    """Cache of a model in the backend's form, invalid after a change of the backend or of an array."""

    __slots__ = ("_prepared",)

    def __init__(self) -> None:
        self._prepared: Cached | None = None

    def __reduce__(self) -> tuple[type[Learner], tuple[()]]:
        return Learner, ()  # a copy of a model starts with an empty cache

    def prepared(self, name: str | None, model: Callable[[], TrainedModel]) -> tuple[Backend, Any]:
        """Return the backend called ``name`` (None: the one in use), and the model in its form.

        The caller holds the locks of the layers, so no other thread replaces gradients meanwhile.
        """
        settings, key = SETTINGS.latest, backends.arrays_key(name)
        backend = key[0]
        self._prepared = current = cached(self._prepared, key, lambda: backend.prepare_model(model()), settings=settings)
        return backend, current.value
