"""Pairwise coverage: the instances of a full product of options that show every pair of values at least once.

A fault nearly always shows with one value or one pair of values (Kuhn, Wallace & Gallo 2004), so the quick tests run a
pairwise part of each product and the slow tests run the rest. An ISA counts as a pair only with a dtype, because each ISA
and dtype compiles the same source: the tests of a cell or an option need not run again for each ISA.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from operator import itemgetter
from typing import Any

Row = Mapping[str, Hashable]
ENGINES = {"engine", "training_engine"}  # fixtures of conftest.py whose parameters are a backend and an ISA


def pairwise(rows: Sequence[Row]) -> set[int]:
    """Choose rows greedily until they show every pair of values that any row shows; return their indices.

    A row maps the name of each option to a value. The next row is always the first of those with the most new pairs.
    """
    pairs = [_pairs(row) for row in rows]
    missing = set().union(*pairs)
    chosen: set[int] = set()
    while missing:
        best = max(range(len(rows)), key=lambda i: len(pairs[i] & missing))
        chosen.add(best)
        missing -= pairs[best]
    return chosen


def _pairs(row: Row) -> set[tuple[Any, ...]]:
    """Return the values and the pairs of values that a row shows, without the pairs of an ISA and another option."""
    options = sorted(row.items(), key=itemgetter(0))
    alone = {(option,) for option in options}
    return alone | {(a, b) for a, b in combinations(options, 2) if "isa" not in (a[0], b[0]) or "dtype" in (a[0], b[0])}


def rows(params: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return each instance's parameters as a row.

    Dicts that always have the same keys count as several options, and an engine counts as a backend and an ISA.
    """
    split = {name for name in params[0] if len({_keys(one[name]) for one in params}) == 1 and _keys(params[0][name])}
    return [_row(one, split) for one in params]


def _keys(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, dict) else ()


def _row(params: Mapping[str, Any], split: set[str]) -> Row:
    row: dict[str, Hashable] = {name: id(value) for name, value in params.items() if name not in split | ENGINES}
    for name in ENGINES & params.keys():
        row["backend"], row["isa"] = params[name]
    for name in split:
        row.update({f"{name}.{key}": repr(part) for key, part in params[name].items()})
    return row
