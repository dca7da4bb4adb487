"""The small layers by value, compared with PyTorch if it has them, with finite differences and with NumPy's functions.

For layers that combine time steps, values past a sequence's length, also NaN, change nothing.
"""

import copy

import numpy as np
import pytest
from differences import central_differences, normal, parameter_differences
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from fastrnn import (
    GRU,
    Activation,
    Add,
    Average,
    Concat,
    Lambda,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Multiply,
    RepeatVector,
    Sequential,
    VariationalDropout,
    sequence_mask,
)

F = np.float32
POOLS = {"last": Last, "mean": MeanPool, "max": MaxPool}
FUNCTIONS = ("tanh", "relu", "sigmoid", "softmax", "softplus", "gelu_tanh")
CUBE = Lambda(lambda x: x**3, lambda dy, x: 3 * x**2 * dy)
MIX = Lambda(lambda a, b: a @ b, lambda dy, a, b: (dy @ b.T, a.T @ dy))

# Each layer with the shapes of its inputs; ``lengths`` has the batch size of the first input.
CASES = {
    "last": (Last(), [(4, 3, 2)], [4, 1, 3]),
    "last of scalars": (Last(), [(4, 3)], [4, 1, 3]),
    "last of all": (Last(), [(4, 3, 2)], None),
    "mean": (MeanPool(), [(4, 3, 2)], [4, 1, 3]),
    "mean of scalars": (MeanPool(), [(4, 3)], [4, 1, 3]),
    "mean of all": (MeanPool(), [(4, 3, 2)], None),
    "max": (MaxPool(), [(4, 3, 2)], [4, 1, 3]),
    "max of grids": (MaxPool(), [(4, 3, 2, 2)], [4, 1, 3]),
    "max of all": (MaxPool(), [(4, 3, 2)], None),
    "concat": (Concat(), [(2, 3, 2), (2, 3, 4), (2, 3, 1)], None),
    "concat in the middle": (Concat(1), [(2, 3, 2), (2, 1, 2)], None),
    "add": (Add(), [(2, 3)] * 3, None),
    "add one": (Add(), [(2, 3)], None),
    "multiply": (Multiply(), [(2, 3)] * 3, None),
    "multiply two": (Multiply(), [(2, 3)] * 2, None),
    "average": (Average(), [(2, 3)] * 3, None),
    "average one": (Average(), [(2, 3)], None),
    "repeat": (RepeatVector(4), [(2, 3)], None),
    "layer norm": (LayerNorm(5, dtype="float64"), [(2, 3, 5)], None),
    "layer norm without weight": (LayerNorm(5, elementwise_affine=False, dtype="float64"), [(5,)], None),
    "layer norm without bias": (LayerNorm(5, 0.1, bias=False, dtype="float64"), [(3, 5)], None),
    "lambda": (CUBE, [(2, 3)], None),
    "lambda of two": (MIX, [(2, 3), (3, 4)], None),
    **{name: (Activation(name), [(2, 3, 4)], None) for name in FUNCTIONS},
}


def tupled(value):
    return value if isinstance(value, tuple) else (value,)


@each_row(("layer", "shapes", "lengths"), CASES.values())
def test_gradients_by_differences(layer, shapes, lengths):
    layer = copy.deepcopy(layer)  # CASES are shared with tests in other threads
    inputs = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    options = {} if lengths is None else {"lengths": lengths}
    for parameter in layer.parameters():
        parameter.assign(normal(*parameter.shape, seed=9))
        parameter.zero_grad()
    y, backward = layer.forward(*inputs, **options)
    np.testing.assert_array_equal(layer(*inputs, **options), y)
    dy = normal(*y.shape, seed=7)
    gradients = tupled(backward(dy))

    def loss():
        return np.sum(layer(*inputs, **options) * dy)

    for x, dx in zip(inputs, gradients, strict=True):
        np.testing.assert_allclose(dx, central_differences(loss, x), rtol=1e-6, atol=1e-8)
    for parameter in layer.parameters():
        np.testing.assert_allclose(parameter.grad, parameter_differences(loss, parameter), rtol=1e-6, atol=1e-8)


@each_row(("layer", "shapes", "lengths"), CASES.values())
def test_float32_is_float64_rounded(layer, shapes, lengths):
    if isinstance(layer, LayerNorm):
        layer = LayerNorm(**layer.config() | {"dtype": "float32"})
    exact = LayerNorm(**layer.config() | {"dtype": "float64"}) if isinstance(layer, LayerNorm) else layer
    inputs = [normal(*shape, seed=i).astype(F) for i, shape in enumerate(shapes)]
    options = {} if lengths is None else {"lengths": lengths}
    y, backward = layer.forward(*inputs, **options)
    y64, backward64 = exact.forward(*(x.astype(float) for x in inputs), **options)
    dy = normal(*y.shape, seed=7).astype(F)
    for single, double in zip((y, *tupled(backward(dy))), (y64, *tupled(backward64(dy.astype(float)))), strict=True):
        assert single.dtype == F
        np.testing.assert_allclose(single, double, rtol=2e-5, atol=2e-6)


BATCHES = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32 - 1), st.booleans())


@pytest.mark.parametrize("kind", POOLS.values(), ids=POOLS)
@settings(max_examples=60)
@given(BATCHES)
def test_a_pool_is_numpys_function_of_each_sequence_and_padding_never_leaks(kind, batch):
    T, B, size, seed, double = batch
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 3, (T, B, size)).astype("float64" if double else F)  # with equal values, and exact sums
    lengths = rng.integers(1, T + 1, B)
    padding = ~sequence_mask(lengths, T)
    x[padding] = np.nan
    y, backward = kind().forward(x, lengths)
    dy = rng.standard_normal((B, size)).astype(x.dtype)
    dx = backward(dy)
    np.testing.assert_array_equal(dx[padding], 0)
    np.testing.assert_array_equal(kind()(x, lengths), y)
    whole = {Last: lambda s: s[-1], MeanPool: lambda s: s.sum(0) / x.dtype.type(len(s)), MaxPool: lambda s: s.max(0)}[kind]
    for b, n in enumerate(lengths):
        np.testing.assert_array_equal(y[b], whole(x[:n, b]))
        alone, backward_alone = kind().forward(np.ascontiguousarray(x[:n, b : b + 1]))
        np.testing.assert_array_equal(alone[0], y[b])
        np.testing.assert_array_equal(backward_alone(dy[b : b + 1])[:, 0], dx[:n, b])


@pytest.mark.parametrize("kind", POOLS.values(), ids=POOLS)
def test_a_pool_streams(kind):
    x = normal(7, 3, 2)
    state, layer = None, kind()
    for start, stop in [(0, 1), (1, 4), (4, 7)]:
        y, state = layer.stream(x[start:stop], state=state)
        np.testing.assert_allclose(y, layer(x[:stop]), rtol=1e-14)


@pytest.mark.parametrize("kind", POOLS.values(), ids=POOLS)
def test_a_pool_in_a_sequential_has_its_lengths(kind):
    model = Sequential(GRU(2, 3, dtype="float64", rng=0), kind(), Linear(3, 2, dtype="float64", rng=1))
    x, lengths = normal(5, 3, 2), np.array([2, 5, 1])
    y, backward = model.forward(x, lengths)
    dx = backward(np.ones((3, 2)))
    for b, n in enumerate(lengths):
        alone, backward_alone = model.forward(x[:n, b : b + 1].copy())
        np.testing.assert_allclose(y[b], alone[0], rtol=1e-13)
        np.testing.assert_allclose(dx[:n, b], backward_alone(np.ones((1, 2)))[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(dx[~sequence_mask(lengths, 5)], 0)


def test_the_first_of_equal_values_has_the_gradient():
    x = np.array([[1.0], [3.0], [3.0]])
    _, backward = MaxPool().forward(x)
    np.testing.assert_array_equal(backward(np.array([2.0])), [[0], [2], [0]])
    _, backward = MaxPool().forward(np.full((3, 1), -np.inf), [2])
    np.testing.assert_array_equal(backward(np.array([2.0])), [[2], [0], [0]])


@each_row("dtype", ["float32", "float64"])
@each_row("options", [{}, {"bias": False}, {"elementwise_affine": False}, {"eps": 0.5}], ids=str)
def test_layer_norm_is_torchs(dtype, options):
    torch = pytest.importorskip("torch")
    ours, theirs = LayerNorm(6, **options, dtype=dtype), torch.nn.LayerNorm(6, **options, dtype=getattr(torch, dtype))
    for i, parameter in enumerate(ours.parameters()):
        parameter.assign(normal(6, seed=i).astype(dtype))
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in ours.state_dict().items()})
    assert repr(ours) == repr(theirs)
    x, dy = normal(4, 3, 6, seed=4).astype(dtype) * 3 + 1, normal(4, 3, 6, seed=5).astype(dtype)
    y, backward = ours.forward(x)
    x_t = torch.tensor(x, requires_grad=True)
    y_t = theirs(x_t)
    y_t.backward(torch.from_numpy(dy))
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_allclose(y, y_t.detach().numpy(), **tolerance)
    np.testing.assert_allclose(backward(dy), x_t.grad.numpy(), **tolerance)
    for name, parameter in ours.named_parameters():
        np.testing.assert_allclose(parameter.grad, getattr(theirs, name).grad.numpy(), **tolerance)


def test_layer_norm_adds_to_its_gradients_and_refuses_changed_parameters():
    layer, x, dy = LayerNorm(4, dtype="float64"), normal(3, 4), normal(3, 4, seed=2)
    layer.forward(x)[1](dy)
    first = [p.grad.copy() for p in layer.parameters()]
    _, backward = layer.forward(x)
    backward(dy)
    for parameter, grad in zip(layer.parameters(), first, strict=True):
        np.testing.assert_allclose(parameter.grad, 2 * grad, rtol=1e-14)
    layer.weight.assign(np.full(4, 2.0))
    with pytest.raises(RuntimeError, match="weight has changed since the forward pass"):
        backward(dy)


@each_row("name", FUNCTIONS)
@each_row("dtype", ["float32", "float64"])
def test_activations_are_torchs(name, dtype):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    theirs = {
        "softmax": lambda x: torch.softmax(x, -1),
        "softplus": lambda x: functional.softplus(x, threshold=1e9),
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    }.get(name) or getattr(torch, name)
    large = [1e4, -1e4, 700, -700, 90, -90, 0, 1e-3] if name != "softplus" else [80, -80, 20, -20, 0, 1e-3, 5, -5]
    x = np.stack([normal(8), np.array(large, float)]).astype(dtype)
    y, backward = Activation(name).forward(x)
    x_t = torch.tensor(x, requires_grad=True)
    y_t = theirs(x_t)
    dy = normal(*x.shape, seed=2).astype(dtype)
    y_t.backward(torch.from_numpy(dy))
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(y, y_t.detach().numpy(), **tolerance)
    np.testing.assert_allclose(backward(dy), x_t.grad.numpy(), **tolerance)


def test_infinite_values_go_through_silently():
    x = np.array([[np.inf, 1], [np.nan, 1]])
    np.testing.assert_array_equal(Activation("sigmoid")(x), [[1, 1 / (1 + np.exp(-1))], [np.nan, 1 / (1 + np.exp(-1))]])
    assert np.isnan(Activation("softmax")(x)).all()
    assert np.isnan(LayerNorm(2, dtype="float64")(x)).all()


def test_repeating_as_often_as_another_sequence_has_steps():
    x, like = normal(3, 2), np.zeros((5, 3), int)
    y, backward = RepeatVector().forward(x, like)
    np.testing.assert_array_equal(y, np.broadcast_to(x, (5, 3, 2)))
    dy = normal(5, 3, 2, seed=3)
    dx, dlike = backward(dy)
    np.testing.assert_allclose(dx, dy.sum(0))
    assert dlike is None
    layer = RepeatVector()
    part, state = layer.stream(x, like[:2])
    rest, state = layer.stream(x, like[2:], state=state)
    np.testing.assert_array_equal(np.concatenate([part, rest]), y)
    with pytest.raises(ValueError, match="x must be the same in every chunk"):
        layer.stream(x + 1, like, state=state)
    with pytest.raises(ValueError, match="cannot be streamed: it makes n steps of its own"):
        RepeatVector(3).stream(x)


def test_variational_dropout_draws_one_mask_for_all_steps():
    x = np.ones((50, 20, 100), F)
    layer = VariationalDropout(0.25, rng=0)
    assert layer(x) is x
    y, backward = layer.forward(x)
    np.testing.assert_array_equal(y, np.broadcast_to(y[0], y.shape))
    assert set(np.unique(y)) == {F(0), F(1 / 0.75)}
    assert abs(np.mean(y[0] == 0) - 0.25) < 0.03  # the share in 2000 draws
    assert len({row.tobytes() for row in y[0]}) == 20
    dy = normal(50, 20, 100).astype(F)
    np.testing.assert_array_equal(backward(dy), dy * y)
    assert not np.array_equal(layer.forward(x)[0], y)
    np.testing.assert_array_equal(VariationalDropout(0.25, rng=0).forward(x)[0], y)
    np.testing.assert_array_equal(VariationalDropout(1).forward(x)[0], 0)
    assert VariationalDropout(0).forward(x)[0] is x


def test_a_lambda_takes_ids_and_lengths():
    def masked(x, lengths=None):
        return x if lengths is None else x * sequence_mask(lengths, len(x))[..., None]

    layer = Lambda(masked, lambda dy, x, lengths=None: masked(dy, lengths), takes_lengths=True)
    model = Sequential(layer, MeanPool())
    x = normal(3, 2, 2)
    y, backward = model.forward(x, lengths=[1, 3])
    np.testing.assert_allclose(y, [x[0, 0], x[:, 1].mean(0)])
    np.testing.assert_allclose(
        backward(np.ones((2, 2))), sequence_mask([1, 3], 3)[..., None] / [[[1.0], [3.0]]] * np.ones(2)
    )
    gather = Lambda(lambda ids, table: table[ids], lambda dy, ids, table: (None, np.eye(4)[ids].T @ dy))
    _, backward = gather.forward(np.array([1, 1, 3]), normal(4, 2))
    dids, dtable = backward(np.ones((3, 2)))
    assert dids is None
    np.testing.assert_array_equal(dtable, [[0, 0], [2, 2], [0, 0], [1, 1]])
