"""Checks of the files that a command will write, made before its work begins."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import InputError


def add_overwrite_option(parser: argparse.ArgumentParser | Any) -> None:
    """Add ``--overwrite`` to a parser or a group. Without it :func:`check_free` refuses existing files."""
    parser.add_argument("--overwrite", action="store_true", help="replace existing files (default: refuse to)")


def check_free(paths: Iterable[Path], overwrite: bool) -> None:
    """Raise FileExistsError for the first file that exists already, unless ``overwrite``.

    Devices and pipes such as ``/dev/stdout`` pass, because nothing in them can be lost.
    """
    for path in paths:
        if path.is_file() and not overwrite:
            raise existing(path)


def existing(path: Path | str) -> FileExistsError:
    """Return the error for an existing file; its message names ``--overwrite``."""
    return FileExistsError(errno.EEXIST, "the file exists already; --overwrite replaces it", str(path))


def check_place(option: str, path: Path) -> None:
    """Raise InputError if no regular file can be written at ``path``, which ``option`` names."""
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder: expected a file to write")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder")
    if path.exists() and not path.is_file():
        raise InputError(f"{option} {path} is not a regular file")
    folder = os.path.dirname(os.path.realpath(path))  # a link's target is replaced
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: the folder {folder} cannot be written to")
