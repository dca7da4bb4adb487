"""Ctrl-C while a command is still importing: the process ends with status 130, without a traceback.

Importing this module sets the handler.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

INTERRUPTED = 130


def _end(*_: Any) -> None:
    os._exit(INTERRUPTED)  # nothing has been opened yet


def _is_command() -> bool:
    """Return whether this process is a ``fastrnn`` command; a program that imports fastrnn handles Ctrl-C itself."""
    program = os.path.splitext(os.path.basename(sys.argv[0]))[0] if sys.argv else ""
    return program == "fastrnn" or (program == "-m" and "fastrnn" in sys.orig_argv)


def raise_again() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, for code that handles it."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
