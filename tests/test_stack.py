"""Layers of a stack that run at once: the bits of the layers one by one for any number of threads, and the plan."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn

KINDS = {"rnn": fastrnn.RNN, "gru": fastrnn.GRU, "lstm": fastrnn.LSTM}


@pytest.fixture(autouse=True)
def _threads():
    before = fastrnn.get_num_threads()
    yield
    fastrnn.set_num_threads(before)


def _stack(kind, I, H, L, **options):  # noqa: E741
    return KINDS[kind](I, H, L, rng=2, **options)


def _layers_of(stack):
    """Return each layer alone, with the stack's weights."""
    kind, state = type(stack), stack.state_dict()
    options = {"proj_size": stack.proj_size} if getattr(stack, "proj_size", 0) else {}
    size = stack.input_size
    for k in range(stack.num_layers):
        one = kind(size, stack.hidden_size, dtype=stack.dtype, backend=stack.backend, **options)
        suffix = f"_l{k}"
        one.load_state_dict({name[: -len(suffix)] + "_l0": a for name, a in state.items() if name.endswith(suffix)})
        yield one
        size = stack._state_sizes[1]


def _one_by_one(stack, x, state, lengths):
    states, y = [], x
    for k, layer in enumerate(_layers_of(stack)):
        halves = None if state is None else tuple(half[k : k + 1] for half in _halves(state))
        own = halves if halves is None or len(halves) == 2 else halves[0]
        y, final = layer(y, own, lengths)
        states.append(_halves(final))
    return y, [np.concatenate(parts) for parts in zip(*states, strict=True)]


def _halves(state):
    return state if isinstance(state, tuple) else (state,)


def _state(stack, B, rng):
    count, Y, H = stack._state_sizes
    h, c = (rng.standard_normal((count, B, size)).astype(stack.dtype) for size in (Y, H))
    return (h, c) if stack.cell == "lstm" else h


def _assert_same_bits(stack, x, state, lengths, threads):
    fastrnn.set_num_threads(1)
    wanted_y, wanted_state = _one_by_one(stack, x, state, lengths)
    for n in threads:
        fastrnn.set_num_threads(n)
        y, final = stack(x, state, lengths)
        np.testing.assert_array_equal(y, wanted_y, strict=True)
        for got, wanted in zip(_halves(final), wanted_state, strict=True):
            np.testing.assert_array_equal(got, wanted, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_of_the_layers_one_by_one(engine, kind, dtype):
    rng = np.random.default_rng(0)
    for L, B, T in ((2, 1, 100), (3, 2, 57), (4, 5, 23)):
        stack = _stack(kind, 7, 40, L, dtype=dtype, backend=engine)
        x = rng.standard_normal((T, B, 7)).astype(dtype)
        for state in (None, _state(stack, B, rng)):
            _assert_same_bits(stack, x, state, None, (1, 2, 3))


@settings(max_examples=40)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    sizes=st.tuples(st.integers(1, 150), st.integers(1, 6), st.integers(2, 5), st.integers(1, 50)),
    ids=st.booleans(),
    lengths=st.booleans(),
    proj=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_size_gives_the_same_bits(kind, sizes, ids, lengths, proj, seed):
    T, B, L, H = sizes
    rng = np.random.default_rng(seed)
    options = {"proj_size": max(1, H // 2)} if proj and kind == "lstm" and H > 1 else {}
    stack = _stack(kind, 5, H, L, **options)
    x = rng.integers(-1, 5, (T, B)) if ids else rng.standard_normal((T, B, 5), dtype=np.float32)
    ends = rng.integers(1, T + 1, B) if lengths else None
    _assert_same_bits(stack, x, _state(stack, B, rng), ends, (2, 4))


def test_changed_weights_are_used():
    stack, x = _stack("gru", 4, 24, 3), np.ones((50, 1, 4), np.float32)
    fastrnn.set_num_threads(2)
    first, _ = stack(x)
    stack.weight_hh_l1.assign(-stack.weight_hh_l1.data)
    second, _ = stack(x)
    assert np.abs(first - second).max() > 1e-3
    _assert_same_bits(stack, x, None, None, (2,))


def test_the_training_forward_agrees(isa):
    stack, x = _stack("lstm", 6, 32, 2), np.random.default_rng(0).standard_normal((80, 2, 6), dtype=np.float32)
    fastrnn.set_num_threads(2)
    (y, _), _ = stack.forward(x)
    np.testing.assert_array_equal(stack(x)[0], y)


@pytest.mark.parametrize("kind", KINDS)
def test_small_layers_do_run_at_once(isa, kind):
    stack, x = _stack(kind, 16, 16, 2), np.random.default_rng(0).standard_normal((100, 1, 16), dtype=np.float32)
    fastrnn.set_num_threads(2)
    assert [plan.at_once for plan in stack.plan(100, 1)] == [2, 2]
    _assert_same_bits(stack, x, None, None, (1, 2, 3))


# Stacks whose layers run at once on two threads, T = 100: the layers are too small to share their steps.
PINNED = {("lstm", 2, 32, 1): 2, ("gru", 4, 16, 8): 2, ("rnn", 4, 32, 1): 2, ("lstm", 2, 512, 32): 1, ("lstm", 2, 128, 1): 1}


def test_the_plan_is_pinned(c):
    if c is None or not c.info()["isa"].startswith("avx512"):
        pytest.skip("pinned for vectors of 64 bytes")
    fastrnn.set_num_threads(2)
    found = {case: _stack(case[0], case[2], case[2], case[1]).plan(100, case[3])[0].at_once for case in PINNED}
    assert found == PINNED


@pytest.mark.thread_unsafe
def test_stacks_that_cannot_run_at_once():
    fastrnn.set_num_threads(2)
    for T in (1, 100):
        assert [plan.at_once for plan in fastrnn.LSTM(32, 32).plan(T, 1)] == [1]
        first, second = (fastrnn.LSTM(size, 32, bidirectional=True).plan(T, 1) for size in (32, 64))
        assert fastrnn.LSTM(32, 32, 2, bidirectional=True).plan(T, 1) == [
            *first,
            *second,
        ]  # the directions run at once, the layers do not
    assert fastrnn.LSTM(32, 32, 2).plan(1, 1)[0].at_once == 1
    fastrnn.set_num_threads(1)
    assert fastrnn.LSTM(32, 32, 2).plan(100, 1)[0].at_once == 1


def test_token_ids_of_a_large_vocabulary_under_two_layers_in_two_directions(c):
    """Without the vocabulary in its inputs, the second layer needs less memory than a first layer of such inputs would."""
    rng = np.random.default_rng(0)
    ids, lengths = rng.integers(0, 5000, (16, 7)), [16, 3, 5, 1, 9, 16, 2]
    layer = fastrnn.LSTM(5000, 8, 2, bidirectional=True, rng=0, backend="c")
    right = fastrnn.LSTM(5000, 8, 2, bidirectional=True, rng=0, backend="reference")
    np.testing.assert_allclose(layer(ids, lengths=lengths)[0], right(ids, lengths=lengths)[0], rtol=1e-4, atol=1e-6)
