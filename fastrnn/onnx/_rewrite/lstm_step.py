"""An LSTM's step that a converter has written as small nodes, as one LSTM node.

It is two products, their sum, a Split into four gates, sigmoids and tanhs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..._core.arrays import Array
from .._cells.kernels import permuted
from .._graph import Node
from .view import Replacement, View


@dataclass(slots=True)
class Terms:
    """Terms of a sum: products ``x W`` of a value and a constant ``W [I, N]``, the sum of the biases, and the nodes."""

    products: list[tuple[str, Array]]
    bias: Array
    nodes: list[Node]


def _terms(view: View, name: str) -> Terms | None:
    """Return the terms of a value that is read once and is a sum of products and biases, else None."""
    if name in view.constants:
        return Terms([], view.constants[name], [])
    node = view.made.get(name)
    if node is None or view.reads[name] != 1:
        return None
    if node.op == "Add":
        first, second = (_terms(view, side) for side in node.inputs)
        if first is None or second is None:
            return None
        return Terms([*first.products, *second.products], first.bias + second.bias, [node, *first.nodes, *second.nodes])
    W = view.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    of = node.attributes
    if node.op not in ("MatMul", "Gemm") or W is None or W.ndim != 2 or of.get("transA"):
        return None
    if of.get("alpha", 1.0) != 1 or of.get("beta", 1.0) != 1:
        return None
    W = W.T if of.get("transB") else W
    bias = np.zeros(W.shape[1], W.dtype)
    if len(node.inputs) > 2 and node.inputs[2]:
        given = view.constants.get(node.inputs[2])
        if given is None:
            return None
        bias = np.ravel(given) + bias
    return Terms([(node.inputs[0], W)], bias, [node])


def lstm_step(view: View, split: Node) -> Replacement | None:
    """Return the nodes of an LSTM's step around the Split of its gates, and the nodes to take their place, or None."""
    gates = _gates(view, split)
    if gates is None:
        return None
    g = next(node for node in gates if node.op == "Tanh")
    terms = _terms(view, split.inputs[0])
    new = view.only_reader(g.outputs[0], "Mul")  # i g
    if terms is None or len(terms.products) != 2 or new is None:
        return None
    cell = view.only_reader(new.outputs[0], "Add")  # f c + i g
    old = None if cell is None else view.made.get(next(name for name in cell.inputs if name != new.outputs[0]))
    outer = [] if cell is None else [node for node in view.readers(cell.outputs[0]) if node.op == "Tanh"]
    if cell is None or old is None or old.op != "Mul" or len(outer) != 1:
        return None
    out = view.only_reader(outer[0].outputs[0], "Mul")  # o tanh(c)
    if out is None:
        return None
    order = []
    by_output = {gate.outputs[0]: at for at, gate in enumerate(gates) if gate is not g}
    for node in (new, old, out):
        at = [by_output[name] for name in node.inputs if name in by_output]
        if len(at) != 1:
            return None
        order.append(at[0])
    previous = next(name for name in old.inputs if name not in by_output)
    i, f, o = order
    inside = [split, *terms.nodes, *gates, new, old, cell, outer[0], out]
    given = (out.outputs[0], cell.outputs[0])
    if any(view.reads[name] != 1 for node in inside for name in node.outputs if name not in given):
        return None
    made = _lstm_nodes(view, terms, (i, o, f, gates.index(g)), previous, *given)
    return None if made is None else (inside, made)


def _gates(view: View, split: Node) -> list[Node] | None:
    """Return the three sigmoids and the tanh that read the four equal parts of a Split along axis 1, else None."""
    sizes = split.attributes.get("split") or (view.constants.get(split.inputs[1]) if len(split.inputs) > 1 else None)
    if (
        len(split.outputs) != 4
        or split.attributes.get("axis", 0) != 1
        or (sizes is not None and len(set(map(int, sizes))) > 1)
    ):
        return None
    readers = [view.readers(name) for name in split.outputs]
    if any(len(found) != 1 for found in readers):
        return None
    gates = [found[0] for found in readers]
    return gates if sorted(gate.op for gate in gates) == ["Sigmoid", "Sigmoid", "Sigmoid", "Tanh"] else None


def _lstm_nodes(view: View, terms: Terms, order: tuple[int, ...], c: str, h_new: str, c_new: str) -> list[Node] | None:
    """Return an LSTM node over one step, with the axis of time added before it and removed after it."""
    (x, W), (h, R) = terms.products
    H = W.shape[1] // 4
    if R.shape[0] != H and W.shape[0] == H:
        (x, W), (h, R) = (h, R), (x, W)
    if R.shape[0] != H or terms.bias.shape != (4 * H,) or sorted(order) != [0, 1, 2, 3]:
        return None

    def arranged(array: Array) -> Array:
        return np.ascontiguousarray(permuted(array, order))[None]

    stem = f"{h_new}/lstm"
    bias = np.concatenate([arranged(terms.bias), np.zeros((1, 4 * H), W.dtype)], axis=1)
    view.own |= {f"{stem}.W": arranged(W.T), f"{stem}.R": arranged(R.T), f"{stem}.B": bias}
    view.own[f"{stem}.axes"] = np.zeros(1, np.int64)
    steps = [
        Node("Unsqueeze", stem, [name, f"{stem}.axes"], [f"{stem}.{k}"], {}, 13)
        for name, k in ((x, "x"), (h, "h"), (c, "c"))
    ]
    inputs = [f"{stem}.{name}" if name else "" for name in ("x", "W", "R", "B", "", "h", "c")]
    node = Node("LSTM", stem, inputs, ["", f"{stem}.h_n", f"{stem}.c_n"], {"hidden_size": H}, 14)
    ends = [
        Node("Squeeze", stem, [f"{stem}.{k}", f"{stem}.axes"], [name], {}, 13)
        for k, name in (("h_n", h_new), ("c_n", c_new))
    ]
    return [*steps, node, *ends]
