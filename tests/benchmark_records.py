"""A case, an effort, and ceilings and records of comparisons made by hand."""

from dataclasses import asdict

from fastrnn.benchmark.cases import Case
from fastrnn.benchmark.ceilings import Ceilings
from fastrnn.benchmark.measure import Effort

EFFORT = Effort(seconds=0.2, pause=0.01)
CASE = Case("forward", "LSTM", 8, 2, 1, T=5)
READ = {"L1": 4e11, "L2": 2e11, "L3": 1e11, "DRAM": 1e10}
CEILINGS = Ceilings(1, 420e9, READ, {"L1": 1 << 15, "L2": 1 << 20, "L3": 1 << 25})


def record(case, peer, ours, theirs, spread=0.0):
    """Return the record of a comparison: the medians of both sides in seconds, and the spread of our side."""

    def side(seconds, spread=0.0):
        return {"median": seconds, "spread": spread, "best": seconds, "first": 3 * seconds, "faults": 0.0, "samples": 9}

    sides = {"ours": side(ours, spread), "theirs": side(theirs)}
    return {"case": asdict(case), "peer": peer, "version": "1", "ratio": theirs / ours, **sides}


def result_line(case, peer, *arguments):
    """Return the line of a record in a file of results."""
    return {"peer": peer, "case": asdict(case), "record": record(case, peer, *arguments)}
