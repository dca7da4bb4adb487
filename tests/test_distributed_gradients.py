"""Parts of a batch for each rank, averages of gradients over the ranks, and sending them during backward."""

import threading

import numpy as np
import pytest
from distributed_runs import RUNS, chars, trained
from tables import each_row
from thread_ranks import on_ranks

import fastrnn
from fastrnn.distributed import RanksDiffer, average_gradients, gradients
from fastrnn.distributed.part import part_of
from fastrnn.layers._recurrent.part_stack import PartStack


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
