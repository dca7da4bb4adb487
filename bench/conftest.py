"""Fixtures of ``pytest bench --peer onednn --threads 2 --subset quick``: one process, one peer, one number of threads."""

import os
from itertools import count

import pytest

from fastrnn.benchmark.cases import SUBSETS, cases
from fastrnn.benchmark.compare import Record, agreed
from fastrnn.benchmark.measure import Clock, Effort, prepare, rounds
from fastrnn.benchmark.peers import NAMES, Absent, Unsupported, load
from fastrnn.benchmark.worker import environment
from fastrnn.commands.arguments import integer, real


def pytest_addoption(parser):
    """Add the options of the benchmark."""
    group = parser.getgroup("fastrnn's benchmarks")
    group.addoption("--peer", choices=NAMES, default="torch", help="the library to compare with (default: torch)")
    group.addoption("--threads", type=integer(1, 256), default=1, help="threads of both sides (default: 1)")
    group.addoption("--subset", choices=tuple(SUBSETS), default="smoke", help="part of the grid (default: smoke)")
    group.addoption("--seconds", type=real(0, above=True), default=0.2, help="for each side of each case (default: 0.2)")


def pytest_configure(config):
    """Set the environment before any library is loaded."""
    os.environ.update(environment(config.getoption("--threads")))


def pytest_generate_tests(metafunc):
    """Parametrize a test by the cases of its module's question."""
    config = metafunc.config
    found = cases([metafunc.module.QUESTION], config.getoption("--subset"), [config.getoption("--threads")])
    metafunc.parametrize("case", found, ids=lambda case: case.name.replace(" ", "-").replace(",", ""))


@pytest.fixture(scope="session")
def sides(pytestconfig):
    """Return fastrnn and the peer, on the wanted number of threads."""
    try:
        found = load("fastrnn"), load(pytestconfig.getoption("--peer"))
    except Absent as error:
        pytest.skip(f"{pytestconfig.getoption('--peer')} did not take part: {error}")
    for side in found:
        side.use_threads(pytestconfig.getoption("--threads"))
    return found


@pytest.fixture
def versus(benchmark, sides, pytestconfig):
    """Return a function that measures a case in turns with the peer; pytest-benchmark records fastrnn's samples."""

    def measure(case):
        clock, effort = Clock(), Effort(pytestconfig.getoption("--seconds"))
        try:
            both, firsts = agreed(*sides, case, effort, clock)
        except Unsupported as error:
            pytest.skip(str(error))
        ours, theirs = turns = [prepare(side.run, effort, clock, first) for side, first in zip(both, firsts, strict=True)]
        number = count()

        def before_sample():
            if next(number) % ours.samples == 0:
                theirs.take(clock, effort)
                ours.settle(clock, effort)

        def sample():
            for _ in range(ours.calls):
                ours.run()

        benchmark.group = f"{case.name}" + (f" ({ours.calls} calls)" if ours.calls > 1 else "")
        benchmark.pedantic(sample, setup=before_sample, rounds=rounds(turns, effort) * ours.samples)
        ours.timing.samples = [seconds / ours.calls for seconds in benchmark.stats.stats.data]
        record = Record(case, sides[1].name, sides[1].version(), ours.timing, theirs.timing)
        benchmark.extra_info.update(record.as_json())
        print(f"\n{case.name}: {record.ratio:.2f} times as fast as {record.peer}")

    return measure
