"""Merged directions, and dropout of inputs and of states by one mask over time."""

import json
import operator

import numpy as np
import pytest
from differences import central_differences, flat, make, normal, parameter_differences

from fastrnn import GRU, LSTM, RNN, Embedding, Input, Model, OneHot, Sequential, VariationalDropout, sequence_mask
from fastrnn.layers.dropout import draw_mask
from fastrnn.losses import softmax_cross_entropy
from fastrnn.text.char_model import CharModel

KINDS = {
    "rnn": (RNN, {}),
    "gru": (GRU, {}),
    "gru reset before": (GRU, {"reset_after": False}),
    "gru without reset": (GRU, {"reset_gate": False}),
    "lstm": (LSTM, {}),
    "lstm with all": (LSTM, {"peephole": True, "proj_size": 2}),
}
EVERY_KIND = pytest.mark.parametrize(("kind", "options"), KINDS.values(), ids=KINDS)
MERGES = {"sum": operator.add, "mul": operator.mul, "average": lambda a, b: (a + b) / 2}
LENGTHS = np.array([5, 2, 3])


def halves(y):
    return np.split(y, 2, axis=-1)


# The merge modes do not depend on the cell, so the quick set shows each with two cells.
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    ("kind", "options", "merge"),
    [
        pytest.param(*KINDS[name], merge, marks=() if i % 3 == j else pytest.mark.slow, id=f"{name}-{merge}")
        for i, name in enumerate(KINDS)
        for j, merge in enumerate(("sum", "mul", "average"))
    ],
)
def test_merged_directions_are_those_side_by_side_merged(kind, options, batch_first, merge):
    layer = make(kind, L=2, bidirectional=True, merge=merge, batch_first=batch_first, **options)
    Y = options.get("proj_size", 4)
    first, second = make(kind, bidirectional=True, **options), make(kind, I=Y, bidirectional=True, **options)
    for i, one in enumerate((first, second)):
        one.load_state_dict({n.replace(f"_l{i}", "_l0"): a for n, a in layer.state_dict().items() if f"_l{i}" in n})
    x = normal(5, 3, 3)
    y1, state1 = first(x, lengths=LENGTHS)
    y2, state2 = second(MERGES[merge](*halves(y1)), lengths=LENGTHS)
    y, state = layer(x.swapaxes(0, 1) if batch_first else x, lengths=LENGTHS)
    y = y.swapaxes(0, 1) if batch_first else y
    np.testing.assert_array_equal(y, MERGES[merge](*halves(y2)))
    for whole, *parts in zip(flat(state), flat(state1), flat(state2), strict=True):
        np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("merge", ["sum", "mul", "average"])
def test_merged_directions_are_torchs(merge, dtype):
    torch = pytest.importorskip("torch")
    layer = GRU(3, 4, 2, bidirectional=True, merge=merge, dtype=dtype, rng=0)
    theirs = [torch.nn.GRU(size, 4, bidirectional=True, dtype=getattr(torch, dtype)) for size in (3, 4)]
    for i, module in enumerate(theirs):
        own = {n.replace(f"_l{i}", "_l0"): torch.from_numpy(a) for n, a in layer.state_dict().items() if f"_l{i}" in n}
        module.load_state_dict(own)
    x, dy = normal(6, 2, 3).astype(dtype), normal(6, 2, 4, seed=2).astype(dtype)
    (y, _), backward = layer.forward(x)
    dx, _ = backward(dy)
    x_t = torch.tensor(x, requires_grad=True)
    y_t = x_t
    for module in theirs:
        y_t = MERGES[merge](*torch.chunk(module(y_t)[0], 2, -1))
    y_t.backward(torch.from_numpy(dy))
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(y, y_t.detach().numpy(), **tolerance)
    np.testing.assert_allclose(dx, x_t.grad.numpy(), **tolerance)
    for i, module in enumerate(theirs):
        for name, parameter in module.named_parameters():
            ours = getattr(layer, name.replace("_l0", f"_l{i}"))
            np.testing.assert_allclose(ours.grad, parameter.grad.numpy(), **tolerance, err_msg=name)


def check_by_differences(layer, x, seed=None):
    """Compare the gradients of parameters, x and the initial state with differences, with the masks of this seed."""
    state = tuple(normal(*a.shape, seed=3) for a in flat(layer(x)[1]))
    state = state if len(state) > 1 else state[0]

    def run():
        if seed is not None:
            layer.set_rng(np.random.default_rng(seed))
        return layer.forward(x, state, LENGTHS)

    (y, final), backward = run()
    dy, dfinal = normal(*y.shape, seed=4), [normal(*a.shape, seed=5) for a in flat(final)]

    def loss():
        (y, final), _ = run()
        return np.sum(y * dy) + sum(np.sum(a * da) for a, da in zip(flat(final), dfinal, strict=True))

    dx, dstate = backward(dy, tuple(dfinal) if len(dfinal) > 1 else dfinal[0])
    tolerance = {"rtol": 1e-5, "atol": 1e-8}
    np.testing.assert_allclose(dx, central_differences(loss, x), **tolerance)
    for array, gradient in zip(flat(state), flat(dstate), strict=True):
        np.testing.assert_allclose(gradient, central_differences(loss, array), **tolerance)
    for name, parameter in layer.named_parameters():
        np.testing.assert_allclose(parameter.grad, parameter_differences(loss, parameter), **tolerance, err_msg=name)


@pytest.mark.parametrize("merge", ["sum", "mul", "average"])
def test_merged_gradients_by_differences(merge):
    check_by_differences(make(LSTM, H=3, L=2, bidirectional=True, merge=merge, proj_size=2), normal(5, 3, 3))


ALL = {"recurrent_dropout": 0.3, "input_dropout": 0.3, "dropout": 0.3}
DROPOUTS = [{"recurrent_dropout": 0.4}, {"input_dropout": 0.4}, pytest.param(ALL, marks=pytest.mark.slow)]


@pytest.mark.parametrize("dropouts", DROPOUTS, ids=str)
@EVERY_KIND
def test_dropped_gradients_by_differences(kind, options, dropouts):
    both_ways = {"bidirectional": True, "merge": "sum"} if dropouts is ALL else {}
    check_by_differences(make(kind, H=3, L=2, **both_ways, **dropouts, **options), normal(5, 3, 3), seed=6)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def next_state(kind, options, weights, p, h, c, m):
    """Return the next state, with m * h instead of h in the recurrent product and nowhere else."""
    W, R, b_ih, b_hh = weights
    p, q = p @ W.T + b_ih, (m * h) @ R.T + b_hh
    H = h.shape[1]
    if kind is RNN:
        return np.tanh(p + q), c
    if kind is LSTM:
        i, f, g, o = np.split(p + q, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (p_r, p_z, p_n), (q_r, q_z, q_n) = np.split(p, 3, axis=1), np.split(q, 3, axis=1)
    r, z = sigmoid(p_r + q_r), sigmoid(p_z + q_z)
    if not options.get("reset_after", True):
        return (1 - z) * np.tanh(p_n + (r * m * h) @ R[2 * H :].T + b_hh[2 * H :]) + z * h, c
    return (1 - z) * np.tanh(p_n + r * q_n) + z * h, c


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["rnn", "gru", "gru reset before", "lstm"])
def test_the_state_loses_the_same_features_at_each_step(name, dtype):
    kind, options = KINDS[name]
    layer = kind(3, 4, dtype=dtype, rng=0, recurrent_dropout=0.5, **options)
    layer.set_rng(np.random.default_rng(1))
    m = draw_mask((4,), dtype, 0.5, np.random.default_rng(1))
    assert 0 < np.count_nonzero(m) < 4
    x = normal(6, 2, 3).astype(dtype)
    (y, _), _ = layer.forward(x)
    h = c = np.zeros((2, 4))
    for t, p in enumerate(x):
        h, c = next_state(kind, options, [w.data for w in layer.all_weights[0]], p, h, c, m)
        np.testing.assert_allclose(
            y[t], h, rtol=1e-12 if dtype == "float64" else 1e-4, atol=1e-6 if dtype == "float32" else 0
        )


@EVERY_KIND
def test_inference_drops_nothing(kind, options):
    plain = make(kind, L=2, **options)
    dropping = make(kind, L=2, input_dropout=0.5, recurrent_dropout=0.5, **options)
    x = normal(4, 2, 3)
    for ours, theirs in zip(flat(dropping(x)), flat(plain(x)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    before = plain.forward(x)[0][0]
    (y, _), backward = make(kind, L=2, recurrent_dropout=0.0, input_dropout=0.0, **options).forward(x)
    np.testing.assert_array_equal(y, before)
    backward(y)


def test_input_dropout_is_variational_dropout_before_each_layer():
    layer = make(GRU, L=2, input_dropout=0.5)
    parts = [make(GRU), make(GRU, I=4)]
    for i, part in enumerate(parts):
        part.load_state_dict({n.replace(f"_l{i}", "_l0"): a for n, a in layer.state_dict().items() if f"_l{i}" in n})
    model = Sequential(VariationalDropout(0.5), parts[0], VariationalDropout(0.5), parts[1])
    x, dy = normal(5, 3, 3), normal(5, 3, 4, seed=2)
    layer.set_rng(np.random.default_rng(3))
    model.set_rng(np.random.default_rng(3))
    (y, _), backward = layer.forward(x, lengths=LENGTHS)
    wanted, backward_wanted = model.forward(x, LENGTHS)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(backward(dy)[0], backward_wanted(dy))


def test_padding_never_leaks_through_masks_and_merging():
    layer = make(GRU, L=2, bidirectional=True, merge="mul", input_dropout=0.5, recurrent_dropout=0.5, dropout=0.5)
    padding = ~sequence_mask(LENGTHS, 5)
    results = []
    for garbage in (0.0, np.nan, np.inf):
        x, dy = normal(5, 3, 3), normal(5, 3, 4, seed=2)
        x[padding] = dy[padding] = garbage
        layer.zero_grad()
        layer.set_rng(np.random.default_rng(3))
        (y, h), backward = layer.forward(x, lengths=LENGTHS)
        dx, dh = backward(dy)
        np.testing.assert_array_equal(y[padding], 0)
        np.testing.assert_array_equal(dx[padding], 0)
        results.append([y, h, dx, dh, *(p.grad.copy() for p in layer.parameters())])
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dropouts", [{"recurrent_dropout": 0.5}, {"input_dropout": 0.5}], ids=str)
def test_an_embedding_before_a_dropping_layer(dropouts):
    ids = np.random.default_rng(0).integers(-1, 4, (9, 3))  # enough ids for a table
    results = []
    for apart in (False, True):
        embedding, layer = Embedding(4, 3, dtype="float64", rng=1), make(LSTM, bidirectional=True, **dropouts)
        layer.set_rng(np.random.default_rng(3))
        if apart:
            vectors, embedding_backward = embedding.forward(ids)
            (y, _), layer_backward = layer.forward(vectors)
            embedding_backward(layer_backward(normal(9, 3, 8, seed=2))[0])
        else:
            y, backward = Sequential(embedding, layer).forward(ids)
            assert backward(normal(9, 3, 8, seed=2)) is None
        results.append([y, *(p.grad for p in (*embedding.parameters(), *layer.parameters()))])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("graph", [False, True])
def test_input_dropout_that_is_set_later(graph):
    """A OneHot that has passed on ids then makes vectors."""
    ids, layer = np.array([[0, 2], [1, -1]]), make(GRU)
    one_hot = OneHot(3, dtype="float64")
    model = Sequential(one_hot, layer)
    if graph:
        model = Model(x := Input(("T", "B"), dtype="int64"), layer(one_hot(x))[0])
    np.testing.assert_allclose(model.forward(ids)[0], layer(one_hot(ids))[0], rtol=0, atol=1e-14)
    layer.input_dropout = 0.5
    results = []
    for forward in (lambda: model.forward(ids)[0], lambda: layer.forward(one_hot(ids))[0][0]):
        layer.set_rng(np.random.default_rng(3))
        results.append(forward())
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(model(ids), layer(one_hot(ids))[0], rtol=0, atol=1e-14)


def test_ids_have_no_features_to_drop():
    ids, layer = np.array([[0, 2], [1, -1]]), make(GRU, input_dropout=0.5)
    with pytest.raises(ValueError, match="x must be vectors for input_dropout: ids go through an Embedding or a OneHot"):
        layer.forward(ids)
    layer.set_rng(np.random.default_rng(3))
    y, backward = Sequential(OneHot(3, dtype="float64"), layer).forward(ids)
    assert backward(y) is None
    layer.set_rng(np.random.default_rng(3))
    np.testing.assert_array_equal(layer.forward(np.vstack([np.eye(3), np.zeros(3)])[ids])[0][0], y)


def test_options_can_be_changed_and_are_described():
    layer = GRU(
        3, 4, 2, bidirectional=True, merge="sum", dropout=0.25, input_dropout=0.5, recurrent_dropout=0.5, dtype="float64"
    )
    assert repr(layer) == (
        "GRU(3, 4, num_layers=2, dropout=0.25, bidirectional=True, merge='sum', input_dropout=0.5, recurrent_dropout=0.5)"
    )
    again = GRU(**json.loads(json.dumps(layer.config())))
    assert again.config() == layer.config()
    again.load_state_dict(layer.state_dict())
    x = normal(4, 2, 3)
    again.dropout = again.input_dropout = again.recurrent_dropout = 0.0
    np.testing.assert_array_equal(again.forward(x)[0][0], layer(x)[0])


def test_bad_options_are_named():
    calls = [
        (
            lambda: GRU(3, 4, bidirectional=True, merge="max"),
            "merge must be one of 'concat', 'sum', 'mul', 'average', got 'max'",
        ),
        (lambda: GRU(3, 4, merge="sum"), "merge='sum' needs bidirectional=True"),
        (lambda: RNN(3, 4, input_dropout=2), r"input_dropout must lie in \[0, 1\], got 2"),
        (lambda: LSTM(3, 4, recurrent_dropout=-1), r"recurrent_dropout must lie in \[0, 1\], got -1"),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=message):
            call()
    layer = make(GRU, bidirectional=True, merge="sum")
    _, backward = layer.forward(normal(4, 2, 3))
    with pytest.raises(ValueError, match=r"dy must be .*\(4, 2, 4\), got .*\(4, 2, 8\)"):
        backward(normal(4, 2, 8))


def test_torch_has_none_of_it():
    pytest.importorskip("torch")
    from fastrnn.torch import to_torch

    for options in ({"bidirectional": True, "merge": "sum"}, {"input_dropout": 0.5}, {"recurrent_dropout": 0.5}):
        *_, name = options
        with pytest.raises(ValueError, match=f"torch has no {name}"):
            to_torch(GRU(3, 4, **options))


def test_a_language_model_that_drops_states_learns_with_its_masks():
    ids, targets = np.random.default_rng(0).integers(0, 5, (2, 6, 3))
    model = CharModel(5, "gru", 2, 4, dtype="float64", rng=0)
    model.recurrent.recurrent_dropout = 0.5
    results = []
    for in_one_call in (True, False):
        model.zero_grad()
        model.set_rng(np.random.default_rng(1))
        if in_one_call:
            loss, _ = model.learn(ids, targets)
        else:
            (logits, _), backward = model.forward(ids)
            loss, dlogits = softmax_cross_entropy(logits, targets)
            backward(dlogits)
        results.append([loss, *(p.grad.copy() for p in model.parameters())])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)
