"""``fastrnn sample`` with a run of lines and a run of a stream."""

import os
import re
import shutil

import numpy as np
import pytest
from command_line import CHARS, output_of, train_chars
from trained_runs import PLAY

from fastrnn import corpora
from fastrnn.text._training.novelty import line_hashes

pytestmark = pytest.mark.usefixtures("quick_pictures")


def test_sampled_names(names_run, capsys):
    folder, _ = names_run
    first = output_of(capsys, "sample", folder, "--number", "7", "--seed", "1")
    assert len(first.out.splitlines()) == 7
    assert re.search(r"^\d of 7 are new: not among the [\d,]+ distinct lines trained on$", first.err, re.MULTILINE)
    assert output_of(capsys, "sample", folder, "--number", "7", "--seed", "1").out == first.out
    assert output_of(capsys, "sample", folder, "--number", "7", "--seed", "2").out != first.out


def test_sampling_options(names_run, capsys):
    folder, _ = names_run
    captured = output_of(capsys, "sample", folder, "--prefix", "Tyr", "--length", "5", "--number", "20", "--seed", "1")
    assert all(line.startswith("Tyr") and len(line) <= 8 for line in captured.out.splitlines())
    assert re.search(r"\d+ of 20 had not ended after 5 characters", captured.err)
    outputs = set()
    for options in (["--greedy"], ["--temperature", "0"], ["--top-k", "1"], ["--top-p", "0.000001"]):
        outputs.add(output_of(capsys, "sample", folder, "--number", "3", *options).out)
    assert len(outputs) == 1
    assert len(set(outputs.pop().splitlines())) == 1


def test_names_of_the_training_set_are_not_new(names_run, tmp_path, capsys, monkeypatch):
    from fastrnn.text.language_model import LanguageModel, Sample
    from fastrnn.text.run_folder import load_lines

    folder, _ = names_run
    hashes = load_lines(str(folder))
    names = corpora.load("dinosaurs").split()
    trained = [name for name in names if np.isin(line_hashes([name]), hashes)]
    assert len(trained) == len(names) - 150
    texts = [Sample(trained[0], True), Sample(trained[1], True), Sample("Nullosaurusx", True)]
    monkeypatch.setattr(LanguageModel, "sample", lambda *_, **__: texts)
    assert "1 of 3 are new" in output_of(capsys, "sample", folder, "--number", "3").err
    copy = shutil.copytree(folder, tmp_path / "run")
    (copy / "lines.safetensors").unlink()
    assert "how many are new is not known" in output_of(capsys, "sample", copy, "--number", "3").err


def test_sampled_stream(play_run, capsys):
    captured = output_of(capsys, "sample", play_run, "--length", "600", "--prefix", "Speaker 1", "--seed", "4")
    assert captured.out.startswith("Speaker 1")
    assert len(captured.out) == 9 + 600 + 1
    assert re.search(r"^\d+\.\d% of its 20-grams occur in the text trained on$", captured.err, re.MULTILINE)
    assert len(output_of(capsys, "sample", play_run, "--length", "50", "--number", "2").out) == 2 * 50 + 3


@pytest.fixture
def play_text(play_run):
    """Return the path of the text of ``play_run``, which a test may change."""
    text = play_run.parent / "play.txt"
    yield text
    text.unlink(missing_ok=True)
    text.write_text(PLAY)


def test_a_stream_whose_text_is_gone_or_changed(play_run, play_text, capsys):
    def said(length):
        return output_of(capsys, "sample", play_run, "--length", length).err

    assert "not known: it is shorter than 20 characters" in said(5)
    play_text.write_text(PLAY + "!")
    assert "not known: the text trained on has changed" in said(30)
    play_text.unlink()
    gone = "not known: the text trained on is not there any more"
    assert gone in said(30)
    os.mkfifo(play_text)  # reading it would wait for a writer
    assert gone in said(30)


def test_unk_makes_unknown_characters_known(tmp_path, capsys):
    train_chars(*CHARS, "--max-steps", 2, "--min-count", 20, "--out", tmp_path)
    lines = output_of(capsys, "sample", tmp_path, "--prefix", "Ñu", "--number", "50", "--seed", "1").out.splitlines()
    assert all(line.startswith("Ñu") for line in lines)
    assert not any("UNK" in line for line in lines)
    captured = output_of(capsys, "score", tmp_path, "Ñusaurus", "usaurus", "Ñusaurus")
    head, *rows, last = captured.out.splitlines()
    assert re.split(r"  +", head.strip())[3:] == ["characters + end", "<UNK>", "text"]
    unknown = ["9", "1", "<UNK>usaurus", "['Ñ']"]
    assert [row.split()[3:] for row in rows] == [unknown, ["8", "0", "usaurus"], unknown]
    assert last == "only texts that lost the same characters to <UNK> can be compared: 1 and 3"
    assert captured.err == "<UNK> stands for: 'Ñ'\n"
    assert re.search(r"^lost to <UNK>: +1 of 3 characters$", output_of(capsys, "score", tmp_path, "Ñus").out, re.MULTILINE)


@pytest.mark.parametrize("reading", ["lines", "stream"])
def test_a_prefix_that_is_not_text(tmp_path, capsys, reading):
    (tmp_path / "play.txt").write_text(PLAY)
    train_chars(tmp_path / "play.txt", "--reading", reading, "--unk", *CHARS, "--max-steps", 1, "--out", tmp_path / "run")
    capsys.readouterr()
    for number in ("1", "2"):
        captured = output_of(capsys, "sample", tmp_path / "run", "--prefix", "\udcff", "--number", number, "--length", "30")
        assert captured.out.startswith("\\udcff")
        assert ("of " + number + " are new" if reading == "lines" else "20-grams occur") in captured.err
