"""Masks as lengths.

The kernels take sequences that begin at step 0 and end at their lengths. A mask whose valid steps lie together, such as that
of right or left padding, becomes such sequences by a rotation in time. Other masks have holes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops


class Span(NamedTuple):
    """The valid steps of each sequence: ``start`` and ``length``, integers ``[B, 1]``, among ``T`` steps."""

    start: Any
    length: Any
    T: int

    @property
    def steps(self) -> Any:
        """Return ``0..T-1`` as ``[1, T]``."""
        return ops.arange(self.T, dtype="int32")[None]

    def rotated(self, x: Any, back: bool = False) -> Any:
        """Return x ``[B, T, F]`` with each sequence's first valid step at 0, or ``back`` again."""
        index = ops.mod(self.steps - self.start if back else self.steps + self.start, self.T)
        return ops.take_along_axis(x, index[:, :, None], axis=1)

    def filled(self, y: Any, before: Any, after: Any) -> Any:
        """Return y ``[B, T, F]`` with ``before`` and ``after`` ``[B, F]`` in the steps on each side of the valid ones."""
        steps = self.steps
        y = ops.where((steps < self.start)[:, :, None], before[:, None], y)
        return ops.where((steps >= self.start + self.length)[:, :, None], after[:, None], y)


def span_of(mask: Any) -> tuple[Span, Any]:
    """Return the span of a mask ``[B, T]`` and, as a boolean scalar, whether the mask has no holes."""
    valid = ops.cast(mask, "bool")
    length = ops.sum(ops.cast(valid, "int32"), axis=1, keepdims=True)
    start = ops.cast(ops.argmax(ops.cast(valid, "int32"), axis=1), "int32")[:, None]
    span = Span(start, length, ops.shape(mask)[1])
    steps = span.steps
    whole = ops.logical_and(steps >= start, steps < start + length)
    return span, ops.all(ops.equal(valid, whole))
