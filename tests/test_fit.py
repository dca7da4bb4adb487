"""fit runs the same steps as a loop written out; its losses, models, metrics and errors."""

import math
from inspect import signature

import numpy as np
import pytest
from fit_data import C, Translator, TwoHeads, V, assert_same_weights, own_loop, tagged, tagger
from tables import each_row
from training_task import Recorder

import fastrnn
from fastrnn import Examples, evaluate, fit, losses, optim
from fastrnn.training import ModelCheckpoint, schedules
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

    def test_the_loss_of_an_epoch_weighs_unmasked_positions_equally(self):
        recorder, train = Recorder(), tagged()
        history = fit(tagger(), train, epochs=2, batch_size=8, callbacks=[recorder])
        for epoch in range(2):
            counts = [b.mask.sum() for b in train.batches(8, np.random.default_rng([0, epoch]))]
            steps = [info.train_loss for info in recorder.steps[epoch * 5 : epoch * 5 + 5]]
            assert history["loss"][epoch] == pytest.approx(np.average(steps, weights=counts), rel=1e-12)

    def test_held_out_metrics_are_those_of_evaluate(self):
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

    @each_row("optimizer", ["sgd", "rmsprop", "adam", "adamw", "muon"])
    def test_optimizers_by_name_or_made(self, optimizer):
        kinds = {"sgd": optim.SGD, "rmsprop": optim.RMSprop, "adam": optim.Adam, "adamw": optim.AdamW, "muon": optim.Muon}
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
        """Weighted losses and their gradients equal those of a loop written out; each output has its own metrics."""
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

    def test_an_output_whose_positions_are_all_masked(self):
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


def encoder_decoder():
    """Return a model from ids over S and over T to logits over T, with one embedding for both."""
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
        rows = np.random.default_rng(0).integers(0, V, (3, 4))
        arrays, lists = encoder_decoder(), encoder_decoder()
        fit(arrays, Examples((rows, list(rows)), rows), epochs=2)
        fit(lists, Examples((list(rows), list(rows)), list(rows)), epochs=2)
        assert_same_weights(arrays.state_dict(), lists.state_dict())
        with pytest.raises(ValueError, match=r"inputs\[0\] must be sequences, .* for its time axis 'S', got \[N\]"):
            fit(encoder_decoder(), Examples((rows[:, 0], list(rows)), rows))
        with pytest.raises(ValueError, match="train must have as many inputs as the model, 2, got 1"):
            fit(encoder_decoder(), Examples(list(rows), list(rows)))

    def test_a_saved_model_comes_back_whole(self, tmp_path):
        data = Examples(([[1, 2], [3]], [[1], [2]]), [[2], [1]])
        model = encoder_decoder()
        fit(model, data, epochs=2, callbacks=[ModelCheckpoint(tmp_path / "model.safetensors", "loss")])
        loaded = fastrnn.load_model(tmp_path / "model.safetensors")
        for mine, theirs in zip(fastrnn.predict(model, data), fastrnn.predict(loaded, data), strict=True):
            np.testing.assert_array_equal(mine, theirs)


class TestBadInput:
    @each_row(
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
            ({"metrics": ["accuracy", "accuracy"]}, ValueError, "metrics must have unique names, got 'accuracy'"),
            ({"metrics": {"loss_0": "accuracy"}}, ValueError, "metrics must have unique names, got 'loss_0'"),
            ({"metrics": {"loss_a": len}}, ValueError, "metrics must have unique names, got 'loss_a'"),
            ({"metrics": {"lr": len}}, ValueError, "metrics must not be named epoch, lr or val_.*, got 'lr'"),
            ({"metrics": {"val_loss": len}}, ValueError, "metrics must not be named epoch, lr or val_.*, got 'val_loss'"),
            ({"metrics": None}, TypeError, r"metrics must be names or functions, \(\) for none, got None"),
            ({"metrics": {"f1": lambda *_: None}}, TypeError, "f1 must return one number as its mean, got None"),
            ({"loss": lambda y, *_: (y, y)}, TypeError, "loss must return one number as its mean, got float"),
            ({"schedule": 0.5}, TypeError, "schedule must be a name or a function of the step, got 0.5"),
            ({"loss_weights": 0.5}, TypeError, "loss_weights must be a number for each loss, got 0.5"),
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

    @each_row(
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

    def test_objects_that_are_not_models_or_examples(self):
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


def test_a_backward_that_can_leave_out_dx_does_so():
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


def test_a_task_names_its_metrics_before_it_has_any():
    data = Examples([[1]], ([[1]], np.zeros((1, 1))))
    objective = Objective(("softmax_cross_entropy", "mean_squared_error"), ["mean_absolute_error"])
    task = ExamplesTask(TwoHeads(), data, data, objective, 1, 0)
    own = ("loss", "loss_0", "loss_1", "mean_absolute_error_0", "mean_absolute_error_1")
    assert task.metric_names == (*own, *(f"val_{name}" for name in own), "lr")


class TestMethods:
    """``model.fit``, ``evaluate`` and ``predict`` are the functions, with the model as their first argument."""

    @pytest.mark.parametrize("make", [tagger, encoder_decoder])
    def test_are_the_functions(self, make):
        rows = [np.random.default_rng(0).integers(0, C, n) for n in (4, 2, 3)]
        data = Examples(rows if make is tagger else (rows, rows), rows)
        mine, theirs = make(), make()
        history = mine.fit(data, epochs=2, lr=0.01, metrics="accuracy", validation=data)
        assert history.history == fit(theirs, data, epochs=2, lr=0.01, metrics="accuracy", validation=data).history
        assert_same_weights(mine.state_dict(), theirs.state_dict())
        assert mine.evaluate(data, metrics="accuracy") == evaluate(mine, data, metrics="accuracy")
        for one, other in zip(mine.predict(data, 2), fastrnn.predict(mine, data, 2), strict=True):
            np.testing.assert_array_equal(one, other)

    @each_row("name", ["fit", "evaluate", "predict"])
    @each_row("kind", [fastrnn.Model, fastrnn.Sequential])
    def test_have_their_signatures(self, kind, name):
        function = getattr(fastrnn, name)
        _, *wanted = signature(function).parameters.values()
        model = tagger() if kind is fastrnn.Sequential else encoder_decoder()
        assert list(signature(getattr(model, name)).parameters.values()) == wanted
        assert getattr(model, name).__doc__ == function.__doc__
