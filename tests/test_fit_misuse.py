"""fit refuses calls that cannot mean what the user wants, with a one-line error, before anything has changed."""

import math

import numpy as np
import pytest
from fit_data import C, V, assert_same_weights, tagged, tagger
from tables import each_row
from training_task import Recorder

from fastrnn import GRU, Embedding, Examples, Input, Last, Linear, Model, RepeatVector, Sequential, evaluate, fit, optim
from fastrnn.training import CheckpointError, CSVLogger, EarlyStopping, ProgressBar, ReduceLROnPlateau


def ids(*lengths):
    """Return sequences of ids and of classes with these lengths."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, C, n) for n in lengths]


def encoder_decoder():
    source, target = (Input((axis, "B"), dtype="int64") for axis in "ST")
    _, state = GRU(V, 4, rng=1)(source)
    y, _ = GRU(V, 4, rng=2)(target, state)
    return Model((source, target), Linear(4, C, rng=3)(y))


def tags_and_label():
    whole, words = Input(("B", 2)), Input(("T", "B"), dtype="int64")
    y, _ = GRU(V, 4, rng=1)(words)
    tags, label = Linear(4, C, rng=2), Linear(2, C, rng=3)
    return Model((whole, words), (tags(y), label(whole)))


class TestStepsOfTargets:
    @each_row(
        ("model", "inputs", "targets", "message"),
        [
            (tagger, ids(4, 3, 2), ids(4, 2, 2), r"train targets\[1\] must have 3 steps as inputs\[1\], got 2"),
            (tagger, ids(2, 3), ids(3, 2), r"train targets\[0\] must have 2 steps as inputs\[0\], got 3"),
            (
                encoder_decoder,
                (ids(5, 2), ids(3, 3)),
                ids(5, 3),
                r"train targets\[0\] must have 3 steps as inputs\[1\]\[0\], got 5",
            ),
            (
                tags_and_label,
                (np.zeros((2, 2), np.float32), ids(4, 4)),
                (ids(4, 1), [0, 1]),
                r"train targets\[0\]\[1\] must have 4 steps as inputs\[1\]\[1\], got 1",
            ),
        ],
    )
    def test_those_of_their_inputs(self, model, inputs, targets, message):
        model = model()
        before = model.state_dict()
        with pytest.raises(ValueError, match=message):
            fit(model, Examples(inputs, targets))
        assert_same_weights(model.state_dict(), before)

    def test_in_validation(self):
        with pytest.raises(ValueError, match=r"validation targets\[1\] must have 2 steps as inputs\[1\], got 1"):
            fit(tagger(), tagged(), validation=Examples(ids(3, 2), ids(3, 1)))

    def test_in_evaluation(self):
        with pytest.raises(ValueError, match=r"examples targets\[1\] must have 2 steps as inputs\[1\], got 1"):
            evaluate(tagger(), Examples(ids(3, 2), ids(3, 1)))

    def test_others_where_outputs_have_a_time_of_their_own(self):
        model = Sequential(Embedding(V, 4, rng=0), GRU(4, 5, rng=1), Last(), RepeatVector(4), Linear(5, C, rng=2))
        data = Examples(ids(4, 2, 3), [[label] * 4 for label in range(3)])
        assert fit(model, data, lr=0.1, epochs=60)["loss"][-1] < 0.5

    def test_others_for_a_users_own_loss(self):
        seen = []

        def loss(outputs, targets, mask):
            seen.append((outputs.shape, targets.shape))
            return 1.0, np.zeros_like(outputs)

        fit(tagger(), Examples(ids(4, 3), ids(2, 3)), loss=loss, epochs=1)
        assert seen == [((4, 2, C), (3, 2))]


class TestResume:
    @pytest.mark.parametrize(
        ("data", "options", "message"),
        [
            (tagged(), {"lr": 0.02}, "does not fit this run: lr was 0.01 and is 0.02"),
            (tagged(), {}, "does not fit this run: lr was 0.01 and is 0.001"),
            (tagged(seed=1), {"lr": 0.01}, "train must hold the examples that the run began with, got others"),
        ],
    )
    def test_with_another_rate_or_of_other_examples(self, tmp_path, data, options, message):
        fit(tagger(), tagged(), epochs=1, lr=0.01, out=tmp_path)
        model = tagger(seed=5)
        before = model.state_dict()
        with pytest.raises(CheckpointError, match=message):
            fit(model, data, epochs=2, out=tmp_path, resume=True, **options)
        assert_same_weights(model.state_dict(), before)

    def test_with_an_optimizer_that_a_callback_has_slowed_down(self, tmp_path):
        model = tagger()
        adam = optim.Adam(model.named_parameters(), lr=0.01)
        slow = ReduceLROnPlateau("loss", patience=0, factor=0.5, mode="max")
        options = {"optimizer": adam, "out": tmp_path, "resume": True, "callbacks": [slow]}
        fit(model, tagged(), epochs=2, **options)
        assert adam.lr < 0.01
        assert fit(model, tagged(), epochs=3, **options).epoch == [1, 2, 3]

    def test_the_same_examples_are_recognised_in_other_memory(self, tmp_path):
        """A part of a data set, and a copy of the same rows, are the same examples."""
        whole = tagged(40)
        part = whole[10:30]
        rows = [[row.tolist() for row in np.split(*_pieces(field))] for field in (*part.inputs, *part.targets)]
        fit(tagger(), part, epochs=1, out=tmp_path)
        assert fit(tagger(), Examples(*rows), epochs=2, out=tmp_path, resume=True).epoch == [1, 2]

    def test_and_overwrite_exclude_each_other(self, tmp_path):
        with pytest.raises(ValueError, match="resume and overwrite must not both be True"):
            fit(tagger(), tagged(), out=tmp_path, resume=True, overwrite=True)
        assert not list(tmp_path.iterdir())


def _pieces(field):
    """Return the rows of all examples of a field, and where each example after the first begins."""
    return field.flat()[0], np.cumsum(field.lengths)[:-1]


@each_row(
    ("callbacks", "message"),
    [
        ([EarlyStopping], r"callbacks\[0\] must be a callback, EarlyStopping\(...\), got the class itself"),
        (
            [ProgressBar(), len],
            r"callbacks\[1\] has none of on_begin, on_step, on_metrics, on_eval, on_end: <built-in function len>",
        ),
        (EarlyStopping("loss"), "callbacks must be a list of callbacks, got <.*EarlyStopping"),
        (EarlyStopping, "callbacks must be a list of callbacks, got <class"),
        (CSVLogger("run.csv"), "callbacks must be a list of callbacks, got History"),
        (None, "callbacks must be a list of callbacks, got None"),
    ],
)
def test_callbacks_that_would_never_be_called(callbacks, message):
    with pytest.raises(TypeError, match=message):
        fit(tagger(), tagged(), callbacks=callbacks)


class TestLossesThatAreNoNumbers:
    def test_an_infinite_one_stops_with_the_step(self):
        values = iter([1.0, math.inf])
        recorder, model = Recorder(), tagger()
        before = []

        def loss(outputs, targets, mask):
            before.append(model.state_dict())
            return next(values), np.ones_like(outputs)

        with pytest.raises(optim.NonFiniteLoss, match="the loss is inf at step 2"):
            fit(model, tagged(), loss=loss, batch_size=8, callbacks=[recorder])
        assert [info.stopped for info in recorder.ends] == ["failed"]
        assert_same_weights(model.state_dict(), before[1])

    def test_batches_in_which_nothing_counts_do_not_matter(self):
        def loss(outputs, targets, mask):
            return 2.0 if (targets >= 0).any() else math.nan, np.zeros_like(outputs)

        recorder = Recorder()
        data = Examples(np.ones((4, 2), np.float32), [-100, 0, -100, 1])
        history = fit(Linear(2, C, rng=0), data, loss=loss, batch_size=1, epochs=1, callbacks=[recorder])
        assert history["loss"] == [info.train_loss for info in recorder.evaluations] == [2.0]
        assert fit(Linear(2, C, rng=0), data[:3], batch_size=1, epochs=1)["loss"][0] > 0

    def test_targets_that_are_all_ignored(self):
        data = Examples([[1, 2], [3], [4]], [[-100, -100], [-100], [0]])
        with pytest.raises(ValueError, match="train targets must hold at least one class id, got only -100"):
            fit(tagger(), data[:2])
        with pytest.raises(ValueError, match="validation targets must hold at least one class id"):
            fit(tagger(), data, validation=data[:2])
