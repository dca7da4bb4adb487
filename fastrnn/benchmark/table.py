"""The table of results for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..console import quantity
from .cases import Case
from .ceilings import Ceilings
from .run import Results
from .statistics import LAYER_QUESTIONS, Statistics, geometric_mean, of_cases

COLUMNS = (
    "question",
    "cell",
    "H",
    "B",
    "threads",
    "ours",
    "fastest peer",
    "its time",
    "ratio",
    "speed",
    "of FMA",
    "of bandwidth",
)
LEFT = (0, 1, 6)  # columns of words


def lines(results: Results, cases: Sequence[Case], ceilings: Mapping[int, Ceilings]) -> Iterator[str]:
    """Yield the ceilings, a line for each case, the means, and what was not compared."""
    yield from _about(ceilings)
    statistics = list(of_cases(results.records, cases))
    rows = [COLUMNS, *(_row(f, ceilings.get(f.case.threads)) for f in statistics)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    for row in rows:
        padded = (cell.ljust(w) if i in LEFT else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        yield "  ".join(padded).rstrip()
    yield from _means(statistics)
    yield from results.not_compared()


def _about(ceilings: Mapping[int, Ceilings]) -> Iterator[str]:
    for threads, c in ceilings.items():
        read = ", ".join(f"{level} {1e-9 * rate:.0f}" for level, rate in c.read.items())
        yield f"ceilings, {quantity(threads, 'thread')}: {1e-9 * c.fma:.0f} GFLOP/s; reading, GB/s: {read}"


def _row(f: Statistics, ceilings: Ceilings | None) -> tuple[str, ...]:
    case, best = f.case, f.fastest
    name = f"{case.question} {case.variant}".strip()
    start = (name, case.cell, str(case.H), str(case.B), str(case.threads), duration(f.ours))
    peer = (best["peer"], duration(best["theirs"]["median"]), ratio(best)) if best else ("none", "", "")
    if case.question not in LAYER_QUESTIONS:
        return (*start, *peer, f"{f.tokens:,.0f} tokens/s", "", "")
    shares = [f.share_of_fma(ceilings), f.share_of_bandwidth(ceilings)] if ceilings else [None, None]
    return (*start, *peer, f"{1e-9 * f.rate:.1f} GFLOP/s", *("" if share is None else f"{share:.0%}" for share in shares))


def ratio(record: dict[str, float]) -> str:
    """Return the ratio as text, with the larger spread of both sides."""
    spread = max(record[side]["spread"] for side in ("ours", "theirs"))  # type: ignore[index]
    return f"{record['ratio']:.2f} ±{100 * spread:.0f}%"


def duration(seconds: float) -> str:
    """Return a duration as text, in s, ms or us."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.9995 * scale or unit == "us":  # because three digits of 999.7 us are 1e+03
            return f"{seconds / scale:.3g} {unit}" if seconds < 999.5 * scale else f"{seconds / scale:.0f} {unit}"
    raise AssertionError


def _means(statistics: Sequence[Statistics]) -> Iterator[str]:
    for question in dict.fromkeys(f.case.question for f in statistics):
        some = [f for f in statistics if f.case.question == question]
        if len(some) > 1:
            against = {"the fastest peer": [f.fastest["ratio"] for f in some if f.fastest]}
            for peer in dict.fromkeys(record["peer"] for f in some for record in f.records):
                against[peer] = [found for f in some if (found := f.ratio(peer)) is not None]
            means = ", ".join(f"{geometric_mean(ratios):.2f} {peer}" for peer, ratios in against.items() if ratios)
            yield f"{question}: geometric mean of the ratios: {means}"
