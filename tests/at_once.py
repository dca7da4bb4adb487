"""Calls at the same time, each in its own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any


def at_once(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run functions at once, each in its own thread; return their results, or raise the first error."""
    results, errors = [None] * len(functions), []
    start = threading.Barrier(len(functions))

    def run(i: int) -> None:
        try:
            start.wait()
            results[i] = functions[i]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=100)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
    return results
