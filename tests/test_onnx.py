"""Loading and running ONNX models: ONNX's own tests of operators, plans, states, and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import Array, model_of, node_cases, onnx, recurrent_model, runtime_outputs
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


def test_the_whole_numbers_among_inputs_can_choose_shapes_and_branches() -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    x = np.arange(6, dtype=np.float32)
    model = fastrnn.onnx.load(model_of(nodes, {"x": x, "shape": np.array([2, 3])}, ["y"], {}).SerializeToString())
    for shape in ([2, 3], [3, 2], [6, 1], [2, 3]):
        np.testing.assert_array_equal(model.run({"x": x, "shape": np.array(shape)})[0], x.reshape(shape))


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


@pytest.mark.parametrize("backend", ["c", "numba", "reference"])
def test_all_backends_give_the_same(backend: str) -> None:
    model, inputs = recurrent_model("LSTM", np.random.default_rng(0), 5, 3, 4, 6, bias=True, states=True)
    wanted = runtime_outputs(model, inputs)
    with fastrnn.use_backend(backend):
        got = fastrnn.onnx.load(model.SerializeToString()).run(inputs)
    for mine, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5)


# Steps


def stream_model(rng: np.random.Generator) -> tuple[Any, Array]:
    """Return a GRU with its state h as an input and h_n as an output, for any batch size."""
    size, H = 3, 5
    draw = [rng.standard_normal(s).astype(np.float32) for s in ((1, 3 * H, size), (1, 3 * H, H))]
    node = helper.make_node("GRU", ["x", "W", "R", "", "", "h"], ["y", "h_n"], hidden_size=H)
    x = rng.standard_normal((6, 2, size)).astype(np.float32)
    model = model_of(
        [node], {"x": x, "h": np.zeros((1, 2, H), np.float32)}, ["y", "h_n"], dict(zip("WR", draw, strict=True))
    )
    for value, axes in zip(model.graph.input, (("T", "B", size), (1, "B", H)), strict=True):
        value.type.tensor_type.shape.CopyFrom(helper.make_tensor_value_info("", 1, axes).type.tensor_type.shape)
    return model, x


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


# Errors


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
