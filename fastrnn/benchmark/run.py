"""Cases beside all peers: a worker process for each peer and number of threads; results are appended to a file as they come,
so a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from .cases import Case
from .ceilings import Ceilings
from .measure import Effort
from .worker import environment

Line = dict[str, Any]


@dataclass(slots=True)
class Results:
    """What a run found: records, peers that did not take part, and comparisons that were refused, each with the reason."""

    records: list[Line] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    refused: list[Line] = field(default_factory=list)
    machine: Line = field(default_factory=dict)
    ceilings: dict[int, Ceilings] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """One line of a worker."""
        if "record" in line:
            self.records.append(line["record"])
        elif "absent" in line:
            self.absent[line["peer"]] = line["absent"]
        elif "refused" in line:
            self.refused.append(line)
        elif "machine" in line:
            self.machine = line["machine"]
        elif "ceilings" in line:
            self.ceilings[line["ceilings"]["threads"]] = Ceilings(**line["ceilings"])


def load(file: Path) -> Results:
    """What a file holds. Of what was measured more than once the last counts; of a peer that could not take part once and
    did another time, only the latter."""
    results = Results()
    for line in map(json.loads, file.read_text().splitlines()):
        results.add(line)
    results.records = list({(record["peer"], *record["case"].values()): record for record in results.records}.values())
    there = {record["peer"] for record in results.records}
    results.absent = {peer: reason for peer, reason in results.absent.items() if peer not in there}
    measured = {(record["peer"], *record["case"].values()) for record in results.records}
    results.refused = [line for line in results.refused if (line["peer"], *line["case"].values()) not in measured]
    return results


def run(
    cases: Sequence[Case],
    peers: Iterable[str],
    effort: Effort,
    file: Path | None = None,
    progress: Callable[[str, Case | None], None] = lambda peer, case: None,
) -> Results:
    """Measure the cases beside each peer. With a file: what it holds already is taken from there, and the rest is added."""
    results, done = Results(), set()
    if file and file.exists():
        for line in map(json.loads, file.read_text().splitlines()):
            if "record" in line or "unsupported" in line:  # a peer that was absent or refused has another chance
                results.add(line)
                done.add((line["peer"], *line["case"].values()))
    for peer in peers:
        for threads, group in groupby(sorted(cases, key=lambda c: c.threads), key=lambda c: c.threads):
            todo = [case for case in group if (peer, *case.key) not in done]
            if not todo or peer in results.absent:
                continue
            progress(peer, None)
            for line in serve(peer, threads, todo, effort):
                results.add(line)
                if file and "version" not in line:
                    append(file, line)
                if "case" in line:
                    progress(peer, Case(**line["case"]))
    return results


# A comparison is disturbed where a side's spread is above this share of its median, or where fastrnn's time is off by more
# than that share of its median over the processes of all peers.
SPREAD, OFF = 0.25, 0.1


def disturbed(records: Iterable[Line]) -> list[Line]:
    """The records of comparisons that something else ran into, such as a neighbour on the machine; whoever gained by it."""
    records = list(records)
    ours: dict[tuple[Any, ...], list[float]] = {}
    for record in records:
        ours.setdefault(tuple(record["case"].values()), []).append(record["ours"]["median"])
    usual = {case: median(times) for case, times in ours.items()}

    def is_disturbed(record: Line) -> bool:
        own = record["ours"]["median"] / usual[tuple(record["case"].values())]
        return max(record["ours"]["spread"], record["theirs"]["spread"]) > SPREAD or not 1 - OFF <= own <= 1 + OFF

    return [record for record in records if is_disturbed(record)]


def run_again(
    cases: Iterable[Case],
    peers: Iterable[str],
    effort: Effort,
    file: Path,
    progress: Callable[[str, Case | None], None] = lambda peer, case: None,
) -> None:
    """Measure once more what was disturbed, each comparison once. The file keeps the first measurement, the last counts."""
    wanted, known = {case.key for case in cases}, load(file).records
    found = [(record["peer"], Case(**record["case"])) for record in disturbed(known) if "again" not in record]
    for peer in peers:
        todo = sorted((case for of, case in found if of == peer and case.key in wanted), key=lambda case: case.threads)
        for threads, group in groupby(todo, key=lambda case: case.threads):
            progress(peer, None)
            for line in serve(peer, threads, list(group), effort):
                if "record" in line:
                    append(file, line | {"record": line["record"] | {"again": True}})
                    progress(peer, Case(**line["case"]))


def append(file: Path, line: Line) -> None:
    """One line at the end of the file."""
    with file.open("a") as stream:
        print(json.dumps(line), file=stream)


def serve(peer: str, threads: int, cases: Sequence[Case], effort: Effort) -> Iterator[Line]:
    """The lines of one worker, with the peer's name; where it dies, the case it was at is refused and the rest go on."""
    left = list(cases)
    while left:
        order = {"peer": peer, "threads": threads, "cases": [asdict(c) for c in left], "effort": asdict(effort)}
        command = [sys.executable, "-m", "fastrnn.benchmark.worker"]
        worker = subprocess.Popen(
            command,
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            with suppress(BrokenPipeError):  # it died at once; there will be no lines
                worker.stdin.write(json.dumps(order))
                worker.stdin.close()
            for text in worker.stdout:
                line = json.loads(text) | {"peer": peer}
                yield line
                if "absent" in line:
                    return
                if "case" in line:
                    left.pop(0)
        finally:
            worker.kill()
            worker.wait()
        if left:
            yield {"peer": peer, "case": asdict(left.pop(0)), "refused": f"{peer}'s process ended with {worker.returncode}"}
