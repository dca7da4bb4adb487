"""Reading MIDI files into pieces.

Files are parsed by mido, the library below pretty_midi, and not by pretty_midi itself: that turns beats into seconds, loses
notes of no length and notes that are never ended, ends all open notes of a pitch at once, and looks for tempos and metres on
the first track only. Here a note's place is its beat, exactly; swing is then taken off, and what is left is rounded to the
grid of 12 ticks a quarter.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..checks import printable
from ..info import install_extra
from .chords import Chord, ChordError, parse_chord
from .grid import Ints, heard_swing, on_grid, straightened, straightened_words
from .midi_tracks import DRUMS, MARKED, WORDS, Track, read_tracks
from .piece import Note, Part, Piece, separated

LARGEST = 2_000_000  # bytes of a file: real ones have a tenth; as many take ten seconds
LONGEST = 20_000  # quarters of a piece: three hours of them
SLOWEST, FASTEST = 4.0, 1000.0  # quarters a minute
_SECTIONS = list("ABCDEFG")

_ENDLESS = re.compile(rb"[\x80-\xff]{2048}")
_KEY_SIGNATURE = re.compile(rb"\xff\x59\x02..", re.DOTALL)
_NO_KEY = b"\xff\x59\x02\x00\x00"


class MidiError(ValueError):
    """A MIDI file that cannot be used; the message is one line that names the file and the fault."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # a file may have any name, line breaks and escapes in it, too


def library() -> Any:
    """mido, imported when it is first needed. Raises MidiError that says how to install it."""
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
    ``swing`` says where they were: see :func:`fastrnn.music.grid.heard_swing`, which listens to all parts but drums.

    Chords are the markers, if most of these are chord symbols; else the texts, else the lyrics. The others, such as
    "Intro", are left out. Single letters that come in the order A, B, C are sections, and no chords, but for the
    markers of files that :func:`fastrnn.music.midi_writing.write_midi` wrote.

    Raises MidiError for a file above ``largest`` bytes (before it is read), for what is no regular file, for one that is no
    MIDI file or is damaged or cut off, for tempos outside 4..1000 quarters a minute, metres that cannot be, more than 20,000
    quarters, and fewer than ``fewest`` notes; OSError where it cannot be read.
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
    return parse_midi(_content(path, largest), str(path), drums=drums, fewest=fewest), Counter()


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
    file = _load(data, name)
    tracks = read_tracks(file.tracks)
    per_quarter = file.ticks_per_beat
    if max((track.end for track in tracks), default=0) > LONGEST * per_quarter:
        raise MidiError(f"{name} claims to last more than {LONGEST:,} quarters, which is more than is read")
    for track in tracks:
        _check_changes(track, name)
    played = [part for track in tracks for part in _played(track)]
    onsets = [part.onset for part in played if not part.is_drum]
    swing, spread = heard_swing(onsets, per_quarter)
    parts = [part.on_grid(per_quarter, swing, spread) for part in played]
    kept = tuple(part for part in parts if drums or not part.is_drum)
    notes = sum(len(part.notes) for part in kept)
    if notes < fewest:
        how_many = "only one note" if notes == 1 else f"only {notes} notes" if notes else "no notes"
        raise MidiError(f"{name} has {how_many}{' but drums' if len(kept) < len(parts) else ''}")
    ends = [int(on_grid(track.rest, per_quarter)) for track in tracks] + [part.end for part in parts]
    metres, tempos = (_changes(tracks, kind, per_quarter) for kind in ("metres", "tempos"))
    chords = _chords(tracks, partial(straightened_words, parts=onsets, per_quarter=per_quarter, swing=swing, spread=spread))
    return Piece(kept, metres, tempos, chords, max(ends, default=0), swing)


def _load(data: bytes, name: str) -> Any:
    """mido's MidiFile. Raises MidiError for what it cannot be made from."""
    mido = library()
    data = _known_chunks(_unwrapped(data))
    if data[:4] != b"MThd":
        raise MidiError(f"{name} is not a MIDI file: it {'does not begin with MThd' if data else 'is empty'}")
    if _ENDLESS.search(data):  # read as one number it would take mido quadratic time; numbers have four bytes at most
        raise MidiError(f"{name} is damaged: a run of 2,048 bytes that are no music")
    try:
        try:
            file = mido.MidiFile(file=io.BytesIO(data))
        except mido.KeySignatureError:  # seen in many files that are sound otherwise, and not needed
            file = mido.MidiFile(file=io.BytesIO(_KEY_SIGNATURE.sub(_NO_KEY, data)))
    except EOFError:
        raise MidiError(f"{name} is cut off: it ends amid a track") from None
    except Exception as error:  # mido trusts its input: any error may come out of bytes that are not what it expects
        said = str(error) if isinstance(error, (OSError, ValueError, mido.KeySignatureError)) else ""
        fault = " ".join(said.split()) or "a message in it makes no sense"
        raise MidiError(f"{name} is damaged: {fault[:200]}") from None
    if file.type not in (0, 1):
        raise MidiError(f"{name} is a MIDI file of type {file.type}: expected 0 or 1, in which tracks sound together")
    if file.ticks_per_beat <= 0:
        raise MidiError(f"{name} counts time in frames, not in beats" if file.ticks_per_beat else f"{name} has no beats")
    return file


def _unwrapped(data: bytes) -> bytes:
    """The MIDI file in a RIFF file of them; other data as it is."""
    if data[:4] != b"RIFF" or data[8:12] != b"RMID":
        return data
    return next((chunk[8:] for chunk in _chunks(data[12:], "little") if chunk[:4] == b"data"), data)


def _known_chunks(data: bytes) -> bytes:
    """A MIDI file without what the standard says to skip and mido does not: chunks that are no header and no track."""
    if data[:4] != b"MThd":
        return data
    return b"".join(chunk for chunk in _chunks(data, "big") if chunk[:4] in (b"MThd", b"MTrk"))


def _chunks(data: bytes, order: Literal["big", "little"]) -> Iterator[bytes]:
    """Chunks with their heads, a name and a size of four bytes each; those of RIFF (little) begin at even places."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], order)
        yield data[at : at + 8 + size]
        at += 8 + size + (size % 2 if order == "little" else 0)


def _check_changes(track: Track, name: str) -> None:
    for _, bpm in track.tempos:
        if not SLOWEST <= bpm <= FASTEST:
            expected = f"expected {SLOWEST:g} to {FASTEST:g}"
            raise MidiError(f"{name} has a tempo of {bpm:.4g} quarters a minute: {expected}")
    for _, numerator, denominator in track.metres:
        if not (numerator and denominator <= 64):
            power = denominator.bit_length() - 1
            shown = str(denominator) if power < 20 else f"2^{power}"
            raise MidiError(f"{name} has a metre of {numerator}/{shown}, which cannot be")


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
    if 2 * count <= len(words) or (may_be_sections and symbols == _SECTIONS[: len(symbols)]):
        return ()
    return tuple(found.items())
