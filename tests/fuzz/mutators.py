"""Mutations that keep a file's form: another value in its JSON or its ONNX graph, with the lengths around it put right."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from targets import RUN_FILES

from fastrnn.onnx._operators import TABLE

NUMBERS = (0, 1, -1, 2, 3, 255, 2**31, 2**63, 10**9, 1e308, -0.5)
INTEGERS = (0, 1, -1, 2, 3, 255, 2**20, 2**31, 2**63 - 1, -(2**63))
TEXTS = ("", "x", "é", "seq", "relu", "Tanh", "axis", "axes", "value", "hidden_size", "direction", "bidirectional", *TABLE)
_INTEGERS = (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_ENUM)
VALUES = (*NUMBERS, "", "x", "é" * 50, "int64", [], {}, [[]], None, True, False)


def mutated(name: str, data: bytes, seed: int) -> bytes | None:
    """Return a mutation of a target's input, or None if it has nothing that can be changed so."""
    rng = random.Random(seed)
    if name in ("model", "vocabulary"):
        return _json(data, rng)
    if name == "safetensors":
        return _safetensors(data, rng)
    if name == "onnx":
        return _onnx(data, rng)
    if name == "run" and data:
        _, file = RUN_FILES[data[0] % len(RUN_FILES)]
        body = (_json if file.endswith(".json") else _safetensors)(data[1:], rng)
        return None if body is None else data[:1] + body
    return None


def _safetensors(data: bytes, rng: random.Random) -> bytes | None:
    end = 8 + int.from_bytes(data[:8], "little")
    header = _json(data[8:end], rng)
    return None if header is None else len(header).to_bytes(8, "little") + header + data[end:]


def _json(data: bytes, rng: random.Random) -> bytes | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = _changed(value, rng)
    return json.dumps(value).encode()


def _changed(value: Any, rng: random.Random) -> Any:
    """Return the value with one node of it replaced, removed, doubled, or taken from elsewhere in it."""
    places = list(_places(value))
    if not places:
        return copy.deepcopy(rng.choice(VALUES))
    holder, key = rng.choice(places)
    action = rng.randrange(5)
    if action == 0:
        del holder[key]
    elif action == 1:
        other, at = rng.choice(places)
        holder[key] = copy.deepcopy(other[at])
    elif action == 2 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif action == 3 and isinstance(holder[key], str) and holder[key][:1] in ("{", "["):  # JSON in a string of JSON
        inner = _json(holder[key].encode(), rng)
        holder[key] = holder[key] if inner is None else inner.decode()
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    return value


def _places(value: Any) -> Any:
    """Yield each container and key below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def _onnx(data: bytes, rng: random.Random) -> bytes | None:
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            fields = [field for message in _messages(model) for field in _fields(message)]
            if fields:
                _change_field(*rng.choice(fields), fields, rng)
    # Messages nested too deeply to be copied, and names in invalid UTF-8, which protobuf reads but does not write.
    except (DecodeError, ValueError):
        return None
    return bytes(model.SerializeToString())


def _messages(message: Any) -> Iterator[Any]:
    """Yield a message of protobuf and all messages below it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type:
            for inner in value if field.is_repeated else (value,):
                yield from _messages(inner)


def _fields(message: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the message with each field that it has a value of, and with each number that it may have."""
    given = {field.name for field, _ in message.ListFields()}
    for field in message.DESCRIPTOR.fields:
        if field.name in given or field.type in _INTEGERS:
            yield message, field


def _change_field(message: Any, field: Any, others: list[tuple[Any, Any]], rng: random.Random) -> None:
    """Replace a field's value, remove it, double it, or take it from elsewhere in the file."""
    action, name = rng.randrange(5), field.name
    same = [getattr(other, each.name) for other, each in others if _kind(each) == _kind(field)]
    donor = rng.choice(same) if same else getattr(message, name)
    if action == 0:
        message.ClearField(name)
    elif field.is_repeated:
        values = list(getattr(message, name))
        at = rng.randrange(len(values) + 1)
        new = [_value(field, rng)] if action == 1 and not field.message_type else list(donor)[:3]
        values[at : at + rng.randrange(2)] = copy.deepcopy(new)
        message.ClearField(name)
        getattr(message, name).extend(values)
    elif field.message_type:
        getattr(message, name).CopyFrom(copy.deepcopy(donor))
    else:
        setattr(message, name, donor if action < 3 else _value(field, rng))


def _kind(field: Any) -> tuple[Any, ...]:
    kind = field.message_type or field.enum_type
    return field.type, field.is_repeated, kind and kind.full_name


def _value(field: Any, rng: random.Random) -> Any:
    """Return another value for a field that is no message."""
    if field.enum_type:
        return rng.choice(field.enum_type.values).number
    if field.type == field.TYPE_BYTES:
        return rng.randbytes(rng.choice((0, 1, 4, 8, 16)))
    if field.type == field.TYPE_STRING:
        return rng.choice(TEXTS)
    if field.type in _INTEGERS:
        return rng.choice((0, 1, -1, 2, 3, 7, 16, 255)) if field.type == field.TYPE_INT32 else rng.choice(INTEGERS)
    return rng.choice((0.0, -0.5, 1.0, 1e30, float("nan")))
