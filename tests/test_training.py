"""The training loop: what ends it, which files it leaves, and the effect of a step."""

import contextlib
import csv
import math
import os
import signal

import numpy as np
import pytest
from tables import each_row
from training_task import At, B, Killed, Recorder, StreamTask, T, assert_same_run, ctrl_c, kill, make_trainer

from fastrnn import optim
from fastrnn.training import LoopConfig, Trainer, checkpoint, loop, schedules


class TestStopping:
    def test_steps_with_a_last_evaluation(self):
        recorder = Recorder()
        result = make_trainer(None, recorder, max_steps=5).run()
        assert (result.step, result.stopped) == (5, "steps")
        assert [info.step for info in recorder.evaluations] == [3, 5]
        assert result.best_val_loss == min(info.val_loss for info in recorder.evaluations)

    def test_patience_counts_evaluations_since_the_best(self, tmp_path):
        task = StreamTask()
        losses = iter([3.0, 2.0, 2.5, math.nan, 1.0, 1.0, 1.5, 1.2, 0.1])
        task.evaluate = lambda: next(losses)
        recorder = Recorder()
        result = make_trainer(tmp_path, recorder, task=task, patience=3, max_steps=100).run()
        assert (result.stopped, result.step, result.best_step, result.best_val_loss) == ("patience", 24, 15, 1.0)
        improved = [info.improved for info in recorder.evaluations]
        assert improved == [True, True, False, False, True, False, False, False]
        best = checkpoint.load(tmp_path / "best.safetensors").state["trainer"]
        assert (best["step"], best["best_val_loss"], best["stale"]) == (15, 1.0, 0)

    def test_patience_is_kept_over_a_resume(self, tmp_path):
        def task():
            made = StreamTask()
            made.evaluate = lambda: 1.0
            return made

        make_trainer(tmp_path, task=task(), max_steps=6).run()
        resumed = make_trainer(tmp_path, task=task(), patience=3, max_steps=100)
        resumed.resume()
        assert resumed.run().step == 12  # evaluations at 3 (the best), 6; 9, 12

    def test_seconds_count_over_all_sittings(self, tmp_path, monkeypatch):
        clock = iter(range(10**6))
        monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(clock)))
        first = make_trainer(tmp_path, max_seconds=40, max_steps=1000).run()
        assert first.stopped == "seconds"
        assert 40 <= first.seconds < 50
        finished = make_trainer(tmp_path, max_seconds=40, max_steps=1000)
        finished.resume()
        assert (finished.run().step, finished.state.step) == (first.step, first.step)
        resumed = make_trainer(tmp_path, max_seconds=100, max_steps=1000)
        resumed.resume()
        second = resumed.run()
        assert 100 <= second.seconds < 110
        assert second.step == pytest.approx(first.step * 2.5, abs=2)

    def test_first_ctrl_c_finishes_the_step_and_the_handler_is_put_back(self, tmp_path):
        task, recorder = StreamTask(), Recorder()
        steps = iter(range(1, 100))
        task.before_backward = lambda: ctrl_c() if next(steps) == 4 else None
        result = make_trainer(tmp_path, recorder, task=task).run()
        assert (result.step, result.stopped) == (4, "interrupted")
        assert [info.stopped for info in recorder.ends] == ["interrupted"]
        assert checkpoint.load(tmp_path / "last.safetensors").state["trainer"]["step"] == 4
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_second_ctrl_c_stops_in_mid_step_and_keeps_the_last_checkpoint(self, tmp_path):
        task = StreamTask()
        steps = iter(range(1, 100))
        task.before_backward = lambda: (ctrl_c(), ctrl_c()) if next(steps) == 5 else None
        result = make_trainer(tmp_path, task=task).run()
        assert (result.step, result.stopped) == (4, "interrupted")
        assert checkpoint.load(tmp_path / "last.safetensors").state["trainer"]["step"] == 3

    @pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
    @pytest.mark.parametrize("again", [False, True])
    def test_an_error_while_the_best_is_written(self, tmp_path, monkeypatch, error, again):
        make_trainer(tmp_path / "whole").run()
        save = checkpoint.save

        def failing(path, model, optimizer, state):
            if path.name == "best.safetensors" and state["trainer"]["step"] == 6:
                raise error
            save(path, model, optimizer, state)

        trainer = make_trainer(tmp_path / "two")
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save", failing)
            with contextlib.suppress(OSError):
                assert trainer.run().stopped == "interrupted"
        last, best = (
            checkpoint.load(tmp_path / "two" / f"{name}.safetensors").state["trainer"] for name in ("last", "best")
        )
        assert last["best_step"] == best["best_step"] == best["step"] == 3
        if not again:
            trainer = make_trainer(tmp_path / "two")
            trainer.resume()
        trainer.run()
        assert_same_run(tmp_path / "two", tmp_path / "whole")

    def test_interrupt_in_an_evaluation_is_between_steps(self, tmp_path):
        make_trainer(tmp_path / "whole").run()
        task = StreamTask()
        evaluate, calls = task.evaluate, iter(range(1, 100))

        def interrupted_evaluate():
            if next(calls) == 2:
                raise KeyboardInterrupt
            return evaluate()

        task.evaluate = interrupted_evaluate
        assert make_trainer(tmp_path / "two", task=task).run().stopped == "interrupted"
        resumed = make_trainer(tmp_path / "two")
        resumed.resume()
        resumed.run()
        assert_same_run(tmp_path / "two", tmp_path / "whole")


class TestNonFinite:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_gradient_stops_with_step_and_name(self, tmp_path, value):
        task, recorder = StreamTask(), Recorder()
        steps = iter(range(1, 100))
        poison = task.model.head.weight.gradient()
        task.before_backward = lambda: poison.fill(value) if next(steps) == 5 else None
        trainer = make_trainer(tmp_path, recorder, task=task)
        with pytest.raises(optim.NonFiniteGradient, match=r"gradient of head\.weight is not finite at step 5"):
            trainer.run()
        assert checkpoint.load(tmp_path / "last.safetensors").state["trainer"]["step"] == 3
        assert [info.stopped for info in recorder.ends] == ["failed"]

    @pytest.mark.parametrize("interrupt", [False, True])
    def test_broken_weights_never_replace_a_good_checkpoint(self, tmp_path, interrupt):
        trainer = make_trainer(tmp_path, lr=1.0, schedule=lambda step: 1e39 if step == 4 else 0.01)
        trainer.callbacks = (At(5, ctrl_c),) if interrupt else ()
        trainer.optimizer.eps = 1e-30
        with np.errstate(over="ignore", invalid="ignore"):
            expected = optim.NonFiniteWeight if interrupt else ArithmeticError
            with pytest.raises(expected, match=r"(after|at) step [56]"):
                trainer.run()
        assert checkpoint.load(tmp_path / "last.safetensors").state["trainer"]["step"] == 3


class TestFiles:
    def test_metrics_by_value(self, tmp_path):
        recorder = Recorder()
        make_trainer(tmp_path, recorder, max_steps=6, clip_norm=None, clip_value=1e-4).run()
        with open(tmp_path / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        columns = ["step", "seconds", "train_loss", "val_loss", "lr", "grad_norm", "tokens_per_second"]
        assert list(rows[0]) == columns
        for row, info, window in zip(rows, recorder.evaluations, (slice(0, 3), slice(3, 6)), strict=True):
            steps = recorder.steps[window]
            assert int(row["step"]) == info.step == steps[-1].step
            np.testing.assert_allclose(float(row["train_loss"]), np.mean([s.train_loss for s in steps]), rtol=1e-12)
            np.testing.assert_allclose(float(row["grad_norm"]), np.mean([s.grad_norm for s in steps]), rtol=1e-12)
            assert float(row["val_loss"]) == info.val_loss
            assert float(row["lr"]) == steps[-1].lr
            assert info.tokens == info.step * T * B
            assert float(row["tokens_per_second"]) > 0

    def test_an_existing_run_is_not_overwritten_unless_asked(self, tmp_path):
        make_trainer(tmp_path).run()
        before = (tmp_path / "last.safetensors").read_bytes()
        with pytest.raises(FileExistsError, match=r"holds another run \(last\.safetensors, best\.safetensors, metrics"):
            make_trainer(tmp_path).run()
        assert (tmp_path / "last.safetensors").read_bytes() == before
        with pytest.raises(Killed):
            make_trainer(tmp_path, At(1, kill), overwrite=True).run()
        assert os.listdir(tmp_path) == ["last.safetensors"]
        assert checkpoint.load(tmp_path / "last.safetensors").state["trainer"]["step"] == 0

    def test_an_unwritable_folder_shows_before_the_first_step(self, tmp_path):
        (tmp_path / "file").write_text("not a folder")
        recorder = Recorder()
        for folder in (tmp_path / "file", tmp_path / "file" / "run"):
            with pytest.raises(OSError, match="file"):
                make_trainer(folder, recorder).run()
        assert recorder.steps == []

    def test_a_read_only_folder(self, tmp_path):
        tmp_path.chmod(0o500)
        try:
            if os.access(tmp_path, os.W_OK):
                pytest.skip("this user may write anywhere")
            with pytest.raises(PermissionError, match=r"last\.safetensors"):
                make_trainer(tmp_path).run()
        finally:
            tmp_path.chmod(0o700)

    @pytest.mark.parametrize(("bytes_left", "file"), [(4096, "last|best"), (100, "metrics")])
    def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on_later(self, tmp_path, bytes_left, file):
        resource = pytest.importorskip("resource")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        make_trainer(tmp_path / "whole").run()
        fill = At(4, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, limits[1])))
        try:
            with pytest.raises(OSError, match=rf"File too large: '.*({file})"):
                make_trainer(tmp_path / "full", fill).run()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert sorted(os.listdir(tmp_path / "full")) == ["best.safetensors", "last.safetensors", "metrics.csv"]
        assert checkpoint.load(tmp_path / "full" / "last.safetensors").state["trainer"]["step"] == 3
        resumed = make_trainer(tmp_path / "full")
        resumed.resume()
        resumed.run()
        assert_same_run(tmp_path / "full", tmp_path / "whole")

    @pytest.mark.parametrize("text", ["name,age\nAda,36\n", "step,seconds\n"])
    def test_a_foreign_metrics_file_is_an_error(self, tmp_path, text):
        make_trainer(tmp_path, max_steps=3).run()
        (tmp_path / "metrics.csv").write_text(text)
        resumed = make_trainer(tmp_path)
        resumed.resume()
        with pytest.raises(ValueError, match=r"metrics\.csv is not a metrics file"):
            resumed.run()


class TestSteps:
    def test_learning_rate_follows_the_schedule_and_is_given_back(self):
        recorder = Recorder()
        schedule = schedules.cosine(12, warmup=3, floor=0.1)
        trainer = make_trainer(None, recorder, lr=0.02, schedule=schedule)
        trainer.run()
        assert [info.lr for info in recorder.steps] == [0.02 * schedule(step) for step in range(12)]
        assert trainer.optimizer.lr == 0.02

    @each_row("clip", [{}, {"clip_norm": 0.05}, {"clip_value": 0.01}, {"clip_norm": 0.01, "clip_value": 0.005}])
    def test_equals_a_loop_written_out(self, clip):
        task, recorder = StreamTask(dtype="float64"), Recorder()
        make_trainer(None, recorder, task=task, schedule=schedules.constant(), **{"clip_norm": None, **clip}).run()
        plain = StreamTask(dtype="float64")
        params = plain.named_parameters()
        optimizer = optim.Adam(params, lr=0.01)
        for info in recorder.steps:
            optimizer.zero_grad()
            loss, _ = plain.train_step()
            norm = math.sqrt(sum(float((param.grad**2).sum()) for _, param in params))
            if "clip_value" in clip:
                optim.clip_grad_value(params, clip["clip_value"])
            if "clip_norm" in clip:
                optim.clip_grad_norm(params, clip["clip_norm"])
            optimizer.step()
            assert info.train_loss == loss
            assert info.grad_norm == pytest.approx(norm, rel=1e-12)
        for (name, mine), (_, theirs) in zip(task.named_parameters(), params, strict=True):
            np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-12, err_msg=name)

    def test_an_optimiser_of_another_model_is_refused(self):
        task, other = StreamTask(), StreamTask()
        with pytest.raises(ValueError, match="optimizer has a parameter that is not the task's"):
            Trainer(
                task, optim.SGD(other.named_parameters(), 0.1), schedules.constant(), LoopConfig(max_steps=1, eval_every=1)
            )

    def test_parameters_that_are_not_optimised_stay(self):
        task = StreamTask()
        before = task.model.state_dict()
        head = task.model.head.named_parameters("head.")
        config = LoopConfig(max_steps=3, eval_every=3)
        Trainer(task, optim.SGD(head, 0.1), schedules.constant(), config).run()
        for name, array in task.model.state_dict().items():
            assert np.array_equal(array, before[name]) == name.startswith("lstm")

    @each_row(
        ("options", "message"),
        [
            ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
            ({"eval_every": -5}, "eval_every must be at least 1"),
            ({"patience": 0}, "patience must be at least 1"),
            ({"max_seconds": 0.0}, r"max_seconds must lie in \(0"),
            ({"clip_norm": math.nan}, "clip_norm must lie in"),
            ({"clip_value": -1.0}, "clip_value must lie in"),
        ],
    )
    def test_bad_config(self, options, message):
        with pytest.raises(ValueError, match=message):
            LoopConfig(**{"max_steps": 10, "eval_every": 5, **options})
