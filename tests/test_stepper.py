"""Steppers: step by step gives the whole sequence's results on every engine; states, changed weights, bad input."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

import fastrnn

LAYERS = {
    "rnn": (fastrnn.RNN, {}),
    "rnn-relu": (fastrnn.RNN, {"nonlinearity": "relu", "num_layers": 2}),
    "gru": (fastrnn.GRU, {"num_layers": 2}),
    "gru-before": (fastrnn.GRU, {"reset_after": False}),
    "gru-no-reset": (fastrnn.GRU, {"reset_gate": False}),
    "lstm": (fastrnn.LSTM, {"num_layers": 3}),
    "lstm-peephole": (fastrnn.LSTM, {"peephole": True}),
    "lstm-projection": (fastrnn.LSTM, {"proj_size": 5, "num_layers": 2}),
}
I, T = 6, 9  # noqa: E741
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


def _layer(name, H=11, **options):
    kind, own = LAYERS[name]
    return kind(I, H, rng=3, **{**own, **options})


def _x(dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal((T, I)).astype(dtype)


def _halves(state):
    return state if isinstance(state, tuple) else (state,)


def _assert_near(got, wanted, dtype="float32"):
    for one, other in zip(_halves(got), _halves(wanted), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, atol=TOLERANCE[dtype], rtol=0, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_step_by_step_is_the_whole_sequence(engine, name, dtype):
    layer, x = _layer(name, dtype=dtype, backend=engine), _x(dtype)
    y, state = layer(x)
    _, middle = layer(x[:4])
    step = layer.stepper()
    ys = [step(row) for row in x]
    _assert_near(np.stack(ys), y, dtype)
    _assert_near(step.state, state, dtype)
    step.reset(middle)
    _assert_near(np.stack([step(row) for row in x[4:]]), y[4:], dtype)
    step.reset()
    _assert_near(step(x[0]), y[0], dtype)
    assert len({id(one) for one in ys}) == T  # fresh arrays


@each_row("name", ["rnn", "gru", "lstm"])
def test_token_ids_and_vectors_in_turn(engine, name):
    layer = _layer(name, backend=engine)
    ids = np.array([-1, 0, 5, 3, 3])
    onehot = np.zeros((len(ids), I), np.float32)
    onehot[np.arange(1, 5), ids[1:]] = 1
    y, state = layer(ids)
    step = layer.stepper()
    inputs = [int(ids[0]), onehot[1], np.int32(ids[2]), np.asarray(ids[3]), onehot[4]]
    _assert_near(np.stack([step(one) for one in inputs]), y)
    _assert_near(step.state, state)


@settings(max_examples=30)
@given(
    name=st.sampled_from(sorted(LAYERS)),
    H=st.integers(6, 70),
    threads=st.integers(1, 3),
    reads=st.sets(st.integers(0, T)),
    seed=st.integers(0, 99),
)
def test_reading_the_state_disturbs_nothing(name, H, threads, reads, seed):
    before = fastrnn.get_num_threads()
    fastrnn.set_num_threads(threads)
    try:
        layer, x = _layer(name, H), _x(seed=seed)
        step, ys = layer.stepper(), []
        for t, row in enumerate(x):
            if t in reads:
                _assert_near(step.state, layer(x[:t])[1] if t else layer.stepper().state)
            ys.append(step(row))
        _assert_near(np.stack(ys), layer(x)[0])
    finally:
        fastrnn.set_num_threads(before)


def test_changed_parameters_and_backends_count_from_the_next_step():
    layer, other, x = _layer("lstm"), _layer("gru"), _x()
    step = layer.stepper()
    y, state = step(x[0]), step.state
    other.weight_ih_l0.assign(other.weight_ih_l0.data)  # another layer's parameter does not affect the stepper
    layer.weight_hh_l0.assign(2 * layer.weight_hh_l0.data)
    wanted, wanted_state = layer(x[1:2], state)
    _assert_near(step(x[1]), wanted[0])
    with fastrnn.use_backend("reference"):
        wanted, wanted_state = layer(x[2:3], wanted_state)
        _assert_near(step(x[2]), wanted[0])
    wanted, wanted_state = layer(x[3:4], wanted_state)
    _assert_near(step(x[3]), wanted[0])
    _assert_near(step.state, wanted_state)
    assert np.abs(y).max() > 0


def test_a_copy_goes_its_own_way():
    layer, x = _layer("gru"), _x()
    step = layer.stepper()
    step(x[0])
    twin = copy.deepcopy(step)
    ahead = twin(x[1])
    np.testing.assert_array_equal(step(x[1]), ahead)
    twin(x[2])
    _assert_near(step.state, layer(x[:2])[1])


def test_strided_and_read_only_vectors():
    layer, x = _layer("lstm"), np.asfortranarray(_x())
    x.flags.writeable = False
    step = layer.stepper()
    _assert_near(np.stack([step(row) for row in x]), layer(np.ascontiguousarray(x))[0])


@each_row(
    ("x", "error", "words"),
    [
        (np.zeros(I + 1, np.float32), ValueError, "^x_t must"),
        (np.zeros((2, I), np.float32), ValueError, r"\[I=6\] or a token id: one step .* shape \(2, 6\)"),
        (np.zeros(0, np.float32), ValueError, "one step"),
        (np.zeros(I), TypeError, "^x_t must be a float32 array"),
        (np.zeros(2, int), ValueError, r"one step of one sequence, got int64 array of shape \(2,\)"),
        (I, ValueError, "^x_t must hold token ids in -1..5, got 6"),
        (-2, ValueError, "got -2"),
        (1.5, TypeError, "^x_t must"),
        (None, TypeError, "^x_t must"),
    ],
)
def test_bad_input_leaves_the_state(x, error, words):
    layer, good = _layer("lstm"), _x()
    step = layer.stepper()
    step(good[0])
    before = step.state
    with pytest.raises(error, match=words):
        step(x)
    _assert_near(step.state, before)
    _assert_near(step(good[1]), layer(good[:2])[0][1])


def test_layers_that_cannot_be_stepped():
    with pytest.raises(ValueError, match="one direction"):
        fastrnn.LSTM(3, 4, bidirectional=True).stepper()
    with pytest.raises(ValueError, match="state's h"):
        fastrnn.LSTM(3, 4).stepper((np.zeros((1, 5), np.float32), np.zeros((1, 4), np.float32)))
