"""Piano rolls as PNG: bars, beats, chord names, and the melody coloured by what each note is to its chord."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..info import install_extra
from ..serialization import write_atomically
from .chords import note_name, scale
from .piece import TICKS, Part, Piece
from .roles import melody_of

CHORD_TONE, SCALE_TONE, OUTSIDE, NO_HARMONY = "#0b6e8f", "#7cc0d8", "#e07b39", "#4b5563"
_OTHERS = ("#c3c8cf", "#b9a7d6", "#a9c9a4", "#d8bfa0")  # accompanying parts, in their order
_BLACK_KEYS = {1, 3, 6, 8, 10}


def draw_roll(
    path: str | Path,
    piece: Piece,
    *,
    melody: str | int | None = None,
    bars_per_line: int = 4,
    title: str = "",
    most_bars: int = 64,
) -> None:
    """Draw ``piece`` as a piano roll into a PNG file, in lines of ``bars_per_line`` bars like a lead sheet.

    Chords stand above; notes of the ``melody`` (a part's name or number; guessed if None) are coloured by what they are to
    the chord: a tone of it, of the scale that fits, or neither. Other parts are pale, behind it, drums are left out. Only
    the first ``most_bars`` bars are drawn, and the title says so.

    Raises ImportError without matplotlib, ValueError for a part that is not there or a count below 1, OSError.
    """
    checks.positive_int("bars_per_line", bars_per_line)
    checks.positive_int("most_bars", most_bars)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"a piano roll needs matplotlib; {install_extra('train')}") from error
    line = melody_of(piece, melody) if any(part.notes for part in piece.parts if not part.is_drum) else Part()
    others = [part for part in piece.parts if part is not line and not part.is_drum and part.notes]
    bars = piece.bars()
    drawn = bars[:most_bars]
    ends = np.append(bars[1:], bars[-1] + (bars[-1] - bars[-2] if len(bars) > 1 else 4 * TICKS))
    systems = [drawn[i : i + bars_per_line].tolist() for i in range(0, len(drawn), bars_per_line)]
    pitches = [note.pitch for part in (line, *others) for note in part.notes] or [60, 72]
    low, high = min(pitches) - 2, max(pitches) + 2
    height = max(1.35, min(3.2, 0.07 * (high - low + 1))) + 0.55
    figure = Figure(figsize=(13, height * len(systems) + 0.9), dpi=110, layout="constrained")
    all_axes = figure.subplots(len(systems), 1, squeeze=False)[:, 0]
    span = max(int(ends[np.searchsorted(bars, system[-1])] - system[0]) for system in systems)
    for number, (axes, system) in enumerate(zip(all_axes, systems, strict=True)):
        _grid(axes, piece, system, ends[np.searchsorted(bars, system)].tolist(), low, high, number * bars_per_line)
        start, end = system[0], int(ends[np.searchsorted(bars, system[-1])])
        for i, part in reversed(list(enumerate(others))):
            _notes(axes, part, start, end, [_OTHERS[i % len(_OTHERS)]] * len(part.notes), "none", 1)
        _notes(axes, line, start, end, _colours(piece, line), "white", 3)
        axes.set_xlim(start - span * 0.002, start + span * 1.002)
    _legend(figure, piece, line, others)
    figure.suptitle(
        title + (f"  (the first {len(drawn)} of {len(bars)} bars)" if len(drawn) < len(bars) else ""), fontsize=13
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())


def _grid(axes: Any, piece: Piece, starts: list[int], ends: list[int], low: int, high: int, first: int) -> None:
    """Rows of black keys, lines of beats and bars, names of chords and octaves: all but the notes."""
    left, right = starts[0], ends[-1]
    for pitch in range(low, high + 1):
        if pitch % 12 in _BLACK_KEYS:
            axes.fill_between([left, right], pitch - 0.5, pitch + 0.5, color="#f3f4f6", linewidth=0, zorder=0)
        if pitch % 12 == 0:
            axes.plot([left, right], [pitch - 0.5] * 2, color="#d1d5db", linewidth=0.8, zorder=0.5)
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        for beat in range(start + TICKS, end, TICKS):
            axes.plot([beat] * 2, [low - 0.5, high + 0.5], color="#dfe3e8", linewidth=0.7, zorder=0.6)
        axes.plot([start] * 2, [low - 0.5, high + 0.5], color="#374151", linewidth=1.3, zorder=0.7)
        axes.text(start, low - 0.9, f" {first + number + 1}", fontsize=7, color="#9ca3af", va="top", ha="left")
    axes.plot([right] * 2, [low - 0.5, high + 0.5], color="#374151", linewidth=1.3, zorder=0.7)
    for tick, symbol in _symbols(piece, left, right):
        axes.text(tick, high + 0.9, symbol, fontsize=12, fontweight="bold", va="bottom", ha="left", color="#111827")
    octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 in (0, 7)]
    axes.set_yticks(octaves, [note_name(p) + (str(p // 12 - 1) if p % 12 == 0 else "") for p in octaves], fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_ylim(low - 0.5, high + 0.5)
    for side in axes.spines.values():
        side.set_visible(False)


def _symbols(piece: Piece, left: int, right: int) -> list[tuple[int, str]]:
    """The chords' names between two ticks, as musicians set them; what sounds on at the left is said again."""
    at = int(piece.chord_at(left)) if piece.chords else -1
    found = [(max(tick, left), c.symbol) for i, (tick, c) in enumerate(piece.chords) if i == at or left <= tick < right]
    return [
        (tick, symbol.replace("maj7", "∆7").replace("m7b5", "ø7").replace("dim7", "°7").translate(_SIGNS))
        for tick, symbol in found
    ]


_SIGNS = str.maketrans({"b": "♭", "#": "♯"})


def _colours(piece: Piece, part: Part) -> list[str]:
    """The colour of each note of a melody."""
    scales = [scale(chord) for _, chord in piece.chords]
    colours = []
    for note, c in zip(part.notes, piece.chord_at([note.onset for note in part.notes]).tolist(), strict=True):
        tones = piece.chords[c][1].pitch_classes if c >= 0 else frozenset()
        inside = note.pitch % 12
        colours.append(
            NO_HARMONY if not tones else CHORD_TONE if inside in tones else SCALE_TONE if inside in scales[c] else OUTSIDE
        )
    return colours


def _notes(axes: Any, part: Part, left: int, right: int, colours: Sequence[str], edge: str, layer: int) -> None:
    from matplotlib.collections import PolyCollection

    shapes, fills = [], []
    for note, colour in zip(part.notes, colours, strict=True):
        if note.end <= left or note.onset >= right:
            continue
        a, b = max(note.onset, left), min(note.end, right) - 0.4
        low, high = note.pitch - 0.5, note.pitch + 0.5
        shapes.append([(a, low), (a, high), (b, high), (b, low)])
        fills.append(colour)
    axes.add_collection(PolyCollection(shapes, facecolors=fills, edgecolors=edge, linewidths=0.6, zorder=layer))


def _legend(figure: Any, piece: Piece, line: Part, others: list[Part]) -> None:
    from matplotlib.patches import Patch

    name = _label(line, 1)
    entries = (
        [(CHORD_TONE, f"{name}: chord tone"), (SCALE_TONE, "scale tone"), (OUTSIDE, "outside")]
        if piece.chords
        else [(NO_HARMONY, name)]
    )
    entries += [(_OTHERS[i % len(_OTHERS)], _label(part, i + 2)) for i, part in enumerate(others)][:4]
    handles = [Patch(color=colour, label=label) for colour, label in entries]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)


def _label(part: Part, number: int) -> str:
    return part.name.strip(" :") or ("melody" if number == 1 else f"part {number}")
