"""Parameters, models of layers, dropout, embedding, files.

Recurrent layers are in test_layers_recurrent, PyTorch's values in test_layers_torch, bad arguments in
test_layers_errors.
"""

import copy
import pickle

import numpy as np
import pytest
from at_once import at_once
from differences import make, normal, parameter_differences
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from fastrnn import Input, sequence_mask
from fastrnn.layers import GRU, LSTM, Dropout, Embedding, Layer, Linear, OneHot, Parameter, Sequential


def test_parameter_data_is_read_only_and_changes_are_counted():
    parameter = Parameter("weight", np.arange(6.0).reshape(2, 3))
    with pytest.raises(ValueError, match="read-only"):
        parameter.data[0, 0] = 1
    parameter.assign(np.full((2, 3), 2.0))
    parameter.data = parameter.data + 1
    view = parameter.data
    parameter.writable()[0] += 4
    assert parameter.version == 3
    np.testing.assert_array_equal(view, [[7, 7, 7], [3, 3, 3]])
    assert (parameter.shape, parameter.dtype, parameter.size) == ((2, 3), np.float64, 6)


def test_parameter_refuses_other_shapes_and_dtypes_unchanged():
    parameter = Parameter("weight", np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"weight must be a float32 array of shape \(3,\), got .*\(2,\)"):
        parameter.assign(np.zeros(2, np.float32))
    with pytest.raises(TypeError, match="weight must be a float32 array"):
        parameter.assign(np.zeros(3))
    np.testing.assert_array_equal(parameter.data, np.ones(3))


def test_zero_grad_keeps_the_memory():
    layer = Linear(2, 2, rng=0)
    layer.zero_grad()
    assert layer.weight.grad is None
    layer.forward(np.ones((1, 2), np.float32))[1](np.ones((1, 2), np.float32))
    gradient = layer.weight.grad
    layer.zero_grad()
    assert layer.weight.grad is gradient
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


def test_embedding_of_minus_one_is_zero_and_has_no_gradient():
    layer = Embedding(4, 3, dtype="float64", rng=0)
    ids = np.array([[2, -1, 0], [2, 2, -1]], dtype=np.int32)
    y, backward = layer.forward(ids)
    np.testing.assert_array_equal(y, np.vstack([layer.weight.data, np.zeros(3)])[ids])
    dy = normal(2, 3, 3)
    assert backward(dy) is None
    wanted = np.zeros((4, 3))
    np.add.at(wanted, ids[ids >= 0], dy[ids >= 0])
    np.testing.assert_allclose(layer.weight.grad, wanted, rtol=1e-14)
    Embedding(4, 3).forward(np.full(5, -1))[1](np.ones((5, 3), np.float32))


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_embedding_keeps_the_ids_of_its_forward(dtype):
    layer, ids = Embedding(4, 3, rng=0), np.array([[2, 0], [1, 2]], dtype)
    _, backward = layer.forward(ids.T)
    ids[...] = 3
    backward(np.array([[[1], [2]], [[3], [4]]], np.float32).repeat(3, axis=2))
    np.testing.assert_array_equal(layer.weight.grad, np.array([[3], [2], [5], [0]]).repeat(3, axis=1))


@given(V=st.integers(1, 40), n=st.integers(0, 200), seed=st.integers(0, 99))
def test_embedding_gradient_is_a_scatter_add(V, n, seed):
    rng = np.random.default_rng(seed)
    layer, ids, dy = Embedding(V, 2, rng=0), rng.integers(-1, V, n), rng.standard_normal((n, 2)).astype(np.float32)
    wanted = np.zeros((V, 2))
    np.add.at(wanted, ids[ids >= 0], dy[ids >= 0])
    gradients = []
    for _ in range(2):
        layer.weight.grad = None
        layer.forward(ids)[1](dy)
        gradients.append(layer.weight.gradient())
    np.testing.assert_allclose(gradients[0], wanted, atol=1e-4)
    np.testing.assert_array_equal(*gradients)


def test_one_hot():
    y = OneHot(3, dtype="float64")(np.array([[0, 2], [-1, 1]]))
    np.testing.assert_array_equal(y, [[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 1, 0]]])
    assert y.dtype == np.float64
    assert OneHot(3).forward(np.array([1]))[1](None) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [0.0, 0.2, 0.9, 1.0])
def test_dropout(p, dtype):
    layer, x = Dropout(p, rng=0), np.full((200, 500), 3, dtype)
    np.testing.assert_array_equal(layer(x), x)
    y, backward = layer.forward(x)
    kept = y != 0
    assert y.dtype == dtype
    assert abs(kept.mean() - (1 - p)) < 5 * (p * (1 - p) / x.size) ** 0.5 + 1e-12
    np.testing.assert_allclose(y[kept], 3 / (1 - p) if p < 1 else 0, rtol=1e-6)
    np.testing.assert_array_equal(backward(x), y)
    if 0 < p < 1:
        assert not np.array_equal(layer.forward(x)[0], y)
        layer.set_rng(np.random.default_rng(0))
        np.testing.assert_array_equal(layer.forward(x)[0], y)


def test_set_rng_reaches_every_dropout():
    def outputs():
        model.set_rng(np.random.default_rng(4))
        return model.forward(x)[0]

    model = Sequential(Sequential(Dropout(0.5)), GRU(3, 4, 2, dropout=0.5, rng=1), Dropout(0.2))
    x = np.ones((5, 2, 3), np.float32)
    np.testing.assert_array_equal(outputs(), outputs())
    assert not np.array_equal(model.forward(x)[0], model.forward(x)[0])
    np.testing.assert_array_equal(model(x), model(x))
    expected = outputs()
    model.set_rng(4)  # one generator for all layers, as above
    np.testing.assert_array_equal(model.forward(x)[0], expected)
    with pytest.raises(TypeError, match=r"rng must be a .*Generator, an integer seed or None, got"):
        model.set_rng("four")


def test_sequential_passes_lengths_on_and_never_builds_one_hot_vectors(monkeypatch):
    inner = Sequential(OneHot(5), make(LSTM, I=5, bidirectional=True))
    model = Sequential(inner, Dropout(0.0), Linear(8, 2, dtype="float64", rng=2))
    ids, lengths = np.random.default_rng(3).integers(0, 5, (4, 3)), [4, 1, 2]
    wanted = model[2](inner[1](ids, lengths=lengths)[0])
    wanted[~sequence_mask(lengths, 4)] = 0  # outputs past the lengths are zero
    monkeypatch.setattr(OneHot, "__call__", None)
    np.testing.assert_array_equal(model(ids, lengths), wanted)
    y, backward = model.forward(ids, lengths)
    np.testing.assert_array_equal(y, wanted)
    dy = normal(*y.shape)
    assert backward(dy) is None
    for parameter in model.parameters():
        loss = lambda: np.sum(model(ids, lengths) * dy)  # noqa: E731
        np.testing.assert_allclose(parameter.grad, parameter_differences(loss, parameter), atol=1e-7)
    assert [name for name, _ in model.named_parameters()][-3:] == ["0.1.bias_hh_l0_reverse", "2.weight", "2.bias"]
    assert len(model) == 3
    assert list(model) == [model[0], model[1], model[2]]


def test_repr_shows_options_and_layers():
    model = Sequential(Embedding(5, 3), Sequential(GRU(3, 4, reset_after=False), Dropout(0.25)), Linear(4, 2))
    assert repr(model) == (
        "Sequential(\n  (0): Embedding(5, 3)\n  (1): Sequential(\n    (0): GRU(3, 4, reset_after=False)\n"
        "    (1): Dropout(p=0.25)\n  )\n  (2): Linear(in_features=4, out_features=2, bias=True)\n)"
    )
    assert repr(LSTM(3, 4, peephole=True, bias=False)) == "LSTM(3, 4, bias=False, peephole=True)"


class Model(Layer):
    """Two names for one layer, a list of layers, and a parameter of its own."""

    def __init__(self):
        self.scale = Parameter("scale", np.ones(1))
        self.first = Linear(2, 2, rng=0, dtype="float64")
        self.second = self.first
        self.rest = [Linear(2, 1, bias=False, rng=1, dtype="float64")]


def test_names_of_shared_and_listed_layers(tmp_path):
    model = Model()
    names = ["scale", "first.weight", "first.bias"]
    assert [name for name, _ in model.named_parameters()] == [*names, "rest.0.weight"]
    assert list(model.state_dict()) == [*names, "second.weight", "second.bias", "rest.0.weight"]
    assert len(model.parameters()) == 4
    model.save(tmp_path / "model.safetensors")
    other = Model()
    other.first.weight.assign(np.zeros((2, 2)))
    other.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(other.second.weight.data, model.first.weight.data)
    once = {name.replace("first", "second"): parameter.data for name, parameter in model.named_parameters()}
    other.first.weight.assign(np.zeros((2, 2)))
    other.load_state_dict(once)
    np.testing.assert_array_equal(other.first.weight.data, model.first.weight.data)
    del once["second.bias"]
    with pytest.raises(ValueError, match=r"missing: first\.bias, second\.bias"):
        other.load_state_dict(once)


def test_deepcopy_and_pickle_are_independent():
    layer, x = make(LSTM, L=2, dropout=0.5), normal(3, 2, 3)
    layer.forward(x)[1](np.ones((3, 2, 4)))
    expected = layer(x)[0]
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin.forward(x)[0][0], copy.deepcopy(layer).forward(x)[0][0])
        np.testing.assert_array_equal(twin.weight_hh_l1.grad, layer.weight_hh_l1.grad)
        twin.weight_ih_l0.writable()[:] = 0
        twin.weight_ih_l0.grad[:] = 9
        assert not np.allclose(twin(x)[0], expected)
        np.testing.assert_array_equal(layer(x)[0], expected)
        assert not np.any(layer.weight_ih_l0.grad == 9)


def test_two_threads_use_one_layer_at_once():
    model = Sequential(Embedding(9, 8, rng=0), LSTM(8, 16, 2, rng=1), Linear(16, 9, rng=2))
    ids, dy = np.random.default_rng(3).integers(0, 9, (20, 8)), np.ones((20, 8, 9), np.float32)
    wanted, backward = model.forward(ids)
    backward(dy)
    once = [parameter.grad.astype(np.float64) for parameter in model.parameters()]
    model.zero_grad()

    def work():
        for _ in range(10):
            y, backward = model.forward(ids)
            backward(dy)
            np.testing.assert_array_equal(y, wanted)
            np.testing.assert_array_equal(model(ids), wanted)

    at_once([work] * 2)
    for parameter, gradient in zip(model.parameters(), once, strict=True):
        np.testing.assert_allclose(parameter.grad, 20 * gradient, rtol=1e-4, atol=1e-4)


def test_load_state_dict_converts_dtypes_and_can_be_partial():
    layer = Linear(2, 2, rng=0)
    before = layer.bias.data.copy()
    weight = np.array([[0.1, 0.2], [0.3, 0.4]])
    result = layer.load_state_dict({"weight": weight, "other": weight}, strict=False)
    assert result == (["bias"], ["other"])
    np.testing.assert_array_equal(layer.weight.data, weight.astype(np.float32))
    np.testing.assert_array_equal(layer.bias.data, before)


def test_numpy_takes_a_parameter_as_its_values():
    layer = LSTM(3, 4, rng=0)
    p = layer.weight_ih_l0
    view = np.asarray(p)
    assert (view.shape, view.dtype, view.flags.writeable) == ((16, 3), np.float32, False)
    np.testing.assert_array_equal(view, p.data)
    assert np.shares_memory(view, p.data)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    version = p.version
    copy = np.array(p)
    copy[...] = 0
    assert p.version == version
    assert np.asarray(p).any()
    wide = np.asarray(p, "float64")
    assert wide.dtype == np.float64
    np.testing.assert_array_equal(wide, p.data)
    assert np.shares_memory(np.asarray(p, "float32", copy=False), p.data)
    with pytest.raises(ValueError, match="Unable to avoid copy"):
        np.asarray(p, "float64", copy=False)
    assert np.linalg.norm(p) == np.linalg.norm(p.data)
    np.testing.assert_array_equal(np.ones((2, 16), np.float32) @ p, np.ones((2, 16), np.float32) @ p.data)
    np.testing.assert_array_equal(np.stack([p, p]), np.stack([p.data] * 2))
    p.assign(np.full((16, 3), 2, np.float32))
    assert (np.asarray(p) == 2).all()


def test_a_parameter_takes_anothers_values():
    first, second = GRU(3, 4, rng=0), GRU(3, 4, rng=1)
    first.weight_ih_l0.assign(second.weight_ih_l0)
    first.weight_hh_l0.data = second.weight_hh_l0
    first.load_state_dict({"bias_ih_l0": second.bias_ih_l0, "bias_hh_l0": second.bias_hh_l0}, strict=False)
    for (name, mine), (_, its) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        np.testing.assert_array_equal(mine, its.data, err_msg=name)
        assert not np.shares_memory(mine, its)
    with pytest.raises(TypeError, match=r'weight_ih_l0 must be .* got float64 .*: write weight_ih_l0.astype\("float32"\)'):
        first.weight_ih_l0.assign(GRU(3, 4, dtype="float64").weight_ih_l0)


CONVERSIONS = [np.asarray, np.array, np.mean, lambda s: np.stack([s, s]), lambda s: np.array([s])]


@each_row("convert", CONVERSIONS)
def test_numpy_functions_refuse_a_symbol(convert):
    with pytest.raises(TypeError, match="a Symbol has no value yet: call layers on it, not NumPy's functions"):
        convert(Input(("T", "B", 3)))
