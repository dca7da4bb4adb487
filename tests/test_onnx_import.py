"""Trainable models from ONNX files: saved here, exported by PyTorch, and refusals."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import Array, model_of, onnx, recurrent_model

import fastrnn
import fastrnn.onnx
from fastrnn import Input, Model

torch = pytest.importorskip("torch")


def flat(outputs: Any) -> list[Array]:
    return [a for each in outputs for a in flat(each)] if isinstance(outputs, (tuple, list)) else [outputs]


def tagger() -> Model:
    """Return a model with an embedding, a stack in two directions with states, norms, residuals and pools."""
    ids, h = Input(("T", "B"), "int64", name="ids"), Input((1, "B", 6), name="h")
    x = fastrnn.Embedding(11, 6, rng=0)(ids)
    y, h_n = fastrnn.GRU(6, 6, rng=1)(x, h)
    both, state = fastrnn.LSTM(6, 5, 2, bidirectional=True, peephole=True, rng=2)(fastrnn.LayerNorm(6)(x + y))
    hidden = fastrnn.Activation("tanh")(fastrnn.Linear(10, 8, rng=3)(both))
    vector = fastrnn.Concat()(hidden[-1], fastrnn.MaxPool()(hidden), fastrnn.MeanPool()(hidden[..., 2:7]))
    return Model((ids, h), (fastrnn.Linear(8, 3, bias=False, rng=4)(hidden), h_n, vector, state[0]))


def test_a_model_comes_back_and_trains_on(tmp_path: Path) -> None:
    model, rng = tagger(), np.random.default_rng(0)
    fastrnn.onnx.save(model, tmp_path / "model.onnx")
    again = fastrnn.onnx.from_onnx(tmp_path / "model.onnx")
    ids, h = rng.integers(0, 11, (7, 3)), rng.standard_normal((1, 3, 6)).astype(np.float32)
    wanted, backward = model.forward(ids, h)
    got, backward_again = again.forward(ids, h)
    wanted, got = flat(wanted), flat(got)
    for mine, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)
    # Equal gradients mean equal training. Compared are those of the state, and sums over all parameters of a kind.
    douts = [rng.standard_normal(y.shape).astype(np.float32) for y in wanted]
    dh = flat(backward(*douts))[-1]
    np.testing.assert_allclose(flat(backward_again(*douts))[-1], dh, rtol=0, atol=1e-5)

    def norms(each: Model) -> dict[tuple[Any, ...], list[float]]:
        found: dict[tuple[Any, ...], list[float]] = {}
        for parameter in each.parameters():
            if parameter.shape != (11, 6) and parameter.shape != (12, 6):  # saved with a row of zeros for id -1
                found.setdefault(parameter.shape, []).append(float(np.linalg.norm(parameter.grad)))
        return {shape: sorted(values) for shape, values in found.items()}

    mine, others = norms(again), norms(model)
    assert mine.keys() == others.keys()
    for shape, values in others.items():
        np.testing.assert_allclose(mine[shape], values, rtol=1e-4, err_msg=str(shape))


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize(("op", "given"), [("RNN", {"activations": ["Relu"]}), ("GRU", {}), ("LSTM", {"peephole": True})])
def test_every_recurrent_node(op: str, given: dict[str, Any], layout: int) -> None:
    rng = np.random.default_rng(1)
    proto, inputs = recurrent_model(op, rng, 5, 3, 4, 6, bias=True, states=True, layout=layout, **given)
    shapes = {"X": (None, None, 4), "h": (None, 1, 6) if layout else (1, None, 6)}
    for value in proto.graph.input:
        shape = shapes["X" if value.name == "X" else "h"]
        value.type.tensor_type.shape.CopyFrom(onnx.helper.make_tensor_value_info("", 1, shape).type.tensor_type.shape)
    axis = proto.graph.output[0]
    squeezed = onnx.helper.make_node("Squeeze", ["Y", "axes"], ["y"])
    proto.graph.node.append(squeezed)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2 if layout else 1]), "axes"))
    axis.name = "y"
    wanted = fastrnn.onnx.load(proto.SerializeToString()).run(inputs)
    model = fastrnn.onnx.from_onnx(proto.SerializeToString())
    swapped = [array.swapaxes(0, 1).copy() if layout else array for array in inputs.values()]
    for mine, other in zip(flat(model(*swapped)), wanted, strict=True):
        np.testing.assert_allclose(mine.swapaxes(0, 1) if layout else mine, other, rtol=0, atol=1e-6)


def exported(module: Any, *inputs: Any, axes: dict[str, Any]) -> bytes:
    """Return the bytes of PyTorch's export by tracing."""
    file = io.BytesIO()
    names = list(axes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), inputs, file, input_names=names[: len(inputs)], dynamic_axes=axes, dynamo=False, opset_version=17
        )
    return file.getvalue()


class Tagger(torch.nn.Module):
    """A tagger as people export it: batch first, an embedding, a stack in two directions, a linear layer at every step."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(13, 8)
        self.rnn = getattr(torch.nn, kind)(8, 6, 2, batch_first=True, bidirectional=True, dropout=0.1)
        self.norm, self.out = torch.nn.LayerNorm(12), torch.nn.Linear(12, 4)

    def forward(self, ids: Any) -> Any:
        y, _ = self.rnn(self.embedding(ids))
        return torch.softmax(self.out(torch.relu(self.norm(y))), -1)


class Language(torch.nn.Module):
    """A language model over time-major steps, with its state in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn, self.out = torch.nn.Embedding(13, 8), torch.nn.LSTM(8, 8, 2), torch.nn.Linear(8, 13)

    def forward(self, ids: Any, h: Any, c: Any) -> Any:
        y, (h, c) = self.rnn(self.embedding(ids), (h, c))
        return self.out(y), h, c


class Classifier(torch.nn.Module):
    """A linear layer on the last step of a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = torch.nn.GRU(5, 7, batch_first=True), torch.nn.Linear(7, 2)

    def forward(self, x: Any) -> Any:
        return self.out(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_tagger_of_pytorch(kind: str) -> None:
    torch.manual_seed(0)
    module, ids = Tagger(kind), torch.randint(0, 13, (3, 6))
    content = exported(module, ids, axes={"ids": {0: "B", 1: "T"}})
    model, loaded = fastrnn.onnx.from_onnx(content), fastrnn.onnx.load(content)
    for shape in ((3, 6), (1, 9)):
        ids = torch.randint(0, 13, shape)
        wanted = module(ids).detach().numpy()
        np.testing.assert_allclose(loaded.run({"ids": ids.numpy()})[0], wanted, rtol=0, atol=1e-5)
        np.testing.assert_allclose(model(ids.numpy().T.copy()).swapaxes(0, 1), wanted, rtol=0, atol=1e-5)


def test_a_language_model_of_pytorch() -> None:
    torch.manual_seed(1)
    module = Language()
    inputs = torch.randint(0, 13, (6, 3)), torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    content = exported(module, *inputs, axes={"ids": {0: "T", 1: "B"}, "h": {1: "B"}, "c": {1: "B"}})
    model, loaded = fastrnn.onnx.from_onnx(content), fastrnn.onnx.load(content)
    for T, B in ((6, 3), (2, 1)):
        inputs = torch.randint(0, 13, (T, B)), torch.randn(2, B, 8), torch.randn(2, B, 8)
        wanted, arrays = module(*inputs), [each.numpy() for each in inputs]
        run = loaded.run(dict(zip(("ids", "h", "c"), arrays, strict=True)))
        for outputs in (run, flat(model(*arrays))):
            for mine, other in zip(outputs, wanted, strict=True):
                np.testing.assert_allclose(mine, other.detach().numpy(), rtol=0, atol=1e-5)


def test_a_classifier_of_pytorch() -> None:
    torch.manual_seed(2)
    module = Classifier()
    content = exported(module, torch.randn(3, 6, 5), axes={"x": {0: "B", 1: "T"}})
    model = fastrnn.onnx.from_onnx(content)
    x = torch.randn(4, 9, 5)
    got = model(x.numpy().swapaxes(0, 1).copy())
    np.testing.assert_allclose(got, module(x).detach().numpy(), rtol=0, atol=1e-5)


def test_lengths_become_the_models() -> None:
    proto, inputs = recurrent_model("GRU", np.random.default_rng(3), 5, 3, 4, 6, lengths=True)
    shape = onnx.helper.make_tensor_value_info("", 1, (None, None, 4)).type.tensor_type.shape
    proto.graph.input[0].type.tensor_type.shape.CopyFrom(shape)
    model = fastrnn.onnx.from_onnx(proto.SerializeToString())
    y, h = fastrnn.onnx.load(proto.SerializeToString()).run(inputs)
    got = model(inputs["X"], lengths=inputs["lengths"])
    np.testing.assert_allclose(got[0], y[:, 0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(got[1], h, rtol=0, atol=1e-6)


def test_refusals() -> None:
    node = onnx.helper.make_node
    x = np.ones((4, 2, 3), np.float32)

    def content(*nodes: Any, **constants: Array) -> bytes:
        model = model_of(list(nodes), {"x": x}, [nodes[-1].output[0]], constants)
        shape = onnx.helper.make_tensor_value_info("", 1, (None, None, 3)).type.tensor_type.shape
        model.graph.input[0].type.tensor_type.shape.CopyFrom(shape)
        return bytes(model.SerializeToString())

    conv, weights = (
        node("Conv", ["x", "w"], ["a"]),
        {"W": np.ones((1, 5, 3), np.float32), "R": np.ones((1, 5, 5), np.float32)},
    )
    rnn = ["x", "W", "R"]
    cases = [
        (content(conv, node("Erf", ["a"], ["y"]), w=x), "the model must consist of layers .*, got the operators Conv, Erf"),
        (content(node("RNN", rnn, ["y"], clip=1.0), **weights), "RNN node 'y': the layers have no clip=1"),
        (
            content(node("RNN", rnn, ["y"], direction="reverse"), **weights),
            "RNN node 'y': the layers have no direction=reverse",
        ),
        (content(node("Cast", ["x"], ["y"], to=11)), "Cast node 'y': the dtype must stay float32, got float64"),
        (content(node("Softmax", ["x"], ["y"], axis=1)), "Softmax node 'y': axis must be the last"),
        (content(node("MatMul", ["x", "x"], ["y"])), "MatMul node 'y': the second factor must be a constant of two axes"),
        (content(node("Add", ["x", "w"], ["y"]), w=x), "Add node 'y': the first input must depend on an input of the model"),
        (
            content(node("Dropout", ["x"], ["a", "mask"]), node("Relu", ["mask"], ["y"])),
            "nothing may read 'mask', which no layer gives",
        ),
        (
            content(node("RNN", rnn, ["y"]), **weights | {"W": weights["W"][0]}),
            r"RNN node 'y': W must be of shape \(1, 5, 3\), got float32 array of shape \(5, 3\)",
        ),
        (
            content(node("RNN", rnn, ["y"]), **weights | {"R": weights["R"][0, 0]}),
            r"RNN node 'y': R must have three axes, got float32 array of shape \(5,\)",
        ),
    ]
    for data, message in cases:
        with pytest.raises(ValueError, match=f"^{message}$"):
            fastrnn.onnx.from_onnx(data)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1,), (1, 1), (), (4, 1), (2, 4)])
def test_the_bias_of_gemm_is_one_value_for_each_output(shape: tuple[int, ...]) -> None:
    # A column [4, 1], one value for each of 4 rows, was taken for a row.
    rng = np.random.default_rng(0)
    x, W, C = (rng.standard_normal(each).astype(np.float32) for each in ((4, 3), (3, 4), shape))
    model = model_of([onnx.helper.make_node("Gemm", ["x", "W", "C"], ["y"])], {"x": x}, ["y"], {"W": W, "C": C})
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["B", 3]))
    if shape in ((4, 1), (2, 4)):
        with pytest.raises(ValueError, match=r"^Gemm node 'y': C must hold one value for each of 4 outputs, got float32 "):
            fastrnn.onnx.from_onnx(model.SerializeToString())
    else:
        np.testing.assert_allclose(fastrnn.onnx.from_onnx(model.SerializeToString())(x), x @ W + C, rtol=1e-5)


def test_a_small_file_cannot_ask_for_any_amount_of_memory() -> None:
    """Constants that double with each node are refused, read as layers or run; so are many inputs of a million features."""
    node, x = onnx.helper.make_node, np.ones((4, 3), np.float32)
    doubling = [node("Concat", [f"x{i}"] * 2, [f"x{i + 1}"], axis=0) for i in range(60)]
    data = model_of([*doubling, node("Add", ["x", "x60"], ["y"])], {"x": x}, ["y"], {"x0": x[:1]}).SerializeToString()
    message = r"^Concat node 'x\d+': with an array of shape \(262144, 3\) it needs far more values than the file holds$"
    with pytest.raises(ValueError, match=message):
        fastrnn.onnx.load(data).run({"x": x})
    wide = {f"x{i}": np.ones((1, 1_000_000), np.float32) for i in range(70)}
    many = model_of([node("Concat", list(wide), ["y"], axis=1)], wide, ["y"], {})
    for each in many.graph.input:
        dims = onnx.helper.make_tensor_value_info("", 1, ("B", 1_000_000)).type.tensor_type.shape
        each.type.tensor_type.shape.CopyFrom(dims)
    single = model_of([*doubling, node("Add", ["x", "x60"], ["y"])], {"x": x}, ["y"], {"x0": x[:1]})
    single.graph.input[0].type.tensor_type.shape.CopyFrom(
        onnx.helper.make_tensor_value_info("", 1, ("B", 3)).type.tensor_type.shape
    )
    for content in (many, single):
        with pytest.raises(ValueError, match=r"it needs far more values than the file holds$"):
            fastrnn.onnx.from_onnx(content.SerializeToString())
