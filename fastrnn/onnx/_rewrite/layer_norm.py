"""A layer normalisation that was written as small nodes, as one node: ``(x - mean) / sqrt(variance + epsilon)``."""

from __future__ import annotations

import numpy as np

from ..._core.arrays import Array
from .._graph import Node
from .view import Replacement, View


def layer_norm(view: View, root: Node) -> Replacement | None:
    """Return the nodes of a normalisation of the last axis around its square root, and one in their place, or None."""
    shifted = view.made.get(root.inputs[0])
    if shifted is None or shifted.op != "Add":
        return None
    epsilon, variance = _constant_and_other(view, shifted)
    mean_square = view.made.get(variance)
    squares = view.made.get(mean_square.inputs[0]) if mean_square is not None and _over_last(view, mean_square) else None
    if squares is None or mean_square is None or epsilon is None or epsilon.size != 1:
        return None
    centred = view.made.get(squares.inputs[0])
    if centred is None or centred.op != "Sub" or not _is_square(view, squares):
        return None
    mean = view.made.get(centred.inputs[1])
    quotient = view.only_reader(root.outputs[0], "Div")
    if mean is None or quotient is None or not _over_last(view, mean) or mean.inputs[0] != centred.inputs[0]:
        return None
    if quotient.inputs != [centred.outputs[0], root.outputs[0]]:
        return None
    scaled = view.only_reader(quotient.outputs[0], "Mul")
    scale, _ = (None, "") if scaled is None else _constant_and_other(view, scaled)
    moved = None if scaled is None else view.only_reader(scaled.outputs[0], "Add")
    bias, _ = (None, "") if moved is None else _constant_and_other(view, moved)
    if scaled is None or scale is None or scale.ndim != 1:
        return None
    inside = [mean, centred, squares, mean_square, shifted, root, quotient, scaled]
    names = [centred.inputs[0], _name(view, scaled)]
    if moved is not None and bias is not None and bias.shape == scale.shape:
        inside.append(moved)
        names.append(_name(view, moved))
    uses = sum(name == centred.outputs[0] for node in inside for name in node.inputs)
    free = all(view.reads[name] == 1 for node in inside[:-1] if node is not centred for name in node.outputs)
    if not free or view.reads[centred.outputs[0]] != uses or _square_reads(squares) != view.reads[centred.outputs[0]] - 1:
        return None
    last = inside[-1]
    options = {"axis": -1, "epsilon": float(epsilon.item())}
    return inside, [Node("LayerNormalization", last.name, names, last.outputs, options, 17)]


def _square_reads(squares: Node) -> int:
    return len(squares.inputs) if squares.op == "Mul" else 1


def _is_square(view: View, node: Node) -> bool:
    if node.op == "Mul":
        return node.inputs[0] == node.inputs[1]
    exponent = view.constants.get(node.inputs[1]) if node.op == "Pow" else None
    return exponent is not None and exponent.size == 1 and exponent.item() == 2


def _over_last(view: View, node: Node) -> bool:
    """Return whether a node is a mean over the last axis that keeps the axis."""
    axes = view.constants.get(node.inputs[1]) if len(node.inputs) > 1 else node.attributes.get("axes")
    return node.op == "ReduceMean" and axes is not None and list(axes) == [-1] and bool(node.attributes.get("keepdims", 1))


def _constant_and_other(view: View, node: Node) -> tuple[Array | None, str]:
    """Return the constant input of a node of two inputs, or None, and the name of the other input."""
    first, second = node.inputs
    if first in view.constants:
        return np.asarray(view.constants[first]), second
    return (np.asarray(view.constants[second]), first) if second in view.constants else (None, "")


def _name(view: View, node: Node) -> str:
    return next(name for name in node.inputs if name in view.constants)
