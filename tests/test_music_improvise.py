"""``fastrnn improvise``: seeds, keys and changes, checks before anything is sampled, and errors while sampling."""

import re

import numpy as np
import pytest
from command_line import II_V_I, error_of, execute, output_of
from part_files import part_file

from fastrnn.music import generation
from fastrnn.music.changes import parse_changes
from fastrnn.music.generation import Form
from fastrnn.music.jazz_model import jazz_model
from fastrnn.music.midi import read_midi
from fastrnn.music.piece import Note
from fastrnn.music.vocabulary import PartVocabulary


@pytest.mark.parametrize("command", [["improvise", "RUN", "--changes", II_V_I], ["sample", "RUN"]])
def test_a_drawn_seed_is_printed_and_gives_the_same_again(command, jazz_run, tmp_path, capsys):
    command = [jazz_run if word == "RUN" else word for word in command]
    files = [tmp_path / name for name in ("a.mid", "b.mid", "c.mid")]
    seeds = [
        re.search(r"^seed (\d+)$", output_of(capsys, *command, "--out", path).err, re.MULTILINE)[1] for path in files[:2]
    ]
    assert seeds[0] != seeds[1]
    assert f"seed {seeds[0]}\n" in output_of(capsys, *command, "--seed", seeds[0], "--out", files[2]).err
    assert files[0].read_bytes() == files[2].read_bytes() != files[1].read_bytes()


def test_errors_of_keys_and_changes(jazz_run, tmp_path, capsys):
    def fault(*arguments):
        return error_of(capsys, "improvise", jazz_run, "--out", tmp_path / "x.mid", "--changes", *arguments).split("\n")[0]

    assert fault("rhythm-changes", "--key", "Dm") == "rhythm-changes is in major: expected a key such as D, and not minor"
    for key in ("H", "C##", "bb", ""):
        expected = f"{key!r} is not a key: expected a note such as C, Bb or F#, and m for a minor key"
        assert fault("blues", "--key", key) == fault("C | F", "--key", key) == expected
    assert fault("") == "there are no chords"
    assert fault(" | ".join(["C"] * 10_000)) == "there are more than 1024 bars, repeats included"
    assert fault("C :|x64 D :|x64 " * 9) == "there are more than 1024 bars, repeats included"


def test_options_are_checked_before_anything_is_printed(rags, tmp_path, capsys):
    lick = part_file(tmp_path, Note(0, 6, 76), Note(6, 6, 79))  # in 4/4
    command = ["improvise", rags, "--changes", "C | F", "--metre", "6/8", "--out", tmp_path / "x.mid", "--primer", lick]
    said = output_of(capsys, *command, "--swing", 0.6, status=2).err
    assert said == "fastrnn: error: --swing is for beats of a quarter, and those of 6/8 are not\n"
    said = output_of(capsys, *command).err
    assert f"{lick} is in 4/4 and the form in 6/8" in said
    assert "no song trained on is in 6/8: the model knows no such bars" in said
    command = ["sample", rags, "--seed", 0, "--out", tmp_path / "y.mid", "--instrument", "violin"]
    command += ["--wav", tmp_path / "y.wav", "--tempo", 20]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastrnn.music._output.synthesis.LONGEST", 1.0)
        assert error_of(capsys, *command).startswith("--wav is for 0.0166667 minutes at most, and this would be")


def test_as_many_bars_as_are_played(jazz_run, tmp_path, capsys, monkeypatch):
    command = ["improvise", jazz_run, "--out", tmp_path / "x.mid", "--changes", "|: C | F | G7 | C :|x64", "--choruses"]
    assert error_of(capsys, *command, 9) == "--choruses 9 of 256 bars are 2,304 bars: at most 2,048 are played"
    bars = []

    def stopped(*arguments, **_):
        bars.append(arguments[2].bars)
        raise generation.NonFiniteLogits("stopped")

    monkeypatch.setattr(generation, "improvise", stopped)
    assert "bars" not in output_of(capsys, *command, 8, status=1).err
    assert bars == [2049]  # with a closing bar


def test_a_minor_key_has_its_own_blues(jazz_run, tmp_path):
    for name, changes in (("a", "blues"), ("b", "minor-blues")):
        command = ["improvise", str(jazz_run), "--changes", changes, "--key", "Dm", "--seed", "1"]
        execute(*command, "--out", tmp_path / f"{name}.mid")
    assert read_midi(tmp_path / "a.mid") == read_midi(tmp_path / "b.mid")
    assert read_midi(tmp_path / "a.mid").chords[0][1].symbol == "Dm7"


def test_a_model_that_diverged_is_reported(jazz_run, tmp_path, capsys, monkeypatch):
    def astray(*_, **__):
        vocabulary = PartVocabulary(60, 61)
        model = jazz_model(vocabulary, hidden=4, layers=1, rng=0)
        weight = dict(model.named_parameters())["output.weight"]
        weight.assign(np.full_like(weight.data, np.inf))
        return improvise(model, vocabulary, Form.of(parse_changes("C")), seed=0)

    improvise = generation.improvise
    monkeypatch.setattr(generation, "improvise", astray)
    said = output_of(capsys, "improvise", jazz_run, "--changes", "C", "--out", tmp_path / "x.mid", status=1).err
    assert said.splitlines()[-1] == "fastrnn: error: nothing can be sampled: a logit is NaN or infinite"


def test_a_bug_in_fastrnn_is_raised_unchanged(jazz_run, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr(generation, "improvise", broken)
    with pytest.raises(ValueError, match="a bug"):
        execute("improvise", jazz_run, "--changes", "C", "--out", tmp_path / "x.mid")
    monkeypatch.undo()
    monkeypatch.setattr("fastrnn.music.midi_writing.write_midi", broken)
    with pytest.raises(ValueError, match="a bug"):
        execute("improvise", jazz_run, "--changes", "C", "--out", tmp_path / "x.mid")
