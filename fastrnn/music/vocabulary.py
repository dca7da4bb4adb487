r"""The tokens of a part.

A part is a sequence of notes, and each note is three kinds of token in turn: the time before it, its pitch, its duration.
With ``UNIT`` = 48 ticks (four quarters):

.. code-block:: text

    shift d,    d = 0..47       d ticks, then the pitch             ids 0..47
    shift LONG                  48 ticks, and more shift follows    id 48
    pitch p,    p = low..high                                       ids 49..49+P-1, P = high - low + 1
    duration d, d = 1..48       d ticks, and the note is complete   ids 49+P..49+P+47
    duration LONG               48 ticks, and more follows          id 49+P+48
    end                         of the part, in place of a shift    id 49+P+49

A shift counts from the end of the previous note in monophonic parts, where notes cannot overlap. In polyphonic parts it
counts from the previous onset, so a shift of 0 makes a chord, whose notes are written from the lowest up. Each part has only
one spelling.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._core import checks

UNIT = 48  # ticks: the longest time of one token
SHIFT, PITCH, DURATION, END = range(4)  # kinds


@dataclass(frozen=True, slots=True)
class PartVocabulary:
    """Tokens of parts with pitches ``low``..``high`` (0..127, an instrument's range), monophonic or ``polyphonic``.

    Raises ValueError or TypeError for invalid pitches.
    """

    unit: ClassVar[str] = "token"

    low: int = 21
    high: int = 108
    polyphonic: bool = False

    def __post_init__(self) -> None:
        checks.positive_int("low", self.low, 0)
        if checks.positive_int("high", self.high, self.low) > 127:
            raise ValueError(f"high must be at most 127, got {self.high}")
        checks.flag("polyphonic", self.polyphonic)

    @property
    def pitches(self) -> int:
        """The number of pitches, P."""
        return self.high - self.low + 1

    @property
    def long_shift(self) -> int:
        """The id of LONG among the shifts: UNIT ticks, then another shift token."""
        return UNIT

    @property
    def first_pitch(self) -> int:
        """The id of the pitch ``low``."""
        return UNIT + 1

    @property
    def first_duration(self) -> int:
        """The id of the duration of 1 tick."""
        return self.first_pitch + self.pitches

    @property
    def long_duration(self) -> int:
        """The id of LONG among the durations: UNIT ticks, then another duration token."""
        return self.first_duration + UNIT

    @property
    def end(self) -> int:
        """The id that ends a part."""
        return self.long_duration + 1

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    def __len__(self) -> int:
        """Return V, the number of ids."""
        return self.end + 1

    def kinds(self) -> NDArray[np.int64]:
        """Return the kind of each id, int64 ``[V]``: SHIFT, PITCH, DURATION or END."""
        counts = (UNIT + 1, self.pitches, UNIT + 1, 1)
        return np.repeat(np.arange(4), counts).astype(np.int64)

    def values(self) -> NDArray[np.int64]:
        """Return the value of each id, int64 ``[V]``: ticks for shifts and durations, the pitch, 0 for the end."""
        shifts, durations = np.arange(UNIT + 1), np.append(np.arange(1, UNIT + 1), UNIT)
        return np.concatenate([shifts, np.arange(self.low, self.high + 1), durations, [0]]).astype(np.int64)

    def complete(self) -> NDArray[np.bool_]:
        """Return a mask of the ids that the next kind follows, bool ``[V]``: all but the two LONG and the end."""
        done = np.ones(len(self), np.bool_)
        done[[self.long_shift, self.long_duration, self.end]] = False
        return done

    def names(self) -> list[str]:
        """Return the ids in words, such as ``shift 6``, ``pitch 60``, ``duration 3``, ``shift long`` or ``end``."""
        words = np.array(["shift", "pitch", "duration", "end"])[self.kinds()]
        names = [f"{word} {value}" for word, value in zip(words, self.values(), strict=True)]
        names[self.long_shift], names[self.long_duration], names[self.end] = "shift long", "duration long", "end"
        return names
