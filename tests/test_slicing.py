"""Slice and sliced symbols: values, gradients, lengths, shapes, and indices that they refuse."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tables import each_row
from transposes import B, D, T, X, assert_adjoint

import fastrnn
from fastrnn import Input, Slice
from fastrnn.layers._symbolic.time_axes import SlicedAxis, counts, sliced

STEPS = st.builds(slice, *[st.none() | st.integers(-4, 4)] * 2, st.none() | st.integers(1, 3) | st.integers(-3, -1))


class TestSlice:
    @each_row(
        "index",
        [
            *(0, -1, slice(1, None), slice(None, -2), slice(None, None, -1), slice(4, 0, -2)),
            *((..., 2), (..., slice(None, 4)), (..., slice(-2, None)), (slice(1, 4, 2), slice(None), slice(0, 3))),
            *((-2, slice(None), 1), (2, ..., slice(1, 3))),
        ],
    )
    def test_is_numpys(self, index):
        layer = Slice(index)
        np.testing.assert_array_equal(layer(X), X[index])
        assert_adjoint(layer, X)
        again = Slice(**layer.config())
        np.testing.assert_array_equal(again(X), X[index])
        assert again.extra_repr() == layer.extra_repr()
        spec = layer.infer(fastrnn.layers._symbolic.symbols.Spec((T, "B", D), "float64"))
        assert [B if axis == "B" else axis for axis in spec.shape] == list(X[index].shape)

    @settings(max_examples=100)
    @given(steps=STEPS | st.integers(-3, 2), lengths=st.lists(st.integers(3, T), min_size=B, max_size=B))
    def test_of_time_takes_of_each_sequence_what_it_has(self, steps, lengths):
        assume(steps != slice(None))
        layer = Slice((steps, ..., slice(None, 2)))
        alone = [X[:n, b][steps][..., :2] for b, n in enumerate(lengths)]
        assume(isinstance(steps, int) or (max(map(len, alone)) and len(range(*steps.indices(T)))))
        y = layer(X, lengths)
        if isinstance(steps, int):
            np.testing.assert_array_equal(y, np.stack(alone))
        else:
            np.testing.assert_array_equal(layer.lengths_after(np.array(lengths)), [len(row) for row in alone])
            for b, row in enumerate(alone):
                np.testing.assert_array_equal(y[: len(row), b], row)
                assert not y[len(row) :, b].any()
        assert_adjoint(layer, X, lengths=lengths)

    @settings(max_examples=150)
    @given(first=STEPS, second=STEPS, other=STEPS)
    @example(slice(1, None), slice(1, None), slice(2, None))
    @example(slice(None, 3), slice(1, None), slice(1, 3))
    def test_axes_of_one_name_have_the_same_steps(self, first, second, other):
        """The name of a sliced axis states its number of steps; for an axis of fixed size it is a number."""
        ns = np.arange(13)
        axis = sliced("T", first)
        twice = sliced(axis, second)
        steps = counts(second, counts(first, ns))
        for name, its in ((axis, counts(first, ns)), (twice, steps)):
            if name == 0:
                assert not its.any()
            elif name == "T":
                np.testing.assert_array_equal(its, ns)
            elif isinstance(name, SlicedAxis) and name.steps is not None:
                _, drop, cap, stride = name.steps
                limit = 99 if cap is None else cap
                np.testing.assert_array_equal(its, -(-np.minimum(np.maximum(ns - drop, 0), limit) // stride), err_msg=name)
        if twice == sliced("T", other) != 0:
            np.testing.assert_array_equal(steps, counts(other, ns))
        assert [sliced(int(n), first) for n in ns] == counts(first, ns).tolist()
        assert pickle.loads(pickle.dumps(twice)) == copy.deepcopy(twice) == twice

    def test_ids_have_no_gradient(self):
        ids = np.arange(T * B).reshape(T, B)
        y, backward = Slice(slice(1, None)).forward(ids, [5, 2, 1])
        np.testing.assert_array_equal(y, [[3, 4, -1], [6, -1, -1], [9, -1, -1], [12, -1, -1]])
        assert backward(np.ones((4, B))) is None

    @each_row(
        ("index", "error", "message"),
        [
            ("a", TypeError, "index must hold integers, slices of integers and ..., got 'a'"),
            (True, TypeError, "index must hold integers, slices"),
            (None, TypeError, "index must hold integers, slices"),
            (slice(0.5), TypeError, "index must hold integers, slices"),
            ([np.array([0, 1])], TypeError, r"index must hold integers, .* got int64 array of shape \(2,\)"),
            ((), ValueError, "index must hold an integer, a slice or one ..."),
            ((..., ...), ValueError, "index must hold an integer, a slice or one ..."),
            (slice(None, None, 0), ValueError, "index must not have a slice of step 0"),
            ((0, 1), ValueError, r"the batch must not be sliced: it comes after time, got \[0, 1\]"),
        ],
    )
    def test_bad_indices(self, index, error, message):
        with pytest.raises(error, match=message):
            Slice(index)

    def test_bad_arrays(self):
        with pytest.raises(ValueError, match="index 7 must lie in axis 2, which is 6 long"):
            Slice((..., 7))(X)
        with pytest.raises(ValueError, match=r"\[5:\] selects nothing from axis 0, which is 5 long"):
            Slice(slice(5, None))(X)
        with pytest.raises(ValueError, match=r"x\[2\] needs 3 steps, and sequence 1 has 2"):
            Slice(2)(X, [5, 2, 3])
        with pytest.raises(ValueError, match=r"x must have at least 4 axes for \[0, :, :, 1\], got 3"):
            Slice((0, slice(None), slice(None), 1))(X)
        with pytest.raises(TypeError, match="x must be an array, got 3"):
            Slice(0)(3)


class TestSymbols:
    def test_shapes(self):
        x = Input(("T", "B", 6), name="x")
        assert x[..., :4].shape == ("T", "B", 4)
        assert x[..., 0].shape == ("T", "B")
        assert x[0].shape == x[-1].shape == ("B", 6)
        assert x[1:].shape == x[:-1].shape == ("T-1", "B", 6)
        assert x[1:-1].shape == x[1:][1:].shape == x[2:].shape == ("T-2", "B", 6)
        assert x[::-1].shape == x[:].shape == ("T", "B", 6)
        assert x[-3:].shape == x[:3].shape == ("min(T, 3)", "B", 6)
        assert x[::2].shape == ("ceil(T/2)", "B", 6)
        assert x[1:, :, ::2].shape == ("T-1", "B", 3)
        assert Input(("B", 4, 6))[:, 1, -2:].shape == ("B", 2)
        assert Input((7, "B", 6))[2::2].shape == (3, "B", 6)

    @each_row(
        ("index", "message"),
        [
            (
                (slice(None), 0),
                r"Slice does not take float32 \[T, B, 6\]: the batch must not be sliced, got an index for axis 1",
            ),
            ((..., slice(2), slice(None)), "the batch must not be sliced, got an index for axis 1"),
            ((..., 0, slice(None), slice(None)), "time must be sliced by the first index, not by one after"),
            ((..., 6), "index 6 must lie in axis 2, which is 6 long"),
            ((..., slice(6, None)), r"\[6:\] selects nothing from axis 2, which is 6 long"),
            (slice(0, 0), r"\[0:0\] selects nothing from axis 0, which is T long"),
            ((0, slice(None), slice(None), 0), "x must have at least 4 axes"),
        ],
    )
    def test_what_is_refused(self, index, message):
        with pytest.raises(ValueError, match=message):
            Input(("T", "B", 6))[index]

    @each_row(
        ("index", "shown"),
        [
            (np.array([0, 1]), r"int64 array of shape \(2,\)"),
            (np.array([0, 1]) > 0, r"bool array of shape \(2,\)"),
            ((slice(None), slice(None), np.array([0, 1])), r"int64 array of shape \(2,\)"),
            ((..., np.zeros(3)), r"float64 array of shape \(3,\)"),
            ([0, 1], r"\[0, 1\]"),
            ((..., [0, 2]), r"\[0, 2\]"),
            (Input(("T", "B")), "<Symbol of an Input: float32"),
        ],
    )
    def test_objects_that_are_not_indices(self, index, shown):
        with pytest.raises(TypeError, match=f"^index must hold integers, slices of integers and ..., got {shown}"):
            Input(("T", "B", 6))[index]

    def test_rows_have_their_batch_first(self):
        with pytest.raises(ValueError, match="the batch must not be sliced, got an index for axis 0"):
            Input(("B", 6))[0]
        with pytest.raises(TypeError, match="not iterable"):
            _, _ = Input(("B", 6))
