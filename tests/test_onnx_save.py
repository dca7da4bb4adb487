"""Saved models: the same values in ONNX Runtime and in our own runtime, for any T and B."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import Array, onnx, runtime_outputs
from tables import each_row

import fastrnn
import fastrnn.onnx
from fastrnn import Input, Model
from fastrnn.onnx._export.layers import EXPORTERS

ReferenceEvaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator


def x_of(layer: fastrnn.Layer, rng: np.random.Generator, T: int, B: int, axes: tuple[Any, ...], dtype: str) -> Array:
    shape = [{"T": T, "B": B}.get(axis, axis) for axis in axes]
    if dtype == "int64":
        return rng.integers(-1, 7, shape)
    return rng.standard_normal(shape).astype(dtype)


def arrays(outputs: Any) -> list[Array]:
    return [a for each in outputs for a in arrays(each)] if isinstance(outputs, (tuple, list)) else [outputs]


def check(model: Any, path: Path, make: Callable[[int, int], list[Array]], call: Any = None, **options: Any) -> None:
    """Save, then compare ONNX Runtime and our own runtime with the model for several T and B."""
    fastrnn.onnx.save(model, path, **options)
    loaded = fastrnn.onnx.load(path)
    for T, B in ((5, 3), (1, 1), (8, 2)):
        inputs = make(T, B)
        wanted = arrays((call or model)(*inputs))
        feeds = dict(zip(loaded.inputs, inputs, strict=True))
        double = inputs[0].dtype == np.float64  # ONNX Runtime has no recurrent operators for float64
        other = ReferenceEvaluator(str(path)).run(None, feeds) if double else runtime_outputs(str(path), feeds)
        for outputs in (other, loaded.run(feeds)):
            assert len(outputs) == len(wanted)
            for mine, exact in zip(outputs, wanted, strict=True):
                assert mine.dtype == exact.dtype
                np.testing.assert_allclose(mine, exact, rtol=0, atol=1e-5)


def layers() -> dict[str, tuple[fastrnn.Layer, tuple[Any, ...], str]]:
    """Return layers with the axes and the dtype of their input."""
    sequence, ids, vectors = ("T", "B", 7), ("T", "B"), ("B", 7)
    found: dict[str, tuple[fastrnn.Layer, tuple[Any, ...], str]] = {}
    for kind in (fastrnn.RNN, fastrnn.GRU, fastrnn.LSTM):
        name = kind.__name__
        found[name] = kind(7, 9, rng=0), sequence, "float32"
        found[f"{name} ids"] = kind(7, 9, rng=0), ids, "int64"
        found[f"{name} float64"] = kind(7, 9, dtype="float64", rng=0), sequence, "float64"
        found[f"{name} stacked"] = kind(7, 9, 3, dropout=0.5, bidirectional=True, rng=0), sequence, "float32"
        found[f"{name} no bias"] = kind(7, 9, 2, bias=False, rng=0), sequence, "float32"
        found[f"{name} batch first"] = kind(7, 9, 2, batch_first=True, rng=0), ("B", "T", 7), "float32"
        for merge in ("sum", "mul", "average"):
            found[f"{name} {merge}"] = kind(7, 9, 2, bidirectional=True, merge=merge, rng=0), sequence, "float32"
    found["RNN relu"] = fastrnn.RNN(7, 9, nonlinearity="relu", bidirectional=True, rng=0), sequence, "float32"
    found["GRU before"] = fastrnn.GRU(7, 9, reset_after=False, rng=0), sequence, "float32"
    found["GRU simplified"] = fastrnn.GRU(7, 9, 2, reset_gate=False, rng=0), sequence, "float32"
    found["GRU simplified, no bias"] = fastrnn.GRU(7, 9, reset_gate=False, bias=False, rng=0), sequence, "float32"
    found["LSTM peephole"] = fastrnn.LSTM(7, 9, 2, bidirectional=True, peephole=True, rng=0), sequence, "float32"
    for kind in (fastrnn.RNNCell, fastrnn.GRUCell, fastrnn.LSTMCell):
        found[kind.__name__] = kind(7, 9, rng=0), vectors, "float32"
        found[f"{kind.__name__} ids"] = kind(7, 9, rng=0), ("B",), "int64"
    found["Linear"] = fastrnn.Linear(7, 4, rng=0), vectors, "float32"
    found["Linear no bias"] = fastrnn.Linear(7, 4, bias=False, rng=0), sequence, "float32"
    found["Embedding"] = fastrnn.Embedding(7, 5, rng=0), ids, "int64"
    found["OneHot"] = fastrnn.OneHot(7), ids, "int64"
    found["TokenDropout"] = fastrnn.TokenDropout(0.5, 1, rng=0), ids, "int64"
    found["Dropout"] = fastrnn.Dropout(0.5, rng=0), sequence, "float32"
    found["VariationalDropout"] = fastrnn.VariationalDropout(0.5, rng=0), sequence, "float32"
    for name in ("tanh", "relu", "sigmoid", "softmax", "softplus", "gelu_tanh"):
        found[f"Activation {name}"] = fastrnn.Activation(name), sequence, "float32"
    found["LayerNorm"] = fastrnn.LayerNorm(7), sequence, "float32"
    found["LayerNorm plain"] = fastrnn.LayerNorm(7, elementwise_affine=False), sequence, "float32"
    for pool in (fastrnn.Last, fastrnn.MeanPool, fastrnn.MaxPool):
        found[pool.__name__] = pool(), sequence, "float32"
    found["RepeatVector"] = fastrnn.RepeatVector(4), vectors, "float32"
    found["Reshape"] = fastrnn.Reshape((7, 1)), sequence, "float32"
    for index in (0, -1, slice(None, None, -1), (..., slice(1, 5, 2)), (..., 3), (slice(-2, None), ..., slice(None, 3))):
        found[f"Slice {index}"] = fastrnn.layers.Slice(index), sequence, "float32"
    return found


LAYERS = layers()


@each_row("name", LAYERS)
def test_layers(name: str, tmp_path: Path) -> None:
    layer, axes, dtype = LAYERS[name]
    rng = np.random.default_rng(1)
    for parameter in layer.parameters():
        if not parameter.data.std():  # LayerNorm's parameters are initially ones and zeros
            parameter.assign(rng.standard_normal(parameter.shape).astype(parameter.dtype))
    check(layer, tmp_path / "model.onnx", lambda T, B: [x_of(layer, rng, T, B, axes, dtype)], shape=axes, dtype=dtype)


def test_every_layer_is_tested_or_refused() -> None:
    tested = {type(layer) for layer, _, _ in LAYERS.values()}
    joined = {fastrnn.Add, fastrnn.Average, fastrnn.Concat, fastrnn.Multiply, fastrnn.Stack}  # tested in the models below
    assert set(EXPORTERS) == tested | joined
    every = {kind for name in fastrnn.layers.__all__ if isinstance(kind := getattr(fastrnn.layers, name), type)}
    rest = {kind.__name__ for kind in every - set(EXPORTERS) if issubclass(kind, fastrnn.Layer)}
    assert rest == {"CRF", "Lambda", "Layer", "NADE"}


def encoder_decoder() -> Model:
    """Return a model with two time axes, shared layers, states as inputs and outputs, and every layer that joins values."""
    x, s = Input(("T", "B", 7), name="x"), Input(("S", "B"), "int64", name="s")
    h = Input((1, "B", 9), name="h")
    gru, linear = fastrnn.GRU(7, 9, rng=0), fastrnn.Linear(9, 9, rng=1)
    a, h_n = gru(x, h)
    b, c = fastrnn.LSTM(9, 9, rng=2)(fastrnn.Embedding(7, 9, rng=3)(s))
    last = fastrnn.Last()(b)
    wide = fastrnn.RepeatVector()(last, x)
    mixed = fastrnn.Add()(linear(a), linear(wide), a)
    product = fastrnn.Multiply()(mixed, fastrnn.Activation("sigmoid")(wide))
    mean = fastrnn.Average()(product, a, wide)
    joined = fastrnn.Concat()(mean, product)
    features = fastrnn.Stack(axis=-1)(fastrnn.MeanPool()(joined[..., :9]), last)
    return Model((x, (s, h)), (joined, (h_n, c), features))


def test_a_model_of_many_layers(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)

    def make(T: int, B: int) -> list[Array]:
        x, h = rng.standard_normal((T, B, 7)), rng.standard_normal((1, B, 9))
        return [x.astype(np.float32), rng.integers(0, 7, (T + 2, B)), h.astype(np.float32)]

    model = encoder_decoder()
    check(model, tmp_path / "model.onnx", make, lambda x, s, h: model(x, (s, h)))
    assert list(fastrnn.onnx.load(tmp_path / "model.onnx").inputs) == ["x", "s", "h"]


def test_models_in_models_and_chains(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x = Input(("T", "B", 7))
    inner = Model(x, fastrnn.GRU(7, 9, rng=0)(x)[0])
    chain = fastrnn.Sequential(fastrnn.LayerNorm(9), fastrnn.LSTM(9, 5, rng=1), fastrnn.Last(), fastrnn.Linear(5, 2, rng=2))
    x = Input(("S", "B", 7))
    model = Model(x, chain(inner(x)))
    check(model, tmp_path / "model.onnx", lambda T, B: [rng.standard_normal((T, B, 7)).astype(np.float32)])


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_sequential(tmp_path: Path, batch_first: bool) -> None:
    rng = np.random.default_rng(4)
    model = fastrnn.Sequential(
        fastrnn.Embedding(7, 6, rng=0),
        fastrnn.GRU(6, 8, bidirectional=True, batch_first=batch_first, rng=1),
        fastrnn.Dropout(0.3),
        fastrnn.MaxPool(),
        fastrnn.Linear(16, 3, rng=2),
        fastrnn.Activation("softmax"),
    )
    order = (1, 0) if batch_first else (0, 1)
    check(model, tmp_path / "model.onnx", lambda T, B: [rng.integers(-1, 7, (T, B)).transpose(order).copy()])


@pytest.mark.parametrize("pool", [fastrnn.Last, fastrnn.MeanPool, fastrnn.MaxPool])
def test_lengths(tmp_path: Path, pool: Any) -> None:
    rng = np.random.default_rng(5)
    x = Input(("T", "B", 7))
    y, state = fastrnn.LSTM(7, 9, 2, bidirectional=True, rng=0)(x)
    hidden = fastrnn.Linear(18, 6, rng=1)(y)
    model = Model(x, (hidden, state, pool()(hidden)))

    def make(T: int, B: int) -> list[Array]:
        lengths = rng.integers(0, T + 1, B).astype(np.int32)
        return [rng.standard_normal((T, B, 7)).astype(np.float32), lengths]

    check(model, tmp_path / "model.onnx", make, lambda x, lengths: model(x, lengths=lengths), lengths=True)


def test_a_stream_goes_on_in_steps(tmp_path: Path) -> None:
    x, h = Input(("T", "B", 7), name="x"), Input((2, "B", 9), name="h")
    y, h_n = fastrnn.GRU(7, 9, 2, rng=0)(x, h)
    model = Model((x, h), (fastrnn.Linear(9, 3, rng=1)(y), h_n))
    fastrnn.onnx.save(model, tmp_path / "model.onnx", outputs=["y", "hn"])
    loaded = fastrnn.onnx.load(tmp_path / "model.onnx")
    assert loaded.state == {"hn": "h"}
    array = np.random.default_rng(6).standard_normal((5, 2, 7)).astype(np.float32)
    wanted, _ = model(array, np.zeros((2, 2, 9), np.float32))
    steps = [loaded.step({"x": array[t : t + 1]})[0] for t in range(5)]
    np.testing.assert_allclose(np.concatenate(steps), wanted, rtol=0, atol=1e-6)


def test_axes_stay_open_and_the_file_is_standard(tmp_path: Path) -> None:
    fastrnn.onnx.save(fastrnn.GRU(7, 9, rng=0), tmp_path / "gru.onnx")
    proto = onnx.load(tmp_path / "gru.onnx")
    assert {each.domain for each in proto.opset_import} == {""}
    axes = [axis.dim_param or axis.dim_value for axis in proto.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["T", "B", 7]
    assert [each.name for each in proto.graph.output] == ["output", "output_1"]
    assert len([node for node in proto.graph.node if node.op_type == "GRU"]) == 1


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    x = Input(("T", "B", 7))
    plain = Model(x, fastrnn.Dropout()(x))
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (fastrnn.LSTM(7, 9, proj_size=4), {}, r"LSTM cannot be exported: ONNX's LSTM has no projection \(proj_size\)"),
        (Model(x, fastrnn.Lambda(lambda x: x)(x)), {}, "Lambda cannot be exported: Lambda has no form in ONNX"),
        (fastrnn.Linear(3, 2), {"lengths": True}, "lengths must be False: no input has a time axis"),
        (Model(x, x[1:]), {"lengths": True}, "Slice cannot be exported: a slice of time cannot be exported with lengths"),
        (Model(x, fastrnn.GRU(7, 9)(x)), {"outputs": ["y"]}, r"outputs must hold 2 names, got \['y'\]"),
        (
            plain,
            {"shape": ("T", "B", 7)},
            "shape and dtype must be None for a Model, which has its own",
        ),
        (
            plain,
            {"outputs": ["input"]},
            "outputs must not have the names of other values, got 'input'",
        ),
        (fastrnn.Add(), {}, "shape must be given, .*"),
    ]
    for model, options, message in cases:
        with pytest.raises(ValueError, match=f"^{message}$"):
            fastrnn.onnx.save(model, path, **options)
    _, _, c = fastrnn.LSTM(7, 9)(x, return_cell_states=True)
    with pytest.raises(ValueError, match=r"^LSTM cannot be exported: ONNX's LSTM has no output for the cell states"):
        fastrnn.onnx.save(Model(x, c), path)
    with pytest.raises(TypeError, match=r"^model must be a fastrnn layer, got 3$"):
        fastrnn.onnx.save(3, path)  # type: ignore[arg-type]
    assert path.read_bytes() == b"before"
