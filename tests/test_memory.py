"""The memory pool: after warming up, a training step takes no memory from the operating system."""

import ctypes
import gc
import os
import tracemalloc
from functools import partial

import numpy as np
import pytest
from at_once import at_once
from tables import each_row

import fastrnn
from fastrnn._core import memory
from fastrnn._core.memory import ALIGNMENT, SMALLEST_POOLED, SPARE_BYTES, Pool, empty, pool, zeros

LARGE = SMALLEST_POOLED  # bytes


@pytest.fixture(autouse=True, scope="module")
def _without_the_garbage_of_other_files():
    """Collect garbage now, so that no blocks return while a test here counts, and freeze the rest."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def own_pool(monkeypatch):
    """Give a test a new pool: that of the process may let go of all its free blocks at any return of one."""
    monkeypatch.setattr(memory, "_pool", Pool())


def _address(array):
    return array.__array_interface__["data"][0]


# Arrays from the pool.


@each_row("dtype", ["float32", "float64", "int64", "uint8", np.dtype("float32")])
@each_row("shape", [LARGE, (LARGE,), (3, 5, LARGE), (LARGE, 1, 7), (2**20 + 1,)])
def test_arrays_are_as_asked_for_and_begin_on_a_cache_line(shape, dtype):
    for make in (empty, zeros):
        array = make(shape, dtype)
        assert array.shape == (shape if isinstance(shape, tuple) else (shape,))
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert _address(array) % ALIGNMENT == 0
    assert not array.any()


@each_row("shape", [(), (0,), (3, 0, 5), 0, (7,), (4, LARGE, 0)])
def test_small_and_empty_arrays(shape):
    used = pool().used_bytes
    array = zeros(shape, "float64")
    assert array.shape == np.zeros(shape).shape
    assert not array.any()
    assert pool().used_bytes == used


def test_memory_is_used_again(own_pool):
    array = empty((500, 1000))
    address, used = _address(array), pool().used_bytes
    del array
    assert pool().used_bytes < used
    again = empty((1000, 499))  # of the same size class
    assert _address(again) == address
    assert pool().used_bytes == used


def test_two_arrays_in_use_never_share():
    arrays = [empty((n, 1000)) for n in (50, 51, 50, 400, 50)]
    for i, array in enumerate(arrays):
        array.fill(i)
    for i, array in enumerate(arrays):
        assert (array == i).all()
        assert not any(np.shares_memory(array, other) for other in arrays[:i])


@each_row(
    "view_of",
    [
        lambda a: a[3:5],
        lambda a: a.T[::7, ::-1],
        lambda a: a.reshape(-1, 10)[:, 0],
        lambda a: a.view(np.int32)[1],
        lambda a: memoryview(a)[2:],
        lambda a: np.lib.stride_tricks.as_strided(a[10], (5,), (4,)),
        lambda a: (ctypes.c_float * 10).from_buffer(a),
    ],
)
def test_a_view_keeps_the_memory_of_its_array(own_pool, view_of):
    array = empty((300, 1000))
    array.fill(1)
    address = _address(array)
    view = view_of(array)
    before = bytes(view)
    del array
    other = empty((300, 1000))
    assert _address(other) != address
    other.fill(2)
    assert bytes(view) == before
    del view
    gc.collect()
    assert _address(empty((300, 1000))) == address


def test_zeros_in_used_memory(own_pool):
    array = empty(LARGE)
    array.fill(np.nan)
    address = _address(array)
    del array
    again = zeros(LARGE)
    assert _address(again) == address
    assert not again.any()


def test_sizes_round_up_by_an_eighth_at_most():
    a_pool = Pool()
    for size in np.random.default_rng(0).integers(LARGE, 2**30, size=1000).tolist():
        before = a_pool.used_bytes
        block_size = memory._size_class(size)
        assert size <= block_size <= size * 1.125 + 4096
        assert a_pool.used_bytes == before


# The pool itself.


def test_counters_of_a_pool():
    a_pool = Pool()
    block = a_pool.take(100_000)
    assert block.nbytes == a_pool.used_bytes == a_pool.peak_bytes >= 100_000
    a_pool.give_back(block)
    assert (a_pool.used_bytes, a_pool.free_bytes) == (0, block.nbytes)
    assert a_pool.take(100_000) is block
    assert (a_pool.used_bytes, a_pool.free_bytes, a_pool.peak_bytes) == (block.nbytes, 0, block.nbytes)


def test_counters_after_memory_has_run_out():
    a_pool = Pool()
    block = a_pool.take(100_000)
    with pytest.raises(MemoryError):
        a_pool.take(2**60)
    assert (a_pool.used_bytes, a_pool.peak_bytes, a_pool.free_bytes) == (block.nbytes, block.nbytes, 0)
    a_pool.give_back(block)
    assert (a_pool.used_bytes, a_pool.peak_bytes, a_pool.free_bytes) == (0, block.nbytes, block.nbytes)


def test_cached_memory_is_bounded_for_changing_sizes():
    a_pool, rng = Pool(), np.random.default_rng(0)
    in_use = []
    for _ in range(3000):
        in_use.append(a_pool.take(int(rng.integers(LARGE, 2**22))))
        if len(in_use) > rng.integers(1, 12):
            a_pool.give_back(in_use.pop(int(rng.integers(len(in_use)))))
        assert a_pool.used_bytes == sum(block.nbytes for block in in_use)
        assert a_pool.free_bytes == sum(block.nbytes for blocks in a_pool._free.values() for block in blocks)
        assert a_pool.free_bytes <= a_pool.peak_bytes + SPARE_BYTES


def test_threads_take_and_give_back_at_once():
    gc.collect()
    used = pool().used_bytes

    def work(seed):
        rng = np.random.default_rng(seed)
        kept = []
        for i in range(300):
            array = empty(int(rng.integers(LARGE, 4 * LARGE)), np.uint8)
            array.fill((seed + i) % 251)
            kept.append((array, (seed + i) % 251))
            if len(kept) > 5:
                array, value = kept.pop(int(rng.integers(5)))
                assert (array == value).all(), (seed, i)

    at_once([partial(work, seed) for seed in range(8)])
    gc.collect()
    assert pool().used_bytes == used
    assert pool().free_bytes == sum(block.nbytes for blocks in pool()._free.values() for block in blocks)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forks_while_a_thread_takes_and_gives_back(run_python):
    # At whatever instant the fork happens, the child can use the pool and give back what the lost thread's frames held.
    program = """
import os, signal, threading
from fastrnn._core.memory import empty, pool
array = empty(100_000)
array.fill(7)
over = threading.Event()
def hammer():
    while not over.is_set():
        held = [empty(100_000) for _ in range(3)]
        del held
thread = threading.Thread(target=hammer)
thread.start()
for _ in range(30):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        other = empty(100_000)
        other.fill(8)
        del other
        os._exit(0 if (array == 7).all() and (empty(100_000) != 7).all() else 1)
    assert os.waitpid(pid, 0)[1] == 0
over.set()
thread.join(30)
assert not thread.is_alive()
assert (array == 7).all()
"""
    run_python(program)


# What a warm training step takes. The operating system counts page faults for the whole process.

STEADY = """
import resource
import numpy as np
import fastrnn
from fastrnn import optim
from fastrnn.losses import softmax_cross_entropy
from fastrnn._core.memory import pool
from fastrnn.text.char_model import CharModel

def faults_of(step, steps=20):
    for _ in range(5):
        step()
    peak, before = pool().peak_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert pool().peak_bytes == peak, "the pool still grows"
    return (after - before) / steps

rng = np.random.default_rng(0)
"""

KERNELS = """
layer = fastrnn.LSTM(128, 128, rng=0)
x, dy = (rng.standard_normal((32, 32, 128)).astype(np.float32) for _ in range(2))

def step():
    layer.zero_grad()
    (y, _), backward = layer.forward(x)
    backward(dy)

print(faults_of(step), faults_of(lambda: layer(x)))
"""

CHAR_MODEL = """
model = CharModel(65, "lstm", layers=2, hidden=128, dropout=0.1, rng=0)
optimizer = optim.Adam(model.parameters())
ids, targets = (rng.integers(0, 65, (32, 32)) for _ in range(2))
state = None

def step():
    global state
    model.zero_grad()
    (logits, state), backward = model.forward(ids, state)
    loss, dlogits = softmax_cross_entropy(logits, targets)
    backward(dlogits)
    optim.clip_grad_norm(model.parameters(), 1.0)
    optimizer.step()

print(faults_of(step))
"""


@pytest.mark.parametrize(
    ("program", "threads"),
    [
        pytest.param(KERNELS, "1", marks=pytest.mark.slow),
        (KERNELS, "2"),
        pytest.param(CHAR_MODEL, "1", marks=pytest.mark.slow),
        pytest.param(CHAR_MODEL, "2", marks=pytest.mark.slow),
    ],
    ids=["kernels-1", "kernels-2", "char_model-1", "char_model-2"],
)
def test_page_faults_of_a_warm_step(c, run_python, program, threads, record_property):
    pytest.importorskip("resource")
    faults = [float(word) for word in run_python(STEADY + program, FASTRNN_NUM_THREADS=threads).stdout.split()]
    print(f"page faults per step: {faults}")
    record_property("page_faults_per_step", faults)
    assert max(faults) < 20


@pytest.mark.parametrize(
    "kind", [fastrnn.LSTM, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (fastrnn.RNN, fastrnn.GRU))]
)
def test_no_python_memory_is_gained_over_many_steps(kind):
    layer = kind(8, 16, 2, bidirectional=True, rng=0)
    x = np.random.default_rng(0).standard_normal((5, 4, 8)).astype(np.float32)

    def steps(n):
        for _ in range(n):
            layer.zero_grad()
            (y, state), backward = layer.forward(x, lengths=[5, 3, 1, 4])
            backward(y, state)
            layer(x)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = steps(100)
        assert steps(400) - before < 16384  # less than one object for each step
    finally:
        tracemalloc.stop()


SHAPES = """
import numpy as np
import fastrnn
from fastrnn._core.memory import SPARE_BYTES, pool

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096

rng = np.random.default_rng(0)
layer = fastrnn.LSTM(16, 64, rng=0)

def step():
    x = rng.standard_normal((*rng.integers(1, 150, size=2), 16)).astype(np.float32)
    (y, _), backward = layer.forward(x)
    backward(y)

step()
before = resident()
for _ in range(50):
    step()
    bound = pool().peak_bytes + SPARE_BYTES
    assert pool().free_bytes <= bound
    # What the pool lets go of stays with malloc for a while.
    assert resident() - before < 1.5 * bound, (resident() - before, bound)
"""


@pytest.mark.slow
def test_resident_memory_is_bounded_for_changing_shapes(run_python):
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc here")
    run_python(SHAPES)
