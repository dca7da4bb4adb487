"""Many threads: the GIL, concurrent callers, buffers that threads share, and where workers may run."""

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import cases
import numpy as np
import pytest
from at_once import at_once
from fast_backends import C_QUICK, EVERY_BACKEND

import fastrnn


@pytest.fixture
def no_forced_switches():
    """Make threads switch only if one releases the GIL by itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


@C_QUICK
def test_other_threads_run_during_a_kernel(backend, no_forced_switches):
    case = cases.make_case(cases.CELLS[6], 200, 32, 128, 256, "float32")
    cases.run(backend, cases.make_case(cases.CELLS[6], 1, 1, 128, 256, "float32"))  # Numba compiles now
    counted, over = 0, threading.Event()

    def count():
        nonlocal counted
        while not over.is_set():
            counted += 1
            time.sleep(0)  # releases the GIL

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    tape = cases.forward(backend, case).tape
    during_forward = counted
    cases.backward(tape, case)
    during_backward = counted - during_forward
    over.set()
    thread.join()
    assert during_forward > 100
    assert during_backward > 100


@EVERY_BACKEND
def test_threads_share_a_layer(backend):
    lstm = fastrnn.LSTM(33, 100, 2, bidirectional=True, rng=0, backend=backend)
    xs = [np.random.default_rng(seed).standard_normal((5, 50, 33)).astype(np.float32) for seed in range(3)]
    wanted = [lstm(x)[0] for x in xs]

    def many(x):
        return [lstm(x)[0] for _ in range(10)]

    for want, got in zip(wanted, at_once([lambda x=x: many(x) for x in xs]), strict=True):
        for y in got:
            np.testing.assert_array_equal(y, want)


@EVERY_BACKEND
def test_threads_that_train_one_layer_add_all_their_gradients(backend):
    gru = fastrnn.GRU(9, 64, rng=0, dtype="float64", backend=backend)
    x = np.random.default_rng(0).standard_normal((5, 50, 9))

    def step():
        (y, _), backward = gru.forward(x)
        return y, backward(y)[0]

    y, dx = step()
    wanted = {name: p.grad.copy() for name, p in gru.named_parameters()}
    gru.zero_grad()
    for got_y, got_dx in at_once([step] * 8):
        np.testing.assert_array_equal(got_y, y)
        np.testing.assert_array_equal(got_dx, dx)
    for name, parameter in gru.named_parameters():
        assert cases.relative_error(parameter.grad, 8 * wanted[name]) < 1e-14, name


@EVERY_BACKEND
def test_many_threads_with_work_of_many_sizes(backend):
    sizes = [(3, 50, 9, 100), (5, 2, 4, 130), (4, 1, 3, 5), (20, 7, 8, 33)]
    work = [
        cases.make_case(variant, *size, "float32", lengths=True)
        for variant in (cases.CELLS[1], cases.CELLS[3], cases.CELLS[9])
        for size in sizes
    ]
    wanted = [cases.run(backend, case) for case in work]

    def worker(seed):
        for i in np.random.default_rng(seed).integers(len(work), size=20):
            got = cases.run(backend, work[i])
            for key, value in wanted[i].items():
                np.testing.assert_array_equal(got[key], value, err_msg=key)

    at_once([lambda seed=seed: worker(seed) for seed in range(8)])


def test_the_number_of_threads_may_change_between_sizing_and_running(c, set_threads, monkeypatch):
    guard = 16 * 96 * 1024 * 4  # more than fifteen further threads would write

    def workspace(size):
        guarded.append((c.aligned(size + guard), size))
        guarded[-1][0][size:] = 77
        set_threads(16)  # another Python thread may do this at any moment
        return c.ffi.from_buffer(guarded[-1][0])

    guarded = []
    case = cases.make_case(cases.CELLS[0], 2, 400, 1000, 16, "float32")
    set_threads(1)
    tape = cases.forward("c", case).tape
    monkeypatch.setattr(c, "take_workspace", workspace)
    cases.backward(tape, case)
    assert fastrnn.LSTM(1000, 16, backend="c").plan(2, 400)[0].threads == 16
    assert all((memory[size:] == 77).all() for memory, size in guarded)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells where a thread may run")
def test_workers_may_run_where_they_could_before_they_were_woken(c):
    def allowed():
        found = {}
        for task in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                found[task.name] = os.sched_getaffinity(int(task.name))
        return found

    layer, x = fastrnn.LSTM(256, 256, backend="c"), np.ones((20, 32, 256), np.float32)
    layer(x)  # starts the pool's workers
    before = allowed()
    for _ in range(20):
        time.sleep(0.005)  # the workers fall asleep
        layer(x)
        after = allowed()
        assert all(before[name] == after[name] for name in before.keys() & after.keys())


@pytest.mark.parametrize("cell", [fastrnn.RNN, fastrnn.GRU, fastrnn.LSTM])
def test_two_directions_side_by_side_give_the_bits_of_one_after_the_other(set_threads, cell):
    rng, results = np.random.default_rng(0), []
    x, dy = rng.standard_normal((9, 5, 20), "f4"), rng.standard_normal((9, 5, 66), "f4")
    for threads in (1, 2, 3):
        set_threads(threads)
        layer = cell(20, 33, 2, bidirectional=True, rng=1, backend="c")
        (y, _), backward = layer.forward(x, None, [9, 3, 1, 7, 9])
        dx, _ = backward(dy)
        results.append([y, dx, *(p.grad for p in layer.parameters())])
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.slow
def test_a_slow_threads_buffers_are_not_overwritten(set_threads):
    # With more threads than processors, some fall behind by a whole chunk; the others must not reuse that chunk's buffers.
    gru, rng = fastrnn.GRU(25, 25, rng=1), np.random.default_rng(0)
    for _ in range(60):
        x, lengths = rng.standard_normal((150, 6, 25), dtype=np.float32), rng.integers(1, 151, 6)
        set_threads(1)
        wanted, h_n = gru(x, None, lengths)
        set_threads(6)
        assert gru.plan(150, 6)[0].split == "batch"
        y, h = gru(x, None, lengths)
        np.testing.assert_array_equal(y, wanted)
        np.testing.assert_array_equal(h, h_n)
