"""Properties that only the Numba backend has; test_backends compares its values with the reference."""

import io
import os
import platform
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import cases
import numpy as np
import pytest
from tables import each_row

numba = pytest.importorskip("numba")

import fastrnn  # noqa: E402
from fastrnn.backends._numba import backend as backend  # noqa: E402
from fastrnn.backends._numba.activations import sigmoid, tanh  # noqa: E402
from fastrnn.backends._numba.jit import VECTOR_BYTES, jit_entry  # noqa: E402
from fastrnn.backends._numba.layout import CHUNK  # noqa: E402
from fastrnn.backends._numba.product import DEPTH  # noqa: E402
from fastrnn.backends._numba.simd import load, matrix, store  # noqa: E402
from fastrnn.commands._train.compiling import FUNCTIONS, prepare_kernels  # noqa: E402

EACH_CELL = each_row("variant", cases.CELLS, ids=cases.name)
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}


def _on_arrays(activation):
    """Return the activation as a function from an array of whole vectors to a new array."""

    @numba.njit(fastmath={"contract"}, error_model="numpy")
    def fill(x, y):
        zero = x.dtype.type(0)
        source, target = matrix(x, x.nbytes, zero), matrix(y, y.nbytes, zero)
        for at in range(0, x.nbytes, VECTOR_BYTES):
            store(target, 0, at, activation(load(source, 0, at)))

    def apply(x):
        y = np.empty_like(x)
        fill(x, y)
        return y

    return apply


ACTIVATIONS = {"sigmoid": (_on_arrays(sigmoid), lambda x: 1 / (1 + np.exp(-x))), "tanh": (_on_arrays(tanh), np.tanh)}
EVERY_ACTIVATION = pytest.mark.parametrize("name", ACTIVATIONS)


@EVERY_ACTIVATION
@pytest.mark.parametrize(("dtype", "bits"), [("float32", np.float64), ("float64", np.longdouble)])
def test_activations_are_within_three_units_in_the_last_place(name, dtype, bits):
    if np.finfo(bits).eps >= np.finfo(dtype).eps:
        pytest.skip("long double is no wider than float64 here")
    ours, exact = ACTIVATIONS[name]
    n = 1 << 15
    small = np.geomspace(1e-37, 87, n)
    x = np.concatenate([np.linspace(-87, 87, n), np.linspace(-12, 12, n), np.linspace(-1, 1, n), small, -small])
    x = x.astype(dtype)
    wanted = exact(x.astype(bits))
    error = np.abs(ours(x) - wanted) / np.spacing(np.abs(wanted).astype(dtype))
    assert error.max() < 3


@EVERY_ACTIVATION
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_activations_of_special_values(name, dtype):
    ours, exact = ACTIVATIONS[name]
    tiny, huge = np.finfo(dtype).tiny, np.finfo(dtype).max
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1000, -1000, huge, -huge, tiny, -tiny, tiny / 8, -tiny / 8], dtype)
    x.resize(16)
    with np.errstate(over="ignore"):
        wanted = exact(x)
    # If the true sigmoid is a denormal number or 0, ours is the smallest number whose inverse is normal.
    smallest = 4 * tiny if name == "sigmoid" else 0
    np.testing.assert_allclose(ours(x), wanted, rtol=1e-7, atol=smallest)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64", "aarch64", "arm64"), reason="no flush to zero there")
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_denormal_numbers_are_flushed_in_both_directions(dtype):
    layer = fastrnn.RNN(16, 16, nonlinearity="relu", bias=False, dtype=dtype, backend="numba")
    for parameter in layer.parameters():
        parameter.writable()[:] = np.eye(16)
    denormal = np.full((3, 2, 16), np.finfo(dtype).tiny / 8, dtype)
    (y, _), backward = layer.forward(denormal)
    dx, dstate = backward(denormal)
    assert not np.any(y)
    assert not np.any(dx)
    assert not np.any(dstate)


# The blocks do not depend on the equations, so these cells are enough in the quick set: one of each number of gates, and the
# two with a further product in each step.
DISTINCT_CELLS = (cases.CELLS[0], cases.CELLS[3], cases.CELLS[9])


# Sizes at every boundary of the blocks: one vector and one more or less, tiles of rows, sums longer than a block of the
# product, steps with more and fewer rows than a chunk.
@pytest.mark.parametrize(
    "variant",
    [pytest.param(cell, marks=() if cell in DISTINCT_CELLS else pytest.mark.slow) for cell in cases.CELLS],
    ids=cases.name,
)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("T", "B", "I", "H"),
    [(3, 4, 15, 16), (2, 5, 17, 31), (2, CHUNK + 3, 2, 7), (CHUNK + 9, 1, 8, 8), (2, 3, DEPTH + 5, DEPTH // 4 + 1)],
)
def test_sizes_at_the_edges_of_the_blocks(variant, dtype, T, B, I, H):  # noqa: E741
    for lengths in (False, True):
        case = cases.make_case(variant, T, B, I, H, dtype, lengths=lengths, reverse=lengths)
        cases.assert_agree(cases.run("numba", case), cases.run("reference", case), TOLERANCE[dtype])


GUARD, GUARD_BYTES = 0xA5, 256


@pytest.fixture
def guarded(monkeypatch):
    """Allocate the backend's memory between guards; return a function that checks all guards."""
    blocks = []

    def empty(shape, dtype):
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        raw = np.full(size + 2 * GUARD_BYTES + 64, GUARD, np.uint8)
        # The worst case for alignment inside the memory: the first address after a multiple of 64 that suits the type.
        start = GUARD_BYTES + -raw.ctypes.data % 64 + dtype.itemsize
        blocks.append((raw, start, start + size))
        return raw[start : start + size].view(dtype).reshape(shape)

    def zeros(shape, dtype):
        array = empty(shape, dtype)
        array.fill(0)
        return array

    def check():
        assert blocks
        for raw, start, end in blocks:
            assert (raw[:start] == GUARD).all()
            assert (raw[end:] == GUARD).all()

    monkeypatch.setattr(backend, "empty", empty)
    monkeypatch.setattr(backend, "zeros", zeros)
    return check


GUARDED_SIZES = [(5, 3, 17, 33), (6, 40, 70, 5), (3, 2, 5, 100)]


@pytest.mark.parametrize(
    ("variant", "size"),
    [
        pytest.param(cell, size, marks=() if i % 3 == j else pytest.mark.slow, id=f"{cases.name(cell)}-{size}")
        for i, cell in enumerate(cases.CELLS)
        for j, size in enumerate(GUARDED_SIZES)
    ],
)
def test_nothing_is_written_outside_of_the_memory_asked_for(guarded, variant, size):
    for option in cases.OPTIONS:
        case = cases.make_case(variant, *size, "float32", **option)
        wanted = cases.run("reference", case)
        cases.assert_agree(cases.run("numba", case), wanted, TOLERANCE["float32"])
        cases.forward("numba", case, keep_tape=False)
    guarded()


@EACH_CELL
def test_two_threads_at_once_give_the_same_bits(variant):
    case = cases.make_case(variant, 30, 5, 12, 20, "float32", lengths=True)
    wanted = cases.run("numba", case)
    with ThreadPoolExecutor(2) as pool:
        for got in pool.map(lambda _: cases.run("numba", case), range(20)):
            for key, value in wanted.items():
                np.testing.assert_array_equal(got[key], value, strict=True)


@EACH_CELL
def test_inference_in_chunks_gives_the_bits_of_training(variant):
    case = cases.make_case(variant, 3 * CHUNK // 5, 11, 5, 9, "float32", lengths=True, reverse=True)
    kept = cases.forward("numba", case, keep_tape=True)
    for key, value in cases.forward("numba", case, keep_tape=False)._asdict().items():
        if key != "tape":
            np.testing.assert_array_equal(value, getattr(kept, key), strict=True)


@EACH_CELL
def test_an_infinite_input_does_not_leak_through_padded_units(variant):
    case = cases.make_case(variant, 4, 3, 5, 6, "float32")
    case.x[1, 2, 3] = np.inf
    got, wanted = cases.run("numba", case), cases.run("reference", case)
    for key, value in wanted.items():
        np.testing.assert_array_equal(np.isfinite(got[key]), np.isfinite(value), err_msg=key)
        finite = np.isfinite(value)
        np.testing.assert_allclose(got[key][finite], value[finite], rtol=1e-4, atol=1e-4, err_msg=key)


def test_read_only_and_writable_arrays_share_one_compiled_function():
    case = cases.make_case(cases.CELLS[6], 4, 2, 3, 5, "float32", lengths=True)
    cases.run("numba", case)
    entries = (backend.forward, backend.backward, backend.packing.pack_forward, backend.packing.pack_backward)
    before = [len(entry.signatures) for entry in entries]
    for array in (*cases.inputs(case).values(), case.lengths, case.dy, case.dh_n, case.dc_n, case.dc):
        array.flags.writeable = False
    cases.run("numba", case)
    cases.run("numba", cases.make_case(cases.CELLS[3], 4, 2, 3, 5, "float32", ids=True, bias=False))
    assert [len(entry.signatures) for entry in entries] == before


def test_a_function_compiles_where_nothing_can_be_cached():
    scope = {}
    exec(compile("def add(a, b):\n    return a + b\n", "/no/such/folder/file.py", "exec"), scope)
    assert jit_entry(scope["add"])(2.5, 3.0) == 5.5


def test_cached_functions_are_named_by_the_digest_of_all_sources():
    names = {entry.py_func.__qualname__ for entry in (backend.forward, backend.backward)}
    digests = {re.fullmatch(r"(forward|backward)_([0-9a-f]{12})", name)[2] for name in names}
    assert len(digests) == 1


@pytest.mark.slow
def test_a_second_process_loads_the_cache(run_python, tmp_path):
    program = """
import cases
from fastrnn.backends._numba import backend
cases.forward("numba", cases.make_case(cases.CELLS[6], 4, 2, 3, 5, "float32"))
print(sum(backend.forward.stats.cache_hits.values()), sum(backend.forward.stats.cache_misses.values()))
"""
    counts = [run_python(program, NUMBA_CACHE_DIR=os.fspath(tmp_path)).stdout.split() for _ in range(2)]
    assert counts == [["0", "1"], ["1", "0"]]
    assert list(tmp_path.rglob("forward.forward_*.nbc"))


def test_compiled_functions_are_not_announced_again():
    fastrnn.LSTM(2, 3, backend="numba").forward(np.zeros((2, 1, 2), np.float32))[1](np.zeros((2, 1, 3), np.float32))
    told = []
    backend.BACKEND.compile_for("float32", True, told.append)
    assert told == []


ALONE = """
import numpy as np, fastrnn
layer = fastrnn.GRU(2, 3, backend="numba")
layer(np.zeros((2, 1, 2), np.float32))
from fastrnn.backends._numba.backend import BACKEND, backward, forward
told = []
BACKEND.compile_for("float32", False, told.append)
BACKEND.compile_for("float64", False, told.append)
print(told[0], told[-1], len(told), len(backward.signatures), len(forward.signatures))
"""

TRAINING = """
from fastrnn.backends._numba.backend import BACKEND, backward
told = []
BACKEND.compile_for("float32", True, told.append)
print(told[-1], len(backward.signatures))
"""


@pytest.mark.slow
def test_an_empty_cache_is_filled_with_the_needed_functions_silently(run_python, tmp_path):
    done = run_python(ALONE, NUMBA_CACHE_DIR=str(tmp_path / "inference"))
    first, last, count, backwards, forwards = map(int, done.stdout.split())
    assert (first, last + 1, backwards, forwards) == (0, count, 0, 2)  # float32 compiles nothing again, float64 only forward
    assert abs(last - FUNCTIONS[False]) <= 5
    assert done.stderr == ""
    done = run_python(TRAINING, NUMBA_CACHE_DIR=str(tmp_path / "training"))
    last, backwards = map(int, done.stdout.split())
    assert abs(last - FUNCTIONS[True]) <= 5
    assert backwards == 1
    assert done.stderr == ""


class Compiling:
    """A backend with functions that have to be compiled."""

    def __init__(self, counts):
        self.counts, self.asked = counts, []

    def compile_for(self, dtype, training, tell):
        self.asked.append((dtype, training))
        for count in self.counts:
            tell(count)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [False, True])
def test_a_command_says_that_it_compiles(monkeypatch, terminal):
    if terminal:
        pytest.importorskip("rich")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
    screen = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    compiling = Compiling([0, 44, 88])
    monkeypatch.setattr(fastrnn.backends, "current", lambda: compiling)
    prepare_kernels(training=True)
    assert compiling.asked == [("float32", True)]
    title = "compiling the Numba kernels (once, about 15 s)"
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    if terminal:
        shares = re.findall(re.escape(title) + r" [^%\n]*? (\d+)%", shown)
        assert list(dict.fromkeys(shares)) == ["0", "50", "99"]  # each may be drawn more than once
        assert re.search(r"compiled in \d+ s\n$", shown)
    else:
        assert re.fullmatch(re.escape(title) + r"\ncompiled in \d+ s\n", shown)
    for silent in (Compiling([]), fastrnn.backends.load("reference")):
        screen.truncate(0)
        monkeypatch.setattr(fastrnn.backends, "current", lambda silent=silent: silent)
        prepare_kernels()
        assert screen.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(fastrnn.backends, "current", lambda: compiling)
    prepare_kernels()
    assert compiling.asked[1:] == [("float32", False)]
