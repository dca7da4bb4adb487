"""Both directions of a layer for backends that make one pass at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import memory
from ..checks import plain
from .protocol import Forward, Params

Array = NDArray[Any]


class OneByOne:
    """The protocol's ``forward_both`` and ``backward_both`` through its ``forward`` and ``backward``."""

    forward: Callable[..., Forward]
    backward: Callable[..., tuple[Array | None, Array, Array | None]]

    def forward_both(
        self,
        prepared: Sequence[Any],
        x: Array,
        h0: Array | None,
        c0: Array | None,
        lengths: Array | None = None,
        *,
        keep_tape: bool = False,
        cell_states: bool = False,
    ) -> Forward:
        """Forward, then reverse."""
        outs = []
        for layer, h, c, reverse in zip(prepared, _each(h0), _each(c0), (False, True), strict=True):
            options = {"reverse": reverse, "keep_tape": keep_tape, "cell_states": cell_states}
            outs.append(self.forward(layer, x, h, c, lengths, **options))
        c_n = [out.c_n for out in outs if out.c_n is not None]
        c_all = [out.c for out in outs if out.c is not None]
        return Forward(
            _joined([out.y for out in outs]),
            np.stack([out.h_n for out in outs]),
            np.stack(c_n) if c_n else None,
            _joined(c_all) if c_all else None,
            [out.tape for out in outs],
        )

    def backward_both(
        self,
        tapes: Sequence[Any],
        dy: Array | None,
        dh_n: Array | None,
        dc_n: Array | None,
        dc: Array | None,
        grads: Sequence[Params],
        *,
        need_dx: bool = True,
    ) -> tuple[Array | None, Array, Array | None]:
        """Forward's, then reverse's."""
        upstream = zip(_split(dy), _each(dh_n), _each(dc_n), _split(dc), strict=True)
        each = zip(tapes, upstream, grads, strict=True)
        (dx, other), dh0, dc0 = zip(*(self.backward(t, *d, g, need_dx=need_dx) for t, d, g in each), strict=True)
        if dx is not None:
            dx += other
        return dx, np.stack(dh0), None if dc0[0] is None else np.stack(dc0)


def _each(state: Array | None) -> Sequence[Array | None]:
    """Of both directions."""
    return (None, None) if state is None else list(state)


def _joined(parts: Sequence[Array]) -> Array:
    """The directions' outputs side by side."""
    size = sum(part.shape[-1] for part in parts)
    return np.concatenate(parts, axis=-1, out=memory.empty((*parts[0].shape[:-1], size), parts[0].dtype))


def _split(joined: Array | None) -> Sequence[Array | None]:
    """The inverse of :func:`_joined` on gradients."""
    return (None, None) if joined is None else [plain(part) for part in np.split(joined, 2, axis=-1)]
