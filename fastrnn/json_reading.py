"""Strict JSON reader for all files, with one-line error messages."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import numpy as np

from ._core.checks import describe

DEEPEST = 200  # levels of brackets; each nested model takes three or four
CHUNK = 1 << 20
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


class JsonError(ValueError):
    """Error for a text that is not JSON or exceeds the reader's limits. Its one-line message does not name a file."""


def parse(content: str | bytes, *, nonfinite: bool = False) -> Any:
    """Return the value of a JSON text.

    Raises :class:`JsonError` for invalid JSON or UTF-8, a repeated key, an integer with thousands of digits, and more than
    ``DEEPEST`` levels. Unless ``nonfinite``, it also rejects NaN and infinity, which only Python's JSON allows.
    """
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    # Brackets in strings are not levels, but removing the strings is needed only if the first count is too high.
    if _depth(data) > DEEPEST and _depth(_STRING.sub(b"", data)) > DEEPEST:
        raise JsonError(f"it is nested more than {DEEPEST} deep")
    checks: dict[str, Any] = {} if nonfinite else {"parse_constant": _refuse, "parse_float": _finite}
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        return json.loads(text, object_pairs_hook=_distinct, **checks)
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError(f"it is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}") from error
    except json.JSONDecodeError as error:
        raise JsonError(f"it is not JSON: {error}") from error
    except RecursionError as error:  # the caller's own stack is deep
        raise JsonError("it is nested too deeply") from error
    except ValueError as error:  # Python's limit for the conversion of integers
        raise JsonError("it holds an integer of too many digits") from error


def _depth(data: bytes) -> int:
    """Return the largest number of open brackets, including those in strings."""
    depth = most = 0
    for start in range(0, len(data), CHUNK):
        levels = depth + np.cumsum(_STEPS[np.frombuffer(data[start : start + CHUNK], np.uint8)], dtype=np.int64)
        depth, most = int(levels[-1]), max(most, int(levels.max()))
    return most


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"the key {describe(twice)} comes twice in one object")
    return found


def _refuse(constant: str) -> NoReturn:
    raise JsonError(f"it holds {constant}, where numbers must be finite")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(describe(text))
