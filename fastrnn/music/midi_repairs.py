"""What was skipped or repaired while a MIDI file was read, and the line that says so."""

from __future__ import annotations

from collections import Counter


def repairs_line(repairs: Counter[str]) -> str:
    """Return the line that sums up repairs, such as "repaired: 3 program changes out of range skipped".

    ``repairs`` counts phrases in the singular. The most frequent comes first; the line is empty if there are none.
    """
    return "repaired: " + ", ".join(f"{count:,} x {phrase}" for phrase, count in repairs.most_common()) if repairs else ""
