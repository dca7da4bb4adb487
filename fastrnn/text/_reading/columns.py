"""Text in tab-separated columns, such as a sentence and its label on each line."""

from __future__ import annotations

from collections import Counter

from ...console import quantity
from .decoding import TextError

TAB = "\t"
LOOKED_AT = 1 << 20  # characters at the beginning of a text that are examined
MOST = 0.9  # least share of lines with the commonest number of columns, none of them empty
FEW = 20  # largest number of distinct values of a column of labels


def column_of(text: str, column: int, what: str) -> str:
    """Return one column of each line, counted from 1; blank lines stay. Raises TextError for a line without it."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        columns = line.split(TAB)
        if line.strip() and len(columns) < column:
            got = f"{quantity(len(columns), 'column')} (separated by tabs)"
            raise TextError(f"{what}: line {number} must have --column {column}, got {got}")
        found.append(columns[column - 1] if line.strip() else "")
    return "\n".join(found)


def describe_columns(text: str) -> str | None:
    """Return a description of a text's columns and the option that selects one; None without columns."""
    rows = [line.split(TAB) for line in filter(str.strip, text[:LOOKED_AT].split("\n"))]
    number, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
    regular = [row for row in rows if len(row) == number and all(map(str.strip, row))]
    if number < 2 or len(regular) < 2 or min(count, len(regular)) < MOST * len(rows):
        return None
    columns = list(zip(*regular, strict=True))
    longest = max(range(number), key=lambda i: sum(map(len, columns[i])))
    kinds = ["text" if i == longest else _kind(column) for i, column in enumerate(columns)]
    return f"{number}, with tabs between them: {', '.join(kinds)}; --column {longest + 1} takes the text alone"


def _kind(column: tuple[str, ...]) -> str:
    values = Counter(value.strip() for value in column)
    numbers = sum(count for value, count in values.items() if is_number(value))
    name = "a number" if numbers >= MOST * len(column) else "a label" if len(values) <= FEW else "text"
    few = len(values) <= FEW and 2 * len(values) <= len(column)
    shown = [value if len(value) <= FEW else value[: FEW - 3] + "..." for value in sorted(values)[:3]]
    more = ", ..." if len(values) > len(shown) else ""
    return f"{name} ({', '.join(shown)}{more})" if few and name != "text" else name


def is_number(value: str | bytes) -> bool:
    """Return whether a field is a number."""
    try:
        float(value)
    except ValueError:
        return False
    return True
