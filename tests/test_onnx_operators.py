"""Operators compared with ONNX's own tests and ONNX Runtime, and inputs that an operator refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import Array, model_of, node_cases, onnx, runtime_outputs
from tables import each_row

import fastrnn
import fastrnn.onnx
from fastrnn.onnx._operators import TABLE, convolution

helper = onnx.helper

# ONNX's tests of operators in the table with options that are not supported; loading or planning refuses them.
REFUSED = (
    "training_mode must",
    "Mean and InvStdDev are not supported",
    "Indices is not supported",
    "must be a tensor, got",
    "must use only operators that fastrnn has",
    "strings are not supported",
    "must use opset 7",
    "reduction must be none",
    "group must be 1, auto_pad NOTSET",
    "must not depend on the values of the model's inputs",
    "mode must be nearest and the factors whole",
    "coordinates must be half_pixel",
    "axes must be absent",
    "zero-size array",
    "could not be broadcast",
    "operands could not be broadcast",
    "invalid data type for einsum",
)


def constant_inputs(model: Any, names: list[str], inputs: list[Array]) -> Any:
    """Return the model with all inputs except the first as constants, as in real models."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.input[1:]
    given = zip(names[1:], inputs[1:], strict=True)
    changed.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in given)
    return changed


def check_case(case: Any, constant: bool) -> bool:
    """Run one of ONNX's tests; return False if an option is refused."""
    names = [value.name for value in case.model.graph.input]
    for inputs, outputs in case.data_sets:
        model = constant_inputs(case.model, names, inputs) if constant else case.model
        feeds = dict(zip(names[:1] if constant else names, inputs, strict=False))
        try:
            got = fastrnn.onnx.load(model.SerializeToString()).run(feeds)
        except ValueError as error:
            if "\n" in str(error) or not any(reason in str(error) for reason in REFUSED):
                raise AssertionError(case.name) from error
            return False
        for mine, wanted in zip(got, outputs, strict=False):
            assert (mine.shape, mine.dtype) == (wanted.shape, wanted.dtype), case.name
            if mine.dtype.kind == "f":
                np.testing.assert_allclose(mine, wanted, rtol=case.rtol, atol=case.atol, err_msg=case.name)
            else:
                np.testing.assert_array_equal(mine, wanted, err_msg=case.name)
    return True


def in_the_table(case: Any) -> bool:
    """Return whether all operators are in the table, and all data are arrays of NumPy's own dtypes."""
    arrays = [array for data in case.data_sets for side in data for array in side]
    plain = all(isinstance(array, (np.ndarray, np.generic)) and array.dtype.kind in "fiub" for array in arrays)
    return plain and all(node.op_type in TABLE for node in case.model.graph.node)


@pytest.mark.parametrize(
    ("pooling", "constant"),
    [(False, False), *(pytest.param(True, constant, marks=pytest.mark.slow) for constant in (False, True))],
)
def test_the_tests_of_onnx(pooling: bool, constant: bool) -> None:
    cases = [case for case in node_cases(pooling=pooling) if in_the_table(case)]
    passed = [check_case(case, constant) for case in cases if not constant or len(case.model.graph.input) > 1]
    assert sum(passed) >= (300 if constant else 700)


@each_row("groups", [1, 2, 4])
@each_row("shape", [(2, 4, 11), (2, 4, 9, 11)])
@each_row("strides", [1, 2])
@each_row("block", [1, 900, 10**6])
def test_convolutions_beside_onnx_runtime(
    groups: int, shape: tuple[int, ...], strides: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution, "BLOCK_BYTES", block)
    rng, n = np.random.default_rng(0), len(shape) - 2
    x = rng.standard_normal(shape).astype(np.float32)
    weights = {"w": rng.standard_normal((4, 4 // groups, *[3] * n)), "b": rng.standard_normal(4)}
    pads, dilations = list(range(1, n + 1)) * 2, [2] + [1] * (n - 1)
    options = {"group": groups, "strides": [strides] * n, "pads": pads, "dilations": dilations}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], **options), helper.make_node("Relu", ["c"], ["y"])]
    model = model_of(nodes, {"x": x}, ["y"], {name: array.astype(np.float32) for name, array in weights.items()})
    got = fastrnn.onnx.load(model.SerializeToString()).run({"x": x})
    np.testing.assert_allclose(got[0], runtime_outputs(model, {"x": x})[0], rtol=0, atol=1e-5)


FAR = np.array([[0, 1, -1000], [-1e4, -1e4, 2e-3 - 1e4], [-np.inf] * 3, [np.inf, 1, 2]], np.float32)
ROWS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
SOME = np.array([[[0, 1, -1, 0]]])  # fewer indices than x has values along the other axes
POOLED = {"kernel_shape": [2, 3], "count_include_pad": 1}


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        *(("ReduceLogSumExp", [FAR], {"axes": axes, "keepdims": keep}) for axes in ([0], [1], [0, 1]) for keep in (0, 1)),
        *(("GatherElements", [ROWS, SOME], {"axis": axis}) for axis in (0, 1, -1)),
        *(("ScatterElements", [ROWS, SOME, np.ones((1, 1, 4), np.float32)], {"axis": axis}) for axis in (0, 1, -1)),
        *(("AveragePool", [ROWS[None]], {"auto_pad": f"SAME_{kind}", **POOLED}) for kind in ("UPPER", "LOWER")),
        *((op, [ROWS[:, :n]], {"axis": axis}) for op in ("Softmax", "LogSoftmax") for n in (0, 3) for axis in (0, 1, 2)),
    ],
)
@pytest.mark.parametrize("opset", [11, 17])
def test_corners_of_operators_beside_onnx_runtime(
    op: str, inputs: list[Array], attributes: dict[str, Any], opset: int
) -> None:
    named = {f"x{i}": array for i, array in enumerate(inputs)}
    model = model_of([helper.make_node(op, list(named), ["y"], **attributes)], named, ["y"], {}, opset)
    (got,), (wanted,) = fastrnn.onnx.load(model.SerializeToString()).run(named), runtime_outputs(model, named)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("indices", "axis"), [([[[0, 3, 0, 0]]], 1), ([[[0, -4, 0, 0]]], 1), ([[[2, 0, 0, 0]]], 0)])
@pytest.mark.parametrize("op", ["GatherElements", "ScatterElements"])
def test_indices_out_of_range(op: str, indices: Any, axis: int) -> None:
    # -4 of 3 values became -1, which is one of them again.
    named = {"x": ROWS, "i": np.array(indices), "u": np.ones((1, 1, 4), np.float32)}
    if op == "GatherElements":
        del named["u"]
    model = model_of([helper.make_node(op, list(named), ["y"], axis=axis)], named, ["y"], {})
    n = ROWS.shape[axis]
    with pytest.raises(ValueError, match=rf"^{op} node 'y': indices must lie in -{n}..{n - 1}$"):
        fastrnn.onnx.load(model.SerializeToString()).run(named)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "message"),
    [
        ("Gemm", [(3, 4), (400, 5)], {}, r"A and B must be \[M, K\] and \[K, N\] .*, got shapes \(3, 4\) and \(400, 5\)"),
        ("Gemm", [(3, 4), (4, 5)], {"transB": 1}, r"A and B must be .*, got shapes \(3, 4\) and \(5, 4\)"),
        ("Gemm", [(4,), (4, 5)], {}, r"A and B must be .*, got shapes \(4,\) and \(4, 5\)"),
        ("Conv", [(1, 2, 6), (3, 2, 2), (2,)], {}, r"B must be of shape \(3,\), got float32 array of shape \(2,\)"),
        ("Conv", [(1, 2, 6), (3, 2, 2)], {"strides": [0]}, r"strides must hold 1 integers of at least 1, got \[0\]"),
        ("Conv", [(1, 2, 6), (3, 2, 2)], {"dilations": [-9]}, r"dilations must hold 1 integers of at least 1, got \[-9\]"),
        ("Conv", [(1, 2, 6), (3, 2, 2)], {"pads": [1]}, r"pads must hold 2 integers of at least 0, got \[1\]"),
        ("MaxPool", [(1, 2, 6)], {"kernel_shape": [0]}, r"kernel_shape must hold 1 integers of at least 1, got \[0\]"),
        ("MaxPool", [(1, 2, 6)], {"kernel_shape": [2, 2]}, r"kernel_shape must hold 1 integers of at least 1, got \[2, 2\]"),
        ("AveragePool", [(1, 2, 6)], {"kernel_shape": [2], "pads": [-1, 0]}, r"pads must hold 2 .* 0, got \[-1, 0\]"),
    ],
)
@pytest.mark.parametrize("constant", [False, True])
def test_sizes_that_do_not_fit(
    op: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any], message: str, constant: bool
) -> None:
    # With constant factors, the kernels read beyond their ends; windows read wherever their steps led.
    first, *rest = ((name, np.ones(shape, np.float32)) for name, shape in zip("xwb", shapes, strict=False))
    inputs = dict([first] if constant else [first, *rest])
    node = helper.make_node(op, [name for name, _ in (first, *rest)], ["y"], **attributes)
    model = fastrnn.onnx.load(model_of([node], inputs, ["y"], dict(rest) if constant else {}).SerializeToString())
    with pytest.raises(ValueError, match=rf"^{op} node 'y': {message}$"):
        model.run(inputs)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([("alpha", 0.1), ("alpha", 0.5)], "attribute 'alpha' must be given once, got it again"),
        ([("alpha", 1)], "attribute 'alpha' must be of type FLOAT, got INT"),
        ([("alhpa", 0.5)], "attributes must be among alpha, got 'alhpa'"),
    ],
)
def test_attributes_that_the_operator_does_not_have(given: list[tuple[str, Any]], message: str) -> None:
    # The later of two values was taken, and one with a wrong name was ignored.
    x = np.array([-1, 2], np.float32)
    node = helper.make_node("LeakyRelu", ["x"], ["y"])
    node.attribute.extend(helper.make_attribute(*each) for each in given)
    with pytest.raises(ValueError, match=f"^LeakyRelu node 'y': {message}$"):
        fastrnn.onnx.load(model_of([node], {"x": x}, ["y"], {}).SerializeToString())
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("alpha", 0.5))
    (y,) = fastrnn.onnx.load(model_of([node], {"x": x}, ["y"], {}).SerializeToString()).run({"x": x})
    assert y.tolist() == [-0.5, 2]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["x"], "input 1, B, must be given"),
        (["x", ""], "input 1, B, must be given"),
        (["x", "x", "", "x"], "there must be at most 3 inputs, got 4"),
    ],
)
def test_a_wrong_number_of_inputs(inputs: list[str], message: str) -> None:
    x = np.eye(2, dtype=np.float32)
    node = helper.make_node("Gemm", inputs, ["y"])
    with pytest.raises(ValueError, match=f"^Gemm node 'y': {message}$"):
        fastrnn.onnx.load(model_of([node], {"x": x}, ["y"], {}).SerializeToString())


@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Conv", "Add"])
@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32"), ("float32", "float16")])
@pytest.mark.parametrize("constant", [False, True])
def test_inputs_of_two_dtypes_are_refused(op: str, dtypes: tuple[str, str], constant: bool) -> None:
    # The kernels read a constant factor by the dtype of x, beyond its end or as other numbers.
    shape = (1, 4, 4) if op == "Conv" else (4, 4)
    x, w = np.ones(shape, dtypes[0]), np.ones((4, 4, 1) if op == "Conv" else shape, dtypes[1])
    inputs = {"x": x} if constant else {"x": x, "w": w}
    node = helper.make_node(op, ["x", "w"], ["y"])
    model = fastrnn.onnx.load(model_of([node], inputs, ["y"], {"w": w} if constant else {}).SerializeToString())
    with pytest.raises(
        ValueError, match=rf"^{op} node 'y': [BW] must be of dtype {dtypes[0]}, as [AX] is, got {dtypes[1]} array"
    ):
        model.run(inputs)


def test_a_bias_of_another_dtype_than_its_product_is_refused() -> None:
    x, weights = np.ones((2, 4), np.float32), {"w": np.ones((4, 4), np.float32), "b": np.ones(4)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])]
    model = fastrnn.onnx.load(model_of(nodes, {"x": x}, ["y"], weights).SerializeToString())
    with pytest.raises(ValueError, match=r"B must be of dtype float32, as A is, got float64 array of shape \(4,\)$"):
        model.run({"x": x})
