"""Chords inferred from notes."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..chords import Chord, note_name, parse_chord
from ..piece import TICKS, Piece

Floats = NDArray[np.float64]

# The kinds of chords, with the weight of each tone; sevenths often carry a ninth. All other tones share OUTSIDE.
TEMPLATES: dict[str, dict[int, float]] = {
    "": {0: 1.5, 4: 1.2, 7: 1.0},
    "m": {0: 1.5, 3: 1.2, 7: 1.0},
    "7": {0: 1.3, 4: 1.2, 7: 0.8, 10: 1.0, 2: 0.3},
    "maj7": {0: 1.3, 4: 1.2, 7: 0.9, 11: 0.9, 2: 0.3},
    "m7": {0: 1.4, 3: 1.2, 7: 0.9, 10: 0.9, 2: 0.2},
    "m7b5": {0: 1.2, 3: 1.1, 6: 1.1, 10: 1.0},
    "dim7": {0: 1.0, 3: 1.0, 6: 1.0, 9: 1.0},
}
OUTSIDE = 0.12  # the share of notes outside the chord: passing notes and neighbours
BASS = {True: 0.8, False: 0.2 / 11}  # probabilities that the lowest note is the root, or one given other pitch class
BASS_BELOW = 56  # only notes below G#3 can be the bass
CHANGE = 2.0  # the cost of a change of chord, in nats
LONGEST = 1.5  # the largest weight of a note, in quarters, because a pedal is not the harmony
FIRST = TICKS // 2  # the bass is the lowest note that sounds within this time from the start of a half bar


def infer_chords(piece: Piece, *, flats: bool = True) -> tuple[tuple[int, Chord], ...]:
    """Infer the chords (tick, chord) of a piece from its pitched notes: one per half bar at most, without repeats.

    The pitch classes of each half bar, weighted by duration, are a multinomial sample of a chord's template, and the lowest
    note hints at the root. Viterbi's algorithm finds the most likely path, with a cost on changes. Bars that cannot be
    halved into beats are taken whole. Returns an empty tuple if no note sounds.
    """
    starts = half_bars(piece)
    tones, bass = _weights(piece, starts)
    if not tones.any():
        return ()
    likelihood = tones @ np.log(_template_matrix()).T + bass @ np.log(_bass_matrix()).T  # [segments, chords]
    found: list[tuple[int, Chord]] = []
    for tick, state in zip(starts.tolist(), _viterbi(likelihood).tolist(), strict=True):
        suffix, root = list(TEMPLATES)[state // 12], state % 12
        chord = parse_chord(note_name(root, flats) + suffix)
        if not found or found[-1][1] != chord:
            found.append((tick, chord))
    return tuple(found)


def half_bars(piece: Piece) -> NDArray[np.int64]:
    """Return the starts of bars, and of half bars of a whole number of quarters, two at least; ticks, int64."""
    bars = piece.bars()
    lengths = piece.bar_ends() - bars
    halved = (lengths % (2 * TICKS) == 0) & (lengths >= 4 * TICKS)
    middles = (bars + lengths // 2)[halved]
    middles = middles[middles < piece.length]
    return np.union1d(bars, middles).astype(np.int64)


def _weights(piece: Piece, starts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the quarters that each pitch class sounds in each segment, and the lowest one's weight; both [segments, 12]."""
    ends = np.append(starts[1:], max(piece.length, int(starts[-1]) + 1))
    tones = np.zeros((len(starts), 12))
    lowest = [(True, 128)] * len(
        starts
    )  # (starts late, pitch); the minimum is the bass: early before late, then low before high
    for note in (note for part in piece.parts if not part.is_drum for note in part.notes):
        first = int(np.searchsorted(starts, note.onset, side="right")) - 1
        last = int(np.searchsorted(starts, note.end, side="left"))
        for s in range(first, last):
            share = (min(note.end, int(ends[s])) - max(note.onset, int(starts[s]))) / TICKS
            tones[s, note.pitch % 12] += min(share, LONGEST)
            lowest[s] = min(lowest[s], (bool(note.onset > starts[s] + FIRST), note.pitch))
    bass = np.zeros_like(tones)
    for s, (late, pitch) in enumerate(lowest):
        if pitch < BASS_BELOW:
            bass[s, pitch % 12] = 0.5 if late else 1.0
    return tones, bass


@cache
def _template_matrix() -> Floats:
    """Return the probability of each pitch class under each chord, [chords, 12], by template, then by root."""
    rows = []
    for template in TEMPLATES.values():
        row = np.full(12, OUTSIDE / (12 - len(template)))
        row[list(template)] = np.array(list(template.values())) * (1 - OUTSIDE) / sum(template.values())
        rows += [np.roll(row, root) for root in range(12)]
    return np.array(rows)


@cache
def _bass_matrix() -> Floats:
    """Return the probability of each pitch class as the lowest note, [chords, 12]."""
    row = np.array([BASS[interval == 0] for interval in range(12)])
    return np.array([np.roll(row, root) for _ in TEMPLATES for root in range(12)])


def _viterbi(likelihood: Floats) -> NDArray[np.int64]:
    """Find the best path through log likelihoods [segments, states], if each change costs CHANGE; int64 [segments]."""
    score = likelihood[0]
    back = []
    states = np.arange(likelihood.shape[1])
    for row in likelihood[1:]:
        best = int(score.argmax())
        stay = score >= score[best] - CHANGE
        back.append(np.where(stay, states, best))
        score = np.maximum(score, score[best] - CHANGE) + row
    path = [int(score.argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return np.array(path[::-1], np.int64)
