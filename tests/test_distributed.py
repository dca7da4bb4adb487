"""Ranks as threads give the losses of one process, the same weights on every rank, and the same bits in every run."""

import numpy as np
import pytest
from distributed_runs import RUNS, STEPS, chars, trained
from thread_ranks import on_ranks, weights
from training_task import Recorder

from fastrnn.distributed.communicator import SOLO


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
