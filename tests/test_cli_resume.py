"""``fastrnn train chars --resume`` goes on with a stopped run, and warns about what has changed."""

import re
import signal
import subprocess
import sys

import pytest
from command_line import CHARS, configuration, engine_of, error_of, output_of, train_chars
from trained_runs import PLAY
from training_task import assert_same_run

from fastrnn.training import checkpoint
from fastrnn.training._run.folder import held

pytestmark = pytest.mark.usefixtures("quick_pictures")


def test_resume_is_as_if_never_stopped(tmp_path, capsys):
    options = [*CHARS, "--dropout", 0.2, "--schedule", "constant"]
    train_chars(*options, "--max-steps", 30, "--out", tmp_path / "whole")
    train_chars(*options, "--max-steps", 10, "--out", tmp_path / "parts")
    resume = ["train", "chars", "--resume", "--max-steps", 30, "--out", tmp_path / "parts"]
    assert "going on from step 10" in output_of(capsys, *resume).out
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_resume_with_another_backend_numba_says_so_once(tmp_path, capsys):
    from fastrnn import backends

    backends.load("numba").compile_for("float32", training=True)  # now, because its notice would be a second line
    options = [*CHARS, "--schedule", "constant", "--out", tmp_path]
    with backends.use_backend(None):
        train_chars(*options, "--max-steps", 2, "--backend", "reference")
        assert engine_of(tmp_path) == {"backend": "reference", "isa": "numpy", "precision": "highest"}
        capsys.readouterr()
        train_chars("--resume", "--max-steps", 3, "--out", tmp_path, "--backend", "reference")
        assert "warning" not in capsys.readouterr().err
        train_chars("--resume", "--max-steps", 4, "--out", tmp_path, "--backend", "numba")
        numba = engine_of(tmp_path)
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
        train_chars(*CHARS, "--schedule", "constant", "--max-steps", 2, "--out", tmp_path)
        best = ROUNDS_AS.get(best, best)
        assert engine_of(tmp_path) == {"backend": "c", "isa": best, "precision": "highest"}
        c.set_isa(base)
        try:
            train_chars("--resume", "--max-steps", 3, "--out", tmp_path)
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
    train_chars(*CHARS, *options, "--max-steps", 10, "--out", tmp_path)
    capsys.readouterr()
    train_chars("--resume", "--max-steps", 10, "--out", tmp_path)
    assert capsys.readouterr().err == ""
    train_chars("--resume", "--max-steps", 200, "--max-seconds", 1e-9, "--out", tmp_path)
    line = f"fastrnn: warning: --max-steps was 10 and is 200: the learning rates of the {options[1]} schedule change\n"
    assert capsys.readouterr().err == line * warned


def test_resume_takes_the_text_from_elsewhere_if_it_is_the_same(tmp_path):
    (tmp_path / "a.txt").write_text(PLAY)
    train_chars(tmp_path / "a.txt", *CHARS, "--max-steps", 2, "--out", tmp_path / "run")
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    train_chars(tmp_path / "b.txt", "--resume", "--max-steps", 3, "--out", tmp_path / "run")
    assert configuration(tmp_path / "run")["data"]["sources"] == [str(tmp_path / "b.txt")]


def test_ctrl_c_saves_and_the_run_can_go_on(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-u", "-m", "fastrnn", "train", "chars", *CHARS, "--max-steps", "1000000"]
    process = subprocess.Popen([*command, "--out", str(folder)], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("step"):
            process.send_signal(signal.SIGINT)
            break
    output = process.stdout.read()
    assert process.wait(timeout=60) == 130
    stopped = int(re.search(r"interrupted at step (\d+); go on with: fastrnn train chars --resume", output)[1])
    assert checkpoint.load(folder / "last.safetensors").state["trainer"]["step"] == stopped
    train_chars("--resume", "--max-steps", stopped + 1, "--out", folder)
    assert checkpoint.load(folder / "last.safetensors").state["trainer"]["step"] == stopped + 1


def test_two_trainings_do_not_share_a_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    train_chars(*CHARS, "--max-steps", 2, "--out", folder)
    config = (folder / "config.json").read_bytes()
    with held(folder):
        for how in ("--overwrite", "--resume"):
            command = ["train", "chars", *([] if how == "--resume" else CHARS), how, "--out", folder]
            assert error_of(capsys, *command) == f"{folder} is in use: another training is running in it"
    assert (folder / "config.json").read_bytes() == config
    train_chars("--resume", "--max-steps", 3, "--out", folder)
