"""A model file as plain Python: nodes in order, constants as arrays, and the declared inputs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._core.arrays import Array
from .._core.checks import describe, printable
from ._errors import INVALID, blaming, reason_of
from ._schema import check_node

Axis = int | str | None  # a size, its name, or None if the file leaves it open

OLDEST_OPSET = 7


class Declared(NamedTuple):
    """Declaration of an input: its dtype and its axes; ``axes`` is None if the file has no shape."""

    dtype: np.dtype[Any]
    axes: tuple[Axis, ...] | None


@dataclass(slots=True, eq=False)
class Node:
    """One node; ``""`` is a missing input or output. An attribute that is a graph is a :class:`Graph`."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    opset: int

    def subgraphs(self) -> list[Graph]:
        """Return the graphs among the attributes, such as the branches of an If."""
        return [value for value in self.attributes.values() if isinstance(value, Graph)]

    @property
    def place(self) -> str:
        """The node's operator and name, for messages."""
        return f"{printable(self.op)} node {self.name!r}"

    def reads(self) -> Iterator[str]:
        """Yield the names of all values that the node reads, also those that its graphs read from outside."""
        yield from filter(None, self.inputs)
        for graph in self.subgraphs():
            yield from graph.reads()


@dataclass(slots=True)
class Graph:
    """Nodes in an order in which they can run, with the names of the outputs."""

    name: str
    nodes: list[Node]
    constants: dict[str, Array]
    inputs: dict[str, Declared]
    outputs: list[str]

    def reads(self) -> Iterator[str]:
        """Yield the names of the values that the graph reads from outside; it may make values of the same names."""
        own = {*self.constants, *self.inputs}
        for node in self.nodes:
            yield from (name for name in node.reads() if name not in own)
            own.update(node.outputs)
        yield from (name for name in self.outputs if name not in own)

    def all_nodes(self) -> Iterator[Node]:
        """Yield all nodes, also inside the graphs of nodes."""
        for node in self.nodes:
            yield node
            for graph in node.subgraphs():
                yield from graph.all_nodes()

    def all_arrays(self) -> Iterator[Array]:
        """Yield all arrays of the file: constants and attributes of nodes, also inside the graphs of nodes."""
        yield from self.constants.values()
        for node in self.nodes:
            yield from (value for value in node.attributes.values() if isinstance(value, np.ndarray))
            for graph in node.subgraphs():
                yield from graph.all_arrays()


def read_graph(source: str | os.PathLike[str] | bytes) -> Graph:
    """Read a model from a path or from the bytes of a file.

    Raises TypeError for another source, OSError for a path that cannot be read, ValueError for bytes that are not a valid
    model.
    """
    if isinstance(source, bytes):
        place, folder, content = "the bytes", None, source
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        place, folder, content = printable(str(path)), path.parent, path.read_bytes()
    else:
        raise TypeError(f"source must be a path or bytes, got {describe(source)}")
    return _from_proto(_parsed(content, place, folder), place)


def _parsed(content: bytes, place: str, folder: Path | None) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise ValueError(f"{place} must hold an ONNX model, but its bytes cannot be decoded") from None
    if not model.HasField("graph") or not model.opset_import:
        raise ValueError(f"{place} must hold an ONNX model, but there is no graph in it")
    try:
        if folder is not None:
            onnx.load_external_data_for_model(model, str(folder))
        if model.functions:
            import onnx.inliner

            model = onnx.inliner.inline_local_functions(model)
    except (onnx.checker.ValidationError, RuntimeError, *INVALID) as error:
        raise ValueError(f"{place} must hold an ONNX model: {reason_of(error)}") from None
    return model


def _from_proto(model: Any, place: str) -> Graph:
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        raise ValueError(f"{place} must use opset {OLDEST_OPSET} or later, got {opset}")
    graph = _graph(model.graph, opset)
    _require_order(graph, set(), place)
    return graph


def _graph(proto: Any, opset: int) -> Graph:
    constants = dict(zip(_names("constant", proto.initializer), map(_array, proto.initializer), strict=True))
    declared = zip(_names("input", proto.input), map(_declared, proto.input), strict=True)
    inputs = {name: each for name, each in declared if name not in constants}
    nodes = [_node(each, opset) for each in proto.node]
    return Graph(_text(proto.name), nodes, constants, inputs, [_text(each.name) for each in proto.output])


def _names(kind: str, values: Sequence[Any]) -> list[str]:
    """Return the names of inputs or constants. Raises ValueError for one that is empty or that two of them have."""
    names = [_text(each.name) for each in values]
    if "" in names:
        raise ValueError(f"each {kind} of a graph must have a name, got ''")
    again = [name for name, count in Counter(names).items() if count > 1]
    if again:
        raise ValueError(f"each {kind} of a graph must be declared once, got {again[0]!r} again")
    return names


def _text(name: str | bytes) -> str:
    """Return a name of the file. Raises ValueError for invalid UTF-8, which protobuf gives as bytes."""
    if isinstance(name, bytes):
        raise ValueError(f"the names in a model must be UTF-8, got {describe(name)}")
    return name


def _declared(value: Any) -> Declared:
    from onnx import helper

    tensor = value.type.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except KeyError:
        raise ValueError(f"input {value.name!r} must be a tensor, got {value.type.WhichOneof('value')}") from None
    if not tensor.HasField("shape"):
        return Declared(dtype, None)
    return Declared(dtype, tuple(map(_axis, tensor.shape.dim)))


def _axis(proto: Any) -> Axis:
    """Return the size of an axis or its name. A negative size counts as open, as in ONNX Runtime; 0 is a size."""
    if proto.HasField("dim_value"):
        return int(proto.dim_value) if proto.dim_value >= 0 else None
    return _text(proto.dim_param) or None


def _node(proto: Any, opset: int) -> Node:
    domain, op = _text(proto.domain), _text(proto.op_type)
    inputs, outputs = list(map(_text, proto.input)), list(map(_text, proto.output))
    name = _text(proto.name) or next(iter(outputs), "")
    node = Node(op if domain in ("", "ai.onnx") else f"{domain}.{op}", name, inputs, outputs, {}, opset)
    with blaming(node.place):
        node.attributes = {_text(each.name): _attribute(each, opset) for each in proto.attribute}
        check_node(node.op, opset, proto.attribute, inputs)
    return node


def _array(proto: Any) -> Array:
    """Return a tensor's values. Raises ValueError if they are in another file, which ``_parsed`` has read if it may."""
    from onnx import numpy_helper
    from onnx.external_data_helper import uses_external_data

    if uses_external_data(proto):
        raise ValueError(f"tensor {proto.name!r} is in another file, so the model must be loaded from a path")
    with blaming(f"tensor {proto.name!r}"):
        return np.asarray(numpy_helper.to_array(proto))


def _attribute(proto: Any, opset: int) -> Any:
    from onnx import AttributeProto, helper

    if proto.type == AttributeProto.GRAPH:
        return _graph(proto.g, opset)
    if proto.type == AttributeProto.TENSOR:
        return _array(proto.t)
    value = helper.get_attribute_value(proto)
    if value is None:
        raise ValueError(f"attribute {proto.name!r} has no value")
    if isinstance(value, bytes):
        return value.decode()
    if proto.type == AttributeProto.STRINGS:
        return [each.decode() for each in value]
    return value


def _require_order(graph: Graph, outer: set[str], place: str) -> None:
    """Raise ValueError unless each node gives new values and reads only values that exist before it.

    Rewriting relies on both: where two nodes give one name, each of them could have to run before the other. A graph inside
    a node must not give a value anew that it could read.
    """
    own = set(graph.constants) | set(graph.inputs)
    known = outer | own
    if again := outer.intersection(graph.constants):
        raise ValueError(
            f"{place}: graph {graph.name!r} must not give {min(again)!r}, which the graph around it has already"
        )
    for node in graph.nodes:
        if not any(node.outputs):
            raise ValueError(f"{place}: {node.place} must have an output")
        unknown = [name for name in node.inputs if name and name not in known]
        if unknown:
            raise ValueError(f"{place}: {node.place} reads {unknown[0]!r}, which nothing before it gives")
        for inner in node.subgraphs():
            _require_order(inner, known, place)
        for name in filter(None, node.outputs):
            if name in own or name in outer:
                raise ValueError(f"{place}: {node.place} must not give {name!r}, which the graph has already")
            own.add(name)
        known.update(own)
    missing = [name for name in graph.outputs if name not in known]
    if missing:
        raise ValueError(f"{place}: nothing gives the output {missing[0]!r}")
