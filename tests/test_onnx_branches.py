"""Branches of an If node: which one runs, and which values its nodes may name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import Array, model_of, onnx

import fastrnn
import fastrnn.onnx

helper = onnx.helper


def branches(condition: list[Any], x: Array, **constants: Array) -> Any:
    def branch(op: str) -> Any:
        node = helper.make_node(op, ["x", "one"], ["z"])
        return helper.make_graph([node], op, [], [helper.make_empty_tensor_value_info("z")])

    node = helper.make_node("If", ["on"], ["y"], then_branch=branch("Add"), else_branch=branch("Sub"))
    return model_of([*condition, node], {"x": x}, ["y"], {"one": np.float32(1)[None], **constants})


def test_a_branch_that_the_values_choose_at_each_run() -> None:
    condition = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["on"]),
    ]
    x = np.array([1, 2, 3], np.float32)
    model = fastrnn.onnx.load(branches(condition, x, zero=np.array(0, np.float32)).SerializeToString())
    for value in (x, -x, x):
        np.testing.assert_array_equal(model.run({"x": value})[0], value + np.sign(value))


@pytest.mark.timeout(60)
def test_a_branch_may_use_the_name_of_a_later_value() -> None:
    # The If reads its own z, and the outer z comes from the If's y. Taken for one value, each would wait for the other.
    nodes = [helper.make_node("Add", ["x", "one"], ["z"]), helper.make_node("Neg", ["z"], ["w"])]
    branch = helper.make_graph(nodes, "branch", [], [helper.make_empty_tensor_value_info("w")])
    choice = helper.make_node("If", ["on"], ["y"], then_branch=branch, else_branch=branch)
    x = np.array([1, 2, 3], np.float32)
    inputs = {"x": x, "on": np.array(True)}
    model = model_of([choice, helper.make_node("Add", ["y", "one"], ["z"])], inputs, ["z"], {"one": np.float32(1)[None]})
    np.testing.assert_array_equal(fastrnn.onnx.load(model.SerializeToString()).run(inputs)[0], -x)


def test_a_branch_must_not_make_an_earlier_value_anew() -> None:
    nodes = [helper.make_node("Add", ["x", "x"], ["z"]), helper.make_node("Neg", ["z"], ["w"])]
    branch = helper.make_graph(nodes, "branch", [], [helper.make_empty_tensor_value_info("w")])
    choice = helper.make_node("If", ["on"], ["y"], then_branch=branch, else_branch=branch)
    nodes = [helper.make_node("Abs", ["x"], ["z"]), choice, helper.make_node("Add", ["y", "z"], ["sum"])]
    inputs = {"x": np.ones(3, np.float32), "on": np.array(True)}
    with pytest.raises(ValueError, match="Add node 'z' must not give 'z', which the graph has already"):
        fastrnn.onnx.load(model_of(nodes, inputs, ["sum"], {}).SerializeToString())


def test_equal_nodes_merge_though_a_branch_returns_one_of_them() -> None:
    def branch(name: str) -> Any:
        return helper.make_graph([], name, [], [helper.make_empty_tensor_value_info(name)])

    negated = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Neg", ["x"], ["b"])]
    choice = helper.make_node("If", ["on"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    x = np.array([1, 2, 3], np.float32)
    inputs = {"x": x, "on": np.array(False)}
    model = model_of([*negated, choice, helper.make_node("Add", ["a", "y"], ["sum"])], inputs, ["sum"], {})
    np.testing.assert_array_equal(fastrnn.onnx.load(model.SerializeToString()).run(inputs)[0], -2 * x)
