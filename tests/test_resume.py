"""A run that was stopped in any way resumes bit for bit as if it had not been stopped."""

import contextlib
import os
import signal

import numpy as np
import pytest
from training_task import (
    At,
    Killed,
    StreamTask,
    assert_same_checkpoint,
    assert_same_run,
    ctrl_c,
    kill,
    make_trainer,
    read_metrics,
)

from fastrnn.training import CheckpointError, checkpoint

STOPS = {
    "kill": (lambda task: At(7, kill), 6),
    "kill at evaluation": (lambda task: At(6, kill, "on_eval"), 6),
    "kill before any": (lambda task: At(2, kill), 0),
    "Ctrl-C": (lambda task: At(7, ctrl_c), 7),
    "Ctrl-C before evaluation": (lambda task: At(6, ctrl_c), 6),
    "error in mid-step": (lambda task: At(7, lambda: setattr(task, "before_backward", kill)), 6),
}


# The quick tests combine every optimizer with one stop, and every stop with one optimizer.
@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        pytest.param(name, optimizer, marks=() if name == "error in mid-step" or optimizer == "Adam" else pytest.mark.slow)
        for name in STOPS
        for optimizer in ("SGD", "RMSprop", "Adam", "AdamW", "Muon")
    ],
)
def test_bit_for_bit(tmp_path, name, optimizer):
    stop, saved_step = STOPS[name]
    make_trainer(tmp_path / "whole", optimizer=optimizer).run()
    task, folder = StreamTask(), tmp_path / "stopped"
    with contextlib.suppress(Killed):
        assert make_trainer(folder, stop(task), optimizer=optimizer, task=task).run().stopped == "interrupted"
    assert checkpoint.load(folder / "last.safetensors").state["trainer"]["step"] == saved_step
    resumed = make_trainer(folder, optimizer=optimizer, lr=123.0)
    resumed.resume()
    assert resumed.run().step == 12
    assert_same_run(folder, tmp_path / "whole")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_sigkill(tmp_path):
    make_trainer(tmp_path / "whole").run()
    folder = tmp_path / "killed"
    child = os.fork()
    if child == 0:
        make_trainer(folder, At(8, lambda: os.kill(os.getpid(), signal.SIGKILL))).run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    resumed = make_trainer(folder)
    resumed.resume()
    resumed.run()
    assert_same_run(folder, tmp_path / "whole")


def test_rows_after_the_checkpoint_are_dropped(tmp_path):
    make_trainer(tmp_path).run()
    expected = (tmp_path / "metrics.csv").read_text().splitlines()
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("15,1.0,2.0,3.0,4.0,5.0,6.0\n18,1.0")
    resumed = make_trainer(tmp_path)
    resumed.resume()
    assert resumed.run().stopped == "steps"
    assert (tmp_path / "metrics.csv").read_text().splitlines() == expected


def test_a_finished_run_goes_on_with_more_steps(tmp_path):
    make_trainer(tmp_path / "whole", max_steps=18).run()
    make_trainer(tmp_path / "two", max_steps=9).run()
    resumed = make_trainer(tmp_path / "two", max_steps=18)
    resumed.resume(tmp_path / "two" / "last.safetensors")
    assert resumed.run().step == 18
    assert_same_run(tmp_path / "two", tmp_path / "whole")


def test_into_another_folder(tmp_path):
    make_trainer(tmp_path / "whole").run()
    make_trainer(tmp_path / "first", max_steps=6).run()
    before = (tmp_path / "first" / "last.safetensors").read_bytes()
    resumed = make_trainer(tmp_path / "second")
    resumed.resume(tmp_path / "first" / "last.safetensors")
    resumed.run()
    assert_same_checkpoint(tmp_path / "second" / "last.safetensors", tmp_path / "whole" / "last.safetensors")
    assert [row["step"] for row in read_metrics(tmp_path / "second")] == ["9", "12"]
    assert (tmp_path / "first" / "last.safetensors").read_bytes() == before


def test_in_the_same_process_after_a_cut_step(tmp_path):
    make_trainer(tmp_path / "whole").run()
    task = StreamTask()
    trainer = make_trainer(tmp_path / "cut", At(7, lambda: setattr(task, "before_backward", kill)), task=task)
    with pytest.raises(Killed):
        trainer.run()
    with pytest.raises(RuntimeError, match="resume from a checkpoint"):
        trainer.run()
    task.before_backward = lambda: None
    trainer.callbacks = ()
    trainer.resume()
    trainer.run()
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: make_trainer(task=StreamTask(hidden=8)), r"is of another model: .*head\.weight is a float32"),
        (lambda: make_trainer(task=StreamTask(dtype="float64")), "is of another model: .*expected float64"),
        (lambda: make_trainer(optimizer="SGD"), "does not fit this run: the optimiser's state is of Adam"),
    ],
    ids=["size", "dtype", "optimiser"],
)
def test_of_another_run_is_refused(tmp_path, other, message):
    make_trainer(tmp_path, max_steps=3).run()
    trainer = other()
    before = trainer.task.model.state_dict()
    with pytest.raises(CheckpointError, match=rf"last\.safetensors {message}"):
        trainer.resume(tmp_path / "last.safetensors")
    for name, array in trainer.task.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_of_another_task_is_refused(tmp_path):
    trainer = make_trainer()
    state = {"trainer": {"base_lr": 1.0, "lr": 1.0, "window": {}}, "task": {"words": 3}}
    weights = {name: param.data for name, param in trainer.task.named_parameters()}
    checkpoint.save(tmp_path / "x.safetensors", weights, trainer.optimizer, state)
    with pytest.raises(CheckpointError, match=r"x\.safetensors does not fit this run: 'position'"):
        trainer.resume(tmp_path / "x.safetensors")


def test_needs_a_path():
    with pytest.raises(ValueError, match="path must be given"):
        make_trainer().resume()
