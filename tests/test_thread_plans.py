"""How a plan divides work among threads: by sequences, by hidden units, by directions, or not at all."""

import cases
import pytest
from tables import each_row

from fastrnn import backends
from fastrnn.backends.structs import CellSpec, StackSpec


@pytest.fixture
def avx512(c):
    """Return the number of the ISA with which plans were measured; skip the test if the processor lacks it."""
    isa = c.lib.fastrnn_isa_find(b"avx512")
    if isa < 0 or not c.lib.fastrnn_isa_runs(isa):  # a plan asks the kernels for their layout, which runs their code
        pytest.skip("measured with AVX-512, which this processor lacks")
    return isa


# The fastest measured split, or one within 5 % of it, on two Zen 5 cores with T = 100 and I = H.
MEASURED = [
    ("rnn", 32, 1, "none", "none"),
    ("rnn", 32, 8, "batch", "batch"),
    ("rnn", 32, 128, "batch", "batch"),
    ("rnn", 128, 1, "hidden", "hidden"),
    ("rnn", 128, 4, "hidden", "batch"),
    ("rnn", 128, 128, "batch", "batch"),
    ("rnn", 1024, 1, "hidden", "hidden"),
    ("rnn", 1024, 8, "hidden", "hidden"),
    ("gru", 32, 1, "none", "none"),
    ("gru", 32, 4, "batch", "batch"),
    ("gru", 32, 8, "batch", "batch"),
    ("gru", 128, 1, "hidden", "hidden"),
    ("gru", 128, 8, "hidden", "batch"),
    ("gru", 512, 8, "hidden", "hidden"),
    ("lstm", 32, 1, "none", "batch"),
    ("lstm", 32, 8, "batch", "batch"),
    ("lstm", 32, 128, "batch", "batch"),
    ("lstm", 128, 1, "hidden", "hidden"),
    ("lstm", 128, 8, "hidden", "batch"),
    ("lstm", 1024, 1, "hidden", "hidden"),
    ("lstm", 1024, 8, "hidden", "hidden"),
    ("lstm", 1024, 32, "hidden", "hidden"),
]


@each_row(("cell", "H", "B", "forward", "backward"), MEASURED)
def test_the_plan_is_what_was_measured_to_be_fastest(avx512, cell, H, B, forward, backward):
    spec = CellSpec(cell, H, H)
    for pass_, split in enumerate((forward, backward)):
        assert cases.planned(spec, 100, B, pass_, avx512, 2) == (split, 1 if split == "none" else 2)
        assert cases.planned(spec, 100, B, pass_, avx512, 1) == ("none", 1)


@each_row(
    ("cell", "H", "split"),
    [("rnn", 256, "none"), ("rnn", 512, "hidden"), ("gru", 128, "none"), ("gru", 256, "hidden"),
     ("lstm", 64, "none"), ("lstm", 128, "none"), ("lstm", 256, "hidden"), ("lstm", 512, "hidden")],
)  # fmt: skip
def test_a_single_step_is_split_where_its_weights_fit_two_caches_and_not_one(avx512, cell, H, split):
    spec = CellSpec(cell, H, H)
    assert cases.planned(spec, 1, 1, False, avx512, 2) == (split, 1 if split == "none" else 2)


@pytest.mark.parametrize(("H", "B"), [(32, 1), (128, 8), (512, 32)])
def test_two_directions_run_at_once_if_there_is_a_thread_for_each(set_threads, H, B):
    spec = CellSpec("lstm", H, H)
    for threads, together in ((1, 1), (2, 2)):
        set_threads(threads)
        plan = backends.load("c").plan(StackSpec(spec, directions=2), 50, B)[0]
        assert (plan.at_once, plan.threads) == (together, 1)
        assert backends.load("c").plan(StackSpec(spec), 50, B)[0].at_once == 1
