"""Bit for bit: from run to run, for every number of threads and split of the work, whatever else is in the batch."""

from dataclasses import fields, replace

import cases
import numpy as np
import pytest

import fastrnn
from fastrnn import backends
from fastrnn.backends.structs import StackSpec, Weights
from fastrnn.text.char_model import CharModel

SLOW = pytest.mark.slow
EVERY_CELL = pytest.mark.parametrize("variant", cases.CELLS, ids=cases.name)
EVERY_DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Outputs and gradients of single sequences. The others are gradients of parameters, which are sums over the batch.
OF_SEQUENCES = ("y", "h_n", "c_n", "c", "dx", "dh0", "dc0")


def _assert_same_bits(got, wanted, names=None):
    """Assert equal values, with NaN at the same places; the signs of zeros must also agree."""
    assert got.keys() == wanted.keys()
    for key in names or wanted:
        if key in wanted:
            integers = {4: np.uint32, 8: np.uint64}[wanted[key].itemsize]
            np.testing.assert_array_equal(got[key].view(integers), wanted[key].view(integers), err_msg=key)


def _sequences(case, which):
    """Return the case with only these sequences, in this order, cut to the longest of them (one step at least)."""
    T = len(case.x) if case.lengths is None else max(1, case.lengths[which].max())

    def part(key):
        array = getattr(case, key)
        if array is None:
            return None
        return np.ascontiguousarray(array[:T, which] if key in ("x", "dy", "dc") else array[which])

    return replace(case, **{key: part(key) for key in ("x", "h0", "c0", "lengths", "dy", "dh_n", "dc_n", "dc")})


@EVERY_DTYPE
@EVERY_CELL
def test_run_to_run_and_wherever_the_arrays_lie(engine, variant, dtype):
    case = cases.make_case(variant, 5, 7, 9, 35, dtype, lengths=True)
    wanted = cases.run(engine, case)
    _assert_same_bits(cases.run(engine, case), wanted)

    def moved(array):
        if array is None or array.dtype != dtype:
            return array
        memory = np.empty(array.size + 64, array.dtype)
        start = (-memory.ctypes.data // array.itemsize) % 16 + 3  # no vector's boundary
        moved = memory[start : start + array.size].reshape(array.shape)
        moved[...] = array
        return moved

    keys = ("x", "h0", "c0", "dy", "dh_n", "dc_n", "dc")
    params = Weights(**{f.name: moved(getattr(case.params, f.name)) for f in fields(Weights)})
    moved_case = replace(case, params=params, **{key: moved(getattr(case, key)) for key in keys})
    _assert_same_bits(cases.run(engine, moved_case), wanted)


# B and H, and how two and three threads split them in the forward and the backward pass.
SIZES = {"batch": (50, 100), "hidden": (5, 400)}


@pytest.mark.parametrize("split", SIZES)
@pytest.mark.parametrize(
    "options",
    [
        cases.OPTIONS[0],
        pytest.param({"bias": False, "lengths": False, "reverse": True, "ids": False}, marks=SLOW),
        pytest.param({"bias": True, "lengths": True, "reverse": False, "ids": False}, marks=SLOW),
        pytest.param({"bias": True, "lengths": False, "reverse": False, "ids": True}, marks=SLOW),
        pytest.param({"bias": False, "lengths": False, "reverse": False, "ids": False}, marks=SLOW),
    ],
    ids=cases.name,
)
@EVERY_DTYPE
@EVERY_CELL
def test_every_number_of_threads_and_every_split(isa, set_threads, variant, dtype, options, split):
    B, H = SIZES[split]
    case = cases.make_case(variant, 3, B, 9, H, dtype, **options)
    results = {}
    for threads in (1, 2, 3):
        set_threads(threads)
        assert backends.load("c").plan(StackSpec(case.spec), 3, B)[0].isa == isa
        for backward in (False, True):
            assert cases.planned(case.spec, 3, B, backward) == (split if threads > 1 else "none", threads)
        results[threads] = cases.run("c", case)
        inference = cases.forward("c", case, keep_tape=False)
        _assert_same_bits({"y": inference.y}, {"y": results[threads]["y"]})
    for threads in results:
        _assert_same_bits(results[threads], results[1])


@SLOW
@pytest.mark.parametrize("threads", [4, 7, 16, 64])
def test_more_threads_than_processors(c, set_threads, threads):
    for B, H in ((200, 33), (3, 300)):
        case = cases.make_case(cases.CELLS[6], 5, B, 9, H, "float32", lengths=True)
        set_threads(1)
        wanted = cases.run("c", case)
        set_threads(threads)
        assert backends.load("c").plan(StackSpec(case.spec), 5, B)[0].threads > 1
        _assert_same_bits(cases.run("c", case), wanted)


# Layers, hidden and vocabulary size; the second model's output layer is shared too.
@pytest.mark.parametrize(
    ("model", "layers", "hidden", "V"),
    [
        ("gru", 1, 256, 65),
        ("lstm", 2, 200, 307),
        *(pytest.param(*row, marks=SLOW) for row in (("gru", 2, 200, 307), ("lstm", 1, 256, 65))),
    ],
)
def test_sampling_on_every_number_of_threads(c, set_threads, model, layers, hidden, V):
    net = CharModel(V, model, layers, hidden, 0, rng=3)
    uniforms = np.random.default_rng(0).random((150, 2))
    prime = np.array([[-1, -1], [4, 7], [V - 1, 0]])
    answers = {}
    for threads in (1, 2, 3):
        set_threads(threads)
        assert fastrnn.LSTM(V, hidden, backend="c").plan(len(uniforms), 1)[0].threads == threads
        answers[threads] = net.generate(prime, uniforms)
    for threads in (2, 3):
        np.testing.assert_array_equal(answers[threads].tokens, answers[1].tokens)
        pairs = [{"h": a.h_n} if a.c_n is None else {"h": a.h_n, "c": a.c_n} for a in (answers[threads], answers[1])]
        _assert_same_bits(*pairs)


def test_a_limit_in_mid_training_changes_no_bit(c, set_threads):
    case = cases.make_case(cases.CELLS[6], 6, 50, 9, 100, "float32")
    set_threads(1)
    wanted = cases.run("c", case)
    for forward, backward in ((1, 3), (3, 1), (2, 3), (3, 2)):
        set_threads(forward)
        tape = cases.forward("c", case).tape
        set_threads(backward)
        got = cases.backward(tape, case)._asdict()
        for key in [key for key in wanted if key.startswith("d")]:
            np.testing.assert_array_equal(got[key], wanted[key], err_msg=key)


@pytest.mark.parametrize("reverse", [False, True], ids=["", "reverse"])
@EVERY_DTYPE
@EVERY_CELL
def test_a_sequence_alone_is_as_in_the_batch(engine, variant, dtype, reverse):
    case = cases.make_case(variant, 5, 15, 6, 19, dtype, lengths=True, reverse=reverse)
    batch = cases.run(engine, case)
    for which in ([0], [7], [14], [3, 11], [12, 1, 0, 9, 5, 13, 2]):
        part = _sequences(case, which)
        T = len(part.x)
        wanted = {
            key: np.ascontiguousarray(value[:T, which] if value.ndim == 3 else value[which])
            for key, value in batch.items()
            if key in OF_SEQUENCES
        }
        got = {key: value for key, value in cases.run(engine, part).items() if key in OF_SEQUENCES}
        _assert_same_bits(got, wanted)


@EVERY_CELL
def test_a_sequence_is_as_alone_when_threads_share_the_batch(set_threads, variant):
    case = cases.make_case(variant, 6, 50, 9, 100, "float32", lengths=True)
    for threads in (1, 2, 3):
        set_threads(threads)
        batch = cases.run("c", case)
        for b in (0, 23, 24, 49):
            alone = cases.run("c", _sequences(case, [b]))
            T = max(1, case.lengths[b])
            np.testing.assert_array_equal(alone["y"][:, 0], batch["y"][:T, b])
            np.testing.assert_array_equal(alone["dx"][:, 0], batch["dx"][:T, b])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@EVERY_CELL
def test_a_bad_sequence_leaves_the_others_alone(engine, variant, bad):
    case = cases.make_case(variant, 5, 15, 6, 19, "float32", lengths=[5, 3, 5, 1, 5, 4, 5, 5, 2, 5, 5, 3, 5, 5, 1])
    wanted = cases.run(engine, case)
    others = np.arange(15) != 5
    given = {key: getattr(case, key) for key in ("x", "h0", "c0", "dy", "dh_n", "dc_n", "dc")}
    for where, array in [(key, array.copy()) for key, array in given.items() if array is not None]:
        array[(1, 5, 2) if array.ndim == 3 else (5, 2)] = bad
        results = cases.run(engine, replace(case, **{where: array})), wanted
        for key in [key for key in wanted if key in OF_SEQUENCES]:
            axis = 1 if wanted[key].ndim == 3 else 0
            name = f"{key} with a bad {where}"
            _assert_same_bits(*({name: np.ascontiguousarray(np.compress(others, r[key], axis))} for r in results))


@pytest.mark.parametrize("reverse", [False, True], ids=["", "reverse"])
@EVERY_DTYPE
@EVERY_CELL
def test_nan_spreads_from_its_step_on_and_no_further_back(engine, variant, dtype, reverse):
    case = cases.make_case(variant, 5, 15, 6, 19, dtype, reverse=reverse)
    x = case.x.copy()
    x[2, 5, 1] = np.nan
    wanted, got = cases.forward(engine, case), cases.forward(engine, replace(case, x=x))
    before, after = (slice(3, 5), slice(0, 3)) if reverse else (slice(0, 2), slice(2, 5))
    np.testing.assert_array_equal(got.y[before, 5], wanted.y[before, 5])
    assert np.isnan(got.y[after, 5]).all()
    assert np.isnan(got.h_n[5]).all()
    if case.spec.cell == "lstm":
        assert np.isnan(got.c[after, 5]).all()
        assert np.isnan(got.c_n[5]).all()


def test_a_layer_gives_the_same_bits_in_every_process(c, run_python):
    program = """
import hashlib, numpy as np, fastrnn
lstm = fastrnn.LSTM(20, 100, 2, bidirectional=True, rng=0)
x = np.random.default_rng(0).standard_normal((6, 50, 20)).astype(np.float32)
(y, _), backward = lstm.forward(x)
dx, _ = backward(y)
arrays = [y, dx, *(p.grad for p in lstm.parameters())]
print(hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest(), fastrnn.get_num_threads())
"""
    digests, threads = zip(*(run_python(program, FASTRNN_NUM_THREADS=n).stdout.split() for n in "13"), strict=True)
    assert threads == ("1", "3")
    assert len(set(digests)) == 1
    assert fastrnn.get_num_threads() == c.info()["threads"]
