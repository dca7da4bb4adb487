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

from .._core.checks import describe
from ..json_reading import JsonError, parse
from ..serialization import FileFormatError
from .cases import Case
from .ceilings import Ceilings
from .measure import Effort
from .worker import environment

Line = dict[str, Any]
Progress = Callable[[str, Case | None], None]  # called with a peer that begins, and with each case that it has had


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


def _case_key(line: Line) -> tuple[Any, ...]:
    """What tells the cases of lines and records apart, as ``Case.key`` does."""
    return tuple(line["case"].values())


def _key(line: Line) -> tuple[Any, ...]:
    """What tells comparisons apart."""
    return (line["peer"], *_case_key(line))


def _read(file: Path) -> Iterator[Line]:
    """The lines of a file of results. Raises FileFormatError naming the file and the line that is damaged, and OSError."""
    for number, text in enumerate(file.read_bytes().splitlines(), 1):
        try:
            line = parse(text, nonfinite=True)
            if not isinstance(line, dict):
                raise JsonError(f"it must be an object, got {describe(line)}")
        except JsonError as error:
            raise FileFormatError(f"{file}, line {number} is damaged: {error}") from error
        yield line


def load(file: Path) -> Results:
    """What a file holds. Of what was measured more than once the last counts; of a peer that could not take part once and
    did another time, only the latter. Raises FileFormatError and OSError."""
    results = Results()
    for line in _read(file):
        results.add(line)
    latest = {_key(record): record for record in results.records}
    results.records = list(latest.values())
    there = {record["peer"] for record in results.records}
    results.absent = {peer: reason for peer, reason in results.absent.items() if peer not in there}
    results.refused = [line for line in results.refused if _key(line) not in latest]
    return results


def run(
    cases: Sequence[Case],
    peers: Iterable[str],
    effort: Effort,
    file: Path | None = None,
    progress: Progress = lambda peer, case: None,
) -> Results:
    """Measure the cases beside each peer. With a file: what it holds already is taken from there, and the rest is added."""
    results, done = Results(), set()
    if file and file.exists():
        for line in _read(file):
            if "record" in line or "unsupported" in line:  # a peer that was absent or refused has another chance
                results.add(line)
                done.add(_key(line))
    for peer in peers:
        left = [case for case in cases if (peer, *case.key) not in done]
        for line in _measured(peer, left, effort, progress):
            results.add(line)
            if file and "version" not in line:
                append(file, line)
    return results


def _measured(peer: str, cases: Iterable[Case], effort: Effort, progress: Progress) -> Iterator[Line]:
    """The lines of a peer's workers, one worker for each number of threads; none more once the peer is absent."""
    for threads, group in groupby(sorted(cases, key=lambda c: c.threads), key=lambda c: c.threads):
        progress(peer, None)
        for line in serve(peer, threads, list(group), effort):
            yield line
            if "absent" in line:
                return
            if "case" in line:
                progress(peer, Case(**line["case"]))


# A comparison is disturbed where a side's spread is above this share of its median, or where fastrnn's time is off by more
# than that share of its median over the processes of all peers.
SPREAD, OFF = 0.25, 0.1


def disturbed(records: Iterable[Line]) -> list[Line]:
    """The records of comparisons that something else ran into, such as a neighbour on the machine; whoever gained by it."""
    records = list(records)
    ours: dict[tuple[Any, ...], list[float]] = {}
    for record in records:
        ours.setdefault(_case_key(record), []).append(record["ours"]["median"])
    usual = {case: median(times) for case, times in ours.items()}

    def is_disturbed(record: Line) -> bool:
        own = record["ours"]["median"] / usual[_case_key(record)]
        return max(record["ours"]["spread"], record["theirs"]["spread"]) > SPREAD or not 1 - OFF <= own <= 1 + OFF

    return [record for record in records if is_disturbed(record)]


def run_again(
    cases: Iterable[Case],
    peers: Iterable[str],
    effort: Effort,
    file: Path,
    progress: Progress = lambda peer, case: None,
) -> None:
    """Measure once more what was disturbed, each comparison once. The file keeps the first measurement, the last counts."""
    wanted, known = {case.key for case in cases}, load(file).records
    found = [(record["peer"], Case(**record["case"])) for record in disturbed(known) if "again" not in record]
    for peer in peers:
        left = [case for of, case in found if of == peer and case.key in wanted]
        for line in _measured(peer, left, effort, progress):
            if "record" in line:
                append(file, line | {"record": line["record"] | {"again": True}})


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
                try:
                    line = parse(text, nonfinite=True) | {"peer": peer}
                except JsonError:  # it died in the middle of a line
                    break
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
