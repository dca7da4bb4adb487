"""The comparison of fastrnn with one peer in one case: agreement, threads, then time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from . import agreement
from .cases import LENGTHS, MEDIUM, Case
from .language import SIZES, LanguageProblem
from .measure import Clock, Effort, Run, Timing, alternate, rest
from .peers import OWN
from .peers.protocol import Peer, Side, Unsupported, WrongThreads
from .problem import Problem

# A call may use this many processors more than it has threads: clocks are coarse, and workers spin on after the call.
SLACK = 0.35

OWN_LARGEST = 256  # our other backends have targets for small layers only, so large ones would waste time
TAKE_LENGTHS = ("fastrnn", "torch", "numba")


@dataclass(frozen=True, slots=True)
class Record:
    """A measured case. ``ratio`` is the peer's time over ours: above 1, we are faster."""

    case: Case
    peer: str
    version: str
    ours: Timing
    theirs: Timing

    @property
    def ratio(self) -> float:
        """The ratio of the medians."""
        return self.theirs.median / self.ours.median

    def as_json(self) -> dict[str, Any]:
        """Return plain values; times are in seconds."""
        sides = {
            name: {
                "median": t.median,
                "spread": t.spread,
                "best": t.best,
                "first": t.first,
                "faults": t.faults,
                "samples": len(t.samples),
            }
            for name, t in (("ours", self.ours), ("theirs", self.theirs))
        }
        return {"case": asdict(self.case), "peer": self.peer, "version": self.version, "ratio": self.ratio, **sides}


def build(peer: Peer, problem: Problem | LanguageProblem) -> Side:
    """Return the peer's side of a problem. Raises Unsupported."""
    question = problem.case.question
    if question not in peer.sides:
        raise Unsupported(f"{peer.name} has no {question}")
    if peer.name in OWN and problem.case.H > OWN_LARGEST:
        raise Unsupported(f"{peer.name} is compared up to H = {OWN_LARGEST}")
    if problem.case.variant == LENGTHS and peer.name not in TAKE_LENGTHS:
        raise Unsupported(f"{peer.name} is not measured with lengths")
    if problem.case.variant == MEDIUM and not peer.bfloat16:
        raise Unsupported(f"{peer.name} is not measured in bfloat16")
    return peer.sides[question](problem)


def compare(ours: Peer, peer: Peer, case: Case, effort: Effort, clock: Clock | None = None) -> Record:
    """Measure a case with both sides. Raises Unsupported, Disagreement and WrongThreads."""
    clock = clock or Clock()
    sides, firsts = agreed(ours, peer, case, effort, clock)
    timings = alternate([side.run for side in sides], effort, clock, firsts)
    return Record(case, peer.name, peer.version(), *timings)


def agreed(ours: Peer, peer: Peer, case: Case, effort: Effort, clock: Clock) -> tuple[list[Side], list[float]]:
    """Return both sides, checked for agreement and number of threads, and the seconds of each side's first call.

    Raises Unsupported, Disagreement and WrongThreads.
    """
    problem = LanguageProblem(case) if case.question in SIZES else Problem(case)
    sides = [build(side, problem) for side in (ours, peer)]
    firsts, outcomes = [], []
    for side in sides:
        rest(clock, effort.pause)
        begin = clock.now()
        out = side.run()
        firsts.append(clock.now() - begin)
        outcomes.append(side.results(out))
    tolerance = agreement.BFLOAT16_TOLERANCE if case.variant == MEDIUM else agreement.TOLERANCE
    agreement.require(outcomes[0], outcomes[1], tolerance)
    for side, name in zip(sides, (ours.name, peer.name), strict=True):
        require_no_more_threads(side.run, case.threads, name, clock, effort.pause)
    return sides, firsts


def require_no_more_threads(run: Run, threads: int, name: str, clock: Clock, pause: float) -> None:
    """Raise WrongThreads if the process uses more processor time than ``threads`` threads can."""
    lowest = float("inf")
    for _ in range(5):  # the other side's pool may still spin during one of them
        rest(clock, pause)
        cpu, begin = clock.cpu(), clock.now()
        while clock.now() - begin < 0.01:
            run()
        lowest = min(lowest, (clock.cpu() - cpu) / (clock.now() - begin))
        if lowest <= threads + SLACK:
            return
    raise WrongThreads(f"{name} uses {lowest:.1f} processors, not {threads}")
