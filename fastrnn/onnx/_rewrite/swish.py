"""A value times its sigmoid, as one node."""

from __future__ import annotations

from .._graph import Node
from .view import Replacement, View


def swish(view: View, sigmoid: Node) -> Replacement | None:
    """Return the nodes of ``x sigmoid(x)`` and one in their place, else None."""
    (x,), (s,) = sigmoid.inputs, sigmoid.outputs
    product = view.only_reader(s, "Mul")
    if product is None or sorted(product.inputs) != sorted([x, s]):
        return None
    return [sigmoid, product], [Node("Swish", product.name, [x], product.outputs, {}, 24)]
