"""Examples, their batches and masks, and predictions in the order of the examples."""

import numpy as np
import pytest
from fit_data import TwoHeads, V, tagged, tagger
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

import fastrnn
from fastrnn import Examples, losses, metrics
from fastrnn.layers._symbolic.symbols import flat

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=150)


class TestBatches:
    def test_padding_by_value(self):
        x = [np.array([[1.0, 2.0]], np.float32), np.array([[3.0, 4.0], [5.0, 6.0]], np.float32)]
        examples = Examples((x, [[7], [8, 9]], np.array([0.5, 1.5])), [[0], [1, 2]])
        (batch,) = examples.batches(2)
        floats, ids, plain = batch.inputs
        np.testing.assert_array_equal(floats, np.array([[[1, 2], [3, 4]], [[0, 0], [5, 6]]], np.float32))
        np.testing.assert_array_equal(ids, [[7, 8], [-1, 9]])
        np.testing.assert_array_equal(plain, [0.5, 1.5])
        np.testing.assert_array_equal(batch.targets, [[0, 1], [-100, 2]])
        np.testing.assert_array_equal(batch.lengths, [1, 2])
        np.testing.assert_array_equal(batch.mask, [[True, True], [False, True]])
        np.testing.assert_array_equal(batch.indices, [0, 1])
        assert [a.dtype.name for a in (*batch.inputs, batch.targets)] == ["float32", "int64", "float64", "int64"]

    def test_python_numbers_have_the_layers_types(self):
        (batch,) = Examples(([[0.5, 1.5]], [[[1.0], [2.0]]]), [1]).batches(1)
        assert [array.dtype.name for array in batch.inputs] == ["float32", "float32"]
        np.testing.assert_array_equal(batch.inputs[0], [[0.5], [1.5]])
        np.testing.assert_array_equal(batch.targets, [1])
        assert batch.mask is None

    def test_without_time_there_are_no_lengths(self):
        (first, second) = Examples(np.arange(6.0).reshape(3, 2), np.array([0, 1, 0])).batches(2)
        np.testing.assert_array_equal(first.inputs[0], [[0, 1], [2, 3]])
        np.testing.assert_array_equal(second.targets, [0])
        assert first.lengths is first.mask is None

    @given(lengths=LENGTHS, size=st.integers(1, 9), seed=st.none() | st.integers(0, 99), by_length=st.none() | st.booleans())
    def test_every_example_once_and_unchanged(self, lengths, size, seed, by_length):
        sequences = [np.arange(n) + i for i, n in enumerate(lengths)]
        rng = None if seed is None else np.random.default_rng(seed)
        batches = list(Examples(sequences).batches(size, rng, by_length=by_length))
        indices = np.concatenate([batch.indices for batch in batches])
        np.testing.assert_array_equal(np.sort(indices), np.arange(len(lengths)))
        assert sorted(batch.size for batch in batches)[1:] == [size] * (len(batches) - 1) or len(batches) == 1
        for batch in batches:
            (x,) = batch.inputs
            assert x.shape == (max(batch.lengths), batch.size)
            for b, i in enumerate(batch.indices):
                assert batch.lengths[b] == lengths[i]
                np.testing.assert_array_equal(x[: lengths[i], b], sequences[i])
                assert (x[lengths[i] :, b] == -1).all()

    def test_order(self):
        lengths = np.random.default_rng(0).integers(1, 100, 1000)
        examples = Examples([np.zeros(n, np.int64) for n in lengths])
        np.testing.assert_array_equal(np.concatenate(examples.order(16)), np.arange(1000))
        in_order = lengths[np.concatenate(examples.order(16, by_length=True))]
        assert (np.diff(in_order) >= 0).all()
        one, same, other = (np.concatenate(examples.order(8, np.random.default_rng(seed))) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()
        padded = {
            by_length: sum(lengths[part].max() * len(part) for part in examples.order(8, rng, by_length=by_length))
            for by_length, rng in ((True, np.random.default_rng(1)), (False, np.random.default_rng(1)))
        }
        assert padded[True] < 1.1 * lengths.sum() < 1.5 * lengths.sum() < padded[False]

    def test_axes(self):
        source, target = [[1, 2, 3], [4]], [[5], [6, 0]]
        examples = Examples((source, np.zeros((2, 3), np.float32), target), target, axes=("S", None, "T"))
        (batch,) = examples.batches(2)
        assert batch.lengths.keys() == {"S", "T"}
        np.testing.assert_array_equal(batch.lengths["S"], [3, 1])
        np.testing.assert_array_equal(batch.lengths["T"], [1, 2])
        assert [array.shape for array in batch.inputs] == [(3, 2), (2, 3), (2, 2)]
        (alone,) = Examples((source, source), axes=("S", "S")).batches(2)
        np.testing.assert_array_equal(alone.lengths, [3, 1])
        (fixed,) = Examples((source, [[1, 2], [3, 4]]), axes=("T", 2)).batches(2)
        np.testing.assert_array_equal(fixed.lengths, [3, 1])
        with pytest.raises(ValueError, match="sequences of different lengths: name the time axis of each"):
            next(Examples((source, target)).batches(2))

    def test_a_part_and_a_split(self):
        examples = tagged(20)
        part = examples[[7, 3]]
        (batch,), (whole,) = part.batches(2), examples.batches(20)
        np.testing.assert_array_equal(batch.targets, whole.targets[: len(batch.targets), [7, 3]])
        np.testing.assert_array_equal(batch.indices, [0, 1])
        assert len(examples[5:]) == 15
        train, rest = examples.split(0.75, rng=3)
        assert (len(train), len(rest)) == (15, 5)
        texts = sorted(str(b.targets.tolist()) for e in (train, rest) for b in e.batches(1))
        assert texts == sorted(str(b.targets.tolist()) for b in examples.batches(1))
        assert [len(part) for part in examples.split(1.0)] == [19, 1]
        assert repr(examples) == "Examples(20: int64 [T=1..9] -> int64 [T=1..9])"

    @each_row(
        ("inputs", "targets", "error", "message"),
        [
            ([], None, ValueError, "inputs must hold at least one example, got none"),
            (np.zeros((0, 3)), None, ValueError, "inputs must hold at least one example"),
            ((), None, ValueError, "inputs must hold at least one field"),
            (np.float64(3), None, TypeError, r"inputs must be an array \[N, ...\] or a list"),
            ("text", None, TypeError, "inputs must be an array"),
            ([[1], 2], None, ValueError, r"inputs\[1\] must be a sequence \[T, ...\], got a single number"),
            ([[], [1], [2.5]], None, TypeError, r"inputs\[2\] must have the type of inputs\[1\], int64, got float32"),
            ([np.zeros((0, 2)), [[1.0]]], None, TypeError, r"inputs\[1\] .* got float32|inputs\[0\] .* got float64"),
            ([[1], [2.5]], None, TypeError, r"inputs\[1\] must have the type of inputs\[0\], int64, got float32"),
            ([[[1, 2]], [[1]]], None, ValueError, r"inputs\[1\] must have steps of shape \(2,\) as inputs\[0\]"),
            ([[[1, 2], [1]]], None, ValueError, r"inputs\[0\] must be a sequence \[T, ...\] of one shape at all steps"),
            (np.zeros(3, bool), None, TypeError, "inputs must hold integers, float32 or float64, got bool"),
            (["a", "b"], None, TypeError, "inputs must hold integers"),
            ([[1.0], [2.0, np.nan]], None, ValueError, "inputs must be finite, got NaN or infinity in example 1"),
            (np.array([[1, 2], [3, np.inf]]), None, ValueError, "inputs must be finite, got NaN or infinity in example 1"),
            (([[1]], [[1], [2]]), None, ValueError, r"inputs must all have the same number of examples, got \[1, 2\]"),
            (([[1]], [[1], []]), None, ValueError, r"inputs must all have the same number of examples, got \[1, 2\]"),
            ([[1], [2]], np.zeros(3), ValueError, "targets must have as many examples as inputs, 2, got 3"),
            ([[1], [2]], np.array([1, np.nan]), ValueError, "targets must be finite"),
        ],
    )
    def test_bad_examples(self, inputs, targets, error, message):
        with pytest.raises(error, match=message):
            Examples(inputs, targets)

    @each_row(
        ("axes", "message"),
        [
            (("S",), "axes must name the time axis of each of 2 inputs"),
            (("T", "T"), r"inputs\[0\] and inputs\[1\] share the time axis T but differ in length"),
            (("T", None), r"inputs\[1\] has sequences, but its time axis is None"),
            (("T", 2), r"inputs\[1\] must have sequences of 2 steps"),
        ],
    )
    def test_bad_axes(self, axes, message):
        with pytest.raises(ValueError, match=message):
            Examples(([[1, 2], [1]], [[1], [1]]), axes=axes)

    def test_bad_batches(self):
        examples = tagged(4)
        with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
            examples.batches(0)
        with pytest.raises(TypeError, match="rng must be a numpy Generator or None, got 3"):
            examples.batches(2, 3)
        with pytest.raises(ValueError, match="examples must be chosen by"):
            examples[4:]
        with pytest.raises(ValueError, match="fraction must lie in"):
            examples.split(1.5)


def test_sequence_mask_by_value():
    expected = [[True, True, False], [True, False, False], [True, False, False]]
    np.testing.assert_array_equal(fastrnn.sequence_mask(np.array([3, 1, 0])), expected)
    assert fastrnn.sequence_mask([1, 2], 5).sum(axis=0).tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"lengths must lie in 0..T=2, got 3"):
        fastrnn.sequence_mask([1, 3], 2)
    with pytest.raises(TypeError, match="lengths must hold integers"):
        fastrnn.sequence_mask([0.5])


def test_metrics_by_value():
    logits = np.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    ids = np.array([1, 1, -100, 0])
    assert metrics.accuracy(logits, ids) == 2 / 3
    assert metrics.accuracy(logits, ids, np.array([True, False, True, False])) == 1.0
    assert np.isnan(metrics.accuracy(logits, ids, np.zeros(4, bool)))
    values, truth = np.array([[1.0, -1.0], [0.5, 0.5]]), np.array([[1.0, 1.0], [0.0, 1.0]])
    assert metrics.accuracy(values, truth) == metrics.binary_accuracy(values, truth) == 0.5
    assert metrics.mean_absolute_error(values, truth) == (0 + 2 + 0.5 + 0.5) / 4
    assert metrics.mean_absolute_error(values, truth, np.array([False, True])) == 0.5
    with pytest.raises(ValueError, match="targets must have the shape"):
        metrics.accuracy(logits, ids[:2])
    with pytest.raises(ValueError, match="targets must have the shape of the outputs"):
        metrics.mean_absolute_error(values, truth[:1])


class TestPadding:
    @settings(max_examples=20)
    @given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=8), seed=st.integers(0, 9))
    def test_a_batch_is_the_sum_of_its_examples(self, lengths, seed):
        """The loss and every gradient agree, whatever the padding. In float64, sums in another order agree closely."""
        rng = np.random.default_rng(seed)
        ids = [rng.integers(0, V, n) for n in lengths]
        examples = Examples(ids, [row % 3 for row in ids])
        model = tagger("float64", dropout=0.0, seed=seed)

        def gradients(batches, count):
            total = 0.0
            model.zero_grad()
            for batch in batches:
                logits, backward = model.forward(*batch.inputs, lengths=batch.lengths)
                loss, dlogits = losses.softmax_cross_entropy(logits, batch.targets, mask=batch.mask, reduction="sum")
                backward(dlogits / count)
                total += loss / count
            return total, [param.gradient().copy() for param in model.parameters()]

        together, singly = (gradients(examples.batches(size), sum(lengths)) for size in (len(lengths), 1))
        assert together[0] == pytest.approx(singly[0], rel=1e-12)
        for mine, theirs in zip(together[1], singly[1], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-14)

    @pytest.mark.parametrize("size", [1, 5, 64])
    def test_evaluate_and_predict_are_the_same_for_every_batch_size(self, size):
        examples, model = tagged(), tagger("float64")
        outputs = fastrnn.predict(model, examples, size)
        assert len(outputs) == len(examples)
        total, right, count = 0.0, 0, 0
        for i, batch in enumerate(examples.batches(1)):
            logits = model(*batch.inputs)
            np.testing.assert_allclose(outputs[i], logits[:, 0], rtol=1e-12, atol=1e-15)
            total += losses.softmax_cross_entropy(logits, batch.targets, reduction="sum")[0]
            right += int((logits.argmax(axis=-1) == batch.targets).sum())
            count += batch.targets.size
        figures = fastrnn.evaluate(model, examples, metrics="accuracy", batch_size=size)
        assert figures == pytest.approx({"loss": total / count, "accuracy": right / count}, rel=1e-12)

    def test_predict_of_several_outputs(self):
        examples, model = tagged(13), TwoHeads()
        tags, number = fastrnn.predict(model, examples, 4)
        assert number.shape == (13, 1)
        for i, batch in enumerate(examples.batches(1)):
            np.testing.assert_allclose(tags[i], model(*batch.inputs)[0][:, 0], rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(number[i], model(*batch.inputs)[1][0], rtol=1e-12)

    @pytest.mark.parametrize("lengths", [[1] * 6, [6] * 6, [1, 2, 3, 4, 5, 6]])
    def test_predict_distinguishes_time_from_batch_if_sizes_agree(self, lengths):
        examples = Examples([np.full(n, i) for i, n in enumerate(lengths)])
        outputs = fastrnn.predict(tagger(), examples, 6)
        assert [len(output) for output in outputs] == lengths
        states = fastrnn.predict(TwoHeads(), examples, 6)[1]
        np.testing.assert_allclose(states[5], TwoHeads()(np.full((lengths[5], 1), 5))[1][0], rtol=1e-6)

    @pytest.mark.parametrize("size", [1, 2, 64])
    @pytest.mark.parametrize("lengths", [[3, 4, 5], [1, 4, 5], [1, 2, 2, 2], [2, 1, 3, 2]])
    @pytest.mark.parametrize("kind", ["gru", "lstm", "model", "state alone"])
    def test_predict_gives_final_states(self, kind, lengths, size):
        layer = (fastrnn.LSTM if kind == "lstm" else fastrnn.GRU)(2, 3, 1 if size > 1 else 2, dtype="float64", rng=0)
        y, h = layer(x := fastrnn.Input(("T", "B", 2), dtype="float64"))
        model = {"model": fastrnn.Model(x, (y, h)), "state alone": fastrnn.Model(x, h)}.get(kind, layer)
        rng = np.random.default_rng(0)
        sequences = [rng.standard_normal((n, 2)) for n in lengths]
        outputs = fastrnn.predict(model, Examples(sequences), size)
        ys, states = (None, outputs) if kind == "state alone" else outputs
        for i, one in enumerate(sequences):
            y, state = layer(one[:, None])
            if ys is not None:
                np.testing.assert_allclose(ys[i], y[:, 0], rtol=1e-12, atol=1e-15)
            for mine, wanted in zip(flat(states), flat(state), strict=True):
                assert mine.shape == (len(lengths), *wanted[:, 0].shape)
                np.testing.assert_allclose(mine[i], wanted[:, 0], rtol=1e-12, atol=1e-15)

    def test_predict_of_outputs_without_a_batch_axis(self):
        total = fastrnn.Lambda(lambda x: x.sum(axis=0), lambda dy, x: np.ones_like(x) * dy)
        with pytest.raises(TypeError, match=r"model must give arrays \[B, ...\] or \[T, B, ...\], got one of shape"):
            fastrnn.predict(total, Examples(np.ones((3, 2))))

    def test_predict_without_time(self):
        x = np.random.default_rng(0).standard_normal((9, 4))
        linear = fastrnn.Linear(4, 2, dtype="float64", rng=1)
        np.testing.assert_allclose(fastrnn.predict(linear, Examples(x), 4), linear(x), rtol=1e-14)
