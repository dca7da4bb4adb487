"""Piano pieces for two hands, made by rules: the left hand alternates bass notes and chords, the right one is syncopated."""

from __future__ import annotations

import numpy as np

from fastrnn.music.changes import parse_changes
from fastrnn.music.piece import Note, Part, Piece

BAR = 48  # ticks
CHANGES = ("C | C | G7 | G7 | C | C7 | F | G7", "C | A7 | D7 | G7 | C | F | C G7 | C", "C | E7 | Am | F | C | D7 | G7 | C")
RHYTHMS = (  # onsets and durations in a bar, in ticks
    ((0, 3), (3, 6), (9, 3), (12, 6), (18, 6), (24, 12), (36, 12)),
    ((0, 6), (6, 6), (12, 3), (15, 6), (21, 3), (24, 6), (30, 6), (36, 12)),
    ((3, 3), (6, 6), (12, 6), (18, 9), (27, 9), (36, 12)),
)


def rag(key: int, seed: int) -> Piece:
    """Return sixteen bars, ``key`` semitones above C: parts ``right hand`` and ``left hand``, and no chord symbols."""
    rng = np.random.default_rng(seed)
    changes = parse_changes(CHANGES[seed % len(CHANGES)]).transposed(key).choruses(2)
    harmony = Piece(chords=changes.chords, length=changes.length)

    def chord(tick):
        return harmony.chords[int(harmony.chord_at(tick))][1]

    right, left, at = [], [], 76
    for bar in range(0, changes.length, BAR):
        for beat in range(0, BAR, 12):
            left += _stride(chord(bar + beat), bar + beat, beat)
        for onset, duration in RHYTHMS[int(rng.integers(len(RHYTHMS)))]:
            tones = [pitch for pitch in range(67, 87) if pitch % 12 in chord(bar + onset).pitch_classes]
            near = sorted(tones, key=lambda pitch: abs(pitch - at))
            at = int(near[int(rng.integers(1, 4))])
            right.append(Note(bar + onset, duration, at))
            if onset in (0, 24):
                right.append(Note(bar + onset, duration, at + 12))
    parts = (Part("right hand", 0, notes=tuple(right)), Part("left hand", 0, notes=tuple(left)))
    return Piece(parts, tempos=((0, 90.0),), length=changes.length)


def _stride(chord, tick: int, beat: int) -> list[Note]:
    """Return the left hand: the root or the fifth below it on strong beats, the chord on weak ones."""
    if beat % 24 == 0:
        low = 36 + (chord.root + (7 if beat else 0)) % 12
        return [Note(tick, 12, low), Note(tick, 12, low + 12)]
    return [Note(tick, 12, pitch) for pitch in range(53, 65) if pitch % 12 in chord.pitch_classes]
