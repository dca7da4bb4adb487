"""The functional API by value, compared with PyTorch with the same weights; shared layers and models."""

import copy

import numpy as np
import pytest
from graphs import CASES, F64, encoder_decoder, residual

import fastrnn
from fastrnn import GRU, LSTM, Dropout, Embedding, Input, Linear, LSTMCell, Model, OneHot, Sequential
from fastrnn.layers._recurrent.embedding_table import EmbeddedRecurrent
from fastrnn.layers._symbolic.symbols import flat

EVERY_CASE = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


def arrays(value):
    """Return the arrays in nested tuples, in order."""
    return list(flat(value))


def upstream(outputs, seed=5):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(array.shape) for array in arrays(outputs)]


def nested(form, values):
    """Return the values in nested tuples of the form of the outputs; a single value without a tuple."""
    values = iter(values)

    def build(item):
        return tuple(map(build, item)) if isinstance(item, tuple) else next(values)

    return build(form)


def run_backward(backward, outputs, gradients):
    gradients = nested(outputs, gradients)
    return backward(*gradients) if isinstance(gradients, tuple) else backward(gradients)


def torch_modules(model):
    """Return torch's module with the same values for every layer with parameters, by the layer's name in the model."""
    torch = pytest.importorskip("torch")
    from fastrnn.torch import to_torch

    found = {}
    for name, layer in model.layers.items():
        if isinstance(layer, fastrnn.LayerNorm):
            found[name] = torch.nn.LayerNorm(layer.weight.shape, layer.eps, dtype=torch.float64)
            found[name].load_state_dict({key: torch.from_numpy(value) for key, value in layer.state_dict().items()})
        elif isinstance(layer, Model):
            found |= {f"{name}.{below}": module for below, module in torch_modules(layer).items()}
        elif layer.parameters():
            found[name] = to_torch(layer)
    return found


@EVERY_CASE
def test_outputs_and_gradients_are_pytorchs(make):
    torch = pytest.importorskip("torch")
    case = make()
    inputs, modules = case.inputs(), torch_modules(case.model)
    for parameter in case.model.parameters():
        parameter.zero_grad()
    tensors = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    wanted = arrays(case.torch(modules, *tensors))
    outputs, backward = case.model.forward(*inputs)
    for mine, again, theirs in zip(arrays(outputs), arrays(case.model(*inputs)), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=0, atol=1e-9)
        np.testing.assert_allclose(again, mine, rtol=0, atol=1e-13)
    douts = upstream(outputs)
    torch.autograd.backward(wanted, [torch.from_numpy(g) for g in douts])
    dinputs = run_backward(backward, outputs, douts)
    for mine, tensor in zip(dinputs if isinstance(dinputs, tuple) else (dinputs,), tensors, strict=True):
        if tensor.requires_grad:
            np.testing.assert_allclose(mine, tensor.grad.numpy(), rtol=0, atol=1e-9)
        else:
            assert mine is None
    theirs = {f"{name}.{key}": p.grad.numpy() for name, module in modules.items() for key, p in module.named_parameters()}
    mine = {name: parameter.grad for name, parameter in case.model.named_parameters()}
    assert mine.keys() == theirs.keys()
    for name, gradient in mine.items():
        np.testing.assert_allclose(gradient, theirs[name], rtol=0, atol=1e-9, err_msg=name)


@EVERY_CASE
def test_the_inputs_gradients_may_be_left_out(make):
    case = make()
    results = []
    for need_dx in (True, False):
        for parameter in case.model.parameters():
            parameter.zero_grad()
        outputs, backward = case.model.forward(*case.inputs())
        gradients = nested(outputs, upstream(outputs))
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        dinputs = backward(*gradients, need_dx=need_dx)
        results.append([parameter.grad.copy() for parameter in case.model.parameters()])
    assert arrays(dinputs) == []
    for whole, less in zip(*results, strict=True):
        np.testing.assert_array_equal(less, whole)


def test_no_gradient_is_written_to():
    case = residual()
    (out, h), backward = case.model.forward(*case.inputs())
    douts = upstream((out, h))
    before = copy.deepcopy(douts)
    backward(*douts)
    for mine, theirs in zip(douts, before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("chain", [False, True])
def test_a_second_backward_is_refused_before_it_adds_anything(chain):
    x, gru, linear = Input(("T", "B", 3)), GRU(3, 4), Linear(4, 2)
    model = Sequential(gru, linear) if chain else Model(x, linear(gru(x)[0]))
    y, backward = model.forward(np.ones((5, 2, 3), np.float32))
    with pytest.raises(ValueError, match=r"must be a float32 array of shape .*\(5, 2, 2\)"):
        backward(y[:, :, :1])  # refused, so another backward may follow
    backward(np.ones_like(y))
    before = {name: p.grad.copy() for name, p in model.named_parameters()}
    with pytest.raises(RuntimeError, match="run forward again for another backward"):
        backward(np.ones_like(y))
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.grad, before[name])


def test_outputs_without_a_gradient_count_as_zero():
    """A gradient of None, one of zeros, and a model without that output give the same."""
    case = encoder_decoder()
    source, target = case.inputs()
    results = []
    for kind in ("none", "nones", "zeros", "absent"):
        model = case.model if kind != "absent" else Model(case.model.inputs, case.model.outputs[0])
        for parameter in model.parameters():
            parameter.zero_grad()
        outputs, backward = model.forward(source, target)
        y = outputs if kind == "absent" else outputs[0]
        dy = np.cos(np.arange(y.size)).reshape(y.shape)
        zeros = () if kind == "absent" else tuple(map(np.zeros_like, outputs[1]))
        rest = {"none": (None,), "nones": ((None, None),), "absent": (), "zeros": (zeros,)}[kind]
        backward(dy, *rest)
        results.append([parameter.grad.copy() for parameter in model.parameters()])
    for other in results[1:]:
        for mine, theirs in zip(results[0], other, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-14)


def test_an_input_that_no_output_needs_has_no_gradient():
    """The gradient of an input is zero if only an output without a gradient depends on it."""
    a, b = Input(("T", "B", 2), **F64), Input(("T", "B", 2), **F64)
    linear, other = Linear(2, 3, **F64), Linear(2, 3, **F64)
    model = Model((a, b), (linear(a), other(b)))
    x = np.ones((4, 3, 2))
    (y, _), backward = model.forward(x, x)
    da, db = backward(np.ones_like(y), None)
    assert np.abs(da).min() > 0
    np.testing.assert_array_equal(db, np.zeros_like(x))
    assert other.weight.grad is None


def test_a_model_within_the_same_graph():
    """Models between any symbols share layers: the decoder alone, given the encoder's state, equals the whole model."""
    case = encoder_decoder()
    source, target = case.model.inputs
    encoder = next(node for node in case.model.graph.nodes if node.layer.name == "encoder")
    encode = Model(source, encoder.outputs[1])
    decode = Model((target, encoder.outputs[1]), case.model.outputs)
    S, T = case.inputs()
    for mine, theirs in zip(arrays(decode(T, encode(S))), arrays(case.model(S, T)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-14)
    assert set(map(id, encode.parameters())) < set(map(id, case.model.parameters()))
    (y, _), backward = decode.forward(T, encode(S))
    _, dstate = backward(np.ones_like(y), (None, None))
    assert [array.shape for array in dstate] == [(1, 3, 4)] * 2


@pytest.mark.parametrize("kind", [GRU, LSTM])
@pytest.mark.parametrize(
    "make", [lambda: Embedding(4, 5, **F64, rng=1), lambda: OneHot(5, **F64)], ids=["embedding", "one-hot"]
)
def test_ids_before_a_recurrent_layer_make_no_vectors(kind, make):
    """Values and gradients equal those of the layers called one by one, although no vectors are made in between."""
    ids = np.random.default_rng(0).integers(0, 4, (8, 4))
    x, before, layer = Input(("T", "B"), dtype="int64"), make(), kind(5, 3, **F64, rng=2)
    model, chain = Model(x, Linear(3, 2, **F64, rng=3)(layer(before(x))[0])), Sequential(before, layer)
    y, backward = model.forward(ids, lengths=[8, 3, 1, 5])
    linear = model.layers["linear"]
    np.testing.assert_allclose(model(ids), linear(layer(before(ids))[0]), rtol=0, atol=1e-13)
    assert backward(np.ones_like(y)) is None
    mine = [p.grad.copy() for p in chain.parameters()]
    for parameter in model.parameters():
        parameter.zero_grad()
    (z, _), undo = layer.forward(before(ids), lengths=np.array([8, 3, 1, 5]))
    out, undo_linear = linear.forward(z)
    dx, _ = undo(undo_linear(np.where(np.arange(8)[:, None, None] < np.array([8, 3, 1, 5])[:, None], np.ones_like(out), 0)))
    if before.parameters():
        before.forward(ids)[1](dx)
        assert any(isinstance(step.runner, EmbeddedRecurrent) for step in model._steps().steps)
    for parameter, gradient in zip(chain.parameters(), mine, strict=True):
        np.testing.assert_allclose(gradient, parameter.grad, rtol=0, atol=1e-12)


def test_vectors_that_others_need_too_are_made():
    x = Input(("T", "B"), dtype="int64")
    e = Embedding(4, 3, **F64)(x)
    y, _ = GRU(3, 3, **F64)(e)
    for outputs in ((y, e), y + e):
        model = Model(x, outputs)
        assert not any(isinstance(step.runner, EmbeddedRecurrent) for step in model._steps().steps)
        model(np.zeros((9, 4), int))


def test_cells_unrolled_in_a_graph_are_the_layer():
    """Three calls of one cell, whose states are pairs."""
    cell, layer = LSTMCell(2, 3, **F64, rng=1), LSTM(2, 3, **F64, rng=1)
    inputs = [Input(("B", 2), **F64, name=f"x{t}") for t in range(3)]
    state = None
    for x in inputs:
        state = cell(x, state)
    model = Model(inputs, state)
    x = np.random.default_rng(0).standard_normal((3, 4, 2))
    y, (h, c) = layer(x)
    np.testing.assert_allclose(model(*x), (h[0], c[0]), rtol=0, atol=1e-14)
    _, backward = model.forward(*x)
    dh, dc = upstream((h[0], c[0]))
    dx = backward(dh, dc)
    _, undo = layer.forward(x)
    np.testing.assert_allclose(dx, undo(None, (dh[None], dc[None]))[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(cell.weight_hh.grad, layer.weight_hh_l0.grad, rtol=0, atol=1e-13)
    assert y.shape == (3, 4, 3)


def test_options_of_a_call_on_symbols():
    x = Input(("T", "B", 2), **F64)
    lstm = LSTM(2, 3, **F64)
    y, (_, _), c = lstm(x, return_cell_states=True)
    model = Model(x, (y, c))
    data = np.random.default_rng(0).standard_normal((4, 2, 2))
    y, _, c = lstm(data, return_cell_states=True)
    np.testing.assert_array_equal(model(data)[1], c)
    (_, c), backward = model.forward(data)
    dx = backward(None, c)
    _, undo = lstm.forward(data, return_cell_states=True)
    np.testing.assert_array_equal(dx, undo(None, None, c)[0])


def test_copies_are_independent_however_long_the_graph():
    x = Input(("T", "B", 2), **F64)
    linear, y = Linear(2, 2, **F64), x
    for _ in range(400):
        y = linear(y)
    model = Model(x, y)
    data = np.ones((2, 1, 2))
    wanted = model(data)
    again = copy.deepcopy(model)
    np.testing.assert_array_equal(again(data), wanted)
    again.layers["linear"].weight.assign(np.zeros((2, 2)))
    np.testing.assert_array_equal(model(data), wanted)
    assert len(again.parameters()) == 2


def test_dropout_draws_in_training_only():
    x = Input(("T", "B", 50), **F64)
    model = Model(x, Dropout(0.5, rng=0)(x))
    data = np.ones((2, 3, 50))
    np.testing.assert_array_equal(model(data), data)
    y, backward = model.forward(data)
    assert set(np.unique(y)) == {0.0, 2.0}
    np.testing.assert_array_equal(backward(data), y)
    model.set_rng(np.random.default_rng(7))
    first, _ = model.forward(data)
    model.set_rng(np.random.default_rng(7))
    np.testing.assert_array_equal(model.forward(data)[0], first)


def test_the_callers_ids_may_change_before_backward():
    x = Input(("T", "B"), dtype="int64")
    embedding = Embedding(4, 2, **F64)
    ids = np.zeros((2, 3), int)
    y, backward = Model(x, embedding(x)).forward(ids)
    ids[:] = 3
    backward(np.ones_like(y))
    assert embedding.weight.grad[:, 0].tolist() == [6, 0, 0, 0]


def test_a_model_that_does_nothing():
    """An input may be an output, alone or together with others."""
    x = Input(("T", "B", 2), **F64)
    data = np.random.default_rng(0).standard_normal((3, 2, 2))
    y, backward = Model(x, x).forward(data)
    np.testing.assert_array_equal(y, data)
    np.testing.assert_array_equal(backward(2 * data), 2 * data)
    with pytest.raises(RuntimeError, match="run forward again"):
        backward(data)
    linear = Linear(2, 2, **F64)
    (y, z, again), backward = Model(x, (x, linear(x), x)).forward(data)
    np.testing.assert_array_equal(y, again)
    np.testing.assert_allclose(backward(data, z, data), 2 * data + z @ linear.weight.data, rtol=0, atol=1e-14)


def test_layers_of_a_deep_model_have_the_first_numbers_that_are_free() -> None:
    x = y = Input(("B", 3), name="activation_2")
    shared = fastrnn.Activation("relu").named("activation_1")
    for layer in (fastrnn.Activation("relu"), shared, fastrnn.Activation("tanh"), shared, fastrnn.Activation("relu")):
        y = layer(y)
    assert list(Model(x, y).layers) == ["activation", "activation_1", "activation_3", "activation_4"]
