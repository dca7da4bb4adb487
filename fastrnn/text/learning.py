"""A training step of a language model - forward, loss, backward - in one call of the backend, where it offers one.

A small model's step on one short sequence takes as long as the calls that it is made of: an RNN of 100 units learns a name
of 10 characters in some 20 us of arithmetic. What is computed is what the layers compute one by one, to the bit.

A backend offers ``prepare_learner(parts)`` and ``learn(prepared, ids, targets, h0, c0, lengths, ignore_index)``, which adds
into the gradients of ``parts`` and gives ``loss, h_n, c_n``; or None, with no gradient changed, for a target that counts and
does not lie in 0..V-1. Shapes as in :class:`fastrnn.text.char_model.CharModel`; states of all layers, ``[L,B,...]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from .. import backends
from ..backends.protocol import Backend, CellSpec, Params

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """A model's recurrent layers, and its output layer's ``weight [V,Y]`` and ``bias [V]``, with their gradients."""

    specs: tuple[CellSpec, ...]
    params: tuple[Params, ...]
    grads: tuple[Params, ...]
    weight: Array
    bias: Array | None
    dweight: Array
    dbias: Array | None


class Learner:
    """A model's parts in the form of the backend in use, made anew when that or an array is another one."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        # What the content was made from, and the content: set at once, as another thread may look in between.
        self._kept: tuple[Any, Any] = None, None

    def __reduce__(self) -> tuple[type[Learner], tuple[()]]:
        return Learner, ()  # a copy of a model prepares its own

    def prepared(self, name: str | None, parts: Callable[[], Parts]) -> tuple[Backend, Any]:
        """The backend called ``name`` (None: the one in use), and its form of the parts, None if it offers none.

        The caller holds the locks of the layers, so that no other thread makes other gradients meanwhile.
        """
        backend, now = backends.present(name)
        made_from, content = self._kept
        if made_from != now:
            if hasattr(backend, "prepare_learner"):
                parts()  # makes gradients where there are none, which is a change
                backend, now = backends.present(name)
            make = getattr(backend, "prepare_learner", None)
            content = make(parts()) if make else None
            self._kept = now, content
        return backend, content
