"""Songs: pieces cut down to the one part that a model learns to play, with their chords."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import checks
from . import corpus
from .changes import Changes
from .chords import Chord, parse_chord
from .harmony import infer_chords
from .instruments import KEYBOARDS
from .midi import MidiError
from .midi_folder import Collection, read_collection
from .piece import Note, Part, Piece, bar_length, merged
from .roles import chord_part_of, melody_of, part_named, skyline

VOICES = ("auto", "line", "all")
CORPUS = "corpus:jazz"

Harmony = tuple[tuple[int, Chord], ...]  # chords, each with the tick from which it counts
Notes = tuple[tuple[int, int, int], ...]  # onset, duration, pitch


@dataclass(frozen=True, slots=True)
class Song:
    """A part to learn from: ``piece`` has that part alone, and the chords."""

    title: str
    piece: Piece

    @property
    def part(self) -> Part:
        """The part."""
        return self.piece.parts[0]

    @property
    def swing(self) -> float:
        """The piece's."""
        return self.piece.swing

    def to_json(self) -> dict[str, Any]:
        """What it is built from again; how loud notes are is left out."""
        piece = self.piece
        return {
            "title": self.title,
            "swing": self.swing,
            "program": self.part.program,
            "length": piece.length,
            "metres": piece.metres,
            "tempos": piece.tempos,
            "chords": [(tick, chord.symbol) for tick, chord in piece.chords],
            "notes": [(note.onset, note.duration, note.pitch) for note in self.part.notes],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Song:
        """From :meth:`to_json`. Raises KeyError, TypeError or ValueError for what is none."""
        part = Part("melody", value["program"], notes=tuple(Note(*note) for note in value["notes"]))
        chords = tuple((tick, parse_chord(symbol)) for tick, symbol in value["chords"])
        metres, tempos = (tuple(map(tuple, value[name])) for name in ("metres", "tempos"))
        return cls(value["title"], Piece((part,), metres, tempos, chords, value["length"], value["swing"]))


@dataclass(frozen=True)
class Library:
    """Songs and where they are from: ``sources`` are paths, or ``corpus:jazz``. ``polyphonic``: notes sound together."""

    songs: tuple[Song, ...]
    sources: tuple[str, ...]
    polyphonic: bool
    skipped: tuple[tuple[Path, str], ...] = ()

    @property
    def sha256(self) -> str:
        """The hash of all songs, in hexadecimal."""
        text = json.dumps([self.polyphonic, *(song.to_json() for song in self.songs)])
        return hashlib.sha256(text.encode()).hexdigest()


def embedded() -> Library:
    """The choruses that come with the package."""
    songs = tuple(Song(tune.title, tune.piece) for tune in corpus.tunes())
    return Library(songs, (CORPUS,), polyphonic=False)


def read(
    paths: Sequence[str | Path],
    *,
    voices: str = "auto",
    melody: str | None = None,
    chords: str | None = None,
    changes: Changes | None = None,
    report: Callable[[str], None] | None = None,
) -> Library:
    """The songs of MIDI files and of folders, where a bad file is reported and skipped, as is a song that is there already.

    ``voices`` is ``"line"`` for the melody (the part called ``melody``, or the guess) as a line, or ``"all"`` for all parts
    but drums as one, with notes that sound together; ``"auto"`` takes all where every part of most pieces is a keyboard's.
    Chords are ``changes``, over and over, a bar of them for each bar of the file, where they are given; else they are
    inferred from the part called ``chords``; else they are the file's own, or inferred from what accompanies the melody, or
    from all that sounds. Raises MidiError and OSError as :func:`fastrnn.music.midi_folder.read_collection` does, and
    MidiError for a file itself in ``paths`` without a part that is asked for, by ``--melody`` or ``--chords``.
    """
    checks.choice("voices", voices, VOICES)
    collection = read_collection(paths, report=report)
    polyphonic = voices == "all" or (voices == "auto" and melody is None and _solo_keyboard(collection))
    named = {Path(path) for path in paths}
    skipped = list(collection.skipped)
    songs: dict[Notes, tuple[Path, Song]] = {}
    for path, piece in collection.pieces:
        fault = ""
        try:
            song = _song(path, piece, polyphonic, melody, chords, changes)
        except ValueError as error:
            fault = f"{path}: {error}"
            if path in named:
                raise MidiError(fault) from error
        else:
            first, _ = songs.setdefault(_notes(song), (path, song))
            if first is not path:  # learned from once only: the other might be held out
                fault = f"{path} is the same music as {first}"
        if fault:
            skipped.append((path, fault))
            if report:
                report(f"skipped: {fault}")
    if not songs:
        raise MidiError(f"{', '.join(map(str, paths))}: no file has a part to learn from")
    sources = tuple(str(Path(path).absolute()) for path in paths)
    return Library(tuple(song for _, song in songs.values()), sources, polyphonic, tuple(skipped))


def _notes(song: Song) -> Notes:
    """What two songs have in common that are the same music."""
    return tuple((note.onset, note.duration, note.pitch) for note in song.part.notes)


def _solo_keyboard(collection: Collection) -> bool:
    solo = [all(part.program in KEYBOARDS for part in piece.parts if not part.is_drum) for _, piece in collection.pieces]
    return 2 * sum(solo) > len(solo)


def _song(
    path: Path, piece: Piece, polyphonic: bool, melody: str | None, chords: str | None, changes: Changes | None
) -> Song:
    """Raises ValueError for a piece without a part that is asked for."""
    lead = None if polyphonic else melody_of(piece) if melody is None else part_asked_for(piece, melody, "--melody")
    part = skyline(lead) if lead else merged(part for part in piece.parts if not part.is_drum)
    if changes is not None:
        harmony = _over(changes, piece)
    elif chords is not None:
        harmony = infer_chords(replace(piece, parts=(part_asked_for(piece, chords, "--chords"),)))
    else:
        harmony = piece.chords or _heard(piece, lead)
    return Song(path.stem, replace(piece, parts=(replace(part, name="melody"),), chords=harmony))


def part_asked_for(piece: Piece, part: str, option: str) -> Part:
    """The part that the text of ``option`` stands for, a name or a number from 0. Raises ValueError, which lists parts."""
    return part_named(piece, int(part) if part.isdecimal() else part, option)


def _over(changes: Changes, piece: Piece) -> Harmony:
    """The changes, over and over: each of their bars fills one of the piece's, whatever its metre.

    A pickup has the chord that the first bar begins with.
    """
    bounds = zip(piece.bars().tolist(), piece.bar_ends().tolist(), strict=True)
    found: list[tuple[int, Chord]] = []
    for b, (start, end) in enumerate(bounds, -_has_pickup(piece)):
        bar = changes.bars[b % len(changes.bars)] if b >= 0 else changes.bars[0][:1]
        for tick, chord in bar:
            at = start + tick * (end - start) // changes.bar
            if at < piece.length and (not found or found[-1][1] != chord):
                found.append((at, chord))
    return tuple(found)


def _has_pickup(piece: Piece) -> bool:
    """Whether the first bar is shorter than those of a metre that follows at once."""
    starts, later = piece.bars(), piece.metres[1:]
    if len(starts) < 2 or not later or later[0][0] != starts[1]:
        return False
    return bool(starts[1] < bar_length(*later[0][1:]))


def _heard(piece: Piece, lead: Part | None) -> Harmony:
    """The chords inferred from what accompanies the lead, where a part plays chords, else from all that sounds."""
    chords = None if lead is None else chord_part_of(piece)
    if chords is None or chords is lead:
        return infer_chords(piece)
    return infer_chords(replace(piece, parts=tuple(part for part in piece.parts if part is not lead)))


def cut(song: Song, start: int, end: int) -> Song:
    """The song's ticks from ``start`` to ``end``, with notes that begin there, from tick 0."""
    piece = song.piece
    notes = tuple(
        replace(note, onset=note.onset - start, duration=min(note.duration, end - note.onset))
        for note in song.part.notes
        if start <= note.onset < end
    )

    def moved(changes: Iterable[Any]) -> tuple[Any, ...]:
        before = [change for change in changes if change[0] <= start]
        return tuple(
            (max(0, tick - start), *rest) for tick, *rest in [*before[-1:], *(c for c in changes if start < c[0] < end)]
        )

    part = replace(song.part, notes=notes)
    metres, tempos, chords = (moved(changes) for changes in (piece.metres, piece.tempos, piece.chords))
    return replace(song, piece=Piece((part,), metres, tempos, chords, end - start, piece.swing))
