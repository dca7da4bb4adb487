"""``fastrnn train chars`` begins a run: its options, its output, and the run folder."""

import os
import re
import sys

import pytest
from command_line import CHARS, configuration, error_of, output_of, train_chars
from trained_runs import PLAY
from training_task import read_metrics

from fastrnn import corpora
from fastrnn.training import checkpoint

pytestmark = pytest.mark.usefixtures("quick_pictures")


def test_a_run_prints_what_it_does(names_run):
    _, output = names_run
    assert "corpus:dinosaurs" in output
    assert re.search(r"reading: +lines \(guessed: 100% of its [\d,]+ lines have at most 3 words; --reading", output)
    assert re.search(r"split: +[\d,]+ lines to train on, 150 held out; batches of 16", output)
    assert re.search(r"model: +LSTM 2 x 24, embedding 64, [\d,]+ parameters", output)
    assert re.search(r"best validation loss \d\.\d{4} nats per character", output)
    assert "sample with: fastrnn sample" in output


@pytest.mark.slow
def test_the_defaults_make_names_that_look_like_dinosaurs(tmp_path, capsys):
    train_chars("--out", tmp_path)
    best = checkpoint.load(tmp_path / "best.safetensors").state["trainer"]["best_val_loss"]
    assert best < 1.8
    captured = output_of(capsys, "sample", tmp_path, "--number", "200", "--seed", "0")
    names = captured.out.splitlines()
    endings = ("saurus", "us", "ops", "tor", "don", "ia", "long", "titan", "yx", "mus", "venator", "pelta")
    assert sum(name.endswith(endings) for name in names) > 140
    assert sum(re.fullmatch("[A-Z][a-z]{2,24}", name) is not None for name in names) > 190
    assert int(re.search(r"(\d+) of 200 are new", captured.err)[1]) > 150


def test_a_run_folder_is_complete(names_run):
    folder, output = names_run
    config = configuration(folder)
    assert config["options"]["hidden"] == 24
    assert config["options"]["lr"] == 3e-3
    assert config["data"]["sources"] == ["corpus:dinosaurs"]
    assert config["vocabulary"]["tokens"][0] == "\n"
    rows = read_metrics(folder)
    assert [row["step"] for row in rows] == ["10", "20", "30"]
    losses = [float(row["val_loss"]) for row in rows]
    assert losses[0] > losses[2]
    samples = (folder / "samples.txt").read_text()
    assert samples.count("--- step ") == 3
    assert all(name in output for name in samples.split("\n")[1:6])
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert checkpoint.load(folder / "last.safetensors").state["trainer"]["step"] == 30
    assert checkpoint.load(folder / "best.safetensors").state["trainer"]["best_val_loss"] == min(losses)


def test_a_stream_is_guessed_and_trained(play_run):
    config = configuration(play_run)
    assert config["options"]["reading"] == "stream"
    assert not (play_run / "lines.safetensors").exists()
    losses = [float(row["val_loss"]) for row in read_metrics(play_run)]
    assert losses[1] < losses[0]


def test_reading_can_be_chosen(tmp_path, capsys):
    (tmp_path / "play.txt").write_text(PLAY)
    train_chars(tmp_path / "play.txt", "--reading", "lines", *CHARS, "--max-steps", 1, "--out", tmp_path / "run")
    output = capsys.readouterr().out
    assert re.search(r"reading: +lines\n", output)
    assert "108 lines to train on, 12 held out" in output


def test_every_option_reaches_the_run(tmp_path):
    options = {
        "model": "gru", "layers": 1, "hidden": 12, "embedding": 12, "dropout": 0.1, "batch": 4, "seq_length": 20,
        "lr": 0.01, "optimizer": "rmsprop", "schedule": "step", "warmup": 1, "weight_decay": 0.001, "clip_norm": 2.0,
        "clip_value": 0.5, "val_fraction": 0.2, "eval_every": 2, "max_steps": 3, "max_seconds": 100.0, "patience": 2,
        "seed": 9, "min_count": 3, "column": 1,
    }  # fmt: skip
    text = tmp_path / "names.txt"
    text.write_text(corpora.load("dinosaurs"))
    flags = [str(part) for name, value in options.items() for part in ("--" + name.replace("_", "-"), value)]
    train_chars(text, *flags, "--tied", "--lower", "--encoding", "UTF8", "--threads", 1, "--out", tmp_path / "run")
    saved = configuration(tmp_path / "run")
    assert saved["options"] == {
        **options, "unk": True, "reading": "lines", "lower": True, "encoding": "utf-8", "tied": True
    }  # fmt: skip
    assert saved["vocabulary"]["unk"]
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").model["recurrent.weight_ih_l0"].shape == (36, 12)


def test_zero_turns_clipping_off(tmp_path):
    train_chars(*CHARS, "--max-steps", 1, "--clip-norm", 0, "--clip-value", 0, "--out", tmp_path)
    options = configuration(tmp_path)["options"]
    assert options["clip_norm"] is None
    assert options["clip_value"] is None


def test_default_folders_are_numbered(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my play.txt").write_text(PLAY)
    for _ in range(2):
        train_chars("my play.txt", *CHARS, "--max-steps", 1)
    assert sorted(os.listdir("runs")) == ["my play", "my play-2"]
    output = capsys.readouterr().out
    assert "runs/my play-2" in output
    assert "sample with: fastrnn sample 'runs/my play-2'\n" in output  # can be pasted into a shell


def test_the_default_folder_of_a_pipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    os.write(writer, PLAY.encode())
    os.close(writer)
    train_chars(f"/dev/fd/{reader}", *CHARS, "--max-steps", 1)
    os.close(reader)
    assert os.listdir("runs") == ["text"]


def test_a_file_wins_over_an_embedded_text_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus:dinosaurs").write_text(PLAY)
    train_chars("corpus:dinosaurs", *CHARS, "--max-steps", 1)
    train_chars("--resume", "--max-steps", 2, "--out", "runs/dinosaurs")
    for name, source in (("dinosaurs", str(tmp_path / "corpus:dinosaurs")), ("dinosaurs-2", "corpus:dinosaurs")):
        if name == "dinosaurs-2":
            train_chars(*CHARS, "--max-steps", 1)
        assert configuration(tmp_path / "runs" / name)["data"]["sources"] == [source]


def test_unk_occurs_in_training_unless_it_is_switched_off(tmp_path):
    (tmp_path / "text.txt").write_text("aabbc\n" + "abab\n" * 20)
    for name, options, expected in (
        ("implied", ["--unk"], (2, ["\n", "a", "b"])),
        ("given", ["--unk", "--min-count", 1], (1, ["\n", "a", "b", "c"])),
    ):
        train_chars(
            tmp_path / "text.txt", "--reading", "lines", *options, *CHARS, "--max-steps", 1, "--out", tmp_path / name
        )
        config = configuration(tmp_path / name)
        assert (config["options"]["min_count"], config["vocabulary"]["tokens"]) == expected
        assert config["options"]["unk"] is config["vocabulary"]["unk"] is True
    train_chars("--resume", "--unk", "--max-steps", 2, "--out", tmp_path / "given")


def test_overwrite_replaces_a_run(tmp_path):
    train_chars(*CHARS, "--max-steps", 20, "--out", tmp_path)
    train_chars(*CHARS, "--max-steps", 10, "--overwrite", "--hidden", 12, "--out", tmp_path)
    assert [row["step"] for row in read_metrics(tmp_path)] == ["10"]
    assert (tmp_path / "samples.txt").read_text().count("--- step ") == 1
    assert configuration(tmp_path)["options"]["hidden"] == 12


def test_a_folder_that_holds_a_run_is_refused_before_the_text_is_read(tmp_path, capsys):
    train_chars(*CHARS, "--max-steps", 1, "--out", tmp_path)
    for kind in ("chars", "words", "jazz"):
        message = error_of(capsys, "train", kind, tmp_path / "missing.txt", "--out", tmp_path)
        assert message.startswith(f"{tmp_path} holds a run already")


def test_the_launcher_learns_of_a_replacing_run_when_its_configuration_is_there(tmp_path, monkeypatch):
    train_chars(*CHARS, "--max-steps", 1, "--out", tmp_path)
    said = []
    monkeypatch.setattr(
        "fastrnn.distributed.heartbeat.say",
        lambda **message: said.append((message["out"], configuration(tmp_path)["options"]["hidden"])),
    )
    train_chars(*CHARS, "--max-steps", 1, "--overwrite", "--hidden", 12, "--out", tmp_path)
    assert said == [(str(tmp_path), 12)]


def test_training_does_without_the_train_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()  # undo quick_pictures, because a real picture needs matplotlib
    for module in ("rich", "rich.progress", "matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    train_chars(*CHARS, "--max-steps", 2, "--out", tmp_path)
    captured = capsys.readouterr()
    assert "no loss curve: matplotlib is not installed (pip install 'fastrnn[train]')" in captured.err
    assert "best validation loss" in captured.out
    assert not (tmp_path / "loss.png").exists()
