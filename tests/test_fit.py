"""fit: the same steps as a loop written out, whatever stops it; its losses, figures and callbacks."""

from __future__ import annotations

import csv
import math
import sys

import numpy as np
import pytest
from fit_data import C, Translator, TwoHeads, V, assert_same_weights, own_loop, tagged, tagger
from training_task import At, Killed, Recorder, StreamTask, ctrl_c, kill, make_trainer

import fastrnn
from fastrnn import Examples, evaluate, fit, losses, optim
from fastrnn.training import CSVLogger, EarlyStopping, History, ModelCheckpoint, ProgressBar, ReduceLROnPlateau, schedules
from fastrnn.training.fitting import ExamplesTask
from fastrnn.training.objectives import Objective


class TestSteps:
    @pytest.mark.parametrize("clip_norm", [None, 0.1])
    def test_equals_a_loop_written_out_bit_for_bit(self, clip_norm):
        mine, theirs, recorder = tagger(), tagger(), Recorder()
        history = fit(
            mine, tagged(), epochs=3, batch_size=8, lr=0.01, clip_norm=clip_norm, callbacks=[recorder], metrics="accuracy"
        )
        expected = own_loop(theirs, tagged(), epochs=3, clip_norm=clip_norm)
        assert [info.train_loss for info in recorder.steps] == expected
        assert_same_weights(mine.state_dict(), theirs.state_dict())
        assert (history.stopped, history.step, history.epoch) == ("steps", 15, [1, 2, 3])

    def test_the_loss_of_an_epoch_weighs_what_counts(self):
        recorder, train = Recorder(), tagged()
        history = fit(tagger(), train, epochs=2, batch_size=8, callbacks=[recorder])
        for epoch in range(2):
            counts = [b.mask.sum() for b in train.batches(8, np.random.default_rng([0, epoch]))]
            steps = [info.train_loss for info in recorder.steps[epoch * 5 : epoch * 5 + 5]]
            assert history["loss"][epoch] == pytest.approx(np.average(steps, weights=counts), rel=1e-12)

    def test_held_out_figures_are_those_of_evaluate(self):
        model, (train, held_out) = tagger(), tagged(60).split(0.7)
        history = fit(model, train, validation=held_out, metrics="accuracy", epochs=2, batch_size=8)
        assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy", "lr"]
        figures = evaluate(model, held_out, metrics="accuracy")
        assert history["val_loss"][-1] == pytest.approx(figures["loss"], rel=1e-6)
        assert history["val_accuracy"][-1] == figures["accuracy"]

    def test_the_seed_decides(self):
        weights = []
        for seed in (0, 0, 1):
            model = tagger()
            fit(model, tagged(), epochs=2, batch_size=8, seed=seed)
            weights.append(model.state_dict())
        assert_same_weights(weights[0], weights[1])
        assert any((weights[0][name] != weights[2][name]).any() for name in weights[0])

    @pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
    def test_optimizers_by_name_or_made(self, optimizer):
        kinds = {"sgd": optim.SGD, "rmsprop": optim.RMSprop, "adam": optim.Adam, "adamw": optim.AdamW}
        named, made = tagger(), tagger()
        fit(named, tagged(), epochs=1, optimizer=optimizer, lr=0.02)
        fit(made, tagged(), epochs=1, optimizer=kinds[optimizer](made.parameters(), lr=0.02))
        assert_same_weights(named.state_dict(), made.state_dict())

    @pytest.mark.parametrize("schedule", ["cosine", lambda step: 0.5**step])
    def test_schedules_by_name_or_as_functions(self, schedule):
        recorder = Recorder()
        fit(tagger(), tagged(), epochs=2, batch_size=8, lr=0.1, schedule=schedule, callbacks=[recorder])
        factor = schedules.cosine(10) if schedule == "cosine" else schedule
        assert [info.lr for info in recorder.steps] == [0.1 * factor(step) for step in range(10)]

    def test_it_learns(self):
        rng = np.random.default_rng(0)
        x = rng.standard_normal((200, 2)).astype(np.float32)
        data = Examples(x, (x[:, 0] > x[:, 1]).astype(np.int64))
        model = fastrnn.Sequential(fastrnn.Linear(2, 2, rng=0))
        assert fit(model, data, metrics="accuracy", lr=0.1, epochs=10)["accuracy"][-1] > 0.95


class TestLosses:
    @pytest.mark.parametrize("name", ["sigmoid_binary_cross_entropy", "mean_squared_error"])
    def test_by_name_with_the_mask_of_the_lengths(self, name):
        rng = np.random.default_rng(0)
        ids = [rng.integers(0, V, n) for n in (3, 5, 1)]
        notes = [rng.integers(0, 2, (len(row), C)).astype(np.float64) for row in ids]
        model = tagger("float64", dropout=0.0)
        figures = evaluate(model, Examples(ids, notes), loss=name, metrics="accuracy")
        outputs = np.concatenate([model(row[:, None])[:, 0] for row in ids])
        truth = np.concatenate(notes)
        assert figures["loss"] == pytest.approx(getattr(losses, name)(outputs, truth)[0], rel=1e-12)
        assert figures["accuracy"] == ((outputs > 0) == (truth > 0.5)).mean()

    def test_a_function_gets_outputs_targets_and_mask(self):
        def loss(outputs, targets, mask):
            return losses.softmax_cross_entropy(outputs, targets, mask=mask)

        mine, theirs = tagger(), tagger()
        first = fit(mine, tagged(), loss=loss, epochs=2)
        second = fit(theirs, tagged(), epochs=2)
        assert_same_weights(mine.state_dict(), theirs.state_dict())
        assert first["loss"] == second["loss"]

    def test_several_outputs(self):
        """Losses and gradients with weights: those of a loop written out; figures of each output."""
        rng = np.random.default_rng(0)
        ids = [rng.integers(0, V, n) for n in (4, 2, 5)]
        data = Examples(ids, ([row % C for row in ids], rng.standard_normal((3, 1))))
        both = ("softmax_cross_entropy", "mean_squared_error")
        mine, theirs = TwoHeads(), TwoHeads()
        options = {"loss": both, "loss_weights": (1.0, 0.5), "metrics": "mean_absolute_error"}
        history = fit(mine, data, optimizer="sgd", lr=0.1, epochs=1, **{**options, "metrics": ()})

        (batch,) = data.batches(3, np.random.default_rng([0, 0]))
        (tags, number), backward = theirs.forward(*batch.inputs, lengths=batch.lengths)
        first, dtags = losses.softmax_cross_entropy(tags, batch.targets[0], mask=batch.mask[0])
        second, dnumber = losses.mean_squared_error(number, batch.targets[1])
        backward(dtags, 0.5 * dnumber)
        optim.SGD(theirs.parameters(), lr=0.1).step()
        assert_same_weights(mine.state_dict(), theirs.state_dict())
        assert history.history == {"loss": [first + 0.5 * second], "loss_0": [first], "loss_1": [second], "lr": [0.1]}
        assert batch.mask[1] is None

        single = evaluate(theirs, data, loss=both, loss_weights=(1.0, 0.5), batch_size=1)
        whole = evaluate(theirs, data, loss=both, loss_weights=(1.0, 0.5), batch_size=3)
        assert single == pytest.approx(whole, rel=1e-12)
        assert whole["loss"] == whole["loss_0"] + 0.5 * whole["loss_1"]

    def test_a_function_for_several_outputs(self):
        def loss(outputs, targets, mask):
            first, dtags = losses.softmax_cross_entropy(outputs[0], targets[0], mask=mask[0])
            return first, (dtags, np.zeros_like(outputs[1]))

        ids = [[1, 2, 3], [4]]
        data = Examples(ids, ([[1, 2, 0], [1]], np.zeros((2, 1))))
        metrics = {"shapes": lambda outputs, targets, mask: float(outputs[0].shape[2])}
        history = fit(TwoHeads(), data, loss=loss, metrics=metrics, epochs=1)
        assert history["shapes"] == [C]
        assert history["loss"][0] > 0

    def test_two_time_axes(self):
        rng = np.random.default_rng(0)
        source = [rng.integers(0, V, n) for n in (5, 2, 3, 4)]
        target = [row[:2] for row in source]
        data = Examples((source, target), target, axes=("S", "T"))
        model = Translator()
        one, all_ = (evaluate(model, data, batch_size=size)["loss"] for size in (1, 4))
        assert one == pytest.approx(all_, rel=1e-12)
        outputs = fastrnn.predict(model, data, 4)
        assert [len(output) for output in outputs] == [2, 2, 2, 2]
        history = fit(model, data, epochs=60, lr=0.02)
        assert history["loss"][-1] < 0.3 * history["loss"][0]

    def test_an_output_of_which_nothing_counts(self):
        data = Examples([[1, 2], [3]], ([[-100, -100], [-100]], np.ones((2, 1))))
        figures = evaluate(TwoHeads(), data, loss=("softmax_cross_entropy", "mean_squared_error"))
        assert math.isnan(figures["loss_0"])
        assert figures["loss"] == figures["loss_1"] > 0

    def test_ignored_targets_do_not_weigh(self):
        data = Examples([[1, 2], [3, 4]], [[0, -100], [-100, -100]])
        model = tagger("float64", dropout=0.0)
        logits = model(np.array([[1], [2]]))[:1, 0]
        expected = losses.softmax_cross_entropy(logits, np.array([0]))[0]
        assert evaluate(model, data, batch_size=1)["loss"] == pytest.approx(expected, rel=1e-12)


def scripted(values):
    """A task whose held-out losses are these."""
    task, given = StreamTask(), iter(values)
    task.evaluate = lambda: {"val_loss": next(given), "val_accuracy": 0.5}
    return task


class TestEarlyStopping:
    @pytest.mark.parametrize(
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
    @pytest.mark.parametrize(
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

    def test_a_file_name_of_figures_that_there_are_not(self, tmp_path):
        with pytest.raises(ValueError, match="filepath must have figures of these in it: epoch, loss, lr; got"):
            fit(tagger(), tagged(), epochs=1, callbacks=[ModelCheckpoint(tmp_path / "{val_loss}")])


def run(folder, *callbacks, epochs=4, resume=False, model=None, **options):
    """A fit with every callback that has a state, in a folder; the model, the history, the CSV file, what stops it early."""
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
        # The rate was lowered and the best epoch was the first, or the test would say little.
        assert whole[1]["lr"] == [0.3, 0.3, 0.15, 0.075]
        assert whole[3].best_epoch == resumed[3].best_epoch == 1

    def test_more_epochs(self, tmp_path):
        whole = run(tmp_path / "whole", epochs=4)
        run(tmp_path / "two", epochs=2)
        resumed = run(tmp_path / "two", epochs=4, resume=True)
        assert resumed[1].history == whole[1].history

    def test_of_nothing_is_a_fresh_run_and_another_run_is_kept(self, tmp_path):
        whole = run(tmp_path / "whole", epochs=1)
        fresh = run(tmp_path / "fresh", epochs=1, resume=True)
        assert_same_weights(fresh[0].state_dict(), whole[0].state_dict())
        with pytest.raises(FileExistsError, match="holds another run"):
            run(tmp_path / "whole", epochs=1)
        run(tmp_path / "whole", epochs=1, overwrite=True)

    def test_of_another_run(self, tmp_path):
        fit(tagger(), tagged(), epochs=1, batch_size=8, out=tmp_path)
        for options, message in (
            ({"batch_size": 4}, "batch_size was 8 and is 4"),
            ({"seed": 1}, "seed was 0 and is 1"),
        ):
            with pytest.raises(ValueError, match=message):
                fit(tagger(), tagged(), **{"epochs": 1, "batch_size": 8, "out": tmp_path, "resume": True, **options})
        with pytest.raises(ValueError, match="out must be the folder of the run to resume, got None"):
            fit(tagger(), tagged(), resume=True)


def encoder_decoder():
    """Ids over S and over T to logits over T; one embedding for both."""
    source, target = (fastrnn.Input((axis, "B"), dtype="int64") for axis in "ST")
    embedding = fastrnn.Embedding(V, 5, dtype="float64", rng=0)
    _, state = fastrnn.GRU(5, 6, dtype="float64", rng=1)(embedding(source))
    y, _ = fastrnn.GRU(5, 6, dtype="float64", rng=2)(embedding(target), state)
    return fastrnn.Model((source, target), fastrnn.Linear(6, V, dtype="float64", rng=3)(y))


class TestModels:
    @pytest.mark.parametrize("same_lengths", [False, True])
    def test_time_axes_are_named_by_the_model(self, same_lengths):
        rng = np.random.default_rng(0)
        source = [rng.integers(0, V, n) for n in (5, 2, 3, 4)]
        target = source if same_lengths else [row[:2] for row in source]
        mine, theirs = encoder_decoder(), encoder_decoder()
        fit(mine, Examples((source, target), target), epochs=3, batch_size=2)
        fit(theirs, Examples((source, target), target, axes=("S", "T")), epochs=3, batch_size=2)
        assert_same_weights(mine.state_dict(), theirs.state_dict())
        for i, output in enumerate(fastrnn.predict(mine, Examples((source, target)))):
            expected = mine(source[i][:, None], target[i][:, None])
            np.testing.assert_allclose(output, expected[:, 0], rtol=1e-12, atol=1e-15)

    def test_an_array_where_the_model_has_time(self):
        rows = np.zeros((3, 4), np.int64)
        with pytest.raises(
            ValueError, match=r"inputs\[0\] has no sequences: give list\(x\) for an array x .* time axis is 'S'"
        ):
            fit(encoder_decoder(), Examples((rows, list(rows)), list(rows)))
        with pytest.raises(ValueError, match="train must have as many inputs as the model, 2, got 1"):
            fit(encoder_decoder(), Examples(list(rows), list(rows)))

    def test_without_the_inputs_gradients_it_is_the_same(self):
        x = fastrnn.Input(("T", "B", 2), dtype="float64")
        y, _ = fastrnn.GRU(2, 4, dtype="float64", rng=0)(x)
        rng = np.random.default_rng(1)
        sequences = [rng.standard_normal((n, 2)) for n in (3, 1, 4)]
        logits = fastrnn.Linear(4, C, dtype="float64", rng=2)(fastrnn.Last()(y))
        mine = fastrnn.Model(x, logits)
        theirs = fastrnn.Model.from_json(mine.to_json())
        theirs.load_state_dict(mine.state_dict())
        data = Examples(sequences, [0, 1, 2])
        history = fit(mine, data, epochs=1, optimizer="sgd", lr=0.1)
        (batch,) = data.batches(3, np.random.default_rng([0, 0]))
        outputs, backward = theirs.forward(*batch.inputs, lengths=batch.lengths)
        loss, gradient = losses.softmax_cross_entropy(outputs, batch.targets, mask=batch.mask)
        backward(gradient)
        optim.SGD(theirs.parameters(), lr=0.1).step()
        assert history["loss"] == [loss]
        assert_same_weights(mine.state_dict(), theirs.state_dict())

    def test_a_saved_model_comes_back_whole(self, tmp_path):
        data = Examples(([[1, 2], [3]], [[1], [2]]), [[2], [1]])
        model = encoder_decoder()
        fit(model, data, epochs=2, callbacks=[ModelCheckpoint(tmp_path / "model.safetensors", "loss")])
        loaded = fastrnn.load_model(tmp_path / "model.safetensors")
        for mine, theirs in zip(fastrnn.predict(model, data), fastrnn.predict(loaded, data), strict=True):
            np.testing.assert_array_equal(mine, theirs)


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"loss": "cross_entropy"}, ValueError, "loss must be one of 'softmax_cross_entropy', "),
            ({"loss": None}, TypeError, "loss must be a function"),
            ({"loss": lambda outputs, targets, mask: 1.0}, TypeError, r"loss must return \(value, gradient\), got 1.0"),
            (
                {"loss": ("mean_squared_error",) * 2},
                ValueError,
                "loss must be a single one for a model of one output, got 2",
            ),
            ({"metrics": "f1"}, ValueError, "metrics must be one of 'accuracy'"),
            ({"metrics": ["accuracy", "accuracy"]}, ValueError, "metrics must have names of their own, got 'accuracy'"),
            ({"metrics": {"loss_0": "accuracy"}}, ValueError, "metrics must have names of their own, got 'loss_0'"),
            ({"metrics": {"loss_a": len}}, ValueError, "metrics must have names of their own, got 'loss_a'"),
            ({"optimizer": "adagrad"}, ValueError, "optimizer must be one of 'sgd'"),
            ({"lr": -1.0}, ValueError, "lr must lie in"),
            ({"schedule": "linear"}, ValueError, "schedule must be one of"),
            ({"epochs": 0}, ValueError, "epochs must be at least 1"),
            ({"batch_size": 2.5}, TypeError, "batch_size must be an integer"),
            ({"seed": -1}, ValueError, "seed must be at least 0"),
            ({"clip_norm": 0.0}, ValueError, "clip_norm must lie in"),
            ({"validation": 0.1}, TypeError, "validation must be fastrnn.Examples"),
            ({"validation": Examples([[1]])}, ValueError, "validation must have targets"),
            (
                {"validation": Examples([[1]], [[C]])},
                ValueError,
                r"validation\.targets must hold .* 0..2, .* got 3 in example 0",
            ),
            ({"loss_weights": (1.0,)}, ValueError, "loss_weights are for several outputs"),
            ({"loss_weights": (-1.0,)}, ValueError, "loss_weights must lie in"),
        ],
    )
    def test_options(self, options, error, message):
        with pytest.raises(error, match=message):
            fit(tagger(), tagged(), **options)

    @pytest.mark.parametrize(
        ("inputs", "targets", "error", "message"),
        [
            ([[1, 2], [3]], None, ValueError, "train must have targets"),
            (
                [[1, 2], [3]],
                [[0, 1], [-1]],
                ValueError,
                r"train\.targets must hold class ids in 0..2, .* got -1 in example 1",
            ),
            ([[1, 2], [3]], [[0, 7], [1]], ValueError, r"train\.targets must hold class ids in 0..2, .* got 7 in example 0"),
            ([[1, 2], [3]], [[0.0, 1.0], [1.0]], TypeError, "targets must hold integer class ids, got float32"),
            ([[1, 2], [3]], [0, 1], ValueError, r"targets must have the shape of logits without its last axis, \(2, 2\)"),
            ([[1, 2], [V]], [[0, 1], [0]], ValueError, "x must hold token ids in -1..6, got 7"),
            (([[1]], [[1]]), [[0]], ValueError, "train must have as many inputs as the model, 1, got 2"),
        ],
    )
    def test_data(self, inputs, targets, error, message):
        model = tagger()
        before = model.state_dict()
        with pytest.raises(error, match=message):
            fit(model, Examples(inputs, targets), batch_size=2)
        assert_same_weights(model.state_dict(), before)

    def test_evaluate_names_its_argument(self):
        with pytest.raises(ValueError, match=rf"^examples\.targets must hold class ids in 0..2, .* got {C} in example 1$"):
            evaluate(tagger(), Examples([[1], [2]], [[0], [C]]))

    def test_what_is_no_model_and_no_examples(self):
        with pytest.raises(TypeError, match=r"train must be fastrnn.Examples\(inputs, targets\), got \[1\]"):
            fit(tagger(), [1])
        with pytest.raises(TypeError, match="model must be a fastrnn layer"):
            fit(len, tagged())
        adam = optim.Adam(tagger().parameters())
        with pytest.raises(ValueError, match="lr must be given to the optimizer itself"):
            fit(tagger(), tagged(), optimizer=adam, lr=0.1)
        with pytest.raises(ValueError, match="optimizer has a parameter that is not the task's"):
            fit(tagger(), tagged(), optimizer=adam)

    def test_several_outputs_need_as_many_targets_and_losses(self):
        data = Examples([[1, 2]], [[0, 1]])
        with pytest.raises(ValueError, match="targets must be a tuple of 2, one for each output, got one field"):
            fit(TwoHeads(), data)
        data = Examples([[1, 2]], ([[0, 1]], np.zeros((1, 1))))
        with pytest.raises(ValueError, match="loss must have one for each of 2 outputs, got 3"):
            fit(TwoHeads(), data, loss=("softmax_cross_entropy",) * 3)

    def test_a_loss_that_is_not_finite_stops_with_the_step(self):
        def loss(outputs, targets, mask):
            return math.nan, np.full_like(outputs, np.nan)

        with pytest.raises(optim.NonFiniteGradient, match="at step 1"):
            fit(tagger(), tagged(), loss=loss)


class TestProgressBar:
    def test_a_line_for_each_epoch(self, capsys):
        train, held_out = tagged(60).split(0.7)
        history = fit(tagger(), train, validation=held_out, epochs=10, callbacks=[ProgressBar()])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 10
        figures = f"loss {history['loss'][0]:.4f}  val_loss {history['val_loss'][0]:.4f}  lr 1.0e-03 *"
        assert lines[0] == f"epoch  1/10   0:00  {figures}"
        assert lines[9].startswith("epoch 10/10 ")

    def test_a_bar_on_a_terminal(self, capsys, monkeypatch):
        pytest.importorskip("rich")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        for name, value in (("TERM", "xterm"), ("COLUMNS", "120")):
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setattr("fastrnn.training.callbacks.REFRESH_SECONDS", 0.0)
        fit(tagger(), tagged(), epochs=2, batch_size=8, callbacks=[ProgressBar()])
        out = capsys.readouterr().out
        assert "epoch 1/2  5/5  loss 1." in out
        assert "epoch 2/2  3/5  loss 1." in out
        assert " left" in out


def test_history_fills_in_figures_that_come_late():
    history = History()
    task = StreamTask()
    rows = iter([{"val_loss": 1.0}, {"val_loss": 2.0, "late": 3.0}, {"val_loss": 1.5}])
    task.evaluate = lambda: next(rows)
    make_trainer(None, history, task=task, max_steps=9).run()
    np.testing.assert_array_equal(history["late"], [math.nan, 3.0, math.nan])
    assert history["val_loss"] == [1.0, 2.0, 1.5]
    assert repr(history).startswith("History(3 epochs: loss ")


def test_a_callback_of_ones_own_may_stop_a_run():
    class Enough:
        stop_training = False

        def on_step(self, info):
            self.stop_training = info.step == 7

    history = fit(tagger(), tagged(), epochs=5, batch_size=8, callbacks=[Enough()])
    assert (history.stopped, history.step, history.epoch) == ("callback", 7, [1])


def test_a_backward_that_can_leave_out_dx_is_told_to():
    class Watched(fastrnn.Linear):
        def forward(self, x):
            y, backward = super().forward(x)

            def watched(dy, need_dx=True):
                asked.append(need_dx)
                return backward(dy)

            return y, watched

    asked = []
    data = Examples(np.ones((4, 2), np.float32), [0, 1, 2, 0])
    mine, theirs = Watched(2, C, rng=0), fastrnn.Linear(2, C, rng=0)
    for model in (mine, theirs):
        fit(model, data, epochs=2)
    assert asked == [False, False]
    assert_same_weights(mine.state_dict(), theirs.state_dict())


def test_a_task_says_its_figures_before_it_has_any():
    data = Examples([[1]], ([[1]], np.zeros((1, 1))))
    objective = Objective(("softmax_cross_entropy", "mean_squared_error"), ["mean_absolute_error"])
    task = ExamplesTask(TwoHeads(), data, data, objective, 1, 0)
    own = ("loss", "loss_0", "loss_1", "mean_absolute_error_0", "mean_absolute_error_1")
    assert task.figure_names == (*own, *(f"val_{name}" for name in own), "lr")
