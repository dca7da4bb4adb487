"""Mutations that keep a file's form: another value somewhere in its JSON, with the lengths around it put right."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from targets import RUN_FILES

NUMBERS = (0, 1, -1, 2, 3, 255, 2**31, 2**63, 10**9, 1e308, -0.5)
VALUES = (*NUMBERS, "", "x", "é" * 50, "int64", [], {}, [[]], None, True, False)


def mutated(name: str, data: bytes, seed: int) -> bytes | None:
    """Return a mutation of a target's input, or None if it has no JSON to change."""
    rng = random.Random(seed)
    if name in ("model", "vocabulary"):
        return _json(data, rng)
    if name == "safetensors":
        return _safetensors(data, rng)
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
