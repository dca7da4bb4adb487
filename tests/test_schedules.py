"""Learning-rate schedules by value."""

import math

import numpy as np
import pytest
from tables import each_row

from fastrnn.training import schedules


def test_constant_and_warmup():
    schedule = schedules.make("constant", total_steps=10, warmup=4)
    assert [schedule(step) for step in range(6)] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]


def test_step():
    schedule = schedules.make("step", total_steps=100, every=3, decay=0.1)
    np.testing.assert_allclose([schedule(s) for s in (0, 2, 3, 5, 6, 9)], [1, 1, 0.1, 0.1, 0.01, 0.001], rtol=1e-15)
    by_default = schedules.make("step", total_steps=100, warmup=10)
    assert [by_default(step) for step in (10, 34, 35, 60)] == [1, 1, 0.5, 0.25]


def test_cosine():
    schedule = schedules.make("cosine", total_steps=110, warmup=10, floor=0.2)
    np.testing.assert_allclose(
        [schedule(step) for step in (0, 9, 10, 35, 60, 85, 110, 5000)],
        [1 / 11, 10 / 11, 1, 0.6 + 0.4 * math.sqrt(0.5), 0.6, 0.6 - 0.4 * math.sqrt(0.5), 0.2, 0.2],
        rtol=1e-14,
    )


def test_cosine_against_torch():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)
    schedule = schedules.cosine(50, floor=0.1)
    for step in range(50):
        np.testing.assert_allclose(schedule(step), reference.get_last_lr()[0], rtol=1e-12)
        optimizer.step()
        reference.step()


@each_row(
    ("call", "message"),
    [
        (lambda: schedules.make("linear", total_steps=5), "schedule must be one of 'constant', 'step', 'cosine'"),
        (lambda: schedules.make("cosine", total_steps=0), "total_steps must be at least 1"),
        (lambda: schedules.make("cosine", total_steps=5, warmup=-1), "warmup must be at least 0"),
        (lambda: schedules.make("cosine", total_steps=5, floor=2), "floor must lie in"),
        (lambda: schedules.make("step", total_steps=5, every=0), "every must be at least 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
