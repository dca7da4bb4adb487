"""Functions that call the commands, and read the files of their run folders."""

import json

from fastrnn.cli import main

# Options of a jazz model that trains in a second.
JAZZ = ["--hidden", "8", "--layers", "1", "--embedding", "4", "--batch", "4", "--seq-length", "40", "--eval-every", "2"]


def execute(*arguments, status=0):
    """Run ``fastrnn`` with these arguments, which may be paths and numbers."""
    assert main([*map(str, arguments)]) == status


def output_of(capsys, *arguments, status=0):
    """Run a command and return its output, as ``out`` and ``err``."""
    capsys.readouterr()
    execute(*arguments, status=status)
    return capsys.readouterr()


def error_of(capsys, *arguments, status=2):
    """Return the error of a failing command: one line, or three if a caret marks the place in a line of chords."""
    message = output_of(capsys, *arguments, status=status).err
    lines = message.splitlines()
    assert message.startswith("fastrnn: error: ")
    assert len(lines) == (3 if lines[-1].strip() == "^" else 1)
    return message.removeprefix("fastrnn: error: ").removesuffix("\n")


def configuration(folder):
    """Return the content of a run's ``config.json``."""
    return json.loads((folder / "config.json").read_text())
