"""The command line's arguments, help and version, and Ctrl-C while it starts."""

import signal
import subprocess
import sys

import pytest
from command_line import output_of
from tables import each_row

from fastrnn._core.version import __version__
from fastrnn.cli import build_parser, main


@each_row(
    ("given", "usual"),
    [
        ("score RUN --verbose a b", "score --verbose RUN a b"),
        ("score --file F RUN a --threads 2 b", "score --file F --threads 2 RUN a b"),
        ("score a b --verb c", "score --verbose a b c"),
        ("score RUN a --verbose -- --b c", "score --verbose -- RUN a --b c"),
        ("score RUN -- a --verbose", "score -- RUN a --verbose"),
        ("score RUN -1 --verbose -2.5", "score --verbose RUN -1 -2.5"),
        ("train chars A --out=R B --min-count 2 C", "train chars --out R --min-count 2 A B C"),
        ("train words A --keep-case B", "train words --keep-case A B"),
        ("train jazz A --melody 0 B --no-transpose C/", "train jazz --melody 0 --no-transpose A B C/"),
        ("train chars --hidden 8", "train chars --hidden 8 --"),
        ("sample --number 2 RUN --seed 1", "sample --number 2 --seed 1 RUN"),
        ("train --max-steps 2 chars A", "train chars --max-steps 2 A"),
        ("train --out words --resume chars", "train chars --out words --resume"),
        ("--threads 2 train --out=b jazz A", "train jazz --threads 2 --out b A"),
        ("--verb score RUN a", "score --verbose RUN a"),
        ("--file score score RUN", "score --file score RUN"),
        ("--threads 1 2 bench --cells RNN", "bench --threads 1 2 --cells RNN"),
        ("improvise --key F RUN --changes blues", "improvise --key F --changes blues RUN"),
        ("bench --threads 1 2 --cells RNN", "bench --cells RNN --threads 1 2"),
    ],
)
def test_options_stand_anywhere_among_other_arguments(given, usual):
    found, wanted = (vars(build_parser().parse_args(words.split())) for words in (given, usual))
    assert found == wanted


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastrnn {__version__}\n"


def test_texts_with_spaces_and_dashes_are_texts():
    found = build_parser().parse_args(["score", "RUN", "- yes", "--verbose", "--no, he said", "--", "--verbose", "--", "a"])
    assert (found.texts, found.verbose) == (["- yes", "--no, he said", "--verbose", "--", "a"], True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize(
    "imported",
    ["fastrnn.layers", *(pytest.param(m, marks=pytest.mark.slow) for m in ("fastrnn._core.checks", "fastrnn.cli"))],
)
def test_ctrl_c_while_the_command_is_still_importing(imported):
    command = [sys.executable, "-X", "importtime", "-m", "fastrnn", "info"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.endswith(f" {imported}\n"):
            process.send_signal(signal.SIGINT)
            break
    output, errors = process.communicate(timeout=60)
    said = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, output) == (130, "")
    assert said in ([], ["fastrnn: interrupted"])


@each_row("command", ["", "train", "train chars", "train words", "train jazz", "sample", "score", "improvise", "info"])
def test_help_fits_a_terminal(command, capsys):
    output = output_of(capsys, *command.split(), "--help").out
    assert output.startswith("usage: fastrnn")
    assert max(map(len, output.splitlines())) <= 120
    assert "None" not in output
