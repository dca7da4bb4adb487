"""Results as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from .cases import Case
from .run import Results

HEADER = f"{'question':<9} {'cell':<5} {'H':>5} {'B':>4} {'thr':>3} {'ours ms':>9} {'GFLOP/s':>8}  {'fastest peer':<12} {'ms':>9} {'ratio':>6}"


def lines(results: Results, cases: Sequence[Case]) -> Iterator[str]:
    """A line for each case, with every peer's ratio at its end; then who did not take part."""
    yield HEADER + "   all ratios"
    for case in cases:
        records = of_case(results, case)
        if records:
            yield _row(case, records)
    for line in results.refused:
        yield f"refused: {line['peer']}, {Case(**line['case']).name}: {line['refused']}"
    for peer, reason in results.absent.items():
        yield f"{peer} did not take part: {reason}"


def of_case(results: Results, case: Case) -> list[dict[str, Any]]:
    """Its records, the fastest peer's first."""
    found = [record for record in results.records if Case(**record["case"]) == case]
    return sorted(found, key=lambda record: record["theirs"]["median"])


def _row(case: Case, records: list[dict[str, Any]]) -> str:
    ours = median(record["ours"]["median"] for record in records)
    best = records[0]
    ratios = "  ".join(f"{r['peer']} {r['ratio']:.2f} (±{100 * max(r['ours']['spread'], r['theirs']['spread']):.0f}%)" for r in records)
    return (
        f"{case.question:<9} {case.cell:<5} {case.H:>5} {case.B:>4} {case.threads:>3} {1e3 * ours:>9.4g} "
        f"{1e-9 * case.operations / ours:>8.1f}  {best['peer']:<12} {1e3 * best['theirs']['median']:>9.4g} {best['ratio']:>6.2f}   {ratios}"
    )
