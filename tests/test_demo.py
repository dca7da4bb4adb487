"""``fastrnn`` without words, and ``fastrnn demo``."""

from __future__ import annotations

import functools
import re

import pytest
from command_line import output_of

from fastrnn.benchmark.cases import Case
from fastrnn.benchmark.compare import Record
from fastrnn.benchmark.measure import Effort, Timing
from fastrnn.cli import build_parser
from fastrnn.commands import demo


def test_without_words_it_says_five_things_that_can_be_typed(capsys):
    said = output_of(capsys)
    lines = re.findall(r"^  fastrnn (.*?)  ", said.out, re.MULTILINE)
    assert len(lines) == 5
    assert said.err == ""
    for line in lines:
        build_parser().parse_args(line.split())  # exits if there is no such command


def test_the_table_has_the_medians_and_their_ratio():
    ours, theirs = Timing(1.0, [0.002, 0.001, 0.009]), Timing(1.0, [0.05, 0.005, 0.001])
    lines = list(demo.table(iter([Record(Case("training", "GRU", 128, 8, 2), "numpy", "", ours, theirs)])))
    assert lines[1].split() == ["GRU", "training", "5", "2", "2.5", "times", "as", "fast"]


@pytest.mark.usefixtures("quick_pictures")
def test_the_demo_trains_samples_and_compares(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "SECONDS", 0.001)
    monkeypatch.setattr("fastrnn.benchmark.measure.Effort", functools.partial(Effort, rounds=2, turn=0.001))
    out = tmp_path / "run"
    said = output_of(capsys, "demo", "--max-steps", 3, "--out", out)
    typed, *sections = said.out.split("\n$ fastrnn ")[1:]
    assert typed.splitlines()[0] == f"train chars --max-steps 3 --out {out}"
    assert (out / "last.safetensors").exists()
    names = output_of(capsys, "sample", out, "--number", 8, "--seed", 1).out
    command, rest = sections[0].split("\n", 1)
    assert command == f"sample {out} --number 8 --seed 1"
    assert rest.startswith(names)
    rows = re.findall(r"^(\w+ \w+) +([\d.e+]+) +([\d.e+]+)   ([\d.]+) times as fast$", rest, re.MULTILINE)
    questions = [f"{cell} {question}" for cell in ("RNN", "GRU", "LSTM") for question in ("forward", "training")]
    assert [row[0] for row in rows] == questions  # none disagreed with NumPy's results
    for _, theirs, ours, ratio in rows:
        assert float(theirs) / float(ours) == pytest.approx(float(ratio), rel=0.02, abs=0.06)
    assert f"fastrnn sample {out} --prefix Tri" in rest


def test_a_failed_training_ends_the_demo(tmp_path, capsys):
    (tmp_path / "run").write_text("a file, not a folder")
    said = output_of(capsys, "demo", "--out", tmp_path / "run", status=2)
    assert "$ fastrnn sample" not in said.out


def test_the_demo_replaces_an_earlier_run_only_if_told_to(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "table", lambda records: iter(()))
    out, words = tmp_path / "run", ["demo", "--max-steps", 1, "--out", tmp_path / "run"]
    output_of(capsys, *words)
    (out / "samples.txt").write_text("of the first run")
    assert "--overwrite replaces the files" in output_of(capsys, *words, status=2).err
    assert (out / "samples.txt").read_text() == "of the first run"
    assert "$ fastrnn sample" in output_of(capsys, *words, "--overwrite").out
    assert (out / "samples.txt").read_text() != "of the first run"
