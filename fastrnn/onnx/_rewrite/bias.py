"""A bias after a product with a constant, as a part of the product."""

from __future__ import annotations

from .._graph import Node
from .view import Replacement, View


def joined_bias(view: View, add: Node) -> Replacement | None:
    """Return the nodes of ``MatMul(x, W) + b`` and the node to replace them; None unless W and ``b [N]`` are constants."""
    for product, bias in (add.inputs, add.inputs[::-1]):
        node, b = view.made.get(product), view.constants.get(bias)
        if node is None or b is None or node.op != "MatMul" or len(node.inputs) != 2 or view.reads[product] != 1:
            continue
        W = view.constants.get(node.inputs[1])
        if W is not None and W.ndim == 2 and b.shape == W.shape[1:]:
            joined = Node("MatMul", node.name, [*node.inputs, bias], add.outputs, {}, node.opset)
            return [node, add], [joined]
    return None
