"""Songs: pieces cut down to the one part that a model learns to play, with their chords."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from .. import checks
from . import corpus
from .changes import changes_of
from .chords import Chord, ChordError, parse_chord
from .harmony import infer_chords
from .instruments import KEYBOARDS
from .midi import LONGEST, MidiError
from .midi_folder import Collection, read_collection
from .midi_writing import check_writable
from .piece import TICKS, Note, Part, Piece, bar_length, merged
from .roles import chord_part_of, melody_of, part_named, skyline

VOICES = ("auto", "line", "all")
CORPUS = "corpus:jazz"
_ROOMIEST = (255, 1)  # the longest bar that a file can have

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
        """From :meth:`to_json`.

        Raises what :func:`fastrnn.training.folder.damaged` turns into a RunError for what is none, and for what no file can
        be: a piece that could not be written, or is longer than what is read.
        """
        part = Part("melody", value["program"], notes=tuple(Note(*note) for note in value["notes"]))
        chords = tuple((_tick(tick), parse_chord(symbol)) for tick, symbol in value["chords"])
        metres, tempos = (tuple((_tick(tick), *rest) for tick, *rest in value[name]) for name in ("metres", "tempos"))
        piece = Piece((part,), metres, tempos, chords, value["length"], value["swing"])
        if not isinstance(value["title"], str):
            raise TypeError(f"the title of a song must be a string, got {checks.describe(value['title'])}")
        if not part.notes:
            raise ValueError("a song has no notes")
        _tick(piece.length)
        check_writable(piece)
        return cls(value["title"], piece)


def _tick(value: object) -> int:
    """A place in a song. Raises TypeError or ValueError for what is none, or behind the end of the longest piece."""
    tick = checks.positive_int("a tick", value, 0)
    if tick > (LONGEST + 1) * TICKS:  # what begins at the very end may last longer once it is on the grid
        raise ValueError(f"a song lasts {LONGEST:,} quarters at most, got the tick {checks.describe(tick)}")
    return tick


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
    changes: str | None = None,
    report: Callable[[str], None] | None = None,
) -> Library:
    """The songs of MIDI files and of folders, where a bad file is reported and skipped, as is a song that is there already.

    ``voices`` is ``"line"`` for the melody (the part called ``melody``, or the guess) as a line, or ``"all"`` for all parts
    but drums as one, with notes that sound together; ``"auto"`` takes all where every part of most pieces is a keyboard's.
    Chords are ``changes``, as :func:`fastrnn.music.changes.changes_of` takes them, over and over, a bar of them for each bar
    of the file, where they are given; else they are inferred from the part called ``chords``; else they are the file's own,
    or inferred from what accompanies the melody, or from all that sounds. Raises MidiError and OSError as
    :func:`fastrnn.music.midi_folder.read_collection` does, ChordError for changes that are none, and MidiError for a file
    itself in ``paths`` without a part that is asked for, by ``--melody`` or ``--chords``, or with bars too short for the
    changes.
    """
    checks.choice("voices", voices, VOICES)
    if changes is not None:
        changes_of(changes, metre=_ROOMIEST)  # what is wrong in any metre is said before a file is read
    tell = (lambda line: report(checks.printable(line))) if report else None
    collection = read_collection(paths, report=tell)
    polyphonic = voices == "all" or (voices == "auto" and melody is None and _solo_keyboard(collection))
    song_of = partial(_song, polyphonic=polyphonic, melody=melody, chords=chords, changes=changes)
    songs, faults = _different_songs(collection, song_of, {Path(path) for path in paths})
    for _, fault in faults:
        if tell:
            tell(f"skipped: {fault}")
    if not songs:
        raise MidiError(f"{', '.join(map(str, paths))}: no file has a part to learn from")
    sources = tuple(str(Path(path).absolute()) for path in paths)
    return Library(songs, sources, polyphonic, (*collection.skipped, *faults))


def _different_songs(
    collection: Collection, song_of: Callable[[Path, Piece], Song], named: Container[Path]
) -> tuple[tuple[Song, ...], list[tuple[Path, str]]]:
    """What ``song_of`` makes of the pieces, no song twice, and the files that are left out, each with why in one line.

    Raises MidiError where ``song_of`` raises ValueError for one of the files that are ``named``.
    """
    songs: dict[Notes, tuple[Path, Song]] = {}
    faults: list[tuple[Path, str]] = []
    for path, piece in collection.pieces:
        try:
            song = song_of(path, piece)
        except ValueError as error:
            fault = f"{path}: {error.fault if isinstance(error, ChordError) else error}"
            if path in named:
                raise MidiError(fault) from error
            faults.append((path, fault))
            continue
        first, _ = songs.setdefault(_notes(song), (path, song))
        if first is not path:  # learned from once only: the other might be held out
            faults.append((path, f"{path} is the same music as {first}"))
    return tuple(song for _, song in songs.values()), faults


def _notes(song: Song) -> Notes:
    """What two songs have in common that are the same music."""
    return tuple((note.onset, note.duration, note.pitch) for note in song.part.notes)


def _solo_keyboard(collection: Collection) -> bool:
    solo = [all(part.program in KEYBOARDS for part in piece.parts if not part.is_drum) for _, piece in collection.pieces]
    return 2 * sum(solo) > len(solo)


def _song(
    path: Path, piece: Piece, *, polyphonic: bool, melody: str | None, chords: str | None, changes: str | None
) -> Song:
    """Raises ValueError for a piece without a part that is asked for, or with bars that cannot hold the changes."""
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


def _over(changes: str, piece: Piece) -> Harmony:
    """The changes, over and over: each of their bars over one of the piece's, laid out in its metre.

    A pickup has the chord that the first bar begins with, and a bar that a change of metre cuts short the chords that begin
    before. Raises ValueError, which ChordError is, for a metre whose bars cannot hold them.
    """
    pickup = _has_pickup(piece)
    metres = piece.bar_metres()
    laid_out = {metre: changes_of(changes, metre=metre).bars for metre in dict.fromkeys(metres[pickup:])}
    found: list[tuple[int, Chord]] = []
    for b, (start, end) in enumerate(zip(piece.bars().tolist(), piece.bar_ends().tolist(), strict=True)):
        bars = laid_out[metres[max(b, pickup)]]
        bar = bars[(b - pickup) % len(bars)] if b >= pickup else bars[0][:1]
        for tick, chord in bar:
            at = start + tick
            if at < min(end, piece.length) and (not found or found[-1][1] != chord):
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
