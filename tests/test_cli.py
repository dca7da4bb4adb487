"""The command line from end to end: train, resume, sample, score, info."""

import contextlib
import functools
import io
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from command_line import configuration, error_of, execute, output_of
from tables import each_row
from training_task import assert_same_run, read_metrics

from fastrnn import corpora
from fastrnn._core.version import __version__
from fastrnn.cli import build_parser, main
from fastrnn.info import EXTRAS
from fastrnn.text._training.novelty import line_hashes
from fastrnn.training import checkpoint
from fastrnn.training._run.folder import held

pytestmark = pytest.mark.usefixtures("quick_pictures")

SMALL = ["--hidden", "24", "--layers", "2", "--batch", "16", "--eval-every", "10", "--warmup", "0"]
PLAY = "".join(f"Speaker {i}:\nThis is what the number {i} has to say to all of you.\n\n" for i in range(60))
_train = functools.partial(execute, "train", "chars")


@pytest.fixture(scope="module")
def names_run(tmp_path_factory):
    """Train on the embedded names; return the run folder and the printed output."""
    folder = tmp_path_factory.mktemp("names") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as output:
        _train(*SMALL, "--max-steps", 30, "--out", folder)
    return folder, output.getvalue()


@pytest.fixture(scope="module")
def play_run(tmp_path_factory):
    """Train on a stream; the text is next to the run folder."""
    folder = tmp_path_factory.mktemp("play")
    (folder / "play.txt").write_text(PLAY)
    _train(folder / "play.txt", *SMALL, "--max-steps", 20, "--seq-length", 32, "--out", folder / "run")
    return folder / "run"


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


# train


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
    _train("--out", tmp_path)
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
    _train(tmp_path / "play.txt", "--reading", "lines", *SMALL, "--max-steps", 1, "--out", tmp_path / "run")
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
    _train(text, *flags, "--tied", "--lower", "--encoding", "UTF8", "--threads", 1, "--out", tmp_path / "run")
    saved = configuration(tmp_path / "run")
    assert saved["options"] == {
        **options, "unk": True, "reading": "lines", "lower": True, "encoding": "utf-8", "tied": True
    }  # fmt: skip
    assert saved["vocabulary"]["unk"]
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").model["recurrent.weight_ih_l0"].shape == (36, 12)


def test_zero_turns_clipping_off(tmp_path):
    _train(*SMALL, "--max-steps", 1, "--clip-norm", 0, "--clip-value", 0, "--out", tmp_path)
    options = configuration(tmp_path)["options"]
    assert options["clip_norm"] is None
    assert options["clip_value"] is None


def test_default_folders_are_numbered(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my play.txt").write_text(PLAY)
    for _ in range(2):
        _train("my play.txt", *SMALL, "--max-steps", 1)
    assert sorted(os.listdir("runs")) == ["my play", "my play-2"]
    output = capsys.readouterr().out
    assert "runs/my play-2" in output
    assert "sample with: fastrnn sample 'runs/my play-2'\n" in output  # can be pasted into a shell


def test_the_default_folder_of_a_pipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    os.write(writer, PLAY.encode())
    os.close(writer)
    _train(f"/dev/fd/{reader}", *SMALL, "--max-steps", 1)
    os.close(reader)
    assert os.listdir("runs") == ["text"]


def test_resume_is_as_if_never_stopped(tmp_path, capsys):
    options = [*SMALL, "--dropout", 0.2, "--schedule", "constant"]
    _train(*options, "--max-steps", 30, "--out", tmp_path / "whole")
    _train(*options, "--max-steps", 10, "--out", tmp_path / "parts")
    resume = ["train", "chars", "--resume", "--max-steps", 30, "--out", tmp_path / "parts"]
    assert "going on from step 10" in output_of(capsys, *resume).out
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def _engine_of(folder):
    return configuration(folder)["kernels"]


def test_resume_with_another_backend_numba_says_so_once(tmp_path, capsys):
    from fastrnn import backends

    backends.load("numba").compile_for("float32", training=True)  # now, because its notice would be a second line
    options = [*SMALL, "--schedule", "constant", "--out", tmp_path]
    with backends.use_backend(None):
        _train(*options, "--max-steps", 2, "--backend", "reference")
        assert _engine_of(tmp_path) == {"backend": "reference", "isa": "numpy", "precision": "highest"}
        capsys.readouterr()
        _train("--resume", "--max-steps", 3, "--out", tmp_path, "--backend", "reference")
        assert "warning" not in capsys.readouterr().err
        _train("--resume", "--max-steps", 4, "--out", tmp_path, "--backend", "numba")
        numba = _engine_of(tmp_path)
        warning = f"the run used reference (numpy) and goes on with numba ({numba['isa']}): results will differ in rounding"
        assert capsys.readouterr().err.splitlines() == [f"fastrnn: warning: {warning}"]
        assert numba["backend"] == "numba"


def test_resume_with_another_instruction_set_says_so(tmp_path, capsys, c):
    from fastrnn import backends
    from fastrnn.training._run.folder import ROUNDS_AS

    best, base = c.isa_names()[0], c.isa_names()[-1]
    if best == base:
        pytest.skip("there is only one instruction set here")
    with backends.use_backend("c"):
        _train(*SMALL, "--schedule", "constant", "--max-steps", 2, "--out", tmp_path)
        best = ROUNDS_AS.get(best, best)
        assert _engine_of(tmp_path) == {"backend": "c", "isa": best, "precision": "highest"}
        c.set_isa(base)
        try:
            _train("--resume", "--max-steps", 3, "--out", tmp_path)
        finally:
            c.set_isa(None)
    assert f"the run used c ({best}) and goes on with c ({base}): results will differ" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        (["--schedule", "cosine", "--warmup", 0], True),
        pytest.param(["--schedule", "step", "--warmup", 0], True, marks=pytest.mark.slow),
        pytest.param(["--schedule", "constant", "--warmup", 0], False, marks=pytest.mark.slow),
        (["--schedule", "constant", "--warmup", 15], True),
        (["--schedule", "constant", "--warmup", 1], False),
    ],
)
def test_resume_with_other_steps_says_when_learning_rates_change(tmp_path, capsys, options, warned):
    _train(*SMALL, *options, "--max-steps", 10, "--out", tmp_path)
    capsys.readouterr()
    _train("--resume", "--max-steps", 10, "--out", tmp_path)
    assert capsys.readouterr().err == ""
    _train("--resume", "--max-steps", 200, "--max-seconds", 1e-9, "--out", tmp_path)
    line = f"fastrnn: warning: --max-steps was 10 and is 200: the learning rates of the {options[1]} schedule change\n"
    assert capsys.readouterr().err == line * warned


def test_a_file_wins_over_an_embedded_text_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus:dinosaurs").write_text(PLAY)
    _train("corpus:dinosaurs", *SMALL, "--max-steps", 1)
    _train("--resume", "--max-steps", 2, "--out", "runs/dinosaurs")
    for name, source in (("dinosaurs", str(tmp_path / "corpus:dinosaurs")), ("dinosaurs-2", "corpus:dinosaurs")):
        if name == "dinosaurs-2":
            _train(*SMALL, "--max-steps", 1)
        assert configuration(tmp_path / "runs" / name)["data"]["sources"] == [source]


def test_unk_occurs_in_training_unless_it_is_switched_off(tmp_path):
    (tmp_path / "text.txt").write_text("aabbc\n" + "abab\n" * 20)
    for name, options, expected in (
        ("implied", ["--unk"], (2, ["\n", "a", "b"])),
        ("given", ["--unk", "--min-count", 1], (1, ["\n", "a", "b", "c"])),
    ):
        _train(tmp_path / "text.txt", "--reading", "lines", *options, *SMALL, "--max-steps", 1, "--out", tmp_path / name)
        config = configuration(tmp_path / name)
        assert (config["options"]["min_count"], config["vocabulary"]["tokens"]) == expected
        assert config["options"]["unk"] is config["vocabulary"]["unk"] is True
    _train("--resume", "--unk", "--max-steps", 2, "--out", tmp_path / "given")


def test_resume_takes_the_text_from_elsewhere_if_it_is_the_same(tmp_path):
    (tmp_path / "a.txt").write_text(PLAY)
    _train(tmp_path / "a.txt", *SMALL, "--max-steps", 2, "--out", tmp_path / "run")
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    _train(tmp_path / "b.txt", "--resume", "--max-steps", 3, "--out", tmp_path / "run")
    assert configuration(tmp_path / "run")["data"]["sources"] == [str(tmp_path / "b.txt")]


def test_overwrite_replaces_a_run(tmp_path):
    _train(*SMALL, "--max-steps", 20, "--out", tmp_path)
    _train(*SMALL, "--max-steps", 10, "--overwrite", "--hidden", 12, "--out", tmp_path)
    assert [row["step"] for row in read_metrics(tmp_path)] == ["10"]
    assert (tmp_path / "samples.txt").read_text().count("--- step ") == 1
    assert configuration(tmp_path)["options"]["hidden"] == 12


def test_a_folder_that_holds_a_run_is_refused_before_the_text_is_read(tmp_path, capsys):
    _train(*SMALL, "--max-steps", 1, "--out", tmp_path)
    for kind in ("chars", "words", "jazz"):
        message = error_of(capsys, "train", kind, tmp_path / "missing.txt", "--out", tmp_path)
        assert message.startswith(f"{tmp_path} holds a run already")


def test_the_launcher_learns_of_a_replacing_run_when_its_configuration_is_there(tmp_path, monkeypatch):
    _train(*SMALL, "--max-steps", 1, "--out", tmp_path)
    said = []
    monkeypatch.setattr(
        "fastrnn.distributed.heartbeat.say",
        lambda **message: said.append((message["out"], configuration(tmp_path)["options"]["hidden"])),
    )
    _train(*SMALL, "--max-steps", 1, "--overwrite", "--hidden", 12, "--out", tmp_path)
    assert said == [(str(tmp_path), 12)]


def test_ctrl_c_saves_and_the_run_can_go_on(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-u", "-m", "fastrnn", "train", "chars", *SMALL, "--max-steps", "1000000"]
    process = subprocess.Popen([*command, "--out", str(folder)], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("step"):
            process.send_signal(signal.SIGINT)
            break
    output = process.stdout.read()
    assert process.wait(timeout=60) == 130
    stopped = int(re.search(r"interrupted at step (\d+); go on with: fastrnn train chars --resume", output)[1])
    assert checkpoint.load(folder / "last.safetensors").state["trainer"]["step"] == stopped
    _train("--resume", "--max-steps", stopped + 1, "--out", folder)
    assert checkpoint.load(folder / "last.safetensors").state["trainer"]["step"] == stopped + 1


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


def test_two_trainings_do_not_share_a_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    _train(*SMALL, "--max-steps", 2, "--out", folder)
    config = (folder / "config.json").read_bytes()
    with held(folder):
        for how in ("--overwrite", "--resume"):
            command = ["train", "chars", *([] if how == "--resume" else SMALL), how, "--out", folder]
            assert error_of(capsys, *command) == f"{folder} is in use: another training is running in it"
    assert (folder / "config.json").read_bytes() == config
    _train("--resume", "--max-steps", 3, "--out", folder)


def test_training_does_without_the_train_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()  # undo quick_pictures, because a real picture needs matplotlib
    for module in ("rich", "rich.progress", "matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    _train(*SMALL, "--max-steps", 2, "--out", tmp_path)
    captured = capsys.readouterr()
    assert "no loss curve: matplotlib is not installed (pip install 'fastrnn[train]')" in captured.err
    assert "best validation loss" in captured.out
    assert not (tmp_path / "loss.png").exists()


# sample


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


def test_names_of_the_training_set_are_not_new(names_run, capsys, monkeypatch):
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
    (folder / "lines.safetensors").rename(folder / "hidden")
    execute("sample", folder, "--number", "3")
    (folder / "hidden").rename(folder / "lines.safetensors")
    assert "how many are new is not known" in capsys.readouterr().err


def test_sampled_stream(play_run, capsys):
    captured = output_of(capsys, "sample", play_run, "--length", "600", "--prefix", "Speaker 1", "--seed", "4")
    assert captured.out.startswith("Speaker 1")
    assert len(captured.out) == 9 + 600 + 1
    assert re.search(r"^\d+\.\d% of its 20-grams occur in the text trained on$", captured.err, re.MULTILINE)
    assert len(output_of(capsys, "sample", play_run, "--length", "50", "--number", "2").out) == 2 * 50 + 3


def test_a_stream_whose_text_is_gone_or_changed(play_run, capsys):
    text = play_run.parent / "play.txt"
    text.write_text(PLAY + "!")
    assert "not known: the text trained on has changed" in output_of(capsys, "sample", play_run, "--length", "30").err
    text.unlink()
    gone = "not known: the text trained on is not there any more"
    assert gone in output_of(capsys, "sample", play_run, "--length", "30").err
    os.mkfifo(text)  # reading it would wait for a writer
    assert gone in output_of(capsys, "sample", play_run, "--length", "30").err
    text.unlink()
    text.write_text(PLAY)
    assert "not known: it is shorter than 20 characters" in output_of(capsys, "sample", play_run, "--length", "5").err


def test_unk_makes_unknown_characters_known(tmp_path, capsys):
    _train(*SMALL, "--max-steps", 2, "--min-count", 20, "--out", tmp_path)
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
    _train(tmp_path / "play.txt", "--reading", reading, "--unk", *SMALL, "--max-steps", 1, "--out", tmp_path / "run")
    capsys.readouterr()
    for number in ("1", "2"):
        captured = output_of(capsys, "sample", tmp_path / "run", "--prefix", "\udcff", "--number", number, "--length", "30")
        assert captured.out.startswith("\\udcff")
        assert ("of " + number + " are new" if reading == "lines" else "20-grams occur") in captured.err


# score


def test_score_prints_consistent_numbers(names_run, capsys):
    folder, _ = names_run
    output = output_of(capsys, "score", folder, "Tyrannosaurus", "--verbose").out
    nats = float(re.search(r"log-probability: +(-[\d.]+) nats \(14 characters, the end of the line included\)", output)[1])
    bits = float(re.search(r"bits per character: ([\d.]+)", output)[1])
    perplexity = float(re.search(r"perplexity: +([\d.]+)", output)[1])
    assert bits == pytest.approx(-nats / 14 / np.log(2), abs=1e-4)
    assert perplexity == pytest.approx(np.exp(-nats / 14), abs=1e-3)
    table = re.findall(r"^ +('.'|end) +([\d.]+) +([\d.]+)$", output, re.MULTILINE)
    assert "".join(token.strip("'") for token, _, _ in table) == "Tyrannosaurusend"
    assert sum(float(cell) for _, _, cell in table) == pytest.approx(-nats / np.log(2), abs=0.01)


def test_a_name_is_more_probable_than_its_reverse(names_run, capsys):
    folder, _ = names_run
    perplexities = []
    for text in ("Abelisaurus", "suruasilebA"):
        perplexities.append(float(re.search(r"perplexity: +([\d.]+)", output_of(capsys, "score", folder, text).out)[1]))
    assert perplexities[0] < perplexities[1]


def test_a_stream_is_scored_without_an_end(play_run, capsys):
    assert "nats (7 characters)" in output_of(capsys, "score", play_run, "Speaker").out


def test_line_breaks_of_a_stream_are_characters_of_the_table(play_run, capsys):
    table = output_of(capsys, "score", play_run, "1:\nT", "--verbose").out.splitlines()[1:5]
    assert [line.split()[0] for line in table] == ["'1'", "':'", r"'\n'", "'T'"]
    rows = output_of(capsys, "score", play_run, "1:\nT", "2:\nT").out.splitlines()[1:3]
    assert [row.split()[-1] for row in rows] == [r"1:\nT", r"2:\nT"]


# info and help


def test_a_run_records_the_precision_that_ran(tmp_path, capsys):
    import fastrnn

    # "highest" if the processor lacks the products
    medium = fastrnn.LSTM(32, 32, precision="medium").plan(1, 32)[0].precision
    options = [*SMALL, "--hidden", 32, "--schedule", "constant", "--out", tmp_path]
    with fastrnn.use_precision("highest"):
        _train(*options, "--max-steps", 2, "--precision", "medium")
        assert fastrnn.get_float32_matmul_precision() == "medium"
        assert _engine_of(tmp_path)["precision"] == medium
        capsys.readouterr()
        _train("--resume", "--max-steps", 3, "--out", tmp_path, "--precision", "highest")
    warned = "medium) and goes on with" in capsys.readouterr().err
    assert warned == (medium == "medium")
    assert _engine_of(tmp_path)["precision"] == "highest"


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_a_precision_that_does_not_run_is_a_warning(names_run, capsys, isa, precision):
    import fastrnn

    folder, _ = names_run
    with fastrnn.use_precision("highest"):
        error = output_of(capsys, "score", folder, "Abelisaurus", "--precision", precision).err
    (plan,) = fastrnn.LSTM(256, 256, precision=precision).plan(64, 64)
    expected = f"fastrnn: warning: --precision {precision} runs as highest: {plan.reason}\n" if plan.reason else ""
    assert error == expected
    assert plan.reason or precision == "highest" or isa in ("amx", "avx512bf16")


def test_info_says_which_precisions_run(capsys):
    import fastrnn

    with fastrnn.use_precision("medium"):
        output = output_of(capsys, "info").out
    row = r"^precision: +medium; change it with fastrnn.set_float32_matmul_precision\(name\)"
    assert re.search(row, output, re.MULTILINE)
    for precision in ("high", "medium"):
        (plan,) = fastrnn.LSTM(256, 256, precision=precision).plan(64, 64)
        assert f"{precision:10} {f'runs as highest: {plan.reason}' if plan.reason else 'runs'}\n" in output


def test_info_says_what_is_chosen_and_how_to_change_it(capsys):
    import fastrnn

    output = output_of(capsys, "info").out
    assert output.startswith(f"fastrnn:    {fastrnn.__version__}\n")
    for word in ("reference", "numba", "fastrnn.use_backend(name)", "numpy", "train"):
        assert word in output


REINSTALL = "CC=gcc pip install --force-reinstall --no-deps --no-cache-dir"
REBUILD = f"{REINSTALL} --no-binary fastrnn fastrnn; in a checkout: {REINSTALL} ."


def _info(capsys):
    """Return the rows of ``fastrnn info`` by name."""
    return dict(re.findall(r"^(\w[\w ]*): +(.*)$", output_of(capsys, "info").out, re.MULTILINE))


@pytest.mark.parametrize(("backend", "isa"), [("numba", "[a-z0-9]+"), ("reference", "numpy")])
def test_info_shows_the_chosen_backends_own_isa_and_threads(capsys, monkeypatch, backend, isa):
    from fastrnn import backends

    if backend not in backends.available():
        pytest.skip(f"there is no {backend} here")
    monkeypatch.setenv("FASTRNN_BACKEND", backend)
    with backends.use_backend(None):
        chosen = _info(capsys)["chosen"]
    assert re.match(rf"{backend} \(by FASTRNN_BACKEND\), isa {isa}, 1 thread for a large layer; change it with", chosen)


def test_info_shows_cs_isa_threads_and_compiler(capsys, monkeypatch, isa, c, set_threads):
    from fastrnn import backends

    monkeypatch.delenv("FASTRNN_BACKEND", raising=False)
    set_threads(2)
    with backends.use_backend(None):
        rows = _info(capsys)
    assert rows["chosen"].startswith(f"c (the first one present), isa {isa}, 2 threads for a large layer; ")
    assert rows["c isa"] == f"{isa} (found: {', '.join(c.isa_names())}); change it with FASTRNN_ISA"
    assert rows["c threads"].startswith("at most 2; change it with FASTRNN_NUM_THREADS")
    assert rows["c compiler"] == f"{c.info()['compiler']}; to change it, {REBUILD}"


def test_info_says_how_to_install_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr("fastrnn.info.util.find_spec", lambda module: None)
    missing = f"missing: {', '.join(EXTRAS['train'])} (pip install 'fastrnn[train]')"
    assert _info(capsys)["extras"] == f"train      {missing}"


def test_info_shows_all_that_an_extra_installs():
    extras = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in ("train", "torch", "onnx", "zoo"):
        named = [re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in extras[extra]]
        assert list(EXTRAS[extra]) == named


def test_info_without_a_c_backend_says_why(capsys, monkeypatch):
    from fastrnn import backends

    def load(name):
        if name == "c":
            raise backends.BackendUnavailable("no C") from ImportError("it was not built")
        return real(name)

    real = backends.load
    monkeypatch.setattr(backends, "load", load)
    monkeypatch.setattr(backends, "available", lambda: ("reference",))
    monkeypatch.setattr(backends, "current", lambda: real("reference"))
    rows = _info(capsys)
    assert rows["backends"] == "c          missing: it was not built"
    assert rows["c isa"] == "none; change it with FASTRNN_ISA"
    assert rows["c threads"].startswith("none; change it with FASTRNN_NUM_THREADS")
    assert rows["c compiler"] == f"none; to have C kernels, install gcc or clang, then {REBUILD}"


@each_row("command", ["", "train", "train chars", "train words", "train jazz", "sample", "score", "improvise", "info"])
def test_help_fits_a_terminal(command, capsys):
    output = output_of(capsys, *command.split(), "--help").out
    assert output.startswith("usage: fastrnn")
    assert max(map(len, output.splitlines())) <= 120
    assert "None" not in output
