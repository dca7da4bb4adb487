"""A graph's nodes by the values that they produce and read, and the replacement of nodes by others."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import MutableMapping
from typing import Any

import numpy as np

from ..._core.arrays import Array
from .._graph import Graph, Node

Replacement = tuple[list[Node], list[Node]]  # nodes to take out, and nodes to take their place


class View:
    """Nodes by the values that they produce and read, and constants by name."""

    def __init__(self, graph: Graph, outer: MutableMapping[str, Array]) -> None:
        self.nodes, self.own = list(graph.nodes), dict(graph.constants)
        self.constants = ChainMap(self.own, outer)  # new entries go into the graph's own
        for node in graph.nodes:
            if node.op == "Constant" and isinstance(node.attributes.get("value"), np.ndarray):
                self.constants.setdefault(node.outputs[0], node.attributes["value"])
                self.nodes.remove(node)
        self._outputs = graph.outputs
        self._count()

    def _count(self) -> None:
        self.made = {name: node for node in self.nodes for name in node.outputs if name}
        self.reads = Counter(name for node in self.nodes for name in node.reads())
        self.reads.update(self._outputs)

    def readers(self, name: str) -> list[Node]:
        """Return the nodes that read a value directly."""
        return [node for node in self.nodes if name in node.inputs]

    def only_reader(self, name: str, op: str) -> Node | None:
        """Return the single reader of a value if it is of this kind."""
        found = self.readers(name)
        return found[0] if self.reads[name] == 1 and len(found) == 1 and found[0].op == op else None

    def replace(self, old: list[Node], new: list[Node]) -> None:
        """Remove nodes, and add others that produce the values that are still read."""
        gone = set(map(id, old))
        self.nodes = [node for node in self.nodes if id(node) not in gone] + new
        self._count()

    def merge_equal(self) -> None:
        """Merge nodes that compute the same from the same inputs."""
        inner = {name for node in self.nodes for graph in node.subgraphs() for name in graph.reads()}
        kept = inner.union(self._outputs)
        first: dict[Any, Node] = {}
        names: dict[str, str] = {}
        nodes = []
        for node in self.nodes:
            node.inputs = [names.get(name, name) for name in node.inputs]
            plain = not any(isinstance(value, (Graph, np.ndarray)) for value in node.attributes.values())
            key = (node.op, *node.inputs, repr(sorted(node.attributes.items())), len(node.outputs)) if plain else id(node)
            if kept.isdisjoint(node.outputs) and first.setdefault(key, node) is not node:
                names.update(zip(node.outputs, first[key].outputs, strict=True))
            else:
                nodes.append(node)
        self.nodes = nodes
        self._count()

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
