"""Reading MIDI files into pieces.

pretty_midi is not used because it converts beats to seconds, loses notes of no length and notes without a note-off, ends all
open notes of a pitch at once, and looks for tempos and metres on the first track only. Here ``_midi/chunks.py`` and
``_midi/events.py`` read the bytes and ``_midi/tracks.py`` the notes. Places are exact beats at first; then swing is removed
and they are rounded to the grid of 12 ticks a quarter.
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
from .piece import TICKS, Note, Part, Piece, pickup_length, separated_columns

LARGEST = 2_000_000  # bytes of a file: real ones have a tenth; this many take three seconds to read
LONGEST = 20_000  # quarters of a piece: about three hours
_SECTIONS = list("ABCDEFG")
_SUNG = {"Ah", "Eh", "Do"}  # syllables of choirs that also parse as half-diminished and diminished chords


class MidiError(ValueError):
    """A MIDI file that cannot be used; the message is one line that names the file and the fault."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # file names may contain line breaks and escape characters


def library() -> Any:
    """Import mido, which writes files. Raises MidiError, which says how to install it."""
    try:
        import mido
    except ImportError:
        raise MidiError(f"MIDI files need mido, which is not installed ({install_extra('train')})") from None
    return mido


def read_midi(path: str | Path, *, drums: bool = False, fewest: int = 2, largest: int = LARGEST) -> Piece:
    """Read a MIDI file of type 0 or 1, or of type 2 with one track, which may be wrapped in RIFF.

    Parameters
    ----------
    path
        The file.
    drums
        If True, the drum channel becomes a part as well.
    fewest
        The least number of notes, within the first 20,000 quarters.
    largest
        The size limit in bytes.

    Returns
    -------
    Piece
        Each pair of channel and program on a track is a part, named after the track (80 characters at most), in the order
        in which they begin to play.

    Raises
    ------
    MidiError
        If the file is larger than ``largest``, not a regular file, not a MIDI file that counts beats, or has fewer than
        ``fewest`` undamaged notes.
    OSError
        If the file cannot be read.

    Notes
    -----
    A channel's program may be set on any track. Onsets and ends are rounded to the grid; a note lasts at least one tick. A
    note ends when it is struck again; one without a note-off lasts to the end of its track. Pedals and bends are ignored.

    Swung off-beat eighths move to the middle of their beats, and chord symbols next to them move along. The piece's
    ``swing`` says where they were; :func:`fastrnn.music._midi.grid.heard_swing` finds it from all parts but drums.

    Chords are the markers if most of these are chord symbols, else the texts, else the lyrics. Other words, such as
    "Intro", are dropped. Single letters in the order A, B, C are sections, not chords, except in markers of files that
    :func:`fastrnn.music.midi_writing.write_midi` wrote.

    An invalid event is skipped if no note depends on it, and repaired if its meaning is plain. A damaged or cut-off track is
    read up to that place, without the notes that sound there. :mod:`fastrnn.music._midi.events` and
    :mod:`fastrnn.music._midi.chunks` have the rules; :func:`read_midi_with_repairs` reports the repairs. Names and words
    are decoded as :mod:`fastrnn.music._midi.text` describes.
    """
    return read_midi_with_repairs(path, drums=drums, fewest=fewest, largest=largest)[0]


def read_midi_with_repairs(
    path: str | Path, *, drums: bool = False, fewest: int = 2, largest: int = LARGEST
) -> tuple[Piece, Counter[str]]:
    """Read a MIDI file as :func:`read_midi` does, and count what was skipped or repaired.

    The counter maps a short phrase, such as "program change out of range skipped", to its count;
    :func:`fastrnn.music.midi_repairs.repairs_line` makes one line of it. Counters of several files can be added. Both
    results can be pickled.
    """
    path = Path(path)
    return _parse(_content(path, largest), str(path), drums, fewest)


def _content(path: Path, largest: int) -> bytes:
    """Read the file's bytes. Raises MidiError and OSError as :func:`read_midi` does."""
    status = path.stat()
    if not S_ISREG(status.st_mode):  # a device may have no end, and reading a pipe may block
        raise MidiError(f"{path} is {'a folder' if S_ISDIR(status.st_mode) else 'not a regular file'}: expected a MIDI file")
    size, data = status.st_size, b""
    if size <= largest:
        with path.open("rb") as file:
            data = file.read(largest + 1)
        size = len(data)
    if size > largest:
        raise MidiError(f"{path} has {size / 1e6:,.1f} MB: a MIDI file of more than {largest / 1e6:,.1f} MB is not read")
    return data


def parse_midi(data: bytes, name: str = "the data", *, drums: bool = False, fewest: int = 2) -> Piece:
    """Parse the bytes of a MIDI file as :func:`read_midi` does; errors call it ``name``. Raises MidiError."""
    return _parse(data, name, drums, fewest)[0]


def _parse(data: bytes, name: str, drums: bool, fewest: int) -> tuple[Piece, Counter[str]]:
    """Parse the bytes of a file, and count the repairs."""
    repairs: Counter[str] = Counter()
    try:
        file = read_chunks(data, LONGEST, repairs)
    except NoMidi as error:
        raise MidiError(f"{name} {error}") from None
    tracks, per_quarter = read_tracks(file.tracks, repairs), file.per_quarter
    played = [part for track in tracks for part in _played(track)]
    onsets = [part.onset for part in played if not part.is_drum]
    metres, tempos = (_changes(tracks, kind, per_quarter) for kind in ("metres", "tempos"))
    start = pickup_length(Piece(metres=metres).metres) * per_quarter // TICKS
    beats = per_quarter, *heard_swing(onsets, per_quarter, start), start
    parts = [part.on_grid(*beats) for part in played]
    wanted = tuple(part for part in parts if drums or not part.is_drum)
    notes = sum(len(part.notes) for part in wanted)
    if notes < fewest:
        raise MidiError(f"{name} {_too_few(notes, len(wanted) < len(parts), file.fault, repairs)}")
    ends = [int(on_grid(track.rest, per_quarter)) for track in tracks] + [part.end for part in parts]
    chords = _chords(tracks, lambda ticks: straightened_words(ticks, onsets, *beats))
    return Piece(wanted, metres, tempos, chords, max(ends, default=0), beats[1]), repairs


def _too_few(notes: int, has_drums: bool, fault: str, repairs: Counter[str]) -> str:
    """Complete the error for a file with too few undamaged notes, a sentence that begins with the file's name."""
    how_many = "only one note" if notes == 1 else f"only {notes} notes" if notes else "no notes"
    how_many += " but drums" if has_drums else ""
    if fault:
        return f"{fault}; before that it has {how_many}"
    said = repairs_line(repairs)
    return f"has {how_many}" + (f" ({said})" if said else "")


@dataclass(frozen=True)
class _Played:
    """A part before rounding: ``onset, end, pitch, velocity``, each int64 ``[N]``, in ticks of the file."""

    name: str
    program: int
    is_drum: bool
    onset: NDArray[np.int64]
    end: NDArray[np.int64]
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]

    def on_grid(self, per_quarter: int, swing: float, spread: float, start: int) -> Part:
        onset, end = straightened(self.onset, self.end, per_quarter, swing, spread, start)
        columns = separated_columns(onset, np.maximum(end - onset, 1), self.pitch, self.velocity)
        return Part(self.name, self.program, self.is_drum, tuple(map(Note, *(column.tolist() for column in columns))))


def _played(track: Track) -> list[_Played]:
    """Return a part for each pair of channel and program; names include the channel if the track uses several."""
    parts = []
    several = len({channel for channel, _ in track.notes}) > 1
    for (channel, program), rows in track.notes.items():
        name = ", ".join(filter(None, (track.name, f"channel {channel + 1}"))) if several else track.name
        parts.append(_Played(name, program, channel == DRUMS, *np.array(rows, np.int64).T))
    return parts


def _merged(rows: Sequence[Sequence[tuple[Any, ...]]], to_grid: Callable[[Ints], Ints]) -> list[tuple[Any, ...]]:
    """Merge rows (tick of the file, ...) of all tracks by time; ``to_grid`` converts their ticks to the grid."""
    together = sorted((row for of_track in rows for row in of_track), key=lambda row: row[0])
    ticks = to_grid(np.array([row[0] for row in together], np.int64)).tolist()
    return [(tick, *row[1:]) for tick, row in zip(ticks, together, strict=True)]


def _changes(tracks: list[Track], kind: str, per_quarter: int) -> tuple[Any, ...]:
    """Merge the ``"metres"`` or ``"tempos"`` of all tracks; of several at one tick the last counts, repeats are dropped."""
    to_grid = partial(on_grid, per_quarter=per_quarter)
    at = {tick: (tick, *rest) for tick, *rest in _merged([getattr(track, kind) for track in tracks], to_grid)}
    rows = list(at.values())
    return tuple(row for before, row in zip([None, *rows], rows, strict=False) if before is None or before[1:] != row[1:])


def _chords(tracks: list[Track], to_grid: Callable[[Ints], Ints]) -> tuple[tuple[int, Chord], ...]:
    """Return the chords of the first kind of words that has any."""
    marked = any(word == MARKED for track in tracks for _, word in track.words["text"])
    for kind in WORDS:
        words = _merged([track.words[kind] for track in tracks], to_grid)
        found = _chords_among(words, may_be_sections=not (marked and kind == "marker"))
        if found:
            return found
    return ()


def _chords_among(words: list[tuple[Any, ...]], *, may_be_sections: bool) -> tuple[tuple[int, Chord], ...]:
    """Return the words that are chords; none if most words are not, or if they are names of sections.

    Of several chords at one tick the last counts.
    """
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
