"""Instruments: their General MIDI programs and their ranges."""

from __future__ import annotations

from dataclasses import dataclass

from ..._core import checks

KEYBOARDS = range(8)  # programs: pianos, harpsichord, clavinet

CHORDAL = ("piano", "vibraphone", "guitar")  # names in INSTRUMENTS that play several notes at once


@dataclass(frozen=True, slots=True)
class Instrument:
    """A General MIDI program 0..127 and its sounding range ``low..high``."""

    program: int
    low: int
    high: int


INSTRUMENTS = {
    "piano": Instrument(0, 21, 108),
    "vibraphone": Instrument(11, 53, 89),
    "guitar": Instrument(26, 40, 84),
    "violin": Instrument(40, 55, 96),
    "cello": Instrument(42, 36, 76),
    "trumpet": Instrument(56, 52, 82),
    "trombone": Instrument(57, 40, 72),
    "soprano-sax": Instrument(64, 56, 87),
    "alto-sax": Instrument(65, 49, 80),
    "tenor-sax": Instrument(66, 44, 75),
    "baritone-sax": Instrument(67, 37, 68),
    "clarinet": Instrument(71, 50, 91),
    "flute": Instrument(73, 60, 96),
}


def instrument(name: str) -> Instrument:
    """Return the instrument of this name. Raises ValueError, which lists the names."""
    return INSTRUMENTS[checks.choice("instrument", name, tuple(INSTRUMENTS))]
