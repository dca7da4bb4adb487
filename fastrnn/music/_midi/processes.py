"""Reading files by several processes, in the order in which they are given."""

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

FEWEST = 32  # items that are worth the second that processes take to start
MOST_PROCESSES = 8  # each takes some 60 MB
_CHUNK = 4  # items that are sent at a time


def map_in_order(function: Callable[[Given], Made], items: Sequence[Given], processes: int | None = None) -> Generator[Made]:
    """Yield what ``function`` makes of each of ``items``, as ``map`` does, computed by several processes if they are many.

    The processes are fresh interpreters: nothing is forked, so threads of this one do no harm. A script that calls this
    needs ``if __name__ == "__main__"``. The function and all that it takes and gives must be picklable. Errors of the
    function are raised here. Where a process is killed, the rest is computed in this one. ``processes`` of None means
    one for each CPU that may be used, 8 at most; with 1, or with few items, all is computed here.
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
        with _interrupts_blocked():  # the processes inherit this: Ctrl-C is for their parent to hear
            results = pool.map(function, items, chunksize=_CHUNK)
        yield from results
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Hold back SIGINT in this thread, and in what it starts, until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this process as soon as its parent is gone, however that ended: a pool's process would wait for ever."""
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
