"""The lines of a file of results: which fields each kind of line has, and which values they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from .._core.checks import describe
from .cases import CASE_QUESTIONS, CELLS, DENORMAL, HIGH, LENGTHS, MEDIUM
from .peers import NAMES

Field = tuple[str, Callable[[Any], bool]]  # the words for what is expected, and the check


def _one_of(*choices: str) -> Field:
    return f"one of {', '.join(map(repr, choices))}", lambda value: isinstance(value, str) and value in choices


TEXT: Field = "text", lambda value: isinstance(value, str)
COUNT: Field = "an integer of at least 1", lambda value: type(value) is int and value >= 1
POSITIVE: Field = "a number above 0", lambda value: type(value) in (int, float) and 0 < value < inf
NUMBER: Field = "a number of at least 0", lambda value: type(value) in (int, float) and 0 <= value < inf

CASE = {"question": _one_of(*CASE_QUESTIONS), "cell": _one_of(*CELLS), **dict.fromkeys(("H", "B", "threads", "T"), COUNT)}
CASE["variant"] = _one_of("", LENGTHS, DENORMAL, HIGH, MEDIUM)
SIDE = {"median": POSITIVE, "spread": NUMBER, "best": POSITIVE, "first": POSITIVE, "faults": NUMBER, "samples": COUNT}
PEER = _one_of(*NAMES)
AGAIN: Field = "true", lambda value: value is True
RECORD = {"case": CASE, "peer": PEER, "version": TEXT, "ratio": POSITIVE, "ours": SIDE, "theirs": SIDE, "again": AGAIN}
CACHES = dict.fromkeys(("L1", "L2", "L3", "L4"), COUNT)
READ = dict.fromkeys(("L1", "L2", "L3", "DRAM"), POSITIVE)
MACHINE = dict.fromkeys(("processor", "system", "python", "numpy", "fastrnn", "isa", "compiler"), TEXT)
LINES: dict[str, Mapping[str, Any]] = {
    "machine": {"machine": MACHINE | {"processors": COUNT, "caches": CACHES}},
    "ceilings": {"ceilings": {"threads": COUNT, "fma": POSITIVE, "read": READ, "caches": CACHES}},
    "record": {"peer": PEER, "case": CASE, "record": RECORD},
    "absent": {"peer": PEER, "absent": TEXT},
    "refused": {"peer": PEER, "case": CASE, "refused": TEXT},
    "unsupported": {"peer": PEER, "case": CASE, "unsupported": TEXT},
}
# Fields that may be missing: "again" marks a second measurement, and the others depend on the machine.
OPTIONAL = ("again", "L4", "isa", "compiler")


def check(line: Any) -> None:
    """Raise ValueError, which names the field, unless a value is a line of a file of results."""
    kind = next((kind for kind in LINES if isinstance(line, dict) and kind in line), None)
    if kind is None:
        raise ValueError(f"it must be an object with one of the fields {', '.join(LINES)}, got {describe(line)}")
    _check("", line, LINES[kind])


def _check(name: str, value: Any, expected: Field | Mapping[str, Any]) -> None:
    """Raise ValueError unless ``value`` has the type and the fields that ``expected`` describes.

    ``name`` is that of the field, or "" for the whole line.
    """
    if isinstance(expected, tuple):
        words, is_valid = expected
        if not is_valid(value):
            raise ValueError(f"{name} must be {words}, got {describe(value)}")
        return
    wanted = f"{name or 'it'} must be an object with the fields {', '.join(expected)}, got"
    if not isinstance(value, dict):
        raise ValueError(f"{wanted} {describe(value)}")
    if extra := value.keys() - expected.keys():
        raise ValueError(f"{wanted} also {', '.join(sorted(map(describe, extra)))}")
    for field, inner in expected.items():
        if field in value:
            _check(f"{name}.{field}".lstrip("."), value[field], inner)
        elif field not in OPTIONAL:
            raise ValueError(f"{wanted} none named {field}")
