"""Invalid and damaged models give an error of one line when they are loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import model_of, onnx, recurrent_model
from tables import each_row

import fastrnn
import fastrnn.onnx

helper = onnx.helper


def test_all_missing_operators_are_named_at_load() -> None:
    x = np.ones(3, np.float32)
    nodes = [helper.make_node(op, ["x"], [op]) for op in ("NonZero", "Bernoulli", "Det", "Relu")]
    with pytest.raises(
        ValueError, match=r"^the model must use only operators that fastrnn has, got Bernoulli, Det, NonZero$"
    ):
        fastrnn.onnx.load(model_of(nodes, {"x": x}, ["Relu"], {}).SerializeToString())


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fastrnn.onnx.load(tmp_path / "missing.onnx")
    with pytest.raises(TypeError, match=r"^source must be a path or bytes, got 3$"):
        fastrnn.onnx.load(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^the bytes must hold an ONNX model, but its bytes cannot be decoded$"):
        fastrnn.onnx.load(b"not a model")
    with pytest.raises(ValueError, match=r"^the bytes must hold an ONNX model, but there is no graph in it$"):
        fastrnn.onnx.load(b"")
    x = np.ones(3, np.float32)
    late = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])]
    with pytest.raises(ValueError, match=r"^the bytes: Relu node 'y' reads 'a', which nothing before it gives$"):
        fastrnn.onnx.load(model_of(late, {"x": x}, ["y"], {}).SerializeToString())
    with pytest.raises(ValueError, match=r"^the bytes: nothing gives the output 'z'$"):
        fastrnn.onnx.load(model_of(late[1:], {"x": x}, ["z"], {}).SerializeToString())
    twice = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Tanh", ["a"], ["a"])]
    with pytest.raises(ValueError, match=r"^the bytes: Tanh node 'a' must not give 'a', which the graph has already$"):
        fastrnn.onnx.load(model_of(twice, {"x": x}, ["a"], {}).SerializeToString())
    with pytest.raises(ValueError, match=r"^the bytes: Relu node '' must have an output$"):
        fastrnn.onnx.load(model_of([helper.make_node("Relu", ["x"], [])], {"x": x}, [], {}).SerializeToString())
    with pytest.raises(ValueError, match=r"^the bytes must use opset 7 or later, got 6$"):
        fastrnn.onnx.load(model_of(late[1:], {"x": x}, ["a"], {}, opset=6).SerializeToString())


def test_inputs_and_constants_that_are_declared_twice() -> None:
    # The later declaration was taken in silence.
    x = np.ones(3, np.float32)
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"x": x}, ["y"], {"w": x})
    for kind, values in (("input", model.graph.input), ("constant", model.graph.initializer)):
        values.append(values[0])
        for name, message in ((values[0].name, f"declared once, got '{values[0].name}' again"), ("", "a name, got ''")):
            values[1].name = name
            with pytest.raises(ValueError, match=rf"^each {kind} of a graph must (be|have) {message}$"):
                fastrnn.onnx.load(model.SerializeToString())
        del values[1]
    np.testing.assert_array_equal(fastrnn.onnx.load(model.SerializeToString()).run({"x": x})[0], 2 * x)


def test_invalid_attributes_and_outputs_give_one_line() -> None:
    x = np.ones(3, np.float32)
    relu = helper.make_node("Relu", ["x"], ["y", "z"])
    with pytest.raises(ValueError, match=r"^Relu node 'y': it must not name output 1, got 'z'$"):
        fastrnn.onnx.load(model_of([relu], {"x": x}, ["y"], {}).SerializeToString()).run({"x": x})
    cast = helper.make_node("Cast", ["x"], ["y"])  # without "to"
    with pytest.raises(ValueError, match=r"^Cast node 'y': attribute 'to' must be given$"):
        fastrnn.onnx.load(model_of([cast], {"x": x}, ["y"], {}).SerializeToString())
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"x": x}, ["y"], {"w": x})
    model.graph.initializer[0].data_type = 255
    with pytest.raises(ValueError, match=r"^tensor 'w': KeyError 255$"):
        fastrnn.onnx.load(model.SerializeToString())
    model = model_of([helper.make_node("Constant", [], ["y"], value_int=3)], {"x": x}, ["y"], {})
    model.graph.node[0].attribute[0].ClearField("type")
    with pytest.raises(ValueError, match=r"^Constant node 'y': attribute 'value_int' has no value$"):
        fastrnn.onnx.load(model.SerializeToString())
    for part in (b"Relu", b"inside"):
        nodes = [helper.make_node("Relu", ["x"], ["inside"]), helper.make_node("Relu", ["inside"], ["y"])]
        content = model_of(nodes, {"x": x}, ["y"], {}).SerializeToString()
        with pytest.raises(ValueError, match=rf"^the names in a model must be UTF-8, got b'.*{part[1:].decode()}'$"):
            fastrnn.onnx.load(content.replace(part, b"\xff" + part[1:]))


def test_bytes_read_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that comes as bytes has no folder, so the names of files in it would mean those of the present folder."""
    x = np.ones(3, np.float32)
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"x": x}, ["y"], {"w": x})
    monkeypatch.chdir(tmp_path)
    onnx.save(model, "model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    assert fastrnn.onnx.load("model.onnx").run({"x": x})[0].tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match=r"^tensor 'w' is in another file, so the model must be loaded from a path$"):
        fastrnn.onnx.load(Path("model.onnx").read_bytes())
    Path("weights").unlink()
    with pytest.raises(ValueError, match=r"^model\.onnx must hold an ONNX model: "):
        fastrnn.onnx.load("model.onnx")


@each_row("seed", range(30))
def test_damaged_files_give_one_line(seed: int) -> None:
    model, inputs = recurrent_model("LSTM", np.random.default_rng(0), 4, 3, 5, 6, bias=True)
    rng = np.random.default_rng(seed)
    content = bytearray(model.SerializeToString())
    for place in rng.integers(0, len(content), 20):
        content[place] = rng.integers(256)
    try:
        fastrnn.onnx.load(bytes(content[: rng.integers(1, len(content))] if seed % 2 else content)).run(inputs)
    except (ValueError, TypeError) as error:
        if len(str(error).splitlines()) != 1:
            raise AssertionError("the message must be one line") from error
