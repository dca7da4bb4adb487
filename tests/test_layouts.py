"""Examples in arrays and lists, also for batch_first models: predictions do not depend on the layout or the batch size."""

import numpy as np
import pytest
from fit_data import assert_all_close, assert_same_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

import fastrnn
from fastrnn import (
    GRU,
    LSTM,
    Dropout,
    Embedding,
    Examples,
    GRUCell,
    Input,
    Lambda,
    Last,
    Layer,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Model,
    OneHot,
    RepeatVector,
    Sequential,
    VariationalDropout,
    evaluate,
    fit,
    predict,
)

D, C, V = 3, 2, 7
F64 = {"dtype": "float64"}
IDS = ("embedded", "one_hot")
SUMMED = ("last", "mean", "max")  # one output for each sequence


def make(kind, batch_first=False):
    """Return a model by name; both layouts have the same weights."""
    first = {"batch_first": batch_first, **F64}
    gru, head = GRU(D, 4, **first, rng=1), Linear(4, C, **F64, rng=2)
    layers = {
        "gru": [gru, head],
        "linear first": [Linear(D, D, **F64, rng=3), LayerNorm(D, **F64), gru, head],
        "both ways": [LSTM(D, 4, 2, bidirectional=True, merge="sum", **first, rng=1), Dropout(0.3, rng=0), head],
        "dropped": [VariationalDropout(0.4, rng=0), GRU(D, 4, **first, recurrent_dropout=0.2, rng=1), head],
        "embedded": [Embedding(V, D, **F64, rng=0), gru, head],
        "one_hot": [OneHot(V, **F64), GRU(V, 4, **first, rng=1), head],
        "last": [gru, Last(), head],
        "mean": [gru, MeanPool(), head],
        "max": [MaxPool() if not batch_first else Sequential(MaxPool()), Linear(D, C, **F64, rng=2)],
        "repeated": [gru, Last(), RepeatVector(5), GRU(4, 4, **first, rng=3), head],
        "nested": [Sequential(Linear(D, D, **F64, rng=3), Sequential(gru)), Sequential(Dropout(0.2, rng=0), head)],
    }[kind]
    if kind == "max":  # the recurrent layer, which has batch_first, comes after the pooling in this list
        layers = [Linear(D, D, **F64, rng=3), GRU(D, D, **first, rng=1), layers[0], layers[1]]
    return Sequential(*layers)


KINDS = ["gru", "linear first", "both ways", "dropped", "embedded", "one_hot", *SUMMED, "repeated", "nested"]


def data(kind, lengths, seed=0):
    """Return sequences of these lengths and their targets, as lists."""
    rng = np.random.default_rng(seed)
    x = [rng.integers(0, V, n) if kind in IDS else rng.standard_normal((n, D)) for n in lengths]
    steps = [5] * len(lengths) if kind == "repeated" else lengths
    y = [rng.integers(0, C, n) for n in steps]
    return x, np.array([row[0] for row in y]) if kind in SUMMED else y


def one_by_one(kind, x):
    """Return the outputs of the time-first model for each sequence alone."""
    outputs = [make(kind)(row[:, None]) for row in x]
    return [output[0] if kind in SUMMED else output[:, 0] for output in outputs]


class TestPredictions:
    @settings(max_examples=30)
    @given(
        kind=st.sampled_from(KINDS),
        batch_first=st.booleans(),
        lengths=st.integers(1, 6).flatmap(lambda T: st.lists(st.just(T), min_size=1, max_size=7)),
        size=st.integers(1, 9),
    )
    def test_of_an_array_of_a_list_and_one_by_one(self, kind, batch_first, lengths, size):
        x, _ = data(kind, lengths)
        model, expected = make(kind, batch_first), one_by_one(kind, x)
        from_array, from_list = (predict(model, Examples(values), size) for values in (np.stack(x), x))
        assert isinstance(from_array, np.ndarray)
        assert_all_close(from_array, expected)
        assert_all_close(from_list, expected)

    @settings(max_examples=20)
    @given(
        kind=st.sampled_from(KINDS),
        batch_first=st.booleans(),
        lengths=st.lists(st.integers(1, 6), min_size=1, max_size=9),
        size=st.integers(1, 9),
    )
    def test_of_lists_of_any_lengths(self, kind, batch_first, lengths, size):
        x, y = data(kind, lengths)
        model = make(kind, batch_first)
        assert_all_close(predict(model, Examples(x), size), one_by_one(kind, x))
        figures = evaluate(model, Examples(x, y), metrics="accuracy", batch_size=size)
        assert figures == pytest.approx(evaluate(make(kind), Examples(x, y), metrics="accuracy", batch_size=1), rel=1e-9)

    @each_row("kind", KINDS)
    def test_of_a_batch_first_model_called_by_hand(self, kind):
        x, _ = data(kind, [4] * 5)
        assert_all_close(make(kind, batch_first=True)(np.stack(x)), one_by_one(kind, x))

    @each_row("kind", [kind for kind in KINDS if kind not in ("both ways", "repeated")])
    def test_of_a_batch_first_model_step_by_step(self, kind):
        x, _ = data(kind, [4] * 3)
        first, state, steps = make(kind, batch_first=True), None, []
        for t in range(4):
            y, state = first.step(np.stack(x)[:, t], state)
            steps.append(y)
        outputs = steps[-1] if kind in SUMMED else np.stack(steps, axis=1)
        assert_all_close(outputs, one_by_one(kind, x))

    def test_of_states(self):
        """The final state of a recurrent layer has the same axes in both layouts."""
        x = np.random.default_rng(0).standard_normal((5, 3, D))
        expected_y, expected_h = GRU(D, 4, 2, **F64, rng=1)(x.swapaxes(0, 1).copy())
        for first in (False, True):
            for values in (x, list(x)):
                y, h = predict(GRU(D, 4, 2, batch_first=first, **F64, rng=1), Examples(values), 2)
                np.testing.assert_allclose(y, expected_y.swapaxes(0, 1), rtol=1e-12)
                np.testing.assert_allclose(h, expected_h.swapaxes(0, 1), rtol=1e-12)


class TestTraining:
    @each_row("kind", KINDS)
    def test_on_an_array_is_that_on_a_list_bit_for_bit(self, kind):
        x, y = data(kind, [4] * 11)
        weights, figures = [], []
        for values in ((np.stack(x), np.array(y)), (x, y), (np.stack(x), y), (x, np.array(y))):
            model = make(kind)
            history = fit(model, Examples(*values), epochs=2, batch_size=4, lr=0.01, metrics="accuracy")
            weights.append(model.state_dict())
            figures.append(history.history)
        for other, its in zip(weights[1:], figures[1:], strict=True):
            assert_same_weights(other, weights[0])
            assert its == figures[0]

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("both ways", "nested", "dropped")])
    @pytest.mark.parametrize("lengths", [[4] * 7, [4, 1, 3, 2, 4, 6, 1]])
    def test_of_a_batch_first_model(self, kind, lengths):
        """Batch-first and time-first models give the same results, except for dropout, which draws in memory order."""
        x, y = data(kind, lengths)
        whole = [(np.stack(x), np.array(y))] if len(set(lengths)) == 1 else []
        for values in [*whole, (x, y)]:
            mine, theirs = make(kind, batch_first=True), make(kind)
            for model in (mine, theirs):
                fit(model, Examples(*values), epochs=2, batch_size=4, lr=0.01)
            for name, array in mine.state_dict().items():
                wanted = theirs.state_dict()[name.replace("2.0.", "2.")]
                np.testing.assert_allclose(array, wanted, rtol=1e-8, atol=1e-10, err_msg=name)

    def test_it_learns_from_an_array(self):
        """With time and batch swapped, the accuracy was 0.65."""
        x = np.random.default_rng(0).standard_normal((200, 12, D)).astype(np.float32)
        y = (np.cumsum(x[:, :, 0], axis=1) > 0).astype(np.int64)
        for first in (False, True):
            model = Sequential(GRU(D, 16, batch_first=first, rng=1), Linear(16, C, rng=2))
            assert fit(model, Examples(x, y), epochs=15, lr=0.01, metrics="accuracy")["accuracy"][-1] > 0.97

    def test_with_targets_of_numbers_and_a_users_own_loss(self):
        """Targets contain weights. The loss gets both in the layout of the outputs, with their mask."""
        rng = np.random.default_rng(0)
        x, y, w = rng.standard_normal((6, 4, D)), rng.standard_normal((6, 4, C)), rng.random((6, 4))
        seen = []

        def loss(outputs, targets, mask):
            values, weights = targets
            seen.append((values, weights, *mask))
            error = (outputs - values) * weights[..., None]
            return float((error**2).sum()) / 2, error * weights[..., None]

        for first in (False, True):
            fit(make("gru", first), Examples(x, (y, w)), loss=loss, epochs=1, batch_size=6)
        order = np.random.default_rng([0, 0]).permutation(6)
        values, weights, *masks = seen[0]
        assert sorted(values[:, 0].ravel()) != sorted(values[0].ravel())
        np.testing.assert_array_equal(np.sort(values, axis=1), np.sort(y[order].swapaxes(0, 1), axis=1))
        assert (values.shape, weights.shape) == ((4, 6, C), (4, 6))
        assert all(mask.shape == (4, 6) and mask.all() for mask in masks)
        for mine, theirs in zip(seen[0], seen[1], strict=True):
            np.testing.assert_array_equal(mine, theirs.swapaxes(0, 1))

    def test_a_users_own_loop(self):
        x, y = data("gru", [4] * 6)
        values = Examples(np.stack(x), np.array(y))
        for first in (False, True):
            (batch,) = values.for_model(make("gru", first)).batches(6)
            swapped = (lambda a: a) if first else (lambda a: a.swapaxes(0, 1))
            np.testing.assert_array_equal(swapped(batch.inputs[0]), np.stack(x))
            np.testing.assert_array_equal(swapped(batch.targets), np.array(y))


class Summing(Layer):
    """A user's own layer along time: the sum of the steps so far."""

    takes_lengths = True

    def __call__(self, x, lengths=None):
        return np.cumsum(x, axis=1 if getattr(self, "batch_first", False) else 0)

    def forward(self, x, lengths=None):
        axis = 1 if getattr(self, "batch_first", False) else 0
        return self(x), lambda dy: np.flip(np.cumsum(np.flip(dy, axis), axis), axis)


class SummingBatchFirst(Summing):
    batch_first = True


class Unsaid(Layer):
    """A layer with a recurrent layer inside that does not declare the layout of x."""

    def __init__(self, first=False):
        self.inner = GRU(D, 4, batch_first=first, **F64, rng=1)

    def __call__(self, x, lengths=None):
        return self.inner(x, lengths=lengths)[0]

    def forward(self, x, lengths=None):
        (y, _), backward = self.inner.forward(x, lengths=lengths)
        return y, lambda dy: backward(dy)[0]


class SaidFirst(Unsaid):
    batch_first = True


class SaidTime(Unsaid):
    takes_lengths = True


class Unrolled(Layer):
    """A layer that runs a cell in a loop over the first axis."""

    def __init__(self):
        self.cell = GRUCell(D, 4, **F64, rng=1)

    def __call__(self, x):
        h, ys = None, []
        for x_t in x:
            h = self.cell(x_t, h)
            ys.append(h)
        return np.stack(ys)


class TestOnesOwnLayers:
    X = np.random.default_rng(0).standard_normal((5, 3, D))

    @pytest.mark.parametrize("size", [1, 2, 5])
    @pytest.mark.parametrize("within", [False, True])
    @pytest.mark.parametrize("kind", [Summing, SummingBatchFirst])
    def test_that_look_along_time(self, kind, within, size):
        model = Sequential(Linear(D, D, **F64, rng=0), kind()) if within else kind()
        before = Linear(D, D, **F64, rng=0)(self.X) if within else self.X
        for values in (self.X, list(self.X)):
            np.testing.assert_allclose(predict(model, Examples(values), size), np.cumsum(before, axis=1), rtol=1e-12)

    def test_a_time_first_one_in_a_batch_first_sequential(self):
        model = Sequential(GRU(D, 4, batch_first=True, **F64, rng=1), Summing())
        y, _ = GRU(D, 4, **F64, rng=1)(self.X.swapaxes(0, 1).copy())
        np.testing.assert_allclose(model(self.X), np.cumsum(y, axis=0).swapaxes(0, 1), rtol=1e-12)
        dy = np.random.default_rng(1).standard_normal(y.shape)
        mine, theirs = Sequential(GRU(D, 4, **F64, rng=1), Summing()), model
        dx = mine.forward(self.X.swapaxes(0, 1).copy())[1](dy)
        np.testing.assert_allclose(theirs.forward(self.X)[1](dy.swapaxes(0, 1)), dx.swapaxes(0, 1), rtol=1e-12)

    @pytest.mark.parametrize("kind", [SaidFirst, SaidTime])
    def test_that_say_how_they_read(self, kind):
        y, _ = GRU(D, 4, **F64, rng=1)(self.X.swapaxes(0, 1).copy())
        model = kind(kind is SaidFirst)
        for values in (self.X, list(self.X)):
            np.testing.assert_allclose(predict(model, Examples(values), 2), y.swapaxes(0, 1), rtol=1e-12)

    @pytest.mark.parametrize("model", [Unsaid(), Sequential(Unsaid(), Linear(4, C, **F64, rng=0)), Unrolled()])
    def test_that_say_nothing(self, model):
        with pytest.raises(ValueError, match=r"an array that may be sequences .* does not say where it reads time"):
            predict(model, Examples(self.X))
        declared = predict(model, Examples(self.X, axes="T"), 2)
        np.testing.assert_allclose(declared, predict(model, Examples(list(self.X)), 1), rtol=1e-12)

    def test_with_a_batch_first_layer_inside_that_say_nothing(self):
        with pytest.raises(ValueError, match="Unsaid has a layer with batch_first in it: say in its class"):
            predict(Unsaid(first=True), Examples(list(self.X)))

    def test_of_several_inputs(self):
        class Two(Layer):
            takes_lengths = True

            def __call__(self, x, z, lengths=None):
                return np.cumsum(x, axis=0) + z

        z = np.arange(5.0)[:, None]
        with pytest.raises(ValueError, match="Two does not say where it reads time: name the time axis of each input"):
            predict(Two(), Examples((self.X, z)))
        outputs = predict(Two(), Examples((self.X, z), axes=("T", None)), 2)
        np.testing.assert_allclose(outputs, np.cumsum(self.X, axis=1) + z[:, None], rtol=1e-12)

    @pytest.mark.parametrize("refuse", ["assert", "index"])
    def test_that_refuse_a_shape_in_their_own_way(self, refuse):
        class Last(Layer):
            def __call__(self, x):
                if refuse == "assert":
                    assert x.ndim == 2, "rows"
                return x[:, 0] if x.ndim == 2 else x[0, 0, 0, 0]

        rows = np.arange(6.0).reshape(3, 2)
        np.testing.assert_array_equal(predict(Last(), Examples(rows)), rows[:, 0])
        fault = "AssertionError: rows" if refuse == "assert" else "IndexError: too many indices"
        with pytest.raises(ValueError, match=f"^examples inputs: {fault}"):
            predict(Last(), Examples(rows[:, :, None]))

    @each_row("error", [AttributeError, ZeroDivisionError, KeyError, OSError])
    def test_whose_bugs_are_raised_unchanged(self, error):
        class Buggy(Layer):
            takes_lengths = True

            def __call__(self, x, lengths=None):
                raise error("mine")

        for x, y in ((np.zeros((3, 2)), np.zeros(3)), (list(self.X), [row[:, :1] for row in self.X])):
            with pytest.raises(error, match="mine") as raised:
                evaluate(Buggy(), Examples(x, y), loss=lambda *_: (0.0, None))
            assert raised.value.__cause__ is None

    def test_that_do_not_take_lengths(self):
        with pytest.raises(ValueError, match="Unrolled must take lengths=None in its call and forward"):
            predict(Unrolled(), Examples([self.X[0], self.X[1][:2]]))


class TestWithoutTime:
    def test_pointwise_models_do_not_care(self):
        x = np.random.default_rng(0).standard_normal((5, 3, D))
        model = Sequential(Linear(D, 4, **F64, rng=0), Linear(4, C, **F64, rng=1))
        y = np.random.default_rng(1).integers(0, C, (5, 3))
        figures = [evaluate(model, Examples(a, b), batch_size=2) for a in (x, list(x)) for b in (y, list(y))]
        assert all(other == pytest.approx(figures[0], rel=1e-12) for other in figures[1:])
        np.testing.assert_allclose(predict(model, Examples(x), 2), model(x), rtol=1e-12)

    def test_rows_that_a_model_makes_sequences_of(self):
        x = np.random.default_rng(0).standard_normal((5, D))
        model = Sequential(RepeatVector(4), GRU(D, 4, **F64, rng=1))
        np.testing.assert_allclose(predict(model, Examples(x), 2), model(x).swapaxes(0, 1), rtol=1e-12)
        y = np.random.default_rng(1).standard_normal((5, 4, 4))
        loss = evaluate(model, Examples(x, y), loss="mean_squared_error")["loss"]
        assert loss == pytest.approx(((model(x).swapaxes(0, 1) - y) ** 2).mean(), rel=1e-12)
        swapped = Sequential(Lambda(lambda x: x.swapaxes(0, 1)), GRU(D, 4, **F64, rng=1))
        images = np.random.default_rng(0).standard_normal((5, 3, D))
        by_hand = GRU(D, 4, **F64, rng=1)(images.swapaxes(0, 1).copy())[0].swapaxes(0, 1)
        np.testing.assert_allclose(predict(swapped, Examples(images), 2), by_hand, rtol=1e-12)

    def test_a_list_for_a_model_without_time(self):
        model = Sequential(RepeatVector(4), GRU(D, 4, **F64, rng=1))
        with pytest.raises(ValueError, match="examples inputs must be without time for this model, an array"):
            predict(model, Examples(list(np.ones((5, D)))))

    def test_arrays_that_fit_in_neither_layout(self):
        with pytest.raises(ValueError, match=r"train inputs: layer 0, GRU, does not take float64 \[T, B, 4\]: .*I=3"):
            fit(make("gru"), Examples(np.ones((5, 2, 4)), np.zeros((5, 2), int)))

    def test_recurrent_layers_of_both_layouts(self):
        with pytest.raises(ValueError, match="recurrent layers of one Sequential must all have batch_first, or none"):
            Sequential(GRU(2, 3, batch_first=True), Linear(3, 3), Sequential(GRU(3, 3)))


def test_models_with_fixed_time_take_arrays():
    x = Input((4, "B", D), **F64)
    model = Model(x, Linear(4, C, **F64, rng=1)(GRU(D, 4, **F64, rng=0)(x)[0]))
    values = np.random.default_rng(0).standard_normal((6, 4, D))
    expected = model(values.swapaxes(0, 1).copy()).swapaxes(0, 1)
    for size in (1, 4):
        np.testing.assert_allclose(predict(model, Examples(values), size), expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"inputs\[0\] must have sequences of 4 steps, got float64 \[T=3..3, 3\]"):
        fastrnn.predict(model, Examples(values[:, :3]))
