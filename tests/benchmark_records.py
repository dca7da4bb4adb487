"""Records of comparisons, made by hand."""

from dataclasses import asdict


def record(case, peer, ours, theirs, spread=0.0):
    """Return the record of a comparison: the medians of both sides in seconds, and the spread of our side."""

    def side(seconds, spread=0.0):
        return {"median": seconds, "spread": spread, "best": seconds, "first": 3 * seconds, "faults": 0.0, "samples": 9}

    sides = {"ours": side(ours, spread), "theirs": side(theirs)}
    return {"case": asdict(case), "peer": peer, "version": "1", "ratio": theirs / ours, **sides}


def result_line(case, peer, *arguments):
    """Return the line of a record in a file of results."""
    return {"peer": peer, "case": asdict(case), "record": record(case, peer, *arguments)}
