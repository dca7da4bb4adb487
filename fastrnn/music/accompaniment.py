"""A rhythm section made by rule from the chords: comping, a walking bass, a ride cymbal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .chords import Chord, scale
from .piece import TICKS, Note, Part, Piece

PIANO, BASS = 0, 32  # General MIDI's programs, from 0: acoustic grand piano, acoustic bass
BASS_LOW, BASS_HIGH = 28, 50  # E1 .. D3
COMP_LOW, COMP_HIGH = 50, 71  # D3 .. B4
_RIDE, _HI_HAT = 51, 44  # General MIDI's drums
# Where chords are struck in a bar of four beats, and for how long, in eighths.
_RHYTHMS = (
    ((0, 3), (3, 1)),  # Charleston
    ((1, 1), (4, 2)),
    ((0, 1), (5, 2)),
    ((3, 2), (7, 1)),
    ((2, 1), (6, 1)),
    ((0, 4), (4, 3)),
    ((1, 2), (5, 1)),
)


def accompany(piece: Piece, *, comping: bool = True, bass: bool = True, drums: bool = False, seed: int = 0) -> Piece:
    """The piece with a rhythm section that plays its chords: parts ``"comping"``, ``"bass"``, ``"drums"`` after its own.

    Where the piece has no chords, or says ``N.C.``, comping and bass are silent.
    """
    rng = np.random.default_rng(seed)
    parts = list(piece.parts)
    if comping:
        parts.append(Part("comping", PIANO, notes=tuple(_comping(piece, rng))))
    if bass:
        parts.append(Part("bass", BASS, notes=tuple(_walking_bass(piece, rng))))
    if drums:
        parts.append(Part("drums", is_drum=True, notes=tuple(_ride(piece))))
    return replace(piece, parts=tuple(parts))


def voicing(chord: Chord, before: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Pitches for the left hand: four notes at most, without the root where a bass has it, near the voicing ``before``.

    Third and seventh (or sixth) come first, then the colours that the symbol names; chords of three tones keep their root,
    chords of four have a ninth in its place where their scale has a major one. Empty for ``N.C.``.
    """
    if not chord.pitch_classes:
        return ()
    tones = sorted(chord.intervals - {(chord.bass - chord.root) % 12} if len(chord.intervals) > 4 else chord.intervals)
    ninth = (chord.root + 2) % 12 in scale(chord) and not {1, 3} & set(tones) - ({3} if 4 not in tones else set())
    if len(tones) == 4 and ninth and 6 not in tones:
        tones = [2, *tones[1:]] if tones[0] == 0 else tones
    if len(tones) > 4:
        order = {0: 9, 7: 8, 5: 5 if 4 in tones else 0, 3: 0 if 4 not in tones else 3, 4: 0, 10: 1, 11: 1}
        tones = sorted(sorted(tones, key=lambda t: order.get(t, 2))[:4])
    classes = [(chord.root + t) % 12 for t in tones]
    centre = sum(before) / len(before) if before else (COMP_LOW + COMP_HIGH) / 2
    shapes = []
    for i in range(len(classes)):
        for low in range(COMP_LOW, COMP_HIGH):
            if low % 12 == classes[i]:
                pitches = [low]
                for c in classes[i + 1 :] + classes[:i]:
                    pitches.append(pitches[-1] + ((c - pitches[-1]) % 12 or 12))
                shapes.append(tuple(pitches))
    inside = [shape for shape in shapes if shape[-1] <= COMP_HIGH] or shapes
    return min(inside, key=lambda shape: (abs(sum(shape) / len(shape) - centre), shape))


def _spans(piece: Piece) -> Iterator[tuple[int, int, Chord, Chord]]:
    """Each chord with where it begins and ends, and the one that follows (the first again after the last)."""
    chords = piece.chords
    for i, (start, chord) in enumerate(chords):
        end = chords[i + 1][0] if i + 1 < len(chords) else piece.length
        if end > start:
            yield start, end, chord, chords[(i + 1) % len(chords)][1]


def _comping(piece: Piece, rng: np.random.Generator) -> Iterator[Note]:
    eighth = TICKS // 2
    bars = piece.bars().tolist()
    voiced: tuple[int, ...] = ()
    for start, end in zip(bars, [*bars[1:], piece.length], strict=True):
        rhythm = _RHYTHMS[rng.integers(len(_RHYTHMS))]
        for place, length in rhythm:
            onset = start + place * eighth
            # A stroke on the last off-beat of a bar already has the chord that comes on the next beat.
            heard = int(piece.chord_at(onset + (eighth if onset % TICKS else 0)))
            if onset >= end or heard < 0:
                continue
            chord = piece.chords[heard][1]
            voiced = voicing(chord, voiced) or voiced
            duration = min(length * eighth - 1, end + (eighth if place == 7 else 0) - onset, piece.length - onset)
            if chord.pitch_classes:
                velocity = int(rng.integers(50, 62))
                yield from (Note(onset, max(1, duration), pitch, velocity) for pitch in voiced)


def _walking_bass(piece: Piece, rng: np.random.Generator) -> Iterator[Note]:
    at = 38  # the pitch from which the line goes on
    for start, end, chord, following in _spans(piece):
        if not chord.pitch_classes:
            continue
        beats = list(range(start, end, TICKS))
        goal = _near(following.bass, at, rng) if following.pitch_classes else at
        line = _line(chord, len(beats), at, goal, rng)
        for b, (onset, pitch) in enumerate(zip(beats, line, strict=True)):
            yield Note(onset, min(TICKS - 1, end - onset), pitch, 84 if b % 2 == 0 else 78)
        at = line[-1]


def _line(chord: Chord, count: int, at: int, goal: int, rng: np.random.Generator) -> list[int]:
    """``count`` quarters over a chord: its bass note, tones of chord and scale by the way, a half step before the goal."""
    line = [_near(chord.bass, at, rng)]
    tones, steps = chord.pitch_classes, scale(chord)
    while len(line) < count:
        here, left = line[-1], count - len(line)
        if left == 1:
            options = [p for p in (goal - 1, goal + 1, goal + 2, goal - 2) if _in_range(p) and p != here]
            line.append(min(options, key=lambda p: abs(p - here) + 3 * (p % 12 not in steps) * rng.random()))
            continue
        toward = here + (goal - here) / (left + 1)  # beats 3, 5 .. want chord tones
        strong = len(line) % 2 == 0
        allowed = tones if strong else steps
        options = [p for p in range(here - 7, here + 8) if p % 12 in allowed and p != here and _in_range(p)]
        jitter = rng.normal(0, 2.5)
        line.append(min(options, key=lambda p: abs(p - toward - jitter) + (2 if p in line else 0)))
    return line


def _near(pitch_class: int, at: int, rng: np.random.Generator) -> int:
    """The pitch of that class nearest to ``at``, in the range of the bass; of two as near either."""
    pitches = [p for p in range(BASS_LOW, BASS_HIGH + 1) if p % 12 == pitch_class]
    return min(pitches, key=lambda p: abs(p - at) + rng.random())


def _in_range(pitch: int) -> bool:
    return BASS_LOW <= pitch <= BASS_HIGH


def _ride(piece: Piece) -> Iterator[Note]:
    bars = piece.bars().tolist()
    for start, end in zip(bars, [*bars[1:], piece.length], strict=True):
        for b, onset in enumerate(range(start, end, TICKS)):
            yield Note(onset, 3, _RIDE, 70 if b % 2 else 62)
            if b % 2:
                yield Note(onset, 3, _HI_HAT, 60)
                if onset + TICKS // 2 < end:
                    yield Note(onset + TICKS // 2, 3, _RIDE, 52)
