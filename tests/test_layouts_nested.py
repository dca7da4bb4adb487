"""Models within a Sequential: an array, a list and single sequences give the same results for any batch size."""

import numpy as np
import pytest
from fit_data import assert_all_close, assert_same_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from fastrnn import (
    GRU,
    Embedding,
    Examples,
    Input,
    Last,
    Linear,
    MeanPool,
    Model,
    RepeatVector,
    Sequential,
    Slice,
    evaluate,
    fit,
    predict,
)
from fastrnn.layers._symbolic.input_spec import input_spec

D, C, V, T = 3, 2, 7, 5
F64 = {"dtype": "float64"}


def linear(a=C, b=C):
    return Linear(a, b, **F64, rng=5)


def gru(a=D, b=D, first=False):
    return GRU(a, b, batch_first=first, **F64, rng=6)


def embedding():
    return Embedding(V, D, **F64, rng=0)


def model(last=False, steps="T", size=D, ids=False, index=None):
    """Return a Model of sequences of vectors or ids, with an output for each step or for the last one."""
    x = Input((steps, "B"), dtype="int64") if ids else Input((steps, "B", size), **F64)
    y, _ = GRU(size, 4, **F64, rng=1)(embedding()(x) if ids else x)
    y = Linear(4, C, **F64, rng=2)(Last()(y) if last else y)
    return Model(x, y if index is None else y[index])


# For each name: the layers, the kind of x, and whether the output is one for each sequence instead of each step.
VECTORS = {
    "M": lambda: [model()],
    "M, linear": lambda: [model(), linear()],
    "linear, M": lambda: [linear(D, D), model()],
    "(M)": lambda: [Sequential(model())],
    "((M), linear)": lambda: [Sequential(Sequential(model()), linear())],
    "gru, M": lambda: [gru(), model()],
    "M, M": lambda: [model(), model(size=C)],
    "M(M)": lambda: [Model(x := Input(("S", "B", D), **F64), model()(x))],
    "M, one feature": lambda: [model(index=(..., 0))],
    "M, last, repeated, M": lambda: [model(last=True), RepeatVector(T), model(size=C)],
    "(gru, last, repeated, gru), linear": lambda: [Sequential(gru(), Last(), RepeatVector(T), gru()), linear(D)],
}
IDS = {
    "embedding, M": lambda: [embedding(), model()],
    "embedding, (M)": lambda: [embedding(), Sequential(model())],
    "M of ids": lambda: [model(ids=True)],
    "M of ids, M": lambda: [model(ids=True), model(size=C)],
    "(M of ids), linear": lambda: [Sequential(model(ids=True)), linear()],
}
VECTORS_SUMMED = {
    "M to last": lambda: [model(last=True)],
    "M, last": lambda: [model(), Last()],
    "linear, (linear, M to last)": lambda: [linear(D, D), Sequential(linear(D, D), model(last=True)), linear()],
    "(M, mean), linear": lambda: [Sequential(model(), MeanPool()), linear()],
}
IDS_SUMMED = {
    "embedding, M to last": lambda: [embedding(), model(last=True)],
    "M of ids to last": lambda: [model(last=True, ids=True)],
    "(M of ids to last), linear": lambda: [Sequential(model(last=True, ids=True)), linear()],
    "M of ids, last": lambda: [model(ids=True), Last()],
    "(embedding, gru, last), linear": lambda: [Sequential(embedding(), gru(), Last()), linear(D)],
    "((embedding, gru), [-1]), linear": lambda: [Sequential(Sequential(embedding(), gru()), Slice(-1)), linear(D)],
}
ALL = VECTORS | IDS | VECTORS_SUMMED | IDS_SUMMED
SUMMED = VECTORS_SUMMED | IDS_SUMMED


def made(kind):
    return Sequential(*ALL[kind]())


def sequences(kind, lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, V, n) if kind in IDS | IDS_SUMMED else rng.standard_normal((n, D)) for n in lengths]


def one_by_one(kind, x):
    """Return the outputs of the layers called by hand on each sequence alone."""
    found = []
    for row in x:
        y = row[:, None]
        for layer in made(kind).layers:
            y = layer(y)
            y = y[0] if isinstance(y, tuple) else y
        found.append(y[0] if kind in SUMMED else y[:, 0])
    return found


@pytest.mark.parametrize("kind", ALL)
@settings(max_examples=2)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=7), size=st.integers(1, 8))
def test_lists_and_arrays_are_one_by_one(kind, lengths, size):
    x, same = sequences(kind, lengths), sequences(kind, [lengths[0]] * len(lengths))
    assert_all_close(predict(made(kind), Examples(x), size), one_by_one(kind, x))
    assert_all_close(predict(made(kind), Examples(np.stack(same)), size), one_by_one(kind, same))


@each_row("kind", [kind for kind in ALL if kind != "M, one feature"])
def test_training_on_an_array_is_that_on_a_list(kind):
    x, rng = sequences(kind, [T] * 9), np.random.default_rng(1)
    y = rng.integers(0, C, 9 if kind in SUMMED else (9, T))
    weights, figures = [], []
    for values in (np.stack(x), x):
        net, examples = made(kind), Examples(values, y)
        fit(net, examples, epochs=2, batch_size=4, lr=0.01)
        weights.append(net.state_dict())
        figures += [evaluate(net, examples, metrics="accuracy", batch_size=size) for size in (2, 9)]
    assert_same_weights(*weights)
    assert all(other == pytest.approx(figures[0], rel=1e-12) for other in figures[1:])


@each_row(
    ("layers", "ids", "time_first"),
    [
        (lambda first: [gru(first=first), model()], False, True),
        (lambda first: [model(), gru(C, D, first)], False, True),
        (lambda first: [model(index=(..., slice(1))), gru(1, D, first)], False, True),
        (lambda first: [model(ids=True), gru(C, D, first)], True, True),
        (lambda first: [embedding(), gru(first=first), model(last=True)], True, False),
        (lambda first: [model(last=True, ids=True), RepeatVector(T), gru(C, D, first)], True, True),
        (lambda first: [Sequential(embedding(), MeanPool()), RepeatVector(T), gru(D, D, first)], True, True),
    ],
)
def test_within_a_batch_first_sequential(layers, ids, time_first):
    x = np.stack(sequences("M of ids" if ids else "M", [T] * 6))
    y = Sequential(*layers(False))(x.swapaxes(0, 1).copy())
    for values in (x, list(x)):
        for size in (1, 4):
            outputs = predict(Sequential(*layers(True)), Examples(values), size)
            np.testing.assert_allclose(outputs, y.swapaxes(0, 1) if time_first else y, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("layers", [lambda: [model(steps=T)], lambda: [linear(D, D), Sequential(model(steps=T)), linear()]])
def test_a_fixed_number_of_steps(layers):
    x = np.random.default_rng(0).standard_normal((6, T, D))
    y = Sequential(*layers())(x.swapaxes(0, 1).copy()).swapaxes(0, 1)
    for values in (x, list(x)):
        for size in (1, 4):
            np.testing.assert_allclose(predict(Sequential(*layers()), Examples(values), size), y, rtol=1e-12)
    with pytest.raises(ValueError, match=r"input must be float64 \[5, B, 3\]"):
        predict(Sequential(*layers()), Examples(x[:, 1:]))


def test_rows_whose_second_axis_is_not_time():
    x = Input(("B", "N", D), **F64)
    net = Sequential(Model(x, Linear(D, C, **F64, rng=2)(x)))
    values = np.random.default_rng(0).standard_normal((6, T, D))
    np.testing.assert_allclose(predict(net, Examples(values), 2), net(values), rtol=1e-12)


def test_a_model_refuses_the_batch_in_another_place():
    x, rows = Input(("T", "B", D), **F64, name="x"), Input(("B", 4, D), **F64)
    with pytest.raises(ValueError, match=r"x must be float64 \[T, B, 3\], got float64 \[B, 4, 3\]"):
        Model(x, GRU(D, 4, **F64)(x)[0])(rows)
    y = Input(("B", "N"), **F64, name="y")
    with pytest.raises(ValueError, match=r"y must be float64 \[B, N\], got float64 \[T, B\]"):
        Model(y, y * y)(Input(("T", "B"), **F64))


def test_it_learns_from_an_array():
    """With time and batch swapped, the accuracy was 0.67."""
    x = np.random.default_rng(0).standard_normal((200, 12, D)).astype(np.float32)
    y = (np.cumsum(x[:, :, 0], axis=1) > 0).astype(np.int64)
    i = Input(("T", "B", D))
    net = Sequential(Model(i, Linear(16, C, rng=2)(GRU(D, 16, rng=1)(i)[0])))
    assert net.fit(Examples(x, y), epochs=15, lr=0.02, metrics="accuracy")["accuracy"][-1] > 0.95


@pytest.mark.parametrize(
    ("layers", "shown"),
    [
        (lambda: [model(size=4), linear()], r"float64 [T, B, 4]"),
        (lambda: [Sequential(model(ids=True))], r"int64 [T, B]"),
        (lambda: [model(size=4), gru(C, D, first=True)], r"float64 [B, T, 4]"),
    ],
)
def test_a_summary_begins_with_what_the_model_says(layers, shown):
    assert str(input_spec(Sequential(*layers()), None, None)) == shown
    Sequential(*layers()).summary()
