"""The progress bar that training, reading, sampling and compiling show on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..console import is_terminal


def start_bar(
    *, stderr: bool, title: str = "", time_left: bool = False, without_rich: Callable[[], None] = lambda: None
) -> Any:
    """Return rich's Progress, started, with one task of total 1.0 and a field ``text``.

    The bar is on standard error if ``stderr`` is True, else on standard output. Return None if that is no terminal, if the
    terminal cannot move its cursor, or if rich is not installed. In the last case call ``without_rich``.
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
        # Text for a terminal goes above the bar; text for a file must reach the file.
        redirect_stdout=is_terminal(sys.stdout),
        redirect_stderr=is_terminal(sys.stderr),
    )
    progress.add_task(title, total=1.0, text=" ")
    progress.start()
    return progress
