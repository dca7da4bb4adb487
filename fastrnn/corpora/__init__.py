"""The small texts that come with the package, so that training works without a download."""

from __future__ import annotations

from importlib import resources

from .._core import checks

# name -> what it is
DESCRIPTIONS = {"dinosaurs": "genus names of dinosaurs, one a line, in alphabetical order"}


def names() -> tuple[str, ...]:
    """The names that :func:`load` knows."""
    return tuple(DESCRIPTIONS)


def load(name: str) -> str:
    """The text of an embedded corpus, lines ending in a newline. Raises ValueError for an unknown name."""
    checks.choice("name", name, names())
    return resources.files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
