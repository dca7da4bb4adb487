"""Threads: the GIL, concurrent callers, forks, the number of threads, threadpoolctl, the caller's floating-point mode."""

import importlib
import multiprocessing
import os
import re
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import cases
import numpy as np
import pytest
from at_once import at_once
from tables import each_row

import fastrnn
from fastrnn import backends
from fastrnn._core.checks import SettingError
from fastrnn.backends.structs import CellSpec, StackSpec

FAST_BACKENDS = [name for name in backends.available() if name != "reference"]
EVERY_BACKEND = pytest.mark.parametrize("backend", FAST_BACKENDS)
C_QUICK = pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.slow if name == "numba" else ()) for name in FAST_BACKENDS]
)


# The GIL, and concurrent callers.


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


# Forks. Each parent has used its pool of two threads before; alarms end a child that hangs.

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


# The number of threads.


@each_row("n", [0, -1, 257, 10**12])
def test_a_number_of_threads_out_of_range(n):
    before = fastrnn.get_num_threads()
    with pytest.raises(ValueError, match=rf"n must be at (least 1|most 256), got {n}"):
        fastrnn.set_num_threads(n)
    assert fastrnn.get_num_threads() == before


@each_row("n", [1.0, "2", None, True, [2], np.array([2])])
def test_values_that_are_not_a_number_of_threads(n):
    with pytest.raises(TypeError, match="n must be an integer, got "):
        fastrnn.set_num_threads(n)


@each_row("n", [1, 2, np.int32(3), 256])
def test_setting_the_number_of_threads(c, set_threads, n):
    set_threads(n)
    assert fastrnn.get_num_threads() == c.info()["threads"] == n
    # At most one thread for each panel of hidden units, which is a vector of them.
    isa = c.info()["isa"]
    panels = 512 // (16 if isa.startswith(("amx", "avx512")) else 8 if isa == "avx2" else 4)
    assert [plan.threads for plan in fastrnn.LSTM(8, 512, 2, backend="c").plan(20, 3)] == [min(n, panels)] * 2
    assert fastrnn.LSTM(8, 8, backend="c").plan(1, 1)[0].threads == 1


SHOW = "import fastrnn; print(fastrnn.get_num_threads(), fastrnn.LSTM(64, 512).plan(64, 32)[0].threads)"


@pytest.mark.parametrize("n", [pytest.param("1", marks=pytest.mark.slow), pytest.param("2", marks=pytest.mark.slow), "3"])
def test_threads_from_the_environment(c, run_python, n):
    assert run_python(SHOW, FASTRNN_NUM_THREADS=n).stdout.split() == [n, n]


def test_threads_by_default_are_the_processors_that_may_be_used(c, run_python):
    program = "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n" + SHOW
    assert run_python(program, FASTRNN_NUM_THREADS="").stdout.split() == ["1", "1"]


def test_bad_threads_in_the_environment(c, run_python, monkeypatch):
    library = importlib.import_module("fastrnn.backends._c.library")

    def error_of(value):
        return f"FASTRNN_NUM_THREADS must be an integer from 1 to 256, got {value!r}"

    for value in ("0", "-1", "two", "1.5", "²", " "):
        monkeypatch.setenv("FASTRNN_NUM_THREADS", value)
        with pytest.raises(SettingError, match=f"^{re.escape(error_of(value))}$"):
            type(library.settings)()
    error = run_python(SHOW, fails=True, FASTRNN_NUM_THREADS="two").stderr
    assert error.splitlines()[-1] == f"fastrnn._core.checks.SettingError: {error_of('two')}"


def test_threadpoolctl_sees_limits_and_restores(c, set_threads):
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def seen():
        (pool,) = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "fastrnn"]
        return pool

    set_threads(3)
    assert seen()["num_threads"] == 3
    assert seen()["version"] == fastrnn.__version__
    layer = fastrnn.LSTM(64, 512, backend="c")
    with threadpoolctl.threadpool_limits(1):
        assert (seen()["num_threads"], fastrnn.get_num_threads(), layer.plan(64, 32)[0].threads) == (1, 1, 1)
    assert (seen()["num_threads"], fastrnn.get_num_threads(), layer.plan(64, 32)[0].threads) == (3, 3, 3)
    with threadpoolctl.threadpool_limits(2, user_api="fastrnn"):
        assert fastrnn.get_num_threads() == 2
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert fastrnn.get_num_threads() == 3
    assert fastrnn.get_num_threads() == 3


@pytest.mark.parametrize("first", ["threadpoolctl, fastrnn", pytest.param("fastrnn, threadpoolctl", marks=pytest.mark.slow)])
def test_threadpoolctl_limits_before_the_first_use(c, run_python, first):
    pytest.importorskip("threadpoolctl")
    program = f"""
import {first}
with threadpoolctl.threadpool_limits(1):
    print(fastrnn.LSTM(64, 512).plan(64, 32)[0].threads)
print(fastrnn.LSTM(64, 512).plan(64, 32)[0].threads)
"""
    assert run_python(program, FASTRNN_NUM_THREADS="2").stdout.split() == ["1", "2"]


@pytest.fixture
def avx512(c):
    """Return the number of the ISA with which plans were measured; skip the test if the processor lacks it."""
    isa = c.lib.fastrnn_isa_find(b"avx512")
    if isa < 0 or not c.lib.fastrnn_isa_runs(isa):  # a plan asks the kernels for their layout, which runs their code
        pytest.skip("measured with AVX-512, which this processor lacks")
    return isa


# The fastest measured split, or one within 5 % of it, on two Zen 5 cores with T = 100 and I = H.
MEASURED = [
    ("rnn", 32, 1, "none", "none"),
    ("rnn", 32, 8, "batch", "batch"),
    ("rnn", 32, 128, "batch", "batch"),
    ("rnn", 128, 1, "hidden", "hidden"),
    ("rnn", 128, 4, "hidden", "batch"),
    ("rnn", 128, 128, "batch", "batch"),
    ("rnn", 1024, 1, "hidden", "hidden"),
    ("rnn", 1024, 8, "hidden", "hidden"),
    ("gru", 32, 1, "none", "none"),
    ("gru", 32, 4, "batch", "batch"),
    ("gru", 32, 8, "batch", "batch"),
    ("gru", 128, 1, "hidden", "hidden"),
    ("gru", 128, 8, "hidden", "batch"),
    ("gru", 512, 8, "hidden", "hidden"),
    ("lstm", 32, 1, "none", "batch"),
    ("lstm", 32, 8, "batch", "batch"),
    ("lstm", 32, 128, "batch", "batch"),
    ("lstm", 128, 1, "hidden", "hidden"),
    ("lstm", 128, 8, "hidden", "batch"),
    ("lstm", 1024, 1, "hidden", "hidden"),
    ("lstm", 1024, 8, "hidden", "hidden"),
    ("lstm", 1024, 32, "hidden", "hidden"),
]


@each_row(("cell", "H", "B", "forward", "backward"), MEASURED)
def test_the_plan_is_what_was_measured_to_be_fastest(avx512, cell, H, B, forward, backward):
    spec = CellSpec(cell, H, H)
    for pass_, split in enumerate((forward, backward)):
        assert cases.planned(spec, 100, B, pass_, avx512, 2) == (split, 1 if split == "none" else 2)
        assert cases.planned(spec, 100, B, pass_, avx512, 1) == ("none", 1)


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


@each_row(
    ("cell", "H", "split"),
    [("rnn", 256, "none"), ("rnn", 512, "hidden"), ("gru", 128, "none"), ("gru", 256, "hidden"),
     ("lstm", 64, "none"), ("lstm", 128, "none"), ("lstm", 256, "hidden"), ("lstm", 512, "hidden")],
)  # fmt: skip
def test_a_single_step_is_split_where_its_weights_fit_two_caches_and_not_one(avx512, cell, H, split):
    spec = CellSpec(cell, H, H)
    assert cases.planned(spec, 1, 1, False, avx512, 2) == (split, 1 if split == "none" else 2)


@pytest.mark.parametrize(("H", "B"), [(32, 1), (128, 8), (512, 32)])
def test_two_directions_run_at_once_if_there_is_a_thread_for_each(set_threads, H, B):
    spec = CellSpec("lstm", H, H)
    for threads, together in ((1, 1), (2, 2)):
        set_threads(threads)
        plan = backends.load("c").plan(StackSpec(spec, directions=2), 50, B)[0]
        assert (plan.at_once, plan.threads) == (together, 1)
        assert backends.load("c").plan(StackSpec(spec), 50, B)[0].at_once == 1


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


# Denormal numbers.


def _denormal_is_kept():
    return np.float32(1e-40) * np.float32(1) != 0 and np.float64(1e-310) * np.float64(1) != 0


def test_the_callers_floating_point_mode_is_left_alone(engine):
    case = cases.make_case(cases.CELLS[6], 6, 50, 9, 100, "float32")
    assert _denormal_is_kept()
    cases.run(engine, case)
    assert _denormal_is_kept()
    assert at_once([lambda: (cases.run(engine, case), _denormal_is_kept())[1]] * 3) == [True] * 3


def test_a_caller_that_flushes_denormals_goes_on_doing_so(engine):
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("torch cannot flush denormals here")
    try:
        cases.run(engine, cases.make_case(cases.CELLS[6], 6, 50, 9, 100, "float32"))
        assert not _denormal_is_kept()
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("variant", cases.CELLS, ids=cases.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormal_inputs_are_as_good_as_zero(engine, variant, dtype):
    tiny = 1e-40 if dtype == "float32" else 1e-310
    case = cases.make_case(variant, 5, 7, 6, 19, dtype)
    for key in ("h0", "c0", "dh_n", "dc_n", "dc"):
        if getattr(case, key) is not None:
            getattr(case, key).fill(0)
    case.x.fill(tiny)
    got = cases.run(engine, case)
    case.x.fill(0)
    wanted = cases.run(engine, case)
    for key in wanted:
        np.testing.assert_allclose(got[key], wanted[key], rtol=0, atol=1e-30, err_msg=key)


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
