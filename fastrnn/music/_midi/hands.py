r"""A piano's two hands: which one plays each note of a part, and how loud.

The hands are divided at a pitch that moves as the music does. With s_t the pitch from which the right hand plays at onset t,
p the pitches struck there and L, R the two hands' shares of them, the divisions s are those for which the sum over t of

.. code-block:: text

    cost(t) = span(L) + span(R) + near(s_t) + |s_t - MIDDLE| / FAR + |s_t - s_{t-1}| / SLOW

    span(X) = max(0, max X - min X - OCTAVE)            what a hand cannot reach
    near(s) = max(0, CLEAR - min_p |p + 1/2 - s|)       a division lies in a gap, not beside a note

is least, found by dynamic programming (Viterbi, IEEE Trans. Inf. Theory 13, 1967). Pitches and weights in semitones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._output.accompaniment import shaped
from .._output.statistics import Match, longest_match
from ..piece import Note, Part, separated
from .roles import skyline

RIGHT, LEFT = "right hand", "left hand"
# On nine rags with a track for each hand 97 of 100 notes fall to the right one, divided at MIDDLE alone 94.
MIDDLE, OCTAVE = 64, 12
CLEAR, FAR, SLOW = 4.0, 16.0, 2.0
DIVISIONS = np.arange(43, 78)  # where s may lie: G2 .. F5
INNER = -12  # how much louder the right hand's lower notes are than its melody
LEFT_VELOCITY, ON_THE_BEAT = 62, 8  # of the left hand, and its accent


def hands(part: Part) -> tuple[Part, Part]:
    """The part's notes as ``right hand`` and ``left hand``, by the rule above; either may have none."""
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
    """The two :func:`hands`, with velocities by rule.

    The right hand's skyline is the melody, with the velocities of :func:`fastrnn.music._output.accompaniment.shaped`; what
    it plays below the melody's notes, or while they sound, is softer, and so is the left hand, which has its accents on the
    ``beats`` (those of the part's piece, int64 ``[beats]``).
    """
    right, left = hands(part)
    melody = shaped(skyline(right), beats).notes  # it begins with the right hand's first note, or one struck with it
    onsets = [note.onset for note in melody]
    on_beat = frozenset(beats.tolist())

    def of_right(note: Note) -> int:
        top = melody[bisect_right(onsets, note.onset) - 1]
        return top.velocity if (note.onset, note.pitch) == (top.onset, top.pitch) else top.velocity + INNER

    def of_left(note: Note) -> int:
        return LEFT_VELOCITY + ON_THE_BEAT * (note.onset in on_beat)

    return _as_loud_as(right, of_right), _as_loud_as(left, of_left)


def longest_match_of_hands(part: Part, others: Sequence[Part], *, metre: tuple[int, int] = (4, 4)) -> tuple[Match, str]:
    """The longest match, in any key, of the part or of one of its hands with the same of ``others``, and which hand's it is.

    The hand is empty where it is all that is played: a copied hand over another's is no run of all notes. See
    :func:`fastrnn.music._output.statistics.longest_match`.
    """
    theirs = [hands(other) for other in others]
    matches = [(longest_match(part, others, metre=metre), "")]
    for i, (mine, hand) in enumerate(zip(hands(part), (RIGHT, LEFT), strict=True)):
        matches.append((longest_match(mine, [both[i] for both in theirs], metre=metre), hand))
    return max(matches, key=lambda match: match[0].bars)


def _as_loud_as(part: Part, velocity: Callable[[Note], int]) -> Part:
    return replace(part, notes=tuple(replace(note, velocity=velocity(note)) for note in part.notes))


def _divisions(chords: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """s_t for the pitches of each onset, which are sorted; int64 ``[len(chords)]``."""
    move = np.abs(DIVISIONS[:, None] - DIVISIONS) / SLOW  # [to, from]
    least = np.zeros(len(DIVISIONS))  # of all ways to each s so far
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
    """cost(t) of each s, but for the way to it; float64 ``[len(DIVISIONS)]``."""
    is_right = pitches >= DIVISIONS[:, None]
    near = np.maximum(0, CLEAR - np.abs(pitches + 0.5 - DIVISIONS[:, None]).min(1))
    cost: NDArray[Any] = near + np.abs(DIVISIONS - MIDDLE) / FAR + _span(pitches, is_right) + _span(pitches, ~is_right)
    return cost


def _span(pitches: NDArray[np.int64], mine: NDArray[np.bool_]) -> NDArray[np.int64]:
    """span(X) of the pitches that are ``mine [len(DIVISIONS), n]``; 0 of none."""
    highest = np.where(mine, pitches, -1).max(1)
    lowest = np.where(mine, pitches, 128).min(1)
    reach: NDArray[np.int64] = np.maximum(0, highest - lowest - OCTAVE)
    return reach
