"""What commands say beside their output."""

from __future__ import annotations

import sys


def note(text: str) -> None:
    """Print a line to standard error, after what has been printed so far."""
    sys.stdout.flush()
    print(text, file=sys.stderr)
