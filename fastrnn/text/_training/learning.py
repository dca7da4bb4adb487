"""A language model's parts in the form of the backend in use, for its training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import backends
from ..._core.cache import Cached, cached
from ...backends.base import Backend
from ...backends.structs import TrainedModel


class Learner:
    """Keeps a model in the backend's form, made anew when the backend or an array is another one."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: Cached | None = None

    def __reduce__(self) -> tuple[type[Learner], tuple[()]]:
        return Learner, ()  # a copy of a model prepares its own

    def prepared(self, name: str | None, model: Callable[[], TrainedModel]) -> tuple[Backend, Any]:
        """Return the backend called ``name`` (None: the one in use), and its form of the model.

        The caller holds the locks of the layers, so that no other thread makes other gradients meanwhile.
        """
        key = backends.arrays_key(name)
        backend = key[0]
        self._kept = kept = cached(self._kept, key, lambda: backend.prepare_model(model()))
        return backend, kept.value
