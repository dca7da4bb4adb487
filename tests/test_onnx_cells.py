"""ONNX's RNN, GRU and LSTM with every attribute and input, compared with ONNX's tests, ONNX Runtime and the reference."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from onnx_models import node_cases, onnx, recurrent_model, runtime_outputs
from tables import each_row

import fastrnn.onnx
from fastrnn.onnx._cells import reference
from fastrnn.onnx._cells.spec import NodeInputs, node_spec

ACTIVATIONS = ["Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"]
ACTIVATIONS += ["Softsign", "Softplus"]


def reference_outputs(model: Any, inputs: dict[str, Any]) -> list[Any]:
    """Return the outputs of the reference in float64."""
    (node,) = model.graph.node
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer} | inputs
    given = [arrays[name] if name else None for name in node.input]
    wide = [a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in given]
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    attributes = {name: v.decode() if isinstance(v, bytes) else v for name, v in attributes.items()}
    if "activations" in attributes:
        attributes["activations"] = [name.decode() for name in attributes["activations"]]
    spec = node_spec(node.op_type, attributes, wide[2])
    return [value for value in reference.run(spec, NodeInputs(*wide)) if value is not None]


def outputs_of(model: Any, inputs: dict[str, Any]) -> list[Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RNN|GRU|LSTM", UserWarning)
        return fastrnn.onnx.load(model.SerializeToString()).run(inputs)


def compare(op: str, seed: int, runtime: bool = True, **given: Any) -> None:
    rng = np.random.default_rng(seed)
    sizes = (int(n) for n in rng.integers([1, 1, 1, 1], [9, 6, 9, 20]))
    model, inputs = recurrent_model(op, rng, *sizes, **given)
    got, wanted = outputs_of(model, inputs), reference_outputs(model, inputs)
    others = runtime_outputs(model, inputs) if runtime else [value.astype(np.float32) for value in wanted]
    assert len(got) == len(wanted) == len(others)
    for mine, exact, other in zip(got, wanted, others, strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, exact, rtol=0, atol=1e-5)
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_the_node_tests_of_onnx(op: str) -> None:
    cases = [each for each in node_cases(pooling=False) if each.model.graph.node[0].op_type == op]
    assert len(cases) >= 6
    for each in cases:
        model = fastrnn.onnx.load(each.model.SerializeToString())
        for inputs, outputs in each.data_sets:
            names = [value.name for value in each.model.graph.input]
            for mine, wanted in zip(model.run(dict(zip(names, inputs, strict=True))), outputs, strict=True):
                np.testing.assert_allclose(mine, wanted, rtol=1e-3, atol=1e-7, err_msg=each.name)


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("states", [False, True])
def test_random_nodes_beside_onnx_runtime_and_the_reference(
    op: str, direction: str, bias: bool, lengths: bool, states: bool
) -> None:
    seed = sum(map(ord, f"{op}{direction}{bias}{lengths}{states}"))
    given: dict[str, Any] = {"direction": direction, "bias": bias, "lengths": lengths, "states": states}
    if op == "GRU":
        given["linear_before_reset"] = seed % 2
    if op == "LSTM":
        given["peephole"] = bool(seed % 2)
    compare(op, seed, **given)


@each_row("op", ["RNN", "GRU", "LSTM"])
@each_row("direction", ["forward", "reverse", "bidirectional"])
def test_layout_1_is_layout_0_with_axes_swapped(op: str, direction: str) -> None:
    # ONNX Runtime refuses this layout.
    compare(op, 5, runtime=False, layout=1, direction=direction, bias=True, lengths=True, states=True)
    model, inputs = recurrent_model(op, np.random.default_rng(3), 5, 3, 4, 6, layout=1, direction=direction, states=True)
    got = outputs_of(model, inputs)
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "layout":
            attribute.i = 0
    y, *states = outputs_of(model, {name: array.swapaxes(0, 1).copy() for name, array in inputs.items()})
    np.testing.assert_allclose(got[0], y.transpose(2, 0, 1, 3), rtol=0, atol=1e-6)
    for mine, state in zip(got[1:], states, strict=True):
        np.testing.assert_allclose(mine, state.swapaxes(0, 1), rtol=0, atol=1e-6)


@each_row("function", ACTIVATIONS)
@each_row(("op", "place"), [("RNN", 0), *(("GRU", i) for i in range(2)), *(("LSTM", i) for i in range(3))])
def test_activations_beside_onnx_runtime(op: str, place: int, function: str) -> None:
    names = ["Sigmoid", "Tanh", "Tanh"][: {"RNN": 1, "GRU": 2, "LSTM": 3}[op]]
    names[place] = function
    given: dict[str, Any] = {"activations": names, "bias": True, "states": True}
    alphas = {"LeakyRelu": 0.1, "ThresholdedRelu": 0.3, "HardSigmoid": 0.3, "Elu": 0.7, "Affine": 0.5, "ScaledTanh": 0.8}
    betas = {"HardSigmoid": 0.4, "Affine": 0.1, "ScaledTanh": 0.6}
    if function in alphas:
        given["activation_alpha"] = [alphas[function]]
    if function in betas:
        given["activation_beta"] = [betas[function]]
    model, inputs = recurrent_model(op, np.random.default_rng(place), 3, 2, 4, 5, **given)  # 3 steps: some outputs grow
    every = zip(outputs_of(model, inputs), reference_outputs(model, inputs), runtime_outputs(model, inputs), strict=True)
    for mine, exact, other in every:
        np.testing.assert_allclose(mine, exact, rtol=0, atol=1e-5)
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5)


@each_row("op", ["RNN", "GRU", "LSTM"])
@each_row("clip", [0.2, 1.0])
def test_clip_beside_onnx_runtime(op: str, clip: float) -> None:
    compare(op, 21, clip=clip, bias=True, states=True, direction="bidirectional")


@pytest.mark.parametrize("peephole", [False, True])
def test_input_forget_beside_onnx_runtime(peephole: bool) -> None:
    compare("LSTM", 31, input_forget=1, bias=True, states=True, peephole=peephole)


def test_different_activations_of_both_directions() -> None:
    compare("RNN", 41, activations=["Relu", "Tanh"], direction="bidirectional", bias=True)
    compare(
        "LSTM", 42, activations=["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "Softsign", "Tanh"], direction="bidirectional"
    )


def test_a_sequence_of_length_0_keeps_its_initial_state() -> None:
    model, inputs = recurrent_model("LSTM", np.random.default_rng(0), 4, 3, 5, 6, lengths=True, states=True)
    inputs["lengths"][:] = 0, 4, 2
    y, h, c = outputs_of(model, inputs)
    assert not y[:, :, 0].any()
    assert not y[2:, :, 2].any()
    np.testing.assert_array_equal(h[:, 0], inputs["h"][:, 0])
    np.testing.assert_array_equal(c[:, 0], inputs["c"][:, 0])
    for mine, exact in zip((y, h, c), reference_outputs(model, inputs), strict=True):
        np.testing.assert_allclose(mine, exact, rtol=0, atol=1e-6)


def test_an_option_that_the_kernels_lack_gives_one_warning() -> None:
    model, inputs = recurrent_model("LSTM", np.random.default_rng(0), 4, 3, 5, 6, clip=0.5)
    loaded = fastrnn.onnx.load(model.SerializeToString())
    with pytest.warns(UserWarning, match=r"LSTM node 'Y' runs in NumPy, because the kernels have no clip=0.5"):
        loaded.run(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.run(inputs)
        loaded.run({"X": inputs["X"][:2]})


def test_half_precision_runs_in_numpy() -> None:
    model, inputs = recurrent_model("GRU", np.random.default_rng(0), 4, 3, 5, 6, bias=True)
    wanted = reference_outputs(model, inputs)
    weights = [(each.name, onnx.numpy_helper.to_array(each).astype(np.float16)) for each in model.graph.initializer]
    del model.graph.initializer[:]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    loaded = fastrnn.onnx.load(model.SerializeToString())
    with pytest.warns(UserWarning, match=r"GRU node 'Y' runs in NumPy, because the kernels have no dtype float16"):
        got = loaded.run({"X": inputs["X"].astype(np.float16)})
    for mine, exact in zip(got, wanted, strict=True):
        assert mine.dtype == np.float16
        np.testing.assert_allclose(mine, exact, rtol=0, atol=1e-2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"direction": "sideways"}, "direction must be one of forward, reverse, bidirectional, got 'sideways'"),
        ({"activations": ["Tanh"]}, r"activations must hold 3 names for each of 1 directions, got \['Tanh'\]"),
        ({"activations": ["Tanh", "Cube", "Tanh"]}, "activations must be among .*, got 'Cube'"),
        ({"activation_alpha": [1.0]}, "activation_alpha must hold one value for each activation that takes one, got more"),
        ({"layout": 2}, "layout must be 0 or 1, got 2"),
        ({"direction": "Forward"}, "direction must be one of forward, reverse, bidirectional, got 'Forward'"),
        ({"clip": 0.0}, "clip must be above 0, got 0"),
        ({"clip": -1.0}, "clip must be above 0, got -1"),
        ({"clip": float("nan")}, "clip must be above 0, got nan"),
        ({"clip": 1}, "attribute 'clip' must be of type FLOAT, got INT"),
        ({"linear_before_reset": 1}, "attributes must be among .*, got 'linear_before_reset'"),
    ],
)
def test_wrong_attributes(given: dict[str, Any], message: str) -> None:
    model, inputs = recurrent_model("LSTM", np.random.default_rng(0), 4, 3, 5, 6, **given)
    with pytest.raises(ValueError, match=f"^LSTM node 'Y': {message}$"):
        fastrnn.onnx.load(model.SerializeToString()).run(inputs)


@each_row("op", ["RNN", "GRU", "LSTM"])
@each_row("place", ["W", "R", "B", "lengths", "h", "c", "P"])
@each_row("constant", [False, True])
def test_inputs_of_another_dtype_are_refused(op: str, place: str, constant: bool) -> None:
    # The kernels took the bits of a float64 state for float32 numbers, and read beyond the end of float32 for float64.
    if op != "LSTM" and place in "cP":
        return
    model, inputs = recurrent_model(
        op, np.random.default_rng(0), 4, 3, 5, 6, bias=True, lengths=True, states=True, peephole=op == "LSTM"
    )
    graph, inputs = model.graph, inputs | {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    inputs[place] = inputs[place].astype(np.float64)
    values = [
        onnx.helper.make_tensor_value_info(k, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in inputs.items()
    ]
    del graph.input[:], graph.initializer[:]
    graph.input.extend(each for each in values if each.name == "X" or not constant)
    if constant:
        graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in inputs.items() if k != "X")
        inputs = {"X": inputs["X"]}
    name = {"lengths": "sequence_lens", "h": "initial_h", "c": "initial_c"}.get(place, place)
    wanted = "int32, got" if place == "lengths" else "float32, as X is, got"
    with pytest.raises(ValueError, match=rf"^{op} node 'Y': {name} must be of dtype {wanted} float64 array of shape \("):
        fastrnn.onnx.load(model.SerializeToString()).run(inputs)


def test_wrong_lengths_and_states() -> None:
    model, inputs = recurrent_model("GRU", np.random.default_rng(0), 4, 3, 5, 6, lengths=True, states=True)
    loaded = fastrnn.onnx.load(model.SerializeToString())
    with pytest.raises(ValueError, match=r"^sequence_lens must lie in 0..4, got \[5, 1, 1\]$"):
        loaded.run(inputs | {"lengths": np.array([5, 1, 1], np.int32)})
    with pytest.raises(ValueError, match=r"initial_h must be of shape \(1, 3, 6\), got float32 array of shape \(1, 2, 6\)$"):
        loaded.run(inputs | {"h": inputs["h"][:, :2].copy()})
