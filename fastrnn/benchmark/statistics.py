"""Statistics of a case, computed from its records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, log
from statistics import fmean, median
from typing import Any

from .cases import GATES, LENGTHS, Case
from .ceilings import Ceilings
from .language import LanguageProblem
from .peers import OWN
from .problem import Problem

LAYER_QUESTIONS = ("forward", "training", "product", "step")


@dataclass(frozen=True, slots=True)
class Statistics:
    """The records of a case, one per peer, as JSON; the fastest peer comes first."""

    case: Case
    records: list[dict[str, Any]]

    @property
    def rivals(self) -> list[dict[str, Any]]:
        """The records of other libraries, without our own second backend."""
        return [record for record in self.records if record["peer"] not in OWN]

    @property
    def fastest(self) -> dict[str, Any] | None:
        """The record of the fastest peer."""
        return self.rivals[0] if self.rivals else None

    @property
    def ours(self) -> float:
        """Our seconds: the median over the processes of all peers."""
        return float(median(record["ours"]["median"] for record in self.records))

    @property
    def first(self) -> float:
        """Seconds of our first call."""
        return float(median(record["ours"]["first"] for record in self.records))

    @property
    def faults(self) -> float:
        """Page faults of a warm call."""
        return float(median(record["ours"]["faults"] for record in self.records))

    @property
    def rate(self) -> float:
        """Operations per second, of the products alone, without padding."""
        return self.case.operations / self.case.tokens * self.tokens

    @property
    def tokens(self) -> float:
        """Tokens per second, without padding."""
        return _tokens_of_a_call(self.case) / self.ours

    def ratio(self, peer: str) -> float | None:
        """Return the peer's time divided by ours, None if the peer was not measured."""
        return next((record["ratio"] for record in self.records if record["peer"] == peer), None)

    def share_of_fma(self, ceilings: Ceilings) -> float:
        """Return the share of the peak rate of multiply-adds."""
        return self.rate / ceilings.fma

    @property
    def recurrent_bytes(self) -> float:
        """The bytes of R."""
        return 4.0 * GATES[self.case.cell] * self.case.H**2

    def share_of_bandwidth(self, ceilings: Ceilings) -> float | None:
        """Return the share of the bandwidth if R is read once per time step, twice with backward.

        It is None for questions that do not read R step by step.
        """
        if self.case.question not in ("forward", "training", "step"):
            return None
        size = self.recurrent_bytes
        passes = 2 if self.case.question == "training" else 1
        return passes * self.case.T * size / ceilings.bandwidth(size) / self.ours


@cache
def _tokens_of_a_call(case: Case) -> float:
    """Return the tokens of a call, without padding; the mean if calls take names of several lengths."""
    if case.question == "names":
        return fmean(ids.size for ids, _ in LanguageProblem(case).texts)
    lengths = Problem(case).lengths if case.variant == LENGTHS else None
    return case.tokens if lengths is None else int(lengths.sum())


def of_cases(records: Iterable[dict[str, Any]], cases: Sequence[Case]) -> Iterator[Statistics]:
    """Yield the statistics of the measured cases, in the order of ``cases``."""
    found = defaultdict(list)
    for record in records:
        found[Case(**record["case"])].append(record)
    for case in cases:
        if case in found:
            yield Statistics(case, sorted(found[case], key=lambda record: record["theirs"]["median"]))


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean, NaN without values."""
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs)) if logs else float("nan")
