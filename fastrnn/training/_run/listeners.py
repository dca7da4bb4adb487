"""The trainer's side of callbacks: it validates and notifies them, and saves their state in checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..._core.checks import describe

EVENTS = ("on_begin", "on_step", "on_metrics", "on_eval", "on_end")
# Joins a callback's name and its array's name in a checkpoint. No other name in a checkpoint contains it.
SEPARATOR = "/"


def checked(callbacks: object) -> tuple[object, ...]:
    """Return the callbacks as a tuple. Raises TypeError, naming the callback, for one without a method of an event."""
    if isinstance(callbacks, type) or _has_event(callbacks) or not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of callbacks, got {describe(callbacks)}")
    found = tuple(callbacks)
    for i, callback in enumerate(found):
        if isinstance(callback, type):
            raise TypeError(f"callbacks[{i}] must be a callback, {callback.__name__}(...), got the class itself")
        if not _has_event(callback):
            raise TypeError(f"callbacks[{i}] has none of {', '.join(EVENTS)}: {describe(callback)}")
    return found


def _has_event(callback: object) -> bool:
    return any(hasattr(callback, event) for event in EVENTS)


def notify(callbacks: Sequence[object], event: str, argument: Any) -> None:
    """Call the method named ``event`` of each callback that has it."""
    for callback in callbacks:
        method = getattr(callback, event, None)
        if method is not None:
            method(argument)


def wants_stop(callbacks: Sequence[object]) -> bool:
    """Return whether a callback has set its ``stop_training``."""
    return any(getattr(callback, "stop_training", False) for callback in callbacks)


def states(callbacks: Sequence[object]) -> dict[str, dict[str, Any]]:
    """Return the ``state_dict()`` of each callback that has one, by its class and its number within that class."""
    return {name: dict(callback.state_dict()) for name, callback in _with_state(callbacks)}


def restore(callbacks: Sequence[object], saved: Mapping[str, Mapping[str, Any]]) -> None:
    """Restore the state of each callback; one without a saved state stays as it is."""
    for name, callback in _with_state(callbacks):
        if name in saved:
            callback.load_state_dict(dict(saved[name]))


def pack(state: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split :func:`states` into values for JSON, and arrays by name."""
    rest = {name: {k: v for k, v in values.items() if k != "arrays"} for name, values in state.items()}
    named = ((name, values.get("arrays", {})) for name, values in state.items())
    return rest, {f"{name}{SEPARATOR}{key}": array for name, arrays in named for key, array in arrays.items()}


def unpack(rest: Mapping[str, Any], arrays: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the states that :func:`pack` split, and remove their arrays from ``arrays``, which may hold others."""
    state = {name: {**values, "arrays": {}} for name, values in rest.items()}
    for full_name in list(arrays):
        name, _, key = full_name.partition(SEPARATOR)
        if name in state:
            state[name]["arrays"][key] = arrays.pop(full_name)
    return state


def _with_state(callbacks: Sequence[object]) -> Iterator[tuple[str, Any]]:
    counts: dict[str, int] = {}
    for callback in callbacks:
        if hasattr(callback, "state_dict"):
            kind = type(callback).__name__
            counts[kind] = counts.get(kind, 0) + 1
            yield f"{kind}.{counts[kind]}", callback
