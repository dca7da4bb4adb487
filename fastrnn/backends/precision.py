"""The wanted precision of products, and the one that runs."""

from __future__ import annotations

from typing import NamedTuple

from .._core.precision import get_float32_matmul_precision
from .structs import StackSpec


class Choice(NamedTuple):
    """The precision that runs for a stack, and why it is not the wanted one (empty if it is)."""

    precision: str
    reason: str


def wanted_by(spec: StackSpec) -> str:
    """Return the precision that is wanted for a stack: its own, else the setting."""
    return spec.precision or get_float32_matmul_precision()


def highest_only(spec: StackSpec, backend: str) -> Choice:
    """Return the choice of a backend that has no other precision."""
    wanted = wanted_by(spec)
    return Choice("highest", "" if wanted == "highest" else f"{wanted} needs backend c, and {backend} is in use")
