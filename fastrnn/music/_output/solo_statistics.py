"""Statistics that compare solos with the songs trained on: breath, rhythm, motifs that return, and how a solo ends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..piece import TICKS, Note, Part, Piece
from .statistics import melody_statistics, phrases

MOTIF = 4 * TICKS  # a phrase's motif: its notes that begin in this time after its first
FEWEST = 3  # notes of a motif
NEAR = 2  # semitones by which an interval may differ, because a motif adapts to its chord
AGAIN_WITHIN = 8  # bars


@dataclass(frozen=True, slots=True)
class SoloStatistics:
    """Means over pieces, each with its melody as first part; shares are in 0..1, and nan if there is nothing to count.

    Attributes
    ----------
    phrase
        The length of a phrase in quarters; rests of a quarter or longer divide phrases.
    rests
        The share of silent time.
    entropy
        The entropy of the durations of all pieces' notes together, in bits.
    repeated
        The share of phrases whose motif was heard before, see :func:`heard_again`.
    strong
        The share of chord tones among notes on strong beats.
    last_chord_tone, closed
        The share of pieces whose last note is a chord tone of the last chord on a beat, and of those that do not end in the
        middle of a phrase, see :func:`ends_on_chord_tone` and :func:`is_closed`.
    """

    phrase: float
    rests: float
    entropy: float
    repeated: float
    strong: float
    last_chord_tone: float
    closed: float


def solo_statistics(pieces: Sequence[Piece]) -> SoloStatistics:
    """Compute the statistics. Pieces without notes are ignored. Raises ValueError if none is left."""
    played = [piece for piece in pieces if piece.parts and piece.parts[0].notes]
    if not played:
        raise ValueError("pieces must have notes, got none")
    found = [melody_statistics([piece]) for piece in played]
    durations = [note.duration for piece in played for note in piece.parts[0].notes]
    return SoloStatistics(
        phrase=float(np.mean([_mean_phrase(piece.parts[0]) for piece in played])) / TICKS,
        rests=_mean([each.rests for each in found]),
        entropy=entropy(durations),
        repeated=_mean([share for piece in played if not math.isnan(share := _mean(heard_again(piece)))]),
        strong=_mean([each.chord_tones_strong for each in found if not math.isnan(each.chord_tones_strong)]),
        last_chord_tone=_mean([ends_on_chord_tone(piece) for piece in played]),
        closed=_mean([is_closed(piece) for piece in played]),
    )


def entropy(values: Sequence[Any]) -> float:
    """Return the entropy of the values' frequencies in bits."""
    shares = np.array(list(Counter(values).values())) / len(values)
    return float(-(shares * np.log2(shares)).sum())


def heard_again(piece: Piece) -> list[bool]:
    """Return a flag for each phrase with a motif: True if an earlier phrase began with the same motif.

    A motif is the first four quarters of a phrase with at least three notes in them. Two motifs are the same if their notes
    begin at the same distances, and their intervals have the same direction and differ by two semitones at most. The earlier
    phrase began at most eight bars before.
    """
    return [bool(earlier) for _, earlier in _motifs(piece)]


def returning_motifs(piece: Piece) -> list[tuple[int, int]]:
    """Return the first tick and the end of each motif that is heard again or was heard before, in order."""
    spans: set[tuple[int, int]] = set()
    for motif, earlier in _motifs(piece):
        if earlier:
            spans |= {(notes[0].onset, notes[-1].end) for notes in (motif, *earlier)}
    return sorted(spans)


def _motifs(piece: Piece) -> Iterator[tuple[list[Note], list[list[Note]]]]:
    """Yield the motif of each phrase that has one, and the same motifs of earlier phrases."""
    bars = piece.bars()
    found: list[tuple[int, list[Note]]] = []  # the bar in which it begins, and its notes
    for phrase in phrases(piece.parts[0]):
        motif = [note for note in phrase if note.onset < phrase[0].onset + MOTIF]
        if len(motif) < FEWEST:
            continue
        bar = int(np.searchsorted(bars, motif[0].onset, side="right"))
        yield motif, [other for before, other in found if bar - before <= AGAIN_WITHIN and _same(motif, other)]
        found.append((bar, motif))


def _same(one: Sequence[Note], other: Sequence[Note]) -> bool:
    if len(one) != len(other):
        return False
    a, b = (np.diff([[note.onset, note.pitch] for note in motif], axis=0) for motif in (one, other))
    contour = (np.sign(a[:, 1]) == np.sign(b[:, 1])) & (np.abs(a[:, 1] - b[:, 1]) <= NEAR)
    return bool((a[:, 0] == b[:, 0]).all() and contour.all())


def ends_on_chord_tone(piece: Piece) -> bool:
    """Return whether the last note begins on a beat and is a tone of the piece's last chord."""
    last = piece.parts[0].notes[-1]
    return bool(piece.chords) and last.pitch % 12 in piece.chords[-1][1].pitch_classes and last.onset in piece.beats()


def is_closed(piece: Piece) -> bool:
    """Return whether the last note begins on a beat and lasts a quarter, or a rest of a quarter follows it.

    The rest counts up to the end of the last bar.
    """
    last = piece.parts[0].notes[-1]
    rest = int(piece.bar_ends()[-1]) - last.end
    return last.onset in piece.beats() and (last.duration >= TICKS or rest >= TICKS)


def _mean_phrase(part: Part) -> float:
    return float(np.mean([max(note.end for note in phrase) - phrase[0].onset for phrase in phrases(part)]))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
