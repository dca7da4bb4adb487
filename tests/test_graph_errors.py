"""Errors of building and calling name the argument, what was expected and what came."""

import contextlib

import numpy as np
import pytest
from graphs import F64
from tables import each_row

import fastrnn
from fastrnn import (
    GRU,
    LSTM,
    Add,
    Concat,
    Dropout,
    Embedding,
    Input,
    Linear,
    MeanPool,
    Model,
    OneHot,
    Sequential,
    TokenDropout,
)

X = Input(("T", "B", 3), **F64, name="x")
S = Input(("S", "B", 3), **F64, name="s")
IDS = Input(("T", "B"), dtype="int64", name="ids")
Y, STATE = LSTM(3, 4, **F64)(X)
DATA = np.zeros((5, 2, 3))
LENGTHS = r"lengths must belong to the time axes T, S, got lengths of 'U'"
ONE = Model(X, Y)
TWO = Model((X, S), MeanPool()(X) + MeanPool()(S))


def forward_twice():
    y, backward = ONE.forward(DATA)
    backward(y)
    backward(y)


def after_a_change():
    layer = Linear(3, 2, **F64)
    y, backward = Model(X, layer(X)).forward(DATA)
    layer.weight.writable()[:] = 0
    backward(y)


INPUTS = {
    "not a shape": (lambda: Input(64), TypeError, r"shape must be a tuple such as \('T', 'B', 64\), got 64"),
    "small letters": (lambda: Input(("t", "B", 3)), ValueError, "capital letters and sizes of at least 1, got 't'"),
    "a size of zero": (lambda: Input(("T", "B", 0)), ValueError, "sizes of at least 1, got 0"),
    "no size": (lambda: Input(("T", "B", None)), ValueError, "sizes of at least 1, got None"),
    "without a batch": (lambda: Input(("T", 3)), ValueError, r"shape must have 'B' as its first axis .* got \('T', 3\)"),
    "a letter twice": (lambda: Input(("T", "B", "T")), ValueError, "shape must have each letter once"),
    "a dtype": (
        lambda: Input(("T", "B"), dtype="int32"),
        ValueError,
        "dtype must be float32, float64, or int64 .* got int32",
    ),
    "no dtype": (lambda: Input(("T", "B"), dtype="ids"), ValueError, "dtype must be float32, .* got 'ids'"),
    "a name": (lambda: Input(("T", "B"), name="my ids"), ValueError, "name must be an identifier, got 'my ids'"),
}

BUILDING = {
    "another graph's symbol": (
        lambda: Model(X, Add()(X, Input(("T", "B", 3), **F64, name="other"))),
        ValueError,
        "outputs depend on <Symbol of Input 'other': float64 .* not among the inputs",
    ),
    "an input without use": (lambda: Model((X, S), Y), ValueError, "inputs hold <Symbol of Input 's'.*no output depends on"),
    "an input twice": (lambda: Model((X, X), Y), ValueError, "inputs must hold each symbol once, got .* twice"),
    "names twice": (
        lambda: Model((X, x := Input(("T", "B", 3), **F64, name="x")), x + X),
        ValueError,
        "inputs must have different names, got 'x' twice",
    ),
    "no outputs": (lambda: Model(X, []), ValueError, "outputs must hold at least one Symbol, got none"),
    "an array": (lambda: Model(X, DATA), TypeError, "outputs must be a Symbol or a list of them, got float64 array"),
    "a layer": (lambda: Model(X, Linear(3, 2)), TypeError, "outputs must be a Symbol or a list of them, got Linear"),
    "layers of one name": (
        lambda: Model(X, Dropout().named("a")(Dropout().named("a")(X))),
        ValueError,
        "layers of a model must have different names, got 'a'",
    ),
    "a layer and an input of one name": (
        lambda: Model(X, Linear(3, 3, **F64).named("x")(X)),
        ValueError,
        "a layer must not have an input's name, got 'x' for both",
    ),
    "a name with a dot": (lambda: Dropout().named("a.b"), ValueError, "nor hold any of"),
    "a size": (lambda: GRU(4, 3, **F64)(X), ValueError, r"GRU does not take float64 \[T, B, 3\]: x must be .* I=4"),
    "another dtype": (lambda: Linear(3, 2)(X), TypeError, r"Linear does not take float64 \[T, B, 3\]: x must be a float32"),
    "floats for ids": (
        lambda: Embedding(5, 3)(X),
        TypeError,
        "Embedding does not take float64 .* array of integer token ids",
    ),
    "a state of another size": (lambda: LSTM(3, 5, **F64)(X, STATE), ValueError, "LSTM does not take .*state's h must be"),
    "a state that is none": (lambda: GRU(3, 4, **F64)(X, STATE), TypeError, "GRU does not take .*state must be"),
    "batch first": (lambda: GRU(3, 4, batch_first=True, **F64)(X), ValueError, "in a graph the time axis is the first"),
    "without time": (lambda: GRU(3, 4, **F64)(MeanPool()(X)), ValueError, r"x must have the axes \[T, B, I=3\]"),
    "two time axes": (lambda: X + S, ValueError, r"Add does not take float64 \[T, B, 3\], float64 \[S, B, 3\]"),
    "an array beside a symbol": (lambda: Concat()(X, DATA), TypeError, "Concat: all inputs .* must be Symbols, got float64"),
    "a symbol beside an array": (
        lambda: LSTM(3, 4, **F64)(DATA, STATE),
        TypeError,
        "state's h must be .* got <Symbol of LSTM",
    ),
    "a number": (lambda: Y + 1, TypeError, r"a Symbol \+ something needs another Symbol, got 1"),
    "a sum": (lambda: sum([X, X]), TypeError, r"a Symbol \+ .* got 0 \(sum\(\) begins at 0\): use a \+ b, .* Add\(\)"),
    "a number times a symbol": (lambda: 2 * X, TypeError, r"a Symbol \* something needs another Symbol, got 2: use a \+ b"),
    "a difference": (lambda: X - X, TypeError, r"^a Symbol has no -: use a \+ b, a \* b, or layers: .* Lambda\(\)"),
    "one less a symbol": (lambda: 1 - X, TypeError, r"^a Symbol has no -: use a \+ b"),
    "a negative": (lambda: -X, TypeError, r"^a Symbol has no -: use a \+ b"),
    "a quotient": (lambda: X / 2, TypeError, r"^a Symbol has no /: use a \+ b"),
    "a power": (lambda: 2**X, TypeError, r"^a Symbol has no \*\*: use a \+ b"),
    "a comparison": (lambda: X > 0, TypeError, r"^a Symbol has no >: use a \+ b"),
    "NumPy": (
        lambda: np.tanh(Y),
        TypeError,
        r"^a Symbol cannot be used with NumPy's tanh or with an array: use .* Lambda\(\)",
    ),
    "an array plus a symbol": (
        lambda: DATA + X,
        TypeError,
        r"^a Symbol cannot be used with NumPy's add or with an array: use",
    ),
    "an array times a symbol": (lambda: DATA * X, TypeError, r"^a Symbol cannot be used with NumPy's multiply or with an"),
    "a symbol plus an array": (lambda: X + DATA, TypeError, r"needs another Symbol, got float64 array .*: use a \+ b"),
    "a matrix product": (lambda: X @ DATA, TypeError, r"^a Symbol has no @: use a \+ b"),
    "a method of arrays": (lambda: X.astype("float32"), AttributeError, r"^a Symbol has no astype: it has shape and dtype;"),
    "a number of it": (lambda: float(X), TypeError, "a Symbol has no value yet"),
    "dtypes of two kinds": (
        lambda: X + Input(("T", "B", 3)),
        TypeError,
        r'inputs\[1\] must be a float64 array, .*\]: make its Input and the layers before with dtype="float64"$',
    ),
    "a dtype deep inside": (
        lambda: Sequential(Sequential(GRU(3, 2)))(X),
        TypeError,
        r'\]: make its Input and the layers before with dtype="float32", or use layers with dtype="float64"$',
    ),
    "NumPy's stack": (lambda: np.stack([X, X]), TypeError, "a Symbol has no value yet"),
    "a condition": (lambda: 1 if Y else 0, TypeError, "a Symbol has no value yet"),
    "one that is taken for two": (lambda: (lambda a, b: a)(*Linear(3, 2, **F64)(X)), TypeError, None),
    "lengths": (
        lambda: GRU(3, 4, **F64)(X, lengths=[1, 2]),
        ValueError,
        "GRU: lengths are given to the model when it is called",
    ),
    "a symbol by name": (lambda: LSTM(3, 4, **F64)(X, state=STATE), None, None),
    "a model's input": (
        lambda: ONE(IDS),
        ValueError,
        r"Model does not take int64 .*x must be float64 \[T, B, 3\], got int64",
    ),
    "a model's inputs": (lambda: TWO(X), TypeError, r"Model does not take .* takes 2 \(x, s\), got 1"),
    "letters that clash": (
        lambda: Model((X, x := Input(("T", "B", 3), **F64, name="z")), x + X)(X, S),
        ValueError,
        r"z must be float64 \[T, B, 3\], got float64 \[S, B, 3\]",
    ),
}

CALLS = {
    "too many": (lambda: ONE(DATA, DATA), TypeError, r"the model's call takes 1 \(x\), got 2"),
    "too few": (lambda: TWO(DATA), TypeError, r"takes 2 \(x, s\), got 1"),
    "a list": (lambda: ONE(DATA.tolist()), TypeError, r"x must be a float64 array of shape \[T, B, 3\], got \[\["),
    "a dtype": (lambda: ONE(DATA.astype("f")), TypeError, "x must be a float64 array .* got float32 array"),
    "a shape": (lambda: ONE(DATA[0]), ValueError, r"x must be .* shape \[T, B, 3\], got float64 array of shape \(2, 3\)"),
    "a size": (
        lambda: ONE(DATA[..., :2]),
        ValueError,
        r"x must be .* shape \[T, B, 3\], got float64 array of shape \(5, 2, 2\)",
    ),
    "two batches": (
        lambda: TWO(DATA, DATA[:, :1]),
        ValueError,
        r"s must be .* got .* \(5, 1, 3\), where B = 2 in another input",
    ),
    "nothing": (lambda: ONE(DATA[:0]), ValueError, "x must be .* no axis but B may be 0 long"),
    "ids": (
        lambda: Model(IDS, Embedding(4, 2)(IDS))(DATA),
        TypeError,
        "ids must be an array of integers .* got float64 array",
    ),
    "an id": (lambda: Model(IDS, Embedding(4, 2)(IDS))(np.full((2, 2), 4)), ValueError, "token ids in -1..3, got 4"),
    "lengths of which": (
        lambda: TWO(DATA, DATA, lengths=[1, 2]),
        ValueError,
        r"name their time axes, {'T': ..., 'S': ...}, got",
    ),
    "lengths of none": (lambda: TWO(DATA, DATA, lengths={"U": [1, 2]}), ValueError, LENGTHS),
    "lengths too long": (lambda: ONE(DATA, lengths=[6, 1]), ValueError, "lengths must each lie in 0..T = 0..5, got 6"),
    "lengths below zero": (lambda: TWO(DATA, DATA, lengths={"S": [-1, 1]}), ValueError, r"lengths\['S'\]: .* got -1"),
    "lengths of floats": (lambda: ONE(DATA, lengths=[1.5, 1]), TypeError, "lengths must hold integers"),
    "too few lengths": (lambda: ONE(DATA, lengths=[1]), ValueError, r"lengths must have shape \[B\] = \(2,\)"),
    "lengths without time": (
        lambda: Model(z := Input(("B", 3), **F64), Linear(3, 2, **F64)(z))(DATA[0], lengths=[1, 1]),
        ValueError,
        "lengths must be None: no input has a variable time axis",
    ),
    "a gradient's shape": (
        lambda: ONE.forward(DATA)[1](DATA),
        ValueError,
        r"dlstm\[0\] must be a float64 array of shape \[T, B, 4\]",
    ),
    "a gradient's dtype": (
        lambda: ONE.forward(DATA)[1](np.zeros((5, 2, 4), "f")),
        TypeError,
        r"dlstm\[0\] must be a float64",
    ),
    "gradients": (lambda: ONE.forward(DATA)[1](DATA, DATA), TypeError, r"backward takes 1 \(dlstm\[0\]\), got 2"),
    "backward twice": (forward_twice, RuntimeError, "run forward again for another backward"),
    "a change before backward": (after_a_change, RuntimeError, "weight has changed since the forward pass"),
}


ROWS = [(name, *row) for table in (INPUTS, BUILDING, CALLS) for name, row in table.items()]


@each_row(("name", "call", "error", "message"), ROWS)
def test_bad_inputs_graphs_and_calls_are_named(name, call, error, message):
    with pytest.raises(error, match=message) if error else contextlib.nullcontext():
        call()


def test_a_state_is_a_pair_of_symbols_or_arrays():
    """A model that takes a state names the missing state."""
    y, _ = LSTM(3, 4, **F64)(X, STATE)
    model = Model((X, STATE), y)
    h = np.zeros((1, 2, 4))
    assert model(DATA, (h, h)).shape == (5, 2, 4)
    with pytest.raises(TypeError, match=r"\(input, input_1\) must be a tuple of 2, got float64 array"):
        model(DATA, h)
    with pytest.raises(TypeError, match=r"\(input, input_1\) takes 2 .* got 1"):
        model(DATA, (h,))


def test_a_layer_that_only_its_own_class_knows():
    """Wrapping a layer's ``__call__`` preserves its name, its docstring and its behaviour with arrays."""

    class Own(fastrnn.Layer):
        def __call__(self, x, scale=2):
            """Scaled."""
            return x * scale

    assert Own()(DATA + 1, scale=3).max() == 3
    assert Own.__call__.__doc__ == "Scaled."
    assert Own()(X).shape == ("T", "B", 3)
    assert repr(Sequential(Own())(X)).startswith("<Symbol of Sequential")


def test_ids_out_of_range_name_the_input_and_the_layer():
    """Every kind of call raises the error, also after a layer that passes ids on. Ids in the padding are not checked."""
    words, tags = (Input(("T", "B"), dtype="int64", name=name) for name in ("words", "tags"))
    known = Embedding(1000, 3)(TokenDropout(0.0, 999)(words))
    model = Model((words, tags), GRU(6, 4)(Concat()(known, Embedding(9, 3).named("of_tags")(tags)))[0])
    good, bad = np.zeros((3, 2), int), np.array([[0, 0], [0, 0], [0, 1000]])
    for call in (model, model.forward, model.stream):
        with pytest.raises(ValueError, match=r"^words: embedding: x must hold token ids in -1\.\.999, got 1000$"):
            call(bad, good)
        with pytest.raises(ValueError, match=r"^tags: of_tags: x must hold token ids in -1\.\.8, got 1000$"):
            call(good, bad)
        call(bad, bad, lengths=[3, 2])
    _, state = model.step(good[0], good[0])
    with pytest.raises(ValueError, match=r"^words: embedding: x must hold .* got 1000$"):
        model.step(bad[2], good[0], state=state)


@pytest.mark.parametrize("layer", [Embedding(2, 3), OneHot(3), GRU(2, 3)], ids=["embedding", "onehot", "gru"])
def test_ids_of_layers_that_are_run_as_one(layer):
    ids = Input(("T", "B"), dtype="int64", name="ids")
    between = layer(ids)
    y, _ = GRU(3, 4).named("above")(between[0] if isinstance(between, tuple) else between)
    name, last = type(layer).__name__.lower(), 2 if isinstance(layer, OneHot) else 1
    with pytest.raises(ValueError, match=rf"^ids: {name}: x must hold token ids in -1\.\.{last}, got 3$"):
        Model(ids, y)(np.full((5, 2), 3))


def test_ids_of_a_model_within():
    inner = Model(IDS, Embedding(4, 2)(IDS)).named("inner")
    words = Input(("S", "B"), dtype="int64", name="words")
    with pytest.raises(ValueError, match=r"^words: inner: ids: embedding: x must hold token ids in -1\.\.3, got 4$"):
        Model(words, inner(words))(np.full((2, 2), 4))
