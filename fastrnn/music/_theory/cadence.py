"""The chord on which music closes."""

from __future__ import annotations

from collections.abc import Sequence

from ..chords import Chord, parse_chord

DOMINANT = {4, 10}  # the third and the seventh of a dominant seventh chord, in semitones


def closing_chord(chords: Sequence[Chord]) -> Chord:
    """Return the chord of a closing bar after ``chords``, of which there is at least one.

    That is the last chord, unless it is a dominant seventh chord with another root than the first one's. Then the closing
    chord lies a fifth below: the first of ``chords`` with this root, else a sixth chord, spelt in sharps if the last
    chord's root is. ``N.C.`` has no root.
    """
    last = chords[-1]
    first = next((chord for chord in chords if chord.pitch_classes), last)
    if not last.intervals >= DOMINANT or last.root == first.root:
        return last
    tonic = (last.root + 5) % 12
    sixth = _SIXTH.transposed(tonic, flats=last.symbol[1:2] not in ("#", "♯"))
    return next((chord for chord in chords if chord.pitch_classes and chord.root == tonic), sixth)


_SIXTH = parse_chord("C6")
