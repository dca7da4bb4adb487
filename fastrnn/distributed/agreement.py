"""Agreement among ranks: equal settings, and errors that end all ranks with one message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .communicator import Communicator

COMMON = "common_to_all_ranks"


class RanksDiffer(ValueError):
    """Error for ranks that have other data, versions or settings than rank 0; names the rank."""


class TooManyRanks(ValueError):
    """Error for a batch of fewer sequences than there are ranks."""


class RankError(RuntimeError):
    """Error that happened on another rank, which it names."""


def common(error: BaseException) -> BaseException:
    """Mark an error that all ranks raise at the same place, so that only rank 0 prints it; return the error."""
    setattr(error, COMMON, True)
    return error


def is_common(error: BaseException) -> bool:
    """Return whether all ranks raise this error."""
    return bool(getattr(error, COMMON, False))


@contextmanager
def raised_by_all() -> Iterator[None]:
    """Mark the errors of the block, which all ranks raise because they compute the same."""
    try:
        yield
    except Exception as error:
        common(error)
        raise


def require_same(communicator: Communicator, values: Mapping[str, Any]) -> None:
    """Raise RanksDiffer on all ranks, naming rank and value, unless all ranks pass the same values by name."""
    if communicator.size == 1:
        return
    found = communicator.gather([communicator.host, dict(values)])
    for rank, (host, theirs) in enumerate(found):
        for name, value in found[0][1].items():
            if theirs.get(name) != value:
                what, other, first = _difference(name, theirs.get(name), value)
                raise common(RanksDiffer(f"rank {rank} on {host} has another {what}: {other}, rank 0 has {first}"))


def _difference(name: str, theirs: Any, first: Any) -> tuple[str, Any, Any]:
    """Return the name and the values of what differs: of dicts the first entry, because the whole of them fills a screen."""
    if isinstance(theirs, dict) and isinstance(first, dict):
        pairs = ((key, theirs.get(key, "none"), first.get(key, "none")) for key in {**first, **theirs})
        key, other, own = next(pair for pair in pairs if pair[1] != pair[2])
        return f"{name}, {key}", other, own
    return name, theirs, first


@contextmanager
def together(communicator: Communicator) -> Iterator[None]:
    """Raise an error on all ranks if the block fails on one; ranks without an error of their own raise RankError."""
    if communicator.size == 1:
        yield
        return
    mine: Exception | None = None
    try:
        yield
    except Exception as error:
        mine = error
    message = None if mine is None else f"{mine}"
    found = communicator.gather([communicator.host, message])
    failed = [rank for rank, (_, text) in enumerate(found) if text is not None]
    if not failed:
        return
    first = failed[0]
    host, text = found[first]
    if mine is not None and (communicator.rank == first or len(failed) == communicator.size):
        raise common(mine)
    raise common(RankError(f"rank {first} on {host}: {text}"))
