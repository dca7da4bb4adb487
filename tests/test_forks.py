"""Forked and spawned processes compute the right values, also if other threads run kernels."""

import multiprocessing

import cases
import pytest
from fast_backends import C_QUICK, EVERY_BACKEND, FAST_BACKENDS

FORKING = """
import os, signal, sys, threading
import numpy as np
import cases, fastrnn
from fastrnn import backends
from fastrnn.backends.structs import CellSpec, StackSpec

BACKEND = {backend!r}
fastrnn.set_num_threads(2)
case = cases.make_case(cases.CELLS[7], 6, 50, 9, 100, "float32", lengths=True)
if BACKEND == "c":
    assert backends.load("c").plan(StackSpec(case.spec), 6, 50)[0].threads == 2
wanted = cases.run(BACKEND, case)

def right():
    got = cases.run(BACKEND, case)
    return all(np.array_equal(got[key], wanted[key]) for key in wanted)

def child():
    '''Whether a forked child computes the right thing, twice, and its own child too.'''
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        if BACKEND == "c":
            assert backends.load("c").plan(StackSpec(case.spec), 6, 50)[0].threads == 2
        ok = right() and right()
        if ok and len(sys.argv) == 1:
            sys.argv.append("grandchild")
            ok = child()
        os._exit(0 if ok else 1)
    return os.waitpid(pid, 0)[1] == 0
"""


@EVERY_BACKEND
def test_fork_after_use(backend, run_python):
    program = FORKING.format(backend=backend) + "assert right()\nassert child()\nassert right()\nassert child()"
    run_python(program)


@C_QUICK  # Numba has no threads of its own; test_fork_after_use covers it
def test_fork_while_another_thread_runs_a_kernel(backend, run_python):
    program = (
        FORKING.format(backend=backend)
        + """
over, results = threading.Event(), []
def work():
    while not over.is_set():
        results.append(right())
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
children = [child() for _ in range(5)]
over.set()
for thread in threads:
    thread.join(60)
    assert not thread.is_alive()
assert all(children) and all(results) and len(results) >= 2, (children, results)
"""
    )
    run_python(program)


def test_a_forked_child_trains_a_layer_that_another_thread_trained(c, run_python):
    program = (
        FORKING.format(backend="c")
        + """
gru, x = fastrnn.GRU(9, 64, rng=0), np.ones((5, 2, 9), np.float32)
(y, _), backward = gru.forward(x)
held, over = threading.Event(), threading.Event()
def hold():
    with gru._lock:  # as in a backward pass of its own
        held.set()
        over.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    backward(y)
    os._exit(0 if gru.weight_hh_l0.grad.any() else 1)
over.set()
assert os.waitpid(pid, 0)[1] == 0
"""
    )
    run_python(program)


@pytest.mark.parametrize(
    ("backend", "method"),
    [
        pytest.param(backend, method, marks=pytest.mark.slow if (backend, method) == ("numba", "spawn") else ())
        for backend in FAST_BACKENDS
        for method in ("fork", "spawn")
    ],
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_multiprocessing(backend, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    wanted = cases.digest(backend)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(cases.digest, [backend] * 4).get(timeout=100) == [wanted] * 4
    assert cases.digest(backend) == wanted


@pytest.mark.slow
def test_eight_threads_call_fork_and_change_weights(c, run_python):
    run_python("import sys, thread_stress; sys.exit(thread_stress.main(20))")
