"""Piano rolls as PNG: bars, beats, chord names, and the melody coloured by the relation of each note to its chord."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...info import install_extra
from ...serialization import write_atomically
from .._midi.hands import LEFT, RIGHT
from .._midi.roles import melody_of
from ..chords import note_name, scale
from ..piece import Part, Piece
from .roll_pages import MOST_BARS, Bar, Page, page_paths, pages

CHORD_TONE, SCALE_TONE, OUTSIDE, NO_HARMONY = "#0b6e8f", "#7cc0d8", "#e07b39", "#4b5563"
_OTHERS = ("#c3c8cf", "#b9a7d6", "#a9c9a4", "#d8bfa0")  # accompanying parts, in order
_EDGES = ("white", "#1f2937")  # of the melody, and of the left hand
MOTIF = "#b91c1c"
_BLACK_KEYS = {1, 3, 6, 8, 10}
_SIGNS = str.maketrans({"b": "♭", "#": "♯"})


def draw_roll(
    path: str | Path,
    piece: Piece,
    *,
    melody: str | int | None = None,
    bars_per_line: int | None = None,
    title: str = "",
    most_bars: int = MOST_BARS,
    chorus: int | None = None,
    motifs: Sequence[tuple[int, int]] = (),
) -> list[Path]:
    """Draw ``piece`` as a piano roll into PNG files, in lines of bars like a lead sheet.

    Chord names stand above each line. Notes of the melody have one of three colours: chord tone, scale tone, or neither; a
    fourth where no chord sounds. If the melody is a piano's right hand, the left hand is coloured as well, with dark edges.
    Other parts are pale and behind the melody; drums are left out.

    Parameters
    ----------
    path
        The file of the first page. The second page of ``solo.png`` is ``solo-2.png``. A page has four lines at most.
    melody
        The part to colour, by name or number; None: a guess.
    bars_per_line, most_bars, chorus
        The division into pages, see :func:`fastrnn.music._output.roll_pages.pages`.
    title
        Text at the top of each page.
    motifs
        The first tick and the end of each motif to mark by a line below it.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If the melody part does not exist, or a count is below 1.
    OSError
        If a file cannot be written.
    """
    found = pages(piece, bars_per_line=bars_per_line, chorus=chorus, most_bars=most_bars)
    sheet = replace(_Sheet.of(piece, melody, found), motifs=tuple(motifs))
    paths = page_paths(path, len(found))
    for place, page in zip(paths, found, strict=True):
        write_atomically(place, _picture(sheet, page, title + (f"  ({page.shows})" if page.shows else "")))
    return paths


def _picture(sheet: _Sheet, page: Page, title: str) -> bytes:
    """Draw one page as PNG."""
    highest = 3.2 if len(sheet.voices) == 1 else 4.9  # two hands have a wide range, and edges take space from each note
    height = max(1.35, min(highest, 0.07 * (sheet.high - sheet.low + 1))) + 0.55
    figure = figure_class()(figsize=(13, height * len(page.lines) + 0.9), dpi=110, layout="constrained")
    all_axes = figure.subplots(len(page.lines), 1, squeeze=False)[:, 0]
    for axes, bars in zip(all_axes, page.lines, strict=True):
        _draw_line(axes, sheet, bars)
    _legend(figure, sheet)
    figure.suptitle(title, fontsize=13)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def spelled(symbol: str) -> str:
    """Convert a chord symbol or a key to musical signs: ``B♭∆7`` for ``Bbmaj7``, ``F♯ø7`` for ``F#m7b5``."""
    return symbol.replace("maj7", "∆7").replace("m7b5", "ø7").replace("dim7", "°7").translate(_SIGNS)


def spelled_changes(text: str) -> str:
    """Convert the chords in a line of changes as :func:`spelled` does."""
    return re.sub(r"[^\s|:]+", lambda word: spelled(word[0]), text)


def figure_class() -> Any:
    """Import matplotlib's Figure. Raises ImportError, which says how to install it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"a piano roll needs matplotlib; {install_extra('train')}") from error
    return Figure


@dataclass(frozen=True)
class _Sheet:
    """The data and settings that all pages share."""

    piece: Piece
    voices: tuple[Part, ...]  # the coloured parts: the melody, and also the left hand if it is a right hand
    others: tuple[Part, ...]
    span: int  # the ticks of the longest line
    low: int
    high: int
    motifs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, piece: Piece, melody: str | int | None, pages: tuple[Page, ...]) -> _Sheet:
        pitched = [part for part in piece.parts if not part.is_drum and part.notes]
        line = melody_of(piece, melody) if pitched else Part()
        others = [part for part in pitched if part is not line]
        left = [part for part in others if line.name == RIGHT and part.name == LEFT]
        span = max(bars[-1][2] - bars[0][1] for page in pages for bars in page.lines)
        pitches = [note.pitch for part in (line, *others) for note in part.notes] or [60, 72]
        rest = tuple(part for part in others if part not in left)
        return cls(piece, (line, *left), rest, span, min(pitches) - 2, max(pitches) + 2)


def _draw_line(axes: Any, sheet: _Sheet, bars: Sequence[Bar]) -> None:
    """Draw one line of bars with all notes in them."""
    start, end = bars[0][1], bars[-1][2]
    _rows(axes, sheet, start, end)
    _bars(axes, sheet, bars)
    for tick, symbol in _symbols(sheet.piece, start, end):
        axes.text(tick, sheet.high + 0.9, symbol, fontsize=12, fontweight="bold", va="bottom", ha="left", color="#111827")
    for i, part in reversed(list(enumerate(sheet.others))):
        _notes(axes, part, start, end, [_OTHERS[i % len(_OTHERS)]] * len(part.notes), "none", 1)
    for part, edge in reversed(list(zip(sheet.voices, _EDGES, strict=False))):
        _notes(axes, part, start, end, _colours(sheet.piece, part), edge, 3)
    for first, last in sheet.motifs:
        if start <= first < end:
            axes.plot(
                [first, min(last, end) - 1], [sheet.low] * 2, color=MOTIF, linewidth=3, solid_capstyle="butt", zorder=2
            )
    axes.set_xlim(start - sheet.span * 0.002, start + sheet.span * 1.002)
    axes.set_ylim(sheet.low - 0.5, sheet.high + 0.5)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _rows(axes: Any, sheet: _Sheet, left: int, right: int) -> None:
    """Draw the rows of black keys, and the lines and names of octaves."""
    for pitch in range(sheet.low, sheet.high + 1):
        if pitch % 12 in _BLACK_KEYS:
            axes.fill_between([left, right], pitch - 0.5, pitch + 0.5, color="#f3f4f6", linewidth=0, zorder=0)
        if pitch % 12 == 0:
            axes.plot([left, right], [pitch - 0.5] * 2, color="#d1d5db", linewidth=0.8, zorder=0.5)
    octaves = [pitch for pitch in range(sheet.low, sheet.high + 1) if pitch % 12 in (0, 7)]
    axes.set_yticks(octaves, [note_name(p) + (str(p // 12 - 1) if p % 12 == 0 else "") for p in octaves], fontsize=8)


def _bars(axes: Any, sheet: _Sheet, bars: Sequence[Bar]) -> None:
    """Draw the lines of beats and bars, and the bars' numbers."""
    height = [sheet.low - 0.5, sheet.high + 0.5]
    beats = sheet.piece.beats()
    for beat in beats[(bars[0][1] <= beats) & (beats < bars[-1][2])].tolist():
        axes.plot([beat] * 2, height, color="#dfe3e8", linewidth=0.7, zorder=0.6)
    for number, start, _ in bars:
        axes.plot([start] * 2, height, color="#374151", linewidth=1.3, zorder=0.7)
        axes.text(start, sheet.low - 0.9, f" {number}", fontsize=7, color="#9ca3af", va="top", ha="left")
    axes.plot([bars[-1][2]] * 2, height, color="#374151", linewidth=1.3, zorder=0.7)


def _symbols(piece: Piece, left: int, right: int) -> list[tuple[int, str]]:
    """Return the chord names between two ticks; a chord that sounds on at the left is repeated."""
    at = int(piece.chord_at(left)) if piece.chords else -1
    found = [(max(tick, left), c.symbol) for i, (tick, c) in enumerate(piece.chords) if i == at or left <= tick < right]
    return [(tick, spelled(symbol)) for tick, symbol in found]


def _colours(piece: Piece, part: Part) -> list[str]:
    """Return the colour of each note of a melody."""
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
    width = 1.0 if edge == _EDGES[1] else 0.6
    axes.add_collection(PolyCollection(shapes, facecolors=fills, edgecolors=edge, linewidths=width, zorder=layer))


def _legend(figure: Any, sheet: _Sheet) -> None:
    from matplotlib.patches import Patch

    line, *left = sheet.voices
    name = _label(line, 1)
    tones = [(CHORD_TONE, f"{name}: chord tone"), (SCALE_TONE, "scale tone"), (OUTSIDE, "outside")]
    if any(NO_HARMONY in _colours(sheet.piece, voice) for voice in sheet.voices):
        tones.append((NO_HARMONY, "no chord"))
    entries = tones if sheet.piece.chords else [(NO_HARMONY, name)]
    handles = [Patch(color=colour, label=label) for colour, label in entries]
    handles += [Patch(facecolor="white", edgecolor=_EDGES[1], label=f"{part.name}: the same, with edges") for part in left]
    handles += [Patch(color=MOTIF, label="a motif that returns")] if sheet.motifs else []
    first = 1 + len(sheet.voices)
    others = [(_OTHERS[i % len(_OTHERS)], _label(part, first + i)) for i, part in enumerate(sheet.others)]
    handles += [Patch(color=colour, label=label) for colour, label in others[:4]]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)


def _label(part: Part, number: int) -> str:
    return part.name.strip(" :") or ("melody" if number == 1 else f"part {number}")
