"""Rewriting of a graph at load: fewer nodes, with the same values."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping

from ..._core.arrays import Array
from .._errors import blaming
from .._graph import Graph, Node
from .bias import joined_bias
from .layer_norm import layer_norm
from .lstm_step import lstm_step
from .swish import swish
from .view import Replacement, View

Rule = Callable[[View, Node], Replacement | None]

RULES: dict[str, Rule] = {"Split": lstm_step, "Sqrt": layer_norm, "Add": joined_bias, "Sigmoid": swish}
# The rules whose results from_onnx knows as layers.
LAYER_RULES: dict[str, Rule] = {"Sqrt": layer_norm, "Add": joined_bias}


def rewritten(graph: Graph, rules: dict[str, Rule] = RULES, outer: MutableMapping[str, Array] | None = None) -> Graph:
    """Return the graph with fewer nodes, also inside the graphs of its nodes.

    ``rules`` maps the operator at which a rule looks to the rule. ``outer`` has the constants of the graphs around it.
    """
    view = View(graph, outer or {})
    for node in graph.nodes:
        for name, inner in list(node.attributes.items()):
            if isinstance(inner, Graph):
                node.attributes[name] = rewritten(inner, rules, view.constants)
    view.merge_equal()
    for op, rule in rules.items():
        for node in [node for node in view.nodes if node.op == op]:
            with blaming(node.place):
                found = rule(view, node)
            if found is not None:
                view.replace(*found)
    return Graph(graph.name, view.sorted(), view.own, graph.inputs, graph.outputs)
