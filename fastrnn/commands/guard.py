"""The guard around every command: it turns errors into one line and an exit status, on any console."""

from __future__ import annotations

import sys
from collections.abc import Callable

from .. import console
from .._core.early_interrupt import INTERRUPTED, raise_again
from .errors import expected


def guarded(run: Callable[[], int | None]) -> int:
    """Run a command, print an expected error in one line on standard error, and return the exit status.

    Any other error is a bug, so its traceback is shown.
    """
    with console.attached():
        status, message = _outcome(run)
        lost = console.settle(sys.stdout)
        if lost is not None:
            status = status or 1
            if message in ("", f"error: {lost.strerror}") and not isinstance(lost, BrokenPipeError):
                message = f"error: standard output: {lost.strerror}"
        if message:
            console.note(f"fastrnn: {message}")
        console.settle(sys.stderr)
        return status


def _outcome(run: Callable[[], int | None]) -> tuple[int, str]:
    """Run the command and return its exit status and the message to print."""
    try:
        raise_again()
        return run() or 0, ""
    except SystemExit as error:  # argparse: 0 after --help, 2 after a usage error, already printed
        return (error.code if isinstance(error.code, int) else 2), ""
    except KeyboardInterrupt:
        return INTERRUPTED, "interrupted"
    except BrokenPipeError:  # the reader of our output has ended, as in `fastrnn sample RUN | head`
        return 1, ""
    except Exception as error:
        status, message = expected(error)
        if status == 0:
            raise
        return status, f"error: {message}"
