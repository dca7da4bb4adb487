"""The roles of parts: melody and chords, as named by the user or guessed from the notes."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ..piece import TICKS, Note, Part, Piece, folded, separated

WORDS = (  # in the names of melodies
    *("melody", "lead", "solo", "vocal", "voice", "theme"),
    *("melodie", "mélodie", "melodia", "melodía", "мелодия", "メロディ", "主旋律", "멜로디"),
)
NAMED = 2.0  # the factor for such a name
LOW, HIGH = 40.0, 70.0  # mean pitches: of a bass, and the limit above which height no longer counts
BLOCK = 3  # the least number of simultaneous notes in a block chord
OVERLAP = TICKS // 2  # the longest overlap of legato notes in a line
SHOWN = 16  # the most parts in an error message


def melody_of(piece: Piece, named: str | int | None = None) -> Part:
    """Return the melody: the part ``named`` by name or number from 0, else the one with the highest :func:`melody_score`.

    Raises ValueError for a name or number that no part has, and for a piece without notes.
    """
    if named is not None:
        return part_named(piece, named)
    most = max((len(part.notes) for part in piece.parts if not part.is_drum), default=0)
    if not most:
        raise ValueError("piece must have a part with notes, got none")
    return max(piece.parts, key=lambda part: melody_score(part, most))


def part_named(piece: Piece, named: str | int, called: str = "named") -> Part:
    """Return the part of this name, or of this number from 0.

    Raises ValueError, which lists the parts and calls the argument ``called``.
    """
    if isinstance(named, str):
        with suppress(ValueError):
            return piece.part(named)
    elif 0 <= named < len(piece.parts):
        return piece.parts[named]
    parts = ", ".join(f"{number} {part.name!r}" for number, part in enumerate(piece.parts[:SHOWN]))
    more = f" and {len(piece.parts) - SHOWN} more" if len(piece.parts) > SHOWN else ""
    raise ValueError(f"{called} must be one of the parts {parts}{more}, got {named!r}")


def melody_score(part: Part, most: int) -> float:
    """Score how melodic a part is: height x monophony x sqrt(notes / ``most``), doubled for a name such as "lead".

    Height is the mean pitch mapped from 40..70 to 0..1, and clipped to 0.05..1. Monophony is the number of distinct onsets
    divided by the number of notes. ``most`` is the number of notes in the piece's longest part. Drums score 0.
    """
    if part.is_drum or not part.notes:
        return 0.0
    onset, _, pitch, _ = part.arrays()
    height = float(np.clip((pitch.mean() - LOW) / (HIGH - LOW), 0.05, 1))
    monophony = len(np.unique(onset)) / len(onset)
    name = folded(part.name)
    named = NAMED if any(word in name for word in WORDS) else 1.0
    return height * monophony * math.sqrt(len(onset) / most) * named


def chord_part_of(piece: Piece) -> Part | None:
    """Guess the part that plays the chords: the one with the most notes in block chords.

    Only parts are considered in which most notes are struck with two or more others. Returns None if there is none.
    """
    blocks = [(_notes_in_blocks(part), part) for part in piece.parts if not part.is_drum and part.notes]
    enough = [(count, part) for count, part in blocks if 2 * count > len(part.notes)]
    return max(enough, key=lambda pair: pair[0])[1] if enough else None


def skyline(part: Part) -> Part:
    """Reduce a part to one line: the highest of notes struck together, each cut where the next one begins.

    A note below one that sounds on for more than OVERLAP, an eighth, is an inner voice and is left out. A shorter overlap is
    legato, and the higher note is cut.
    """
    line: list[Note] = []
    held: dict[int, int] = {}  # the ends of pitches that sound on
    for onset, struck in groupby(separated(part.notes), key=lambda note: note.onset):
        *below, note = struck
        held = {pitch: end for pitch, end in held.items() if end > onset + OVERLAP}
        if max(held, default=0) <= note.pitch:
            if line and line[-1].end > onset:
                line[-1] = replace(line[-1], duration=onset - line[-1].onset)
            line.append(note)
        held.update((other.pitch, other.end) for other in (*below, note))
    return Part(part.name, part.program, part.is_drum, tuple(line))


def _notes_in_blocks(part: Part) -> int:
    counts: NDArray[np.int64] = np.unique(part.arrays()[0], return_counts=True)[1]
    return int(counts[counts >= BLOCK].sum())
