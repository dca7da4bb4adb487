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
    """Return an LSTM step with its gates in this order, such as "ifgo", made of MatMul and biases or of Gemm."""
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


def check_values(model: Any, inputs: dict[str, Array], tolerance: float = 1e-6) -> None:
    got = fastrnn.onnx.load(model.SerializeToString()).run(inputs)
    for mine, other in zip(got, runtime_outputs(model, inputs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance)


def operators(model: Any) -> list[str]:
    return [each.op for each in rewritten(read_graph(model.SerializeToString())).nodes]


@pytest.mark.parametrize("order", ["ifgo", "iogf", "gfio", "oigf"])
@pytest.mark.parametrize("gemm", [False, True])
def test_an_lstm_step_is_one_node(order: str, gemm: bool) -> None:
    model, inputs = lstm_step(order, gemm, np.random.default_rng(0))
    assert operators(model) == ["Unsqueeze", "Unsqueeze", "Unsqueeze", "LSTM", "Squeeze", "Squeeze"]
    check_values(model, inputs)


@pytest.mark.parametrize("read", ["i", "ag", "a", "t", "fc", "ig"])
def test_a_step_whose_parts_are_read_elsewhere_stays(read: str) -> None:
    model, inputs = lstm_step("ifgo", False, np.random.default_rng(1), [node("Neg", [read], ["z"])])
    assert "LSTM" not in operators(model)
    check_values(model, inputs)


def test_a_bias_joins_its_product() -> None:
    rng = np.random.default_rng(2)
    x, constants = draw(rng, 4, 2, 3), {"b": draw(rng, 6), "wide": draw(rng, 2, 6)}
    constants |= {name: draw(rng, 3, 6) for name in ("W", "V", "U")}
    nodes = [
        node("MatMul", ["x", "W"], ["p"]),
        node("Add", ["b", "p"], ["y"]),
        node("MatMul", ["x", "V"], ["q"]),
        node("Add", ["q", "wide"], ["z"]),  # not a bias
        node("MatMul", ["x", "U"], ["r"]),  # also read elsewhere
        node("Add", ["r", "b"], ["u"]),
        node("Neg", ["r"], ["v"]),
    ]
    model = model_of(nodes, {"x": x}, ["y", "z", "u", "v"], constants)
    assert sorted(operators(model)) == ["Add", "Add", "MatMul", "MatMul", "MatMul", "Neg"]
    check_values(model, {"x": x})


def test_equal_nodes_are_computed_once() -> None:
    x = draw(np.random.default_rng(3), 4, 3)
    nodes = [
        node("Neg", ["x"], ["a"]),
        node("Neg", ["x"], ["b"]),
        node("Softmax", ["a"], ["c"], axis=0),
        node("Softmax", ["b"], ["d"], axis=1),
        node("Exp", ["a"], ["e"]),
        node("Exp", ["b"], ["y"]),  # an output keeps its node
        node("Add", ["c", "d"], ["f"]),
        node("Add", ["f", "e"], ["z"]),
    ]
    model = model_of(nodes, {"x": x}, ["y", "z"], {})
    assert sorted(operators(model)) == ["Add", "Add", "Exp", "Exp", "Neg", "Softmax", "Softmax"]
    check_values(model, {"x": x}, 1e-6)


def norm_nodes(pow_: bool, twice: bool) -> list[Any]:
    """Return a normalisation as PyTorch writes it before opset 17 (``pow_``), or as Keras' converter does (``twice``)."""
    centred = "d2" if twice else "d"
    return [
        node("ReduceMean", ["x"], ["m"], axes=[-1], keepdims=1),
        node("Sub", ["x", "m"], ["d"]),
        *([node("Sub", ["x", "m"], ["d2"])] if twice else []),
        node("Pow", [centred, "two"], ["s"]) if pow_ else node("Mul", [centred, centred], ["s"]),
        node("ReduceMean", ["s"], ["v"], axes=[-1], keepdims=1),
        node("Add", ["v", "eps"], ["w"]),
        node("Sqrt", ["w"], ["r"]),
        node("Div", ["d", "r"], ["n"]),
        node("Mul", ["n", "scale"], ["k"]),
        node("Add", ["k", "bias"], ["y"]),
    ]


@pytest.mark.parametrize("pow_", [False, True])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 6), (3, 2, 6)])
@pytest.mark.parametrize("read", ["", "d", "s", "n", "k"])
def test_a_normalisation_is_one_node(pow_: bool, twice: bool, shape: tuple[int, ...], read: str) -> None:
    rng = np.random.default_rng(4)
    x = draw(rng, *shape)
    constants = {"two": np.float32(2), "eps": np.float32(1e-3), "scale": draw(rng, 6), "bias": draw(rng, 6)}
    extra = [node("Neg", [read], ["z"])] if read else []
    nodes = norm_nodes(pow_, twice) + extra
    model = model_of(nodes, {"x": x}, ["y"] + ["z"] * bool(read), {n: np.array(a) for n, a in constants.items()})
    expected = {"": ["LayerNormalization"], "k": ["Add", "LayerNormalization", "Neg"]}
    if read in expected:
        assert sorted(operators(model)) == expected[read]
    else:
        assert "LayerNormalization" not in operators(model)
    check_values(model, {"x": x}, 1e-5)
