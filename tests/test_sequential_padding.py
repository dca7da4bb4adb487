"""Sequential with lengths equals the Model of the same layers; padding changes nothing; backward without dx."""

import numpy as np
import pytest
from graphs import F64
from tables import each_row

import fastrnn as nn

LENGTHS = np.array([2, 5, 1])
OUTSIDE = np.arange(5)[:, None] >= LENGTHS


def log():
    return nn.Lambda(np.log, lambda dy, x: dy / x, pointwise=True)


CHAINS = {
    "linear first": lambda: [
        nn.Linear(2, 3, **F64, rng=0),
        nn.GRU(3, 4, **F64, rng=1),
        nn.Last(),
        nn.Linear(4, 2, **F64, rng=2),
    ],
    "over time": lambda: [nn.GRU(2, 3, bidirectional=True, **F64, rng=0), nn.Linear(6, 2, **F64, rng=1)],
    "recurrent alone": lambda: [nn.LSTM(2, 3, **F64, rng=0)],
    "infinite at zero": lambda: [log(), nn.Linear(2, 3, **F64, rng=0), nn.LayerNorm(3, **F64)],
    "embedding": lambda: [nn.Embedding(6, 3, **F64, rng=0), nn.RNN(3, 4, **F64, rng=1), nn.Activation("softmax")],
    "one-hot": lambda: [nn.OneHot(6, **F64), nn.GRU(6, 4, **F64, rng=1), nn.MeanPool(), nn.Linear(4, 2, **F64, rng=2)],
    "ids": lambda: [nn.LSTM(6, 4, **F64, rng=1), nn.Linear(4, 2, **F64, rng=2)],
    "nested": lambda: [
        nn.Sequential(nn.Linear(2, 3, **F64, rng=0), nn.Dropout(0.0)),
        nn.Sequential(nn.GRU(3, 2, **F64), nn.Linear(2, 2, **F64)),
    ],
}


def data(layers):
    """Return an input for the layers, the same input with other values in the padding, and its Input."""
    rng = np.random.default_rng(0)
    ids = isinstance(layers[0], (nn.Embedding, nn.OneHot)) or getattr(layers[0], "input_size", 0) == 6
    x = rng.integers(0, 6, (5, 3)) if ids else rng.random((5, 3, 2)) + 0.5
    soiled = x.copy()
    soiled[OUTSIDE] = 1000 if ids else np.nan
    return x, soiled, nn.Input(("T", "B"), dtype="int64") if ids else nn.Input(("T", "B", 2), **F64)


def trained(model, x, dy, lengths=LENGTHS, **options):
    """Return y, dx, and the parameters' gradients."""
    model.zero_grad()
    y, backward = model.forward(x, lengths=lengths)
    np.testing.assert_allclose(model(x, lengths=lengths), y, rtol=0, atol=1e-13)
    dx = backward(dy, **options)
    return [y, *([] if dx is None else [dx]), *(parameter.gradient().copy() for parameter in model.parameters())]


def soiled_like(y):
    dy = np.random.default_rng(1).standard_normal(y.shape)
    if y.shape[:2] == OUTSIDE.shape:
        dy[OUTSIDE] = np.nan
    return dy


@each_row("make", CHAINS.values())
def test_it_is_the_model_of_its_layers(make):
    layers = make()
    x, soiled, symbol = data(layers)
    value = symbol
    for layer in layers:
        value = layer(value)
        value = value[0] if isinstance(value, tuple) else value
    chain, model = nn.Sequential(*layers), nn.Model(symbol, value)
    dy = soiled_like(chain(x, lengths=LENGTHS))
    for got, wanted in zip(trained(chain, soiled, dy), trained(model, x, dy), strict=True):
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13)
    if chain.not_streaming() is None:
        np.testing.assert_allclose(chain.stream(soiled, lengths=LENGTHS)[0], chain(x, lengths=LENGTHS), rtol=0, atol=1e-13)


def test_batch_first():
    ours, theirs = (
        nn.Sequential(nn.GRU(2, 3, **F64, rng=0, batch_first=first), nn.Linear(3, 2, **F64, rng=1))
        for first in (False, True)
    )
    linear_first = nn.Sequential(nn.Linear(2, 2, **F64, rng=2), theirs)
    x, soiled, _ = data(ours.layers)
    dy = soiled_like(ours(x))
    wanted = trained(ours, x, dy)
    got = trained(theirs, soiled.swapaxes(0, 1), dy.swapaxes(0, 1))
    for mine, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine.swapaxes(0, 1) if mine.ndim == 3 else mine, other, rtol=0, atol=1e-13)
    assert all(np.isfinite(a).all() for a in trained(linear_first, soiled.swapaxes(0, 1), dy.swapaxes(0, 1)))
    with pytest.raises(ValueError, match="in a graph the time axis is the first: make its layers without batch_first"):
        theirs(nn.Input(("T", "B", 2), **F64))


def test_a_layer_that_does_not_declare_how_it_treats_padding():
    centred = nn.Lambda(lambda x: x - x.mean(axis=0), lambda dy, x: dy - dy.mean(axis=0))
    x = np.random.default_rng(0).standard_normal((5, 3, 2))
    np.testing.assert_array_equal(nn.Sequential(centred)(x, lengths=[5, 5, 5]), x - x.mean(axis=0))
    with pytest.raises(ValueError, match="Lambda cannot have lengths: it would read padding"):
        nn.Sequential(centred)(x, lengths=LENGTHS)
    with pytest.raises(ValueError, match=r"lengths must each lie in 0\.\.T = 0\.\.5, got -1"):
        nn.Sequential(log())(x, lengths=[5, -1, 5])


@pytest.mark.parametrize("make", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_without_dx_the_parameters_gradients_are_the_same(make, lengths):
    chain = nn.Sequential(nn.Dropout(0.0), *make()) if make is CHAINS["over time"] else nn.Sequential(*make())
    x, _, _ = data(make())
    dy = np.random.default_rng(1).standard_normal(chain(x).shape)
    whole = trained(chain, x, dy, lengths)
    without = trained(chain, x, dy, lengths, need_dx=False)
    assert len(without) == 1 + len(chain.parameters())
    for got, wanted in zip(without[1:], whole[-len(without) + 1 :], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_backward_stops_at_the_first_layer_with_parameters():
    def never(dy, x):
        raise AssertionError("nobody asked for this gradient")

    first = nn.Lambda(np.tanh, never, pointwise=True)
    chain, x = nn.Sequential(first, nn.Linear(2, 3, **F64, rng=0), nn.Activation("tanh")), np.ones((4, 2))
    y, backward = chain.forward(x)
    assert backward(np.ones_like(y), need_dx=False) is None
    np.testing.assert_allclose(chain[1].bias.grad, (1 - y**2).sum(axis=0))
    y, backward = nn.Sequential(first).forward(x)
    assert backward(np.ones_like(y), need_dx=False) is None
