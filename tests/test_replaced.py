"""Replaced parameters, and layers that change after a model has run, give right values or an error that names them."""

import numpy as np
import pytest
from tables import each_row

from fastrnn import (
    GRU,
    LSTM,
    Dropout,
    Embedding,
    GRUCell,
    Input,
    Last,
    Layer,
    LayerNorm,
    Linear,
    Model,
    Parameter,
    Sequential,
)
from fastrnn.backends.structs import CellSpec, StackSpec
from fastrnn.functional import stack_forward
from fastrnn.text.char_model import CharModel

X = np.random.default_rng(0).standard_normal((4, 3, 5), dtype=np.float32)


@each_row(
    ("layer", "name"),
    [
        (Linear(5, 3), "weight"),
        (Linear(5, 3), "bias"),
        (Embedding(5, 3), "weight"),
        (LayerNorm(5), "weight"),
        (LSTM(5, 3), "weight_hh_l0"),
        (GRUCell(5, 3), "bias_ih"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_replacement_of_another_shape_or_dtype_is_refused_by_name(layer, name):
    before = getattr(layer, name)
    for error, array in (
        (TypeError, before.data.astype("float64")),
        (ValueError, np.zeros((*before.shape[:-1], before.shape[-1] + 1), "float32")),
    ):
        with pytest.raises(error, match=f"^{name} must be a float32 Parameter of shape"):
            setattr(layer, name, Parameter("other", array))
        assert getattr(layer, name) is before


def test_a_parameter_where_there_was_none_is_checked_before_it_is_used():
    linear = Linear(5, 3, bias=False)
    linear(X)
    linear.bias = Parameter("bias", np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"^bias must be a float32 array of shape \[out_features\] = \(3,\), got"):
        linear(X)
    linear.bias = None
    linear.bias = Parameter("bias", np.ones(3, np.float32))
    assert np.allclose(linear(X), X @ linear.weight.data.T + 1, atol=1e-6)


@each_row("make", [lambda: Embedding(5, 3), lambda: Linear(5, 3), lambda: LayerNorm(5)])
@each_row("remove", [delattr, lambda layer, name: setattr(layer, name, None)])
def test_a_parameter_set_after_its_removal_is_checked_before_it_is_used(make, remove):
    layer = make()
    before = layer.weight
    x = np.zeros((4, 3), np.int64) if isinstance(layer, Embedding) else X
    remove(layer, "weight")
    layer.weight = Parameter("weight", np.ones((1,) * len(before.shape), np.float32))
    for run in (layer, layer.forward):
        with pytest.raises(ValueError, match=r"^weight must be a float32 array of shape .* = .*, got .* \(1,"):
            run(x)
    layer.weight = None
    layer.weight = before
    assert np.array_equal(layer(x), layer.forward(x)[0])


@pytest.mark.parametrize("names", [("embedding", "weight"), ("output", "weight"), ("output", "bias")], ids=".".join)
def test_a_language_model_checks_them_too(names):
    model, ids = CharModel(7, hidden=5, layers=1, embedding=3 if names[0] == "embedding" else 0), np.zeros((4, 2), np.int64)
    layer, name = getattr(model, names[0]), names[1]
    smaller = Parameter(name, getattr(layer, name).data[:2])
    delattr(layer, name)
    setattr(layer, name, smaller)
    for run in (lambda: model.learn(ids, ids), lambda: model.generate(ids, np.zeros((3, 2)))):
        with pytest.raises(ValueError, match=f"^{name} must be a float32 array of shape"):
            run()


def test_a_parameter_in_foreign_byte_order_has_the_same_values():
    linear = Linear(5, 3, rng=0)
    expected = linear(X)
    linear.weight = Parameter("weight", linear.weight.data.astype(">f4"))
    assert linear.weight.values.dtype.isnative
    assert np.array_equal(linear(X), expected)


class Late(Layer):
    """A layer that makes its parameters in its first call."""

    linear = None

    def forward(self, x):
        if self.linear is None:
            self.linear = Linear(5, 5, rng=3)
        return self.linear.forward(x)


@pytest.mark.parametrize("kind", ["sequential", "model", "late"])
def test_parameters_that_come_after_the_first_run_are_trained(kind):
    inner = Late() if kind == "late" else Sequential(Dropout(0.0))
    gru = GRU(5, 6, rng=1)
    if kind == "model":
        x = Input(("T", "B", 5))
        model = Model(x, gru(inner(x))[0])
    else:
        model = Sequential(inner, gru)
    model.forward(X)
    if kind != "late":
        inner.layers.append(Linear(5, 5, rng=3))
    y, backward = model.forward(X)
    backward(np.ones_like(y), need_dx=False)
    plain = Sequential(Linear(5, 5, rng=3), GRU(5, 6, rng=1))
    expected, plain_backward = plain.forward(X)
    plain_backward(np.ones_like(expected), need_dx=False)
    weight = inner.linear.weight if kind == "late" else inner[1].weight
    assert np.array_equal(y, expected)
    assert np.array_equal(weight.grad, plain[0].weight.grad)


def test_a_nested_chain_that_grows_has_its_layers_orders_of_axes():
    inner = Sequential(Linear(5, 5, rng=0))
    model = Sequential(GRU(5, 5, rng=0, batch_first=True), inner)
    model(X)
    inner.layers.append(Last())
    assert np.array_equal(model(X), Sequential(*model.layers)(X))
    assert model(X).shape == (4, 5)


@each_row(
    ("name", "stack"),
    [
        ("stack", "lstm"),
        ("stack.cell", StackSpec("lstm")),
        ("cell", StackSpec(CellSpec("LSTM", 5, 7))),
        ("input_size", StackSpec(CellSpec("gru", 0, 7))),
        ("hidden_size", StackSpec(CellSpec("gru", 5, 7.0))),
        ("dtype", StackSpec(CellSpec("gru", 5, 7, np.float32))),
        ("nonlinearity", StackSpec(CellSpec("rnn", 5, 7, nonlinearity="foo"))),
        ("reset_after", StackSpec(CellSpec("gru", 5, 7, reset_after=None))),
        ("proj_size", StackSpec(CellSpec("lstm", 5, 7, proj_size=7))),
        ("peephole", StackSpec(CellSpec("gru", 5, 7, peephole=True))),
        ("layers", StackSpec(CellSpec("gru", 5, 7), 0)),
        ("directions", StackSpec(CellSpec("gru", 5, 7), 1, 3)),
        ("reverse", StackSpec(CellSpec("gru", 5, 7), reverse="a")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_specification_that_no_kernel_has_is_named(name, stack):
    with pytest.raises((TypeError, ValueError), match=rf"^{name}\b.* must be"):
        stack_forward(stack, [], X)
