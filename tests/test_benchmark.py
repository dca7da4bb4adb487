"""The benchmark is honest: it shows the times that a clock measured, and refuses comparisons without a meaning."""

import sys
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
from benchmark_records import CASE, CEILINGS, EFFORT, record
from tables import each_row

from fastrnn.benchmark import agreement, compare, run, statistics, table
from fastrnn.benchmark.cases import LENGTHS, MEDIUM, QUESTIONS, SUBSETS, Case, cases
from fastrnn.benchmark.ceilings import Ceilings
from fastrnn.benchmark.language import LanguageProblem
from fastrnn.benchmark.measure import Clock, Effort, Timing, alternate
from fastrnn.benchmark.peers import Absent, Unsupported, WrongThreads, load
from fastrnn.benchmark.peers.protocol import Side
from fastrnn.benchmark.problem import Problem


class Machine:
    """A machine whose clock advances only by work, by sleep and by its own noise."""

    def __init__(self, noise=0.0):
        self.time = self.used = 0.0
        self.noise, self.rng = noise, np.random.default_rng(0)
        self.log = []
        self.spins = 0.0  # how long other threads keep a processor busy after a call
        self.idle_from = 0.0
        self.clock = Clock(now=lambda: self.time, sleep=self.sleep, cpu=lambda: self.used)

    def sleep(self, seconds):
        self.used += min(seconds, max(0.0, self.idle_from - self.time))
        self.time += seconds
        self.log.append("pause")

    def work(self, seconds, name="", threads=1):
        taken = seconds * (1 + self.noise * self.rng.random())
        self.time += taken
        self.used += threads * taken
        self.idle_from = self.time + self.spins
        self.log.append(name)


class FakePeer:
    """A peer whose calls take a given time on a machine. It adds ``wrong`` to its result."""

    def __init__(self, machine, seconds, name="fake", wrong=0.0, threads=1):
        self.name = name
        y = np.linspace(-1, 1, 50, dtype=np.float32) + np.float32(wrong)
        side = Side(lambda: machine.work(seconds, name, threads), lambda _: {"y": y})
        self.sides = {"forward": lambda problem: side}

    def version(self):
        return "1"


def _compared(machine, ours, theirs):
    return compare.compare(ours, theirs, CASE, EFFORT, machine.clock)


@each_row("seconds", [2e-6, 1e-4, 5e-3, 0.5])
@each_row("slower", [1, 2, 10])
def test_a_slower_peer_shows_as_so_many_times_slower(seconds, slower):
    machine = Machine()
    record = _compared(machine, FakePeer(machine, seconds, "ours"), FakePeer(machine, slower * seconds, "theirs"))
    assert record.ratio == pytest.approx(slower, rel=1e-6)
    assert record.ours.median == pytest.approx(seconds, rel=1e-6)
    assert record.as_json()["ratio"] == record.ratio


def test_equal_sides_show_a_ratio_of_one_within_the_spread():
    machine = Machine(noise=0.3)
    record = _compared(machine, FakePeer(machine, 1e-3, "ours"), FakePeer(machine, 1e-3, "theirs"))
    spread = max(record.ours.spread, record.theirs.spread)
    assert 0.01 < spread < 0.3
    assert abs(record.ratio - 1) < spread


def test_the_sides_take_turns_with_a_pause_and_an_untimed_call_before_each():
    machine = Machine()
    timings = alternate([lambda: machine.work(1e-3, "a"), lambda: machine.work(1e-3, "b")], Effort(0.1), machine.clock)
    blocks = "".join(name if name != "pause" else " " for name in machine.log).split()
    turns = blocks[2:]  # after the warm-up of each
    assert [block[0] for block in turns[:10]] == ["a", "b"] * 5
    assert all(len(set(block)) == 1 for block in turns[:-1])
    assert len(timings[0].samples) == 20 * 5  # 20 ms of calls in each of five turns
    assert len(turns[0]) == 21


@pytest.mark.parametrize(("spins", "pauses"), [(0.0, 1), (0.003, 1), (0.092, 10)])
def test_the_pause_lasts_until_the_other_side_no_longer_spins(spins, pauses):
    machine = Machine()
    machine.spins = spins
    alternate([lambda: machine.work(1e-3, "a"), lambda: machine.work(1e-3, "b")], Effort(0.1), machine.clock)
    lasted = [len(list(group)) for name, group in groupby(machine.log) if name == "pause"]
    assert lasted == [1] + [pauses] * (len(lasted) - 1)
    assert len(lasted) == 2 + 2 * 5  # before each side's first call, and each turn


def test_a_neighbour_that_comes_half_way_disturbs_both_sides_alike():
    machine = Machine()

    def side():
        machine.work(1e-3 if machine.time < 0.3 else 3e-3)

    a, b = alternate([side, side], EFFORT, machine.clock)
    assert a.median == pytest.approx(b.median, rel=0.01)


@pytest.mark.parametrize(("seconds", "times"), [(0.045, 5), (2.0, 3)])
def test_a_long_call_is_measured_a_few_times_at_the_least(seconds, times):
    machine = Machine()
    a, b = alternate([lambda: machine.work(seconds / 2), lambda: machine.work(seconds)], EFFORT, machine.clock)
    assert len(a.samples) == len(b.samples) == times


def test_a_first_call_that_compiles_is_not_taken_for_the_calls_to_come():
    machine = Machine()
    calls = iter([1.0])
    a, b = alternate([lambda: machine.work(next(calls, 1e-4)), lambda: machine.work(1e-4)], EFFORT, machine.clock)
    assert a.first == pytest.approx(1.0)
    assert len(a.samples) == len(b.samples)


def test_the_spread_is_the_interquartile_range_over_the_median():
    timing = Timing(1.0, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert timing.median == 3.0
    assert timing.spread == pytest.approx((4.0 - 2.0) / 3.0)
    assert timing.best == 1.0


def test_a_peer_that_disagrees_is_refused_before_anything_is_timed():
    machine = Machine()
    with pytest.raises(agreement.Disagreement, match=r"y differs by .* of its largest value, more than 2e-04"):
        _compared(machine, FakePeer(machine, 1e-3), FakePeer(machine, 1e-3, wrong=1e-3))
    assert machine.log.count("fake") == 2


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"y": np.full(3, np.nan)}, "differs"),
        ({"y": np.ones(4)}, r"shape \(3,\) here and \(4,\) there"),
        ({"z": np.ones(3)}, "nothing to compare"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(theirs, message):
    with pytest.raises(agreement.Disagreement, match=message):
        agreement.require({"y": np.ones(3)}, theirs)


def test_a_peer_that_uses_more_threads_than_agreed_is_refused():
    machine = Machine()
    with pytest.raises(WrongThreads, match=r"greedy uses 2\.0 processors, not 1"):
        _compared(machine, FakePeer(machine, 1e-3), FakePeer(machine, 1e-3, "greedy", threads=2))


def test_a_wrong_number_of_threads_is_refused_by_an_adapter(monkeypatch):
    peer = load("fastrnn")
    monkeypatch.setattr("fastrnn.get_num_threads", lambda: 3)
    monkeypatch.setattr("fastrnn.set_num_threads", lambda n: None)
    with pytest.raises(WrongThreads, match="fastrnn runs on 3 threads, not on 2"):
        peer.use_threads(2)


def test_a_question_that_a_peer_does_not_answer_is_unsupported():
    machine = Machine()
    with pytest.raises(Unsupported, match="fake has no training"):
        compare.build(FakePeer(machine, 1.0), Problem(Case("training", "RNN", 4, 1, 1)))


@pytest.mark.parametrize("library", ["openvino", "numba"])
def test_a_library_that_is_missing_is_absent_with_the_reason(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"fastrnn.benchmark.peers.{library}_peer", raising=False)
    with pytest.raises(Absent, match=library):
        load(library)


def test_the_version_of_a_backend_is_that_of_its_library():
    numba = pytest.importorskip("numba")
    assert load("numba").version() == numba.__version__


def test_operations_follow_the_convention():
    case = Case("forward", "LSTM", 10, 3, 1, T=7)
    assert case.operations == 2 * 7 * 3 * 4 * 10 * (10 + 10)
    assert Case("training", "LSTM", 10, 3, 1, T=7).operations == 3 * case.operations


@pytest.mark.parametrize("question", ["forward", "training"])
def test_medium_is_compared_with_peers_that_multiply_bfloat16(question):
    case = Case(question, "LSTM", 64, 16, 1, T=5, variant=MEDIUM)
    with pytest.raises(Unsupported, match="numpy is not measured in bfloat16"):
        compare.build(load("numpy"), Problem(case))
    problem = Problem(case)
    exact, rounded = (load("torch").sides[question](p) for p in (Problem(replace(case, variant="")), problem))
    exact, rounded = (side.results(side.run()) for side in (exact, rounded))
    agreement.require(exact, rounded, agreement.BFLOAT16_TOLERANCE)
    with pytest.raises(agreement.Disagreement):  # so it did not run in float32
        agreement.require(exact, rounded)
    try:
        ours = load("fastrnn").sides[question](problem)
    except Unsupported as error:
        pytest.skip(str(error))
    agreement.require(ours.results(ours.run()), rounded, agreement.BFLOAT16_TOLERANCE)


def test_the_grid_is_whole():
    grid = cases(["forward"], "grid")
    assert len(grid) == len(set(grid)) == 3 * 4 * 4 * 2
    assert {case.question for case in cases(QUESTIONS, "smoke")} >= {"forward", "training", "step", "names", "sampling"}
    assert set(SUBSETS) >= {"grid", "quick", "smoke"}


def test_the_table_names_the_fastest_peer_and_the_shares_of_the_ceilings():
    case = Case("forward", "LSTM", 512, 1, 1)
    results = run.Results(
        records=[
            record(case, "torch", 2e-3, 8e-3),
            record(case, "onednn", 2e-3, 4e-3),
            record(case, "numba", 2e-3, 3e-3),
        ],
        absent={"jax": "No module named 'jax'"},
    )
    lines = list(table.lines(results, [case], {1: CEILINGS}))
    row = next(line for line in lines if line.startswith("forward  "))
    # 2 T B G H (I + H) = 419 million in 2 ms; R of 4 MiB, read 100 times at 100 GB/s, takes 4.2 ms
    expected = "forward LSTM 512 1 1 2 ms onednn 4 ms 2.00 ±0% 209.7 GFLOP/s 50% 210%"
    assert row.split() == expected.split()
    assert lines[-1] == "jax did not take part: No module named 'jax'"


def test_a_duration_has_three_digits():
    shown = {
        2e-8: "0.02 us",
        9.994e-4: "999 us",
        9.996e-4: "1 ms",
        0.9997: "1 s",
        1.234: "1.23 s",
        999.6: "1000 s",
        4321: "4321 s",
    }
    assert {seconds: table.duration(seconds) for seconds in shown} == shown


def test_the_table_has_the_means_of_our_own_backend_without_a_rival():
    known = cases(["forward"], "smoke", [1])
    results = run.Results(records=[record(case, "numba", 1.0, ratio) for case, ratio in zip(known, (1.0, 4.0), strict=True)])
    assert list(table.lines(results, known, {}))[-1] == "forward: geometric mean of the ratios: 2.00 numba"


def test_the_tokens_of_names_are_those_of_the_names():
    case = Case("names", "RNN", 8, 1, 1, T=10)
    texts = LanguageProblem(case).texts
    mean = sum(len(targets) for _, targets in texts) / len(texts)
    assert mean != case.T
    assert statistics.Statistics(case, [record(case, "torch", 2.0, 3.0)]).tokens == pytest.approx(mean / 2.0)


def test_padding_counts_neither_as_operations_nor_as_tokens():
    case = Case("training", "GRU", 16, 4, 1, T=8, variant=LENGTHS)
    found = statistics.Statistics(case, [record(case, "torch", 2.0, 3.0)])
    real = int(Problem(case).lengths.sum())
    assert 8 <= real < case.tokens
    assert found.tokens == real / 2.0
    assert found.rate == pytest.approx(3 * 2 * real * 3 * 16 * (16 + 16) / 2.0)


def test_geometric_mean():
    assert statistics.geometric_mean([1.0, 4.0]) == pytest.approx(2.0)


def test_ceilings_pick_the_level_that_holds_each_threads_part():
    read = {"L1": 4.0, "L2": 3.0, "L3": 2.0, "DRAM": 1.0}
    two = Ceilings(2, 1.0, read, {"L1": 100, "L2": 1000, "L3": 10000})
    assert [two.bandwidth(size) for size in (200, 2000, 10000, 10001)] == [4.0, 3.0, 2.0, 1.0]


def test_c_counts_the_work_that_it_did(c):
    from fastrnn.backends._c.library import aligned, ffi, lib, settings

    one = lib.fastrnn_measure_fma(settings.isa, lib.FASTRNN_FLOAT32, 1, 10)
    assert one > 0
    assert lib.fastrnn_measure_fma(settings.isa, lib.FASTRNN_FLOAT32, 1, 30) == 3 * one
    buffer = aligned(1 << 16)
    buffer.fill(0)
    for threads in (1, 2):
        read = lib.fastrnn_measure_read(
            settings.isa, lib.FASTRNN_FLOAT32, threads, 5, ffi.from_buffer(buffer), buffer.nbytes
        )
        assert read == 5 * (1 << 16)
