"""What the tracks of a MIDI file say: their notes, programs, metres, tempos and words, at ticks of the file."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

DRUMS = 9  # General MIDI's channel for them, counted from 0
WORDS = ("marker", "text", "lyrics")  # the kinds of words that may be chords, as mido calls them; the first that are count
MARKED = "fastrnn: markers are chords"  # a text in the files that are written here: letters alone are no sections there
LONGEST_NAME = 80  # characters of a track's: errors list the names
_SILENCE = (120, 123)  # the controllers "all sound off" and "all notes off"
_NO_PROGRAM = (-1, 0)  # the tick at which it was set, and which it is


@dataclass
class Track:
    """What a track says, at ticks of the file. ``notes`` are (onset, end, pitch, velocity), by channel and program."""

    name: str = ""
    end: int = 0
    notes: dict[tuple[int, int], list[tuple[int, int, int, int]]] = field(default_factory=dict)
    tempos: list[tuple[int, float]] = field(default_factory=list)
    metres: list[tuple[int, int, int]] = field(default_factory=list)
    words: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: {kind: [] for kind in WORDS})

    @property
    def rest(self) -> int:
        """The end of a track that goes on behind its last note; 0 where it does not."""
        return self.end if self.end > max((row[1] for rows in self.notes.values() for row in rows), default=0) else 0


def read_tracks(tracks: Sequence[Iterable[Any]]) -> list[Track]:
    """All tracks of a file, each of mido's messages.

    A channel's program is the one that was set last, on whatever track. At one tick a track's own counts, from where it
    stands among the track's notes, before those of other tracks, and of these the last one's.
    """
    programs = _Programs(tracks)
    return [_read_track(messages, number, programs) for number, messages in enumerate(tracks)]


class _Programs:
    """The programs that are set on all tracks."""

    def __init__(self, tracks: Sequence[Iterable[Any]]) -> None:
        self._set: dict[tuple[int, int], dict[int, int]] = {}  # by channel and tick: by track, in the file's order
        for number, messages in enumerate(tracks):
            at = 0
            for message in messages:
                at += message.time
                if message.type == "program_change":
                    self._set.setdefault((message.channel, at), {})[number] = message.program
        self._ticks: dict[int, list[int]] = {}  # by channel
        for channel, tick in sorted(self._set):
            self._ticks.setdefault(channel, []).append(tick)

    def set_elsewhere(self, channel: int, at: int, number: int) -> tuple[int, int]:
        """The last tick up to ``at`` at which a track but ``number`` sets the channel's program, and that program.

        Ticks before one that the track itself has set already need not be right: its own counts there.
        """
        ticks = self._ticks.get(channel, [])
        place = bisect_right(ticks, at)
        for tick in reversed(ticks[max(0, place - 2) : place]):  # at the last one only its own may be set, later in it
            for track, program in reversed(self._set[channel, tick].items()):
                if track != number:
                    return tick, program
        return _NO_PROGRAM


@dataclass
class _Keyboard:
    """Which notes of a track sound, in the order in which they were struck: each (onset, velocity, program)."""

    track: Track
    number: int
    programs: _Programs
    open: dict[tuple[int, int], deque[tuple[int, int, int]]] = field(default_factory=dict)  # by channel and pitch
    own: dict[int, tuple[int, int]] = field(default_factory=dict)  # by channel: when this track set its program, and which

    def strike(self, at: int, message: Any) -> None:
        channel = message.channel
        own = self.own.get(channel, _NO_PROGRAM)
        elsewhere = self.programs.set_elsewhere(channel, at, self.number)
        program = elsewhere[1] if elsewhere[0] > own[0] else own[1]
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


def _read_track(messages: Iterable[Any], number: int, programs: _Programs) -> Track:
    track = Track()
    keyboard = _Keyboard(track, number, programs)
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
            keyboard.own[message.channel] = at, message.program
        elif kind == "set_tempo":
            track.tempos.append((at, 6e7 / message.tempo if message.tempo else float("inf")))
        elif kind == "time_signature":
            track.metres.append((at, message.numerator, message.denominator))
        elif kind in WORDS:
            track.words[kind].append((at, _text(message.text)))
        elif kind == "track_name":
            track.name = track.name or _text(message.name)[:LONGEST_NAME]
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
