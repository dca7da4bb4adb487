"""Reshape and Stack: values, gradients, and shapes that they refuse."""

import numpy as np
import pytest
from tables import each_row
from transposes import F64, B, D, T, X, assert_adjoint

import fastrnn
from fastrnn import GRU, Concat, Input, Model, Reshape, Stack


class TestReshape:
    @each_row(
        ("layer", "shape"),
        [
            (Reshape((2, 3)), (T, B, 2, 3)),
            (Reshape([3, 1, 2]), (T, B, 3, 1, 2)),
            (Reshape(6), (T, B, 6)),
            (Reshape((2, -1), axes=1), (T, B, 2, 3)),
        ],
    )
    def test_by_value(self, layer, shape):
        np.testing.assert_array_equal(layer(X), X.reshape(shape))
        assert_adjoint(layer, X)
        assert Reshape(**layer.config()).infer(Input(("T", "B", D)).spec).shape == ("T", "B", *shape[2:])

    def test_several_axes_become_one(self):
        x = X.reshape(T, B, 2, 3)
        for layer in (Reshape((6,)), Reshape((-1,), axes=2)):
            np.testing.assert_array_equal(layer(x), X)
            assert_adjoint(layer, x)
        assert Reshape((6,))(Input(("B", 2, 3))).shape == ("B", 6)

    @each_row(
        ("options", "shape", "message"),
        [
            ({"shape": (5,)}, ("T", "B", 6), r"x must have last axes that hold 5 values, for \(5,\), got \[T, B, 6\]"),
            ({"shape": (5,), "axes": 1}, ("B", 6), r"x must have last 1 axes that hold 5 values"),
            (
                {"shape": (6,)},
                ("B", 1, 6),
                r"axes must be given: the last 2 axes of \[B, 1, 6\] hold no more than the last 1",
            ),
            ({"shape": (12,)}, ("T", "B", 6), "x must have last axes that hold 12 values"),
        ],
    )
    def test_what_does_not_fit(self, options, shape, message):
        with pytest.raises(ValueError, match=message):
            Reshape(**options)(Input(shape))

    def test_bad_arguments(self):
        for shape in ((), (-1,), (2, 0), (-1, -1)):
            with pytest.raises(ValueError, match="shape must"):
                Reshape(shape)
        assert Reshape((6,), axes=2)(Input(("B", 1, 6))).shape == ("B", 6)


class TestStack:
    @each_row("axis", [0, 1, -1, 2])
    def test_is_numpys(self, axis):
        a, b = X[0], X[1]
        np.testing.assert_array_equal(Stack(axis)(a, b, a), np.stack([a, b, a], axis))
        assert_adjoint(Stack(axis), a, b)

    def test_symbols(self):
        x = Input(("T", "B", 6))
        assert Stack()(x[0], x[-1]).shape == (2, "B", 6)
        assert Stack(axis=-1)(x, x).shape == ("T", "B", 6, 2)
        with pytest.raises(ValueError, match=r"axis must come after time and batch, because .* time axis, got 0"):
            Stack()(x, x)
        with pytest.raises(ValueError, match=r"inputs\[1\] must have the shape of inputs\[0\]"):
            Stack(axis=-1)(x[1:], x)
        with pytest.raises(ValueError, match="axis must be one of y's 3 axes, got 4"):
            Stack(axis=4)(x[0])

    def test_unrolled_by_hand_is_the_layer(self):
        """Thirty slices and one shared cell give the layer's outputs and gradients, whichever way they are written."""
        x = Input((30, "B", D), **F64)
        layer, cell = GRU(D, 4, **F64, rng=1), fastrnn.GRUCell(D, 4, **F64, rng=1)
        h, hs, state, ys = None, [], None, []
        for t in range(30):
            h = cell(x[t], h)
            hs.append(h)
            y, state = layer(x[t : t + 1], state)
            ys.append(y)
        values = np.random.default_rng(0).standard_normal((30, B, D))
        (wanted, _), backward = layer.forward(values)
        dy = np.random.default_rng(1).standard_normal(wanted.shape)
        dx, _ = backward(dy)
        grad = layer.weight_hh_l0.grad.copy()
        layer.zero_grad()
        for model, own in ((Model(x, Stack()(*hs)), cell.weight_hh), (Model(x, Concat(0)(*ys)), layer.weight_hh_l0)):
            y, backward = model.forward(values)
            np.testing.assert_allclose(y, wanted, rtol=1e-11)
            np.testing.assert_allclose(backward(dy), dx, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(own.grad, grad, rtol=1e-9, atol=1e-12)
            again = Model.from_json(model.to_json())
            again.load_state_dict(model.state_dict())
            np.testing.assert_array_equal(again(values), y)
