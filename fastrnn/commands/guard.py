"""The guard around every command: it turns errors into one line and an exit status, on any console."""

from __future__ import annotations

import sys
from collections.abc import Callable

from .. import console
from .._core.early_interrupt import INTERRUPTED, raise_again
from ..distributed import heartbeat
from ..distributed.agreement import is_common
from ..distributed.world import end_all_ranks, first_rank
from .errors import expected


def guarded(run: Callable[[], int | None]) -> int:
    """Run a command, print an expected error in one line on standard error, and return the exit status.

    Any other error is a bug, so its traceback is shown. On several ranks an error that all of them raise is printed by rank
    0; any other error ends all ranks.
    """
    with console.attached():
        status, message, on_all_ranks = _outcome(run)
        lost = console.settle(sys.stdout)
        if lost is not None:
            status = status or 1
            if message in ("", f"error: {lost.strerror}") and not isinstance(lost, BrokenPipeError):
                message = f"error: standard output: {lost.strerror}"
        if message and (first_rank() or not on_all_ranks):
            console.note(f"fastrnn: {message}")
        console.settle(sys.stderr)
        if status and not on_all_ranks:
            end_all_ranks(status)
        heartbeat.end(status)
        return status


def _outcome(run: Callable[[], int | None]) -> tuple[int, str, bool]:
    """Run the command; return its exit status, the message to print, and whether all ranks end in the same way."""
    try:
        raise_again()
        return run() or 0, "", True
    except SystemExit as error:  # argparse: 0 after --help, 2 after a usage error, already printed
        return (error.code if isinstance(error.code, int) else 2), "", True
    except KeyboardInterrupt:
        return INTERRUPTED, "interrupted", False
    except BrokenPipeError:  # the reader of our output has ended, as in `fastrnn sample RUN | head`
        return 1, "", False
    except Exception as error:
        status, message = expected(error)
        if status == 0:
            raise
        return status, f"error: {message}", is_common(error)
