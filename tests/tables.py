"""One test over a whole table, which reports every row that fails."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def each_row(names: str | tuple[str, ...], table: Iterable[Any], ids: Callable[[Any], str] = repr) -> Callable:
    """Run a test once for every row of a table, as one test: the quick form of ``pytest.mark.parametrize``.

    All rows run even if some fail, and the error names the rows that failed. All rows share the test's fixtures. If a
    fixture keeps a state that a row changes, parametrize the test instead.
    """
    names = (names,) if isinstance(names, str) else names
    rows = [_row(row, len(names)) for row in table]
    assert rows

    def decorate(test: Callable) -> Callable:
        @functools.wraps(test)
        def over_all_rows(*self: Any, **fixtures: Any) -> None:
            failures = []
            for number, row in enumerate(rows):
                arguments = dict(zip(names, row.values, strict=True))
                try:
                    test(*self, **fixtures, **arguments)
                except (Exception, pytest.fail.Exception) as error:
                    shown = row.id or ", ".join(f"{name}={ids(value)[:200]}" for name, value in arguments.items())
                    error.add_note(f"in row {number}: {shown}")
                    failures.append((f"row {number} ({shown})", error))
            if failures:
                listed = "".join(f"\n  {row}: {_first_line(error)}" for row, error in failures)
                raise BaseExceptionGroup(f"{len(failures)} of {len(rows)} rows fail:{listed}", [e for _, e in failures])

        given = inspect.signature(test)
        left = [parameter for name, parameter in given.parameters.items() if name not in names]
        over_all_rows.__signature__ = given.replace(parameters=left)  # pytest reads the fixtures from it
        return over_all_rows

    return decorate


def _row(row: Any, columns: int) -> Any:
    """Return a row as a ``pytest.param``, which may have a name. Marks are refused: they need a parametrized test."""
    row = row if isinstance(row, type(pytest.param())) else pytest.param(*(row if columns > 1 else (row,)))
    assert not row.marks
    return row


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
