"""The small layers: errors for bad input, shapes on symbols, descriptions."""

import json

import numpy as np
import pytest
from differences import normal
from tables import each_row

import fastrnn
from fastrnn import (
    Activation,
    Add,
    Average,
    Concat,
    Input,
    Lambda,
    Last,
    LayerNorm,
    MaxPool,
    MeanPool,
    Multiply,
    RepeatVector,
    VariationalDropout,
)

F = np.float32


def test_a_lambda_says_what_is_wrong_with_its_functions():
    x = normal(2, 3)
    calls = [
        (lambda: Lambda(3), TypeError, "function must be callable, got 3"),
        (lambda: Lambda(len, derivative=2), TypeError, "derivative must be callable, got 2"),
        (lambda: Lambda(lambda x: 3)(x), TypeError, "function must return an array, got 3"),
        (lambda: Lambda(np.sin).forward(x), ValueError, "derivative must be given"),
        (lambda: Lambda(np.sin).config(), TypeError, "Lambda cannot be described: it holds a function"),
        (lambda: Lambda(np.sin, lambda dy, x: dy[0]).forward(x)[1](x), ValueError, "the gradient from derivative must be"),
        (lambda: Lambda(np.add, lambda dy, a, b: dy).forward(x, x)[1](x), ValueError, "a tuple of 2 gradients"),
        (lambda: Lambda(np.add, lambda dy, a, b: (dy, 1)).forward(x, x)[1](x), TypeError, "derivative's gradient 1 must be"),
        (lambda: Lambda(np.sin, np.multiply).stream(x), ValueError, "Lambda cannot be streamed: it does not declare"),
    ]
    for call, error, message in calls:
        with pytest.raises(error, match=message):
            call()


X = normal(4, 3, 2)
ERRORS = [
    (lambda: Last()([1.0]), TypeError, r"x must be a float32 or float64 array, got \[1\.0\]"),
    (lambda: MeanPool()(np.ones((2, 3), int)), TypeError, "x must be a float32 or float64 array, got int64"),
    (lambda: MaxPool()(X[0, 0]), ValueError, r"x must have the axes \[T, B, \.\.\.\], got .*\(2,\)"),
    (lambda: MaxPool()(X[:0]), ValueError, r"x must have at least one time step, got .*\(0, 3, 2\)"),
    (lambda: Last()(X, [1, 2]), ValueError, r"lengths must have shape \[B\] = \(3,\), got shape \(2,\)"),
    (lambda: Last()(X, [1, 2, 5]), ValueError, r"lengths must each lie in 0\.\.T = 0\.\.4, got 5"),
    (lambda: MeanPool()(X, [1, -1, 3]), ValueError, r"lengths must each lie in 0\.\.T = 0\.\.4, got -1"),
    (lambda: Last()(X, [1.0, 2.0, 3.0]), TypeError, "lengths must hold integers"),
    (lambda: Last().forward(X)[1](X[0, 0]), ValueError, r"dy must be a float64 array of shape \[B, \.\.\.\] = \(3, 2\)"),
    (lambda: Last().forward(X)[1](X[0].astype(F)), TypeError, "dy must be a float64 array"),
    (lambda: MeanPool().stream(X, state=3), TypeError, r"state must be a pair \(total, count\), got 3"),
    (lambda: Last().stream(X, state=X), ValueError, r"state must be .*\(3, 2\)"),
    (lambda: MaxPool().stream(X, state=X), TypeError, r"state must be a pair \(largest, started\), got float64 array"),
    (lambda: MaxPool().stream(X, state=(X, X)), ValueError, r"state's largest must be .*\(3, 2\)"),
    (lambda: Concat("T"), TypeError, "axis must be an integer, got 'T'"),
    (lambda: Concat()(), TypeError, "inputs must be at least one array, got none"),
    (lambda: Concat()([X, X]), TypeError, r"inputs\[0\] must be a float32 or float64 array, got \[array"),
    (lambda: Concat()(X, X.astype(F)), TypeError, r"inputs\[1\] must be a float64 array, got float32"),
    (lambda: Concat(3)(X, X), ValueError, r"axis must be an axis of inputs\[0\], float64 array of shape \(4, 3, 2\), got 3"),
    (
        lambda: Concat()(X, X[1:]),
        ValueError,
        r"inputs\[1\] must have the shape of .*\(4, 3, 2\), except along axis -1, got \(3,",
    ),
    (lambda: Concat().forward(X, X)[1](X), ValueError, r"dy must be .*\(4, 3, 4\), got .*\(4, 3, 2\)"),
    (lambda: Add()(), TypeError, "inputs must be at least one array, got none"),
    (lambda: Add()(X, 3), TypeError, r"inputs\[1\] must be a float64 array, got 3"),
    (lambda: Multiply()(X, X[:, :1]), ValueError, r"inputs\[1\] must have the shape of .*\(4, 3, 2\), got \(4, 1, 2\)"),
    (lambda: Average().forward(X, X)[1](X[0]), ValueError, r"dy must be .*\(4, 3, 2\)"),
    (lambda: RepeatVector(0), ValueError, "n must be at least 1, got 0"),
    (lambda: RepeatVector()(X[0]), ValueError, "exactly one of n and like must be given"),
    (lambda: RepeatVector(2)(X[0], X), ValueError, "exactly one of n and like must be given"),
    (lambda: RepeatVector()(X[0], 3), TypeError, r"like must be an array \[T, B, \.\.\.\], got 3"),
    (lambda: RepeatVector()(X[0], X[:, :1]), ValueError, r"like must have the axes \[T, B, \.\.\.\] and x's B, \(3,\)"),
    (lambda: RepeatVector(2).forward(X[0])[1](X), ValueError, r"dy must be .*\[n, B, \.\.\.\] = \(2, 3, 2\)"),
    (lambda: Activation("swish"), ValueError, "function must be one of 'tanh', 'relu', .*got 'swish'"),
    (lambda: Activation("tanh")(3), TypeError, "x must be a float32 or float64 array, got 3"),
    (lambda: Activation("softmax")(X[..., :0]), ValueError, r"x must have a last axis \(for softmax, not empty\)"),
    (lambda: Activation("tanh").forward(X)[1](X[0]), ValueError, r"dy must be .*\(4, 3, 2\)"),
    (lambda: LayerNorm(0), ValueError, "features must be at least 1, got 0"),
    (lambda: LayerNorm(3, -1), ValueError, "eps must lie in"),
    (lambda: LayerNorm(3, 0), ValueError, r"eps must lie in \(0, inf\], got 0"),
    (lambda: LayerNorm(3)(X), TypeError, r"x must be a float32 array of shape \[\.\.\., features=3\], got float64"),
    (lambda: LayerNorm(3, dtype="float64")(X), ValueError, r"features=3\], got .*\(4, 3, 2\)"),
    (lambda: LayerNorm(2, dtype="float64").forward(X)[1](X[0]), ValueError, r"dy must be .*\(4, 3, 2\)"),
    (lambda: VariationalDropout(2), ValueError, r"p must lie in \[0, 1\], got 2"),
    (lambda: VariationalDropout()(X[0]), ValueError, r"x must have at least three axes .*, got .*\(3, 2\)"),
    (lambda: VariationalDropout().forward(3), TypeError, "x must be a float32 or float64 array, got 3"),
    (lambda: VariationalDropout().forward(X)[1](X[0]), ValueError, r"dy must be .*\(4, 3, 2\)"),
]


@each_row(("call", "error", "message"), ERRORS)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


T_B = Input(("T", "B", 4), dtype="float64")
S_B = Input(("S", "B", 4), dtype="float64")
FEATURES = Input(("B", 4), dtype="float64")
SHAPES = [
    (lambda: Last()(T_B), ("B", 4)),
    (lambda: MeanPool()(T_B), ("B", 4)),
    (lambda: MaxPool()(T_B), ("B", 4)),
    (lambda: Concat()(T_B, T_B, T_B), ("T", "B", 12)),
    (lambda: T_B + T_B, ("T", "B", 4)),
    (lambda: T_B * T_B, ("T", "B", 4)),
    (lambda: Average()(T_B, T_B), ("T", "B", 4)),
    (lambda: RepeatVector(3)(FEATURES), (3, "B", 4)),
    (lambda: RepeatVector()(FEATURES, S_B), ("S", "B", 4)),
    (lambda: Activation("softmax")(T_B), ("T", "B", 4)),
    (lambda: LayerNorm(4, dtype="float64")(T_B), ("T", "B", 4)),
    (lambda: VariationalDropout()(T_B), ("T", "B", 4)),
    (lambda: Lambda(np.square)(T_B), ("T", "B", 4)),
    (lambda: Lambda(len, output_shape=lambda shape: (*shape, 2))(T_B), ("T", "B", 4, 2)),
]


def test_shapes_on_symbols():
    for call, shape in SHAPES:
        symbol = call()
        assert (symbol.shape, symbol.dtype) == (shape, "float64")


def test_bad_calls_on_symbols_are_refused():
    calls = [
        (lambda: Last()(FEATURES), r"x must have a time axis"),
        (lambda: VariationalDropout()(FEATURES), "x must have a time axis"),
        (lambda: RepeatVector(2)(T_B), "x must not have a time axis"),
        (lambda: Add()(T_B, S_B), r"inputs\[1\] must have the shape of inputs\[0\], \[T, B, 4\], got \[S, B, 4\]"),
        (
            lambda: Concat()(T_B, FEATURES),
            r"inputs\[1\] must have the shape of inputs\[0\], \[T, B, 4\], except along axis -1",
        ),
        (lambda: Concat(0)(T_B, T_B), "axis must be neither time nor of variable size, got 0, which is T"),
        (lambda: Concat(1)(T_B, T_B), "neither time nor of variable size, got 1, which is B"),
        (lambda: Activation("softmax")(Input(("T", "B"))), "x must have a last axis of fixed size for softmax, got B"),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=message):
            call()


DESCRIBED = [
    *(Last(), MeanPool(), MaxPool(), Concat(), Concat(1), Add(), Multiply(), Average(), RepeatVector(), RepeatVector(3)),
    *(Activation(name) for name in ("tanh", "relu", "softmax")),
    *(LayerNorm(3), LayerNorm(3, 0.5, bias=False, dtype="float64"), LayerNorm(3, elementwise_affine=False)),
    VariationalDropout(0.25),
]


@each_row("layer", DESCRIBED)
def test_a_description_gives_the_same_layer(layer):
    config = json.loads(json.dumps(layer.config()))
    again = getattr(fastrnn, type(layer).__name__)(**config)
    assert again.config() == layer.config()
    assert repr(again) == repr(layer)
    assert list(again.state_dict()) == list(layer.state_dict())
