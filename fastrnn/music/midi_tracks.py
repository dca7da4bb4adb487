"""What the tracks of a MIDI file say: their notes, programs, metres, tempos and words, at ticks of the file."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import midi_repairs as repair
from .midi_events import METRE, NOTE_OFF, NOTE_ON, PROGRAM, TEMPO, TEXTS, TRACK_NAME, Events
from .midi_text import Decoder, decoder_of

DRUMS = 9  # General MIDI's channel for them, counted from 0
WORDS = ("marker", "text", "lyrics")  # the kinds of words that may be chords; the first that are count
_WORD_TYPES = {6: "marker", 1: "text", 5: "lyrics"}  # by the type of a meta event
MARKED = "fastrnn: markers are chords"  # a text in the files that are written here: letters alone are no sections there
LONGEST_NAME = 80  # characters of a track's: errors list the names
SLOWEST, FASTEST = 4.0, 1000.0  # quarters a minute
FINEST = 64  # the denominator of a metre
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


def read_tracks(tracks: Sequence[Events], repairs: Counter[str]) -> list[Track]:
    """Read all tracks of a file; ``repairs`` counts what was skipped or repaired.

    A channel's program is the one that was set last, on whatever track. At one tick a track's own counts, from where it
    stands among the track's notes, before those of other tracks, and of these the last one's.
    """
    programs = _Programs(tracks)
    texts = [content for events in tracks for _, kind, content in events.metas if kind in TEXTS]
    decode = decoder_of(texts, repairs)
    keyboards = [_Keyboard(Track(), number, programs) for number in range(len(tracks))]
    return [_read_track(events, keyboard, decode, repairs) for events, keyboard in zip(tracks, keyboards, strict=True)]


class _Programs:
    """The programs that are set on all tracks."""

    def __init__(self, tracks: Sequence[Events]) -> None:
        self._set: dict[tuple[int, int], dict[int, int]] = {}  # by channel and tick: by track, in the file's order
        for number, events in enumerate(tracks):
            for at, status, program, _ in events.messages:
                if status >> 4 == PROGRAM:
                    self._set.setdefault((status & 15, at), {})[number] = program
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
    """The notes of a track that sound, in the order in which they were struck: each (onset, velocity, program)."""

    track: Track
    number: int
    programs: _Programs
    open: dict[int, dict[int, deque[tuple[int, int, int]]]] = field(default_factory=dict)  # by channel, by pitch
    own: dict[int, tuple[int, int]] = field(default_factory=dict)  # by channel: when this track set its program, and which

    def strike(self, at: int, channel: int, pitch: int, velocity: int) -> None:
        own = self.own.get(channel, _NO_PROGRAM)
        elsewhere = self.programs.set_elsewhere(channel, at, self.number)
        program = elsewhere[1] if elsewhere[0] > own[0] else own[1]
        self.track.notes.setdefault((channel, program), [])  # parts come in the order in which they begin
        self.open.setdefault(channel, {}).setdefault(pitch, deque()).append((at, velocity, program))

    def release(self, at: int, channel: int, pitch: int) -> None:
        """End the note that was struck first; a release of none is no fault."""
        sounding = self.open.get(channel, {}).get(pitch)
        if sounding:
            onset, velocity, program = sounding.popleft()
            self.track.notes[channel, program].append((onset, at, pitch, velocity))

    def silence(self, at: int, channel: int) -> None:
        """End all notes of a channel."""
        for pitch, sounding in self.open.pop(channel, {}).items():
            for onset, velocity, program in sounding:
                self.track.notes[channel, program].append((onset, at, pitch, velocity))

    def drop(self, repairs: Counter[str]) -> None:
        """Leave out the notes that sound, because the track was not read to where they end."""
        unended = sum(len(sounding) for pitches in self.open.values() for sounding in pitches.values())
        if unended:
            repairs[repair.UNENDED] += unended
        self.track.notes = {part: rows for part, rows in self.track.notes.items() if rows}


def _read_track(events: Events, keyboard: _Keyboard, decode: Decoder, repairs: Counter[str]) -> Track:
    track = keyboard.track
    track.end = events.end
    for at, status, one, two in events.messages:
        kind, channel = status >> 4, status & 15
        if kind == NOTE_ON and two:
            keyboard.strike(at, channel, one, two)
        elif kind in (NOTE_ON, NOTE_OFF):
            keyboard.release(at, channel, one)
        elif kind == PROGRAM:
            keyboard.own[channel] = at, one
        else:
            keyboard.silence(at, channel)
    if events.fault:
        keyboard.drop(repairs)
    else:
        for channel in list(keyboard.open):
            keyboard.silence(events.end, channel)
    for at, kind, content in events.metas:
        _add_meta(track, at, kind, content, decode, repairs)
    return track


def _add_meta(track: Track, at: int, kind: int, content: bytes, decode: Decoder, repairs: Counter[str]) -> None:
    """Add a tempo, a metre or a word to a track, if it is one that can be."""
    if kind in _WORD_TYPES:
        track.words[_WORD_TYPES[kind]].append((at, decode(content)))
    elif kind == TRACK_NAME:
        track.name = track.name or decode(content)[:LONGEST_NAME]
    elif kind == TEMPO:
        micros = int.from_bytes(content[:3], "big")
        if len(content) >= 3 and micros and SLOWEST <= 6e7 / micros <= FASTEST:
            track.tempos.append((at, 6e7 / micros))
        else:
            repairs[repair.TEMPO] += 1
    elif kind == METRE:
        if len(content) >= 2 and content[0] and 1 << content[1] <= FINEST:
            track.metres.append((at, content[0], 1 << content[1]))
            if len(content) < 4:  # how metronomes tick
                repairs[repair.SHORT_METRE] += 1
        else:
            repairs[repair.METRE] += 1
