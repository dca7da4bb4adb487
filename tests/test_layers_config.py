"""Layers described by the arguments of their constructors: a description as JSON gives the same architecture."""

import json

import numpy as np
import pytest
from tables import each_row

import fastrnn
from fastrnn.layers.description import build_layer, describe_layer

LAYERS = {
    "rnn": lambda: fastrnn.RNN(3, 4, 2, "relu", False, dropout=0.25, dtype="float64"),
    "gru": lambda: fastrnn.GRU(3, 4, 2, bidirectional=True, batch_first=True, reset_after=False),
    "gru without reset": lambda: fastrnn.GRU(3, 4, reset_gate=False),
    "lstm": lambda: fastrnn.LSTM(np.int64(3), 4, proj_size=2, peephole=True, forget_bias=1, dtype=np.float64),
    "rnn cell": lambda: fastrnn.RNNCell(3, 4, nonlinearity="relu"),
    "gru cell": lambda: fastrnn.GRUCell(3, 4, reset_after=False, dtype="float64"),
    "lstm cell": lambda: fastrnn.LSTMCell(3, 4, peephole=True, forget_bias=np.float32(0.5)),
    "linear": lambda: fastrnn.Linear(3, 4, bias=False, dtype="float64"),
    "linear with bias": lambda: fastrnn.Linear(3, 4),
    "embedding": lambda: fastrnn.Embedding(5, 3, dtype="float64"),
    "one hot": lambda: fastrnn.OneHot(3, dtype="float64"),
    "dropout": lambda: fastrnn.Dropout(0.25),
    "sequential": lambda: fastrnn.Sequential(
        fastrnn.Embedding(5, 3), fastrnn.Sequential(fastrnn.GRU(3, 4)), fastrnn.Dropout()
    ),
}


def parameters_of(layer):
    return {name: (p.shape, p.dtype) for name, p in layer.named_parameters(remove_duplicate=False)}


@each_row("make", LAYERS.values())
def test_a_description_gives_the_same_architecture(make):
    layer = make()
    config = json.loads(json.dumps(layer.config()))
    for again in (type(layer)(**config), build_layer(json.loads(json.dumps(describe_layer(layer))))):
        assert type(again) is type(layer)
        assert again.config() == layer.config()
        assert repr(again) == repr(layer)
        assert parameters_of(again) == parameters_of(layer)


def test_a_described_model_computes_the_same():
    model = fastrnn.Sequential(fastrnn.Embedding(5, 3), fastrnn.LSTM(3, 4, 2, bidirectional=True), fastrnn.Linear(8, 2))
    again = fastrnn.Sequential(**model.config())
    again.load_state_dict(model.state_dict())
    ids = np.arange(12).reshape(4, 3) % 5
    np.testing.assert_array_equal(again(ids, lengths=[4, 1, 2]), model(ids, lengths=[4, 1, 2]))


def test_a_layer_used_twice_is_one_layer_in_the_description():
    shared = fastrnn.Linear(3, 3)
    model = fastrnn.Sequential(shared, fastrnn.Dropout(), shared)
    again = fastrnn.Sequential(**json.loads(json.dumps(model.config())))
    assert again[0] is again[2]
    assert len(again.parameters()) == 2


def test_layers_without_a_description_raise_an_error():
    class Own(fastrnn.Layer):
        def __init__(self, size=3):
            pass

    with pytest.raises(TypeError, match=r"Own cannot be described: it neither defines config\(\) nor stores .* size"):
        fastrnn.Sequential(Own()).config()


@each_row(
    ("description", "error", "message"),
    [
        ({"class": "Linear"}, TypeError, "must hold 'class' and 'config', got {'class': 'Linear'}"),
        ({"class": "Linear", "config": 3}, TypeError, "its config a dict"),
        ({"class": "Gru", "config": {}}, ValueError, "no layer of class 'Gru' in fastrnn"),
        ({"class": "use_backend", "config": {}}, ValueError, "no layer of class 'use_backend'"),
        ({"class": "Dropout", "config": {"p": 2}}, ValueError, r"p must lie in \[0, 1\], got 2"),
        (0, TypeError, "layers must be fastrnn layers, got 0 at index 0"),
    ],
)
def test_bad_descriptions(description, error, message):
    with pytest.raises(error, match=message):
        fastrnn.Sequential(layers=[description])


def test_custom_layers_are_looked_up_by_name():
    class Doubled(fastrnn.Dropout):
        pass

    assert type(build_layer({"class": "Doubled", "config": {"p": 0.5}}, {"Doubled": Doubled})) is Doubled
