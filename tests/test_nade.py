"""NADE by value: its equations, one value after the other; finite differences; probabilities that sum to one; samples."""

import itertools

import numpy as np
import pytest
from differences import central_differences, normal, parameter_differences
from tables import each_row

import fastrnn
from fastrnn.losses import sigmoid_binary_cross_entropy

D, H = 5, 3
ALL = np.array(list(itertools.product([0.0, 1.0], repeat=D)))  # every vector of D values


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def made(dtype="float64"):
    layer = fastrnn.NADE(D, H, rng=0, dtype=dtype)
    for i, parameter in enumerate(layer.parameters()):
        parameter.assign(normal(*parameter.shape, seed=i).astype(dtype))
    return layer


def by_the_equations(layer, b, c, v):
    W, V = layer.inputs.weight.data, layer.outputs.weight.data
    a, logits = c.copy(), np.empty(D)
    for d in range(D):
        logits[d] = b[d] + V[d] @ sigmoid(a)
        a += W[:, d] * v[d]
    return logits


def data(*axes):
    return normal(*axes, D, seed=3), normal(*axes, H, seed=4), (normal(*axes, D, seed=5) > 0).astype(float)


def test_logits_follow_the_equations():
    layer, (b, c, v) = made(), data(4, 6)
    v[0, 0], v[1, 1] = 0, 1
    logits = layer(b, c, v)
    for place in np.ndindex(4, 6):
        np.testing.assert_allclose(logits[place], by_the_equations(layer, b[place], c[place], v[place]), rtol=1e-12)
    single = made("float32")(*(array.astype(np.float32) for array in (b, c, v)))
    np.testing.assert_allclose(single, logits, rtol=1e-5, atol=1e-6)


def test_the_probabilities_of_all_vectors_sum_to_one():
    layer, (b, c, _) = made(), data()
    logits = layer(np.tile(b, (len(ALL), 1)), np.tile(c, (len(ALL), 1)), ALL)
    p = np.exp([-sigmoid_binary_cross_entropy(x, v, reduction="sum")[0] for x, v in zip(logits, ALL, strict=True)])
    assert p.sum() == pytest.approx(1, rel=1e-12)
    assert p.min() > 1e-5


def test_gradients_by_differences():
    layer, (b, c, v) = made(), data(4, 2)
    logits, backward = layer.forward(b, c, v)
    np.testing.assert_array_equal(layer(b, c, v), logits)
    dlogits = normal(*logits.shape, seed=7)
    db, dc, dv = backward(dlogits)

    def loss():
        return np.sum(layer(b, c, v) * dlogits)

    assert dv is None
    np.testing.assert_allclose(db, central_differences(loss, b), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(dc, central_differences(loss, c), rtol=1e-6, atol=1e-8)
    for parameter in layer.parameters():
        np.testing.assert_allclose(parameter.grad, parameter_differences(loss, parameter), rtol=1e-6, atol=1e-8)


def test_samples_are_as_frequent_as_likely():
    layer, (b, c, _), N = made(), data(), 20_000
    v = layer.sample(np.tile(b, (N, 1)), np.tile(c, (N, 1)), 0)
    found = np.bincount((v @ 2 ** np.arange(D)[::-1]).astype(int), minlength=len(ALL)) / N
    q = sigmoid(np.array([by_the_equations(layer, b, c, vector) for vector in ALL]))
    p = np.where(ALL == 1, q, 1 - q).prod(axis=1)
    assert np.all(np.abs(found - p) < 5 * np.sqrt(p * (1 - p) / N))


def test_a_cold_sample_takes_the_likelier_value_each_time():
    layer, (b, c, _) = made("float32"), data(3, 4)
    b, c = b.astype(np.float32), c.astype(np.float32)
    v = layer.sample(b, c, 1, temperature=1e-6)
    np.testing.assert_array_equal(v, layer(b, c, v) > 0)
    assert v.dtype == np.float32
    assert 0 < v.mean() < 1


def test_no_vectors_have_no_logits():
    layer, (b, c, v) = made(), data(3, 0)
    logits, backward = layer.forward(b, c, v)
    assert logits.shape == (3, 0, D)
    db, dc, _ = backward(logits)
    assert (db.shape, dc.shape) == (b.shape, c.shape)
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())
    assert layer.sample(b, c, 0).shape == (3, 0, D)


def test_padding_changes_nothing():
    b, c, v = (fastrnn.Input(("T", "B", size), dtype="float64", name=name) for name, size in (("b", D), ("c", H), ("v", D)))
    model, inputs, lengths = fastrnn.Model((b, c, v), made()(b, c, v)), data(5, 3), np.array([2, 5, 3])
    padded = [x.copy() for x in inputs]
    for x in padded:
        x[np.arange(5)[:, None] >= lengths] = np.nan
    logits = model(*padded, lengths=lengths)
    for i, n in enumerate(lengths):
        np.testing.assert_allclose(logits[:n, i], model(*(x[:n, i : i + 1] for x in inputs))[:, 0], rtol=1e-12)


def test_a_model_of_a_recurrent_layer_and_a_nade_is_saved_and_streams(tmp_path):
    x, v = (fastrnn.Input(("T", "B", D), dtype="float64", name=name) for name in "xv")
    y, _ = fastrnn.GRU(D, 4, dtype="float64", rng=1)(x)
    b, c = (fastrnn.Linear(4, size, dtype="float64", rng=2)(y) for size in (D, H))
    model = fastrnn.Model((x, v), fastrnn.NADE(D, H, dtype="float64", rng=3)(b, c, v))
    _, _, values = data(6, 3)
    before = np.concatenate([np.zeros_like(values[:1]), values[:-1]])
    logits = model(before, values)
    model.save(tmp_path / "model.safetensors")
    again = fastrnn.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again(before, values), logits)
    state = None
    for t in range(6):
        step, state = again.step(before[t], values[t], state=state)
        np.testing.assert_allclose(step, logits[t], rtol=1e-12)


B_, C_, V_ = data(2)
WRONG = np.where(V_ > 0, 2.0, V_)


@each_row(
    ("call", "error", "message"),
    [
        (lambda: fastrnn.NADE(0, 3), ValueError, "features must be at least 1, got 0"),
        (lambda: fastrnn.NADE(3, 0), ValueError, "hidden must be at least 1, got 0"),
        (lambda: made("float32")(B_, C_, V_), TypeError, r"b must be a float32 array .*\[\.\.\., features\] = \(2, 5\)"),
        (lambda: made()(B_, C_[:1], V_), ValueError, r"c must be .*\[\.\.\., hidden\] = \(2, 3\)"),
        (lambda: made()(B_, C_, V_[:1]), ValueError, r"v must be .*\(2, 5\)"),
        (lambda: made()(B_, C_, WRONG), ValueError, "v must hold only 0 and 1, got 2.0"),
        (lambda: made().forward(B_, C_, V_)[1](B_[:1]), ValueError, r"dlogits must be .*\(2, 5\)"),
        (lambda: made().sample(B_, C_, temperature=0), ValueError, r"temperature must lie in \(0, inf\], got 0"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
