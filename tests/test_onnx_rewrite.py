"""Rewriting at load: LSTM steps written as small nodes, and biases after products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import Array, model_of, onnx, runtime_outputs

import fastrnn.onnx
from fastrnn.onnx._graph import read_graph
from fastrnn.onnx._rewrite import rewritten

node = onnx.helper.make_node


def draw(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def lstm_step(order: str, gemm: bool, rng: np.random.Generator, extra: list[Any] | None = None) -> tuple[Any, Any]:
    """A step whose gates stand in this order, such as "ifgo", with MatMul and biases or with Gemm."""
    size, H = 3, 5
    constants = {"W": draw(rng, size, 4 * H), "R": draw(rng, H, 4 * H), "b": draw(rng, 4 * H), "d": draw(rng, 4 * H)}
    inputs = {"x": draw(rng, 2, size), "h": draw(rng, 2, H), "c": draw(rng, 2, H)}
    if gemm:
        constants |= {"W": constants["W"].T.copy(), "R": constants["R"].T.copy()}
        products = [node("Gemm", ["x", "W", "b"], ["p"], transB=1), node("Gemm", ["h", "R", "d"], ["q"], transB=1)]
        products += [node("Add", ["q", "p"], ["a"])]
    else:
        products = [node("MatMul", ["h", "R"], ["q"]), node("MatMul", ["x", "W"], ["p"])]
        products += [node("Add", ["p", "q"], ["s"]), node("Add", ["s", "b"], ["a"])]
    nodes = [
        *products,
        node("Split", ["a"], [f"a{gate}" for gate in order], axis=1),
        *(node("Tanh" if gate == "g" else "Sigmoid", [f"a{gate}"], [gate]) for gate in "ogfi"),
        node("Mul", ["f", "c"], ["fc"]),
        node("Mul", ["i", "g"], ["ig"]),
        node("Add", ["fc", "ig"], ["c_n"]),
        node("Tanh", ["c_n"], ["t"]),
        node("Mul", ["o", "t"], ["h_n"]),
        *(extra or []),
    ]
    outputs = ["h_n", "c_n"] + [name for each in extra or [] for name in each.output]
    return model_of(nodes, inputs, outputs, constants), inputs


def operators(model: Any) -> list[str]:
    return [each.op for each in rewritten(read_graph(model.SerializeToString())).nodes]


@pytest.mark.parametrize("order", ["ifgo", "iogf", "gfio", "oigf"])
@pytest.mark.parametrize("gemm", [False, True])
def test_an_lstm_step_is_one_node(order: str, gemm: bool) -> None:
    model, inputs = lstm_step(order, gemm, np.random.default_rng(0))
    assert operators(model) == ["Unsqueeze", "Unsqueeze", "Unsqueeze", "LSTM", "Squeeze", "Squeeze"]
    got = fastrnn.onnx.load(model.SerializeToString()).run(inputs)
    for mine, other in zip(got, runtime_outputs(model, inputs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("read", ["i", "ag", "a", "t", "fc", "ig"])
def test_a_step_whose_parts_are_read_elsewhere_stays(read: str) -> None:
    model, inputs = lstm_step("ifgo", False, np.random.default_rng(1), [node("Neg", [read], ["z"])])
    assert "LSTM" not in operators(model)
    got = fastrnn.onnx.load(model.SerializeToString()).run(inputs)
    for mine, other in zip(got, runtime_outputs(model, inputs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)


def test_a_bias_joins_its_product() -> None:
    rng = np.random.default_rng(2)
    x, constants = draw(rng, 4, 2, 3), {"W": draw(rng, 3, 6), "b": draw(rng, 6), "wide": draw(rng, 2, 6)}
    nodes = [
        node("MatMul", ["x", "W"], ["p"]),
        node("Add", ["b", "p"], ["y"]),
        node("MatMul", ["x", "W"], ["q"]),
        node("Add", ["q", "wide"], ["z"]),  # not a bias
        node("MatMul", ["x", "W"], ["r"]),  # also read elsewhere
        node("Add", ["r", "b"], ["u"]),
        node("Neg", ["r"], ["v"]),
    ]
    model = model_of(nodes, {"x": x}, ["y", "z", "u", "v"], constants)
    assert operators(model) == ["MatMul", "Add", "MatMul", "Add", "Neg", "MatMul"]
    got = fastrnn.onnx.load(model.SerializeToString()).run({"x": x})
    for mine, other in zip(got, runtime_outputs(model, {"x": x}), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)
