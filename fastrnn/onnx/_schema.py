"""ONNX's own description of each operator: the attributes, inputs and dtypes that a node may have."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .._core.arrays import Array
from .._core.checks import describe

NEWEST = 10**6  # ONNX takes a later opset for its last one, and refuses integers that do not fit in C


class Formal(NamedTuple):
    """A declared input. All inputs of one ``letter`` have one dtype, which is among ``dtypes``; ``""`` is any dtype."""

    name: str
    required: bool
    letter: str
    dtypes: frozenset[np.dtype[Any]]


class Schema(NamedTuple):
    """An operator. Attributes have a type and are required or not. There are up to ``most`` inputs; the last may repeat."""

    attributes: dict[str, tuple[int, bool]]
    inputs: tuple[Formal, ...]
    most: int


@cache
def schema_of(op: str, opset: int) -> Schema | None:
    """Return the description of an operator in an opset, or None if ONNX has none."""
    from onnx import defs

    try:
        found = defs.get_schema(op, min(opset, NEWEST))
    except defs.SchemaError:
        return None
    allowed = {each.type_param_str: _dtypes(each.allowed_type_strs) for each in found.type_constraints}
    single = defs.OpSchema.FormalParameterOption.Single
    inputs = tuple(
        Formal(
            each.name, each.option == single, each.type_str if each.is_homogeneous else "",
            allowed.get(each.type_str) or _dtypes([each.type_str]),
        )
        for each in found.inputs
    )  # fmt: skip
    kinds: dict[str, Any] = dict(found.attributes.items())
    attributes = {name: (int(each.type.value), each.required) for name, each in kinds.items()}
    return Schema(attributes, inputs, found.max_input)


def _dtypes(names: Sequence[str]) -> frozenset[np.dtype[Any]]:
    """Return the dtypes of ONNX's names for tensors, such as ``tensor(float)``; sequences and optional values have none."""
    from onnx import TensorProto, helper

    inside = [name[len("tensor(") : -1] for name in names if name.startswith("tensor(")]
    return frozenset(helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(name.upper())) for name in inside)


def check_node(op: str, opset: int, attributes: Sequence[Any], inputs: Sequence[str]) -> None:
    """Raise ValueError unless a node has attributes (in ONNX's form) and a number of inputs that the operator may have."""
    schema = schema_of(op, opset)
    if schema is None:
        return
    from onnx import AttributeProto

    kind_of = AttributeProto.AttributeType.Name
    given: set[str] = set()
    for each in attributes:
        if each.name in given:
            raise ValueError(f"attribute {each.name!r} must be given once, got it again")
        given.add(each.name)
        if each.name not in schema.attributes:
            raise ValueError(f"attributes must be among {', '.join(schema.attributes) or 'none'}, got {each.name!r}")
        kind, _ = schema.attributes[each.name]
        if each.type != kind:
            raise ValueError(f"attribute {each.name!r} must be of type {kind_of(kind)}, got {kind_of(each.type)}")
    missing = [name for name, (_, required) in schema.attributes.items() if required and name not in given]
    if missing:
        raise ValueError(f"attribute {missing[0]!r} must be given")
    if len(inputs) > schema.most:
        raise ValueError(f"there must be at most {schema.most} inputs, got {len(inputs)}")
    for i, formal in enumerate(schema.inputs):
        if formal.required and (i >= len(inputs) or not inputs[i]):
            raise ValueError(f"input {i}, {formal.name}, must be given")


def check_dtypes(op: str, opset: int, inputs: Sequence[Array | None]) -> None:
    """Raise ValueError unless the inputs have dtypes that the operator takes, and one dtype where ONNX asks for one.

    The kernels read memory by the dtype of the first input.
    """
    schema = schema_of(op, opset)
    if schema is None or not schema.inputs:
        return
    first: dict[str, tuple[str, np.dtype[Any]]] = {}
    for i, x in enumerate(inputs):
        name, _, letter, dtypes = schema.inputs[min(i, len(schema.inputs) - 1)]
        if x is None or not letter or not dtypes:
            continue
        if x.dtype not in dtypes:
            raise ValueError(f"{name} must be of dtype {', '.join(sorted(map(str, dtypes)))}, got {describe(x)}")
        leader, dtype = first.setdefault(letter, (name, x.dtype))
        if x.dtype != dtype:
            raise ValueError(f"{name} must be of dtype {dtype}, as {leader} is, got {describe(x)}")
