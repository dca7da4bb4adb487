"""The progress bar that commands show while they read."""

import io
import re

import pytest

from fastrnn.cli import main
from fastrnn.commands._screen import reading_progress as module
from fastrnn.commands._screen.reading_progress import ReadingProgress, reading_progress
from fastrnn.training._run import pace

pytestmark = pytest.mark.usefixtures("quick_pictures")


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock by a list of one number, the time, which tests increase."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.5, "reading: 3 of 10 files after 1 s, about 5 s in all\n"), (0.09, "")]
)
def test_redirected_output_gets_one_line_after_a_second_and_none_before(clock, capsys, seconds, expected):
    with reading_progress("reading", 10, "files") as bar:
        for _ in range(10):
            clock[0] += seconds
            bar.advance()
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, ["30 of 1,500 files after 6 s, about 300 s in all"]),  # a fiftieth has been read
        (4.0, ["4 of 1,500 files after 12 s", "7 of 1,500 files after 24 s"]),  # too few to estimate the total time
    ],
)
def test_the_line_waits_until_it_can_estimate_the_time(clock, capsys, seconds, expected):
    with reading_progress("reading", 0, "files") as bar:
        for done in range(1, 41 if seconds < 1 else 10):
            clock[0] += seconds
            bar.show(done, 1500)
    assert capsys.readouterr().err == "".join(f"reading: {line}\n" for line in expected)


def test_redirected_output_gets_a_line_every_ten_seconds(clock, capsys):
    with reading_progress("evaluating", 100, "tokens") as bar:
        for _ in range(100):
            bar.advance()
            clock[0] += 0.5
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"evaluating: {done} of 100 tokens after {done // 2} s, about 50 s in all" for done in (3, 23, 43, 63, 83)
    ]


def test_without_a_console_nothing_is_shown(clock, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    with reading_progress("reading", 2, "files") as bar:
        clock[0] += 5
        bar.advance()
    assert bar.done == 1


def test_a_terminal_gets_a_bar_that_goes_away_also_after_an_error(clock, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())

    def read():
        with reading_progress("reading", 4000, "files") as bar:
            for _ in range(3):
                clock[0] += 1
                bar.advance(1000)
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        read()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(r"reading .*2,000 of 4,000 files.*3,000 of 4,000 files", shown, re.DOTALL)
    assert terminal.getvalue().endswith("\x1b[2K")  # the bar's line is erased


def test_progress_after_the_end_is_not_shown(clock, capsys):
    with reading_progress("reading", 4, "characters") as bar:
        bar.advance(4)
    clock[0] += 5
    bar.advance(1)
    assert (bar.done, capsys.readouterr()) == (4, ("", ""))


@pytest.mark.parametrize(
    ("kind", "reading"),
    [
        ("chars", "lines"),
        ("words", "stream"),
        *(pytest.param(*row, marks=pytest.mark.slow) for row in (("chars", "stream"), ("words", "lines"))),
    ],
)
def test_no_command_reads_more_than_the_total(kind, reading, tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(ReadingProgress, "_print_line", lambda self, *_: seen.append((self.what, self.done, self.total)))
    monkeypatch.setattr(ReadingProgress, "_line_due", lambda *_: True)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(pace, "SAMPLED_LEAST", 8)
    text = tmp_path / "text.txt"
    text.write_text("".join(f"name{n % 9} of{n % 7}\n" for n in range(2000)))
    small = ["--hidden", "4", "--batch", "4", "--seq-length", "8", "--max-steps", "1", "--val-fraction", "0.5"]
    assert main(["train", kind, str(text), "--reading", reading, *small, "--out", str(tmp_path / "run")]) == 0
    assert {what for what, _, _ in seen} == {"reading", "evaluating"}
    ends = {what: (done, total) for what, done, total in seen}
    assert all(done <= total for _, done, total in seen)
    assert all(done == total for done, total in ends.values())
