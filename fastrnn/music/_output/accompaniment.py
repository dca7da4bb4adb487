"""A rhythm section made from the chords by rule (comping, a walking bass, a ride cymbal), and the dynamics of a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..chords import NO_CHORD, Chord, scale
from ..piece import TICKS, Note, Part, Piece
from .statistics import phrases

PIANO, BASS = 0, 32  # General MIDI's programs, from 0: acoustic grand piano, acoustic bass
BASS_LOW, BASS_HIGH = 28, 50  # E1 .. D3
COMP_LOW, COMP_HIGH = 50, 71  # D3 .. B4
_COLOURS = (3, 8, 9, 2, 1, 6, 5)  # further tones of a chord, in the order in which they are voiced
_RIDE, _HI_HAT = 51, 44  # General MIDI's drums
_EIGHTH = TICKS // 2
Rhythm = tuple[tuple[int, int], ...]  # (place, length) of each stroke, in eighths
# By length in eighths: two, three and four quarters.
_RHYTHMS: dict[int, tuple[Rhythm, ...]] = {
    4: (
        ((1, 1), (3, 1)),  # the second half of oom-pah
        ((0, 3), (3, 1)),
        ((0, 2), (3, 1)),
        ((1, 2),),
        ((0, 1), (2, 1)),
    ),
    6: (
        ((2, 1), (4, 1)),  # the second and third beat of oom-pah-pah
        ((0, 3), (3, 2)),
        ((0, 1), (3, 2)),
        ((2, 2), (5, 1)),
        ((0, 5),),
        ((1, 2), (4, 1)),
    ),
    8: (
        ((0, 3), (3, 1)),  # Charleston
        ((1, 1), (4, 2)),
        ((0, 1), (5, 2)),
        ((3, 2), (7, 1)),
        ((2, 1), (6, 1)),
        ((0, 4), (4, 3)),
        ((1, 2), (5, 1)),
    ),
}
# The same for beats of three eighths, such as those of 6/8.
_IN_THREES: dict[int, tuple[Rhythm, ...]] = {
    3: (((0, 2),), ((2, 1),), ((0, 1), (2, 1))),
    6: (
        ((0, 3), (3, 2)),
        ((2, 1), (3, 2)),
        ((0, 2), (5, 1)),
        ((2, 1), (5, 1)),
        ((0, 5),),
    ),
}


def accompany(
    piece: Piece,
    *,
    comping: bool = True,
    bass: bool = True,
    drums: bool = False,
    seed: int = 0,
    closing: int | None = None,
) -> Piece:
    """Add a rhythm section that plays the chords: parts ``"comping"``, ``"bass"``, ``"drums"`` after the piece's own.

    Comping and bass are silent while there is no chord or ``N.C.``. From the tick ``closing`` on, they hold one chord.
    """
    rng = np.random.default_rng(seed)
    body = piece if closing is None else _until(piece, closing)
    parts = {
        "comping": Part("comping", PIANO, notes=tuple(_comping(body, rng)) if comping else ()),
        "bass": Part("bass", BASS, notes=tuple(_walking_bass(body, rng)) if bass else ()),
        "drums": Part("drums", is_drum=True, notes=tuple(_ride(body)) if drums else ()),
    }
    if closing is not None:
        parts = {name: replace(part, notes=(*part.notes, *_held(piece, closing, part))) for name, part in parts.items()}
    wanted = [parts[name] for name, flag in (("comping", comping), ("bass", bass), ("drums", drums)) if flag]
    return replace(piece, parts=(*piece.parts, *wanted))


def _until(piece: Piece, end: int) -> Piece:
    """Return the piece without its parts, up to the tick ``end``."""
    metres = tuple(metre for metre in piece.metres if metre[0] < end)
    return Piece((), metres, piece.tempos, tuple(chord for chord in piece.chords if chord[0] < end), end, piece.swing)


def _held(piece: Piece, start: int, part: Part) -> Iterator[Note]:
    """Yield the notes that a part of the rhythm section holds from the tick ``start`` to the end of the piece."""
    length = max(1, piece.length - start - 1)
    chord = piece.chords[-1][1] if piece.chords else NO_CHORD
    if part.is_drum:
        yield Note(start, length, _RIDE, 70)
    elif chord.pitch_classes and part.program == BASS:
        before = part.notes[-1].pitch if part.notes else 38
        yield Note(start, length, _near(chord.bass, before, np.random.default_rng(0)), 80)
    elif chord.pitch_classes:
        last = part.notes[-1].onset if part.notes else 0
        yield from (Note(start, length, pitch, 58) for pitch in voicing(chord, _struck_at(part, last)))


def _struck_at(part: Part, onset: int) -> tuple[int, ...]:
    return tuple(note.pitch for note in part.notes if note.onset == onset)


def shaped(part: Part, beats: NDArray[np.int64]) -> Part:
    """Set velocities by rule, as a horn player would shape a line: louder for high notes and off the beat.

    Velocity grows with a note's height above the mean of its phrase. Notes on none of the ``beats`` (int64 ``[beats]``, see
    :meth:`fastrnn.music.piece.Piece.beats`) and the last note of a phrase are accented. All velocities are in 50..110.
    Rests of a quarter or longer divide phrases.
    """
    on_beat = frozenset(beats.tolist())
    notes: list[Note] = []
    for phrase in phrases(part):
        mean = sum(note.pitch for note in phrase) / len(phrase)
        for i, note in enumerate(phrase):
            velocity = 76 + 1.5 * (note.pitch - mean)
            velocity += 6 * (note.onset not in on_beat) + 6 * (i == len(phrase) - 1)
            notes.append(replace(note, velocity=int(min(110, max(50, round(velocity))))))
    return replace(part, notes=tuple(notes))


def voicing(chord: Chord, before: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Choose pitches for the left hand, lowest first: four at most, in close position, near the voicing ``before``.

    A chord with a seventh or a sixth is voiced with that tone, its third, and the colours that the symbol names, or a ninth
    and the fifth. Its root is left to the bass. Empty for ``N.C.``.
    """
    classes = sorted((chord.root + tone) % 12 for tone in _voiced_tones(chord))
    if not classes:
        return ()
    centre = sum(before) / len(before) if before else (COMP_LOW + COMP_HIGH) / 2
    shapes = []
    for i, low in enumerate(classes):
        pitches = [COMP_LOW + (low - COMP_LOW) % 12]
        for above in classes[i + 1 :] + classes[:i]:
            pitches.append(pitches[-1] + (above - pitches[-1]) % 12)
        shapes += [tuple(p + octave for p in pitches) for octave in (0, 12) if pitches[-1] + octave <= COMP_HIGH]
    return min(shapes, key=lambda shape: (abs(sum(shape) / len(shape) - centre), shape))


def _voiced_tones(chord: Chord) -> list[int]:
    """Return the tones of a voicing, in semitones above the root, most important first."""
    tones = chord.intervals
    third = next((t for t in (4, 3, 5, 2) if t in tones), None)
    seventh = next((t for t in (10, 11, 9) if t in tones), None)
    if third is None or seventh is None:
        return [t for t in (0, third, *sorted({6, 7, 8} & tones)) if t is not None and t in tones]
    colours = [t for t in _COLOURS if t in tones and t not in (third, seventh)]
    if not colours and (chord.root + 2) % 12 in scale(chord):
        colours = [2]
    return [third, seventh, *colours, *(t for t in (7, 0) if t in tones)][:4]


def _spans(piece: Piece) -> Iterator[tuple[int, int, Chord, Chord]]:
    """Yield each chord's start, end, the chord, and the next chord (after the last, the first)."""
    chords = piece.chords
    for i, (start, chord) in enumerate(chords):
        end = chords[i + 1][0] if i + 1 < len(chords) else piece.length
        if end > start:
            yield start, end, chord, chords[(i + 1) % len(chords)][1]


def _comping(piece: Piece, rng: np.random.Generator) -> Iterator[Note]:
    voiced: tuple[int, ...] = ()
    beats = frozenset(piece.beats().tolist())
    for onset, length in _strokes(piece, rng):
        struck = _struck(piece, onset, onset in beats)
        if struck is None:
            continue
        chord, end = struck
        voiced = voicing(chord, voiced) or voiced
        if chord.pitch_classes:
            duration = max(1, min(length * _EIGHTH - 1, end - onset))
            velocity = int(rng.integers(50, 62))
            yield from (Note(onset, duration, pitch, velocity) for pitch in voiced)


def _strokes(piece: Piece, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield the onset in ticks and the length in eighths of each stroke; none overlaps the next."""
    found: list[tuple[int, int]] = []
    for start, end, beats in _bars(piece):
        rhythms = _IN_THREES if beats[0][1] - beats[0][0] == 3 * _EIGHTH else _RHYTHMS
        at, count = 0, (end - start) // _EIGHTH
        while at < count:
            size = _size(count - at, rhythms)
            rhythm = rhythms[size][rng.integers(len(rhythms[size]))]
            found += [(start + (at + place) * _EIGHTH, length) for place, length in rhythm if at + place < count]
            at += size
    for (onset, length), (following, _) in pairwise([*found, (piece.length, 0)]):  # bars shorter than an eighth have none
        if onset < piece.length:
            yield onset, min(length, max(1, (following - onset) // _EIGHTH))


def _size(left: int, rhythms: dict[int, tuple[Rhythm, ...]]) -> int:
    """Return the longest length that fills ``left`` eighths or leaves room for another length, else the shortest."""
    fitting = [size for size in rhythms if size == left or left - size >= min(rhythms)]
    return max(fitting, default=min(rhythms))


def _struck(piece: Piece, onset: int, on_beat: bool) -> tuple[Chord, int] | None:
    """Return the chord to strike at ``onset`` and the latest tick of its end; None before the first chord.

    A stroke off the beat anticipates a chord on the next beat, if the current chord has lasted for a quarter.
    """
    heard = int(piece.chord_at(onset))
    begun = piece.chords[heard][0] if heard >= 0 else -TICKS
    soon = heard + 1 < len(piece.chords) and piece.chords[heard + 1][0] - onset <= _EIGHTH
    if soon and not on_beat and onset - begun >= TICKS:
        heard += 1
    if heard < 0:
        return None
    end = piece.chords[heard + 1][0] if heard + 1 < len(piece.chords) else piece.length
    return piece.chords[heard][1], min(end, piece.length)


def _bars(piece: Piece) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Yield each bar's start and end, and those of its beats."""
    beats, bars = piece.beats(), piece.bars()
    inside = np.split(beats, np.searchsorted(beats, bars[1:]))
    for start, end, onsets in zip(bars.tolist(), piece.bar_ends().tolist(), map(np.ndarray.tolist, inside), strict=True):
        yield start, end, list(zip(onsets, [*onsets[1:], end], strict=True))


def _walking_bass(piece: Piece, rng: np.random.Generator) -> Iterator[Note]:
    at = 38  # the pitch from which the line continues
    beats = piece.beats()
    for start, end, chord, following in _spans(piece):
        if not chord.pitch_classes:
            continue
        onsets = [start, *beats[np.searchsorted(beats, start, "right") : np.searchsorted(beats, end)].tolist()]
        goal = _near(following.bass, at, rng) if following.pitch_classes else at
        line = _line(chord, len(onsets), at, goal, rng)
        for b, (onset, until, pitch) in enumerate(zip(onsets, [*onsets[1:], end], line, strict=True)):
            yield Note(onset, max(1, until - onset - 1), pitch, 84 if b % 2 == 0 else 78)
        at = line[-1]


def _line(chord: Chord, count: int, at: int, goal: int, rng: np.random.Generator) -> list[int]:
    """Make a bass line of ``count`` pitches: the chord's bass, then tones of chord and scale, last a step to the goal."""
    line = [_near(chord.bass, at, rng)]
    tones, steps = chord.pitch_classes, scale(chord)
    while len(line) < count:
        here, left = line[-1], count - len(line)
        if left == 1:
            options = [p for p in (goal - 1, goal + 1, goal + 2, goal - 2) if _in_range(p) and p != here]
            line.append(min(options, key=lambda p: abs(p - here) + 3 * (p % 12 not in steps) * rng.random()))
            continue
        toward = here + (goal - here) / (left + 1)  # beats 3, 5 .. get chord tones
        strong = len(line) % 2 == 0
        allowed = tones if strong else steps
        options = [p for p in range(here - 7, here + 8) if p % 12 in allowed and p != here and _in_range(p)]
        jitter = rng.normal(0, 2.5)
        line.append(min(options, key=lambda p: abs(p - toward - jitter) + (2 if p in line else 0)))
    return line


def _near(pitch_class: int, at: int, rng: np.random.Generator) -> int:
    """Return the pitch of this class nearest to ``at`` in the bass's range; ties are broken at random."""
    pitches = [p for p in range(BASS_LOW, BASS_HIGH + 1) if p % 12 == pitch_class]
    return min(pitches, key=lambda p: abs(p - at) + rng.random())


def _in_range(pitch: int) -> bool:
    return BASS_LOW <= pitch <= BASS_HIGH


def _ride(piece: Piece) -> Iterator[Note]:
    for _, _, beats in _bars(piece):
        for b, (onset, end) in enumerate(beats):
            if onset >= piece.length:
                return
            yield Note(onset, 3, _RIDE, 70 if b % 2 else 62)
            if b % 2:
                yield Note(onset, 3, _HI_HAT, 60)
                if onset < end - _EIGHTH < piece.length:
                    yield Note(end - _EIGHTH, 3, _RIDE, 52)
