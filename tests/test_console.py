"""Missing, closed, full and narrow consoles, and pipes without a reader: no traceback, and the right exit status."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from training_task import make_trainer

import fastrnn
from fastrnn import console
from fastrnn.cli import main
from fastrnn.training import Examples, LossCurve, Progress, ProgressBar, fit

TINY = ["--hidden", "8", "--layers", "1", "--batch", "8", "--eval-every", "1", "--max-steps", "2"]


@pytest.fixture(params=["info", "train", "sample", "score", "help"])
def command(request, trained, tmp_path):
    """Return the words of a command that succeeds if there is a console."""
    return {
        "info": ["info"],
        "train": ["train", "chars", *TINY, "--out", str(tmp_path / "run")],
        "sample": ["sample", str(trained), "--number", "3"],
        "score": ["score", str(trained), "Zuul", "Ajax"],
        "help": ["train", "jazz", "--help"],
    }[request.param]


class Narrow(io.TextIOWrapper):
    """A stream that has only ASCII, and no escapes."""

    def __init__(self):
        super().__init__(io.BytesIO(), encoding="ascii", errors="strict")

    def text(self):
        self.flush()
        return self.buffer.getvalue().decode()


class Gone:
    """A stream without a reader, without a descriptor, and without most of a stream's methods."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def _closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("missing", [pytest.param(("stdout",), marks=pytest.mark.slow), ("stdin", "stdout", "stderr")])
def test_commands_without_a_console(monkeypatch, command, missing):
    for name in missing:
        monkeypatch.setattr(sys, name, None)
    assert main(command) == 0
    assert all(getattr(sys, name) is None for name in missing)


@pytest.mark.slow
def test_a_benchmark_without_a_console(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    arguments = "--cells RNN --hidden 4 --batch 1 --peers numpy --threads 1 --seconds 0.001"
    assert main(["bench", *arguments.split()]) == 0


def test_an_error_without_a_console_keeps_its_status(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["score"]) == 2
    assert main(["sample", "/nowhere"]) == 2
    assert capsys.readouterr().out == ""  # print(file=None) would write here


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
@pytest.mark.parametrize("buffering", [-1, 1])
def test_a_full_device_gives_one_line(monkeypatch, capsys, command, buffering):
    with open("/dev/full", "w", buffering) as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(command) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fastrnn: error")]
    assert len(error) == 1
    assert error[0].endswith("No space left on device")


def test_notes_that_cannot_be_written_cost_nothing(monkeypatch, command):
    with open("/dev/full", "w", 1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert main(command) == 0


def test_a_pipe_without_a_reader_gives_no_error_message(monkeypatch, capsys, command):
    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(command) == 1
    assert "error" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [
        pytest.param(">&-", 0, "", marks=pytest.mark.slow),
        pytest.param("2>&-", 0, "", marks=pytest.mark.slow),
        pytest.param("<&- >&- 2>&-", 0, "", marks=pytest.mark.slow),
        (">/dev/full", 1, "fastrnn: error: standard output: No space left on device\n"),
        pytest.param("2>/dev/full", 0, "", marks=pytest.mark.slow),
        pytest.param(">/dev/full 2>&1", 1, "", marks=pytest.mark.slow),
    ],
)
def test_the_shells_redirections(redirection, status, said):
    """At exit Python again tries to write what could not be written; a failure counts then as well."""
    command = f"{sys.executable} -m fastrnn info {redirection}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (status, said)


def test_files_do_not_take_the_place_of_a_closed_console(tmp_path):
    """Without a console, the first file that is opened would get descriptor 1 or 2, to which a library may print."""
    program = (
        "import os, sys; from fastrnn.console import attached\n"
        f"with attached(), open({str(tmp_path / 'file')!r}, 'w') as file: os.write(1, b'from a library'); print('x')"
    )
    subprocess.run(["sh", "-c", f'{sys.executable} -c "$0" >&-', program], check=True)
    assert (tmp_path / "file").read_text() == ""


def test_characters_that_a_console_lacks(monkeypatch, tmp_path, trained):
    out, err = Narrow(), Narrow()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    console.say("é ♭")
    console.note("Ω")
    assert (out.text(), err.text()) == ("\\xe9 \\u266d\n", "\\u03a9\n")
    assert main(["score", str(trained), "--verbose", "Ñandú"]) == 2
    assert err.text().splitlines()[1].startswith("fastrnn: error: ")
    assert "\\xd1" in err.text()


SILENT = [pytest.param(lambda: None, id="missing"), pytest.param(_closed, id="closed")]


@pytest.mark.parametrize("stream", SILENT)
def test_training_without_a_console_is_silent(monkeypatch, tmp_path, stream):
    """Training from Python under pythonw or in a service gives the same losses as with a console."""
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    examples = Examples(x, x[:, :1])

    def history(callbacks):
        options = {"loss": "mean_squared_error", "epochs": 2, "batch_size": 4, "callbacks": callbacks}
        return fit(fastrnn.Linear(3, 1, rng=0), examples, **options)["loss"]

    expected = history([])
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream())
    monkeypatch.setattr("fastrnn.training.callbacks.LINE_SECONDS", 0.0)
    assert history([ProgressBar()]) == expected
    trainer = make_trainer(tmp_path, LossCurve(tmp_path / "metrics.csv", tmp_path / "loss.png"))
    trainer.callbacks = (Progress(trainer.config), *trainer.callbacks)
    assert trainer.run().step == 12
    fastrnn.Model(symbol := fastrnn.Input(("B", 3)), fastrnn.Linear(3, 1)(symbol)).summary()


def test_a_summary_in_narrow_letters(monkeypatch):
    out = Narrow()
    monkeypatch.setattr(sys, "stdout", out)
    fastrnn.Model(symbol := fastrnn.Input(("B", 3), name="entrée"), fastrnn.Linear(3, 1)(symbol)).summary()
    assert "entr\\xe9e" in out.text()


def test_quantities():
    assert [console.quantity(n, "more page") for n in (0, 1, 2, 1234)] == [
        "0 more pages",
        "1 more page",
        "2 more pages",
        "1,234 more pages",
    ]
