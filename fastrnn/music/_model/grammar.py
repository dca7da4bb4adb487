"""Which token may come next: under this mask every sequence that can be sampled is a part that can be played.

That is: no key is struck while it is held. How far a hand reaches is not known here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..vocabulary import END, PITCH, SHIFT, UNIT, PartVocabulary

NEVER = np.iinfo(np.int64).max // 2  # when a key is released that cannot be played


class Grammar:
    """Where a sequence of tokens has come to: what :meth:`mask` allows, :meth:`advance` takes.

    In a line the mask follows from the kind of token that is due. Where notes may sound together, a note of a chord is also
    higher than the one before it, no key is struck while it is held, and no shift leads to where every key is held. There is
    always a token that is allowed, and a note can always be completed.

    ``low`` and ``high`` narrow the pitches to those of an instrument. ``due`` is the kind of the next token, ``time`` what
    has passed, in ticks (see :func:`fastrnn.music.tokens.clock`). Raises ValueError where no pitch is left.
    """

    def __init__(self, vocabulary: PartVocabulary, low: int = 0, high: int = 127) -> None:
        self.vocabulary = vocabulary
        self.due = SHIFT
        self.time = 0
        self._values = vocabulary.values()
        self._complete = vocabulary.complete()
        by_kind = vocabulary.kinds() == np.arange(4)[:, None]
        by_kind[SHIFT, vocabulary.end] = True  # an end may stand where a shift may, unless a part of one came before
        self._by_kind = by_kind
        self._amid = False  # after LONG
        self._pitch, self._held = vocabulary.low, 0  # of the note that is being written: its pitch, its ticks so far
        self._onset = -1  # of the last note
        self._last = vocabulary.low - 1  # its pitch
        pitches = np.arange(vocabulary.low, vocabulary.high + 1)
        playable = (low <= pitches) & (pitches <= high)
        if not playable.any():
            raise ValueError(f"low and high must leave a pitch of {vocabulary.low}..{vocabulary.high}, got {low}..{high}")
        by_kind[PITCH, vocabulary.first_pitch + np.flatnonzero(~playable)] = False
        self._free = np.where(playable, 0, NEVER)  # when each key is released

    def take_over(self, other: Grammar) -> None:
        """Go on from where the other one, of the same vocabulary, has come to, with the pitches of this one."""
        self.due, self.time, self._amid = other.due, other.time, other._amid
        self._pitch, self._held, self._onset, self._last = other._pitch, other._held, other._onset, other._last
        self._free = np.maximum(self._free, other._free)

    def mask(self) -> NDArray[np.bool_]:
        """Which ids may come next, bool ``[V]``, a new array."""
        allowed: NDArray[np.bool_] = self._by_kind[self.due].copy()
        if self.due == SHIFT:
            allowed[self.vocabulary.end] = not self._amid
            if self.vocabulary.polyphonic:
                allowed[:UNIT] &= self._shifts()
        elif self.due == PITCH and self.vocabulary.polyphonic:
            first = self.vocabulary.first_pitch
            allowed[first : first + self.vocabulary.pitches] = self._keys()
        return allowed

    def advance(self, token: int) -> None:
        """Take the next token. Raises ValueError for one that :meth:`mask` does not allow."""
        if not (0 <= token < len(self._values) and self.mask()[token]):
            shown = self.vocabulary.names()[token] if 0 <= token < len(self._values) else "no token"
            due = ("shift or end", "pitch", "duration", "end")[self.due]
            raise ValueError(f"token must be one that may follow, a {due}, got {token}: {shown}")
        value = int(self._values[token])
        if token == self.vocabulary.end:
            self.due = END
        elif self.due == SHIFT:
            self.time += value
        elif self.due == PITCH:
            self._pitch, self._held = value, 0
        else:
            self._lengthen(value, bool(self._complete[token]))
        self._amid = not self._complete[token]
        if self._complete[token]:
            self.due = (self.due + 1) % 3

    def _lengthen(self, ticks: int, complete: bool) -> None:
        """``ticks`` more of the note that is being written. In a line time passes with it."""
        if not self.vocabulary.polyphonic:
            self.time += ticks
            return
        self._held += ticks
        if complete:
            self._onset, self._last = self.time, self._pitch
            self._free[self._pitch - self.vocabulary.low] = self.time + self._held

    def _keys(self) -> NDArray[np.bool_]:
        """Which keys can be struck now, bool ``[P]``."""
        keys: NDArray[np.bool_] = self._free <= self.time
        if self.time == self._onset:
            keys[: self._last - self.vocabulary.low + 1] = False
        return keys

    def _shifts(self) -> NDArray[np.bool_]:
        """Which shifts that are complete lead to where a key can be struck, bool ``[UNIT]``."""
        shifts: NDArray[np.bool_] = self.time + np.arange(UNIT) >= self._free.min()
        shifts[0] = self._keys().any()
        return shifts
