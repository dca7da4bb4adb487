"""Mistakes of users and faults of their machines give a one-line error and the right exit status, and lose no data."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from command_line import configuration, error_of, execute, on_a_full_disk
from tables import each_row

from fastrnn import serialization
from fastrnn.training import checkpoint

pytestmark = pytest.mark.usefixtures("quick_pictures")

SMALL = ["--hidden", "16", "--layers", "1", "--batch", "8", "--eval-every", "5", "--max-steps", "5"]


@pytest.fixture
def run(trained, tmp_path):
    """Return a copy of a run, which the tests damage."""
    return shutil.copytree(trained, tmp_path / "run")


# Options


@each_row(
    ("command", "message"),
    [
        ("train chars --hidden 0", "argument --hidden: must be an integer of at least 1, got '0'"),
        ("train chars --hidden -3", "argument --hidden: must be an integer of at least 1, got '-3'"),
        ("train chars --layers two", "argument --layers: must be an integer of at least 1, got 'two'"),
        ("train chars --embedding -1", "argument --embedding: must be an integer of at least 0"),
        ("train chars --dropout 1", "argument --dropout: must be a number at least 0 and below 1, got '1'"),
        ("train chars --lr 0", "argument --lr: must be a number above 0, got '0'"),
        ("train chars --lr nan", "argument --lr: must be a number above 0, got 'nan'"),
        ("train chars --lr inf", "argument --lr: must be a number above 0, got 'inf'"),
        ("train chars --val-fraction 1", "argument --val-fraction: must be a number above 0 and below 1, got '1'"),
        ("train chars --batch 1.5", "argument --batch: must be an integer of at least 1, got '1.5'"),
        ("train chars --max-seconds 0", "argument --max-seconds: must be a number above 0"),
        ("train chars --clip-norm -1", "argument --clip-norm: must be a number at least 0"),
        ("train chars --seed -1", "argument --seed: must be an integer of at least 0"),
        (
            "train chars --hidden " + "9" * 20,
            "argument --hidden: must be an integer of at most 2147483647, got '99999999999999999999'",
        ),
        (f"train chars --seed {2**64}", "argument --seed: must be an integer of at most 18446744073709551615"),
        ("train chars --threads 0", "argument --threads: must be an integer of at least 1"),
        ("train chars --threads 100000", "argument --threads: n must be at most 256, got 100000"),
        ("train chars --model gpt", "argument --model: invalid choice: 'gpt' (choose from"),
        ("train chars --reading words", "argument --reading: invalid choice: 'words' (choose from"),
        ("train chars --schedule x", "argument --schedule: invalid choice: 'x' (choose from"),
        ("train chars --optimizer x", "argument --optimizer: invalid choice: 'x' (choose from"),
        ("train chars --backend x", "argument --backend: invalid choice: 'x' (choose from"),
        ("train chars --out=", "argument --out: must be a folder, got ''"),
        ("demo --out=", "argument --out: must be a folder, got ''"),
        ("train chars --size 3", "unrecognized arguments: --size"),
        ("sample RUN --temperature -1", "argument --temperature: must be a number at least 0, got '-1'"),
        ("sample RUN --top-k -1", "argument --top-k: must be an integer of at least 0, got '-1'"),
        ("sample RUN --top-p 0", "argument --top-p: must be a number above 0 and at most 1, got '0'"),
        ("sample RUN --top-p 2", "argument --top-p: must be a number above 0 and at most 1, got '2'"),
        ("sample RUN --number 0", "argument --number: must be an integer of at least 1, got '0'"),
        ("sample RUN --length x", "argument --length: must be an integer of at least 1, got 'x'"),
        ("sample RUN --length " + "9" * 22, "argument --length: must be an integer of at most 2147483647"),
        ("sample RUN --number " + "9" * 22, "argument --number: must be an integer of at most 2147483647"),
        ("score RUN --verbos2 a", "unrecognized arguments: --verbos2"),
        ("score RUN a --file", "argument --file: expected one argument"),
        ("sample --number 2", "the following arguments are required: RUN"),
        ("sample RUN --seed 1 more", "unrecognized arguments: more"),
        ("info --verbose here", "unrecognized arguments: --verbose here"),
        ("train chars A --hidden x B", "argument --hidden: must be an integer of at least 1, got 'x'"),
        ("train jazz A --voices some B", "argument --voices: invalid choice: 'some'"),
    ],
)
def test_bad_options(capsys, trained, command, message):
    assert message in error_of(capsys, *(trained if word == "RUN" else word for word in command.split()))


def test_no_kind_and_an_unknown_command(capsys):
    assert "fastrnn train needs a KIND: chars, words, jazz (see fastrnn train --help)" in error_of(capsys, "train")
    assert "invalid choice: 'fly'" in error_of(capsys, "fly")


@each_row(
    ("arguments", "metavar", "right"),
    [
        ("train --max-steps 2", "KIND", "fastrnn train KIND --max-steps ..."),
        ("train --out chars", "KIND", "fastrnn train KIND --out ..."),
        ("train --number 2 chars", "KIND", "fastrnn train KIND --number ..."),
        ("--keep-case score RUN", "COMMAND", "fastrnn COMMAND --keep-case ..."),
        ("-x", "COMMAND", "fastrnn COMMAND -x ..."),
    ],
)
def test_options_before_a_command_that_does_not_have_them(capsys, arguments, metavar, right):
    option = right.split()[-2]
    expected = f"options come after {metavar}, got {option} before it: type {right}"
    assert error_of(capsys, *arguments.split()) == expected


def test_options_that_do_not_go_together(capsys, run):
    assert "--resume needs --out RUN" in error_of(capsys, "train", "chars", "--resume")
    assert "exclude each other" in error_of(capsys, "train", "chars", "--resume", "--overwrite", "--out", run)
    message = error_of(capsys, "train", "chars", "--resume", "--out", run, "--hidden", 32)
    assert "--hidden cannot change when a run goes on: it is 16, got 32" in message
    message = error_of(capsys, "train", "chars", "--resume", "--out", run, "--clip-norm", 0)
    assert "--clip-norm cannot change when a run goes on: it is 1.0, got 0" in message
    message = error_of(capsys, "train", "chars", "--resume", "--out", run, "--column", 2)
    assert "--column cannot change when a run goes on: it is not given, got 2" in message


def test_unknown_backend_in_the_environment(capsys, monkeypatch, trained):
    monkeypatch.setenv("FASTRNN_BACKEND", "fortran")
    message = error_of(capsys, "sample", trained)
    assert "FASTRNN_BACKEND must be one of c, numba, reference, got 'fortran'" in message


@each_row(
    ("options", "message"),
    [
        (
            ["--hidden", "2000000000"],
            "LSTM 2 x 2000000000 has 4.8e+19 parameters, which take 7.7e+11 GB; this machine has 8 GB",
        ),
        (["--layers", "2000000000", "--model", "rnn", "--hidden", "1"], "RNN 2000000000 x 1 has 8e+09 parameters"),
        (["--hidden", "15000", "--layers", "1"], "LSTM 1 x 15000 has 904,"),
    ],
)
def test_a_model_that_is_larger_than_the_memory(capsys, monkeypatch, tmp_path, options, message):
    monkeypatch.setattr("fastrnn.training._run.model_size.machine_memory", lambda: 8 * 10**9)
    message = f"not enough memory: {message}"
    assert message in error_of(capsys, "train", "chars", *options, "--out", tmp_path / "run", status=1)
    assert not (tmp_path / "run").exists()


# Text


def test_unknown_embedded_text(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = error_of(capsys, "train", "chars", "corpus:foo")
    assert message == "corpus:foo is neither a file nor an embedded text: those are dinosaurs"


RARE = b"ab\nac\n" * 10 + b"\n" * 20
AT_MOST = "--min-count must be at most %d, the count of the commonest character, got 1000000"


@each_row(
    ("kind", "content", "message"),
    [
        ("chars", None, "text.txt: No such file or directory"),
        ("chars --reading stream --min-count 1000000", RARE, AT_MOST % 40),
        ("chars --reading lines --min-count 1000000", RARE, AT_MOST % 20),
        ("chars --reading lines", b"Zuul", "too few lines (1) to hold out 1"),
        ("chars", b"", "is empty"),
        ("chars", b"a", "has only one character"),
        ("chars", b"ab\xfe", "is not UTF-8: byte 0xfe at offset 2"),
        ("chars", b"ab", "too few characters (2) to hold out 1 and train on the rest"),
        ("words", b"", "is empty: there is nothing to learn from"),
        ("words", b" \n\n ", "has only white space"),
        ("words", b"abc\xff\xfe\x00", "is not UTF-8: byte 0xff at offset 3"),
        ("words", b"word", "too few words (2) to hold out 1 and train on the rest"),
        ("words", b"no word is here again", "--min-count must be at most 1, the count of the commonest word, got 2"),
    ],
)
def test_missing_and_useless_texts(capsys, tmp_path, kind, content, message):
    text = tmp_path / "text.txt"
    if content is not None:
        text.write_bytes(content)
    assert message in error_of(capsys, "train", *kind.split(), text, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_smallest_texts_that_train(tmp_path):
    (tmp_path / "text.txt").write_text("aba")
    execute("train", "chars", tmp_path / "text.txt", *SMALL, "--out", tmp_path / "a")
    (tmp_path / "text.txt").write_text("a\nb")
    execute("train", "chars", tmp_path / "text.txt", *SMALL, "--out", tmp_path / "b")


def test_folder_without_text(capsys, tmp_path):
    (tmp_path / "texts").mkdir()
    assert "is a folder without .txt files" in error_of(capsys, "train", "chars", tmp_path / "texts")


def test_changed_text_on_resume(capsys, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("one two three four five six\n" * 20)
    execute("train", "chars", text, *SMALL, "--out", tmp_path / "run")
    text.write_text("one two three four five six!\n" * 20)
    message = error_of(capsys, "train", "chars", "--resume", "--out", tmp_path / "run")
    assert f"the text has changed since the run in {tmp_path / 'run'} was started" in message


# Run folders


def test_a_run_is_not_overwritten_by_accident(capsys, run):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    message = error_of(capsys, "train", "chars", *SMALL, "--out", run)
    assert "holds a run already, or files of the same names (config.json, last.safetensors, best.safetensors, " in message
    assert message.endswith(": --resume continues a run, --overwrite replaces the files")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


@pytest.mark.parametrize("name", ["config.json", "samples.txt", "loss.png", "lines.safetensors", "metrics.csv"])
def test_files_of_the_users_own_are_not_lost(capsys, tmp_path, name):
    (tmp_path / name).write_text("mine")
    assert f"or files of the same names ({name})" in error_of(capsys, "train", "chars", *SMALL, "--out", tmp_path)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("size", [pytest.param(1024, marks=pytest.mark.slow), 8 * 1024])
def test_overwriting_on_a_full_disk_leaves_the_old_run(run, size):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert 1024 < len(before["config.json"]) < 8 * 1024 < len(before["last.safetensors"])
    status, errors = on_a_full_disk(size, "train", "chars", *SMALL, "--seed", "5", "--overwrite", "--out", run)
    assert status == 1
    assert re.search(r"^fastrnn: error: .*: File too large$", errors, re.MULTILINE)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    execute("train", "chars", "--resume", "--max-steps", "6", "--out", run)


def test_a_full_disk_at_the_start_leaves_nothing(tmp_path):
    arguments = ["train", "chars", *SMALL, "--out", tmp_path]
    assert on_a_full_disk(8 * 1024, *arguments)[0] == 1
    assert os.listdir(tmp_path) == []
    execute(*arguments)


def test_metrics_of_something_else(capsys, run):
    (run / "metrics.csv").write_text("name,age\n")
    assert "metrics.csv is not a metrics file" in error_of(capsys, "train", "chars", "--resume", "--out", run)


def test_run_folder_that_cannot_be_made(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file, not a folder" in error_of(capsys, "train", "chars", *SMALL, "--out", tmp_path / "file")
    message = error_of(capsys, "train", "chars", *SMALL, "--out", tmp_path / "file" / "run", status=1)
    assert "Not a directory" in message


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc, where nobody may make a folder")
def test_run_folder_where_nobody_may_write(capsys):
    assert "/proc/run: " in error_of(capsys, "train", "chars", *SMALL, "--out", "/proc/run", status=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_unwritable_run_folder(capsys, tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in error_of(capsys, "train", "chars", *SMALL, "--out", tmp_path / "run", status=1)


@each_row("command", [["sample"], ["score"], ["train", "chars", "--resume", "--out"]])
def test_folders_that_hold_no_run(capsys, tmp_path, command):
    text = ["x"] if command == ["score"] else []
    for folder in (tmp_path, tmp_path / "none"):
        message = error_of(capsys, *command, folder, *text)
        assert f"{folder} is not a run folder: it has no config.json" in message


@each_row(
    ("content", "message"),
    [
        ("{", "config.json is damaged"),
        ("[1]", "is not the configuration of a character model"),
        ('{"format": "other"}', "is not the configuration of a character model"),
        ('{"format": "fastrnn-chars", "version": 99}', "has version 99, this fastrnn reads version 1"),
        ('{"format": "fastrnn-chars", "version": 1}', "config.json is damaged: it lacks 'options'"),
    ],
)
def test_bad_configuration(capsys, run, content, message):
    (run / "config.json").write_text(content)
    assert message in error_of(capsys, "sample", run)


@each_row(
    ("part", "name", "value", "message"),
    [
        ("options", "hidden", "x", "hidden must be an integer, got 'x'"),
        ("options", "hidden", -8, "hidden must be at least 1, got -8"),
        ("options", "model", "foo", "model must be one of 'rnn', 'gru', 'lstm', got 'foo'"),
        ("options", "reading", 1, "reading must be one of 'lines', 'stream', got 1"),
        ("options", "lr", None, "lr must be a number, got None"),
        ("options", "dropout", 2, "dropout must lie in [0, 1], got 2"),
        ("options", "patience", 0, "patience must be at least 1, got 0"),
        ("options", "unk", "no", "unk must be True or False, got 'no'"),
        ("data", "sources", [1], "sources must be a list of strings, got [1]"),
        ("data", "sources", [], "sources must be a list of strings, got []"),
        ("vocabulary", "tokens", ["a"], "the vocabulary lacks the end of the line"),
    ],
)
def test_values_in_a_configuration(capsys, trained, run, part, name, value, message):
    content = configuration(trained)
    content[part][name] = value
    (run / "config.json").write_text(json.dumps(content))
    for command in (["sample"], ["train", "chars", "--resume", "--out"]):
        assert error_of(capsys, *command, run).endswith(f"config.json is damaged: {message}")


def test_no_checkpoint(capsys, run):
    (run / "best.safetensors").unlink()
    (run / "last.safetensors").unlink()
    assert "has no checkpoint yet" in error_of(capsys, "sample", run)
    assert "has no last.safetensors to go on from" in error_of(capsys, "train", "chars", "--resume", "--out", run)


def test_truncated_and_foreign_checkpoints(capsys, run):
    path = run / "best.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "best.safetensors is truncated" in error_of(capsys, "sample", run)
    path.write_bytes(b"PK\x03\x04" + bytes(200))
    assert "best.safetensors is not a safetensors file" in error_of(capsys, "score", run, "x")
    path.write_bytes(b"")
    assert "best.safetensors is empty" in error_of(capsys, "sample", run)
    serialization.save_arrays(path, {"x": np.zeros(3)})
    assert "best.safetensors is not a fastrnn checkpoint" in error_of(capsys, "sample", run)
    shutil.copy(path, run / "last.safetensors")
    assert "last.safetensors is not a fastrnn checkpoint" in error_of(capsys, "train", "chars", "--resume", "--out", run)


def test_nan_weights(capsys, run):
    path = run / "best.safetensors"
    arrays, metadata = serialization.load_arrays(path)
    arrays["model.output.bias"][3] = np.nan
    serialization.save_arrays(path, arrays, metadata)
    assert "the weights output.bias hold NaN or infinity" in error_of(capsys, "sample", run)


def test_checkpoint_of_another_model(capsys, run, tmp_path):
    execute("train", "chars", *SMALL, "--hidden", "12", "--out", tmp_path / "other")
    shutil.copy(tmp_path / "other" / "best.safetensors", run / "best.safetensors")
    assert "best.safetensors is of another model: output.weight" in error_of(capsys, "sample", run)


def test_unknown_characters(capsys, run):
    message = error_of(capsys, "sample", run, "--prefix", "T-Rex ☃")
    assert "the vocabulary lacks ' ' (U+0020), '-' (U+002D), '☃' (U+2603)" in message
    assert "the vocabulary lacks '1' (U+0031)" in error_of(capsys, "score", run, "Zuul1")
    assert "must be without line breaks" in error_of(capsys, "sample", run, "--prefix", "a\nb")
    assert "must be without line breaks" in error_of(capsys, "score", run, "a\nb")


def test_empty_text_for_a_stream(capsys, tmp_path):
    (tmp_path / "text.txt").write_text("one two three four five six\n" * 20)
    execute("train", "chars", tmp_path / "text.txt", *SMALL, "--out", tmp_path / "run")
    assert "must have at least one character" in error_of(capsys, "score", tmp_path / "run", "")


# Failures on the way


def test_a_gradient_that_is_not_finite(capsys, tmp_path, monkeypatch):
    from fastrnn.training._run.model_task import SequenceTask

    real = SequenceTask.train_step

    def poisoned(self):
        result = real(self)
        if self.batches.state_dict()["position"] > 8 * 7:
            dict(self.named_parameters())["output.bias"].grad[0] = np.nan
        return result

    monkeypatch.setattr(SequenceTask, "train_step", poisoned)
    arguments = ["train", "chars", *SMALL, "--max-steps", "20", "--out", str(tmp_path)]
    message = error_of(capsys, *arguments, status=1)
    assert "the gradient of output.bias is not finite at step 8" in message
    assert checkpoint.load(tmp_path / "last.safetensors").state["trainer"]["step"] == 5


def test_ctrl_c_outside_of_training(capsys, monkeypatch, trained):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastrnn.text.language_model.LanguageModel.sample", interrupted)
    execute("sample", trained, status=130)
    assert capsys.readouterr().err == "fastrnn: interrupted\n"


@each_row("error", [RuntimeError, ZeroDivisionError, ValueError, KeyError])
def test_a_bug_is_not_hidden(monkeypatch, trained, error):
    def broken(*_, **__):
        raise error("a bug")

    monkeypatch.setattr("fastrnn.text.language_model.LanguageModel.sample", broken)
    with pytest.raises(error, match="a bug"):
        execute("sample", trained)


def test_full_disk(tmp_path, trained):
    run = shutil.copytree(trained, tmp_path / "run")
    before = (run / "best.safetensors").read_bytes()
    arguments = ["train", "chars", "--resume", "--out", run, "--max-steps", "10"]
    status, errors = on_a_full_disk(16 * 1024, *arguments)
    assert status == 1
    assert errors.splitlines()[-1].startswith("fastrnn: error: ")
    assert "File too large" in errors
    assert "Traceback" not in errors
    assert (run / "best.safetensors").read_bytes() == before
    assert checkpoint.load(run / "last.safetensors").state["trainer"]["step"] == 5
    execute(*arguments)
    assert checkpoint.load(run / "last.safetensors").state["trainer"]["step"] == 10


def test_an_error_of_the_program_itself(tmp_path):
    command = [sys.executable, "-m", "fastrnn", "sample", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fastrnn: error: ")
    assert done.stderr.count("\n") == 1


def test_a_pipe_without_a_reader(trained):
    command = [sys.executable, "-m", "fastrnn", "sample", str(trained), "--number", "6000", "--length", "20"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert "Traceback" not in error
    assert "BrokenPipe" not in error
