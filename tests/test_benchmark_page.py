"""The whole benchmark's command line, its file of results, its page and its pictures, from records made by hand."""

import errno
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from fastrnn.benchmark import machine, run
from fastrnn.benchmark.cases import Case
from fastrnn.commands.guard import guarded

CHECKOUT = Path(__file__).parent.parent
CEILINGS = {
    "threads": 1,
    "fma": 4e10,
    "read": {"L1": 7e10, "L2": 6e10, "L3": 4e10, "DRAM": 1e10},
    "caches": {"L1": 1 << 15, "L2": 1 << 19, "L3": 1 << 23},
}


@pytest.fixture
def bench(monkeypatch):
    """Return a function that runs ``python -m bench`` with some arguments and returns its exit status."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(CHECKOUT)
    monkeypatch.setenv("FASTRNN_BENCH_ONEDNN", str(CHECKOUT / "bench" / "onednn"))
    program = importlib.import_module("bench.__main__")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        return guarded(program.main)

    return call


def _results(file, *cases, **changed):
    run.append(file, {"machine": machine.describe() | changed})
    run.append(file, {"ceilings": CEILINGS})
    for case in cases:
        side = {"median": 0.001, "spread": 0.125, "best": 0.001, "first": 0.002, "faults": 0.0, "samples": 9}
        record = {"case": asdict(case), "peer": "torch", "version": "1", "ratio": 1.5, "ours": side}
        record["theirs"] = side | {"median": 0.0015}
        run.append(file, {"peer": "torch", "case": record["case"], "record": record})


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("--threads", "0", "an integer of at least 1, got '0'"),
        ("--threads", "-1", "an integer of at least 1, got '-1'"),
        ("--seconds", "0", "a number above 0, got '0'"),
        ("--seconds", "nan", "a number above 0, got 'nan'"),
        ("--slow-rounds", "1", "an integer of at least 2, got '1'"),
    ],
)
def test_a_bad_number_is_refused_before_the_file_is_touched(bench, option, value, wanted, tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    assert bench("run", "--file", file, "--out", tmp_path, option, value) == 2
    assert f"argument {option}: must be {wanted}" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.parametrize("content", ["a note of someone else\n", '{"a": 1}\n', '{"peer": "torch", "rec'])
def test_a_foreign_or_damaged_file_stays_as_it_is(bench, content, tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    file.write_text(content)
    for command in ("run", "report"):
        assert bench(command, "--file", file, "--out", tmp_path / "out") == 2
        assert str(file) in capsys.readouterr().err
    assert file.read_text() == content
    assert not (tmp_path / "out").exists()


def test_results_of_another_machine_are_not_continued(bench, tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    _results(file, Case("forward", "LSTM", 32, 1, 1), processor="Another One")
    before = file.read_bytes()
    assert bench("run", "--file", file, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "must have results of this machine" in error
    assert "processor Another One" in error
    assert file.read_bytes() == before


def test_a_line_that_a_full_disk_cuts_leaves_no_trace(tmp_path, monkeypatch):
    file = tmp_path / "results.jsonl"
    run.append(file, {"a": 1})
    real = Path.open

    class Full:
        """A file with space for five bytes."""

        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            if len(data) < len('{"b": 2}\n'):
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data[:5])

    monkeypatch.setattr(Path, "open", lambda self, *arguments, **more: Full(real(self, *arguments, **more)))
    with pytest.raises(OSError, match="No space"):
        run.append(file, {"b": 2})
    assert [json.loads(line) for line in file.read_bytes().splitlines()] == [{"a": 1}]
