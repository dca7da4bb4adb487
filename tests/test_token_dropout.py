"""TokenDropout: which ids are replaced and how often; nothing else changes."""

import json

import numpy as np
import pytest

import fastrnn
from fastrnn.layers.description import build_layer, describe_layer

X = np.random.default_rng(0).integers(-1, 9, (50, 40))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_some_ids_become_unk(dtype):
    x = np.abs(X).astype(dtype)
    y, backward = fastrnn.TokenDropout(0.3, 9, rng=1).forward(x)
    dropped = y == 9
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y[~dropped], x[~dropped])
    assert abs(dropped.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / x.size)  # four standard deviations
    assert backward(np.ones((50, 40, 3))) is None


def test_ids_that_are_not_tokens_stay_and_p_may_be_0_and_1():
    y, _ = fastrnn.TokenDropout(1, 9).forward(X)
    np.testing.assert_array_equal(y, np.where(X < 0, X, 9))
    y, _ = fastrnn.TokenDropout(0, 9).forward(X)
    np.testing.assert_array_equal(y, X)


def test_inference_leaves_ids_alone_and_a_seed_gives_the_same_ones():
    layer = fastrnn.TokenDropout(0.5, 9, rng=3)
    np.testing.assert_array_equal(layer(X), X)
    first = layer.forward(X)[0]
    again = fastrnn.TokenDropout(0.5, 9)
    again.set_rng(np.random.default_rng(3))
    np.testing.assert_array_equal(again.forward(X)[0], first)
    assert (layer.forward(X)[0] != first).any()


def test_each_id_may_have_its_own_probability():
    p = np.linspace(0, 1, 10)
    layer = fastrnn.TokenDropout(p, 9, rng=1)
    x = np.random.default_rng(2).integers(-1, 10, (500, 40))
    dropped = layer.forward(x)[0] != x
    for i in range(9):
        n = np.count_nonzero(x == i)
        assert abs(dropped[x == i].mean() - p[i]) <= 4 * np.sqrt(p[i] * (1 - p[i]) / n)  # four standard deviations
    assert not dropped[x < 0].any()
    np.testing.assert_array_equal(layer(x), x)
    same = fastrnn.TokenDropout(np.full(10, 0.3), 9, rng=4).forward(x)[0]
    np.testing.assert_array_equal(same, fastrnn.TokenDropout(0.3, 9, rng=4).forward(x)[0])
    again = build_layer(json.loads(json.dumps(describe_layer(layer))))
    again.set_rng(np.random.default_rng(5))
    np.testing.assert_array_equal(again.forward(x)[0], fastrnn.TokenDropout(p, 9, rng=5).forward(x)[0])
    assert repr(layer) == "TokenDropout(p=one of 10, unk_id=9)"
    with pytest.raises(ValueError, match="x must hold token ids below 10, the length of p, got 10"):
        layer.forward(np.array([[3, 10]]))


def test_in_a_graph_it_streams_and_is_described():
    ids = fastrnn.Input(("T", "B"), dtype="int64")
    layer = fastrnn.TokenDropout(1, 9)
    model = fastrnn.Model(ids, fastrnn.Embedding(10, 2, dtype="float64", rng=0)(layer(ids)))
    y = model(X)
    np.testing.assert_array_equal(np.concatenate([model.stream(X[:7])[0], model.stream(X[7:])[0]]), y)
    trained, backward = model.forward(X)
    weight = model.parameters()[0]
    np.testing.assert_array_equal(trained, np.where(X < 0, 0, 1)[..., None] * weight.data[9])
    assert backward(np.ones_like(trained)) is None
    np.testing.assert_array_equal(weight.grad, np.where(np.arange(10)[:, None] == 9, np.count_nonzero(X >= 0), [[0.0, 0.0]]))
    again = build_layer(describe_layer(layer))
    assert (again.p, again.unk_id, repr(again)) == (1, 9, "TokenDropout(p=1, unk_id=9)")


def test_arguments():
    with pytest.raises(ValueError, match="p must lie in"):
        fastrnn.TokenDropout(1.1, 0)
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\], got 1.5"):
        fastrnn.TokenDropout([0.5, 1.5], 0)
    for wrong in ("0.5", [[0.5]], ["a"], [[0.5], [0.5, 1]], None):
        with pytest.raises(TypeError, match="p must be"):
            fastrnn.TokenDropout(wrong, 0)
    with pytest.raises(ValueError, match="unk_id must be at least 0, got -1"):
        fastrnn.TokenDropout(0.1, -1)
    for call in (fastrnn.TokenDropout(0.1, 0), fastrnn.TokenDropout(0.1, 0).forward):
        with pytest.raises(TypeError, match="x must be an array of integer token ids, got float64 array"):
            call(np.ones(3))


def test_arguments_that_are_set_later_are_checked_and_read():
    layer = fastrnn.TokenDropout(0.5, 9, rng=0)
    for name, wrong in (("p", 2.0), ("p", [0.5, 1.5]), ("unk_id", -1)):
        with pytest.raises(ValueError, match=f"{name} must"):
            setattr(layer, name, wrong)
    layer.p = [0.0, 1.0]  # one for each id, although it has as many numbers as the batch has sequences
    np.testing.assert_array_equal(layer.forward(np.array([[0, 1], [1, 0]]))[0], [[0, 9], [9, 0]])


def test_unk_id_may_be_larger_than_the_dtype_of_the_ids_holds():
    y, _ = fastrnn.TokenDropout([0, 1], 300).forward(np.array([0, 1], np.uint8))
    np.testing.assert_array_equal(y, [0, 300])
