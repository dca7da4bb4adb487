"""Statistics of melodies, and the longest run of notes that a melody copies from others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ...console import quantity
from ..chords import scale
from ..piece import TICKS, Note, Part, Piece, bar_length

Ints = NDArray[np.int64]
Shape = tuple[tuple[int, int, int], ...]  # for each note: ticks from a start, duration, semitones from the first note


@dataclass(frozen=True, slots=True)
class MelodyStatistics:
    """Statistics of melodies; shares are in 0..1, and nan if there is nothing to count.

    Strong beats are the first of a bar and, in bars of an even number of beats, the one in the middle. Shares of chord and
    scale tones ignore notes without a known chord. ``durations`` maps durations in ticks to shares, most frequent first.
    """

    notes: int
    bars: int
    chord_tones: float
    chord_tones_strong: float  # of the notes that begin on strong beats
    scale_tones: float
    lowest: int
    highest: int
    durations: dict[int, float]
    rests: float  # the share of silent time
    off_beat: float  # the share of notes that do not begin on a beat
    steps: float  # the share of intervals of one or two semitones
    # The mean length of a phrase in quarters. Rests of a quarter or longer divide phrases; nan if there is no such rest.
    phrase: float
    repeated_bars: float  # the share of bars with notes that repeat an earlier one of the piece, at any pitch
    repeated_phrases: float  # the same share of phrases of two notes or more, anywhere in the bar

    def lines(self, *, chords: bool = False) -> list[str]:
        """Return one line of text per statistic; ``chords`` leaves out those that need a single line of notes.

        The notes of a chord have no order, so they have no steps. Two hands seldom rest together, so they have no phrases.
        """
        longest = [f"{duration_name(d)} {share:.0%}" for d, share in list(self.durations.items())[:4]]
        phrase = "not divided by rests" if math.isnan(self.phrase) else f"{self.phrase:.1f} quarters on average"
        rows = {
            "notes": f"{self.notes:,} in {quantity(self.bars, 'bar')}",
            "chord tones on strong beats": _percent(self.chord_tones_strong),
            "chord tones": _percent(self.chord_tones),
            "scale tones": _percent(self.scale_tones),
            "pitch range": f"{self.lowest}..{self.highest}",
            "note lengths": ", ".join(longest),
            "rests": _percent(self.rests, "of the time"),
            "off the beat": _percent(self.off_beat, "of notes"),
            "steps": _percent(self.steps, "of intervals"),
            "phrases": phrase,
            "repeated bars": _percent(self.repeated_bars),
            "repeated phrases": _percent(self.repeated_phrases),
        }
        left_out = ("steps", "phrases", "repeated phrases") if chords else ()
        return [f"{name:<31}{value}" for name, value in rows.items() if name not in left_out]


def _percent(share: float, of: str = "") -> str:
    """Format a share; a dash if there was nothing to count."""
    return "-" if math.isnan(share) else f"{share:.1%} {of}".rstrip()


# Names by duration in ticks; a whole note is 48.
_BINARY = {
    96: "double whole", 72: "dotted whole", 48: "whole", 42: "double-dotted half", 36: "dotted half", 24: "half",
    21: "double-dotted quarter", 18: "dotted quarter", 12: "quarter", 9: "dotted eighth", 6: "eighth", 3: "sixteenth",
}  # fmt: skip
_TRIPLETS = {
    1: "triplet thirty-second", 2: "triplet sixteenth", 4: "triplet", 8: "triplet quarter", 16: "triplet half",
    32: "triplet whole",
}  # fmt: skip


def duration_name(duration: int) -> str:
    """Return the name of a duration given in ticks: one note value, two tied note values, or a number of quarters."""
    known = _BINARY | _TRIPLETS
    if duration in known:
        return known[duration]
    longest = next((length for length in _BINARY if length < duration), 0)
    if duration - longest in _BINARY:
        return f"{_BINARY[longest]} + {_BINARY[duration - longest]}"
    whole, part = divmod(duration, TICKS)
    fraction = Fraction(part, TICKS)
    if not whole:
        return f"{fraction} of a quarter"
    return f"{whole} {fraction} quarters" if part else f"{whole} quarters"


def melody_statistics(pieces: Iterable[Piece], part: str | int = 0) -> MelodyStatistics:
    """Compute the statistics of one part (by name or number) of all pieces together.

    Raises ValueError if a piece has no such part, or no piece has a note in it.
    """
    counts = _Counts()
    for piece in pieces:
        counts.add(piece, piece.part(part) if isinstance(part, str) else _numbered(piece, part))
    if not counts.pitches:
        raise ValueError("pieces must have notes in that part, got none")
    durations, how_many = np.unique(counts.durations, return_counts=True)
    order = np.argsort(-how_many, kind="stable")
    return MelodyStatistics(
        notes=len(counts.pitches),
        bars=counts.bars,
        chord_tones=_share(counts.chord_tone),
        chord_tones_strong=_share([tone for tone, strong in zip(counts.chord_tone, counts.strong, strict=True) if strong]),
        scale_tones=_share(counts.scale_tone),
        lowest=min(counts.pitches),
        highest=max(counts.pitches),
        durations={int(durations[i]): float(how_many[i] / len(counts.pitches)) for i in order},
        rests=1 - counts.sounding / counts.time if counts.time else float("nan"),
        off_beat=_share(counts.off_beat),
        steps=_share(counts.step),
        phrase=sum(counts.phrases) / len(counts.phrases) / TICKS if counts.divided else math.nan,
        repeated_bars=_share(counts.repeated_bar),
        repeated_phrases=_share(counts.repeated_phrase),
    )


def _numbered(piece: Piece, part: int) -> Part:
    if not 0 <= part < len(piece.parts):
        raise ValueError(f"part must be the number of one of {len(piece.parts)} parts, got {part}")
    return piece.parts[part]


def _share(flags: Sequence[bool | None]) -> float:
    known = [flag for flag in flags if flag is not None]
    return sum(known) / len(known) if known else float("nan")


class _Counts:
    """Counts of several pieces; lists have one entry per note, interval, bar or phrase."""

    def __init__(self) -> None:
        self.bars = 0
        self.time = self.sounding = 0
        self.pitches: list[int] = []
        self.durations: list[int] = []
        self.chord_tone: list[bool | None] = []  # None: no known chord
        self.scale_tone: list[bool | None] = []
        self.strong: list[bool] = []
        self.off_beat: list[bool] = []
        self.step: list[bool] = []
        self.phrases: list[int] = []  # their lengths in ticks
        self.divided = False  # True if any piece has more than one phrase
        self.repeated_bar: list[bool] = []
        self.repeated_phrase: list[bool] = []

    def add(self, piece: Piece, part: Part) -> None:
        bars = piece.bars()
        onset, duration, pitch, _ = part.arrays()
        self.bars += len(bars)
        self.time += piece.length
        self.sounding += int(np.count_nonzero(_sounding(onset, duration, piece.length)))
        self.pitches += pitch.tolist()
        self.durations += duration.tolist()
        self.off_beat += (~np.isin(onset, piece.beats())).tolist()
        self.step += [1 <= interval <= 2 for interval in np.abs(np.diff(pitch)).tolist()]
        found = phrases(part)
        self.divided |= len(found) > 1
        self.phrases += [max(note.end for note in phrase) - phrase[0].onset for phrase in found]
        # Phrases of a single note are ignored, because any other of the same length would repeat it.
        self.repeated_phrase += _repeated(_shape(phrase, phrase[0].onset) for phrase in found if len(phrase) > 1)
        self.strong += np.isin(onset, piece.strong_beats()).tolist()
        scales = [scale(chord) for _, chord in piece.chords]
        for p, c in zip(pitch.tolist(), piece.chord_at(onset).tolist(), strict=True):
            known = c >= 0 and bool(piece.chords[c][1].pitch_classes)
            self.chord_tone.append(p % 12 in piece.chords[c][1].pitch_classes if known else None)
            self.scale_tone.append(p % 12 in scales[c] if known else None)
        bar = np.searchsorted(bars, onset, side="right") - 1
        of_bar = [(b, [part.notes[i] for i in np.flatnonzero(bar == b)]) for b in np.unique(bar).tolist()]
        self.repeated_bar += _repeated(_shape(notes, int(bars[b])) for b, notes in of_bar)


def _shape(notes: Sequence[Note], start: int) -> Shape:
    """Return the rhythm of notes from the tick ``start``, and their intervals from the first one."""
    return tuple((note.onset - start, note.duration, note.pitch - notes[0].pitch) for note in notes)


def _repeated(shapes: Iterable[Shape]) -> list[bool]:
    """Return for each shape a flag: True if it repeats an earlier one."""
    earlier: set[Shape] = set()
    flags = []
    for shape in shapes:
        flags.append(shape in earlier)
        earlier.add(shape)
    return flags


def _sounding(onset: Ints, duration: Ints, length: int) -> NDArray[np.bool_]:
    """Return a mask of the ticks at which a note sounds, [length]."""
    change = np.zeros(length + 1, np.int64)
    np.add.at(change, onset, 1)
    np.add.at(change, np.minimum(onset + duration, length), -1)
    flags: NDArray[np.bool_] = np.cumsum(change)[:length] > 0
    return flags


@dataclass(frozen=True, slots=True)
class Match:
    """The longest run of notes that a melody shares with one of several others."""

    notes: int
    bars: float  # from the first onset to the end of the last note
    start: int  # the index of the run's first note in the melody
    source: int  # the index of the other melody, -1 if nothing matches
    source_start: int  # the index of the run's first note in it


def longest_match(part: Part, others: Sequence[Part], *, transposed: bool = True, metre: tuple[int, int] = (4, 4)) -> Match:
    """Find the run of notes in ``part`` that is the longest (by time) verbatim copy from one of ``others``.

    Two runs are equal if their notes have the same durations, the same distances between onsets, and the same intervals
    (``transposed``) or pitches. Their places in the bar may differ. The result counts bars of ``metre``.
    """
    best = Match(0, 0.0, 0, -1, 0)
    mine = _events(part, transposed)
    for number, other in enumerate(others):
        theirs = _events(other, transposed)
        if not len(part.notes) or not len(other.notes):
            continue
        run = _runs(mine, theirs, part, other)  # [notes of part, notes of other]: length of the run that ends there
        onset, duration, _, _ = part.arrays()
        ends = onset + duration
        i, j = np.nonzero(run)
        if not len(i):
            continue
        length = ends[i] - onset[i - run[i, j] + 1]
        k = int(np.lexsort((run[i, j], length))[-1])  # of equally long runs, the one with most notes
        bars = float(int(length[k]) / bar_length(*metre))
        if bars > best.bars:
            count = int(run[i[k], j[k]])
            best = Match(count, bars, int(i[k]) - count + 1, number, int(j[k]) - count + 1)
    return best


def _events(part: Part, transposed: bool) -> Ints:
    """Return for each note but the last its duration, time to the next onset, interval or both pitches; [notes-1, 4]."""
    onset, duration, pitch, _ = part.arrays()
    interval = np.diff(pitch)
    pitches = (interval, interval) if transposed else (pitch[:-1], pitch[1:])
    return np.stack([duration[:-1], np.diff(onset), *pitches], axis=1)


def _runs(mine: Ints, theirs: Ints, part: Part, other: Part) -> Ints:
    """Return the number of notes of the longest common run that ends at each pair; 0 if the last durations differ."""
    same_move = (mine[:, None] == theirs[None]).all(-1)  # [notes-1, notes-1]
    last_a, last_b = part.arrays(), other.arrays()
    moves = np.zeros((len(last_a[0]), len(last_b[0])), np.int64)
    for i in range(len(mine)):
        moves[i + 1, 1:] = np.where(same_move[i], moves[i, :-1] + 1, 0)
    same_last = last_a[1][:, None] == last_b[1][None]
    # A single note is not a run, because any other of the same length would match it.
    return np.where(same_last & (moves > 0), moves + 1, 0)


def phrases(part: Part, rest: int = TICKS) -> list[tuple[Note, ...]]:
    """Divide the part's notes into phrases at silences of ``rest`` ticks or more."""
    found: list[list[Note]] = []
    end = 0
    for note in part.notes:
        if not found or note.onset - end >= rest:
            found.append([])
        found[-1].append(note)
        end = max(end, note.end)
    return [tuple(phrase) for phrase in found]
