"""From the records of a case to the figures that are shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median
from typing import Any

from .cases import GATES, LENGTHS, Case
from .ceilings import Ceilings
from .peers import OWN
from .problem import Problem

LAYER_QUESTIONS = ("forward", "training", "product", "step")


@dataclass(frozen=True, slots=True)
class Figures:
    """A case beside every peer that took part; ``records`` are as JSON, the fastest peer's first."""

    case: Case
    records: list[dict[str, Any]]

    @property
    def rivals(self) -> list[dict[str, Any]]:
        """Without our own other backend."""
        return [record for record in self.records if record["peer"] not in OWN]

    @property
    def fastest(self) -> dict[str, Any] | None:
        """The record of the fastest peer."""
        return self.rivals[0] if self.rivals else None

    @property
    def ours(self) -> float:
        """Seconds: the median of what was measured beside each peer."""
        return float(median(record["ours"]["median"] for record in self.records))

    @property
    def first(self) -> float:
        """Seconds of the first call."""
        return float(median(record["ours"]["first"] for record in self.records))

    @property
    def faults(self) -> float:
        """Page faults of a warm call."""
        return float(median(record["ours"]["faults"] for record in self.records))

    @property
    def rate(self) -> float:
        """Operations a second, of the products alone."""
        return self.case.operations / self.ours

    @property
    def tokens(self) -> float:
        """Tokens a second; those of padding do not count."""
        lengths = Problem(self.case).lengths if self.case.variant == LENGTHS else None
        return (self.case.tokens if lengths is None else int(lengths.sum())) / self.ours

    def ratio(self, peer: str) -> float | None:
        """How many times faster than this peer."""
        return next((record["ratio"] for record in self.records if record["peer"] == peer), None)

    def share_of_fma(self, ceilings: Ceilings) -> float:
        """Of the peak of the threads used."""
        return self.rate / ceilings.fma

    @property
    def recurrent_bytes(self) -> float:
        """Of R."""
        return 4.0 * GATES[self.case.cell] * self.case.H**2

    def share_of_bandwidth(self, ceilings: Ceilings) -> float | None:
        """Of the bound that reading R once a step sets, twice with backward; None where R is not read step by step."""
        if self.case.question not in ("forward", "training", "step"):
            return None
        size = self.recurrent_bytes
        passes = 2 if self.case.question == "training" else 1
        return passes * self.case.T * size / ceilings.bandwidth(size) / self.ours


def of_cases(records: Iterable[dict[str, Any]], cases: Sequence[Case]) -> Iterator[Figures]:
    """Those of the cases that have been measured, in their order."""
    found = defaultdict(list)
    for record in records:
        found[Case(**record["case"])].append(record)
    for case in cases:
        if case in found:
            yield Figures(case, sorted(found[case], key=lambda record: record["theirs"]["median"]))


def geometric_mean(values: Iterable[float]) -> float:
    """exp of the mean logarithm; NaN for none."""
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs)) if logs else float("nan")
