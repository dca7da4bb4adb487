"""An ordered map by several processes, for reading many files."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

FEWEST = 32  # fewer items are not worth the second that processes take to start
MOST_PROCESSES = 8  # each takes some 60 MB
_CHUNK = 4  # items sent to a process at a time


def map_in_order(function: Callable[[Given], Made], items: Sequence[Given], processes: int | None = None) -> Generator[Made]:
    """Yield ``function(item)`` for each of ``items`` in order, computed by several processes if there are many.

    Parameters
    ----------
    function, items
        The function, its arguments and its results must be picklable. Errors of the function are raised here.
    processes
        None: one for each available CPU, 8 at most. With 1, or with few items, all is computed in this process.

    Notes
    -----
    The processes are fresh interpreters. Nothing is forked, so threads of this process do no harm, but a script that calls
    this needs ``if __name__ == "__main__"``. If a process is killed, the rest is computed in this one.
    """
    processes = min(_cpus(), MOST_PROCESSES) if processes is None else processes
    done = 0
    if processes > 1 and len(items) >= FEWEST:
        try:
            with closing(_map_by_processes(function, items, min(processes, len(items) // _CHUNK))) as results:
                for made in results:
                    yield made
                    done += 1
        except BrokenProcessPool:
            pass
    yield from map(function, items[done:])


def _map_by_processes(function: Callable[[Given], Made], items: Iterable[Given], processes: int) -> Generator[Made]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_end_with_parent)
    try:
        with _interrupts_blocked():  # the processes inherit this, so only their parent handles Ctrl-C
            results = pool.map(function, items, chunksize=_CHUNK)
        yield from results
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and in processes that it starts, until the context ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended for any reason, because a pool's process would wait forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
