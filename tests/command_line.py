"""Functions that call the commands, and read the files of their run folders."""

import contextlib
import functools
import json
import os
import resource
import tempfile

from fastrnn.cli import main

# Options of a character model that trains in a second.
CHARS = ["--hidden", "24", "--layers", "2", "--batch", "16", "--eval-every", "10", "--warmup", "0"]
# Options of a jazz model that trains in a second.
JAZZ = ["--hidden", "8", "--layers", "1", "--embedding", "4", "--batch", "4", "--seq-length", "40", "--eval-every", "2"]
II_V_I = "Dm7 | G7 | Cmaj7 | Cmaj7"  # changes to improvise over
ALONE = ["--no-comping", "--no-bass"]  # options of a solo without accompaniment


def execute(*arguments, status=0):
    """Run ``fastrnn`` with these arguments, which may be paths and numbers."""
    assert main([*map(str, arguments)]) == status


train_chars = functools.partial(execute, "train", "chars")


def train_jazz(folder, *arguments):
    """Train a jazz model for two steps, and return its run folder."""
    execute("train", "jazz", *arguments, *JAZZ, "--max-steps", 2, "--out", folder)
    return folder


def output_of(capsys, *arguments, status=0):
    """Run a command and return its output, as ``out`` and ``err``."""
    capsys.readouterr()
    execute(*arguments, status=status)
    return capsys.readouterr()


def forked(*arguments, around=contextlib.nullcontext):
    """Begin a command in a forked process, which starts at once, inside a context; return the process's number."""
    child = os.fork()
    if child:
        return child
    status = 70  # of an exception that the command should have caught
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), around():
            status = main([*map(str, arguments)])
    finally:
        os._exit(status)


def exit_code(child):
    """Wait for a process; return its exit status, or minus the number of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def on_a_full_disk(size, *arguments):
    """Run a command in a process whose files may have ``size`` bytes at most; return its exit status and its errors."""
    with tempfile.TemporaryFile("w+") as errors:

        @contextlib.contextmanager
        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            with contextlib.redirect_stderr(errors):
                yield
                errors.flush()

        status = exit_code(forked(*arguments, around=limited))
        errors.seek(0)
        return status, errors.read()


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


def engine_of(folder):
    """Return the backend, the instruction set and the precision that a run used last."""
    return configuration(folder)["kernels"]
