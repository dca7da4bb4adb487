"""Saving: a model or a layer as an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._core import checks
from ...graph import Model
from ...layers._symbolic.input_spec import input_spec
from ...layers._symbolic.symbols import Axis, Spec, flat
from ...layers.base import Layer
from ...serialization import write_atomically
from .emitter import IR_VERSION, OPSET, Emitter
from .graph import called, traced
from .layers import mask


def save(
    model: Layer,
    path: str | os.PathLike[str],
    *,
    shape: Sequence[Axis] | None = None,
    dtype: str | None = None,
    lengths: bool = False,
    outputs: Sequence[str] | None = None,
) -> None:
    """Write a model or a layer to an ONNX file (opset 17), which ONNX's checker has accepted.

    Axes that are letters, such as T and B, stay open. Dropout is left out. The inputs have the names of the model's inputs
    (``input`` for a Sequential or another layer).

    Parameters
    ----------
    model
        a Model, a Sequential, or any other layer that takes one input.
    path
        the file; it is replaced only by a complete one.
    shape, dtype
        the input's, if ``model`` is not a Model, as in :func:`fastrnn.Input`; by default they follow from the layers.
    lengths
        True: the file has another input ``lengths``, int32 ``[B]``, as the model's call has (``lengths_T`` and so on for
        several time axes). False: all sequences have T steps.
    outputs
        names of the outputs, in order; by default those of the layers that give them.

    Raises
    ------
    TypeError
        if model is not a layer
    ValueError
        for a layer or an option that ONNX has no operator for; the message names it
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a fastrnn layer, got {checks.describe(model)}")
    checks.flag("lengths", lengths)
    e = Emitter()
    inputs, names = _inputs(e, model, shape, dtype)
    if lengths:
        _add_lengths(e, model, inputs)
    write_atomically(path, _content(e, inputs, _finished(e, _outputs(e, model, inputs, names), outputs)))


def _add_lengths(e: Emitter, model: Layer, inputs: dict[str, Spec]) -> None:
    """Add an input for the lengths of each time axis. Raises ValueError if there is no time axis."""
    axes = [axis for axis in dict.fromkeys(spec.time or _second(spec, model) for spec in inputs.values()) if axis]
    if not axes:
        raise ValueError("lengths must be False: no input has a time axis")
    e.lengths = {axis: e.take("lengths" if len(axes) == 1 else f"lengths_{axis}") for axis in axes}


def _outputs(e: Emitter, model: Layer, inputs: dict[str, Spec], names: list[str]) -> list[tuple[str, Spec, str]]:
    """Add the model's nodes; return for each output the name of its value, its spec, and its name in the file."""
    if isinstance(model, Model):
        symbols = traced(e, model.graph, dict(zip(model.graph.flat_inputs, names, strict=True)))
        return [(symbols[symbol], symbol.spec, model.graph.symbol_names[symbol]) for symbol in model.graph.flat_outputs]
    (spec,) = inputs.values()
    results = flat(called(e, model, tuple(names), (spec,), {}))
    pairs = enumerate(zip(results, flat(model.infer(spec)), strict=True))
    return [(name, own, f"output_{i}" if i else "output") for i, (name, own) in pairs]


def _inputs(e: Emitter, model: Layer, shape: Sequence[Axis] | None, dtype: str | None) -> tuple[dict[str, Spec], list[str]]:
    """Return the specs of the inputs by name, and the names."""
    if isinstance(model, Model):
        if shape is not None or dtype is not None:
            raise ValueError("shape and dtype must be None for a Model, which has its own")
        graph = model.graph
        specs = {e.take(name): symbol.spec for name, symbol in zip(graph.input_names, graph.flat_inputs, strict=True)}
    else:
        specs = {e.take("input"): input_spec(model, shape, dtype)}
    return specs, list(specs)


def _second(spec: Spec, model: Layer) -> str | None:
    """Return the time axis of an input ``[B, T, ...]`` of layers with batch_first."""
    axis = spec.shape[1] if getattr(model, "batch_first", False) and len(spec.shape) > 1 else None
    return axis if isinstance(axis, str) else None


def _finished(e: Emitter, found: list[tuple[str, Spec, str]], wanted: Sequence[str] | None) -> list[tuple[str, Spec]]:
    """Add the nodes that clear padding and give the outputs their names; returns those with their specs."""
    from onnx import helper

    if wanted is not None and len(wanted) != len(found):
        raise ValueError(f"outputs must hold {len(found)} names, got {checks.describe(list(wanted))}")
    results = []
    for i, (name, spec, stem) in enumerate(found):
        length = e.lengths.get(spec.time) if spec.time is not None else None
        if length is not None:
            name = e.node("Where", mask(e, name, length, spec), name, e.scalar(0, spec.dtype))
        output = e.take(stem if wanted is None else wanted[i])
        if wanted is not None and output != wanted[i]:
            raise ValueError(f"outputs must not have the names of other values, got {wanted[i]!r}")
        e.nodes.append(helper.make_node("Identity", [name], [output], name=output))
        results.append((output, spec))
    return results


def _content(e: Emitter, inputs: dict[str, Spec], outputs: list[tuple[str, Spec]]) -> bytes:
    """Return the file's bytes, which ONNX's checker has accepted."""
    import onnx
    from onnx import helper

    declared = [_value(name, spec.shape, spec.dtype) for name, spec in inputs.items()]
    declared += [_value(name, ("B",), "int32") for name in e.lengths.values()]
    results = [_value(name, spec.shape, spec.dtype) for name, spec in outputs]
    graph = helper.make_graph(e.nodes, "fastrnn", declared, results, e.constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="fastrnn"
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def _value(name: str, shape: Sequence[Axis], dtype: str) -> Any:
    from onnx import helper

    axes = [axis if isinstance(axis, int) or axis.isidentifier() else None for axis in shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), axes)
