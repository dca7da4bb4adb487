"""Graphs of layers as ONNX graphs: calls in order, also inside models that are layers."""

from __future__ import annotations

from typing import Any

from ...graph import Model, Sequential
from ...graph.chain import laid_out
from ...graph.exporting import exported
from ...graph.trace import Graph
from ...layers._symbolic.symbols import Nest, Spec, Symbol, flat, mapped
from ...layers._symbolic.time_first import TimeFirst, first
from ...layers.base import Layer
from .emitter import Emitter
from .layers import EXPORTERS

Names = tuple[Nest, ...]
Specs = tuple[Nest, ...]


def called(e: Emitter, layer: Layer, args: Names, specs: Specs, options: dict[str, Any]) -> Nest:
    """Add the nodes of a call of any layer, and return the names of its outputs. Raises ValueError naming the layer."""
    if isinstance(layer, Model):
        return _model(e, layer, args, specs)
    if isinstance(layer, Sequential):
        return _chain(e, layer, args[0], specs[0])
    if isinstance(layer, TimeFirst):
        return _time_first(e, layer, args[0], specs[0])
    return exported(EXPORTERS, f"{type(layer).__name__} has no form in ONNX", e, layer, args, specs, options)


def traced(e: Emitter, graph: Graph, names: dict[Symbol, str]) -> dict[Symbol, str]:
    """Add the nodes of a graph whose inputs have names; returns the names of all symbols."""
    for node in graph.nodes:
        args = mapped(node.args, names.__getitem__)
        found = called(e, node.layer, args, mapped(node.args, lambda symbol: symbol.spec), node.options)
        names.update(zip(flat(node.outputs), flat(found), strict=True))
    return names


def _model(e: Emitter, model: Model, args: Names, specs: Specs) -> Nest:
    outer, bound = e.lengths, model._bound(specs)
    e.lengths = {inner: outer[axis] for inner, axis in bound.items() if axis in outer}  # the inner model has its own letters
    names = traced(e, model.graph, dict(zip(model.graph.flat_inputs, flat(args), strict=True)))
    e.lengths = outer
    return mapped(model.graph.outputs, names.__getitem__)


def _chain(e: Emitter, model: Sequential, x: str, spec: Spec) -> str:
    layers = laid_out(model.layers)
    for layer, own in zip(layers, [spec, *model.specs(spec)][:-1], strict=True):
        x = first(called(e, layer, (x,), (own,), {}))
    return x


def _time_first(e: Emitter, adapter: TimeFirst, x: str, spec: Spec) -> str:
    """Add a layer over ``[T, B, ...]`` within a chain over ``[B, T, ...]``."""
    layer, own = adapter.layer, spec
    if layer.reads_time:
        x, own = e.swapped(x, len(spec.shape)), Spec((spec.shape[1], spec.shape[0], *spec.shape[2:]), spec.dtype)
    y = first(called(e, layer, (x,), (own,), {}))
    outcome = first(layer.infer(own))
    return e.swapped(y, len(outcome.shape)) if adapter._swaps_back(spec, outcome) else y
