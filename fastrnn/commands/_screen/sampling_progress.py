"""The progress bar that commands show while they sample."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .reading_progress import reading_progress


@contextmanager
def sampling_progress(total: float, unit: str) -> Iterator[Callable[[float], None]]:
    """Show a bar on a terminal once sampling has taken a second; the block reports how much of ``total`` is done.

    Redirected output has no bar.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda done: None
        return
    with reading_progress("sampling", total, unit) as bar:
        yield lambda done: bar.advance(done - bar.done)
