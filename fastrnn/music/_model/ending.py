"""A mask of the tokens that lead to an ending: the last note begins in the closing bar and is a tone of its chord."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..piece import TICKS
from ..vocabulary import DURATION, PITCH, UNIT, PartVocabulary


class Ending:
    """The rule for the closing bar, from tick ``start`` to ``end``, over a chord of these ``pitch_classes``.

    Notes before the closing bar end by its beginning. The first note in it begins on one of its ``beats``, is a tone of the
    chord, lasts a quarter or longer, and is the last one. In a polyphonic part the last notes are a chord on the first beat.
    """

    def __init__(
        self, vocabulary: PartVocabulary, start: int, end: int, beats: Sequence[int], pitch_classes: frozenset[int]
    ) -> None:
        self.vocabulary, self.start, self.end = vocabulary, start, end
        shortest = min(TICKS, end - start)
        self._shortest = shortest
        places = [beat for beat in beats if start <= beat <= end - shortest] or [start]
        self._places = np.array(places[:1] if vocabulary.polyphonic else places)
        pitches = np.arange(vocabulary.low, vocabulary.high + 1) % 12
        self._tones = np.isin(pitches, list(pitch_classes)) if pitch_classes else np.ones(len(pitches), bool)

    def mask(self, due: int, time: int, held: int, free: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Return the tokens that the rule allows, bool ``[V]``.

        ``due`` and ``time`` are the grammar's, ``held`` is the length of an unfinished note so far. ``free [P]`` are the
        keys that may be added to the last chord if a note of it was struck, else None.
        """
        words, allowed = self.vocabulary, np.ones(len(self.vocabulary), np.bool_)
        if due == PITCH:
            if time >= self.start:
                allowed[words.first_pitch : words.first_duration] = self._tones
        elif due == DURATION:
            onset = time if words.polyphonic else time - held
            shortest, limit = (self._shortest, self.end) if onset >= self.start else (1, self.start)
            lengths = held + np.arange(1, UNIT + 1)
            allowed[words.first_duration : words.long_duration] = (lengths >= shortest) & (onset + lengths <= limit)
            allowed[words.long_duration] = onset + held + UNIT < limit
        elif free is not None:  # another note of the last chord, or the end
            allowed[: UNIT + 1] = False
            allowed[0] = (free & self._tones).any()
        else:
            then = time + np.arange(UNIT)
            allowed[:UNIT] = (then < self.start) | np.isin(then, self._places)
            allowed[words.long_shift] = time + UNIT <= self._places[-1]
            allowed[words.end] = False
        return allowed
