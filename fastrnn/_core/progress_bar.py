"""Progress bar of training, reading, sampling and compiling on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..console import is_terminal


def start_bar(
    *, stderr: bool, title: str = "", time_left: bool = False, without_rich: Callable[[], None] = lambda: None
) -> Any:
    """Start rich's Progress with one task of total 1.0 and a field ``text``, and return it.

    Parameters
    ----------
    stderr
        True for a bar on standard error, False for standard output.
    title
        The text before the bar.
    time_left
        True to show the remaining time.
    without_rich
        Called if rich is not installed.

    Returns
    -------
    rich.progress.Progress or None
        None if the stream is not a terminal, if the terminal cannot move its cursor, or if rich is not installed.
    """
    if not is_terminal(sys.stderr if stderr else sys.stdout):
        return None
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        without_rich()
        return None
    console = Console(stderr=stderr)
    if not console.is_terminal or console.is_dumb_terminal:
        return None
    before = [TextColumn("{task.description}", markup=False)] if title else []
    after = [TimeRemainingColumn()] if time_left else []
    progress = Progress(
        *before,
        BarColumn(bar_width=None),
        TextColumn("{task.fields[text]}", markup=False),
        *after,
        console=console,
        auto_refresh=False,  # a refresh thread would compete with the work for the interpreter's lock
        transient=True,
        expand=True,
        # Text for a terminal is printed above the bar; text for a file must reach the file.
        redirect_stdout=is_terminal(sys.stdout),
        redirect_stderr=is_terminal(sys.stderr),
    )
    progress.add_task(title, total=1.0, text=" ")
    progress.start()
    return progress
