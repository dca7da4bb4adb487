"""Bad input to layers gives an error that names the argument, what was expected and what came, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tables import each_row

from fastrnn import Input, Model, diagnostics, losses, metrics, sequence_mask
from fastrnn.layers import GRU, LSTM, RNN, Dropout, Embedding, GRUCell, Layer, Linear, LSTMCell, OneHot, Sequential
from fastrnn.music.tokens import decode
from fastrnn.music.vocabulary import PartVocabulary
from fastrnn.serialization import FileFormatError, save_arrays
from fastrnn.text.beam import beam_search
from fastrnn.text.vocabulary import Vocabulary

F = np.float32

CONSTRUCTORS = [
    (lambda: LSTM(0, 4), ValueError, "input_size must be at least 1, got 0"),
    (lambda: LSTM(3, -1), ValueError, "hidden_size must be at least 1, got -1"),
    (lambda: LSTM(3, 4.0), TypeError, r"hidden_size must be an integer, got 4\.0"),
    (lambda: GRU(3, 4, 0), ValueError, "num_layers must be at least 1, got 0"),
    (lambda: GRU(3, 4, 2, "tanh"), TypeError, "bias must be True or False, got 'tanh'"),
    (lambda: GRU(3, 4, batch_first=1), TypeError, "batch_first must be True or False, got 1"),
    (lambda: GRU(3, 4, 2, dropout=1.5), ValueError, r"dropout must lie in \[0, 1\], got 1\.5"),
    (lambda: GRU(3, 4, dtype="int32"), ValueError, "dtype must be float32 or float64, got int32"),
    (
        lambda: GRU(3, 4, dtype={"names": ["a"], "formats": ["f4"], "offsets": [10**30]}),
        ValueError,
        "dtype must be float32 or",
    ),
    (lambda: GRU(3, 4, dtype=", f4"), ValueError, "dtype must be float32 or float64, got ', f4'"),
    (lambda: Input(("B", 3), dtype="(1, (1, f4"), ValueError, "dtype must be float32, float64, or int64 for ids, got '"),
    (lambda: GRU(3, 4, dtype=None), ValueError, "dtype must be float32 or float64, got None"),
    (lambda: Input(("B", 3), dtype=None), ValueError, "dtype must be float32, float64, or int64 for ids, got None"),
    (lambda: GRU(3, 4, rng=-1), ValueError, "rng must be at least 0 if it is a seed, got -1"),
    (lambda: GRU(3, 4, rng="seed"), TypeError, r"rng must be a numpy\.random\.Generator, .* got 'seed'"),
    (lambda: GRU(3, 4, backend="cuda"), ValueError, "backend must be one of c, numba, reference, got 'cuda'"),
    (lambda: GRU(3, 4, reset_gate=None), TypeError, "reset_gate must be True or False, got None"),
    (lambda: RNN(3, 4, 1, "sigmoid"), ValueError, "nonlinearity must be one of 'tanh', 'relu', got 'sigmoid'"),
    (lambda: LSTM(3, 4, proj_size=4), ValueError, "proj_size must be smaller than hidden_size = 4, got 4"),
    (lambda: LSTM(3, 4, proj_size=-1), ValueError, "proj_size must be at least 0, got -1"),
    (lambda: LSTM(3, 4, bias=False, forget_bias=1), ValueError, "forget_bias needs bias=True"),
    (lambda: LSTM(3, 4, forget_bias="1"), TypeError, "forget_bias must be a number, got '1'"),
    (lambda: LSTM(3, 4).plan(0, 1), ValueError, "T must be at least 1, got 0"),
    (lambda: LSTMCell(3, 0), ValueError, "hidden_size must be at least 1, got 0"),
    (lambda: Linear(3, 0), ValueError, "out_features must be at least 1, got 0"),
    (lambda: Linear(3, 4, 5), TypeError, "bias must be True or False, got 5"),
    (lambda: Linear(3, 4, backend="cuda"), ValueError, "backend must be one of c, numba, reference, got 'cuda'"),
    (lambda: Embedding(0, 4), ValueError, "num_embeddings must be at least 1, got 0"),
    (lambda: OneHot(True), TypeError, "num_classes must be an integer, got True"),
    (lambda: Dropout(-0.1), ValueError, r"p must lie in \[0, 1\], got -0\.1"),
    (lambda: Sequential(Linear(3, 4), "relu"), TypeError, "layers must be fastrnn layers, got 'relu' at index 1"),
    (lambda: Sequential(), ValueError, "layers must hold at least one layer, got none"),
    (lambda: Sequential(layers=5), TypeError, "layers must be a list of fastrnn layers, got 5"),
]

X = np.zeros((5, 2, 3), F)
H = np.zeros((1, 2, 4), F)


def _appended(item):
    """Return a model of one layer, after an item was appended to its list of layers."""
    model = Sequential(GRU(3, 4))
    model.layers.append(item)
    return model


def _step(layer, x_t):
    return Sequential(layer).step(x_t)


CALLS = [
    (lambda: LSTM(3, 4)(X.astype(float)), TypeError, r"x must be a float32 array .*got float64 array"),
    (lambda: LSTM(3, 4)([[1.0]]), TypeError, r"x must be a float32 array .*got \[\[1\.0\]\]"),
    (lambda: LSTM(2, 4)(X), ValueError, r"\[T, B, I=2\] or \[T, I=2\].* got .*\(5, 2, 3\)"),
    (lambda: LSTM(2, 4, batch_first=True)(X), ValueError, r"\[B, T, I=2\]"),
    (lambda: LSTM(3, 4)(X[0, 0]), ValueError, r"x must be .*got .*shape \(3,\)"),
    (
        lambda: LSTM(3, 4)(X[:0]),
        ValueError,
        r"x must have at least one time step, got .*\(0, 2, 3\): for sequences without steps",
    ),
    (lambda: LSTM(3, 4)(np.array([[3]])), ValueError, r"x must hold token ids in -1\.\.2, got 3"),
    (lambda: LSTM(3, 4)(np.array([[-2]])), ValueError, r"x must hold token ids in -1\.\.2, got -2"),
    (lambda: LSTM(3, 4)(X, H), TypeError, r"state must be a pair \(h, c\), got float32 array"),
    (lambda: LSTM(3, 4)(X, (H, H[0])), ValueError, r"state's c must be .*\[L\*D, B, H\] = \(1, 2, 4\), got .*\(2, 4\)"),
    (lambda: LSTM(3, 4, proj_size=2)(X, (H, H)), ValueError, r"state's h must be .*\[L\*D, B, Y\] = \(1, 2, 2\)"),
    (lambda: GRU(3, 4)(X, H.astype(float)), TypeError, "state must be a float32 array"),
    (lambda: GRU(3, 4, 2)(X, H), ValueError, r"state must be .*\(2, 2, 4\), got .*\(1, 2, 4\)"),
    (lambda: GRU(3, 4)(X[:, 0], H), ValueError, r"state must be .*\[L\*D, Y\] = \(1, 4\)"),
    (lambda: GRU(3, 4)(X, lengths=[1]), ValueError, r"lengths must have shape \[B\] = \(2,\)"),
    (lambda: GRU(3, 4)(X, lengths=[-1, 5]), ValueError, r"lengths must each lie in 0\.\.T = 0\.\.5, got -1"),
    (lambda: GRU(3, 4)(X, lengths=[1.0, 2.0]), TypeError, "lengths must hold integers"),
    (lambda: GRU(3, 4)(X, lengths=[[1], [1, 2]]), TypeError, r"lengths must hold integers, got \[\[1\], \[1, 2\]\]"),
    (lambda: sequence_mask([[1], []]), TypeError, r"lengths must hold integers, got \[\[1\], \[\]\]"),
    (lambda: losses.softmax_cross_entropy(X[0], [0, []]), TypeError, r"targets must hold integer class ids, got \[0, \["),
    (lambda: Embedding(3, 4).load_state_dict({"weight": [[1.0], []]}), TypeError, r"weight must be .* floats .*, got \[\["),
    (lambda: Sequential(GRU(3, 4)).forward(X, [1, 2])[1]([[1], []]), TypeError, r"dy must be a float32 array .*, got \[\["),
    (lambda: beam_search(print, None, [0, [1]], eos=1), TypeError, r"start must be an integer array .*, got \[0, \[1\]\]"),
    (lambda: Vocabulary.from_text("ab").names([0, [1]]), TypeError, r"ids must hold integers, got \[0, \[1\]\]"),
    (lambda: diagnostics.state_gradients(GRU(3, 4), X, [[1], []]), TypeError, r"dy must have .*, \(5, 2, 4\), got \[\["),
    (lambda: metrics.accuracy(X[0], [0, []]), TypeError, r"targets must be an array of numbers, got \[0, \[\]\]"),
    (lambda: metrics.accuracy(np.eye(2), np.arange(2), np.array([0, 1])), TypeError, "mask must be a bool array, got int64"),
    (lambda: metrics.accuracy(np.eye(2), np.arange(2), np.ones(3, bool)), ValueError, r"mask must .* \(2,\), got \(3,\)"),
    (lambda: metrics.binary_accuracy(np.eye(2), np.eye(2), [0, 1]), TypeError, r"mask must be a bool array, got \[0, 1\]"),
    (lambda: metrics.binary_accuracy(X, X, np.ones((2, 5), bool)), ValueError, r"mask must .* \(5, 2, 3\), got \(2, 5\)"),
    (lambda: metrics.accuracy(X[0], np.array([0, None])), TypeError, "targets must be an array of numbers, got object"),
    (lambda: metrics.mean_absolute_error([[1], []], X), TypeError, r"outputs must be an array of numbers, got \[\[1\], "),
    (lambda: decode([0, [1]], PartVocabulary()), TypeError, r"ids must be integers of shape \[N\], got \[0, \[1\]\]"),
    (lambda: Vocabulary.from_text("ab").names([0.5]), TypeError, r"ids must hold integers, got \[0\.5\]"),
    (lambda: GRU(3, 4)(X[:, 0], lengths=[5]), ValueError, "lengths needs a batch"),
    (lambda: LSTM(3, 4)(X, return_cell_states="yes"), TypeError, "return_cell_states must be True or False"),
    (lambda: GRUCell(3, 4)(X), ValueError, r"x must be a float32 array of shape \[B, I=3\]"),
    (lambda: GRUCell(3, 4)(X[0], H), ValueError, r"state must be .*\[B, H\] = \(2, 4\)"),
    (lambda: LSTMCell(3, 4)(X[0], H[0]), TypeError, r"state must be a pair \(h, c\)"),
    (lambda: Linear(3, 4)(X.astype(float)), TypeError, r"x must be a float32 array of shape \[\.\.\., in_features=3\]"),
    (lambda: Linear(2, 4)(X), ValueError, r"in_features=2\], got .*\(5, 2, 3\)"),
    (lambda: Embedding(3, 4)(X), TypeError, "x must be an array of integer token ids, got float32 array"),
    (lambda: Embedding(3, 4)(np.array([1, 5])), ValueError, r"token ids in -1\.\.2, got 5"),
    (lambda: OneHot(3)(np.array([-3])), ValueError, r"token ids in -1\.\.2, got -3"),
    (lambda: Sequential(OneHot(3), GRU(3, 4))(X), TypeError, "x must be an array of integer token ids, got float32"),
    (lambda: Sequential(OneHot(3), GRU(3, 4)).forward(X), TypeError, "x must be an array of integer token ids"),
    (lambda: Sequential(OneHot(3), GRU(3, 4))(np.array([[3]])), ValueError, r"x must hold token ids in -1\.\.2, got 3"),
    (lambda: Dropout().forward(np.array([1])), TypeError, "x must be a float32 or float64 array"),
    (lambda: _step(GRU(3, 4), X), ValueError, r"^x_t must be .* \[B, 3\] or integer token ids \[B\], .* shape \(5, 2, 3\)"),
    (lambda: _step(Linear(3, 4), X.astype(float)), TypeError, r"^x_t must be a float32 array \[B, 3\], one .*x_t.astype"),
    (lambda: _step(Embedding(3, 4), X), TypeError, r"^x_t must be an array of integer token ids \[B\], one time step"),
    (lambda: _step(OneHot(3), np.array([7])), ValueError, r"^x_t must hold token ids in -1\.\.2, got 7"),
    (lambda: _appended("a")(X), TypeError, "layers must be fastrnn layers, got 'a' at index 1"),
    (lambda: _appended("a").parameters(), TypeError, "layers must be fastrnn layers, got 'a' at index 1"),
    (lambda: _appended(GRU).summary(), TypeError, "layers must be fastrnn layers, got <class .*GRU'> at index 1"),
    (lambda: Layer()(X), NotImplementedError, "Layer does not define __call__"),
]

BACKWARDS = [
    (lambda: LSTM(3, 4).forward(X)[1](X), ValueError, r"dy must be .*\[T, B, D\*Y\] = \(5, 2, 4\), got .*\(5, 2, 3\)"),
    (lambda: LSTM(3, 4, batch_first=True).forward(X)[1](X), ValueError, r"dy must be .*\[B, T, D\*Y\] = \(5, 2, 4\)"),
    (lambda: LSTM(3, 4).forward(X)[1](None, H), TypeError, r"dstate must be a pair \(h, c\)"),
    (lambda: LSTM(3, 4).forward(X)[1](None, (H[0], H)), ValueError, "dstate's h must be"),
    (lambda: LSTM(3, 4).forward(X)[1](None, None, X), ValueError, "dc needs a forward with return_cell_states=True"),
    (lambda: GRU(3, 4).forward(X)[1](X.astype(float)), TypeError, "dy must be a float32 array"),
    (lambda: GRUCell(3, 4).forward(X[0])[1](X[0]), ValueError, "dstate must be a float32 array"),
    (lambda: Linear(3, 4).forward(X)[1](X), ValueError, r"dy must be .*\(5, 2, 4\), got .*\(5, 2, 3\)"),
    (lambda: Embedding(3, 4).forward(np.array([1]))[1](X), ValueError, r"dy must be .*\(1, 4\)"),
    (lambda: Dropout().forward(X)[1](H), ValueError, r"dy must be .*\(5, 2, 3\)"),
]


@each_row(("action", "error", "message"), CONSTRUCTORS + CALLS + BACKWARDS)
def test_bad_arguments_are_named(action, error, message):
    with pytest.raises(error, match=message):
        action()


def _of_another_dtype(a, b):
    """Return calls of layers of dtype ``a`` with an array of dtype ``b``, by the array's name in the message."""
    x, h, y = np.zeros((5, 2, 3), b), np.zeros((1, 2, 4), b), np.zeros((5, 2, 4), b)
    right, state = x.astype(a), h.astype(a)
    dtype = {"dtype": a}
    symbol = Input(("T", "B", 3), name="series", **dtype)
    model = Model(symbol, Linear(3, 4, **dtype).named("out")(symbol))
    return [
        ("x", lambda: GRU(3, 4, **dtype)(x)),
        ("x", lambda: LSTM(3, 4, batch_first=True, bidirectional=True, merge="sum", **dtype).forward(x)),
        ("state", lambda: GRU(3, 4, **dtype)(right, h)),
        ("c", lambda: LSTM(3, 4, **dtype)(right, (state, h))),
        ("dy", lambda: GRU(3, 4, **dtype).forward(right)[1](y)),
        ("h", lambda: LSTM(3, 4, **dtype).forward(right)[1](None, (h, None))),
        ("dc", lambda: LSTM(3, 4, **dtype).forward(right, return_cell_states=True)[1](None, None, y)),
        ("x", lambda: LSTMCell(3, 4, **dtype)(x[0])),
        ("state", lambda: GRUCell(3, 4, **dtype)(right[0], h[0])),
        ("x_t", lambda: GRU(3, 4, **dtype).stepper()(x[0, 0])),
        ("x", lambda: Sequential(Linear(3, 4, **dtype))(x)),
        ("dy", lambda: Embedding(3, 3, **dtype).forward(np.zeros((5, 2), int))[1](x)),
        ("weight", lambda: Linear(3, 4, **dtype).weight.assign(np.zeros((4, 3), b))),
        ("series", lambda: model(x)),
        ("series", lambda: model.step(x[0])),
        ("dout", lambda: model.forward(right)[1](y)),
    ]


@pytest.mark.parametrize(("a", "b"), [("float32", "float64"), ("float64", "float32")])
def test_both_ways_out_of_another_dtype_are_said(a, b):
    for name, call in _of_another_dtype(a, b):
        use = "an Input and layers" if name == "series" else "layers"
        ways = rf': write {name}\.astype\("{a}"\), or use {use} with dtype="{b}"$'
        with pytest.raises(TypeError, match=rf"{name} must be .* got {b} array of shape [^:]*{ways}"):
            call()
    with pytest.raises(TypeError, match=rf'targets must be .*: write targets\.astype\("{a}"\)$'):
        losses.mean_squared_error(np.zeros(3, a), np.zeros(3, b))
    with pytest.raises(TypeError, match=rf'x must be .*got float16 array of [^:]*: write x\.astype\("{a}"\)$'):
        GRU(3, 4, dtype=a)(X.astype("float16"))
    with pytest.raises(TypeError, match=r"got float(32|64) array of shape \(5, 2\)$"):  # float ids: no dtype helps
        GRU(3, 4, dtype=a)(np.zeros((5, 2), b))


def test_a_parameter_is_not_replaced_by_an_array():
    layer = Linear(2, 2)
    with pytest.raises(TypeError, match=r"weight is a parameter: change its values with \.weight\.assign\(array\)"):
        layer.weight = np.zeros((2, 2), F)


def broken_states():
    good = Linear(2, 3, rng=5).state_dict()
    yield {"weight": good["weight"]}, ValueError, "missing: bias"
    yield good | {"extra": good["bias"]}, ValueError, "unexpected: extra"
    yield good | {"bias": np.zeros(4, F)}, ValueError, r"bias has shape \(4,\), expected \(3,\)"
    yield good | {"bias": np.array([0, np.nan, 0], F)}, ValueError, "bias holds NaN or infinity"
    yield good | {"bias": np.array([0, 1e300, 0])}, ValueError, "bias holds NaN or infinity"
    yield (
        good | {"bias": np.zeros(3, int)},
        TypeError,
        r"bias must be an array of floats \(float16, bfloat16, .*\), got int64 array",
    )
    yield good | {"bias": "zero"}, TypeError, "bias must be an array of floats"
    yield [], TypeError, r"state must map names to arrays, got \[\]"
    yield {"a": good["bias"]}, ValueError, "missing: weight, bias; unexpected: a"


@each_row(("state", "error", "message"), list(broken_states()))
def test_a_state_that_does_not_fit_changes_nothing(state, error, message):
    layer = Linear(2, 3, rng=1)
    before = layer.state_dict()
    versions = [parameter.version for parameter in layer.parameters()]
    with pytest.raises(error, match=message):
        layer.load_state_dict(state)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert versions == [parameter.version for parameter in layer.parameters()]


def test_bad_files_change_nothing(tmp_path: Path):
    layer = Linear(2, 3, rng=1)
    before = layer.state_dict()
    good = tmp_path / "good.safetensors"
    layer.save(good)
    files = {
        "truncated": (good.read_bytes()[:-4], FileFormatError, "truncated"),
        "foreign": (b"weights, but in prose", FileFormatError, "not a safetensors file"),
        "empty": (b"", FileFormatError, "empty"),
    }
    for name, (content, error, message) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(error, match=message):
            layer.load(tmp_path / name)
    save_arrays(tmp_path / "nan", before | {"weight": np.full((3, 2), np.nan, F)})
    with pytest.raises(ValueError, match="nan: the state does not fit Linear: weight holds NaN or infinity"):
        layer.load(tmp_path / "nan")
    save_arrays(tmp_path / "other", GRU(2, 3).state_dict())
    with pytest.raises(ValueError, match="other: the state does not fit Linear: missing: weight, bias; unexpected"):
        layer.load(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="absent"):
        layer.load(tmp_path / "absent")
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
