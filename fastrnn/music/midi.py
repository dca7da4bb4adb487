"""Reading MIDI files into pieces.

pretty_midi is not used, because it turns beats into seconds, loses notes of no length and notes that are never ended, ends
all open notes of a pitch at once, and looks for tempos and metres on the first track only. Here ``midi_chunks.py`` and
``midi_events.py`` read the bytes, ``midi_tracks.py`` the notes. A note's place is its beat, exactly; swing is then taken
off, and what is left is rounded to the grid of 12 ticks a quarter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.checks import printable
from ..info import install_extra
from ._midi.chunks import NoMidi, read_chunks
from ._midi.grid import Ints, heard_swing, on_grid, straightened, straightened_words
from ._midi.tracks import DRUMS, MARKED, WORDS, Track, read_tracks
from .chords import Chord, ChordError, parse_chord
from .midi_repairs import repairs_line
from .piece import Note, Part, Piece, separated

LARGEST = 2_000_000  # bytes of a file: real ones have a tenth; as many take three seconds
LONGEST = 20_000  # quarters of a piece: three hours of them
_SECTIONS = list("ABCDEFG")
_SUNG = {"Ah", "Eh", "Do"}  # what choirs sing, and chords as well: half-diminished and diminished ones


class MidiError(ValueError):
    """A MIDI file that cannot be used; the message is one line that names the file and the fault."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # a file's name may contain line breaks and escape characters


def library() -> Any:
    """Return mido, which writes files, imported when it is first needed. Raises MidiError that says how to install it."""
    try:
        import mido
    except ImportError:
        raise MidiError(f"MIDI files need mido, which is not installed ({install_extra('train')})") from None
    return mido


def read_midi(path: str | Path, *, drums: bool = False, fewest: int = 2, largest: int = LARGEST) -> Piece:
    """The piece in a MIDI file of type 0 or 1, which may be wrapped in RIFF.

    Every pair of channel and program on a track becomes a part with the track's name (80 characters of it), in the order in
    which they begin to play; ``drums`` says whether the drum channel is kept. A channel's program may be set on any track.
    Onsets and ends are rounded to the grid, and a note lasts a tick at least. A note that is struck again ends there; one
    that is never ended lasts to the end of its track. Pedals and bends are left out.

    Off-beat eighths that are swung come to the middle of their beats, and so do chord symbols beside them; the piece's
    ``swing`` says where they were: see :func:`fastrnn.music._midi.grid.heard_swing`, which listens to all parts but drums.

    Chords are the markers, if most of these are chord symbols; else the texts, else the lyrics. The others, such as
    "Intro", are left out. Single letters that come in the order A, B, C are sections, and no chords, but for the
    markers of files that :func:`fastrnn.music.midi_writing.write_midi` wrote.

    An event that cannot be is skipped if no note depends on it, and repaired if its meaning is plain. A damaged or cut-off
    track is read up to that place, without the notes that sound there. :mod:`fastrnn.music._midi.events` and
    :mod:`fastrnn.music._midi.chunks` have the rules, :func:`read_midi_with_repairs` says what was done. Names and words are
    decoded as :mod:`fastrnn.music._midi.text` describes.

    Raises MidiError for a file above ``largest`` bytes (before it is read), for what is no regular file, for one that is no
    MIDI file of beats, and for fewer than ``fewest`` notes that can be trusted, within the first 20,000 quarters. Raises
    OSError where the file cannot be read.
    """
    return read_midi_with_repairs(path, drums=drums, fewest=fewest, largest=largest)[0]


def read_midi_with_repairs(
    path: str | Path, *, drums: bool = False, fewest: int = 2, largest: int = LARGEST
) -> tuple[Piece, Counter[str]]:
    """Read a MIDI file as :func:`read_midi` does, and count what was skipped or repaired.

    The counter maps a short phrase, such as "program change out of range skipped", to how often it happened;
    :func:`fastrnn.music.midi_repairs.repairs_line` makes one line of it. Counters of several files can be added. Both
    results can be sent between processes.
    """
    path = Path(path)
    return _parse(_content(path, largest), str(path), drums, fewest)


def _content(path: Path, largest: int) -> bytes:
    """What is in the file. Raises MidiError and OSError as :func:`read_midi` does."""
    status = path.stat()
    if not S_ISREG(status.st_mode):  # a device may have no end, and a pipe would be waited for
        raise MidiError(f"{path} is {'a folder' if S_ISDIR(status.st_mode) else 'no regular file'}: expected a MIDI file")
    size, data = status.st_size, b""
    if size <= largest:
        with path.open("rb") as file:
            data = file.read(largest + 1)
        size = len(data)
    if size > largest:
        raise MidiError(f"{path} has {size / 1e6:,.1f} MB: a MIDI file of more than {largest / 1e6:,.1f} MB is not read")
    return data


def parse_midi(data: bytes, name: str = "the data", *, drums: bool = False, fewest: int = 2) -> Piece:
    """As :func:`read_midi`, from the file's content; ``name`` is what errors call it. Raises MidiError."""
    return _parse(data, name, drums, fewest)[0]


def _parse(data: bytes, name: str, drums: bool, fewest: int) -> tuple[Piece, Counter[str]]:
    """The piece in a file's content, and what was repaired."""
    repairs: Counter[str] = Counter()
    try:
        file = read_chunks(data, LONGEST, repairs)
    except NoMidi as error:
        raise MidiError(f"{name} {error}") from None
    tracks, per_quarter = read_tracks(file.tracks, repairs), file.per_quarter
    played = [part for track in tracks for part in _played(track)]
    onsets = [part.onset for part in played if not part.is_drum]
    swing, spread = heard_swing(onsets, per_quarter)
    parts = [part.on_grid(per_quarter, swing, spread) for part in played]
    kept = tuple(part for part in parts if drums or not part.is_drum)
    notes = sum(len(part.notes) for part in kept)
    if notes < fewest:
        raise MidiError(f"{name} {_too_few(notes, len(kept) < len(parts), file.fault, repairs)}")
    ends = [int(on_grid(track.rest, per_quarter)) for track in tracks] + [part.end for part in parts]
    metres, tempos = (_changes(tracks, kind, per_quarter) for kind in ("metres", "tempos"))
    chords = _chords(tracks, partial(straightened_words, parts=onsets, per_quarter=per_quarter, swing=swing, spread=spread))
    return Piece(kept, metres, tempos, chords, max(ends, default=0), swing), repairs


def _too_few(notes: int, has_drums: bool, fault: str, repairs: Counter[str]) -> str:
    """The end of the sentence that refuses a file with too few notes that can be trusted."""
    how_many = "only one note" if notes == 1 else f"only {notes} notes" if notes else "no notes"
    how_many += " but drums" if has_drums else ""
    if fault:
        return f"{fault}; before that it has {how_many}"
    said = repairs_line(repairs)
    return f"has {how_many}" + (f" ({said})" if said else "")


@dataclass(frozen=True)
class _Played:
    """A part as the file has it: ``onset, end, pitch, velocity``, each int64 ``[N]``, at ticks of the file."""

    name: str
    program: int
    is_drum: bool
    onset: NDArray[np.int64]
    end: NDArray[np.int64]
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]

    def on_grid(self, per_quarter: int, swing: float, spread: float) -> Part:
        onset, end = straightened(self.onset, self.end, per_quarter, swing, spread)
        columns = (onset, np.maximum(end - onset, 1), self.pitch, self.velocity)
        notes = separated(map(Note, *(column.tolist() for column in columns)))
        return Part(self.name, self.program, self.is_drum, notes)


def _played(track: Track) -> list[_Played]:
    """A part for every channel and program that plays; the channel is told where it tells parts of a track apart."""
    parts = []
    several = len({channel for channel, _ in track.notes}) > 1
    for (channel, program), rows in track.notes.items():
        name = ", ".join(filter(None, (track.name, f"channel {channel + 1}"))) if several else track.name
        parts.append(_Played(name, program, channel == DRUMS, *np.array(rows, np.int64).T))
    return parts


def _merged(rows: Sequence[Sequence[tuple[Any, ...]]], to_grid: Callable[[Ints], Ints]) -> list[tuple[Any, ...]]:
    """What several tracks say, in order, with ticks of the grid, which ``to_grid`` makes of those of the file."""
    together = sorted((row for of_track in rows for row in of_track), key=lambda row: row[0])
    ticks = to_grid(np.array([row[0] for row in together], np.int64)).tolist()
    return [(tick, *row[1:]) for tick, row in zip(ticks, together, strict=True)]


def _changes(tracks: list[Track], kind: str, per_quarter: int) -> tuple[Any, ...]:
    """The ``"metres"`` or ``"tempos"`` of all tracks. Of several at one tick the last counts; what holds already is none."""
    to_grid = partial(on_grid, per_quarter=per_quarter)
    at = {tick: (tick, *rest) for tick, *rest in _merged([getattr(track, kind) for track in tracks], to_grid)}
    rows = list(at.values())
    return tuple(row for before, row in zip([None, *rows], rows, strict=False) if before is None or before[1:] != row[1:])


def _chords(tracks: list[Track], to_grid: Callable[[Ints], Ints]) -> tuple[tuple[int, Chord], ...]:
    """The chords of the first kind of words that has any."""
    marked = any(word == MARKED for track in tracks for _, word in track.words["text"])
    for kind in WORDS:
        words = _merged([track.words[kind] for track in tracks], to_grid)
        found = _chords_among(words, may_be_sections=not (marked and kind == "marker"))
        if found:
            return found
    return ()


def _chords_among(words: list[tuple[Any, ...]], *, may_be_sections: bool) -> tuple[tuple[int, Chord], ...]:
    """The words that are chords, where most of them are, and are not sections; of several at one tick the last counts."""
    words = [(tick, word) for tick, word in words if word]
    found: dict[int, Chord] = {}
    count = 0
    for tick, word in words:
        with suppress(ChordError):
            found[tick] = parse_chord(word)
            count += 1
    symbols = list(dict.fromkeys(chord.symbol for chord in found.values()))
    no_chords = symbols == _SECTIONS[: len(symbols)] or _SUNG.issuperset(symbols)
    if 2 * count <= len(words) or (may_be_sections and no_chords):
        return ()
    return tuple(found.items())
