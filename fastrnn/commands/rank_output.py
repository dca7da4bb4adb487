"""Output of a command that runs on several ranks: rank 0 alone prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_unless_first(rank: int) -> Iterator[None]:
    """Discard what the block prints, unless this is rank 0. An error that leaves the block is printed afterwards."""
    if rank == 0:
        yield
        return
    streams = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        sys.stdout = sys.stderr = nothing
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams
