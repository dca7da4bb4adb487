"""The setting of the precision: to what it applies, which precision a plan chooses and why, and what a run records."""

from __future__ import annotations

import re

import numpy as np
import pytest
from medium_products import X, layer_of
from tables import each_row

import fastrnn
from fastrnn import functional
from fastrnn.backends import available
from fastrnn.backends.structs import CellSpec, StackSpec, Weights

pytestmark = pytest.mark.skipif("c" not in available(), reason="needs the C backend")


@pytest.mark.usefixtures("medium_everywhere")
def test_the_setting_applies_at_the_next_call_and_to_every_way_of_running() -> None:
    layer, before = layer_of(), layer_of()(X)[0]
    assert fastrnn.get_float32_matmul_precision() == "highest"
    stepper = layer.stepper()
    first = stepper(X[0, 0])
    with fastrnn.use_precision("medium"):
        assert fastrnn.get_float32_matmul_precision() == "medium"
        y, _ = layer(X)
        assert not np.array_equal(y, before)
        assert np.array_equal(layer.forward(X)[0][0], y)
        assert np.array_equal(layer.stream(X)[0][0], y)
        steps = layer.stepper()
        assert np.array_equal(np.stack([steps(x) for x in X[:, 0]]), y[:, 0])
        assert np.array_equal(functional.stack_forward(StackSpec(CellSpec("lstm", 40, 64)), [weights_of(layer)], X).y, y)
        with fastrnn.use_precision("highest"):
            assert np.array_equal(layer(X)[0], before)
        assert np.array_equal(layer(X)[0], y)
    assert np.array_equal(layer(X)[0], before)
    assert np.array_equal(stepper(X[1, 0]), before[1, 0])
    assert np.array_equal(first, before[0, 0])


def weights_of(layer: fastrnn.LSTM) -> Weights:
    return layer.stack.parts[0].weights()


@pytest.mark.usefixtures("medium_everywhere")
def test_a_layers_own_precision_comes_before_the_setting() -> None:
    highest, medium = layer_of()(X)[0], layer_of(precision="medium")(X)[0]
    assert not np.array_equal(highest, medium)
    with fastrnn.use_precision("medium"):
        assert np.array_equal(layer_of(precision="highest")(X)[0], highest)
        assert np.array_equal(layer_of()(X)[0], medium)
    both = fastrnn.LSTM(40, 64, 2, bidirectional=True, merge="sum", rng=0, precision="medium")
    assert {plan.precision for plan in both.plan(6, 3)} == {"medium"}
    assert layer_of(precision="medium").compress("bfloat16").precision == "medium"


@pytest.mark.usefixtures("medium_everywhere")
def test_compressed_weights_and_tables_of_embeddings() -> None:
    layer = layer_of(precision="medium")
    assert np.array_equal(layer.compress("bfloat16")(X)[0], layer(X)[0])  # their products have the same operands
    ids = np.arange(400).reshape(20, 20) % 7
    model = fastrnn.Sequential(fastrnn.Embedding(7, 40, rng=0), layer)
    highest = fastrnn.Sequential(model[0], layer_of(precision="highest"))
    error = np.abs(model(ids)[0] - highest(ids)[0]).max()
    assert 1e-5 < error < 5e-3


@each_row(
    ("options", "wanted", "reason"),
    [
        ({}, "highest", ""),
        ({"dtype": "float64"}, "medium", "medium is for float32, and the layer is float64"),
        ({"compression": "int8"}, "medium", "medium is for weights in float32 or bfloat16, and these are int8"),
        ({"compression": "int8"}, "high", "high is for weights in float32, and these are int8"),
        ({"compression": "bfloat16"}, "high", "high is for weights in float32, and these are bfloat16"),
        ({"backend": "reference"}, "medium", "medium needs backend c, and reference is in use"),
        ({"backend": "reference"}, "highest", ""),
    ],
)
def test_the_plan_says_why_a_precision_does_not_run(options, wanted, reason):
    (plan,) = layer_of(**options, precision=wanted).plan(6, 3)
    assert (plan.precision, plan.reason) == ("highest", reason)


def test_the_plan_names_the_instruction_set_and_the_size(c, monkeypatch: pytest.MonkeyPatch) -> None:
    c.set_isa(c.isa_names()[-1])
    (plan,) = layer_of(precision="medium").plan(6, 3)
    c.set_isa(None)
    assert plan.precision == "highest"
    assert re.fullmatch(
        r"medium needs an ISA that multiplies bfloat16 \(amx, avx512bf16\), and (avx2|base|neon) is in use", plan.reason
    )
    from fastrnn.backends._c import precision

    if "avx512bf16" in c.isa_names():
        c.set_isa("avx512bf16")
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda isa: False)
        (plan,) = fastrnn.GRU(64, 33, precision="medium").plan(6, 3)
        c.set_isa(None)
        assert plan.reason.startswith("medium is faster than float32 on AMD's processors and on matrix units only")
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda isa: True)
    (plan,) = fastrnn.GRU(64, 31, precision="medium").plan(6, 3)
    assert plan.reason == "medium is not faster below 32 hidden units, and the layer has 31"


@pytest.mark.usefixtures("medium_is_fast")
def test_medium_runs_where_the_processor_multiplies_bfloat16() -> None:
    (plan,) = layer_of(precision="medium").plan(6, 16)
    assert plan.isa in ("amx", "avx512bf16")
    assert (plan.precision, plan.reason) == ("medium", "")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_records_medium_if_only_its_linear_layers_or_muon_use_it(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastrnn.backends._c import precision, stack
    from fastrnn.training._run.folder import Kernels

    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda isa: True)
    stack._kernel.cache_clear()
    layer = fastrnn.LSTM(65, 24, rng=0, dtype=dtype, backend="c")
    with fastrnn.use_precision("medium"):
        assert layer.plan(1, 32)[0].precision == "highest"
        assert Kernels.of(layer, 32).precision == ("medium" if dtype == "float32" else "highest")
    assert Kernels.of(layer, 32).precision == "highest"
    stack._kernel.cache_clear()


def test_bad_precisions() -> None:
    expected = "precision must be one of 'highest', 'high', 'medium', got 'low'"
    for call in (
        lambda: fastrnn.set_float32_matmul_precision("low"),
        lambda: layer_of(precision="low"),
        lambda: fastrnn.GRUCell(3, 4, precision="low"),
        lambda: fastrnn.use_precision("low").__enter__(),
        lambda: functional.stack_forward(StackSpec(CellSpec("lstm", 40, 64), precision="low"), [weights_of(layer_of())], X),
    ):
        with pytest.raises(ValueError, match=expected):
            call()
    with pytest.raises(KeyError), fastrnn.use_precision("medium"):
        raise KeyError
    assert fastrnn.get_float32_matmul_precision() == "highest"


def test_a_precision_is_no_part_of_the_architecture() -> None:
    assert "precision" not in layer_of(precision="medium").config()
