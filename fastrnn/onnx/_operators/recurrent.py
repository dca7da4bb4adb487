"""RNN, GRU and LSTM on the kernels, or in NumPy where the kernels lack an attribute."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._core.arrays import Array
from ...backends.structs import Inputs
from .._build import FLOATS, Build
from .._cells import kernels, reference
from .._cells.spec import NodeInputs, NodeSpec, check_inputs, node_spec
from .._graph import Node
from .table import operator


@operator("RNN", "GRU", "LSTM")
def recurrent(b: Build, node: Node, *arrays: Array | None) -> tuple[Array | None, ...]:
    inputs = NodeInputs(*arrays)  # type: ignore[arg-type]
    spec = node_spec(node.op, node.attributes, inputs.R)
    lengths = inputs.sequence_lens
    check_inputs(spec, inputs if b.is_static(lengths) else inputs._replace(sequence_lens=None))
    reason = kernels.obstacle(spec) if inputs.X.dtype in FLOATS else f"dtype {inputs.X.dtype}"
    if reason is None and inputs.X.size:
        return _with_layout(b, spec, inputs, _on_kernels(b, node, spec, inputs))
    if reason:
        b.prepared(node, lambda: _say_once(node, reason))
    return _in_numpy(b, spec, inputs)


def _say_once(node: Node, reason: str) -> bool:
    warnings.warn(f"{node.place} runs in NumPy, because the kernels have no {reason}", stacklevel=2)
    return True


def _in_numpy(b: Build, spec: NodeSpec, inputs: NodeInputs) -> tuple[Array | None, ...]:
    outputs = [None if a is None else b.new(a.shape, a.dtype) for a in reference.run(spec, inputs)]

    def run() -> None:
        check_inputs(spec, inputs)
        for out, value in zip(outputs, reference.run(spec, inputs), strict=True):
            if out is not None and value is not None:
                np.copyto(out, value)

    b.emit(run)
    return tuple(outputs)


def _with_layout(b: Build, spec: NodeSpec, inputs: NodeInputs, found: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
    """Return ``Y [T,D,B,H]`` and states, or their views in layout 1, from the kernels' ``y [T,B,D*H]`` and states."""
    y, h, c = found
    assert y is not None
    assert h is not None
    Y = y.reshape(*y.shape[:2], spec.directions, spec.hidden_size)
    if spec.layout:
        return Y.swapaxes(0, 1), h.swapaxes(0, 1), None if c is None else c.swapaxes(0, 1)
    return Y.swapaxes(1, 2), h, c


def _on_kernels(b: Build, node: Node, spec: NodeSpec, inputs: NodeInputs) -> tuple[Array | None, ...]:
    """Add the steps that run the kernels; returns ``y [T,B,D*H]``, ``h_n [D,B,H]`` and ``c_n [D,B,H]`` or None."""

    def turned(x: Array | None) -> Array | None:
        return None if x is None else b.contiguous(x.swapaxes(0, 1) if spec.layout else x)

    x, h0, c0 = turned(inputs.X), turned(inputs.initial_h), turned(inputs.initial_c)
    assert x is not None
    (T, B), D, H = x.shape[:2], spec.directions, spec.hidden_size
    stack = kernels.stack_of(spec, x.shape[2], x.dtype.name, inputs.P is not None)
    weights = (inputs.W, inputs.R, inputs.B, inputs.P)

    def prepare() -> Any:
        return b.engine.prepare(stack, kernels.weights_of(spec.op, *weights))

    y, h_n = b.new((T, B, D * H), x.dtype), b.new((D, B, H), x.dtype)
    c_n = b.new((D, B, H), x.dtype) if spec.op == "LSTM" else None
    arrays = x, h0, c0, y, h_n, c_n
    if inputs.sequence_lens is None and all(map(b.is_static, weights)):
        b.emit(b.engine.bind(b.prepared(node, prepare), *arrays))
    else:
        prepared = b.prepared(node, prepare) if all(map(b.is_static, weights)) else None
        b.emit(_run(b, spec, inputs, prepare, prepared, arrays))
    return y, h_n, c_n


def _run(
    b: Build, spec: NodeSpec, inputs: NodeInputs, prepare: Callable[[], Any], prepared: Any, arrays: tuple[Any, ...]
) -> Callable[[], None]:
    """Return a step for weights or lengths that change from run to run."""
    engine, (x, h0, c0, y, h_n, c_n) = b.engine, arrays

    def run() -> None:
        lengths = inputs.sequence_lens
        if lengths is not None:
            check_inputs(spec, inputs)
            lengths = lengths.astype(np.int64)
        out = engine.forward(prepare() if prepared is None else prepared, Inputs(x, h0, c0, lengths))
        for target, value in ((y, out.y), (h_n, out.h_n), (c_n, out.c_n)):
            if target is not None and value is not None:
                np.copyto(target, value)

    return run
