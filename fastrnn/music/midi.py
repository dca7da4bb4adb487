"""Reading MIDI files into pieces.

Files are parsed by mido, the library below pretty_midi, and not by pretty_midi itself: that turns beats into seconds, loses
notes of no length and notes that are never ended, ends all open notes of a pitch at once, and looks for tempos and metres on
the first track only. Here a note's place is its beat, exactly, and is then rounded to the grid of 12 ticks a quarter.
"""

from __future__ import annotations

import io
import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..info import install_extra
from .chords import ChordError, parse_chord
from .piece import TICKS, Note, Part, Piece, separated

LARGEST = 2_000_000  # bytes of a file: real ones have a tenth; as many take ten seconds
LONGEST = 20_000  # quarters of a piece: three hours of them
SLOWEST, FASTEST = 4.0, 1000.0  # quarters a minute
DRUMS = 9  # General MIDI's channel for them, counted from 0

_ENDLESS = re.compile(rb"[\x80-\xff]{2048}")
_KEY_SIGNATURE = re.compile(rb"\xff\x59\x02..", re.DOTALL)
_NO_KEY = b"\xff\x59\x02\x00\x00"
_SILENCE = (120, 123)  # the controllers "all sound off" and "all notes off"


class MidiError(ValueError):
    """A MIDI file that cannot be used; the message is one line that names the file and the fault."""


def library() -> Any:
    """mido, imported when it is first needed. Raises MidiError that says how to install it."""
    try:
        import mido
    except ImportError:
        raise MidiError(f"MIDI files need mido, which is not installed ({install_extra('train')})") from None
    return mido


def read_midi(path: str | Path, *, drums: bool = False, fewest: int = 2, largest: int = LARGEST) -> Piece:
    """The piece in a MIDI file of type 0 or 1.

    Every pair of channel and program on a track becomes a part with the track's name, in the order in which they begin to
    play; ``drums`` says whether the drum channel is kept. Onsets and ends are rounded to the grid, and a note lasts a tick
    at least. A note that is struck again ends there; one that is never ended lasts to the end of its track. Pedals and bends
    are left out. Chords are those of the markers, where these are chord symbols.

    Raises MidiError for a file above ``largest`` bytes (before it is read), for one that is no MIDI file or is damaged or
    cut off, for tempos outside 4..1000 quarters a minute, metres that cannot be, more than 20,000 quarters, and fewer than
    ``fewest`` notes; OSError where it cannot be read.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > largest:
        raise MidiError(f"{path} has {size / 1e6:,.1f} MB: a MIDI file of more than {largest / 1e6:,.1f} MB is not read")
    return parse_midi(path.read_bytes(), str(path), drums=drums, fewest=fewest)


def parse_midi(data: bytes, name: str = "the data", *, drums: bool = False, fewest: int = 2) -> Piece:
    """As :func:`read_midi`, from the file's content; ``name`` is what errors call it. Raises MidiError."""
    file = _load(data, name)
    tracks = [_read_track(track) for track in file.tracks]
    longest = max((track.end for track in tracks), default=0)
    if longest > LONGEST * file.ticks_per_beat:
        raise MidiError(f"{name} claims to last more than {LONGEST:,} quarters, which is more than is read")
    for track in tracks:
        _check_changes(track, name)
    parts = [part for track in tracks for part in _parts(track, file.ticks_per_beat)]
    kept = tuple(part for part in parts if drums or not part.is_drum)
    notes = sum(len(part.notes) for part in kept)
    if notes < fewest:
        how_many = "only one note" if notes == 1 else f"only {notes} notes" if notes else "no notes"
        raise MidiError(f"{name} has {how_many}{' but drums' if len(kept) < len(parts) else ''}")
    return Piece(kept, *_shared(tracks, file.ticks_per_beat), length=int(on_grid(longest, file.ticks_per_beat)))


def on_grid(ticks: Any, per_quarter: int) -> NDArray[np.int64]:
    """Ticks of a file (integers of any shape) as ticks of the grid, int64: the nearest, halves up."""
    at = np.asarray(ticks, np.int64)
    nearest: NDArray[np.int64] = (2 * TICKS * at + per_quarter) // (2 * per_quarter)
    return nearest


def _load(data: bytes, name: str) -> Any:
    """mido's MidiFile. Raises MidiError for what it cannot be made from."""
    mido = library()
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


@dataclass
class _Track:
    """What a track says, at ticks of the file."""

    name: str = ""
    end: int = 0
    notes: dict[tuple[int, int], list[tuple[int, int, int, int]]] = field(default_factory=dict)  # by channel and program
    tempos: list[tuple[int, float]] = field(default_factory=list)
    metres: list[tuple[int, int, int]] = field(default_factory=list)
    markers: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class _Keyboard:
    """Which notes of a track sound, in the order in which they were struck: each (onset, velocity, program)."""

    track: _Track
    open: dict[tuple[int, int], deque[tuple[int, int, int]]] = field(default_factory=dict)  # by channel and pitch
    programs: list[int] = field(default_factory=lambda: [0] * 16)

    def strike(self, at: int, message: Any) -> None:
        channel = message.channel
        program = self.programs[channel]
        self.track.notes.setdefault((channel, program), [])  # parts come in the order in which they begin
        self.open.setdefault((channel, message.note), deque()).append((at, message.velocity, program))

    def release(self, at: int, channel: int, pitch: int) -> None:
        """End the note that was struck first; a release of none is no fault."""
        sounding = self.open.get((channel, pitch))
        if sounding:
            onset, velocity, program = sounding.popleft()
            self.track.notes[channel, program].append((onset, at, pitch, velocity))

    def silence(self, at: int, channel: int | None = None) -> None:
        """End all notes of one channel, or of all."""
        for (of, pitch), sounding in self.open.items():
            for _ in range(len(sounding) if channel in (None, of) else 0):
                self.release(at, of, pitch)


def _read_track(messages: Any) -> _Track:
    track = _Track()
    keyboard = _Keyboard(track)
    at = 0
    for message in messages:
        at += message.time
        kind = message.type
        if kind == "note_on" and message.velocity:
            keyboard.strike(at, message)
        elif kind in ("note_on", "note_off"):
            keyboard.release(at, message.channel, message.note)
        elif kind == "control_change" and message.control in _SILENCE:
            keyboard.silence(at, message.channel)
        elif kind == "program_change":
            keyboard.programs[message.channel] = message.program
        elif kind == "set_tempo":
            track.tempos.append((at, 6e7 / message.tempo if message.tempo else float("inf")))
        elif kind == "time_signature":
            track.metres.append((at, message.numerator, message.denominator))
        elif kind == "marker":
            track.markers.append((at, _text(message.text)))
        elif kind == "track_name":
            track.name = track.name or _text(message.name)
    track.end = at
    keyboard.silence(at)
    return track


def _text(latin1: str) -> str:
    """mido reads text as latin 1; what was UTF-8 is told by its bytes."""
    try:
        text = latin1.encode("latin1").decode("utf-8")
    except UnicodeDecodeError:
        text = latin1
    return " ".join(text.replace("\0", " ").split())


def _check_changes(track: _Track, name: str) -> None:
    for _, bpm in track.tempos:
        if not SLOWEST <= bpm <= FASTEST:
            expected = f"expected {SLOWEST:g} to {FASTEST:g}"
            raise MidiError(f"{name} has a tempo of {bpm:.4g} quarters a minute: {expected}")
    for _, numerator, denominator in track.metres:
        if not (numerator and denominator <= 64):
            power = denominator.bit_length() - 1
            shown = str(denominator) if power < 20 else f"2^{power}"
            raise MidiError(f"{name} has a metre of {numerator}/{shown}, which cannot be")


def _parts(track: _Track, per_quarter: int) -> list[Part]:
    """A part for every channel and program that plays; the channel is told where it tells parts of a track apart."""
    parts = []
    several = len({channel for channel, _ in track.notes}) > 1
    for (channel, program), rows in track.notes.items():
        onset, end, pitch, velocity = np.array(rows, np.int64).T
        onset, end = on_grid(onset, per_quarter), on_grid(end, per_quarter)
        columns = (onset, np.maximum(end - onset, 1), pitch, velocity)
        notes = separated(map(Note, *(column.tolist() for column in columns)))
        name = ", ".join(filter(None, (track.name, f"channel {channel + 1}"))) if several else track.name
        parts.append(Part(name, program, channel == DRUMS, notes))
    return parts


def _shared(tracks: list[_Track], per_quarter: int) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """Metres, tempos and chords of all tracks on the grid. A change to what holds already is none."""
    merged = []
    for changes in ([t.metres for t in tracks], [t.tempos for t in tracks], [t.markers for t in tracks]):
        rows = sorted((row for of_track in changes for row in of_track), key=lambda row: row[0])
        at = {int(on_grid(row[0], per_quarter)): row[1:] for row in rows}  # of several at one tick the last counts
        merged.append([(tick, *at[tick]) for tick in at])
    metres, tempos, markers = merged
    return _changes(metres), _changes(tempos), _chords(markers)


def _changes(rows: list[Any]) -> tuple[Any, ...]:
    return tuple(row for before, row in zip([None, *rows], rows, strict=False) if before is None or before[1:] != row[1:])


def _chords(markers: list[tuple[int, str]]) -> tuple[Any, ...]:
    """The markers as chords, where all of them are and not all are single letters: those are sections, A, B, C."""
    if all(len(symbol) == 1 for _, symbol in markers):
        return ()
    try:
        return tuple((tick, parse_chord(symbol)) for tick, symbol in markers)
    except ChordError:
        return ()
