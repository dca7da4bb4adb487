"""Songs: pieces cut down to the one part that a model learns to play, with their chords."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..._core import checks
from .. import corpus
from .._model.song import Song as Song  # for those who take it from here
from .._theory.instruments import KEYBOARDS
from ..changes import changes_of
from ..chords import Chord, ChordError
from ..midi import MidiError, read_midi_with_repairs
from ..midi_folder import Collection, collect
from ..piece import Part, Piece, bar_length, merged
from .harmony import infer_chords
from .reading_cache import Reading, ReadingCache
from .roles import chord_part_of, melody_of, part_named, skyline

VOICES = ("auto", "line", "all")
CORPUS = "corpus:jazz"
_ROOMIEST = (255, 1)  # the longest bar that a file can have

Harmony = tuple[tuple[int, Chord], ...]  # chords, each with the tick from which it counts


@dataclass(frozen=True)
class Library:
    """Songs and where they are from: ``sources`` are paths, or ``corpus:jazz``. ``polyphonic``: notes sound together.

    ``skipped`` are the files that were not used, each with the reason; ``repairs`` counts what was repaired within the
    others, by phrases, and ``repaired`` is how many files had any.
    """

    songs: tuple[Song, ...]
    sources: tuple[str, ...]
    polyphonic: bool
    skipped: tuple[tuple[Path, str], ...] = ()
    repairs: Counter[str] = field(default_factory=Counter)
    repaired: int = 0

    @property
    def sha256(self) -> str:
        """The hash of all songs, in hexadecimal: that of their JSON, in one list."""
        found = hashlib.sha256(f"[{json.dumps(self.polyphonic)}".encode())
        for song in self.songs:  # one after the other: the text of all is large
            found.update(f", {json.dumps(song.to_json())}".encode())
        found.update(b"]")
        return found.hexdigest()


def embedded() -> Library:
    """The choruses that come with the package."""
    songs = tuple(Song(tune.title, tune.piece) for tune in corpus.tunes())
    return Library(songs, (CORPUS,), polyphonic=False)


@dataclass(frozen=True)
class SongReader:
    """Reads the song of a MIDI file; the options are those of :func:`read`. It can be sent to other processes."""

    voices: str = "auto"
    melody: str | None = None
    chords: str | None = None
    changes: str | None = None

    def __call__(self, path: Path) -> tuple[Reading, Counter[str]]:
        """Return what is read, and what was repaired. Raises MidiError and OSError as ``read_midi`` does."""
        piece, repairs = read_midi_with_repairs(path)
        is_solo = all(part.program in KEYBOARDS for part in piece.parts if not part.is_drum)
        polyphonic = self.voices == "all" or (self.is_open and is_solo)
        try:
            song = _song(path, piece, polyphonic=polyphonic, melody=self.melody, chords=self.chords, changes=self.changes)
        except ValueError as error:
            return Reading(None, f"{path}: {error.fault if isinstance(error, ChordError) else error}", is_solo), repairs
        return Reading(song, "", is_solo), repairs

    @property
    def is_open(self) -> bool:
        """Whether each file tells by itself if it is read as a line, until all have been read."""
        return self.voices == "auto" and self.melody is None

    def settled(self, polyphonic: bool) -> SongReader:
        """The reader that reads all files alike."""
        return replace(self, voices="all" if polyphonic else "line")


def read(
    paths: Sequence[str | Path],
    *,
    voices: str = "auto",
    melody: str | None = None,
    chords: str | None = None,
    changes: str | None = None,
    report: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = 1,
) -> Library:
    """The songs of MIDI files and of folders, where a bad file is reported and skipped, as is a song that is there already.

    ``voices`` is ``"line"`` for the melody (the part called ``melody``, or the guess) as a line, or ``"all"`` for all parts
    but drums as one, with notes that sound together; ``"auto"`` takes all where every part of most pieces is a keyboard's.
    Chords are ``changes``, as :func:`fastrnn.music.changes.changes_of` takes them, over and over, a bar of them for each bar
    of the file, where they are given; else they are inferred from the part called ``chords``; else they are the file's own,
    or inferred from what accompanies the melody, or from all that sounds. ``progress`` is called with the numbers of files
    that have been read and of all. With ``processes`` other than 1 (None: one for each CPU) many files are read by several,
    and what is read is kept for the next time, see :mod:`fastrnn.music._midi.reading_cache`; the songs are the same.

    Raises MidiError and OSError as :func:`fastrnn.music.midi_folder.read_collection` does, ChordError for changes that are
    none, and MidiError for a file itself in ``paths`` without a part that is asked for, by ``--melody`` or ``--chords``, or
    with bars too short for the changes.
    """
    checks.choice("voices", voices, VOICES)
    if changes is not None:
        changes_of(changes, metre=_ROOMIEST)  # what is wrong in any metre is said before a file is read
    tell = (lambda line: report(checks.printable(line))) if report else None
    reader = SongReader(voices, melody, chords, changes)
    cache = None
    if processes != 1:
        cache = ReadingCache([sorted(str(Path(path).absolute()) for path in paths), asdict(reader)])
    try:
        collection, polyphonic = _collect(paths, reader, cache, report=tell, progress=progress, processes=processes)
    finally:
        if cache:
            cache.save()
    readings = dict(collection.pieces)
    songs, faults = _different_songs(readings, {Path(path) for path in paths})
    for _, fault in faults:
        if tell:
            tell(f"skipped: {fault}")
    if not songs:
        raise MidiError(f"{', '.join(map(str, paths))}: no file has a part to learn from")
    sources = tuple(str(Path(path).absolute()) for path in paths)
    skipped = (*collection.skipped, *faults)
    return Library(songs, sources, polyphonic, skipped, collection.repairs, collection.repaired)


def _collect(
    paths: Sequence[str | Path], reader: SongReader, cache: ReadingCache | None, **options: Any
) -> tuple[Collection[Reading], bool]:
    """Read the files, and tell whether notes sound together; ``options`` are those of ``collect``.

    Where that depends on what most files are, the others are read again.
    """

    def collected(paths: Sequence[str | Path], reader: SongReader) -> Collection[Reading]:
        return collect(paths, reader, cache=cache.view(reader.voices) if cache else None, **options)

    collection = collected(paths, reader)
    if not reader.is_open:
        return collection, reader.voices == "all"
    solo = sum(reading.is_solo for _, reading in collection.pieces)
    polyphonic = 2 * solo > len(collection.pieces)
    others = [path for path, reading in collection.pieces if reading.is_solo != polyphonic]
    if others:
        again = dict(collected(others, reader.settled(polyphonic)).pieces)
        collection = replace(collection, pieces=tuple((path, again.get(path, each)) for path, each in collection.pieces))
    return collection, polyphonic


def _different_songs(
    readings: Mapping[Path, Reading], named: Container[Path]
) -> tuple[tuple[Song, ...], list[tuple[Path, str]]]:
    """The songs that were read, none twice, and the files that are left out, each with why in one line.

    Raises MidiError for one of the files that are ``named`` where it has no song.
    """
    songs: dict[bytes, tuple[Path, Song]] = {}
    faults: list[tuple[Path, str]] = []
    for path, (song, fault, _) in readings.items():
        if song is None:
            if path in named:
                raise MidiError(fault)
            faults.append((path, fault))
            continue
        first, _ = songs.setdefault(_same_for_the_same_music(song), (path, song))
        if first is not path:  # learned from once only: the other might be held out
            faults.append((path, f"{path} is the same music as {first}"))
    return tuple(song for _, song in songs.values()), faults


def _same_for_the_same_music(song: Song) -> bytes:
    return hashlib.sha256(b"".join(column.tobytes() for column in song.notes)).digest()


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
    return Song(song.title, Piece((part,), metres, tempos, chords, end - start, piece.swing))
