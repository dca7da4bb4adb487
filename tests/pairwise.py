"""Pairwise coverage: the instances of a full product of options that show every pair of values at least once.

A fault nearly always shows with one value or one pair of values (Kuhn, Wallace & Gallo 2004), so the quick tests run a
pairwise part of each product and the slow tests run the rest.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from operator import itemgetter
from typing import Any

Row = Mapping[str, Hashable]


def pairwise(rows: Sequence[Row]) -> set[int]:
    """Choose rows greedily until they show every pair of values that any row shows; return their indices.

    A row maps the name of each option to a value. The next row is always the first of those with the most new pairs.
    """
    pairs = [set(combinations(sorted(row.items(), key=itemgetter(0)), 2)) for row in rows]
    missing = set().union(*pairs)
    chosen: set[int] = set()
    while missing:
        best = max(range(len(rows)), key=lambda i: len(pairs[i] & missing))
        chosen.add(best)
        missing -= pairs[best]
    return chosen


def rows(params: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return each instance's parameters as a row. Dicts that always have the same keys count as several options."""
    split = {name for name in params[0] if len({_keys(one[name]) for one in params}) == 1 and _keys(params[0][name])}
    return [_row(one, split) for one in params]


def _keys(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, dict) else ()


def _row(params: Mapping[str, Any], split: set[str]) -> Row:
    row: dict[str, Hashable] = {name: id(value) for name, value in params.items() if name not in split}
    for name in split:
        row.update({f"{name}.{key}": repr(part) for key, part in params[name].items()})
    return row
