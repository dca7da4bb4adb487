"""Songs: pieces reduced to the one part that a model learns to play, with their chords."""

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
from .._model.song import Song as Song  # re-exported
from .._theory.instruments import KEYBOARDS
from ..changes import changes_of
from ..chords import Chord, ChordError
from ..midi import MidiError, read_midi_with_repairs
from ..midi_folder import Collection, collect
from ..piece import Part, Piece, merged, pickup_length
from .harmony import infer_chords
from .reading_cache import Reading, ReadingCache
from .roles import chord_part_of, melody_of, part_named, skyline

VOICES = ("auto", "line", "all")
CORPUS = "corpus:jazz"
_ROOMIEST = (255, 1)  # the longest bar that a file can have

Harmony = tuple[tuple[int, Chord], ...]  # pairs (tick at which it begins, chord)


@dataclass(frozen=True)
class Library:
    """Songs and their origin.

    Attributes
    ----------
    songs
        The songs.
    sources
        Paths, or ``corpus:jazz``.
    polyphonic
        True if notes may sound together.
    skipped
        The files that were not used, each with the reason.
    repairs
        Counts of repairs within the other files, by phrase.
    repaired
        The number of files with repairs.
    """

    songs: tuple[Song, ...]
    sources: tuple[str, ...]
    polyphonic: bool
    skipped: tuple[tuple[Path, str], ...] = ()
    repairs: Counter[str] = field(default_factory=Counter)
    repaired: int = 0

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 hash of all songs, written as one JSON list."""
        found = hashlib.sha256(f"[{json.dumps(self.polyphonic)}".encode())
        for song in self.songs:  # one by one, because the text of all is large
            found.update(f", {json.dumps(song.to_json())}".encode())
        found.update(b"]")
        return found.hexdigest()


def embedded() -> Library:
    """Return the choruses that come with the package."""
    songs = tuple(Song(tune.title, tune.piece) for tune in corpus.tunes())
    return Library(songs, (CORPUS,), polyphonic=False)


@dataclass(frozen=True)
class SongReader:
    """A picklable function that reads the song of a MIDI file; the options are those of :func:`read`."""

    voices: str = "auto"
    melody: str | None = None
    chords: str | None = None
    changes: str | None = None

    def __call__(self, path: Path) -> tuple[Reading, Counter[str]]:
        """Return the reading, and counts of repairs. Raises MidiError and OSError as ``read_midi`` does."""
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
        """True if the majority of files decides between line and all; until then each file decides for itself."""
        return self.voices == "auto" and self.melody is None

    def settled(self, polyphonic: bool) -> SongReader:
        """Return a reader that reads all files in the same way."""
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
    """Read the songs of MIDI files and folders. Bad files in folders and songs with the same notes are skipped.

    Parameters
    ----------
    paths
        Files and folders.
    voices
        ``"line"``: the melody as a line. ``"all"``: all parts but drums as one, with notes that sound together. ``"auto"``:
        ``"all"`` if most pieces are for keyboards alone, else ``"line"``.
    melody
        The part that is the melody, by name or number from 0; None: a guess.
    chords
        The part from which chords are inferred, by name or number from 0. With None they are the file's own; if it has
        none, they are inferred from the accompaniment of the melody, or from all notes.
    changes
        Chords for all files, as in :func:`fastrnn.music.changes.changes_of`. Each bar of them covers one bar of the file,
        and they are repeated to its end. They take precedence over ``chords``.
    report
        Called with one line for each file that is skipped.
    progress
        Called with the number of files read so far and the number of all files.
    processes
        None: one for each CPU. Except with 1, many files are read by several processes, and the songs are cached for the
        next time (:mod:`fastrnn.music._midi.reading_cache`). The result is the same.

    Raises
    ------
    MidiError, OSError
        As in :func:`fastrnn.music.midi_folder.read_collection`. MidiError also if a file in ``paths`` lacks the part
        ``melody`` or ``chords``, or has bars too short for the changes.
    ChordError
        If the changes are invalid.
    """
    checks.choice("voices", voices, VOICES)
    if changes is not None:
        changes_of(changes, metre=_ROOMIEST)  # errors in any metre are raised before a file is read
    show = (lambda line: report(checks.printable(line))) if report else None
    reader = SongReader(voices, melody, chords, changes)
    cache = None
    if processes != 1:
        cache = ReadingCache([sorted(str(Path(path).absolute()) for path in paths), asdict(reader)])
    try:
        collection, polyphonic = _collect(paths, reader, cache, report=show, progress=progress, processes=processes)
    finally:
        if cache:
            cache.save()
    readings = dict(collection.pieces)
    songs, faults = _different_songs(readings, {Path(path) for path in paths})
    for _, fault in faults:
        if show:
            show(f"skipped: {fault}")
    if not songs:
        raise MidiError(f"{', '.join(map(str, paths))}: no file has a part to learn from")
    sources = tuple(str(Path(path).absolute()) for path in paths)
    skipped = (*collection.skipped, *faults)
    return Library(songs, sources, polyphonic, skipped, collection.repairs, collection.repaired)


def _collect(
    paths: Sequence[str | Path], reader: SongReader, cache: ReadingCache | None, **options: Any
) -> tuple[Collection[Reading], bool]:
    """Read the files, and decide if notes sound together; ``options`` are those of ``collect``.

    If the majority of files decides, the others are read again.
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
    """Return the different songs, and the files that are left out, each with the reason in one line.

    Raises MidiError if one of the ``named`` files has no song.
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
        if first is not path:  # a copy could otherwise be held out and trained on
            faults.append((path, f"{path} is the same music as {first}"))
    return tuple(song for _, song in songs.values()), faults


def _same_for_the_same_music(song: Song) -> bytes:
    return hashlib.sha256(b"".join(column.tobytes() for column in song.notes)).digest()


def _song(
    path: Path, piece: Piece, *, polyphonic: bool, melody: str | None, chords: str | None, changes: str | None
) -> Song:
    """Make a song of a piece. Raises ValueError for a missing part, or for bars that cannot hold the changes."""
    lead = None if polyphonic else melody_of(piece) if melody is None else part_for_option(piece, melody, "--melody")
    part = skyline(lead) if lead else merged(part for part in piece.parts if not part.is_drum)
    if changes is not None:
        harmony = _over(changes, piece)
    elif chords is not None:
        harmony = infer_chords(replace(piece, parts=(part_for_option(piece, chords, "--chords"),)))
    else:
        harmony = piece.chords or _heard(piece, lead)
    return Song(path.stem, replace(piece, parts=(replace(part, name="melody"),), chords=harmony))


def part_for_option(piece: Piece, part: str, option: str) -> Part:
    """Return the part that the value of ``option`` names, by name or number from 0. Raises ValueError, which lists parts."""
    return part_named(piece, int(part) if part.isdecimal() else part, option)


def _over(changes: str, piece: Piece) -> Harmony:
    """Repeat the changes over a piece: each of their bars covers one bar of the piece, in that bar's metre.

    A pickup takes the first chord of the first bar. A bar that a change of metre cuts short takes the chords that begin
    within it. Raises ValueError (a ChordError) for a metre whose bars cannot hold the chords.
    """
    pickup = 0 < pickup_length(piece.metres) < piece.length
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


def _heard(piece: Piece, lead: Part | None) -> Harmony:
    """Infer chords from the accompaniment of the lead if one of its parts plays chords, else from all parts."""
    chords = None if lead is None else chord_part_of(piece)
    if chords is None or chords is lead:
        return infer_chords(piece)
    return infer_chords(replace(piece, parts=tuple(part for part in piece.parts if part is not lead)))


def cut(song: Song, start: int, end: int) -> Song:
    """Cut out the ticks from ``start`` to ``end``, moved to tick 0, with the notes that begin there."""
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
