"""Phrases for what is skipped or repaired in a MIDI file, and the line that sums up their counts.

A counter of repairs maps a phrase below to its count. Counters of several files can be added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

_PLURALS: dict[str, str] = {}


def _phrase(text: str) -> str:
    """Return a phrase in the singular, and register its plural; a star marks the place of the s."""
    singular = text.replace("*", "")
    _PLURALS[singular] = text.replace("*", "s")
    return singular


PROGRAM = _phrase("program change* out of range skipped")
CONTROL = _phrase("control change* out of range skipped")
BEND = _phrase("pitch bend* out of range skipped")
AFTERTOUCH = _phrase("aftertouch message* out of range skipped")
PITCH = _phrase("note* of a pitch above 127 skipped")
RELEASE = _phrase("note-off* of a pitch above 127 skipped")
VELOCITY = _phrase("note* of a velocity above 127 read with 127")
SYSTEM = _phrase("system message* without a place in files skipped")
TEMPO = _phrase("impossible tempo* skipped")
METRE = _phrase("impossible time signature* skipped")
SHORT_METRE = _phrase("incomplete time signature* completed")
KEY = _phrase("impossible key signature* skipped")
SMPTE = _phrase("impossible SMPTE offset* skipped")
LONG_NUMBER = _phrase("number* with leading zeros shortened")
PREAMBLE = _phrase("block* of bytes before the header skipped")
HEADER_LENGTH = _phrase("header length* corrected")
TRACK_COUNT = _phrase("track count* corrected")
TRACK_LENGTH = _phrase("track length* corrected")
MISSING = _phrase("track* missing")
NO_END = _phrase("track* without an End of Track read")
DAMAGED = _phrase("damaged track* read up to the damage")
CUT = _phrase("cut-off track* read up to the cut")
SHARED_END = _phrase("note* without a note-off ended by the next one of the key")
HELD = _phrase("note* without a note-off held to the end of the track")
UNENDED = _phrase("note* whose end is lost left out")
ENCODING = _phrase("text* read as Windows-1252 because chardet is not installed")


def repairs_line(repairs: Mapping[str, int]) -> str:
    """Return a line that sums up repairs, such as "repaired: 3 program changes out of range skipped".

    The most frequent repair comes first. The line is empty if there are none.
    """
    counted = (f"{count:,} {phrase if count == 1 else _PLURALS[phrase]}" for phrase, count in Counter(repairs).most_common())
    return f"repaired: {', '.join(counted)}" if repairs else ""
