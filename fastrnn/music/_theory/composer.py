"""A composer of choruses by rule: motifs that return, runs between them, rests after phrases, and an ending.

A chorus is made in groups of four bars. A plan says for each bar of a group what it holds:

.. code-block:: text

    M  the chorus's motif, moved as far as the root of the chord has moved, or varied in its last note
    L  a motif of two bars, in two letters          r  a run, mostly of eighths
    t  a tail, which ends a run and rests           h  a held note

A motif keeps its rhythm and its intervals; a note outside the new chord's scale moves by a semitone. Other notes move by
steps of the scale. On strong beats, and if they are long, they mostly are chord tones. In the closing bar a chord tone is
held. All choices follow from a seed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from ..changes import Changes, progression
from ..chords import scale
from ..piece import TICKS, Note
from .cadence import closing_chord

# Rhythms, a word for each beat, as in the text of the choruses: x begins a note, _ holds it, - is a rest.
MOTIFS = (
    "x x x.x -", "x.x x x -", "x.x.x x x -", "-.x _.x x.x -", "x.x _.x _ -", "x _.x x.x -", "- x.x x.x x", "-.x x.x _.x -",
    "x x.x.x x -", "x.x x.x x -", "-.x x x.x -", "x.x - x.x -", "x.x.x x.x _ -", "x _.x _.x -",
)  # fmt: skip
LONG_MOTIFS = (
    "x _.x _ x.x | x.x x - -", "-.x _.x _ x.x | x x _ -", "x.x.x x x.x x | x.x _ - -", "x x x.x x.x | x _.x - -",
    "- x.x x _.x | _ x.x x -", "x _ x.x.x x | x x.x _ -", "x.x x.x _.x _ | x.x x _ -",
)  # fmt: skip
RUNS = (
    "x.x x.x x.x x.x", "x.x.x x.x x.x x.x", "-.x x.x x.x x.x", "x.x x.x x.x.x x.x", "x.x x.x x x.x", "x x.x x.x x.x",
    "x.x x.x.x x.x x", "-.x x.x x.x.x x.x",
)  # fmt: skip
TAILS = ("x _ - -", "x.x x - -", "x.x x _ -", "x.x _.x _ -", "x x _ -", "-.x x _ -", "x.x.x x _ -", "x x - -")
HELD = ("x _ _ x.x", "-.x _ _ x.x", "x _ _ -", "x _.x _ _")
CLOSING = ("x _ _ _", "x _ _ -", "x _ - -", "x - - -", "- x _ _")
PLANS = (
    "MMrt", "MMMt", "MrtM", "LLLL", "MtMr", "LLrt", "rrMM", "rrrM", "MhMt", "LLMM", "rrrt", "MMrr", "rrtM", "LLrr",
)  # fmt: skip
MOVES = (-3, -2, -2, -1, -1, -1, 0, 1, 1, 1, 2, 2, 3)  # of a motif, in steps of the scale
LOW, HIGH = 58, 80
CENTRE = 64, 75  # pitches between which a motif begins
STRONG, VARIED, TURN, CHROMATIC = 0.75, 0.15, 0.2, 0.25  # probabilities of a chord tone, and of changes

# Style: its changes in C, the range of its tempo, its swing, and its keys.
STYLES: dict[str, tuple[str, tuple[int, int], float, tuple[str, ...]]] = {
    "blues": ("blues", (110, 190), 0.64, ("F", "Bb", "C", "G")),
    "simple blues": ("simple-blues", (100, 160), 0.66, ("F", "Bb", "G", "Eb")),
    "minor blues": ("minor-blues", (110, 180), 0.62, ("Cm", "Dm", "Gm", "Fm")),
    "ballad": ("ballad", (62, 80), 0.6, ("C", "F", "Eb", "Bb")),
    "bossa": ("bossa", (120, 150), 0.5, ("C", "F", "D", "Bb")),
    "modal": ("modal", (130, 200), 0.6, ("Dm", "Cm", "Gm", "Fm")),
    "standard": ("standard", (110, 180), 0.62, ("Bb", "F", "C", "Eb")),
    "minor standard": ("minor-standard", (110, 170), 0.62, ("Cm", "Gm", "Dm", "Fm")),
    "ii-V-I": ("ii-V-I", (110, 180), 0.62, ("Bb", "F", "C", "Ab")),
    "minor ii-V-i": ("minor-ii-V-i", (110, 180), 0.62, ("Cm", "Gm", "Dm", "Am")),
    "rhythm changes": ("rhythm-changes", (150, 210), 0.6, ("Bb", "F", "C", "Ab")),
}
_FIRST = ("Amber", "Crooked", "Early", "Empty", "Green", "Hollow", "Late", "Narrow", "Paper", "Quiet", "Silver", "Winter")
_SECOND = ("Avenue", "Bridge", "Engine", "Garden", "Ladder", "Lamp", "Letter", "Market", "River", "Window")
SEEDS = tuple(range(112))


@dataclass(frozen=True, slots=True)
class Composed:
    """A chorus with a closing bar."""

    title: str
    style: str
    key: str
    tempo: int
    swing: float
    changes: Changes
    notes: tuple[Note, ...]


def composed(seed: int) -> Composed:
    """Compose the chorus of a seed."""
    rng = np.random.default_rng([seed, 1917])
    style = tuple(STYLES)[seed % len(STYLES)]
    name, (slowest, fastest), swing, keys = STYLES[style]
    key = keys[seed // len(STYLES) % len(keys)]
    changes = progression(name, key)
    if len(changes.bars) < 8:
        changes = changes.choruses(2)
    changes = with_closing_bar(changes)
    title = f"{_FIRST[seed % len(_FIRST)]} {_SECOND[seed // len(_FIRST) % len(_SECOND)]}"
    notes = _Chorus(changes, rng).notes()
    return Composed(title, style, key, int(rng.integers(slowest, fastest + 1)), swing, changes, notes)


def with_closing_bar(changes: Changes) -> Changes:
    """Add a bar of the chord on which the changes close."""
    chord = closing_chord([chord for _, chord in changes.chords])
    return Changes((*changes.bars, ((0, chord),)), changes.metre)


@dataclass(frozen=True, slots=True)
class _Motif:
    """A rhythm, the moves from each note to the next in steps of a scale, and which notes are chord tones."""

    rhythm: str
    moves: tuple[int, ...]
    settled: tuple[bool, ...]


class _Chorus:
    """A chorus in the making."""

    def __init__(self, changes: Changes, rng: np.random.Generator) -> None:
        self.changes, self.rng = changes, rng
        self.pitch = int(rng.integers(64, 76))
        self.motif, self.long_motif = (self._motif(self._one(rhythms)) for rhythms in (MOTIFS, LONG_MOTIFS))
        self.found: list[Note] = []
        self.stated: dict[_Motif, tuple[int, list[Note]]] = {}  # the tick of a motif's first bar, and its notes there
        self.ticks = [tick for tick, _ in changes.chords]
        self.roots = [chord.root for _, chord in changes.chords]
        self.tones = [(chord.pitch_classes, scale(chord)) for _, chord in changes.chords]

    def notes(self) -> tuple[Note, ...]:
        """Compose the notes of all bars."""
        last = len(self.changes.bars) - 1
        letters = "".join(self._plan(group) for group in range(-(-last // 4)))[: last - 1] + "t"
        bar = 0
        while bar < last:
            bar += self._bar(letters[bar], bar)
        held = self._one(CLOSING)
        self._play(_Motif(held, (), (True,)), self._one((-1, 0, 1)), last)
        return tuple(self.found)

    def _plan(self, group: int) -> str:
        """Choose the plan of a group. The motif is in the first and in every other one."""
        plan: str = self._one([plan for plan in PLANS if group % 2 or plan[0] in "ML"])
        return plan

    def _bar(self, letter: str, bar: int) -> int:
        """Compose a bar, or two of a long motif; return their number."""
        if letter in "ML":
            self._state(self.motif if letter == "M" else self.long_motif, bar)
            return 1 + (letter == "L")
        rhythm = self._one({"r": RUNS, "t": TAILS, "h": HELD}[letter])
        start = len(self.found)
        self._play(replace(self._motif(rhythm), moves=self._walk(rhythm.count("x"))), self._one((-2, -1, 1, 2)), bar)
        if letter == "r":
            self._approach(start)
        return 1

    def _state(self, motif: _Motif, bar: int) -> None:
        """Add a motif from a bar on: as drawn for the first time, later as it was then, moved with the chord's root."""
        begin = bar * self.changes.bar
        if motif not in self.stated:
            self.pitch = min(max(self.pitch, CENTRE[0]), CENTRE[1])
            start = len(self.found)
            self._play(motif, self._one((-2, -1, 0, 1, 2)), bar)
            self.stated[motif] = begin, self.found[start:]
        else:
            self._again(*self.stated[motif], begin)

    def _again(self, before: int, notes: Sequence[Note], begin: int) -> None:
        """Add the notes of a motif, which began at the tick ``before``, from the tick ``begin`` on."""
        roots = [self.roots[bisect_right(self.ticks, tick) - 1] for tick in (before, begin)]
        move = (roots[1] - roots[0] + 5) % 12 - 5
        pitches = [note.pitch + move for note in notes]
        move += 12 * (min(pitches) < LOW) - 12 * (max(pitches) > HIGH)
        for note in notes:
            onset = note.onset - before + begin
            steps = self.tones[bisect_right(self.ticks, onset) - 1][1]
            self.pitch = _nearest(note.pitch + move, steps)
            self.found.append(replace(note, onset=onset, pitch=self.pitch))
        if self.rng.random() < VARIED:
            self.pitch = _moved(self.pitch, self._one((-2, -1, 1, 2)), steps)
            self.found[-1] = replace(self.found[-1], pitch=self.pitch)

    def _motif(self, rhythm: str) -> _Motif:
        """Draw the moves of a motif. Notes on strong beats and long ones mostly are chord tones."""
        notes = places(rhythm)
        strong = (onset % (2 * TICKS) == 0 or duration > TICKS for onset, duration in notes)
        settled = tuple(flag and self.rng.random() < STRONG for flag in strong)
        return _Motif(rhythm, tuple(self._one(MOVES) for _ in notes[1:]), settled)

    def _walk(self, count: int) -> tuple[int, ...]:
        """Return the moves of a run, which turns now and then."""
        way = -1 if self.pitch > self.rng.integers(LOW, HIGH) else 1
        moves = []
        for _ in range(count - 1):
            way = -way if self.rng.random() < TURN else way
            moves.append(way * self._one((1, 1, 1, 2)))
        return tuple(moves)

    def _play(self, motif: _Motif, first: int, bar: int) -> None:
        """Add the notes of a motif from a bar on; ``first`` is the move from the last note."""
        for (onset, duration), move, settled in zip(places(motif.rhythm), (first, *motif.moves), motif.settled, strict=True):
            tick = bar * self.changes.bar + onset
            chord_tones, steps = self.tones[bisect_right(self.ticks, tick) - 1]
            self.pitch = _moved(self.pitch, move, chord_tones if settled else steps)
            self.found.append(Note(tick, duration, self.pitch))

    def _approach(self, start: int) -> None:
        """Lead into some strong beats of a run by a semitone."""
        for i in range(start, len(self.found) - 1):
            note, target = self.found[i : i + 2]
            if target.onset % (2 * TICKS) == 0 and note.duration < TICKS and self.rng.random() < CHROMATIC:
                self.found[i] = replace(note, pitch=target.pitch + self._one((-1, -1, 1)))

    def _one(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]


def _nearest(pitch: int, steps: frozenset[int]) -> int:
    """Return the pitch, or one a semitone away if only that is in a scale."""
    return min((pitch, pitch - 1, pitch + 1), key=lambda p: p % 12 not in steps)


def _moved(pitch: int, steps: int, tones: frozenset[int]) -> int:
    """Return the tone in the direction of ``steps``, and nearest to as many steps of a scale of seven notes.

    At the ends of the range the direction is reversed.
    """
    way = (steps > 0) - (steps < 0)
    candidates = [p for p in range(LOW, HIGH + 1) if p % 12 in tones and (p - pitch) * way >= way * way]
    if not candidates:
        return _moved(pitch, -steps, tones)
    goal = pitch + steps * 12 / 7
    return min(candidates, key=lambda p: (abs(p - goal), p))


@cache
def places(rhythm: str) -> tuple[tuple[int, int], ...]:
    """Return the onset and the duration of each note of a rhythm, in ticks."""
    found: list[list[int]] = []
    for beat, word in enumerate(rhythm.replace("|", " ").split()):
        parts = word.split(".")
        step = TICKS // len(parts)
        for i, part in enumerate(parts):
            if part == "x":
                found.append([beat * TICKS + i * step, step])
            elif part == "_":
                found[-1][1] += step
    return tuple((onset, duration) for onset, duration in found)
