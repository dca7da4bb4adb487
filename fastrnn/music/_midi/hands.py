r"""Division of a piano part between two hands, and the velocities of both.

The hands are divided at a pitch that moves with the music. At onset t the right hand plays the pitches from s_t up. With p
the pitches struck there and L, R the left and the right hand's pitches, the divisions s minimise the sum over t of

.. code-block:: text

    cost(t) = span(L) + span(R) + near(s_t) + |s_t - MIDDLE| / FAR + |s_t - s_{t-1}| / SLOW

    span(X) = max(0, max X - min X - OCTAVE)            what a hand cannot reach
    near(s) = max(0, CLEAR - min_p |p + 1/2 - s|)       a division lies in a gap, not next to a note

They are found by dynamic programming (Viterbi, IEEE Trans. Inf. Theory 13, 1967). Pitches and weights are in semitones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._output.accompaniment import shaped
from .._output.statistics import Match, longest_match
from ..piece import Note, Part, separated
from .roles import skyline

RIGHT, LEFT = "right hand", "left hand"
# On nine rags with a track for each hand, 97 of 100 notes get the correct hand; a fixed division at MIDDLE gives 94.
MIDDLE, OCTAVE, TENTH = 64, 12, 16
CLEAR, FAR, SLOW = 4.0, 16.0, 2.0
DIVISIONS = np.arange(43, 78)  # the possible s: G2 .. F5
INNER = -12  # velocity of the right hand's lower notes, relative to its melody
LEFT_VELOCITY, ON_THE_BEAT = 62, 8  # of the left hand, and its accent


def hands(part: Part) -> tuple[Part, Part]:
    """Divide a part into ``right hand`` and ``left hand``, by the rule above; either may be empty."""
    notes = separated(part.notes)
    onset, _, pitch, _ = Part(notes=notes).arrays()
    starts = np.flatnonzero(np.diff(onset, prepend=-1))
    chords = np.split(pitch, starts[1:]) if len(pitch) else []
    division = np.repeat(_divisions(chords), [len(chord) for chord in chords])
    rights = (pitch >= division).tolist()
    right = tuple(note for note, mine in zip(notes, rights, strict=True) if mine)
    left = tuple(note for note, mine in zip(notes, rights, strict=True) if not mine)
    return replace(part, name=RIGHT, notes=right), replace(part, name=LEFT, notes=left)


def played(part: Part, beats: NDArray[np.int64]) -> tuple[Part, Part]:
    """Divide a part into :func:`hands`, and set velocities by rule; ``beats`` are its piece's, int64 ``[beats]``.

    The right hand's skyline is the melody, with the velocities of :func:`fastrnn.music._output.accompaniment.shaped`. Its
    other notes are softer. The left hand is soft too, with accents on the ``beats``. Chords wider than a tenth are
    :func:`rolled`.
    """
    right, left = hands(part)
    melody = shaped(skyline(right), beats).notes  # begins with the right hand's first onset
    onsets = [note.onset for note in melody]
    on_beat = frozenset(beats.tolist())

    def of_right(note: Note) -> int:
        top = melody[bisect_right(onsets, note.onset) - 1]
        return top.velocity if (note.onset, note.pitch) == (top.onset, top.pitch) else top.velocity + INNER

    def of_left(note: Note) -> int:
        return LEFT_VELOCITY + ON_THE_BEAT * (note.onset in on_beat)

    return rolled(_as_loud_as(right, of_right)), rolled(_as_loud_as(left, of_left))


def rolled(hand: Part) -> Part:
    """Spread chords wider than a tenth, which a hand cannot grasp: each higher note begins a tick later, and ends as before.

    A note that is too short for that keeps its last tick.
    """
    notes = []
    for chord in chords_of(hand):
        for place, note in enumerate(chord):
            delay = min(place, note.duration - 1) if is_wide(chord) else 0
            notes.append(replace(note, onset=note.onset + delay, duration=note.duration - delay))
    return replace(hand, notes=tuple(notes))


def chords_of(hand: Part) -> Iterator[tuple[Note, ...]]:
    """Yield the notes that begin together, from the lowest up."""
    return (tuple(chord) for _, chord in groupby(hand.notes, key=lambda note: note.onset))


def is_wide(chord: Sequence[Note]) -> bool:
    """Return whether a chord, given from the lowest note up, is wider than a tenth."""
    return chord[-1].pitch - chord[0].pitch > TENTH


def longest_match_of_hands(part: Part, others: Sequence[Part], *, metre: tuple[int, int] = (4, 4)) -> tuple[Match, str]:
    """Return the longest match, in any key, of a part or one hand with the same of ``others``, and the hand's name.

    The name is empty if the match is of the whole part. Hands are compared separately because a copied hand over a new one
    is not a run of the whole part. See :func:`fastrnn.music._output.statistics.longest_match`.
    """
    theirs = [hands(other) for other in others]
    matches = [(longest_match(part, others, metre=metre), "")]
    for i, (mine, hand) in enumerate(zip(hands(part), (RIGHT, LEFT), strict=True)):
        matches.append((longest_match(mine, [both[i] for both in theirs], metre=metre), hand))
    return max(matches, key=lambda match: match[0].bars)


def _as_loud_as(part: Part, velocity: Callable[[Note], int]) -> Part:
    return replace(part, notes=tuple(replace(note, velocity=velocity(note)) for note in part.notes))


def _divisions(chords: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return s_t for the sorted pitches of each onset, int64 ``[len(chords)]``."""
    move = np.abs(DIVISIONS[:, None] - DIVISIONS) / SLOW  # [to, from]
    least = np.zeros(len(DIVISIONS))  # the least cost of all paths to each s so far
    came_from = np.zeros((len(chords), len(DIVISIONS)), np.int64)
    for t, pitches in enumerate(chords):
        ways = least + move
        came_from[t] = ways.argmin(1)
        least = ways.min(1) + _cost(pitches)
    path = np.zeros(len(chords), np.int64)
    at = int(least.argmin())
    for t in reversed(range(len(chords))):
        path[t], at = at, int(came_from[t, at])
    return DIVISIONS[path]


def _cost(pitches: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute cost(t) of each s without the term in s_{t-1}, float64 ``[len(DIVISIONS)]``."""
    is_right = pitches >= DIVISIONS[:, None]
    near = np.maximum(0, CLEAR - np.abs(pitches + 0.5 - DIVISIONS[:, None]).min(1))
    cost: NDArray[Any] = near + np.abs(DIVISIONS - MIDDLE) / FAR + _span(pitches, is_right) + _span(pitches, ~is_right)
    return cost


def _span(pitches: NDArray[np.int64], mine: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Compute span(X) of the pitches in the mask ``mine [len(DIVISIONS), n]``; 0 if there are none."""
    highest = np.where(mine, pitches, -1).max(1)
    lowest = np.where(mine, pitches, 128).min(1)
    reach: NDArray[np.int64] = np.maximum(0, highest - lowest - OCTAVE)
    return reach
