"""The chunks of a MIDI file: its header and its tracks.

A track ends at its End of Track. If that is missing, the track ends where its length says, provided that the next chunk or
the end of the file is there; otherwise it ends at the next ``MTrk``. Several programs write wrong lengths.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from .. import midi_repairs as repair
from .events import OVERRUN, TOO_LATE, Events, read_events

_TRACK = b"MTrk"
_HEADER = 14  # bytes of the header that are read
_START = b"MThd\0\0\0\6"
_FARTHEST = 1024  # bytes that may stand before the header, such as the 128 of a MacBinary file
_CUT = "the file ends within it"
_FAULTS = {
    _CUT: "is cut off: it ends within a track",
    TOO_LATE: "claims to last more than {longest:,} quarters, which is more than is read",
}


class NoMidi(ValueError):
    """Data that are not a readable MIDI file; the message completes a sentence that begins with the file's name."""


@dataclass(frozen=True)
class Chunks:
    """The ticks ``per_quarter`` of a file, its tracks, and the ``fault`` of the first track that has one."""

    per_quarter: int
    tracks: list[Events]
    fault: str


def read_chunks(data: bytes, longest: int, repairs: Counter[str]) -> Chunks:
    """Read all tracks of a MIDI file, which may be wrapped in RIFF; ``repairs`` is updated.

    A track is read up to ``longest`` quarters. Raises NoMidi for data without a header, for a type other than 0 and 1, and
    for a file that does not count ticks per quarter. A file of type 2 with a single track is the same as one of type 0.
    """
    data = _unwrapped(data)
    if data[:4] != b"MThd" and (start := data.find(_START, 0, _FARTHEST + len(_START))) > 0:
        repairs[repair.PREAMBLE] += 1
        data = data[start:]
    if data[:4] != b"MThd":
        raise NoMidi(f"is not a MIDI file: it {'does not begin with MThd' if data else 'is empty'}")
    if len(data) < _HEADER:
        raise NoMidi("is cut off: it ends within its header")
    size, type_, count, per_quarter = struct.unpack(">LHHh", data[4:_HEADER])
    if type_ not in (0, 1) and not (type_ == 2 and count == 1):
        raise NoMidi(f"is a MIDI file of type {type_}: expected 0 or 1, in which tracks sound together")
    if per_quarter <= 0:
        raise NoMidi("counts time in frames, not in beats" if per_quarter else "has no beats")
    at = 8 + size
    if size < 6 or not _is_chunk(data, at):
        at = _HEADER
        if size != 6:
            repairs[repair.HEADER_LENGTH] += 1
    tracks = _read_tracks(data, at, longest * per_quarter, repairs)
    fault = next((_FAULTS.get(track.fault, f"is damaged: {track.fault}") for track in tracks if track.fault), "")
    fault = fault.format(longest=longest)
    if len(tracks) < count:
        repairs[repair.MISSING] += count - len(tracks)
        fault = fault or f"is cut off: it has {len(tracks)} of its {count} tracks"
    if len(tracks) > count:
        repairs[repair.TRACK_COUNT] += 1
    return Chunks(per_quarter, tracks, fault)


def _unwrapped(data: bytes) -> bytes:
    """Return the MIDI file within a RIFF file; other data unchanged. A length is trusted if it leads to a chunk."""
    if data[:4] != b"RIFF" or data[8:12] != b"RMID":
        return data
    at = 12
    while at < len(data) and data[at : at + 4] != b"data":
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2  # RIFF chunks begin at even places
    if at >= len(data):
        return data
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    return data[at + 8 :][: size if _is_chunk(data, at + 8 + size + size % 2, "little") else None]


def _is_chunk(data: bytes, at: int, order: Literal["big", "little"] = "big") -> bool:
    """Return True if a chunk begins at this place, or the data end there."""
    name = data[at : at + 4]
    if at == len(data) or name == _TRACK:
        return True
    size = int.from_bytes(data[at + 4 : at + 8], order)
    return len(name) == 4 and name.isascii() and name.decode().isprintable() and at + 8 + size <= len(data)


def _read_tracks(data: bytes, at: int, latest: int, repairs: Counter[str]) -> list[Events]:
    """Read all tracks from ``at`` on, and skip other chunks."""
    tracks: list[Events] = []
    while 0 <= at <= len(data) - 8:
        if data[at : at + 4] == _TRACK:
            events, at = _read_track(data, at, latest, repairs)
            tracks.append(events)
        elif _is_chunk(data, at):
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        else:
            at = data.find(_TRACK, at)
    return tracks


def _read_track(data: bytes, at: int, latest: int, repairs: Counter[str]) -> tuple[Events, int]:
    """Return the events of the track chunk at a place, and the place after them."""
    start = at + 8
    end = bound = start + int.from_bytes(data[at + 4 : start], "big")
    if not _is_chunk(data, end):
        following = data.find(_TRACK, start)
        bound = following if following >= 0 else len(data)
    skipped: Counter[str] = Counter()
    events, at = read_events(data, start, bound, latest, skipped)
    if not events.ended and events.fault in ("", OVERRUN) and bound == len(data) < end:
        events.fault = _CUT
    if events.fault in ("", _CUT) or not events.drop_doubtful():
        repairs.update(skipped)
    if events.fault:
        repairs[repair.CUT if events.fault == _CUT else repair.DAMAGED] += 1
        return events, at
    if not events.ended:
        repairs[repair.NO_END] += 1
    if at != end:
        repairs[repair.TRACK_LENGTH] += 1
    return events, at
