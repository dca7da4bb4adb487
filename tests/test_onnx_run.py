"""Running a loaded model: plans, memory, backends, and single steps with a state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import model_of, onnx, recurrent_model, runtime_outputs, stream_model

import fastrnn
import fastrnn.onnx

helper = onnx.helper


def test_the_whole_numbers_among_inputs_can_choose_shapes_and_branches() -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    x = np.arange(6, dtype=np.float32)
    model = fastrnn.onnx.load(model_of(nodes, {"x": x, "shape": np.array([2, 3])}, ["y"], {}).SerializeToString())
    for shape in ([2, 3], [3, 2], [6, 1], [2, 3]):
        np.testing.assert_array_equal(model.run({"x": x, "shape": np.array(shape)})[0], x.reshape(shape))


def test_memory_is_reused_and_no_value_is_lost() -> None:
    # In this chain some values are read late, so their memory must not be reused early; others are read at once.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 50)).astype(np.float32)
    nodes, names, wanted = [], ["x"], [x.astype(np.float64)]
    for i in range(60):
        first, second = int(rng.integers(max(0, i - 8), i + 1)), int(rng.integers(max(0, i - 30), i + 1))
        op = ["Add", "Sub", "Tanh", "Relu", "Sigmoid", "Transpose"][int(rng.integers(6))]
        if op in ("Add", "Sub") and wanted[first].shape != wanted[second].shape:
            op = "Transpose"
        nodes.append(
            helper.make_node(op, names[first : first + 1] + (names[second : second + 1] * (op in ("Add", "Sub"))), [f"v{i}"])
        )
        a, b = wanted[first], wanted[second]
        results = {"Tanh": np.tanh, "Relu": lambda a: np.maximum(a, 0), "Sigmoid": lambda a: 1 / (1 + np.exp(-a))}
        wanted.append(results[op](a) if op in results else a.T if op == "Transpose" else a + b if op == "Add" else a - b)
        names.append(f"v{i}")
    outputs = ["v10", "v37", "v59"]
    model = fastrnn.onnx.load(model_of(nodes, {"x": x}, outputs, {}).SerializeToString())
    for _ in range(2):
        for name, mine in zip(outputs, model.run({"x": x}), strict=True):
            np.testing.assert_allclose(mine, wanted[names.index(name)], rtol=1e-4, atol=1e-4)


def test_constants_are_folded_and_survive_runs() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Exp", ["w"], ["e"]),
        helper.make_node("Add", ["b", "e"], ["c"]),
        helper.make_node("Mul", ["c", "e"], ["y"]),
    ]
    x, w = np.linspace(-1, 1, 5, dtype=np.float32), np.linspace(0, 1, 5, dtype=np.float32)
    model = fastrnn.onnx.load(model_of(nodes, {"x": x}, ["y"], {"w": w}).SerializeToString())
    for value in (x, x + 1, x):
        wanted = (np.tanh(np.maximum(value, 0)) + np.exp(w)) * np.exp(w)
        np.testing.assert_allclose(model.run({"x": value})[0], wanted, rtol=1e-6)


def test_outputs_belong_to_the_caller() -> None:
    x = np.ones(3, np.float32)
    model = fastrnn.onnx.load(
        model_of([helper.make_node("Identity", ["x"], ["y"])], {"x": x}, ["y"], {}).SerializeToString()
    )
    (first,) = model.run({"x": x})
    first[:] = 7
    np.testing.assert_array_equal(model.run({"x": x + 1})[0], x + 1)
    np.testing.assert_array_equal(first, [7, 7, 7])


@pytest.mark.parametrize("backend", ["c", "numba", "reference"])
def test_all_backends_give_the_same(backend: str) -> None:
    model, inputs = recurrent_model("LSTM", np.random.default_rng(0), 5, 3, 4, 6, bias=True, states=True)
    wanted = runtime_outputs(model, inputs)
    with fastrnn.use_backend(backend):
        got = fastrnn.onnx.load(model.SerializeToString()).run(inputs)
    for mine, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5)


def test_steps_are_the_run_of_the_whole_sequence() -> None:
    proto, x = stream_model(np.random.default_rng(0))
    model = fastrnn.onnx.load(proto.SerializeToString())
    assert model.state == {"h_n": "h"}
    zeros = np.zeros((1, 2, 5), np.float32)
    whole, last = model.run({"x": x, "h": zeros})
    for _ in range(2):
        steps = [model.step({"x": x[t : t + 1]})[0] for t in range(len(x))]
        np.testing.assert_allclose(np.concatenate(steps), whole, rtol=0, atol=1e-6)
        model.reset()
    model.reset({"h": last})
    (y,) = model.step({"x": x[:1]})
    np.testing.assert_allclose(y, model.run({"x": x[:1], "h": last})[0], rtol=0, atol=1e-6)


def test_wrong_states() -> None:
    proto, x = stream_model(np.random.default_rng(0))
    content = proto.SerializeToString()
    with pytest.raises(ValueError, match=r"^state must name inputs of the model \(x, h\), got 'g'$"):
        fastrnn.onnx.load(content, state={"h_n": "g"})
    with pytest.raises(ValueError, match=r"^states must be h, got c, h$"):
        fastrnn.onnx.load(content).reset({"h": x, "c": x})
    with pytest.raises(ValueError, match=r"^this model has no states that are known: "):
        fastrnn.onnx.load(content, state={}).step({"x": x})


@pytest.mark.parametrize(
    ("declared", "held"),
    [((0, 3), (0, 3)), ((-1, 3), (None, 3)), (("", 3), (None, 3)), (("B", 3), ("B", 3)), ((2, 3), (2, 3))],
)
def test_declared_sizes_mean_what_they_mean_in_onnx_runtime(declared: tuple[Any, ...], held: tuple[Any, ...]) -> None:
    x = np.ones((2, 3), np.float32)
    model = model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": x}, ["y"], {})
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, declared))
    loaded = fastrnn.onnx.load(model.SerializeToString())
    assert loaded.inputs == {"x": ("float32", held)}
    for rows in (2, 0):
        if held[0] in (rows, None, "B"):
            for run in (loaded.run, lambda feeds: runtime_outputs(model, feeds)):
                np.testing.assert_array_equal(run({"x": x[:rows]})[0], -x[:rows])
        else:
            with pytest.raises(ValueError, match=rf"^x must have the shape \({held[0]}, 3\), got float32 array of shape"):
                loaded.run({"x": x[:rows]})
            with pytest.raises(Exception, match=rf"index: 0 Got: {rows} Expected: {held[0]}"):
                runtime_outputs(model, {"x": x[:rows]})


def test_wrong_inputs() -> None:
    proto, x = stream_model(np.random.default_rng(0))
    model, h = fastrnn.onnx.load(proto.SerializeToString()), np.zeros((1, 2, 5), np.float32)
    assert model.inputs == {"x": ("float32", ("T", "B", 3)), "h": ("float32", (1, "B", 5))}
    assert model.outputs == ["y", "h_n"]
    for inputs, message in [
        ({"x": x}, r"inputs must be x, h, got x"),
        ({"x": x, "h": h, "c": h}, r"inputs must be x, h, got x, h, c"),
        ({"x": x.astype(np.float64), "h": h}, r"x must be an array of float32, got float64 array of shape \(6, 2, 3\)"),
        ({"x": x[:, :, :2], "h": h}, r"x must have the shape \(T, B, 3\), got float32 array of shape \(6, 2, 2\)"),
        ({"x": x[0], "h": h}, r"x must have the shape \(T, B, 3\), got float32 array of shape \(2, 3\)"),
        ({"x": x, "h": h[:, :1]}, r"GRU node 'y': initial_h must be of shape \(1, 2, 5\), got float32 array .*"),
        ([x, h], r"inputs must map names to arrays, got list"),
    ]:
        with pytest.raises((TypeError, ValueError), match=f"^{message}$"):
            model.run(inputs)  # type: ignore[arg-type]
    wanted = model.run({"x": x, "h": h})[0]  # after all these errors
    np.testing.assert_allclose(wanted, runtime_outputs(proto, {"x": x, "h": h})[0], rtol=0, atol=1e-5)
