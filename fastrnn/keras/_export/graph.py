"""Graphs of layers as calls of Keras layers, also inside models that are layers."""

from __future__ import annotations

from typing import Any

from ...graph import Model, Sequential
from ...graph.chain import laid_out
from ...graph.exporting import exported
from ...graph.trace import Graph
from ...layers._recurrent.base import Recurrent
from ...layers._symbolic.symbols import Nest, Spec, Symbol, flat, mapped
from ...layers._symbolic.time_first import TimeFirst, first
from ...layers.base import Layer
from .builder import Builder, Specs, Value, Values
from .layers import EXPORTERS


def called(b: Builder, layer: Layer, args: Values, specs: Specs, options: dict[str, Any]) -> Nest:
    """Call any layer's Keras layer, and return the values of its outputs. Raises ValueError naming the layer."""
    if isinstance(layer, Model):
        symbols = traced(b, layer.graph, dict(zip(layer.graph.flat_inputs, leaves(args), strict=True)))
        return mapped(layer.graph.outputs, symbols.__getitem__)
    if isinstance(layer, Sequential):
        return _chain(b, layer, args[0], specs[0])
    return exported(EXPORTERS, f"Keras has no layer like {type(layer).__name__}", b, layer, args, specs, options)


def traced(b: Builder, graph: Graph, values: dict[Symbol, Value]) -> dict[Symbol, Value]:
    """Make the calls of a graph whose inputs have values; returns the values of all symbols."""
    _note_reads(b, graph)
    for node in graph.nodes:
        args = mapped(node.args, values.__getitem__)
        found = called(b, node.layer, args, mapped(node.args, lambda symbol: symbol.spec), node.options)
        values.update(zip(flat(node.outputs), leaves(found), strict=True))
    return values


def _note_reads(b: Builder, graph: Graph) -> None:
    """Note which recurrent layers' outputs and states are read, in any call: a Keras layer has the same in all of them."""
    read = {symbol for node in graph.nodes for symbol in flat(node.args)} | {*graph.flat_outputs}
    for node in graph.nodes:
        if isinstance(node.layer, Recurrent):
            if node.outputs[0] in read:
                b.outputs_read.add(id(node.layer))
            if any(symbol in read for symbol in flat(node.outputs[1:])):
                b.states_read.add(id(node.layer))


def leaves(nest: Nest) -> list[Value]:
    """Return the values of a nest in order; a list is one value."""
    return [leaf for item in nest for leaf in leaves(item)] if isinstance(nest, tuple) else [nest]


def _chain(b: Builder, model: Sequential, x: Value, spec: Spec) -> Value:
    """Call the layers in turn; each reads the first output of the one before."""
    for layer, own in zip(laid_out(model.layers), [spec, *model.specs(spec)][:-1], strict=True):
        if isinstance(layer, Recurrent):
            b.outputs_read.add(id(layer))
        if isinstance(layer, TimeFirst):  # only the spec needs another order: all values have the batch first
            layer = layer.layer
            if layer.reads_time:
                own = Spec((own.shape[1], own.shape[0], *own.shape[2:]), own.dtype)
        x = first(called(b, layer, (x,), (own,), {}))
    return x
