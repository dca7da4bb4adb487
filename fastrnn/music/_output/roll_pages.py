"""The division of a piano roll's bars into pages and lines, and the names of the pages' files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..._core import checks
from ..piece import TICKS, Piece

LINES = 4  # lines of a page; with more, a picture fitted to a screen is too small to read
MOST_BARS = 256  # sixteen pages of four lines of four bars

Bar = tuple[int, int, int]  # number from 1, first tick, end


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its lines of bars, and its label ``shows``, such as ``chorus 2 of 4``; empty if it shows all."""

    lines: tuple[tuple[Bar, ...], ...]
    shows: str


def pages(
    piece: Piece, *, bars_per_line: int | None = None, chorus: int | None = None, most_bars: int = MOST_BARS
) -> tuple[Page, ...]:
    """Divide a piece into pages of at most four lines of bars.

    Parameters
    ----------
    piece
        The piece.
    bars_per_line
        None: four, or eight if bars have two quarters or fewer.
    chorus
        The length of a chorus in bars; None: the whole piece. A page begins with a chorus and holds as many whole ones as
        fit. A longer chorus is divided into pages of about equal length. One bar more than whole choruses is a closing bar,
        which joins the last line.
    most_bars
        The number of first bars to show.

    Raises
    ------
    TypeError, ValueError
        If a count is below 1 or not an integer.
    """
    bounds = zip(piece.bars().tolist(), piece.bar_ends().tolist(), strict=True)
    every = [(number, *bound) for number, bound in enumerate(bounds, 1)]
    bars = every[: checks.positive_int("most_bars", most_bars)]
    if bars_per_line is None:
        bars_per_line = 8 if max(end - start for _, start, end in bars) <= 2 * TICKS else 4
    line = checks.positive_int("bars_per_line", bars_per_line)
    length = len(bars) if chorus is None else checks.positive_int("chorus", chorus)
    closing = len(bars) > length and len(bars) % length == 1
    starts = _starts(len(bars) - closing, length, line)
    found = []
    for start, end in zip(starts, [*starts[1:], len(bars) - closing], strict=True):
        lines = [tuple(bars[i : min(i + line, end)]) for i in range(start, end, line)]
        last = closing and start == starts[-1]
        if last:
            lines[-1] += (bars[-1],)
        shows = f"the first {end} of {len(every)} bars" if len(starts) == 1 else _shows(start, end, len(every), length)
        found.append(Page(tuple(lines), shows if end - start + last < len(every) else ""))
    return tuple(found)


def page_paths(path: str | Path, number: int) -> list[Path]:
    """Return the files of this number of pages: ``solo.png``, ``solo-2.png``, ``solo-3.png`` ..."""
    first = Path(path)
    return [first, *(first.with_name(f"{first.stem}-{page}{first.suffix}") for page in range(2, number + 1))]


def _starts(bars: int, chorus: int, line: int) -> list[int]:
    """Return the first bar of each page, counted from 0."""
    most = LINES * line
    if chorus <= most:
        return list(range(0, bars, most // chorus * chorus))
    lines = -(-chorus // line)  # of a chorus
    size = line * -(-lines // -(-lines // LINES))
    return [begin + within for begin in range(0, bars, chorus) for within in range(0, chorus, size) if begin + within < bars]


def _shows(start: int, end: int, bars: int, chorus: int) -> str:
    if end - start == chorus and start % chorus == 0 and bars % chorus <= 1:
        return f"chorus {start // chorus + 1} of {bars // chorus}"
    return f"bars {start + 1} to {end} of {bars}"
