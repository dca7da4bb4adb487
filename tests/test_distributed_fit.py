"""``fastrnn.fit`` on several ranks has the history and the weights of one process."""

import numpy as np
import pytest
from distributed_runs import classified, sequences
from thread_ranks import on_ranks, weights

import fastrnn
from fastrnn.training import EarlyStopping, Examples


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
