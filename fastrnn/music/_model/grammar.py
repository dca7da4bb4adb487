"""A mask of the tokens that may come next: every sequence sampled under it is a part that can be played.

In such a part no key is struck while it is held. The reach of a hand is not considered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..vocabulary import END, PITCH, SHIFT, UNIT, PartVocabulary

NEVER = np.iinfo(np.int64).max // 2  # the release of a key outside the range: it is never free


class Grammar:
    """The state of a sequence of tokens: :meth:`advance` takes the tokens that :meth:`mask` allows.

    In a monophonic part the mask depends on the kind of the next token alone. In a polyphonic part each note of a chord must
    be higher than the previous one, no key is struck while it is held, and no shift leads to a time at which every key is
    held. Some token is always allowed, and a note can always be completed.

    ``low`` and ``high`` limit the pitches to those of an instrument. The attribute ``due`` is the kind of the next token,
    and ``time`` the current tick (see :func:`fastrnn.music.tokens.clock`). Raises ValueError if no pitch is left.
    """

    def __init__(self, vocabulary: PartVocabulary, low: int = 0, high: int = 127) -> None:
        self.vocabulary = vocabulary
        self.due = SHIFT
        self.time = 0
        self._values = vocabulary.values()
        self._complete = vocabulary.complete()
        by_kind = vocabulary.kinds() == np.arange(4)[:, None]
        by_kind[SHIFT, vocabulary.end] = True  # an end may replace a shift, but not after a LONG shift
        self._by_kind = by_kind
        self._amid = False  # after LONG
        self._pitch, self._held = vocabulary.low, 0  # of the current note: its pitch, its ticks so far
        self._onset = -1  # of the last note
        self._last = vocabulary.low - 1  # its pitch
        pitches = np.arange(vocabulary.low, vocabulary.high + 1)
        playable = (low <= pitches) & (pitches <= high)
        if not playable.any():
            raise ValueError(f"low and high must leave a pitch of {vocabulary.low}..{vocabulary.high}, got {low}..{high}")
        by_kind[PITCH, vocabulary.first_pitch + np.flatnonzero(~playable)] = False
        self._free = np.where(playable, 0, NEVER)  # the tick from which each key can be struck

    def take_over(self, other: Grammar) -> None:
        """Continue from the state of another grammar of the same vocabulary, with the range of this one."""
        self.due, self.time, self._amid = other.due, other.time, other._amid
        self._pitch, self._held, self._onset, self._last = other._pitch, other._held, other._onset, other._last
        self._free = np.maximum(self._free, other._free)

    def mask(self) -> NDArray[np.bool_]:
        """Return a mask of the ids that may come next, bool ``[V]``, as a new array."""
        allowed: NDArray[np.bool_] = self._by_kind[self.due].copy()
        if self.due == SHIFT:
            allowed[self.vocabulary.end] = not self._amid
            if self.vocabulary.polyphonic:
                allowed[:UNIT] &= self._shifts()
        elif self.due == PITCH and self.vocabulary.polyphonic:
            first = self.vocabulary.first_pitch
            allowed[first : first + self.vocabulary.pitches] = self.keys()
        return allowed

    def advance(self, token: int) -> None:
        """Take the next token. Raises ValueError if :meth:`mask` does not allow it."""
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
        """Lengthen the current note by ``ticks``; in a monophonic part time advances too."""
        if not self.vocabulary.polyphonic:
            self.time += ticks
            return
        self._held += ticks
        if complete:
            self._onset, self._last = self.time, self._pitch
            self._free[self._pitch - self.vocabulary.low] = self.time + self._held

    def keys(self) -> NDArray[np.bool_]:
        """Return a mask of the keys that can be struck now, bool ``[P]``."""
        keys: NDArray[np.bool_] = self._free <= self.time
        if self.time == self._onset:
            keys[: self._last - self.vocabulary.low + 1] = False
        return keys

    def _shifts(self) -> NDArray[np.bool_]:
        """Return a mask of the complete shifts after which a key can be struck, bool ``[UNIT]``."""
        shifts: NDArray[np.bool_] = self.time + np.arange(UNIT) >= self._free.min()
        shifts[0] = self.keys().any()
        return shifts
