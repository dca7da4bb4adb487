"""Wrong calls of the zoo's scripts give one clear line without a traceback, before anything is trained."""

import runpy
import sys

import numpy as np
import pytest
import smf
from example_scripts import EXAMPLES, example
from tables import each_row

pytest.importorskip("pretty_midi")
pytest.importorskip("PIL.Image")


EXISTS = "the file exists already; --overwrite replaces it"
FOLDER = "three MIDI files"


def _three_files(folder):
    """Write a folder with MIDI files that are good for training."""
    for name in "abc":
        example("zoo/piano_roll").write_midi(np.eye(30, 88, 20, dtype=np.float32), folder / f"{name}.mid")
    return folder


@pytest.fixture
def said(monkeypatch, capsys):
    """Run a script with these arguments; return the last line that it prints."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "zoo"))

    def call(name, *words):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(EXAMPLES / "zoo" / f"{name}.py"), run_name="__main__")
        text = ended.value.code if isinstance(ended.value.code, str) else capsys.readouterr().err.splitlines()[-1]
        assert "\n" not in text
        return text

    return call


@each_row(
    ("name", "words", "message"),
    [
        ("classify_sentiment", ["x", "--fold", 7], "argument --fold: must be an integer of at most 4, got '7'"),
        ("classify_sentiment", ["x", "--text", ""], "argument --text: must have a word in it"),
        ("classify_sentiment", ["x", "--epochs", 0], "argument --epochs: must be an integer of at least 1, got '0'"),
        ("tag_entities", ["x", "--text", ""], "argument --text: must have a word in it"),
        ("tag_entities", ["x", "--epochs", "two"], "argument --epochs: must be an integer of at least 1, got 'two'"),
        ("translate_dates", ["--epochs", 0], "argument --epochs: must be an integer of at least 1"),
        ("one_to_one", ["--epochs", 0], "argument --epochs: must be an integer of at least 1"),
        ("name_from_letter", ["x", "--temperature", -1], "argument --temperature: must be a number at least 0"),
        ("piano_roll", ["x", "--dropout", 1], "argument --dropout: must be a number at least 0 and below 1"),
        ("see_the_gradient", ["--distances", 6, 7], "argument --distances: distance must be 6, or more by 3, 4, 6 or above"),
        ("see_the_gradient", ["--steps", 0], "argument --steps: must be an integer of at least 1"),
    ],
)
def test_options(name, words, message, said):
    assert message in said(name, *words)


def test_files_that_are_missing_empty_or_binary(said, tmp_path):
    for name in ("missing", "empty", "binary"):
        (tmp_path / name).mkdir()
        for part in ("train", "dev", "test") if name != "missing" else ():
            (tmp_path / name / f"{part}.txt").write_bytes(b"" if name == "empty" else b"\x89PNG\xff\xfe")
    assert "holds no *.txt file" in said("classify_sentiment", tmp_path / "missing")
    assert "holds no *.txt file" in said("classify_sentiment", tmp_path / "empty")
    assert "is not UTF-8: byte 0x89" in said("classify_sentiment", tmp_path / "binary")
    assert "must hold one file *train*" in said("tag_entities", tmp_path / "missing")
    assert "has no sentence in it" in said("tag_entities", tmp_path / "empty")
    assert "is not UTF-8: byte 0x89" in said("tag_entities", tmp_path / "binary")
    assert "No such file" in said("name_from_letter", tmp_path / "none.txt")
    assert "ten different names or more" in said("name_from_letter", tmp_path / "empty" / "dev.txt")
    assert "is not UTF-8: byte 0x89" in said("name_from_letter", tmp_path / "binary" / "dev.txt")
    assert "must hold three MIDI files or more, got 0" in said("piano_roll", tmp_path / "none")


@pytest.mark.parametrize("name", ["classify_sentiment", "tag_entities", "name_from_letter"])
def test_nothing_to_train_on_and_nothing_saved(name, said, tmp_path):
    assert "is missing: only --text with an --out that holds a trained model" in said(name, "--text", "a", "--out", tmp_path)


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ("", "does not hold a model that can be used: it is not JSON: Expecting value"),
        ("[1]", "does not hold a model that can be used"),
        ("[" * 100_000, "does not hold a model that can be used"),
        ('{"example": "tag_entities"}', "must be classify_sentiment's, got 'tag_entities'"),
        ('{"example": "classify_sentiment"}', "does not hold a model that can be used: 'grams'"),
    ],
)
def test_saved_models_that_are_damaged(details, message, said, tmp_path):
    (tmp_path / "details.json").write_text(details)
    assert message in said("classify_sentiment", "--out", tmp_path, "--text", "fine")


@pytest.mark.parametrize(
    ("name", "words", "file"),
    [
        ("classify_sentiment", ["x"], "model.safetensors"),
        ("tag_entities", ["x"], "details.json"),
        ("translate_dates", [], "model.safetensors"),
        ("name_from_letter", ["x"], "details.json"),
        ("one_to_one", [], "model.safetensors"),
        ("see_the_gradient", [], "gates.png"),
        ("piano_roll", [FOLDER], "sample.mid"),
    ],
)
def test_nothing_is_overwritten_unasked(name, words, file, said, tmp_path):
    words = [_three_files(tmp_path) if word is FOLDER else word for word in words]
    (tmp_path / file).write_text("mine")
    assert said(name, *words, "--out", tmp_path) == f"{tmp_path / file}: {EXISTS}"
    assert (tmp_path / file).read_text() == "mine"


def test_a_solo_replaces_no_file(said, tmp_path):
    (tmp_path / "solo.mid").write_text("mine")
    assert said("../jazz_course", "--out", tmp_path / "solo.mid").endswith(f"error: {tmp_path}/solo.mid: {EXISTS}")
    assert (tmp_path / "solo.mid").read_text() == "mine"
    assert f"{tmp_path}/no: no such folder" in said("../jazz_course", "--out", tmp_path / "no" / "solo.mid")
    assert "is a folder" in said("../jazz_course", "--out", tmp_path, "--overwrite")


def test_too_few_sentences(said, tmp_path):
    (tmp_path / "a.txt").write_text("Good.\t1\nBad.\t0\n")
    assert "must hold more sentences, of both labels" in said("classify_sentiment", tmp_path)


def test_files_that_are_not_midi_files(said, tmp_path):
    piano = example("zoo/piano_roll")
    whole = (_three_files(tmp_path) / "b.mid").read_bytes()
    for broken, fault in (
        (b"", "is not a MIDI file: it is empty"),
        (b"not music", "is not a MIDI file: it does not begin with MThd"),
        (whole[:10], "is cut off: it ends within its header"),
        (whole[:30], "is cut off: it ends within a track; before that it has no notes"),
    ):
        (tmp_path / "b.mid").write_bytes(broken)
        assert said("piano_roll", tmp_path) == f"{tmp_path}/b.mid {fault}"
    piano.write_midi(np.zeros((3, 88), np.float32), tmp_path / "b.mid")
    assert said("piano_roll", tmp_path) == f"{tmp_path}/b.mid has no notes"
    (tmp_path / "b.mid").write_bytes(smf.midi(smf.track((0, smf.on(20)), (480, smf.off(20)))))
    assert said("piano_roll", tmp_path) == f"{tmp_path}/b.mid has no notes for a piano"
