"""Rewriting of a graph at load: a bias joins its product, and an LSTM's step that was written as small nodes is one node.

Some converters write a recurrent step as two products, their sum, a Split into four gates, sigmoids and tanhs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._graph import Graph, Node

Array = NDArray[Any]


def rewritten(graph: Graph, outer: dict[str, Array] | None = None) -> Graph:
    """Return the graph with fewer nodes, also inside the graphs of its nodes; its values are the same.

    ``outer`` has the constants of the graphs around it.
    """
    view = View(graph, outer or {})
    for node in graph.nodes:
        for name, inner in list(node.attributes.items()):
            if isinstance(inner, Graph):
                node.attributes[name] = rewritten(inner, view.constants)
    for node in list(graph.nodes):
        if node.op == "Split":
            step = _lstm_step(view, node)
            if step is not None:
                view.replace(*step)
        elif node.op == "Add":
            _join_bias(view, node)
    return Graph(graph.name, view.sorted(), view.constants, graph.inputs, graph.outputs)


def with_joined_biases(graph: Graph) -> Graph:
    """Return the graph with the biases joined to their products, and Constant nodes as constants."""
    view = View(graph, {})
    for node in list(graph.nodes):
        if node.op == "Add":
            _join_bias(view, node)
    return Graph(graph.name, view.sorted(), view.constants, graph.inputs, graph.outputs)


class View:
    """Nodes by what they give and by what they read, and constants by name."""

    def __init__(self, graph: Graph, outer: dict[str, Array]) -> None:
        self.nodes, self.constants = list(graph.nodes), {**outer, **graph.constants}
        for node in graph.nodes:
            if node.op == "Constant" and "value" in node.attributes:
                self.constants.setdefault(node.outputs[0], node.attributes["value"])
                self.nodes.remove(node)
        self.made = {name: node for node in self.nodes for name in node.outputs if name}
        self.reads = Counter(name for node in self.nodes for name in node.reads())
        self.reads.update(graph.outputs)

    def readers(self, name: str) -> list[Node]:
        """Return the nodes that read a value directly."""
        return [node for node in self.nodes if name in node.inputs]

    def only_reader(self, name: str, op: str) -> Node | None:
        """Return the single reader of a value if it is of this kind."""
        found = self.readers(name)
        return found[0] if self.reads[name] == 1 and len(found) == 1 and found[0].op == op else None

    def replace(self, old: list[Node], new: list[Node]) -> None:
        """Take nodes out, and add others that give the values that are still read."""
        gone = set(map(id, old))
        self.nodes = [node for node in self.nodes if id(node) not in gone] + new
        self.made.update({name: node for node in new for name in node.outputs if name})

    def sorted(self) -> list[Node]:
        """Return the nodes in an order in which they can run, as near to the present one as possible."""
        order: list[Node] = []
        done: set[int] = set()
        todo = list(reversed(self.nodes))
        while todo:
            node = todo.pop()
            if id(node) in done:
                continue
            before = [self.made[name] for name in node.reads() if name in self.made and id(self.made[name]) not in done]
            before = [each for each in before if each is not node]
            if before:
                todo += [node, *reversed(before)]
            else:
                done.add(id(node))
                order.append(node)
        return order


def _join_bias(view: View, add: Node) -> None:
    """Make ``MatMul(x, W) + b`` one node, if W and ``b [N]`` are constants."""
    for product, bias in (add.inputs, add.inputs[::-1]):
        node, b = view.made.get(product), view.constants.get(bias)
        if node is None or b is None or node.op != "MatMul" or len(node.inputs) != 2 or view.reads[product] != 1:
            continue
        W = view.constants.get(node.inputs[1])
        if W is not None and W.ndim == 2 and b.shape == W.shape[1:]:
            joined = Node("MatMul", node.name, [*node.inputs, bias], add.outputs, {}, node.opset)
            view.replace([node, add], [joined])
            return


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


def _lstm_step(view: View, split: Node) -> tuple[list[Node], list[Node]] | None:
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
        blocks = np.split(array, 4)
        return np.ascontiguousarray(np.concatenate([blocks[k] for k in order]))[None]

    stem = f"{h_new}/lstm"
    bias = np.concatenate([arranged(terms.bias), np.zeros((1, 4 * H), W.dtype)], axis=1)
    view.constants |= {f"{stem}.W": arranged(W.T), f"{stem}.R": arranged(R.T), f"{stem}.B": bias}
    view.constants[f"{stem}.axes"] = np.zeros(1, np.int64)
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
