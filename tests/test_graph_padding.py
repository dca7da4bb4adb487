"""Lengths in a graph: a batch gives the results of its sequences one by one, and the padding changes no bit."""

import numpy as np
import pytest
from graphs import CASES, F64
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row
from test_graph import arrays, nested, run_backward, upstream

import fastrnn as nn
from fastrnn.losses import softmax_cross_entropy


def results(model, inputs, lengths, douts):
    """Return the outputs, the gradients of the inputs and the gradients of the parameters."""
    for parameter in model.parameters():
        parameter.zero_grad()
    outputs, backward = model.forward(*inputs, lengths=lengths)
    for mine, again in zip(arrays(outputs), arrays(model(*inputs, lengths=lengths)), strict=True):
        np.testing.assert_allclose(again, mine, rtol=0, atol=1e-13)
    dinputs = run_backward(backward, outputs, douts)
    return outputs, arrays(dinputs), [parameter.grad.copy() for parameter in model.parameters()]


def cut(array, spec, lengths, b):
    """Return one sequence of a batch, without its padding."""
    where = [slice(b, b + 1) if axis == "B" else slice(None) for axis in spec.shape]
    if spec.time is not None:
        where[0] = slice(lengths[spec.time][b]) if spec.time in lengths else slice(None)
    return array[tuple(where)]


def soiled(array, spec, lengths, rng):
    """Return the array with other values in its padding: NaN, or invalid ids."""
    array = array.copy()
    for b, n in enumerate(lengths.get(spec.time, ())):
        array[n:, b] = np.nan if array.dtype.kind == "f" else rng.integers(-1000, 1000)
    return array


def check_padding(model, inputs, lengths):
    """Compare a batch with itself with other and longer padding, and with its sequences one by one."""
    rng = np.random.default_rng(3)
    in_specs, out_specs = ([s.spec for s in symbols] for symbols in (model.graph.flat_inputs, model.graph.flat_outputs))
    douts = upstream(model(*inputs, lengths=lengths))
    outputs, dinputs, dparams = results(model, inputs, lengths, douts)

    dirty = [soiled(x, spec, lengths, rng) for x, spec in zip(inputs, in_specs, strict=True)]
    dirty_douts = [soiled(g, spec, lengths, rng) for g, spec in zip(douts, out_specs, strict=True)]
    longer = [np.concatenate([x, x[:1] * 0 + 7]) if spec.time else x for x, spec in zip(dirty, in_specs, strict=True)]
    longer_douts = [np.concatenate([g, g[:1]]) if spec.time else g for g, spec in zip(dirty_douts, out_specs, strict=True)]
    longer_douts = [soiled(g, spec, lengths, rng) for g, spec in zip(longer_douts, out_specs, strict=True)]
    for xs, gs in ((dirty, dirty_douts), (longer, longer_douts)):
        again, dagain, dparams_again = results(model, xs, lengths, gs)
        for mine, other in zip([*arrays(outputs), *dinputs], [*arrays(again), *dagain], strict=True):
            same = other if other.shape == mine.shape else other[: len(mine)]
            np.testing.assert_allclose(same, mine, rtol=0, atol=0 if xs is dirty else 1e-12)
            np.testing.assert_array_equal(other[len(same) :], 0)
        for mine, other in zip(dparams, dparams_again, strict=True):
            np.testing.assert_allclose(other, mine, rtol=0, atol=0 if xs is dirty else 1e-12)

    total = [np.zeros_like(gradient) for gradient in dparams]
    flat_specs = [spec for spec in in_specs if spec.dtype != "int64"]
    for b in range(inputs[0].shape[in_specs[0].shape.index("B")]):
        alone = [cut(x, spec, lengths, b) for x, spec in zip(inputs, in_specs, strict=True)]
        wanted, dalone, dp = results(
            model, alone, None, [cut(g, s, lengths, b) for g, s in zip(douts, out_specs, strict=True)]
        )
        for mine, spec, theirs in zip(arrays(outputs), out_specs, arrays(wanted), strict=True):
            np.testing.assert_allclose(cut(mine, spec, lengths, b), theirs, rtol=0, atol=1e-12)
        for mine, spec, theirs in zip(dinputs, flat_specs, dalone, strict=True):
            np.testing.assert_allclose(cut(mine, spec, lengths, b), theirs, rtol=0, atol=1e-12)
        total = [a + d for a, d in zip(total, dp, strict=True)]
    for mine, theirs in zip(dparams, total, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-11)
    for x, spec in zip(arrays(outputs), out_specs, strict=True):
        for b, n in enumerate(lengths.get(spec.time, ())):
            np.testing.assert_array_equal(x[n:, b], 0)


@each_row("make", CASES.values())
def test_padding_changes_nothing(make):
    case = make()
    axes = [spec.time for spec in (s.spec for s in case.model.graph.flat_inputs) if spec.time]
    lengths = {"T": np.array([5, 1, 3]), "S": np.array([2, 4, 1])}
    check_padding(case.model, case.inputs(), {axis: lengths[axis] for axis in axes})


def test_a_vector_is_repeated_along_padded_sequences():
    x, whole = nn.Input(("T", "B", 3), **F64, name="x"), nn.Input(("B", 2), **F64, name="whole")
    y, h = nn.GRU(3, 2, **F64, rng=1)(x)
    context = nn.RepeatVector()(nn.Linear(2, 3, **F64, rng=2)(whole) + nn.MeanPool()(x), x)
    z, _ = nn.LSTM(5, 2, bidirectional=True, **F64, rng=3)(nn.Concat()(context, y))
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((5, 3, 3)), rng.standard_normal((3, 2))]
    check_padding(nn.Model((x, whole), (z, context, h)), inputs, {"T": np.array([5, 1, 3])})


def random_model(data):
    """Return a model of up to six layers on one sequence, each on any earlier value."""
    draw = data.draw
    ids = draw(st.booleans(), "ids")
    x = nn.Input(("T", "B"), dtype="int64") if ids else nn.Input(("T", "B", 4), **F64)
    along = [draw(st.sampled_from([nn.Embedding(6, 4, **F64, rng=0), nn.OneHot(6, **F64)]))(x) if ids else x]
    still = []

    def size(symbol):
        return symbol.shape[-1]

    def recurrent(symbol):
        kind = draw(st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]))
        both = (
            {"bidirectional": True, "merge": draw(st.sampled_from(["concat", "sum", "mul"]))} if draw(st.booleans()) else {}
        )
        y, state = kind(size(symbol), 3, draw(st.integers(1, 2)), **both, **F64, rng=len(along))(symbol)
        along.append(y)
        h = state[0] if isinstance(state, tuple) else state
        if h.shape[0] == 1:
            still.append(nn.Lambda(lambda h: h[0], lambda dy, h: dy[None])(h))

    for _ in range(draw(st.integers(1, 5), "layers")):
        symbol = draw(st.sampled_from(along))
        other = draw(st.sampled_from(along))
        kind = draw(st.sampled_from(["recurrent", "linear", "activation", "norm", "merge", "pool", "nested"]))
        if kind == "recurrent":
            recurrent(symbol)
        elif kind == "linear":
            along.append(nn.Linear(size(symbol), 4, **F64, rng=9)(symbol))
        elif kind == "activation":
            along.append(nn.Activation(draw(st.sampled_from(["tanh", "softmax", "sigmoid"])))(symbol))
        elif kind == "norm":
            along.append(nn.LayerNorm(size(symbol), **F64)(symbol))
        elif kind == "merge":
            along.append((nn.Add() if size(symbol) == size(other) else nn.Concat())(symbol, other))
        elif kind == "pool":
            still.append(draw(st.sampled_from([nn.Last, nn.MeanPool, nn.MaxPool]))()(symbol))
        else:
            along.append(nn.Sequential(nn.GRU(size(symbol), 2, **F64, rng=4), nn.Linear(2, 3, **F64, rng=5))(symbol))
    outputs = [along[-1], *still[-2:]]
    return nn.Model(x, outputs if x not in outputs else [nn.Linear(size(x), 2, **F64)(x), *still[-2:]])


@settings(max_examples=40)
@given(data=st.data())
def test_padding_changes_nothing_in_any_model(data):
    model = random_model(data)
    T = data.draw(st.integers(1, 6), "T")
    lengths = np.array(data.draw(st.lists(st.integers(1, T), min_size=1, max_size=4), "lengths"))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shape = (T, len(lengths))
    x = rng.integers(0, 6, shape) if model.inputs.dtype == "int64" else rng.standard_normal((*shape, 4))
    check_padding(model, [x], {"T": lengths})


def test_lengths_to_the_loss_as_a_mask():
    """The loss is the mean over unmasked positions, whatever the other targets are."""
    x = nn.Input(("T", "B", 2), **F64)
    model = nn.Model(x, nn.Linear(3, 4, **F64, rng=2)(nn.GRU(2, 3, **F64, rng=1)(x)[0]))
    rng = np.random.default_rng(0)
    data, targets, lengths = rng.standard_normal((5, 3, 2)), rng.integers(0, 4, (5, 3)), np.array([2, 5, 1])
    mask = nn.sequence_mask(lengths, 5)
    losses, gradients = [], []
    for wrong in (0, 3):
        targets[~mask] = wrong
        model.zero_grad()
        y, backward = model.forward(data, lengths=lengths)
        loss, dy = softmax_cross_entropy(y, targets, mask=mask)
        backward(dy)
        losses.append(loss)
        gradients.append(model.layers["gru"].weight_ih_l0.grad.copy())
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(*gradients)
    alone = sum(
        softmax_cross_entropy(model(data[:n, b : b + 1]), targets[:n, b : b + 1], reduction="sum")[0]
        for b, n in enumerate(lengths)
    )
    assert losses[0] == pytest.approx(alone / lengths.sum(), abs=1e-12)


def test_lengths_by_name_or_alone():
    x = nn.Input(("S", "B", 2), **F64)
    model = nn.Model(x, nn.MeanPool()(x))
    data = np.random.default_rng(0).standard_normal((3, 2, 2))
    wanted = model(data, lengths=[3, 1])
    np.testing.assert_array_equal(model(data, lengths={"S": np.array([3, 1])}), wanted)
    np.testing.assert_array_equal(model(data, lengths={"S": [3, 3]}), model(data))
    np.testing.assert_allclose(wanted[1], data[0, 1])


def test_a_model_in_a_model_has_lengths_of_the_axes_that_it_is_called_on():
    a, b = nn.Input(("T", "B", 2), **F64), nn.Input(("S", "B", 2), **F64)
    inner = nn.Model((a, b), nn.MeanPool()(a) + nn.Last()(b))
    c, d = nn.Input(("S", "B", 2), **F64, name="c"), nn.Input(("U", "B", 2), **F64, name="d")
    outer = nn.Model((c, d), inner(c, d))
    rng = np.random.default_rng(0)
    C, D = rng.standard_normal((4, 2, 2)), rng.standard_normal((3, 2, 2))
    got = outer(C, D, lengths={"S": [1, 4], "U": [3, 2]})
    np.testing.assert_allclose(got, [C[0, 0] + D[2, 0], C[:, 1].mean(0) + D[1, 1]], rtol=0, atol=1e-14)
    np.testing.assert_allclose(outer(C, D, lengths={"U": [3, 2]})[0], C[:, 0].mean(0) + D[2, 0], rtol=0, atol=1e-14)


def test_layers_that_pass_no_lengths_on_raise_an_error():
    """The lengths of an axis that is made of other axes are unknown."""
    x = nn.Input(("T", "B", 2), **F64)
    twice = nn.Lambda(lambda x, lengths: np.concatenate([x, x]), takes_lengths=True)
    model = nn.Model(x, nn.Last()(twice(x)))
    data = np.random.default_rng(0).standard_normal((3, 2, 2))
    np.testing.assert_array_equal(model(data), data[-1])
    with pytest.raises(ValueError, match="Last cannot have lengths: its input's time axis combines several time axes"):
        model(data, lengths=[3, 1])
    with pytest.raises(ValueError, match="Lambda cannot have lengths: it would read padding"):
        nn.Model(x, nn.Lambda(lambda x: x.sum(axis=0))(twice(x)))(data, lengths=[3, 1])


def test_a_function_that_is_infinite_at_zero():
    """An input's padding repeats a valid value, because infinity times a gradient of zero would be NaN."""
    x = nn.Input(("T", "B", 2), **F64)
    log = nn.Lambda(np.log, lambda dy, x: dy / x, pointwise=True)
    model = nn.Model(x, (nn.Linear(2, 3, **F64, rng=0)(log(x)), nn.GRU(2, 3, **F64, rng=1)(log(x))[0]))
    check_padding(model, [np.random.default_rng(0).random((5, 3, 2)) + 0.5], {"T": np.array([2, 5, 1])})


@pytest.mark.parametrize("train", [False, True])
def test_a_layer_that_does_not_declare_how_it_treats_padding(train):
    """Its result would depend on the padding."""
    x, z = nn.Input(("T", "B", 2), **F64), nn.Input(("B", 2), **F64)
    whole = nn.Lambda(lambda x, z: x - x.mean(axis=0) + z, lambda dy, x, z: (dy - dy.mean(axis=0), dy.sum(axis=0)))
    model = nn.Model((x, z), whole(x, z))
    data = np.random.default_rng(0).standard_normal((3, 2, 2)), np.zeros((2, 2))
    run = model.forward if train else model
    with pytest.raises(ValueError, match="Lambda cannot have lengths: it would read padding"):
        run(*data, lengths=[3, 1])
    np.testing.assert_array_equal(model(*data, lengths=[3, 3]), data[0] - data[0].mean(axis=0))
    np.testing.assert_array_equal(  # a layer without the padded axis needs no declaration
        nn.Model((z, x), (nn.Lambda(lambda z: 2 * z)(z), nn.MeanPool()(x)))(data[1] + 1, data[0], lengths=[1, 1])[0],
        data[1] + 2,
    )


def test_forms_of_outputs():
    x = nn.Input(("T", "B", 2), **F64)
    y, state = nn.LSTM(2, 3, **F64)(x)
    data = np.zeros((2, 1, 2))
    for outputs, form in ((y, "y"), ([y], "y"), ((y, state), ("y", ("h", "c"))), ([state, y], (("h", "c"), "y"))):
        got = nn.Model(x, outputs)(data)
        names = nested(got, ["y"] * len(arrays(got)))
        assert str(names) == str(form).replace("'h'", "'y'").replace("'c'", "'y'")


@each_row(("dtype", "padding"), [("bool", False), ("uint8", 0), ("int64", -1), ("float64", 0), ("complex128", 0)])
def test_outputs_of_any_dtype_have_zeros_in_the_padding_and_ids_no_token(dtype, padding):
    x = nn.Input(("T", "B", 1), **F64)
    y = nn.Model(x, nn.Lambda(lambda x: x.astype(dtype), pointwise=True)(x))(np.ones((3, 2, 1)), lengths=[3, 1])
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[:, 1, 0], [1, padding, padding])
