"""A language model's parts in the form of the backend in use, for its training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import backends
from ...backends.base import Backend
from ...backends.structs import TrainedModel


class Learner:
    """Keeps a model in the backend's form, made anew when the backend or an array is another one."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        # What the content was made from, and the content: set at once, as another thread may look in between.
        self._kept: tuple[Any, Any] = None, None

    def __reduce__(self) -> tuple[type[Learner], tuple[()]]:
        return Learner, ()  # a copy of a model prepares its own

    def prepared(self, name: str | None, model: Callable[[], TrainedModel]) -> tuple[Backend, Any]:
        """Return the backend called ``name`` (None: the one in use), and its form of the model.

        The caller holds the locks of the layers, so that no other thread makes other gradients meanwhile.
        """
        backend, now = backends.present(name)
        made_from, content = self._kept
        if made_from != now:
            model()  # makes gradients where there are none, which is a change
            backend, now = backends.present(name)
            content = backend.prepare_model(model())
            self._kept = now, content
        return backend, content
