"""The events of one MIDI track, read from its bytes.

fastrnn has its own reader because no library reads all files that people have. mido 1.3 forgets the running status at a
SysEx, so it loses notes silently. It refuses a file for one invalid byte on which no note depends, and with ``clip=True`` it
plays a pitch of 168 as 127. symusic 0.6 refuses both files. Neither reads a track whose length is too long. pretty_midi
reads with mido.

The rules are:

- Running status lasts over SysEx and meta events, as in players.
- The kind of an event, or its length field, gives its length.
- An event that no note depends on is skipped if its data are invalid. A note is read if its pitch is valid.
- A track ends at its End of Track.
- A number may begin with any count of bytes 0x80, which are leading zeros. Without them it has at most four bytes.
- If the next event cannot be found, the track is damaged. It is read up to that place, or up to the first invalid event
  before it, because the damage may have begun there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .. import midi_repairs as repair

NOTE_OFF, NOTE_ON, _POLY, CONTROL, PROGRAM, _PRESSURE, _BEND = range(8, 15)  # the upper halves of status bytes
SILENCE = (120, 123)  # the controllers "all sound off" and "all notes off"
TEXTS = range(1, 10)  # the meta events that are text
TRACK_NAME, _END, TEMPO, _SMPTE, METRE, _KEY = 3, 0x2F, 0x51, 0x54, 0x58, 0x59
_META, _SYSEX = 0xFF, (0xF0, 0xF7)
_SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1}  # data bytes of system messages; the others have none
_SKIPPED = {
    _POLY: repair.AFTERTOUCH,
    CONTROL: repair.CONTROL,
    PROGRAM: repair.PROGRAM,
    _PRESSURE: repair.AFTERTOUCH,
    _BEND: repair.BEND,
}


OVERRUN = "an event reaches beyond the end of its track"
TOO_LATE = "an event comes later than any that is read"


class Damage(Exception):
    """The next event of a track cannot be found; the message gives the reason."""


@dataclass
class Events:
    """The relevant events of a track, with ticks from its start.

    ``messages`` are (tick, status byte, first data byte, second data byte): notes, programs and "all notes off". ``metas``
    are (tick, type, content): texts, tempos and time signatures. ``fault`` is the reason if the track was not read to its
    end.
    """

    messages: list[tuple[int, int, int, int]] = field(default_factory=list)
    metas: list[tuple[int, int, bytes]] = field(default_factory=list)
    end: int = 0
    ended: bool = False  # by an End of Track
    fault: str = ""
    _sure: tuple[int, int, int] | None = None  # numbers of messages and metas, and the end, before the first invalid event

    def doubt(self) -> None:
        """Mark the place of an invalid event, if it is the track's first."""
        self._sure = self._sure or (len(self.messages), len(self.metas), self.end)

    def drop_doubtful(self) -> bool:
        """Remove all events from the first invalid one on; return False if there is none."""
        if self._sure is None:
            return False
        messages, metas, self.end = self._sure
        del self.messages[messages:], self.metas[metas:]
        return True


def read_events(data: bytes, at: int, bound: int, latest: int, repairs: Counter[str]) -> tuple[Events, int]:
    """Read a track's events from ``at`` up to its End of Track or to ``bound``; return them and the place after them.

    A fault ends the track: an event that crosses ``bound``, an event without a status, a number above 2**28 - 1, or
    a tick above ``latest``. The events before it are returned, and the place is ``bound``. ``repairs`` is updated.
    """
    events = Events()
    try:
        at = _read(events, data, at, bound, latest, repairs)
    except (Damage, IndexError) as error:
        events.fault = str(error) if isinstance(error, Damage) else OVERRUN
        at = bound
    return events, at


def _read(events: Events, data: bytes, at: int, bound: int, latest: int, repairs: Counter[str]) -> int:
    """Run the loop of :func:`read_events`; return the place after it. Raises Damage, or IndexError if the data end."""
    tick = status = 0
    while at < bound:
        delta = data[at]
        at += 1
        if delta > 127:
            delta, at = _number(data, at - 1, repairs)
        if tick + delta > latest:
            raise Damage(TOO_LATE)
        tick += delta
        byte = data[at]
        if byte >= 0xF0:
            at = _system(events, data, at, bound, tick, repairs)
            if events.ended:
                break
            continue
        if byte > 127:
            status = byte
            at += 1
        elif not status:
            raise Damage("an event has no status")
        kind, one, two = status >> 4, data[at], 0
        if kind in (PROGRAM, _PRESSURE):
            at += 1
        else:
            two = data[at + 1]
            at += 2
        if at > bound:
            raise IndexError
        if (one | two) > 127:
            events.doubt()
            two = _checked(status, one, two, repairs)
        if two >= 0 and (kind <= NOTE_ON or kind == PROGRAM or (kind == CONTROL and one in SILENCE)):
            events.messages.append((tick, status, one, two))
        events.end = tick
    return at


def _number(data: bytes, at: int, repairs: Counter[str]) -> tuple[int, int]:
    """Read a number of variable length; return it and the place after it. Raises Damage for more than four bytes.

    Leading zeros do not count among the four. Programs that write all numbers at one width put more of them.
    """
    value, start = 0, at
    while data[at] == 0x80:
        at += 1
    for place in range(at, at + 4):
        byte = data[place]
        value = value << 7 | byte & 127
        if byte < 128:
            if place - start > 3:
                repairs[repair.LONG_NUMBER] += 1
            return value, place + 1
    raise Damage("a number has more than four bytes")


def _checked(status: int, one: int, two: int, repairs: Counter[str]) -> int:
    """Repair a message with a data byte above 127; return its second data byte, -1 to skip the message."""
    kind = status >> 4
    if kind in (NOTE_ON, NOTE_OFF):
        if one > 127:
            repairs[repair.PITCH if kind == NOTE_ON and two else repair.RELEASE] += 1
            return -1
        if kind == NOTE_ON:
            repairs[repair.VELOCITY] += 1
        return 127
    if kind == CONTROL and one in SILENCE:  # whatever the value
        return 127
    repairs[_SKIPPED[kind]] += 1
    return -1


def _system(events: Events, data: bytes, at: int, bound: int, tick: int, repairs: Counter[str]) -> int:
    """Read a system or meta event; return the place after it. Raises IndexError if it crosses the bound."""
    byte, kind = data[at], -1
    at += 1
    if byte == _META:
        kind = data[at]
        at += 1
    if byte == _META or byte in _SYSEX:
        size, at = _number(data, at, repairs)
    else:
        size = _SYSTEM_LENGTHS.get(byte, 0)
        repairs[repair.SYSTEM] += 1
        events.doubt()
    if at + size > bound:
        raise IndexError
    events.end = tick
    events.ended = kind == _END and size == 0
    if kind in TEXTS or kind in (TEMPO, METRE):
        events.metas.append((tick, kind, data[at : at + size]))
    elif kind in (_KEY, _SMPTE):
        _check_unneeded(kind, data[at : at + size], repairs)
    return at + size


def _check_unneeded(kind: int, content: bytes, repairs: Counter[str]) -> None:
    """Count an invalid key signature or SMPTE offset; fastrnn uses neither."""
    if kind == _KEY and not (len(content) == 2 and (content[0] + 7) % 256 <= 14 and content[1] <= 1):
        repairs[repair.KEY] += 1
    limits = (127, 59, 59, 29, 99)  # frame rate and hours, minutes, seconds, frames, their hundredths
    if kind == _SMPTE and not (len(content) == 5 and all(map(int.__le__, content, limits))):
        repairs[repair.SMPTE] += 1
