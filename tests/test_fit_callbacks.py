"""Callbacks with Keras' names, their files, and fits that are stopped and resumed with the same steps."""

import csv
import math

import numpy as np
import pytest
from fit_data import assert_same_weights, tagged, tagger
from tables import each_row
from training_task import At, Killed, Recorder, StreamTask, ctrl_c, kill, make_trainer

from fastrnn import fit
from fastrnn.training import CSVLogger, EarlyStopping, History, ModelCheckpoint, ProgressBar, ReduceLROnPlateau, schedules


def scripted(values):
    """Return a task that has these held-out losses."""
    task, given = StreamTask(), iter(values)
    task.evaluate = lambda: {"val_loss": next(given), "val_accuracy": 0.5}
    return task


class TestEarlyStopping:
    @each_row(
        ("options", "stopped", "best"),
        [
            ({"patience": 2}, 6, 4),
            ({"patience": 0}, 3, 2),
            ({"patience": 1}, 3, 2),
            ({"patience": 2, "min_delta": 0.5}, 4, 2),
            ({"patience": 2, "start_from_epoch": 4}, 7, 5),
            ({"patience": 3, "monitor": "val_loss", "mode": "max"}, 4, 1),
        ],
    )
    def test_when(self, options, stopped, best):
        stopping = EarlyStopping(**options)
        values = [3.0, 2.0, 2.0, 1.8, 1.9, math.nan, 2.0, 0.1, 0.1, 0.1]
        result = make_trainer(None, stopping, task=scripted(values), max_steps=30).run()
        assert (result.stopped, result.step) == ("callback", 3 * stopped)
        assert (stopping.stopped_epoch, stopping.best_epoch) == (stopped, best)

    def test_restores_the_best_weights(self):
        task, seen = scripted([3.0, 1.0, 2.0, 2.0]), []
        at = [At(step, lambda: seen.append(task.model.state_dict()), "on_eval") for step in (6, 12)]
        stopping = EarlyStopping(patience=2, restore_best_weights=True)
        make_trainer(None, stopping, *at, task=task, max_steps=100).run()
        assert_same_weights(task.model.state_dict(), seen[0])
        assert any((seen[0][name] != seen[1][name]).any() for name in seen[0])

    def test_leaves_the_weights_unless_asked(self):
        task, seen = scripted([3.0, 1.0, 2.0, 2.0]), []
        last = At(12, lambda: seen.append(task.model.state_dict()), "on_eval")
        make_trainer(None, EarlyStopping(patience=2), last, task=task, max_steps=100).run()
        assert_same_weights(task.model.state_dict(), seen[0])

    def test_serves_several_runs(self):
        stopping = EarlyStopping(patience=1, restore_best_weights=True)
        for values in ([1.0, 2.0], [5.0, 4.0, 4.0]):
            result = make_trainer(None, stopping, task=scripted(values), max_steps=100).run()
            assert (result.stopped, result.step) == ("callback", 3 * len(values))

    def test_needs_its_figure(self):
        recorder = Recorder()
        with pytest.raises(
            ValueError, match=r"monitor must be one of 'loss', 'lr', got 'val_loss': it needs validation data"
        ):
            fit(tagger(), tagged(), callbacks=[EarlyStopping(), recorder])
        assert recorder.steps == []
        with pytest.raises(ValueError, match=r"monitor must be one of .*, got 'val_f1'"):
            make_trainer(None, EarlyStopping("val_f1"), task=scripted([1.0])).run()
        with pytest.raises(ValueError, match="mode must be 'min' or 'max' for monitor='val_score'"):
            EarlyStopping("val_score")
        with pytest.raises(ValueError, match="patience must be at least 0"):
            EarlyStopping(patience=-1)
        assert (EarlyStopping("val_accuracy").mode, EarlyStopping("val_loss_1").mode) == ("max", "min")


class TestReduceLROnPlateau:
    @each_row(
        ("options", "rates"),
        [
            ({"patience": 2}, [1, 1, 1, 1, 1 / 2, 1 / 2, 1 / 4, 1 / 4]),
            ({"patience": 1, "cooldown": 2}, [1, 1, 1, 1 / 2, 1 / 2, 1 / 4, 1 / 4, 1 / 8]),
            ({"patience": 1, "min_lr": 0.004}, [1, 1, 1, 1 / 2, 0.4, 0.4, 0.4, 0.4]),
            ({"patience": 1, "min_delta": 0.5}, [1, 1, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32]),
        ],
    )
    def test_when(self, options, rates):
        values = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.8]
        recorder = Recorder()
        options = {"factor": 0.5, "min_delta": 0.0, **options}
        trainer = make_trainer(
            None, recorder, ReduceLROnPlateau(**options), task=scripted(values), max_steps=24, schedule=lambda step: 1.0
        )
        trainer.run()
        assert [info.lr for info in recorder.steps[::3]] == pytest.approx([0.01 * rate for rate in rates], rel=1e-12)

    def test_multiplies_the_schedule(self):
        recorder, schedule = Recorder(), schedules.cosine(12)
        plateau = ReduceLROnPlateau(factor=0.1, patience=1)
        make_trainer(None, recorder, plateau, task=scripted([1.0, 1.0, 0.5, 0.5]), schedule=schedule).run()
        factors = [1.0] * 6 + [0.1] * 6
        rates = [0.01 * factor * schedule(step) for step, factor in enumerate(factors)]
        assert [info.lr for info in recorder.steps] == pytest.approx(rates, rel=1e-12)

    def test_bad_factor(self):
        with pytest.raises(ValueError, match="factor must be below 1, got 1"):
            ReduceLROnPlateau(factor=1.0)


class TestFiles:
    def test_csv_has_the_history(self, tmp_path):
        train, held_out = tagged(60).split(0.7)
        path = tmp_path / "run.csv"
        history = fit(tagger(), train, validation=held_out, metrics="accuracy", epochs=3, callbacks=[CSVLogger(path, ";")])
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr"]
        assert [int(row["epoch"]) for row in rows] == history.epoch == [1, 2, 3]
        for name, values in history.history.items():
            assert [float(row[name]) for row in rows] == values

    def test_csv_that_cannot_be_written(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="missing"):
            fit(tagger(), tagged(), epochs=1, callbacks=[CSVLogger(tmp_path / "missing" / "run.csv")])

    def test_every_model_is_saved(self, tmp_path):
        model, seen = tagger(), []
        snapshots = [At(5 * epoch, lambda: seen.append(model.state_dict()), "on_eval") for epoch in (1, 2)]
        saving = ModelCheckpoint(tmp_path / "models" / "{epoch:02d}-{loss:.3f}.safetensors")
        history = fit(model, tagged(), epochs=2, batch_size=8, callbacks=[saving, *snapshots])
        for epoch, state in enumerate(seen):
            loaded = tagger(seed=9)
            loaded.load(tmp_path / "models" / f"{epoch + 1:02d}-{history['loss'][epoch]:.3f}.safetensors")
            assert_same_weights(loaded.state_dict(), state)

    def test_only_the_best_model_is_saved(self, tmp_path):
        task, seen = scripted([3.0, 1.0, 2.0, 1.5]), []
        best = At(6, lambda: seen.append(task.model.state_dict()), "on_eval")
        saving = ModelCheckpoint(tmp_path / "best.safetensors", save_best_only=True)
        make_trainer(None, saving, best, task=task).run()
        loaded = StreamTask()
        loaded.model.load(tmp_path / "best.safetensors")
        assert_same_weights(loaded.model.state_dict(), seen[0])

    def test_a_file_name_with_unknown_metrics(self, tmp_path):
        with pytest.raises(ValueError, match="filepath must use only the names epoch, loss, lr, got"):
            fit(tagger(), tagged(), epochs=1, callbacks=[ModelCheckpoint(tmp_path / "{val_loss}")])

    @pytest.mark.parametrize("name", ["{epoch", "{epoch:q}", "{loss:d}", "{epoch.x}", "{}", "{accuracy}"])
    def test_an_invalid_file_name_is_refused_before_training(self, tmp_path, name):
        model = tagger()
        before = model.state_dict()
        with pytest.raises(ValueError, match=r"^filepath must .*, got "):
            fit(model, tagged(), epochs=1, callbacks=[ModelCheckpoint(tmp_path / name)])
        assert_same_weights(model.state_dict(), before)


def run(folder, *callbacks, epochs=4, resume=False, model=None, **options):
    """Fit with every callback that has a state; return the model, the history, the CSV file and EarlyStopping."""
    model = model or tagger()
    train, held_out = tagged(60).split(0.7)
    csv_file = CSVLogger(folder.parent / f"{folder.name}.csv")
    stopping = EarlyStopping(patience=9, min_delta=0.5, restore_best_weights=True)
    plateau = ReduceLROnPlateau(patience=1, factor=0.5, min_delta=0.5)
    options |= {"epochs": epochs, "out": folder, "resume": resume, "callbacks": [csv_file, stopping, plateau, *callbacks]}
    history = fit(model, train, validation=held_out, metrics="accuracy", batch_size=8, lr=0.3, **options)
    return model, history, csv_file.filename.read_text(), stopping


class TestResume:
    @pytest.mark.parametrize(
        "stop",
        [At(1, kill), At(15, kill), At(12, kill, "on_metrics"), At(12, kill, "on_eval"), At(15, ctrl_c), At(18, ctrl_c)],
        ids=["first", "mid-epoch", "before the save", "after the save", "Ctrl-C", "Ctrl-C at an epoch's end"],
    )
    def test_bit_for_bit(self, tmp_path, stop, capfd):
        whole = run(tmp_path / "whole")
        try:
            assert run(tmp_path / "two", stop)[1].stopped == "interrupted"
            assert "fastrnn: interrupted at step 1" in capfd.readouterr().err
        except Killed:
            pass
        resumed = run(tmp_path / "two", resume=True, model=tagger(seed=5))
        assert_same_weights(resumed[0].state_dict(), whole[0].state_dict())
        assert resumed[1].history == whole[1].history
        assert resumed[2] == whole[2]
        # The test means something only if the rate was lowered and the best epoch was the first one.
        assert whole[1]["lr"] == [0.3, 0.3, 0.15, 0.075]
        assert whole[3].best_epoch == resumed[3].best_epoch == 1

    def test_more_epochs(self, tmp_path):
        whole = run(tmp_path / "whole", epochs=4)
        run(tmp_path / "two", epochs=2)
        resumed = run(tmp_path / "two", epochs=4, resume=True)
        assert resumed[1].history == whole[1].history

    def test_of_nothing_is_a_fresh_run_and_another_run_is_preserved(self, tmp_path):
        whole = run(tmp_path / "whole", epochs=1)
        fresh = run(tmp_path / "fresh", epochs=1, resume=True)
        assert_same_weights(fresh[0].state_dict(), whole[0].state_dict())
        with pytest.raises(FileExistsError, match="holds another run"):
            run(tmp_path / "whole", epochs=1)
        run(tmp_path / "whole", epochs=1, overwrite=True)

    def test_of_another_run(self, tmp_path):
        fit(tagger(), tagged(), epochs=1, batch_size=8, out=tmp_path)
        for options, message in (({"batch_size": 4}, "batch_size was 8 and is 4"), ({"seed": 1}, "seed was 0 and is 1")):
            with pytest.raises(ValueError, match=message):
                fit(tagger(), tagged(), **{"epochs": 1, "batch_size": 8, "out": tmp_path, "resume": True, **options})
        with pytest.raises(ValueError, match="out must be the folder of the run to resume, got None"):
            fit(tagger(), tagged(), resume=True)


class TestProgressBar:
    def test_a_line_for_each_epoch(self, capsys):
        train, held_out = tagged(60).split(0.7)
        history = fit(tagger(), train, validation=held_out, epochs=10, callbacks=[ProgressBar()])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 10
        figures = f"loss {history['loss'][0]:.4f}  val_loss {history['val_loss'][0]:.4f}  lr 1.0e-03 *"
        assert lines[0] == f"epoch  1/10   0:00  {figures}"
        assert lines[9].startswith("epoch 10/10 ")

    def test_a_bar_on_a_terminal(self, become_terminal, capsys):
        become_terminal()
        fit(tagger(), tagged(), epochs=2, batch_size=8, callbacks=[ProgressBar()])
        out = capsys.readouterr().out
        assert "epoch 1/2  5/5  loss 1." in out
        assert "epoch 2/2  3/5  loss 1." in out
        assert " left" in out


def test_history_fills_in_metrics_that_appear_late():
    history = History()
    task = StreamTask()
    rows = iter([{"val_loss": 1.0}, {"val_loss": 2.0, "late": 3.0}, {"val_loss": 1.5}])
    task.evaluate = lambda: next(rows)
    make_trainer(None, history, task=task, max_steps=9).run()
    np.testing.assert_array_equal(history["late"], [math.nan, 3.0, math.nan])
    assert history["val_loss"] == [1.0, 2.0, 1.5]
    assert repr(history).startswith("History(3 epochs: loss ")


def test_a_users_callback_may_stop_a_run():
    class Enough:
        stop_training = False

        def on_step(self, info):
            self.stop_training = info.step == 7

    history = fit(tagger(), tagged(), epochs=5, batch_size=8, callbacks=[Enough()])
    assert (history.stopped, history.step, history.epoch) == ("callback", 7, [1])
