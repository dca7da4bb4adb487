"""A song: the part of a piece that a model learns to play, and its chords, in arrays of about ten bytes a note."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._core import checks
from ..chords import Chord, chord_table, parse_chord
from ..midi import LONGEST
from ..midi_writing import check_writable
from ..piece import TICKS, Note, Part, Piece

Columns = Mapping[str, NDArray[Any]]

# The arrays of a song by kind, and their types. Arrays of one kind have the same length.
COLUMNS: dict[str, dict[str, Any]] = {
    "notes": {"onset": np.int32, "duration": np.int32, "pitch": np.uint8},
    "chords": {"chord_tick": np.int32, "chord": np.int32},  # chord: an index into Head.symbols
    "metres": {"metre_tick": np.int32, "numerator": np.int32, "denominator": np.int32},
    "tempos": {"tempo_tick": np.int32, "bpm": np.float64},
}
_LAST_TICK = (LONGEST + 1) * TICKS  # rounding to the grid may lengthen a note at the very end


@dataclass(frozen=True, slots=True)
class Head:
    """All of a song except its arrays. ``symbols`` lists each chord symbol once."""

    title: str
    part: str
    program: int
    is_drum: bool
    length: int
    swing: float
    symbols: tuple[str, ...]


class Song:
    """A part to learn from, with its title and chords.

    A song stores ``head`` and ``columns``, arrays by the names of :data:`COLUMNS`, but no velocities. The properties
    ``piece`` and ``part`` are built at each access, because a Note object takes ten times as much memory as the arrays.
    """

    __slots__ = ("columns", "head")

    head: Head
    columns: Columns

    def __init__(self, title: str, piece: Piece) -> None:
        part = piece.parts[0]
        numbers: dict[str, int] = {}
        chords = [(tick, numbers.setdefault(chord.symbol, len(numbers))) for tick, chord in piece.chords]
        rows: dict[str, Sequence[Any]] = {
            "notes": [(note.onset, note.duration, note.pitch) for note in part.notes],
            "chords": chords,
            "metres": piece.metres,
            "tempos": piece.tempos,
        }
        self.columns = {
            name: np.array([row[i] for row in rows[kind]], dtype)
            for kind, names in COLUMNS.items()
            for i, (name, dtype) in enumerate(names.items())
        }
        self.head = Head(title, part.name, part.program, part.is_drum, piece.length, piece.swing, tuple(numbers))

    @classmethod
    def of(cls, head: Head, columns: Columns) -> Song:
        """Make a song from its stored head and arrays. Raises TypeError or ValueError if they are invalid."""
        song = cls.__new__(cls)
        song.head, song.columns = head, columns
        _check(song)
        return song

    @property
    def title(self) -> str:
        """The name to show."""
        return self.head.title

    @property
    def swing(self) -> float:
        """The swing of the piece."""
        return self.head.swing

    @property
    def notes(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """``onset, duration, pitch``, integers ``[number of notes]``, sorted by onset, then pitch."""
        columns = self.columns
        return columns["onset"], columns["duration"], columns["pitch"]

    @property
    def part(self) -> Part:
        """The part to learn."""
        rows = zip(*(column.tolist() for column in self.notes), strict=True)
        return Part(self.head.part, self.head.program, self.head.is_drum, tuple(Note(*row) for row in rows))

    @property
    def piece(self) -> Piece:
        """The piece with the part, the chords, the metres and the tempos."""
        return self._piece((self.part,))

    @property
    def frame(self) -> Piece:
        """The piece without the part, of the same length."""
        return self._piece(())

    def _piece(self, parts: tuple[Part, ...]) -> Piece:
        metres, tempos = self._rows("metres"), self._rows("tempos")
        chords = [parsed(symbol) for symbol in self.head.symbols]
        placed = ((tick, chords[number]) for tick, number in self._rows("chords"))
        return Piece(parts, metres, tempos, tuple(placed), self.head.length, self.head.swing)

    def _rows(self, kind: str) -> tuple[Any, ...]:
        return tuple(zip(*(self.columns[name].tolist() for name in COLUMNS[kind]), strict=True))

    def chord_features(self) -> NDArray[np.float32]:
        """Return :func:`fastrnn.music.chords.chord_table` of the chords, float32 ``[M+1,24]``."""
        table = chord_table(parsed(symbol) for symbol in self.head.symbols)
        features: NDArray[np.float32] = table[np.append(0, self.columns["chord"] + 1)]
        return features

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Song):
            return NotImplemented
        return self.head == other.head and all(
            np.array_equal(self.columns[name], other.columns[name]) for name in self.columns
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Song({self.title!r}, {len(self.columns['onset']):,} notes)"

    def to_json(self) -> dict[str, Any]:
        """Return the song as a dictionary for :meth:`from_json`."""
        symbols = self.head.symbols
        return {
            "title": self.title,
            "swing": self.swing,
            "program": self.head.program,
            "length": self.head.length,
            "metres": self._rows("metres"),
            "tempos": self._rows("tempos"),
            "chords": [(tick, symbols[number]) for tick, number in self._rows("chords")],
            "notes": self._rows("notes"),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Song:
        """Build a song from a dictionary of :meth:`to_json`.

        If it is invalid, longer than any piece that is read, or not writable as MIDI, raises one of the errors that
        :func:`fastrnn.training._run.folder.damaged` turns into a RunError.
        """
        part = Part("melody", value["program"], notes=tuple(Note(*note) for note in value["notes"]))
        chords = tuple((_tick(tick), parse_chord(symbol)) for tick, symbol in value["chords"])
        metres, tempos = (tuple((_tick(tick), *rest) for tick, *rest in value[name]) for name in ("metres", "tempos"))
        piece = Piece((part,), metres, tempos, chords, value["length"], value["swing"])
        _check_title(value["title"])
        if not part.notes:
            raise ValueError("a song has no notes")
        _tick(piece.length)
        check_writable(piece)
        return cls(value["title"], piece)


@lru_cache(4096)
def parsed(symbol: str) -> Chord:
    """Parse a chord symbol, cached so that songs share the objects. Raises ChordError."""
    return parse_chord(symbol)


def _check(song: Song) -> None:
    """Raise TypeError or ValueError for a song that no MIDI file can hold."""
    onset, duration, pitch = song.notes
    _check_title(song.title)
    if not len(onset):
        raise ValueError("a song has no notes")
    end = int((onset.astype(np.int64) + duration).max())
    if onset.min() < 0 or duration.min() < 1 or pitch.max() > 127 or end > song.head.length:
        raise ValueError(f"a song has an invalid note, or one that lasts beyond its end at {song.head.length}")
    for name in ("chord_tick", "metre_tick", "tempo_tick"):
        for tick in _extremes(song.columns[name]):
            _tick(tick)
    if any(not 0 <= number < len(song.head.symbols) for number in _extremes(song.columns["chord"])):
        raise ValueError("a song has a chord without a symbol")
    _tick(song.head.length)
    Part(song.head.part, song.head.program, checks.flag("is_drum", song.head.is_drum))
    check_writable(song.frame)


def _extremes(column: NDArray[Any]) -> Iterable[int]:
    return (int(column.min()), int(column.max())) if len(column) else ()


def _check_title(title: object) -> None:
    if not isinstance(title, str):
        raise TypeError(f"the title of a song must be a string, got {checks.describe(title)}")


def _tick(value: object) -> int:
    """Check a tick of a song. Raises TypeError or ValueError if it is not one, or beyond the end of the longest piece."""
    tick = checks.positive_int("a tick", value, 0)
    if tick > _LAST_TICK:
        raise ValueError(f"a song lasts {LONGEST:,} quarters at most, got the tick {checks.describe(tick)}")
    return tick
