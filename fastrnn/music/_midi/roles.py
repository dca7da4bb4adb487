"""Which part of a piece is the melody and which one has the chords: a guess from the notes, or what the user names."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ..piece import TICKS, Note, Part, Piece, folded, separated

WORDS = (  # in the name of a part that is the melody
    *("melody", "lead", "solo", "vocal", "voice", "theme"),
    *("melodie", "mélodie", "melodia", "melodía", "мелодия", "メロディ", "主旋律", "멜로디"),
)
NAMED = 2.0  # what such a name is worth
LOW, HIGH = 40.0, 70.0  # mean pitches: that of a bass, and that from which higher is not more of a melody
BLOCK = 3  # notes at once that make a chord
OVERLAP = TICKS // 2  # how far notes of a line that are played legato may reach into one another
SHOWN = 16  # parts in an error message


def melody_of(piece: Piece, named: str | int | None = None) -> Part:
    """The part that is the melody: the one that is ``named``, by its name or by its number from 0, or else the guess.

    The guess is the part with the highest :func:`melody_score`. Raises ValueError for a name or a number that no part has,
    and for a piece without notes.
    """
    if named is not None:
        return part_named(piece, named)
    most = max((len(part.notes) for part in piece.parts if not part.is_drum), default=0)
    if not most:
        raise ValueError("piece must have a part with notes, got none")
    return max(piece.parts, key=lambda part: melody_score(part, most))


def part_named(piece: Piece, named: str | int, called: str = "named") -> Part:
    """The part of that name, or of that number from 0.

    Raises ValueError where there is none: it lists the parts, and ``called`` is what it calls ``named``.
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
    """How much a part looks like a melody: height x monophony x sqrt(notes / ``most``), doubled by a name such as "lead".

    Height is the mean pitch, as a share of the way from 40 (a bass; 0.05 at least) to 70 (1 at most); monophony the number
    of distinct onsets over that of notes; ``most`` the number of notes in the piece's longest part. Drums have 0.
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
    """The part that plays the chords, a guess: the one with the most block chords.

    A part counts where most of its notes are struck with two others or more. None where there is no such part: chords are
    then inferred from all that sounds.
    """
    blocks = [(_notes_in_blocks(part), part) for part in piece.parts if not part.is_drum and part.notes]
    enough = [(count, part) for count, part in blocks if 2 * count > len(part.notes)]
    return max(enough, key=lambda pair: pair[0])[1] if enough else None


def skyline(part: Part) -> Part:
    """The part as one line: of notes struck together the highest, each ending at the latest where the next begins.

    A note that is struck below one which goes on to sound for more than OVERLAP, an eighth, is an inner voice and left out,
    so that the higher one is held; a shorter overlap is legato, and the higher one ends.
    """
    line: list[Note] = []
    held: dict[int, int] = {}  # where the pitches that sound on end
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
