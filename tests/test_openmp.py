"""Calls on the workers of PyTorch's OpenMP library: equal bits, too few threads, nesting, forks, floating-point mode."""

import pytest

from fastrnn import threads

# A program that runs both directions and the backward pass of several cells, over the batch and over hidden units.
# Alarms end a process that hangs.
PROGRAM = """
import os, signal, sys, threading
signal.alarm(100)
import numpy as np, torch
import cases, fastrnn
from fastrnn import threads

CASES = [cases.make_case(cases.CELLS[i], *size, "float32") for i in (0, 3, 7)
         for size in ((20, 3, 40, 99), (6, 260, 9, 24))]
lstm = fastrnn.LSTM(20, 99, 2, bidirectional=True, rng=1, backend="c")
x = np.random.default_rng(0).standard_normal((9, 5, 20), "f4")

def results():
    lstm.zero_grad()
    (y, _), backward = lstm.forward(x, None, [9, 3, 1, 7, 9])
    both = [y, backward(y)[0], *(p.grad.copy() for p in lstm.parameters())]
    return both + [value for case in CASES for value in cases.run("c", case).values() if value is not None]

def right():
    return all(np.array_equal(a, b) for a, b in zip(results(), wanted, strict=True))

fastrnn.set_num_threads(1)
wanted = results()
fastrnn.set_num_threads(3)
assert threads.use_openmp_workers()
"""


@pytest.fixture
def run_torch(c, run_python):
    """Run a program after ``PROGRAM``."""
    pytest.importorskip("torch")

    def run(program, **environment):
        return run_python(PROGRAM + program, **environment)

    return run


def test_the_same_bits_on_either_workers_and_any_number_of_threads(run_torch):
    program = """
for torch_threads in (4, 1):
    torch.set_num_threads(torch_threads)
    for openmp in (False, True):
        assert threads.use_openmp_workers(openmp) == openmp
        for n in (1, 2, 3, 5):
            fastrnn.set_num_threads(n)
            torch.relu(torch.ones(1000, 1000))
            assert right(), (torch_threads, openmp, n)
"""
    run_torch(program)


@pytest.mark.slow
def test_calls_run_on_openmps_workers(run_torch):
    # Three of PyTorch's threads exist, so a call on them creates none. A call on the library's own workers creates two.
    program = """
def tasks():
    return set(os.listdir("/proc/self/task"))

torch.set_num_threads(3)
torch.relu(torch.ones(1000, 1000))
before = tasks()
assert right()
assert tasks() == before
threads.use_openmp_workers(False)
assert right()
assert len(tasks() - before) == 2
"""
    run_torch(program)


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit",
    [
        {"OMP_THREAD_LIMIT": "2"},
        {"OMP_THREAD_LIMIT": "1"},
        {"OMP_DYNAMIC": "true"},
    ],
)
def test_openmp_may_give_fewer_threads(run_torch, limit):
    run_torch("assert right() and right()", **limit)


@pytest.mark.slow
def test_a_forked_child_has_workers_of_its_own(run_torch):
    program = """
torch.relu(torch.ones(1000, 1000))
assert right()
for depth in range(2):
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
        if depth:
            os._exit(0)
        break
    signal.alarm(60)
    assert not fastrnn._fastrnn.lib.fastrnn_uses_openmp()
    assert right() and right()
    assert not threads.use_openmp_workers()
    assert right()
else:
    os._exit(0)
assert fastrnn._fastrnn.lib.fastrnn_uses_openmp()
assert right()
"""
    run_torch(program, OMP_NUM_THREADS="2")


@pytest.mark.slow
def test_fork_while_another_thread_runs_a_kernel(run_torch):
    program = """
fine, over = [], threading.Event()
def work():
    while not over.is_set():
        y = lstm(x)[0]
        fine.append(np.array_equal(y, expected))

expected = lstm(x)[0]
callers = [threading.Thread(target=work) for _ in range(2)]
for caller in callers:
    caller.start()
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        os._exit(0 if np.array_equal(lstm(x)[0], expected) else 1)
    assert os.waitpid(pid, 0)[1] == 0
over.set()
for caller in callers:
    caller.join(60)
    assert not caller.is_alive()
assert len(fine) >= 2 and all(fine)
"""
    run_torch(program, OMP_NUM_THREADS="2")


@pytest.mark.slow
def test_a_call_inside_a_parallel_region_is_alone(run_torch):
    # The body of the parallel region is Python, so each of its threads makes the call.
    program = """
import ctypes
BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
openmp, inside = ctypes.CDLL(None), []

@BODY
def body(_):
    inside.append((openmp.omp_in_parallel(), np.array_equal(lstm(x)[0], expected)))

expected = lstm(x)[0]
openmp.GOMP_parallel(body, None, 2, 0)
assert inside == [(1, True)] * 2, inside
"""
    run_torch(program)


@pytest.mark.slow
def test_callers_in_several_threads(run_torch):
    program = """
expected, fine = lstm(x)[0], []
def work():
    for _ in range(20):
        torch.relu(torch.ones(1000, 1000))
        fine.append(np.array_equal(lstm(x)[0], expected))

callers = [threading.Thread(target=work) for _ in range(3)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join(60)
assert fine == [True] * 60
"""
    run_torch(program, OMP_NUM_THREADS="2")


@pytest.mark.slow
def test_torchs_threads_keep_their_floating_point_mode(run_torch):
    # A sum over both of PyTorch's threads would lose the denormal numbers that a thread flushes to zero.
    program = """
torch.set_num_threads(2)
tiny = torch.full((1 << 16,), 1e-40)
def kept():
    return bool((tiny * 1 != 0).all())

assert kept()
for _ in range(3):
    results()
    assert kept()
"""
    run_torch(program)


def test_without_an_openmp_library_calls_keep_their_own_workers(c, run_python):
    program = """
import fastrnn, numpy as np
from fastrnn import threads
assert threads.use_openmp_workers() is False
fastrnn.set_num_threads(2)
lstm, x = fastrnn.LSTM(9, 200, rng=0), np.ones((20, 8, 9), "f4")
y = lstm(x)[0]
fastrnn.set_num_threads(1)
assert np.array_equal(lstm(x)[0], y)
"""
    run_python(program)


def test_without_a_c_library(monkeypatch):
    monkeypatch.setattr(threads, "_library", lambda: None)
    assert threads.use_openmp_workers() is False


def test_the_source_of_threads_is_shown(c, monkeypatch, capsys):
    from fastrnn import info

    for workers, shown in (("own", "the library's own"), ("openmp", "PyTorch's (OpenMP)")):
        monkeypatch.setattr(info, "_c_info", lambda workers=workers: c.info() | {"workers": workers})
        assert f"c workers:  {shown}; change it with fastrnn.threads.use_openmp_workers()" in info.text()
    before = c.info()["workers"] == "openmp"
    threads.use_openmp_workers(False)
    assert c.info()["workers"] == "own"
    threads.use_openmp_workers(before)
