"""Linear layers, language models and Muon with products of bfloat16 numbers ("medium")."""

from __future__ import annotations

import numpy as np
import pytest
from medium_products import rounded

import fastrnn
from fastrnn.backends import available, load
from fastrnn.backends.structs import CellSpec, StackSpec

pytestmark = pytest.mark.skipif("c" not in available(), reason="needs the C backend")


@pytest.mark.usefixtures("medium_everywhere")
@pytest.mark.parametrize(("N", "I", "O"), [(1, 33, 47), (5, 40, 65), (16, 64, 32), (1001, 131, 70), (2100, 35, 300)])
def test_linear_layers_multiply_rounded_numbers(isa: str, N: int, I: int, O: int, set_threads) -> None:  # noqa: E741
    rng = np.random.default_rng(N)
    x, dy = (rng.standard_normal((N, size), dtype=np.float32) for size in (I, O))
    layer, found = fastrnn.Linear(I, O, rng=1, backend="c"), []
    W, b = (np.array(parameter, np.float64) for parameter in layer.parameters())
    expected = rounded(x) @ rounded(W).T + b, rounded(dy) @ rounded(W), rounded(dy).T @ rounded(x) + 1, dy.sum(0) + 1
    for count in (1, 3):
        set_threads(count)
        for parameter in layer.parameters():
            parameter.gradient()[...] = 1
        with fastrnn.use_precision("medium"):
            y, backward = layer.forward(x)
            assert np.array_equal(layer(x), y)
            found.append((y, backward(dy), layer.weight.grad.copy(), layer.bias.grad.copy()))
    assert all(map(np.array_equal, *found))
    for values, wanted in zip(found[0], expected, strict=True):
        np.testing.assert_allclose(values, wanted, rtol=2e-5, atol=2e-6 * np.abs(wanted).max())
    assert np.abs(y - (x @ W.T + b)).max() > 1e-3  # so the two can be told apart


@pytest.mark.usefixtures("medium_everywhere")
def test_muon_orthogonalises_by_rounded_numbers(isa: str) -> None:
    from fastrnn.backends.orthogonal import orthogonalised

    matrix = np.random.default_rng(0).standard_normal((200, 60), dtype=np.float32)
    exact = orthogonalised(load("reference"), matrix.astype(np.float64))
    with fastrnn.use_precision("medium"):
        update = orthogonalised(load("c"), matrix)
    assert 2e-3 < np.linalg.norm(update - exact) / np.linalg.norm(exact) < 4e-2
    values = np.linalg.svd(update, compute_uv=False)
    assert 0.65 < values.min() < values.max() < 1.2


@pytest.mark.usefixtures("medium_everywhere")
@pytest.mark.parametrize(("V", "T", "B"), [(40, 9, 20), (33, 1, 15), (11, 3, 2)])
def test_a_language_models_step_has_the_bits_of_separate_calls(V: int, T: int, B: int, monkeypatch) -> None:
    from fastrnn.backends._c import precision
    from fastrnn.text.char_model import CharModel

    monkeypatch.setattr(precision, "SMALLEST", 32)  # so an output layer of 11 classes is in float32
    monkeypatch.setattr(precision, "SMALLEST_BATCH", 16)
    ids = np.random.default_rng(2).integers(0, V, (T + 1, B))
    with fastrnn.use_precision("medium"):
        model = CharModel(V, "lstm", hidden=64, rng=3)
        loss, *_ = model.learn(ids[:-1], ids[1:])
        found = {key: p.grad.copy() for key, p in model.named_parameters()}
        model.zero_grad()
        (logits, _), backward = model.forward(ids[:-1])
        separate, dlogits = fastrnn.losses.softmax_cross_entropy(logits, ids[1:])
        backward(dlogits)
    assert loss == separate
    for key, p in model.named_parameters():
        np.testing.assert_array_equal(found[key], p.grad, err_msg=key)


@pytest.mark.usefixtures("medium_is_fast")
def test_linear_layers_of_few_features_stay_in_float32_and_on_a_matrix_unit_those_of_few_rows() -> None:
    rng = np.random.default_rng(0)
    unit = load("c").plan(StackSpec(CellSpec("rnn", 64, 64)), 1, 1)[0].isa == "amx"
    for N, I, O, changes in ((20, 64, 31, False), (20, 31, 64, False), (20, 64, 32, True), (15, 64, 32, not unit)):  # noqa: E741
        layer, x = fastrnn.Linear(I, O, rng=1), rng.standard_normal((N, I), dtype=np.float32)
        with fastrnn.use_precision("medium"):
            y = layer(x)
        assert np.array_equal(y, layer(x)) != changes
