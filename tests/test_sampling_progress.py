"""``sample``, ``score`` and ``improvise``: notices about the checkpoint that they use, and the bar during sampling."""

import io
import re
import shutil
from types import SimpleNamespace

import pytest
from command_line import execute, output_of

from fastrnn.commands import sample
from fastrnn.commands._screen import reading_progress
from fastrnn.music.changes import parse_changes
from fastrnn.music.generation import Form, improvise
from fastrnn.music.jazz_model import jazz_model
from fastrnn.music.vocabulary import PartVocabulary
from fastrnn.text.char_model import CharModel
from fastrnn.text.language_model import CHUNK, LanguageModel
from fastrnn.text.vocabulary import Vocabulary

pytestmark = pytest.mark.usefixtures("quick_pictures")

SMALL = ["--hidden", "8", "--layers", "1", "--batch", "4", "--eval-every", "2"]


@pytest.fixture(scope="module")
def runs(choruses, tmp_path_factory):
    """Train two runs of two steps, on choruses and on the embedded names."""
    folder = tmp_path_factory.mktemp("runs")
    for kind, *options in (("jazz", choruses, "--seq-length", "40"), ("chars", "--seq-length", "20")):
        execute("train", kind, *options, *SMALL, "--max-steps", "2", "--out", folder / kind)
    return folder


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


def terminal_of(monkeypatch):
    """Make standard error a terminal on which a bar is shown at once."""
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(reading_progress, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(reading_progress, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("sys.stderr", stream := Terminal())  # in the test itself: pytest puts its own there before
    return stream


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("jazz", ["improvise", "--changes", "C"]), ("jazz", ["sample"]), ("chars", ["sample", "--number", "1"]),
        ("chars", ["score", "a"]),
    ],
)  # fmt: skip
def test_a_notice_says_that_the_last_weights_are_used(kind, command, runs, tmp_path, capsys):
    shutil.copytree(runs / kind, tmp_path / "stopped")
    (tmp_path / "stopped" / "best.safetensors").unlink()
    for folder, told in ((runs / kind, 0), (tmp_path / "stopped", 1)):
        out = ["--out", str(tmp_path / f"{told}.mid")] if kind == "jazz" else []
        lines = output_of(capsys, command[0], folder, *command[1:], *out).err.splitlines()
        said = f"{folder} was stopped before its first evaluation and has no best weights: last.safetensors is used, "
        assert lines.count(f"{said}of 2 training steps") == told
        assert len([line for line in lines if "last.safetensors" in line]) == told


def test_improvising_shows_a_bar_on_a_terminal(runs, tmp_path, monkeypatch, capsys):
    terminal = terminal_of(monkeypatch)
    command = ["improvise", str(runs / "jazz"), "--changes", "C | F | G7 | C", "--seed", "1"]
    execute(*command, "--out", tmp_path / "x.mid")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    bars = [int(count) for count in re.findall(r"sampling .*? (\d) of 9 bars", shown)]
    assert bars == sorted(bars)
    assert bars[0] <= 1
    assert bars[-1] == 9  # with a closing bar
    assert "sampling" not in capsys.readouterr().out


def test_redirected_output_has_no_bar(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reading_progress, "PATIENCE_SECONDS", 0.0)
    for command in (
        ["improvise", runs / "jazz", "--changes", "C", "--seed", "1", "--out", tmp_path / "x.mid"],
        ["sample", runs / "chars", "--number", "200", "--seed", "1"],
    ):
        assert "sampling" not in "".join(output_of(capsys, *command))


def test_samples_in_a_file_are_not_on_the_terminal(runs, monkeypatch):
    """If standard output is a file, the samples are in it, and the bar is on standard error."""
    terminal = terminal_of(monkeypatch)
    monkeypatch.setattr("sys.stdout", file := io.StringIO())
    execute("sample", runs / "chars", "--number", "200", "--seed", "1")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(r"sampling .* 64 of 200 samples.* 200 of 200 samples", shown, re.DOTALL)
    samples = file.getvalue().splitlines()
    assert len(samples) == 200
    assert not any(len(sample) > 8 and sample in shown for sample in samples)


def test_a_stream_in_a_file_shows_a_bar(monkeypatch):
    terminal = terminal_of(monkeypatch)
    monkeypatch.setattr("sys.stdout", file := io.StringIO())
    model = LanguageModel(CharModel(2, "lstm", 1, 4, 0, 0.0, rng=0), Vocabulary(("a", "b")), "stream")
    trained = SimpleNamespace(vocabulary=model.vocabulary, stream=model.stream)
    arguments = SimpleNamespace(number=1, length=3 * CHUNK, prefix="ab")
    monkeypatch.setattr(sample, "_copied", lambda *_: "none")
    sample._print_stream(trained, arguments, {"prefix": "ab", "seed": 1})
    assert len(file.getvalue()) == 3 * CHUNK + len("ab\n")
    assert f"{2 * CHUNK} of {3 * CHUNK} characters" in terminal.getvalue()
    assert file.getvalue().strip() not in terminal.getvalue()


def test_progress_goes_to_the_end():
    vocabulary = PartVocabulary(60, 62)
    form, ticks = Form.of(parse_changes("C | F")), []
    improvise(jazz_model(vocabulary, hidden=4, layers=1, rng=0), vocabulary, form, seed=1, progress=ticks.append)
    assert ticks == sorted(ticks)
    assert ticks[-1] == form.length
    counts = []
    model = LanguageModel(CharModel(2, "lstm", 1, 4, 0, 0.0, rng=0), Vocabulary(("a", "b")), "stream")
    model.sample(100, 2 * CHUNK, seed=1, progress=counts.append)
    assert counts == [32, 64, 82, 100]  # 64 samples side by side, then the others
