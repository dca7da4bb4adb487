"""The small texts that come with the package, so that training works without a download."""

from __future__ import annotations

from importlib import resources

from .._core import checks

# name -> description
DESCRIPTIONS = {"dinosaurs": "genus names of dinosaurs, one a line, in alphabetical order"}


def names() -> tuple[str, ...]:
    """Return the names that :func:`load` accepts."""
    return tuple(DESCRIPTIONS)


def load(name: str) -> str:
    """Load the text of an embedded corpus; every line ends in a newline. Raises ValueError for an unknown name."""
    checks.choice("name", name, names())
    return resources.files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
