"""Tracing of a graph: the calls between input and output symbols, in an order in which they can run."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Container, Iterable
from typing import Any

from .._core.checks import describe
from ..layers._symbolic.symbols import Nest, Node, Symbol, flat, is_nested, mapped
from ..layers.base import Layer


class Graph:
    """Calls that lead from ``inputs`` to ``outputs``, which are nests of symbols.

    ``nodes`` holds the calls in an order in which they can run, ``layers`` the distinct layers by name.
    """

    def __init__(self, inputs: Nest, outputs: Nest) -> None:
        self.inputs, self.outputs = _bare(as_nest("inputs", inputs)), _bare(as_nest("outputs", outputs))
        self.flat_inputs, self.flat_outputs = list(flat(self.inputs)), list(flat(self.outputs))
        for i, symbol in enumerate(self.flat_inputs):
            if symbol in self.flat_inputs[:i]:
                raise ValueError(f"inputs must hold each symbol once, got {symbol!r} twice")
        self.nodes = self._reached()
        given = [symbol.name for symbol in self.flat_inputs if symbol.name is not None]
        self.layers = named_layers((node.layer for node in self.nodes), given)
        self.input_names = self._input_names(given)
        self.symbol_names = self._symbol_names()

    def __deepcopy__(self, memo: dict[int, Any]) -> Graph:
        """Copy the graph node by node, because the default copy recurses as deep as the graph is long."""
        symbols = {s: Symbol(s.spec, name=name) for s, name in zip(self.flat_inputs, self.input_names, strict=True)}
        for node in self.nodes:
            args = mapped(node.args, symbols.__getitem__)
            specs = mapped(node.outputs, lambda symbol: symbol.spec)
            again = Node(copy.deepcopy(node.layer, memo), args, dict(node.options), specs)
            symbols = {
                **dict(zip(flat(node.outputs), flat(again.outputs), strict=True)),
                **symbols,
            }  # earlier symbols win, so a copied input is never replaced
        return Graph(mapped(self.inputs, symbols.__getitem__), mapped(self.outputs, symbols.__getitem__))

    def _reached(self) -> list[Node]:
        """Return the calls that outputs depend on, in the order in which they were made.

        Raises ValueError if an output depends on other inputs, or an input is not used.
        """
        given, used = set(self.flat_inputs), set()
        found: dict[int, Node] = {}
        todo: list[tuple[Symbol, Symbol]] = [(output, output) for output in self.flat_outputs]
        while todo:
            symbol, output = todo.pop()
            if symbol in given:
                used.add(symbol)
            elif symbol.node is None:
                raise ValueError(f"outputs depend on {symbol!r}, which is not among the inputs; so does {output!r}")
            elif symbol.node.serial not in found:
                found[symbol.node.serial] = symbol.node
                todo += [(argument, output) for argument in flat(symbol.node.args)]
        for symbol in self.flat_inputs:
            if symbol not in used:
                raise ValueError(f"inputs hold {symbol!r}, which no output depends on")
        return [found[serial] for serial in sorted(found)]

    def _input_names(self, given: list[str]) -> list[str]:
        """Return the inputs' names: their own, or ``input``, ``input_1`` ... Raises ValueError for a repeated name."""
        names: list[str] = []
        for symbol in self.flat_inputs:
            if symbol.name in names:
                raise ValueError(f"inputs must have different names, got {symbol.name!r} twice")
            names.append(symbol.name or unused("input", [*given, *names, *self.layers]))
        return names

    def _symbol_names(self) -> dict[Symbol, str]:
        """Return each symbol's name: an input's, or a layer's, with ``#2`` for its second call and indices ``[1][0]``."""
        names: dict[Symbol, str] = {}
        of_layer = {id(layer): name for name, layer in self.layers.items()}
        calls: dict[str, int] = {}
        for node in self.nodes:
            layer = of_layer[id(node.layer)]
            calls[layer] = calls.get(layer, 0) + 1
            call = layer if calls[layer] == 1 else f"{layer}#{calls[layer]}"
            for symbol in flat(node.outputs):
                names[symbol] = call + "".join(f"[{i}]" for i in symbol.path)
        return names | dict(zip(self.flat_inputs, self.input_names, strict=True))

    def located(self, error: ValueError, values: list[Any]) -> ValueError:
        """Add the names of the input and the layer to an error that a layer raises for the ids in ``values``."""
        given = dict(zip(self.flat_inputs, values, strict=False))
        for node in self.nodes:
            first = origin = next(flat(node.args))
            while origin not in given and origin.node is not None:  # a layer whose output is ids reads ids
                origin = next(flat(origin.node.args))
            if first.dtype != "int64" or given.get(origin) is None:
                continue
            try:
                node.layer(given[origin])
            except (TypeError, ValueError) as again:
                if str(again) == str(error):
                    name = self.input_names[self.flat_inputs.index(origin)]
                    return ValueError(f"{name}: {self.call_name(node)}: {error}")
        return error

    def call_name(self, node: Node) -> str:
        """Return a node's name, which is its symbols' name without indices."""
        return self.symbol_names[next(flat(node.outputs))].partition("[")[0]


def as_nest(name: str, symbols: Nest) -> Nest:
    """Return a Symbol unchanged and lists as tuples. Raises TypeError for other values, ValueError for an empty list."""
    if is_nested(symbols):
        if not symbols:
            raise ValueError(f"{name} must hold at least one Symbol, got none")
        return tuple(as_nest(name, item) for item in symbols)
    if not isinstance(symbols, Symbol):
        raise TypeError(f"{name} must be a Symbol or a list of them, got {describe(symbols)}")
    return symbols


def _bare(symbols: Nest) -> Nest:
    """Unwrap a list of one symbol, because a single input or output is not a tuple."""
    return symbols[0] if is_nested(symbols) and len(symbols) == 1 else symbols


def named_layers(layers: Iterable[Layer], inputs: list[str]) -> dict[str, Layer]:
    """Return the distinct layers by name: their own, or the class name in lower case, numbered from the second on.

    Names never collide with those of ``inputs``, because values are named after the input or layer that produces them.
    Raises ValueError if two layers, or a layer and an input, were given the same name.
    """
    distinct = list({id(layer): layer for layer in layers}.values())
    chosen: set[str] = set()
    for name in (layer.name for layer in distinct if layer.name is not None):
        if name in chosen:
            raise ValueError(f"layers of a model must have different names, got {name!r} for two of them")
        if name in inputs:
            raise ValueError(f"a layer must not have an input's name, got {name!r} for both")
        chosen.add(name)
    named: dict[str, Layer] = {}
    taken = {*inputs, *chosen}
    same: Counter[str] = Counter()  # as many numbers of a class name are taken, so a deep model is named in linear time
    for layer in distinct:
        if layer.name is not None:
            named[layer.name] = layer
            continue
        stem = type(layer).__name__.lower()
        new = unused(stem, taken, same[stem])
        same[stem] += 1
        taken.add(new)
        named[new] = layer
    return named


def unused(stem: str, taken: Container[str], first: int = 0) -> str:
    """Return the first of ``stem``, ``stem_1``, ``stem_2``... that is not taken, from number ``first`` on."""
    name, i = f"{stem}_{first}" if first else stem, first
    while name in taken:
        i += 1
        name = f"{stem}_{i}"
    return name
