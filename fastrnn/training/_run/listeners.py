"""The trainer's side of callbacks: telling them, asking them, and keeping their state in checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..._core.checks import describe

EVENTS = ("on_begin", "on_step", "on_metrics", "on_eval", "on_end")
SEPARATOR = "/"  # between a callback's name and its array's in a checkpoint; no parameter or array of a task has it


def checked(callbacks: object) -> tuple[object, ...]:
    """The callbacks of a list. Raises TypeError, saying which, for one that hears of no event."""
    if isinstance(callbacks, type) or _hears(callbacks) or not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of callbacks, got {describe(callbacks)}")
    found = tuple(callbacks)
    for i, callback in enumerate(found):
        if isinstance(callback, type):
            raise TypeError(f"callbacks[{i}] must be a callback, {callback.__name__}(...), got the class itself")
        if not _hears(callback):
            raise TypeError(f"callbacks[{i}] has none of {', '.join(EVENTS)}: {describe(callback)}")
    return found


def _hears(callback: object) -> bool:
    return any(hasattr(callback, event) for event in EVENTS)


def tell(callbacks: Sequence[object], event: str, argument: Any) -> None:
    """Call the method of this name of each callback that has it."""
    for callback in callbacks:
        method = getattr(callback, event, None)
        if method is not None:
            method(argument)


def wants_stop(callbacks: Sequence[object]) -> bool:
    """Whether one has set its ``stop_training``."""
    return any(getattr(callback, "stop_training", False) for callback in callbacks)


def states(callbacks: Sequence[object]) -> dict[str, dict[str, Any]]:
    """The ``state_dict()`` of each callback that has one, by its class and its place among those of that class."""
    return {name: dict(callback.state_dict()) for name, callback in _with_state(callbacks)}


def restore(callbacks: Sequence[object], saved: Mapping[str, Mapping[str, Any]]) -> None:
    """Give each callback its state back; one that has none there stays as it is."""
    for name, callback in _with_state(callbacks):
        if name in saved:
            callback.load_state_dict(dict(saved[name]))


def pack(state: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """:func:`states` as what JSON holds, and arrays by name."""
    rest = {name: {k: v for k, v in values.items() if k != "arrays"} for name, values in state.items()}
    named = ((name, values.get("arrays", {})) for name, values in state.items())
    return rest, {f"{name}{SEPARATOR}{key}": array for name, arrays in named for key, array in arrays.items()}


def unpack(rest: Mapping[str, Any], arrays: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was packed; takes its arrays out of ``arrays``, which may hold others."""
    state = {name: {**values, "arrays": {}} for name, values in rest.items()}
    for full_name in list(arrays):
        name, _, key = full_name.partition(SEPARATOR)
        if name in state:
            state[name]["arrays"][key] = arrays.pop(full_name)
    return state


def _with_state(callbacks: Sequence[object]) -> Iterator[tuple[str, Any]]:
    seen: dict[str, int] = {}
    for callback in callbacks:
        if hasattr(callback, "state_dict"):
            kind = type(callback).__name__
            seen[kind] = seen.get(kind, 0) + 1
            yield f"{kind}.{seen[kind]}", callback
