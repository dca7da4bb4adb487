"""Small ONNX models for tests, and the libraries that they are compared with."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx")

Array = NDArray[Any]
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@cache
def node_cases(*, pooling: bool) -> list[Any]:
    """Return ONNX's own tests of operators, which a module of each operator makes when it is imported.

    Those of pooling take seven seconds to make, all others two. Warnings are off, because making them overflows.
    """
    from onnx.backend.test.case import node

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.iter_modules(node.__path__):
            if pooling or module.name not in ("averagepool", "lppool", "maxpool"):
                importlib.import_module(f"{node.__name__}.{module.name}")
    return list(node._NodeTestCases)


def model_of(
    nodes: list[Any], inputs: dict[str, Any], outputs: list[str], constants: dict[str, Array], opset: int = 17
) -> Any:
    """Return a model whose inputs have the dtypes of these arrays and open shapes."""
    helper, dtypes = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype

    def declared(name: str, array: Array) -> Any:
        return helper.make_tensor_value_info(name, dtypes(array.dtype), [None] * array.ndim)

    graph = helper.make_graph(
        nodes,
        "graph",
        [declared(name, array) for name, array in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def runtime_outputs(model: Any, inputs: dict[str, Array]) -> list[Array]:
    """Return the outputs of ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    content = model if isinstance(model, (bytes, str)) else model.SerializeToString()
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def recurrent_model(op: str, rng: np.random.Generator, T: int, B: int, size: int, H: int, **given: Any) -> tuple[Any, Any]:
    """Return a model of one node, and inputs for it; ``given`` has the node's attributes and its optional inputs."""
    optional = {name: given.pop(name, False) for name in ("bias", "lengths", "states", "peephole")}
    D, rows = 2 if given.get("direction") == "bidirectional" else 1, GATES[op] * H
    swap = bool(given.get("layout"))

    def draw(*shape: int) -> Array:
        return (rng.standard_normal(shape) * 0.5).astype(np.float32)

    def state() -> Array:
        return draw(B, D, H) if swap else draw(D, B, H)

    constants = {"W": draw(D, rows, size), "R": draw(D, rows, H)}
    inputs = {"X": draw(B, T, size) if swap else draw(T, B, size)}
    if optional["bias"]:
        constants["B"] = draw(D, 2 * rows)
    if optional["lengths"]:
        inputs["lengths"] = rng.integers(1, T + 1, B).astype(np.int32)
    if optional["states"]:
        inputs["h"] = state()
        if op == "LSTM":
            inputs["c"] = state()
    if optional["peephole"]:
        constants["P"] = draw(D, 3 * H)
    order = ["X", "W", "R", "B", "lengths", "h", "c", "P"]
    names = [name if name in inputs or name in constants else "" for name in order]
    while not names[-1]:
        names.pop()
    outputs = ["Y", "Y_h", "Y_c"] if op == "LSTM" else ["Y", "Y_h"]
    node = onnx.helper.make_node(op, names, outputs, hidden_size=H, **given)
    return model_of([node], inputs, outputs, constants), inputs


def stream_model(rng: np.random.Generator) -> tuple[Any, Array]:
    """Return a GRU with its state h as an input and h_n as an output, for any batch size."""
    size, H = 3, 5
    draw = [rng.standard_normal(s).astype(np.float32) for s in ((1, 3 * H, size), (1, 3 * H, H))]
    node = onnx.helper.make_node("GRU", ["x", "W", "R", "", "", "h"], ["y", "h_n"], hidden_size=H)
    x = rng.standard_normal((6, 2, size)).astype(np.float32)
    model = model_of(
        [node], {"x": x, "h": np.zeros((1, 2, H), np.float32)}, ["y", "h_n"], dict(zip("WR", draw, strict=True))
    )
    for value, axes in zip(model.graph.input, (("T", "B", size), (1, "B", H)), strict=True):
        value.type.tensor_type.shape.CopyFrom(onnx.helper.make_tensor_value_info("", 1, axes).type.tensor_type.shape)
    return model, x
