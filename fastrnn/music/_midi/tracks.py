"""The notes, programs, metres, tempos and words of a MIDI file's tracks, in ticks of the file."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import midi_repairs as repair
from .events import METRE, NOTE_OFF, NOTE_ON, PROGRAM, TEMPO, TEXTS, TRACK_NAME, Events
from .text import Decoder, decoder_of

DRUMS = 9  # General MIDI's drum channel, counted from 0
WORDS = ("marker", "text", "lyrics")  # the kinds of words that may be chords, in order of precedence
_WORD_TYPES = {6: "marker", 1: "text", 5: "lyrics"}  # by the type of a meta event
MARKED = "fastrnn: markers are chords"  # in files of fastrnn: a marker "A" is a chord, not a section
LONGEST_NAME = 80  # characters of a track's name, because errors list the names
SLOWEST, FASTEST = 4.0, 1000.0  # quarters a minute
FINEST = 64  # the denominator of a metre
_NO_PROGRAM = (-1, 0)  # (tick at which it was set, program)


@dataclass
class Track:
    """The content of a track, in ticks of the file. ``notes`` are (onset, end, pitch, velocity), by channel and program."""

    name: str = ""
    end: int = 0
    notes: dict[tuple[int, int], list[tuple[int, int, int, int]]] = field(default_factory=dict)
    tempos: list[tuple[int, float]] = field(default_factory=list)
    metres: list[tuple[int, int, int]] = field(default_factory=list)
    words: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: {kind: [] for kind in WORDS})

    @property
    def rest(self) -> int:
        """The end of a track that continues after its last note; 0 if it does not."""
        return self.end if self.end > max((row[1] for rows in self.notes.values() for row in rows), default=0) else 0


def read_tracks(tracks: Sequence[Events], repairs: Counter[str]) -> list[Track]:
    """Read all tracks of a file; ``repairs`` is updated.

    A channel's program is the one that was set last, on any track. At one tick, the track's own
    program takes precedence for the notes that follow it on the track; else the program of the last track counts.

    The first release of a key ends its first stroke. A stroke without a release of its own ends at the next release of its
    key; if there is none, it is held until all notes of the channel are off, or to the end of its track.
    """
    programs = _Programs(tracks)
    texts = [content for events in tracks for _, kind, content in events.metas if kind in TEXTS]
    decode = decoder_of(texts, repairs)
    keyboards = [_Keyboard(Track(), number, programs, repairs) for number in range(len(tracks))]
    return [_read_track(events, keyboard, decode, repairs) for events, keyboard in zip(tracks, keyboards, strict=True)]


class _Programs:
    """The programs that are set on all tracks."""

    def __init__(self, tracks: Sequence[Events]) -> None:
        self._set: dict[tuple[int, int], dict[int, int]] = {}  # by (channel, tick), then by track in the file's order
        for number, events in enumerate(tracks):
            for at, status, program, _ in events.messages:
                if status >> 4 == PROGRAM:
                    self._set.setdefault((status & 15, at), {})[number] = program
        self._ticks: dict[int, list[int]] = {}  # by channel
        for channel, tick in sorted(self._set):
            self._ticks.setdefault(channel, []).append(tick)

    def set_elsewhere(self, channel: int, at: int, number: int) -> tuple[int, int]:
        """Return the last tick up to ``at`` at which a track other than ``number`` sets the program, and the program.

        The result may be wrong if track ``number`` has set the program later, because then its own counts.
        """
        ticks = self._ticks.get(channel, [])
        place = bisect_right(ticks, at)
        for tick in reversed(ticks[max(0, place - 2) : place]):  # two: at the last, perhaps only `number` did
            for track, program in reversed(self._set[channel, tick].items()):
                if track != number:
                    return tick, program
        return _NO_PROGRAM


@dataclass
class _Key:
    """The strokes and releases of one key, in order, since their numbers were last equal."""

    strokes: list[tuple[int, int, int]] = field(default_factory=list)  # (onset, velocity, program)
    releases: list[tuple[int, int]] = field(default_factory=list)  # (tick, number of strokes before it)

    def unreleased(self) -> list[int]:
        """Return the strokes without a release of their own, if each release belongs to the last stroke before it."""
        waiting: list[int] = []
        read = 0
        for _, before in self.releases:
            waiting += range(read, before)
            read = before
            waiting.pop()
        return [*waiting, *range(read, len(self.strokes))]

    def release_after(self, stroke: int) -> int | None:
        """Return the tick of the first release after a stroke; None if there is none."""
        place = bisect_right(self.releases, stroke, key=lambda release: release[1])
        return self.releases[place][0] if place < len(self.releases) else None


@dataclass
class _Keyboard:
    """State of a track's keys, which pairs each stroke with its release and adds the note to the track."""

    track: Track
    number: int
    programs: _Programs
    repairs: Counter[str]
    keys: dict[int, dict[int, _Key]] = field(default_factory=dict)  # by channel, by pitch
    own: dict[int, tuple[int, int]] = field(default_factory=dict)  # by channel: (tick, program) set by this track

    def strike(self, at: int, channel: int, pitch: int, velocity: int) -> None:
        own = self.own.get(channel, _NO_PROGRAM)
        elsewhere = self.programs.set_elsewhere(channel, at, self.number)
        program = elsewhere[1] if elsewhere[0] > own[0] else own[1]
        self.track.notes.setdefault((channel, program), [])  # parts come in the order in which they begin
        keys = self.keys.setdefault(channel, {})
        key = keys.get(pitch) or keys.setdefault(pitch, _Key())
        key.strokes.append((at, velocity, program))

    def release(self, at: int, channel: int, pitch: int) -> None:
        """Release a key; releasing a key that does not sound is allowed."""
        key = self.keys.get(channel, {}).get(pitch)
        if key and key.strokes:
            key.releases.append((at, len(key.strokes)))
            if len(key.releases) == len(key.strokes):
                self._pair(channel, pitch, key.strokes, key.releases)
                key.strokes, key.releases = [], []

    def silence(self, at: int, channel: int, phrase: str = "") -> None:
        """End all notes of a channel; ``phrase`` is the repair to count for each note that is cut.

        A stroke without a release of its own ends at the next release of its key, as in players. That release still ends
        its own stroke, so later notes keep their ends.
        """
        for pitch, key in self.keys.pop(channel, {}).items():
            unreleased = key.unreleased()
            for stroke in unreleased:
                end = key.release_after(stroke)
                if end is not None or phrase:
                    self.repairs[phrase if end is None else repair.SHARED_END] += 1
                self._pair(channel, pitch, [key.strokes[stroke]], [(at if end is None else end, 0)])
            others = sorted(set(range(len(key.strokes))).difference(unreleased))
            self._pair(channel, pitch, [key.strokes[stroke] for stroke in others], key.releases)

    def drop(self) -> None:
        """Drop the notes that still sound, because the track was not read up to their ends."""
        for channel, keys in self.keys.items():
            for pitch, key in keys.items():
                self._pair(channel, pitch, key.strokes[: len(key.releases)], key.releases)
                if len(key.strokes) > len(key.releases):
                    self.repairs[repair.UNENDED] += len(key.strokes) - len(key.releases)
        self.track.notes = {part: rows for part, rows in self.track.notes.items() if rows}

    def _pair(self, channel: int, pitch: int, strokes: list[tuple[int, int, int]], releases: list[tuple[int, int]]) -> None:
        """Add notes: the first release ends the first stroke."""
        for (onset, velocity, program), (end, _) in zip(strokes, releases, strict=True):
            self.track.notes[channel, program].append((onset, end, pitch, velocity))


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
        keyboard.drop()
    else:
        for channel in list(keyboard.keys):
            keyboard.silence(events.end, channel, repair.HELD)
    for at, kind, content in events.metas:
        _add_meta(track, at, kind, content, decode, repairs)
    return track


def _add_meta(track: Track, at: int, kind: int, content: bytes, decode: Decoder, repairs: Counter[str]) -> None:
    """Add a tempo, a metre or a word to a track, if it is valid."""
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
            if len(content) < 4:  # the missing bytes are for metronomes only
                repairs[repair.SHORT_METRE] += 1
        else:
            repairs[repair.METRE] += 1
