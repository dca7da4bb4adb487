"""Step-by-step inference on one sequence; the backend's :class:`fastrnn.backends.base.Stream` holds the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..._core import checks
from ..._core.arrays import Array
from ..._core.cache import VERSION
from .axis_order import LAYOUTS
from .inputs import is_ids

if TYPE_CHECKING:
    from .base import Recurrent

State = Any

UNBATCHED = LAYOUTS[False][False]


class Stepper:
    """Step-by-step inference: ``y_t = stepper(x_t)``.

    It returns the same y as ``y, state = layer(x_t[None], state)``, in half of the time for a small layer.
    ``layer.stepper(state)`` makes a stepper. ``x_t [I]`` has the layer's dtype, or is one token id in -1..I-1; ``y_t [Y]``
    is a new array.

    The stepper holds the state: :attr:`state` reads it, :meth:`reset` sets it. Changed parameters apply from the next step
    on. A stepper runs one sequence, without a batch, and must not be used by two threads at once. Raises TypeError or
    ValueError for a wrong x, ValueError for a bidirectional layer, because its reverse direction would have to begin at the
    end.
    """

    __slots__ = ("_c", "_dtype", "_h", "_ids", "_layer", "_ready", "_stepped", "_stream", "_version", "_x", "_y")

    def __init__(self, layer: Recurrent, state: State = None) -> None:
        if layer.bidirectional:
            raise ValueError("layer must have one direction to run step by step: the reverse one begins at the last step")
        self._layer, self._dtype = layer, np.dtype(layer.dtype)
        self._x, self._y = (layer.input_size,), (layer._state_sizes[1],)
        self._ids = False
        self.reset(state)

    def __reduce__(self) -> tuple[Any, ...]:
        return Stepper, (self._layer, self.state)

    def reset(self, state: State = None) -> None:
        """Set the state, as the layer takes it unbatched; None is zeros. Raises TypeError or ValueError."""
        h, c = self._layer._check_state("state", state, 1, UNBATCHED)
        self._h, self._c = None if h is None else h.copy(), None if c is None else c.copy()
        self._stepped = False
        self._begin()

    @property
    def state(self) -> State:
        """The current state in new arrays, as the layer returns it unbatched: ``h [L,Y]``, or ``(h, c)`` for an LSTM."""
        self._fetch()
        count, Y, H = self._layer._state_sizes
        h, c = self._h, self._c
        if h is None:
            h = np.zeros((count, 1, Y), self._dtype)
        if c is None and self._layer.cell == "lstm":
            c = np.zeros((count, 1, H), self._dtype)
        return UNBATCHED.pack_state(h.copy(), None if c is None else c.copy())

    def __call__(self, x: Array | int) -> Array:
        """Run the next step and return its y."""
        if self._version is not VERSION.latest:
            self._update()
        if type(x) is np.ndarray and x.dtype == self._dtype and x.shape == self._x and not self._ids:
            y = np.empty(self._y, self._dtype)
            self._stream.step(x if x.flags.c_contiguous else checks.plain(x), y)
            self._stepped = True
            return y
        return self._other_step(x)

    def _other_step(self, x: Any) -> Array:
        """Run a step on a token id, or on a vector after ids. Raises TypeError or ValueError for a wrong x."""
        token = isinstance(x, (int, np.integer)) or (isinstance(x, np.ndarray) and x.ndim == 0 and x.dtype.kind in "iu")
        size = self._layer.input_size
        known = isinstance(x, np.ndarray) and (x.dtype == self._dtype or is_ids(x))
        if not token and (not known or x.dtype != self._dtype or x.shape != self._x):
            expected = f"a {self._dtype} array of shape [I={size}] or a token id: one step of one sequence"
            hint = checks.dtype_hint("x_t", x, self._dtype)
            raise (ValueError if known else TypeError)(f"x_t must be {expected}, got {checks.describe(x)}{hint}")
        x = checks.ids(np.asarray(x)[None], size, "x_t") if token else x[None]
        if self._ids != token:
            self._fetch()
            self._ids = token
            self._begin()
        y = np.empty(self._y, self._dtype)
        if token:
            self._stream.step_id(int(x[0]), y)
        else:
            self._stream.step(checks.plain(x[0]), y)
        self._stepped = True
        return y

    def _fetch(self) -> None:
        """Copy the state of the backend's stream to _h and _c."""
        if not self._stepped:
            return
        count, Y, H = self._layer._state_sizes
        self._h = np.empty((count, 1, Y), self._dtype)
        self._c = np.empty((count, 1, H), self._dtype) if self._layer.cell == "lstm" else None
        self._stream.states(self._h, self._c)
        self._stepped = False

    def _begin(self) -> None:
        """Start a stream of the backend in use, from _h and _c."""
        self._version, self._ready = VERSION.latest, self._layer.stack.prepared(self._layer.backend)
        self._stream = self._ready.backend.stream(self._ready.content, self._ids, self._h, self._c)
        self._stepped = False

    def _update(self) -> None:
        """Start a new stream after a change, if it affects the layer's weights or the backend."""
        version, ready = VERSION.latest, self._layer.stack.prepared(self._layer.backend)
        if ready is self._ready:
            self._version = version
            return
        self._fetch()
        self._begin()
