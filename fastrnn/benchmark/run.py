"""Comparisons with all peers, in a worker process for each peer and number of threads.

Results are appended to a file as they come, so a stopped run continues where it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from ..json_reading import JsonError, parse
from ..serialization import FileFormatError
from . import result_lines
from .cases import Case
from .ceilings import Ceilings
from .measure import Effort
from .worker import environment

Line = dict[str, Any]
Progress = Callable[[str, Case | None], None]  # called with a peer that starts, and after each of its cases


@dataclass(slots=True)
class Results:
    """Results of a run: records, comparisons that are missing and why, the machine, and its ceilings."""

    records: list[Line] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    refused: list[Line] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    machine: Line = field(default_factory=dict)
    ceilings: dict[int, Ceilings] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Add one line of a worker."""
        if "record" in line:
            self.records.append(line["record"])
        elif "absent" in line:
            self.absent[line["peer"]] = line["absent"]
        elif "refused" in line:
            self.refused.append(line)
        elif "unsupported" in line:
            if line["unsupported"] not in self.unsupported:
                self.unsupported.append(line["unsupported"])
        elif "machine" in line:
            self.machine = line["machine"]
        elif "ceilings" in line:
            self.ceilings[line["ceilings"]["threads"]] = Ceilings(**line["ceilings"])

    def not_compared(self) -> Iterator[str]:
        """Yield why comparisons are missing. Questions that a peer does not support come only if nothing was measured."""
        yield from () if self.records else self.unsupported
        for line in self.refused:
            yield f"refused: {line['peer']}, {Case(**line['case']).name}: {line['refused']}"
        for peer, reason in self.absent.items():
            yield f"{peer} did not take part: {reason}"


def _case_key(line: Line) -> tuple[Any, ...]:
    """Return the values that identify the case of a line or record, as ``Case.key``."""
    return Case(**line["case"]).key


def _key(line: Line) -> tuple[Any, ...]:
    """Return the values that identify a comparison."""
    return (line["peer"], *_case_key(line))


def _read(file: Path) -> Iterator[Line]:
    """Yield the lines of a file of results. Raises FileFormatError, which names a damaged line and field, and OSError."""
    for number, text in enumerate(file.read_bytes().splitlines(), 1):
        try:
            line = parse(text, nonfinite=True)
            result_lines.check(line)
        except ValueError as error:
            raise FileFormatError(f"{file}, line {number} is damaged: {error}") from error
        yield line


def load(file: Path) -> Results:
    """Return the results in a file. Raises FileFormatError and OSError.

    The last measurement of a comparison counts. A peer that took part once is not absent.
    """
    results = Results()
    for line in _read(file):
        if results.machine and "machine" in line:
            _require_same(results.machine, line["machine"], file)
        results.add(line)
    latest = {_key(record): record for record in results.records}
    results.records = list(latest.values())
    present = {record["peer"] for record in results.records}
    results.absent = {peer: reason for peer, reason in results.absent.items() if peer not in present}
    results.refused = [line for line in results.refused if _key(line) not in latest]
    return results


# Properties of a machine whose results may stand in one file, because a page describes one machine and one version.
SAME = ("processor", "processors", "isa", "fastrnn")


def _require_same(there: Line, machine: Line, file: Path) -> None:
    """Raise FileFormatError unless both machines are the same."""
    found, wanted = (", ".join(f"{name} {each.get(name)}" for name in SAME) for each in (there, machine))
    if found != wanted:
        use = "--fresh empties it, and --file names another"
        raise FileFormatError(f"{file} must have results of one machine and version: {wanted}; got: {found} ({use})")


def begin(file: Path, machine: Line, fresh: bool = False) -> None:
    """Prepare a file for more results of this machine; ``fresh`` empties it. A missing or empty file is begun.

    Raises FileFormatError if the file does not hold results, and then leaves it unchanged. Raises OSError.
    """
    if file.exists() and file.stat().st_size:
        if fresh:
            _require_results(file)
            os.truncate(file, 0)
        else:
            results = load(file)
            if not results.machine:
                raise FileFormatError(f"{file} is not a file of results: expected a line with the machine, got none")
            _require_same(results.machine, machine, file)
    append(file, {"machine": machine})


def _require_results(file: Path) -> None:
    """Raise FileFormatError unless the first line describes a machine, as in a results file of any version."""
    with file.open("rb") as stream:
        first = stream.readline(1 << 16)
    try:
        machine = parse(first, nonfinite=True)["machine"]
        machine["processor"], machine["fastrnn"]
    except (JsonError, LookupError, TypeError):
        wanted = "its first line must describe the machine"
        raise FileFormatError(
            f"{file} is not a file of results, so it is not emptied: {wanted}, got {first[:60]!r}"
        ) from None


def run(
    cases: Sequence[Case],
    peers: Iterable[str],
    effort: Effort,
    file: Path | None = None,
    progress: Progress = lambda peer, case: None,
    results: Results | None = None,
) -> Results:
    """Compare with each peer in all cases. Results in ``file`` are used, and missing ones are measured and appended.

    ``results`` is filled as they come and returned, so a caller that is interrupted has them.
    """
    results, done = Results() if results is None else results, set()
    if file and file.exists():
        for line in _read(file):
            if "record" in line or "unsupported" in line:  # absent peers and refused comparisons are tried again
                results.add(line)
                done.add(_key(line))
    for peer in dict.fromkeys(peers):
        left = [case for case in dict.fromkeys(cases) if (peer, *case.key) not in done]
        for line in _measured(peer, left, effort, progress):
            results.add(line)
            if file and "version" not in line:
                append(file, line)
    return results


def _measured(peer: str, cases: Iterable[Case], effort: Effort, progress: Progress) -> Iterator[Line]:
    """Yield the lines of a peer's workers, one worker for each number of threads, until the peer is absent."""
    for threads, group in groupby(sorted(cases, key=lambda c: c.threads), key=lambda c: c.threads):
        progress(peer, None)
        for line in serve(peer, threads, list(group), effort):
            yield line
            if "absent" in line:
                return
            if "case" in line:
                progress(peer, Case(**line["case"]))


# A comparison is disturbed if a side's spread is above SPREAD, or if fastrnn's time differs by more than the share OFF from
# its median over the processes of all peers.
SPREAD, OFF = 0.25, 0.1


def disturbed(records: Iterable[Line]) -> list[Line]:
    """Return the records that other work on the machine disturbed, whichever side gained by it."""
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
    cases: Iterable[Case], peers: Iterable[str], effort: Effort, file: Path, progress: Progress = lambda peer, case: None
) -> None:
    """Measure each disturbed comparison once more and append it to the file. The last measurement counts."""
    wanted, known = {case.key for case in cases}, load(file).records
    found = [(record["peer"], Case(**record["case"])) for record in disturbed(known) if "again" not in record]
    for peer in dict.fromkeys(peers):
        left = [case for of, case in found if of == peer and case.key in wanted]
        for line in _measured(peer, left, effort, progress):
            if "record" in line:
                append(file, line | {"record": line["record"] | {"again": True}})


def append(file: Path, line: Line) -> None:
    """Append one line to the file, completely or not at all. Raises OSError, such as for a full disk."""
    data = memoryview(f"{json.dumps(line)}\n".encode())
    with file.open("ab", buffering=0) as stream:
        end = stream.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[stream.write(data) :]
        except BaseException:
            stream.truncate(end)
            raise


def serve(peer: str, threads: int, cases: Sequence[Case], effort: Effort) -> Iterator[Line]:
    """Yield the lines of one worker with the peer's name. If it dies, its case is refused and a new worker does the rest."""
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
            with suppress(BrokenPipeError):  # it died at once, so there are no lines
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
