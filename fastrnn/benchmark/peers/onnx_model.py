"""Conversion of one layer to an ONNX model, for ONNX Runtime and OpenVINO."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core.arrays import Array
from ...onnx._cells.kernels import TO_ONNX, permuted
from ..problem import Problem


def _gates(cell: str, array: Array) -> Array:
    """Return ``[1, G*H, ...]`` in ONNX's order; the first axis is the direction."""
    return permuted(array, TO_ONNX[cell])[None]


def model(problem: Problem, *, states: bool = False) -> bytes:
    """Return the model that maps x ``[T, B, I]`` to y ``[T, 1, B, H]``.

    With ``states`` it also maps h (and c) ``[1, B, H]`` to h_n (and c_n).
    """
    from onnx import TensorProto, helper, numpy_helper

    case = problem.case
    weights = {
        "W": _gates(case.cell, problem.W),
        "R": _gates(case.cell, problem.R),
        "b": np.concatenate([_gates(case.cell, b) for b in (problem.b_ih, problem.b_hh)], axis=1),
    }
    names = ["h", "c"][: 1 + (case.cell == "LSTM")] if states else []
    options: dict[str, Any] = {"linear_before_reset": 1} if case.cell == "GRU" else {}
    inputs = ["x", "W", "R", "b", *([""] if names else []), *names]
    node = helper.make_node(case.cell, inputs, ["y", *(f"{name}_n" for name in names)], hidden_size=case.H, **options)

    def tensor(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [node],
        case.cell,
        [tensor("x", case.T, case.B, case.I), *(tensor(name, 1, case.B, case.H) for name in names)],
        [tensor("y", case.T, 1, case.B, case.H), *(tensor(f"{name}_n", 1, case.B, case.H) for name in names)],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    content: bytes = made.SerializeToString()
    return content
