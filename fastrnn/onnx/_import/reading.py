"""Reading: a trainable model from an ONNX file whose nodes are layers of this package."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Any

import numpy as np

from ..._core.checks import printable
from ..._core.drawing_limit import count, limited_to
from ...graph import Input, Model
from .._errors import blaming
from .._graph import Declared, Graph, Node, read_graph
from .._operators import TABLE
from .._plan import build_plan
from .._rewrite import LAYER_RULES, rewritten
from .layers import LAYERS
from .values import Anything, Directions, Value

RECURRENT = ("RNN", "GRU", "LSTM")
LENGTHS = 4  # the index of their input sequence_lens


def from_onnx(source: str | os.PathLike[str] | bytes) -> Model:
    """Return a trainable :class:`fastrnn.Model` of the layers in an ONNX file, with its weights.

    Sequences are ``[T, B, ...]`` in the model, whatever their order in the file. An input of lengths becomes the model's
    ``lengths``. Inputs and outputs keep their order. An input keeps its name if that is an identifier.

    Parameters
    ----------
    source
        a path, or the bytes of a file.

    Raises
    ------
    OSError
        if the file cannot be read
    ValueError
        for an invalid file, if a node has no layer in this package (the message names the operators, or the node and the
        reason), or if the model needs far more values than the file holds
    """
    graph = rewritten(read_graph(source), LAYER_RULES)
    with limited_to(graph.all_arrays()):
        return _model_of(graph)


def _model_of(graph: Graph) -> Model:
    """Return the model of a graph, with a layer for each node."""
    missing = sorted({node.op for node in graph.all_nodes()} - LAYERS.keys() - {"Constant"})
    if missing:
        raise ValueError(
            f"the model must consist of layers that fastrnn has, got the operators {printable(', '.join(missing))}"
        )
    lengths = {node.inputs[LENGTHS] for node in graph.nodes if node.op in RECURRENT and len(node.inputs) > LENGTHS}
    values: dict[str, Anything] = {**dict.fromkeys(lengths), **graph.constants}
    names = [name for name in graph.inputs if name not in lengths]
    readers = _readers(graph)
    for name in names:
        values[name] = _input(name, graph.inputs[name], *_role(readers, name))
    for node in graph.nodes:
        _add(node, values)
    outputs = [_read(values, name) for name in graph.outputs]
    symbols = [
        x.value().symbol if isinstance(x, Directions) else x.symbol for x in outputs if isinstance(x, (Value, Directions))
    ]
    if len(symbols) != len(outputs):
        raise ValueError("every output must depend on an input")
    return Model([x.symbol for name in names if isinstance(x := values[name], Value)], symbols)


def _add(node: Node, values: dict[str, Anything]) -> None:
    """Call the layer of a node, or compute a node of constants."""
    inputs = [_read(values, name) if name else None for name in node.inputs]
    for i, name in enumerate(node.inputs):
        if name and inputs[i] is None and (node.op not in RECURRENT or i != LENGTHS):
            raise ValueError(f"{node.place}: input {i} must not be {name!r}, which holds the lengths of sequences")
    if node.op in TABLE and all(x is None or isinstance(x, np.ndarray) for x in inputs) and node.op != "ConstantOfShape":
        constants = {name: x for name, x in zip(node.inputs, inputs, strict=True) if isinstance(x, np.ndarray)}
        plan = build_plan(Graph("", [node], constants, {}, node.outputs[:1]), {}, None, {})
        values[node.outputs[0]] = plan.outputs[0]
        with blaming(node.place):
            count(plan.outputs[0].shape)
        return
    with blaming(node.place):
        found = LAYERS[node.op](node, *inputs)
    results = found if isinstance(found, tuple) else (found,)
    values.update({name: x for name, x in zip(node.outputs, results, strict=False) if name})


def _read(values: dict[str, Anything], name: str) -> Anything:
    """Return a value by its name. Raises ValueError for an output that a layer does not give, such as a dropout's mask."""
    if name not in values:
        raise ValueError(f"nothing may read {name!r}, which no layer gives")
    return values[name]


def _input(name: str, declared: Declared, role: str, swapped: bool) -> Value:
    """Return the symbol of an input; time and batch get the letters T and B."""
    dtype, axes = declared
    if axes is None:
        raise ValueError(f"the shape of input {name!r} must be declared")
    shown = name if name.isidentifier() else None
    kind: Any = "int64" if dtype.kind in "iu" else dtype.name
    if role == "vector" and len(axes) > 1 and not isinstance(axes[1], int):
        role = "sequence"
    if role == "vector" or len(axes) < 2:
        return Value(Input(("B", *_features(name, axes[1:])), kind, shown))
    count = axes[1 if swapped else 0]
    first = "T" if role == "sequence" else count if isinstance(count, int) else 1
    return Value(Input((first, "B", *_features(name, axes[2:])), kind, shown), swapped)


def _features(name: str, axes: tuple[Any, ...]) -> tuple[int, ...]:
    if not all(isinstance(axis, int) for axis in axes):
        raise ValueError(f"the features of input {name!r} must have fixed sizes, got {list(axes)}")
    return axes


def _readers(graph: Graph) -> dict[str, list[Node]]:
    """Return the nodes that read each value."""
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for name in node.inputs:
            readers[name].append(node)
    return readers


def _role(readers: dict[str, list[Node]], name: str) -> tuple[str, bool]:
    """Return whether an input is a sequence, a state or a vector, and whether the batch axis precedes time.

    It is a sequence if it leads to the X of a recurrent node, and a state if it leads to the initial state of one.
    """
    todo, seen = [(name, False)], set()
    while todo:
        current, swapped = todo.pop()
        for node in readers[current]:
            if id(node) in seen or node.op == "Shape":
                continue
            seen.add(id(node))
            if node.op in RECURRENT:
                role = "sequence" if node.inputs[0] == current else "state"
                return role, swapped != bool(node.attributes.get("layout", 0))
            exchanged = node.op == "Transpose" and (node.attributes.get("perm") or [])[:2] == [1, 0]
            todo.append((node.outputs[0], swapped != exchanged))
    return "vector", False
