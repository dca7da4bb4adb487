"""Models step by step and chunk by chunk give the results of the whole sequence at once, or an error says why not."""

import numpy as np
import pytest
from graphs import F64, encoder_decoder
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row
from test_graph import arrays

import fastrnn as nn
from fastrnn.text.beam import take_rows

T, B = 7, 3
DATA = np.random.default_rng(0).standard_normal((T, B, 4))
IDS = np.random.default_rng(1).integers(0, 4, (T, B))


def vectors():
    return nn.Input(("T", "B", 4), **F64)


def ids():
    return nn.Input(("T", "B"), dtype="int64")


LAYERS = {
    "rnn": (nn.RNN(4, 3, 2, **F64, rng=0), DATA),
    "gru": (nn.GRU(4, 3, **F64, rng=0), DATA),
    "gru before": (nn.GRU(4, 3, reset_after=False, **F64, rng=0), DATA),
    "lstm": (nn.LSTM(4, 3, 2, **F64, rng=0), DATA),
    "lstm projected": (nn.LSTM(4, 3, proj_size=2, peephole=True, **F64, rng=0), DATA),
    "lstm of ids": (nn.LSTM(4, 3, **F64, rng=0), IDS),
    "linear": (nn.Linear(4, 3, **F64, rng=0), DATA),
    "embedding": (nn.Embedding(4, 3, **F64, rng=0), IDS),
    "one-hot": (nn.OneHot(4, **F64), IDS),
    "dropout": (nn.Dropout(0.5), DATA),
    "variational dropout": (nn.VariationalDropout(0.5), DATA),
    "layer norm": (nn.LayerNorm(4, **F64), DATA),
    "activation": (nn.Activation("softmax"), DATA),
    "last": (nn.Last(), DATA),
    "mean": (nn.MeanPool(), DATA),
    "max": (nn.MaxPool(), DATA),
    "embedding and lstm": (
        nn.Sequential(nn.Embedding(4, 3, **F64, rng=0), nn.LSTM(3, 2, **F64, rng=1), nn.Linear(2, 3, **F64)),
        IDS,
    ),
    "one-hot and gru": (nn.Sequential(nn.OneHot(4, **F64), nn.GRU(4, 2, **F64, rng=1)), IDS),
    "sequential of sequentials": (
        nn.Sequential(nn.Sequential(nn.GRU(4, 2, **F64), nn.Dropout()), nn.RNN(2, 2, **F64), nn.MeanPool()),
        DATA,
    ),
}


def check_stream(model, inputs, along, chunks):
    """Compare a stream in ``chunks``, which sum to T, with the whole; inputs without ``along`` are read in the first."""
    whole = model(*inputs)
    state, parts, start = None, [], 0
    for n in chunks:
        now = [x[start : start + n] if moves else x if start == 0 else None for x, moves in zip(inputs, along, strict=True)]
        out, state = model.stream(*now, state=state)
        parts.append(arrays(out))
        start += n
    for i, wanted in enumerate(arrays(whole)):
        flows = model.graph.flat_outputs[i].spec.time is not None
        got = np.concatenate([part[i] for part in parts]) if flows else parts[-1][i]
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13)


def check_steps(model, inputs, along):
    whole, state, parts = model(*inputs), None, []
    for t in range(T):
        now = [x[t] if moves else x if t == 0 else None for x, moves in zip(inputs, along, strict=True)]
        out, state = model.step(*now, state=state)
        parts.append(arrays(out))
    for i, wanted in enumerate(arrays(whole)):
        flows = model.graph.flat_outputs[i].spec.time is not None
        got = np.stack([part[i] for part in parts]) if flows else parts[-1][i]
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13)


@each_row(("layer", "x"), LAYERS.values())
def test_every_layer_that_streams_is_the_whole(layer, x):
    model = nn.Model(symbol := ids() if x is IDS else vectors(), layer(symbol))
    check_steps(model, [x], [True])
    check_stream(model, [x], [True], [3, 1, 3])


def test_sequentials_step_too():
    model = LAYERS["embedding and lstm"][0]
    state, whole = None, model(IDS)
    for t in range(T):
        y, state = model.step(IDS[t], state)
        np.testing.assert_allclose(y, whole[t], rtol=0, atol=1e-13)
    first, state = model.stream(IDS[:4])
    rest, _ = model.stream(IDS[4:], state)
    np.testing.assert_allclose(np.concatenate([first, rest]), whole, rtol=0, atol=1e-13)
    with pytest.raises(TypeError, match="state must be the one that the last chunk returned, got 3"):
        model.step(IDS[0], 3)
    with pytest.raises(ValueError, match="layer 1, GRU: bidirectional: its reverse direction starts at the end"):
        nn.Sequential(nn.Linear(4, 4, **F64), nn.GRU(4, 3, bidirectional=True, **F64)).step(DATA[0])


@pytest.mark.parametrize("pool", [nn.Last, nn.MeanPool, nn.MaxPool])
def test_a_sequentials_step_past_a_pooling_is_of_the_whole_batch(pool):
    model, state = nn.Sequential(nn.GRU(4, 5, **F64, rng=0), pool(), nn.Linear(5, 2, **F64, rng=1)), None
    for t in range(T):
        y, state = model.step(DATA[t], state)
        np.testing.assert_allclose(y, model(DATA[: t + 1]), rtol=0, atol=1e-13)


@settings(max_examples=20)
@given(chunks=st.lists(st.integers(1, 4), min_size=1, max_size=5).filter(lambda chunks: sum(chunks) <= T))
def test_any_chunks(chunks):
    x, still = vectors(), nn.Input(("B", 3), **F64)
    y, h = nn.GRU(4, 4, **F64, rng=1)(
        x + nn.Linear(4, 4, **F64, rng=2)(x), nn.RepeatVector(1)(nn.Linear(3, 4, **F64, rng=3)(still))
    )
    z, (_, c) = nn.LSTM(4, 2, **F64, rng=4)(nn.Average()(y, x))
    model = nn.Model((x, still), (nn.Concat()(z, y), h, nn.Activation("tanh")(nn.MeanPool()(z)), c))
    check_stream(model, [DATA, DATA[0, :, :3]], [True, False], [*chunks, T - sum(chunks)] if sum(chunks) < T else chunks)


def test_a_decoder_steps_on_from_a_source_that_is_given_once():
    model = encoder_decoder().model
    rng = np.random.default_rng(0)
    source, target, lengths = rng.integers(0, 6, (5, B)), rng.integers(0, 6, (T, B)), {"S": [2, 5, 1]}
    whole, final = model(source, target, lengths=lengths)
    state = None
    for t in range(T):
        (y, now), state = model.step(source if t == 0 else None, target[t], state=state, lengths=lengths)
        np.testing.assert_allclose(y, whole[t], rtol=0, atol=1e-13)
    np.testing.assert_allclose(now, final, rtol=0, atol=1e-13)


def test_models_in_models_carry_their_states():
    x = vectors()
    inner = nn.Model(x, nn.Linear(4, 4, **F64, rng=1)(nn.GRU(4, 4, **F64, rng=2)(x)[0]))
    z = nn.Input(("S", "B", 4), **F64)
    outer = nn.Model(z, inner(inner(z)) * z)
    check_steps(outer, [DATA], [True])


def test_lengths_of_a_chunk():
    x = vectors()
    model = nn.Model(x, nn.Linear(3, 2, **F64, rng=1)(nn.GRU(4, 3, **F64, rng=2)(x)[0]))
    first, state = model.stream(DATA[:3])
    rest, _ = model.stream(DATA[3:], state, lengths=[4, 1, 2])
    np.testing.assert_allclose(np.concatenate([first, rest]), model(DATA, lengths=[7, 4, 5]), rtol=0, atol=1e-13)


def test_a_search_can_return_to_an_earlier_state():
    """A step does not change the state that it gets, so two searches may continue from one state."""
    x = vectors()
    model = nn.Model(x, (nn.LSTM(4, 3, **F64)(x)[0], nn.MaxPool()(x), nn.MeanPool()(x)))
    _, state = model.step(DATA[0])
    kept = [array.copy() for array in arrays(state)]
    once, _ = model.step(DATA[1], state)
    model.step(DATA[2], state)
    again, _ = model.step(DATA[1], state)
    for mine, theirs in zip(once, again, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(arrays(state), kept, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("embedded", [False, True])
def test_outputs_and_inputs_may_be_written_to_between_steps(kind, embedded):
    """The state has arrays of its own."""
    x, still = ids(), nn.Input(("B", 3), **F64)
    y, state = kind(4, 3, **F64, rng=1)(nn.Embedding(4, 4, **F64, rng=0)(x) if embedded else nn.OneHot(4, **F64)(x))
    model = nn.Model((x, still), (nn.Lambda(lambda y, still: y * still, pointwise=True)(y, still), state))
    features = np.arange(1.0, 10).reshape(B, 3)
    long = np.tile(IDS, (3, 1))  # enough for an embedding's table
    (whole, final), carried, start = model(long, features), None, 0
    given = features.copy()
    for n in (len(long) - 2, 1, 1):
        out, carried = model.stream(long[start : start + n], given, state=carried)
        np.testing.assert_allclose(out[0], whole[start : start + n], rtol=0, atol=1e-13)
        last = [array.copy() for array in arrays(out[1])]
        for array in (given, *arrays(out)):
            array[...] = 7
        start += n
    for mine, theirs in zip(last, arrays(final), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-13)


def reversed_in_time(x):
    return nn.Lambda(lambda x: x[::-1].copy(), lambda dy, x: dy[::-1].copy())(x)


def refusals():
    x, s = vectors(), nn.Input(("S", "B", 4), **F64)
    y, h = nn.GRU(4, 4, **F64)(x)
    yield (
        nn.Model(x, nn.GRU(4, 3, bidirectional=True, **F64)(x)[0]),
        "gru: bidirectional: its reverse direction starts at the end",
    )
    yield nn.Model(x, nn.GRU(4, 4, **F64).named("second")(x, h)[0]), "second takes a value that is known only at the end"
    yield nn.Model(x, nn.Multiply()(y, nn.Lambda(lambda h: h * 1, lambda dy, h: dy)(y))), "Lambda|lambda"
    yield nn.Model(x, reversed_in_time(x)), "lambda: "
    z = nn.Input(("B", 4), **F64)
    yield nn.Model(z, nn.Linear(4, 3, **F64)(z)), "no input has a variable time axis"
    yield nn.Model((x, s), (nn.Activation("tanh")(x), nn.Activation("tanh")(s))), "its outputs have several time axes: T, S"
    yield nn.Model((x, s), nn.Last()(x) + nn.Last()(s)), "its inputs have several time axes: T, S"
    source, state = nn.Input(("S", "B", 4), **F64, name="source"), nn.LSTM(4, 4, **F64)(s)[1]
    decoder = nn.Model((s, x), nn.LSTM(4, 4, **F64)(x, state)[0]).named("decoder")
    still = nn.Input(("B", 4), **F64, name="still")
    whole = nn.Model((source, still), nn.MeanPool()(decoder(source, nn.RepeatVector(3)(still))))
    yield whole, "decoder is streamed along another time axis than S"
    inner = nn.Model(x, nn.GRU(4, 4, bidirectional=True, **F64)(x)[0]).named("inner")
    yield nn.Model(x, inner(x)), "inner: gru: bidirectional"


@each_row(("model", "why"), list(refusals()), ids=lambda value: value if isinstance(value, str) else "")
def test_refusals_say_why(model, why):
    with pytest.raises(ValueError, match=f"cannot be streamed: .*({why})"):
        model.step(DATA[0])
    with pytest.raises(ValueError, match=f"cannot be streamed: .*({why})"):
        model.stream(DATA)


@pytest.mark.parametrize("nested", [False, True])
def test_lengths_of_a_still_sequence_hold_in_every_chunk(nested):
    """A GRU reads the whole padded y again after each chunk of x, from the state so far."""
    x, y = nn.Input(("S", "B", 4), **F64, name="x"), nn.Input(("T", "B", 2), **F64, name="y")
    outputs, state = nn.GRU(4, 3, **F64, rng=0)(x)
    z, _ = nn.GRU(2, 3, **F64, rng=1)(y, state)
    model = nn.Model((x, y), (outputs, nn.MeanPool()(z), nn.Activation("sigmoid")(z[1:])))
    if nested:
        model = nn.Model((x, y), model(x, y))
    Y, lengths = np.random.default_rng(1).standard_normal((3, 3, 2)), [3, 1, 2]
    _, mean, later = model(DATA, Y, lengths={"T": lengths})
    _, state = model.stream(DATA[:2], Y, lengths={"T": lengths})
    given = {"T": lengths, "S": [5, 0, 5]}  # it may still hold the lengths of y
    (_, mean_again, later_again), _ = model.stream(DATA[2:], None, state=take_rows(state, np.arange(3)), lengths=given)
    np.testing.assert_allclose(mean_again[[0, 2]], mean[[0, 2]], rtol=0, atol=1e-13)
    np.testing.assert_allclose(later_again[:, [0, 2]], later[:, [0, 2]], rtol=0, atol=1e-13)
    np.testing.assert_array_equal(later_again[0, 1], 0)


def test_a_still_initial_state_of_a_layer_on_values_so_far_holds_in_every_chunk():
    """A GRU reads two vectors that change with each chunk, and begins at the source's final state each time."""
    x, source = nn.Input(("S", "B", 4), **F64, name="x"), nn.Input(("T", "B", 4), **F64, name="source")
    encoder = nn.GRU(4, 3, **F64, rng=0)
    outputs, _ = nn.GRU(4, 4, **F64, rng=1)(x)
    both = nn.Stack()(nn.MeanPool()(x), nn.Last()(outputs))
    model = nn.Model((x, source), (outputs, encoder(both, encoder(source)[1])[1]))
    _, state = model.stream(DATA[:2], DATA)
    for again in (None, DATA):
        (_, last), _ = model.stream(DATA[2:], again, state=state)
        np.testing.assert_allclose(last, model(DATA, DATA)[1], rtol=0, atol=1e-13)


def test_the_arguments_of_a_step_are_checked():
    x = vectors()
    model = nn.Model(x, nn.GRU(4, 3, **F64)(x)[0])
    _, state = model.step(DATA[0])
    with pytest.raises(ValueError, match=r"input must be a float64 array of shape \[B, 4\], got .* shape \(7, 3, 4\)"):
        model.step(DATA)
    with pytest.raises(TypeError, match="state must be the one that this model's last step returned, or None, got 3"):
        model.step(DATA[0], 3)
    with pytest.raises(TypeError, match="the model takes 1"):
        model.step(DATA[0], DATA[0], state=state)
    with pytest.raises(ValueError, match="lengths must be None"):
        model.step(DATA[0], lengths=[1, 1, 1])
    other = nn.Model(x, nn.Linear(4, 3, **F64)(x) + nn.GRU(4, 3, **F64)(x)[0])
    with pytest.raises(
        TypeError, match=r"last step returned, or None, got \(\(float64 array of shape \(1, 3, 3\),\), \(\)\)$"
    ):
        other.step(DATA[0], state)
