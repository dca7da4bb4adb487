"""Conversion of parts to tokens and back, transposition of tokens, and the time at each token.

:class:`fastrnn.music.vocabulary.PartVocabulary` defines the tokens, and :class:`fastrnn.music._model.grammar.Grammar` their
order. A part on the grid is restored exactly from its tokens, except for velocities.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import checks
from .piece import Note, Part, separated, separated_columns
from .vocabulary import DURATION, PITCH, SHIFT, UNIT, PartVocabulary

Ids = NDArray[np.int64]


def encode(part: Part, vocabulary: PartVocabulary, *, end: bool = True) -> Ids:
    """Encode a part as tokens, int64 ``[N]``, with the end token unless ``end`` is False.

    Raises ValueError for a note outside the vocabulary's range, and for notes that sound together if the vocabulary is
    monophonic (:func:`fastrnn.music._midi.roles.skyline` makes a line of them).
    """
    return encode_notes(*part.arrays()[:3], vocabulary, end=end)


def encode_notes(onset: Ids, duration: Ids, pitch: Ids, vocabulary: PartVocabulary, *, end: bool = True) -> Ids:
    """Encode notes given as three integer arrays ``[number of notes]`` in any order, as :func:`encode` does a part."""
    onset, duration, pitch = separated_columns(onset, duration, pitch)
    outside = np.flatnonzero((pitch < vocabulary.low) | (pitch > vocabulary.high))
    if len(outside):
        limits = f"{vocabulary.low}..{vocabulary.high}"
        raise ValueError(f"part must have pitches in {limits}, got {pitch[outside[0]]} at tick {onset[outside[0]]}")
    before = np.zeros_like(onset)
    before[1:] = onset[:-1] if vocabulary.polyphonic else onset[:-1] + duration[:-1]
    shift = onset - before
    if len(shift) and shift.min() < 0:
        at = onset[shift.argmin()]
        raise ValueError(
            f"part must have one note at a time, got several at tick {at}: take its skyline, or polyphonic tokens"
        )
    # For each note: LONG shifts, a shift, a pitch, LONG durations, a duration.
    long_shifts, rest = np.divmod(shift, UNIT)
    long_durations, last = np.divmod(duration - 1, UNIT)
    ones = np.ones_like(shift)
    counts = np.stack([long_shifts, ones, ones, long_durations, ones], 1)
    ids = np.empty_like(counts)
    ids[:, 0], ids[:, 1] = vocabulary.long_shift, rest
    ids[:, 2] = vocabulary.first_pitch + pitch - vocabulary.low
    ids[:, 3], ids[:, 4] = vocabulary.long_duration, vocabulary.first_duration + last
    tokens = np.repeat(ids.ravel(), counts.ravel())
    return np.append(tokens, vocabulary.end) if end else tokens


def decode(ids: Any, vocabulary: PartVocabulary, *, name: str = "", program: int = 0, velocity: int = 80) -> Part:
    """Decode tokens ``ids`` (integers ``[N]``) to a part.

    An incomplete last note and tokens after the end are dropped. Every sequence that
    :class:`fastrnn.music._model.grammar.Grammar` allows can be decoded. ``name``, ``program`` and the ``velocity`` of all
    notes are not in the tokens.

    Raises ValueError for a token that cannot follow the previous ones, and TypeError if ``ids`` are not integers ``[N]``.
    """
    ids = _checked(ids, vocabulary)
    kind, value, complete = vocabulary.kinds()[ids], vocabulary.values()[ids], vocabulary.complete()[ids]
    at = np.flatnonzero(kind == PITCH)
    onset = clock(ids, vocabulary)[at]
    # A note's duration tokens lie between its pitch and the next: their sum is a difference of cumulative sums.
    spoken = np.concatenate([[0], np.cumsum(np.where(kind == DURATION, value, 0))])
    duration = spoken[np.append(at, len(ids))[1:]] - spoken[at]
    whole = np.count_nonzero(complete & (kind == DURATION))
    at, onset, duration = at[:whole], onset[:whole], duration[:whole]
    rows = zip(onset.tolist(), duration.tolist(), value[at].tolist(), strict=True)
    notes = tuple(Note(start, length, pitch, velocity) for start, length, pitch in rows)
    if vocabulary.polyphonic and notes != separated(notes):
        raise ValueError(
            "ids must be notes that can be played together, got a held key struck again, or a chord written downwards"
        )
    return Part(name, program, False, notes)


def clock(ids: Any, vocabulary: PartVocabulary) -> Ids:
    """Return the time in ticks before each token of ``ids`` (integers ``[N]``) and after the last, int64 ``[N+1]``.

    Before a pitch or its duration this is the note's onset. Before a shift it is the end of the last note (monophonic) or
    its onset (polyphonic). The time depends on previous tokens only, so a model may use it to predict the token.
    """
    passes = np.isin(vocabulary.kinds(), (SHIFT,) if vocabulary.polyphonic else (SHIFT, DURATION))
    ticks = np.where(passes, vocabulary.values(), 0)
    return np.concatenate([[0], np.cumsum(ticks[np.asarray(ids, np.int64)])])


def keys(ids: Any, vocabulary: PartVocabulary, span: Iterable[int] = range(12)) -> dict[int, int]:
    """Map each key, 0..11 semitones up, to the smallest transposition into it that stays within the vocabulary's range.

    A fifth up therefore becomes a fourth down. Keys that do not fit are left out.
    """
    values = vocabulary.values()[np.asarray(ids, np.int64)]
    pitch = values[vocabulary.kinds()[np.asarray(ids, np.int64)] == PITCH]
    low, high = int(pitch.min(initial=127)), int(pitch.max(initial=0))
    moves: dict[int, int] = {}
    for key in span:
        octaves = (key % 12 + 12 * octave for octave in range(-11, 11))
        fitting = [move for move in octaves if vocabulary.low <= low + move and high + move <= vocabulary.high]
        if fitting:
            moves[key % 12] = min(fitting, key=lambda move: (abs(move), move))
    return moves


def transposed(ids: Any, vocabulary: PartVocabulary, semitones: int) -> Ids:
    """Transpose tokens up by ``semitones``. Raises ValueError if a note would leave the range."""
    ids = np.asarray(ids, np.int64)
    pitch = vocabulary.kinds()[ids] == PITCH
    moved: Ids = np.where(pitch, ids + semitones, ids)
    if (vocabulary.kinds()[np.clip(moved, 0, len(vocabulary) - 1)] != vocabulary.kinds()[ids]).any():
        raise ValueError(f"semitones must keep all notes in {vocabulary.low}..{vocabulary.high}, got {semitones}")
    return moved


def _checked(ids: Any, vocabulary: PartVocabulary) -> Ids:
    """Check ids, and return those before the end token. Raises TypeError, or ValueError if kinds are out of order."""
    ids = checks.integers("ids", ids, "be integers of shape [N]")
    if ids.ndim != 1:
        raise TypeError(f"ids must be integers of shape [N], got {checks.describe(ids)}")
    ids = ids.astype(np.int64)
    if ids.size and not (ids.min() >= 0 and ids.max() < len(vocabulary)):
        bad = ids[(ids < 0) | (ids >= len(vocabulary))][0]
        raise ValueError(f"ids must be in 0..{len(vocabulary) - 1}, got {bad}")
    ends = np.flatnonzero(ids == vocabulary.end)
    used: Ids = ids[: ends[0]] if len(ends) else ids
    kind = vocabulary.kinds()[used]  # an end does not occur in it
    due = np.zeros_like(kind)
    due[1:] = np.where(vocabulary.complete()[used[:-1]], (kind[:-1] + 1) % 3, kind[:-1])
    wrong = np.flatnonzero(kind != due)
    if len(wrong):
        names = vocabulary.names()
        raise ValueError(
            f"ids must follow the grammar, got {names[used[wrong[0]]]} at {wrong[0]}, where a "
            f"{('shift', 'pitch', 'duration')[due[wrong[0]]]} was due"
        )
    if len(ends) and len(used) and not (kind[-1] == DURATION and vocabulary.complete()[used[-1]]):
        raise ValueError(f"ids must follow the grammar, got an end at {len(used)}, within a note")
    return used
