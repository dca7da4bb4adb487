"""Samples during training: a few bars over a ii-V-I at each evaluation, as names of notes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...console import say
from ...graph import Model
from ...training._run.samples import SampleWriter
from ..changes import progression
from ..chords import note_name
from ..generation import Form, NonFiniteLogits, improvise, places_of
from ..piece import Part, bar_lines, commonest_metre
from .batching import range_of
from .jazz_task import Data, Split

PROGRESSION = "ii-V-I"


def sample_writer(
    model: Model, songs: Split, data: Data, path: Path, seed: int, *, show: Callable[[str], None] = say
) -> SampleWriter:
    """Make a callback that improvises at each evaluation, in the songs' commonest metre, range and places in a beat."""
    form = Form.of(progression(PROGRESSION, metre=commonest_metre(song.frame for song in songs.train)))
    low, high = range_of(songs.train)
    places = places_of(data.train, data.vocabulary)

    def draw(seed: int) -> list[str]:
        try:
            solo = improvise(model, data.vocabulary, form, seed=seed, low=low, high=high, places=places)
        except NonFiniteLogits as error:  # training has diverged; its loss says more
            return [str(error)]
        return [in_names(solo.part, form)]

    return SampleWriter(draw, path, seed, "token", show=show)


def in_names(part: Part, form: Form) -> str:
    """Return the notes of a part by name, such as ``A4 C5 | - | C4+E4 G4``: middle C is C4, bars end at ``|``.

    Notes that begin together are joined by ``+``; a bar in which no note begins is ``-``.
    """
    bars: list[list[str]] = []
    lines = bar_lines(form.metres, form.length).tolist()
    for start, end in zip(lines, [*lines[1:], form.length], strict=True):
        struck: dict[int, list[str]] = {}
        for note in part.notes:
            if start <= note.onset < end:
                struck.setdefault(note.onset, []).append(f"{note_name(note.pitch)}{note.pitch // 12 - 1}")
        bars.append(["+".join(names) for names in struck.values()] or ["-"])
    return " | ".join(" ".join(bar) for bar in bars)
