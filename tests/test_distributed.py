"""Ranks as threads give the losses of one process, the same weights on every rank, and the same bits in every run."""

import sys
import threading

import numpy as np
import pytest
from tables import each_row
from test_music_model import song
from thread_ranks import on_ranks, weights
from training_task import Recorder, StreamTask

import fastrnn
from fastrnn import optim
from fastrnn.distributed import RankError, RanksDiffer, agreement, average_gradients, gradients
from fastrnn.distributed.communicator import SOLO
from fastrnn.distributed.part import part_of
from fastrnn.distributed.world import MpiError
from fastrnn.layers._recurrent.part_stack import PartStack
from fastrnn.music._model import jazz_task
from fastrnn.music._model.options import make_options as jazz_options
from fastrnn.text.options import make_options
from fastrnn.text.training import make_trainer
from fastrnn.training import EarlyStopping, Examples, LoopConfig, Trainer, schedules

STEPS = 50
SMALL = {
    "hidden": 12,
    "layers": 2,
    "embedding": 6,
    "batch": 10,
    "max_steps": STEPS,
    "eval_every": 25,
    "warmup": 0,
    "lr": 0.01,
}
NAMES = ["anna", "hanna", "nan", "a", "hannahannah", "ahna", "nnaa", "hah"] * 12
STREAM = "the cat sat on the mat, and the dog sat on the cat. " * 60


def chars(communicator, out=None, **given):
    reading = given.pop("reading", "lines")
    text = "\n".join(NAMES) if reading == "lines" else STREAM
    options = make_options(reading, **{**SMALL, "seq_length": 20, **given})
    trainer, model, _ = make_trainer(text, options, out, communicator=communicator)
    return trainer, model.model


def jazz(communicator, out=None, **given):
    parts = jazz_task.split([song(i, title=str(i)) for i in range(6)], 0.2, 0)
    options = jazz_options(**{**SMALL, "seq_length": 24, **given})
    trainer, model, _ = jazz_task.make_trainer(parts, options, False, out, communicator=communicator)
    return trainer, model


def trained(make, communicator, **given):
    """Train, and return the loss of each step, the validation losses, and the final weights."""
    trainer, model = make(communicator, **given)
    recorder = Recorder()
    trainer.callbacks = (recorder,)
    trainer.run()
    steps = [info.train_loss for info in recorder.steps]
    return np.array(steps), np.array([info.val_loss for info in recorder.evaluations]), weights(model)


RUNS = {
    "lines": (chars, {"dropout": 0.3}),
    "one call of the backend": (chars, {"dropout": 0.0, "embedding": 0}),
    "stream": (chars, {"reading": "stream", "dropout": 0.3}),
    "gru": (chars, {"reading": "stream", "model": "gru", "dropout": 0.0}),
    "jazz": (jazz, {"dropout": 0.3, "max_steps": 20, "eval_every": 10}),
}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param(name, size, marks=() if size == 2 + i % 2 and name != "gru" else pytest.mark.slow)
        for i, name in enumerate(RUNS)
        for size in (2, 3)
    ],
)
def test_ranks_train_as_one_process(name, size):
    make, given = RUNS[name]
    losses, held_out, final = trained(make, SOLO, **given)
    assert len(losses) == given.get("max_steps", STEPS)
    assert losses[-10:].mean() < losses[:5].mean() - 0.05
    runs = on_ranks(size, lambda communicator: trained(make, communicator, **given))
    for own_losses, own_held_out, own_final in runs:
        np.testing.assert_allclose(own_losses, losses, rtol=0, atol=1e-5)
        np.testing.assert_allclose(own_held_out, held_out, rtol=0, atol=1e-5)
        for key in final:
            assert np.array_equal(own_final[key], runs[0][2][key]), key


@pytest.mark.parametrize(
    "name", ["stream", *(pytest.param(name, marks=pytest.mark.slow) for name in RUNS if name != "stream")]
)
def test_the_same_ranks_give_the_same_bits(name):
    make, given = RUNS[name]
    one, two = (on_ranks(3, lambda communicator: trained(make, communicator, **given))[0] for _ in range(2))
    assert np.array_equal(one[0], two[0])
    assert all(np.array_equal(one[2][key], two[2][key]) for key in one[2])


@pytest.mark.parametrize("name", ["stream", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lines", "jazz"))])
def test_a_run_goes_on_with_another_number_of_ranks(name, tmp_path):
    make, given = RUNS[name]

    def session(size, last, resume):
        def run(communicator):
            trainer, _ = make(communicator, tmp_path, **{**given, "max_steps": last, "schedule": "constant"})
            recorder = Recorder()
            trainer.callbacks = (recorder,)
            if resume:
                trainer.resume()
            trainer.run()
            return [info.train_loss for info in recorder.steps]

        return on_ranks(size, run)[0]

    whole, _, _ = trained(make, SOLO, **{**given, "max_steps": STEPS, "schedule": "constant"})
    parts = session(3, 20, False) + session(2, 35, True) + session(1, STEPS, True)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5)


def test_a_resumed_run_has_the_same_bits(tmp_path):
    def run(communicator, last, resume, out):
        trainer, model = chars(
            communicator, tmp_path / out, reading="stream", dropout=0.3, schedule="constant", max_steps=last
        )
        if resume:
            trainer.resume()
        trainer.run()
        return weights(model)

    whole = on_ranks(2, lambda c: run(c, 30, False, "whole"))[1]
    on_ranks(2, lambda c: run(c, 10, False, "two"))
    resumed = on_ranks(2, lambda c: run(c, 30, True, "two"))[1]
    assert all(np.array_equal(whole[key], resumed[key]) for key in whole)


class TestParts:
    @pytest.mark.parametrize("size", [1, 2, 3, 7])
    def test_every_example_is_on_one_rank(self, size):
        lengths = np.random.default_rng(0).integers(1, 50, 23)
        for given in (None, lengths):
            parts = on_ranks(size, lambda communicator, given=given: part_of(23, communicator, given))
            assert sorted(np.concatenate([part.columns for part in parts]).tolist()) == list(range(23))
            assert all(part.counts for part in parts)

    def test_lists_are_dealt_by_length(self):
        lengths = np.array([9, 1, 7, 3, 8, 2])
        dealt = on_ranks(3, lambda communicator: part_of(6, communicator, lengths).columns.tolist())
        assert dealt == [[0, 1], [4, 5], [2, 3]]  # 9 and 1, 8 and 2, 7 and 3

    def test_streams_stay_where_they_are(self):
        assert on_ranks(3, lambda c: part_of(7, c).columns.tolist()) == [[0, 1], [2, 3], [4, 5, 6]]

    def test_a_rank_without_an_example_counts_nothing(self):
        parts = on_ranks(3, lambda communicator: part_of(2, communicator))
        assert [(part.columns.tolist(), part.counts) for part in parts] == [([0], True), ([1], True), ([0], False)]


class TestGradients:
    @each_row(
        ("gradients", "weights", "mean"),
        [
            ([[1.0, 10.0], [2.0, 10.0]], [3, 1], [1.25, 10.0]),
            # A rank of weight 0 contributes nothing, even if its mean over no tokens is NaN.
            ([[3.0, 7.0], [np.nan, np.inf]], [2, 0], [3.0, 7.0]),
        ],
    )
    def test_the_mean_is_weighted_by_tokens(self, gradients, weights, mean):
        def run(communicator):
            layer = fastrnn.Linear(2, 1, bias=False, rng=0)
            layer.weight.gradient()[...] = gradients[communicator.rank]
            total = average_gradients(layer.parameters(), weight=weights[communicator.rank], communicator=communicator)
            return total, layer.weight.grad.tolist()

        assert on_ranks(2, run) == [(sum(weights), [mean])] * 2

    def test_large_parameters_travel_alone_and_small_ones_together(self):
        def run(communicator):
            model = fastrnn.Sequential(fastrnn.Linear(256, 256, rng=0), fastrnn.Linear(256, 4, rng=0))
            for i, parameter in enumerate(model.parameters()):
                parameter.gradient().fill(i + communicator.rank)
            average_gradients(model.parameters(), 1, communicator)
            return [float(parameter.grad.ravel()[-1]) for parameter in model.parameters()], communicator.messages

        (values, messages), _ = on_ranks(2, run)
        assert values == [0.5, 1.5, 2.5, 3.5]
        assert messages == [16, (4 + 4 * 256 + 256 + 256 * 256) * 4]

    def test_a_parameter_without_a_gradient_on_any_rank_is_left_out(self):
        def run(communicator):
            used, unused = fastrnn.Linear(1, 1, rng=0), fastrnn.Linear(1, 1, rng=0)
            used.weight.gradient().fill(2 * communicator.rank)
            average_gradients([*used.parameters(), *unused.parameters()], 1, communicator)
            return [None if p.grad is None else p.grad.item() for p in (used.weight, used.bias, unused.weight)]

        assert on_ranks(2, run) == [[1.0, None, None]] * 2

    def test_a_parameter_may_get_its_first_gradient_later(self):
        def run(communicator):
            first, second = fastrnn.Linear(1, 1, bias=False, rng=0), fastrnn.Linear(1, 1, bias=False, rng=0)
            params = [first.weight, second.weight]
            for values in ((1, None), (2, 4), (3, 5)):
                for param, value in zip(params, values, strict=True):
                    if value is not None:
                        param.gradient().fill(value + communicator.rank)
                average_gradients(params, 1, communicator)
            return [param.grad.item() for param in params], len(communicator.messages)

        # Each call has a total and a bucket, and the buffers are allocated again only once.
        assert on_ranks(2, run) == [([3.5, 5.5], 6)] * 2

    def test_other_parameters_on_a_rank(self):
        def run(communicator, outputs=(2, 3), layers=(1, 1)):
            params = []
            for _ in range(layers[communicator.rank]):
                layer = fastrnn.Linear(2, outputs[communicator.rank], rng=0)
                layer.forward(np.ones((1, 2), np.float32))[1](np.ones((1, outputs[communicator.rank]), np.float32))
                params += layer.named_parameters()
            average_gradients(params, weight=1, communicator=communicator)

        with pytest.raises(RanksDiffer, match=r"rank 1 .* shape of parameter 0, weight: \(3, 2\) .*rank 0 has \(2, 2\)"):
            on_ranks(2, run)
        with pytest.raises(RanksDiffer, match=r"rank 1 .* another number of parameters: 4, rank 0 has 2"):
            on_ranks(2, lambda communicator: run(communicator, (2, 2), (1, 2)))

    def test_one_process_changes_nothing(self):
        layer = fastrnn.Linear(1, 1, rng=0)
        layer.weight.gradient().fill(3)
        assert average_gradients(layer.parameters(), weight=5) == 5
        assert layer.weight.grad.item() == 3

    def test_a_negative_weight_is_refused(self):
        with pytest.raises(ValueError, match="weight must lie in"):
            average_gradients([], weight=-1)


def classified():
    x = fastrnn.Input(("T", "B", 3))
    y, _ = fastrnn.LSTM(3, 5, rng=1)(x)
    z = fastrnn.Dropout(0.4, rng=2)(fastrnn.Last()(y))
    return fastrnn.Model(x, fastrnn.Linear(5, 2, rng=3)(z))


def sequences(n=23):
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((length, 3)).astype(np.float32) for length in rng.integers(1, 9, n)]
    return Examples(x, np.array([int(item.sum() > 0) for item in x]))


class TestOverlap:
    @pytest.mark.parametrize("name", ["lines", "one call of the backend", "stream", "jazz"])
    def test_sending_during_backward_gives_the_same_bits(self, name, monkeypatch):
        make, given = RUNS[name]
        given = {**given, "max_steps": 12}
        apart = on_ranks(2, lambda communicator: trained(make, communicator, **given))
        monkeypatch.setattr(gradients, "OVERLAPPED", 0)
        monkeypatch.setattr(gradients, "BUCKET", 256)
        together = on_ranks(2, lambda communicator: trained(make, communicator, **given))
        assert np.array_equal(together[0][0], apart[0][0])
        for key in apart[0][2]:
            assert np.array_equal(together[0][2][key], apart[1][2][key]), key

    def test_upper_layers_are_on_their_way_while_lower_ones_compute(self, monkeypatch):
        monkeypatch.setattr(gradients, "OVERLAPPED", 0)
        monkeypatch.setattr(gradients, "BUCKET", 256)
        events, first = [], set()
        send, backward = gradients.GradientSum._send, PartStack.backward

        def sent(total, bucket):
            if threading.get_ident() in first:
                events.extend(name for name, _, _ in bucket.members)
            send(total, bucket)

        def computed(stack, *arguments):
            if threading.get_ident() in first:
                events.append("layer")
            return backward(stack, *arguments)

        def run(communicator):
            trainer, _ = chars(communicator, max_steps=4, dropout=0.0, embedding=0)
            if communicator.rank == 0:
                first.add(threading.get_ident())
            trainer.run()

        monkeypatch.setattr(gradients.GradientSum, "_send", sent)
        monkeypatch.setattr(PartStack, "backward", computed)
        on_ranks(2, run)
        last = events[-events[::-1].index("layer") - 1 :]
        assert "recurrent.weight_ih_l0" in last
        assert "recurrent.weight_hh_l1" not in last  # it was sent before the last layer's backward began

    def test_a_layer_that_is_used_more_often_than_before_is_refused(self, monkeypatch):
        monkeypatch.setattr(gradients, "BUCKET", 1)

        def run(communicator):
            layer = fastrnn.Linear(2, 2, rng=0)
            x = np.ones((1, 2), np.float32)
            _, backward = layer.forward(x)
            backward(x)
            total = gradients.GradientSum(communicator, layer.named_parameters())
            for uses in (1, 1, 2):
                with total.during(1):
                    for _ in range(uses):
                        layer.forward(x)[1](x)
                total.start(1)
                total.finish(2)

        with pytest.raises(RuntimeError, match="the gradient of bias changed after it was sent"):
            on_ranks(2, run)


class TestFit:
    def fitted(self, communicator, **given):
        model = classified()
        train = sequences()
        options = {"epochs": 4, "batch_size": 5, "lr": 0.01, "validation": train, "metrics": "accuracy", **given}
        history = fastrnn.fit(model, train, distributed=communicator, **options)
        return history, weights(model)

    def agree(self, runs, alone):
        """Compare the history and the weights of each rank with those of one process."""
        expected, final = alone
        for history, own in runs:
            assert list(history) == list(expected)
            for name in expected:
                np.testing.assert_allclose(history[name], expected[name], rtol=0, atol=1e-5)
            for key in final:
                np.testing.assert_allclose(own[key], final[key], rtol=0, atol=1e-4)

    @pytest.mark.parametrize("size", [2, 4])
    def test_ranks_fit_as_one_process(self, size, tmp_path):
        # The last batch of an epoch has 3 examples, so one of 4 ranks has none.
        self.agree(on_ranks(size, lambda communicator: self.fitted(communicator, out=tmp_path)), self.fitted(False))

    @pytest.mark.parametrize("size", [2, 3])
    def test_outputs_with_losses_over_other_positions(self, size):
        # One output has a label for each sequence, the other an id for each step. Their losses are means over B and over all
        # steps.
        def run(communicator):
            x = fastrnn.Input(("T", "B", 3))
            y, _ = fastrnn.LSTM(3, 5, rng=1)(x)
            label, ids = fastrnn.Linear(5, 2, rng=2)(fastrnn.Last()(y)), fastrnn.Linear(5, 4, rng=3)(y)
            model, data = fastrnn.Model(x, (label, ids)), sequences()
            steps = [np.arange(length) % 4 for length in data.inputs[0].lengths]
            values = [
                data.inputs[0].rows[start : start + n]
                for start, n in zip(data.inputs[0].starts, data.inputs[0].lengths, strict=True)
            ]
            train = Examples(values, (np.array([int(item.sum() > 0) for item in values]), steps))
            options = {"epochs": 3, "batch_size": 5, "lr": 0.01, "loss_weights": (1.0, 0.3), "metrics": "accuracy"}
            history = fastrnn.fit(model, train, distributed=communicator, **options)
            return history, weights(model)

        self.agree(on_ranks(size, run), run(False))

    def test_callbacks_act_on_all_ranks_and_are_called_on_rank_0(self):
        calls = []

        class Halved:
            def __init__(self, rank):
                self.rank = rank

            def on_begin(self, trainer):
                self.trainer = trainer

            def on_eval(self, info):
                calls.append(self.rank)
                self.trainer.base_lr /= 2

        def run(communicator):
            stop = EarlyStopping(patience=1, monitor="lr", mode="max", restore_best_weights=True)
            return self.fitted(communicator, callbacks=[stop, Halved(communicator.rank)], epochs=9)

        runs = on_ranks(2, run)
        assert calls
        assert set(calls) == {0}
        assert runs[0][0]["lr"] == runs[1][0]["lr"] == pytest.approx([0.01 / 2**i for i in range(len(calls))])
        assert all(np.array_equal(runs[0][1][key], runs[1][1][key]) for key in runs[0][1])

    def test_all_ranks_begin_with_the_weights_of_rank_0(self):
        def run(communicator):
            model = fastrnn.Sequential(fastrnn.Linear(2, 3, rng=communicator.rank))
            x = np.ones((4, 2), np.float32)
            fastrnn.fit(model, Examples(x, np.array([0, 1, 2, 0])), epochs=1, lr=1e-9, distributed=communicator)
            return weights(model)["0.weight"]

        found = on_ranks(2, run)
        np.testing.assert_allclose(found[1], fastrnn.Linear(2, 3, rng=0).weight.data, atol=1e-6)
        assert np.array_equal(*found)

    def test_a_resumed_fit_goes_on_with_another_number_of_ranks(self, tmp_path):
        whole, _ = self.fitted(False)
        on_ranks(3, lambda c: self.fitted(c, out=tmp_path, epochs=2))
        history, _ = on_ranks(2, lambda c: self.fitted(c, out=tmp_path, resume=True))[1]
        np.testing.assert_allclose(history["val_loss"], whole["val_loss"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(history["loss"], whole["loss"], rtol=0, atol=1e-5)


class TestErrors:
    def test_more_ranks_than_sequences(self):
        with pytest.raises(ValueError, match="batch must be at least the number of ranks, 3, got 2"):
            on_ranks(3, lambda communicator: chars(communicator, batch=2))

    def test_other_data_on_a_rank(self):
        def run(communicator):
            train = sequences(20 + communicator.rank)
            fastrnn.fit(classified(), train, distributed=communicator)

        with pytest.raises(fastrnn.distributed.RanksDiffer, match="rank 1 on thread1 has another training data"):
            on_ranks(2, run)

    def test_another_model_on_a_rank(self):
        def run(communicator):
            model = fastrnn.Linear(3, 2 + communicator.rank)
            fastrnn.fit(model, Examples(np.ones((4, 3), np.float32), np.zeros(4, int)), distributed=communicator)

        expected = r"rank 1 on thread1 has another model, weight: \['float32', 3, 3\], rank 0 has \['float32', 2, 3\]$"
        with pytest.raises(fastrnn.distributed.RanksDiffer, match=expected):
            on_ranks(2, run)

    def test_weights_that_differ_are_found_at_the_next_evaluation(self):
        def run(communicator):
            trainer, model = chars(communicator, eval_every=5)
            learn = trainer.task._learn

            def drifting(batch, state):
                if communicator.rank == 1 and trainer.state.step == 3:
                    model.output.weight.writable()[0, 0] += 1e-6
                return learn(batch, state)

            trainer.task._learn = drifting
            trainer.run()

        with pytest.raises(agreement.RanksDiffer, match="rank 1 on thread1 has another checksum of the weights at step 5"):
            on_ranks(2, run)

    def test_a_gradient_that_is_not_finite_names_its_rank(self):
        def run(communicator):
            trainer, model = chars(communicator)
            learn = trainer.task._learn

            def poisoned(batch, state):
                result = learn(batch, state)
                if communicator.rank == 1 and trainer.state.step == 3:
                    model.output.weight.gradient()[0, 0] = np.nan
                return result

            trainer.task._learn = poisoned
            trainer.run()

        with pytest.raises(optim.NonFiniteGradient, match=r"rank 1 on thread1: the gradient of output\.weight .* step 4"):
            on_ranks(2, run)

    def test_a_rank_that_does_not_see_the_run_folder(self, tmp_path):
        def run(communicator):
            trainer, _ = chars(communicator, tmp_path / str(communicator.rank))
            trainer.run()

        with pytest.raises(RankError, match=r"rank 1 on thread1 cannot see .*last\.safetensors: all ranks need the same"):
            on_ranks(2, run)

    def test_another_version_on_a_rank(self, monkeypatch):
        versions = iter(["0.1.0", "0.2.0"])

        def run(communicator):
            settings = {"version of fastrnn": next(versions)}
            agreement.require_same(communicator, settings)

        with pytest.raises(
            agreement.RanksDiffer, match=r"rank 1 on thread1 has another version of fastrnn: 0\.[12]\.0, rank 0"
        ):
            on_ranks(2, run)

    @pytest.mark.parametrize("failing", [0, 1, 2])
    def test_the_error_of_one_rank_reaches_all(self, failing):
        def run(communicator):
            wanted = {failing: ["key"]}.get(communicator.rank, [])
            with pytest.raises(KeyError if wanted else RankError) as raised, agreement.together(communicator):
                _ = [{}[key] for key in wanted]
            return str(raised.value), agreement.is_common(raised.value)

        for rank, (text, common) in enumerate(on_ranks(3, run)):
            assert text == ("'key'" if rank == failing else f"rank {failing} on thread{failing}: 'key'")
            assert common

    def test_an_error_of_all_ranks_stays_their_own(self):
        def run(communicator):
            with pytest.raises(ValueError, match="same") as raised, agreement.together(communicator):
                raise ValueError("same")
            return agreement.is_common(raised.value)

        assert on_ranks(2, run) == [True, True]

    def test_no_mpi(self, monkeypatch):
        monkeypatch.setattr(sys.modules[MpiError.__module__], "_world", None)
        monkeypatch.setenv("PMI_SIZE", "2")
        monkeypatch.setitem(sys.modules, "mpi4py", None)
        with pytest.raises(MpiError, match=r'several processes need MPI: pip install "fastrnn\[mpi\]"'):
            fastrnn.distributed.world()

    def test_a_task_that_cannot_be_divided(self):
        def run(communicator):
            task = StreamTask()
            config = LoopConfig(max_steps=1, eval_every=1)
            made = optim.Adam(task.named_parameters(), lr=0.1)
            Trainer(task, made, schedules.constant(), config, communicator=communicator)

        with pytest.raises(TypeError, match=r"task must have divide\(communicator\)"):
            on_ranks(2, run)

    def test_objects_that_are_not_communicators(self):
        with pytest.raises(TypeError, match="distributed must be a bool or a Communicator, got"):
            fastrnn.fit(classified(), sequences(), distributed=3)
