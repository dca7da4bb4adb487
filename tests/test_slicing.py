"""Slice, Reshape, Stack and sliced symbols: values, gradients, lengths, files, streams."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tables import each_row

import fastrnn
import fastrnn.torch
from fastrnn import GRU, Add, Concat, Embedding, Examples, Input, Last, Linear, Model, Reshape, Sequential, Slice, Stack
from fastrnn.layers._symbolic.time_axes import SlicedAxis, counts, sliced

F64 = {"dtype": "float64"}
T, B, D = 5, 3, 6
X = np.random.default_rng(0).standard_normal((T, B, D))
STEPS = st.builds(slice, *[st.none() | st.integers(-4, 4)] * 2, st.none() | st.integers(1, 3) | st.integers(-3, -1))


def assert_adjoint(layer, *inputs, **options):
    """Assert that a linear layer's backward is its transpose: <dy, layer(v)> = <dx, v> for any v."""
    rng = np.random.default_rng(1)
    y, backward = layer.forward(*inputs, **options)
    np.testing.assert_array_equal(y, layer(*inputs, **options))
    dy, others = rng.standard_normal(y.shape), [rng.standard_normal(x.shape) for x in inputs]
    dxs = backward(dy)
    dxs = dxs if isinstance(dxs, tuple) else (dxs,)
    assert [dx.shape for dx in dxs] == [x.shape for x in inputs]
    product = sum(float((dx * v).sum()) for dx, v in zip(dxs, others, strict=True))
    assert product == pytest.approx(float((dy * layer(*others, **options)).sum()), rel=1e-12, abs=1e-12)


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


def differences():
    """Return a model with slices: steps minus earlier steps, halves of features, both directions of time, one step alone."""
    x = Input(("T", "B", D), **F64, name="x")
    y, _ = GRU(D, 4, **F64, rng=1)(x)
    steps = Add()(x[1:], Linear(D, D, **F64, rng=2)(x[:-1]))
    z, h = GRU(2 * D, 3, **F64, rng=3)(Concat()(steps, x[::-1][1:]))
    whole = Concat()(y[-1], Last()(z), h[0], Linear(2, 2, **F64, rng=5)(y[0][..., 1:3]))
    return Model(x, (Linear(3, 2, **F64, rng=4)(z), whole))


def assert_alone_is_in_a_batch(model, x, lengths):
    """Assert that each sequence has the same outputs and gradient alone and in a padded batch, whatever the padding."""
    soiled = x.copy()
    for b, n in enumerate(lengths):
        soiled[n:, b] = 1e6
    outputs, backward = model.forward(soiled, lengths=lengths)
    rng = np.random.default_rng(2)
    douts = [rng.standard_normal(y.shape) for y in outputs]
    dx = backward(*douts)
    for b, n in enumerate(lengths):
        alone, backward = model.forward(x[:n, b : b + 1].copy())
        over_time = [y.ndim == 3 for y in alone]
        parts = [d[: len(y), b : b + 1] if t else d[b : b + 1] for d, y, t in zip(douts, alone, over_time, strict=True)]
        for y, wanted, t in zip(outputs, alone, over_time, strict=True):
            np.testing.assert_allclose(y[: len(wanted), b : b + 1] if t else y[b : b + 1], wanted, rtol=1e-10, atol=1e-12)
            assert not t or not y[len(wanted) :, b].any()
        np.testing.assert_allclose(dx[:n, b : b + 1], backward(*parts), rtol=1e-9, atol=1e-12)
        assert not dx[n:, b].any()


class TestModels:
    @settings(max_examples=15)
    @given(lengths=st.lists(st.integers(2, T), min_size=B, max_size=B))
    def test_padding_changes_nothing(self, lengths):
        assert_alone_is_in_a_batch(differences(), X, lengths)

    def test_outputs_and_gradients_are_pytorchs(self):
        torch = pytest.importorskip("torch")
        model = differences()
        modules = {name: fastrnn.torch.to_torch(model.layers[name]) for name in _with_weights(model)}
        x = torch.tensor(X, requires_grad=True)
        y, _ = modules["gru"](x)
        steps = x[1:] + modules["linear"](x[:-1])
        z, h = modules["gru_1"](torch.cat([steps, x.flip(0)[1:]], -1))
        part = modules["linear_1"](y[0][..., 1:3])
        wanted = modules["linear_2"](z), torch.cat([y[-1], z[-1], h[0], part], -1)
        outputs, backward = model.forward(X)
        douts = [np.random.default_rng(3).standard_normal(o.shape) for o in outputs]
        for mine, theirs in zip(outputs, wanted, strict=True):
            np.testing.assert_allclose(mine, theirs.detach(), rtol=1e-11, atol=1e-13)
        sum((o * torch.tensor(d)).sum() for o, d in zip(wanted, douts, strict=True)).backward()
        np.testing.assert_allclose(backward(*douts), x.grad, rtol=1e-10, atol=1e-12)
        for name, module in modules.items():
            for own, parameter in module.named_parameters():
                mine = dict(model.layers[name].named_parameters())[own].grad
                np.testing.assert_allclose(mine, parameter.grad, rtol=1e-9, atol=1e-12, err_msg=f"{name}.{own}")

    def test_files_copies_and_tables(self, tmp_path, capsys):
        model = differences()
        model.save(tmp_path / "model.safetensors")
        for again in (fastrnn.load_model(tmp_path / "model.safetensors"), copy.deepcopy(model)):
            for mine, theirs in zip(again(X, lengths=[5, 2, 3]), model(X, lengths=[5, 2, 3]), strict=True):
                np.testing.assert_array_equal(mine, theirs)
        model.summary()
        shown = capsys.readouterr().out
        assert "[T-1, B, 6]" in shown
        assert "(Slice)" in shown

    def test_a_model_that_begins_at_a_slice(self):
        x = Input(("T", "B", D), **F64)
        part = x[1:]
        model = Model(part, GRU(D, 4, **F64, rng=1)(part[::2])[0])
        again = Model.from_json(model.to_json())
        again.load_state_dict(model.state_dict())
        np.testing.assert_array_equal(again(X, lengths=[5, 2, 3]), model(X, lengths=[5, 2, 3]))

    def test_a_model_of_slices_within_another(self):
        """The inner model's time axis gets the outer one's name, even if that is a number or the name of a slice."""
        x = Input(("T", "B", D), **F64)
        inner = Model(x, GRU(D, D, **F64, rng=1)(x[1:])[0]).named("inner")
        s, fixed = Input(("S", "B", D), **F64), Input((4, "B", D), **F64)
        assert inner(s).shape == ("S-1", "B", D)
        assert inner(fixed).shape == (3, "B", D)
        twice = Model(s, inner(inner(s)))
        assert twice.outputs.shape == ("S-2", "B", D)
        for b, n in enumerate([5, 3, 4]):
            alone = inner(inner(X[:n, b : b + 1].copy()))
            together = twice(X, lengths=[5, 3, 4])
            np.testing.assert_allclose(together[: n - 2, b : b + 1], alone, rtol=1e-11, atol=1e-13)

    def test_streams(self):
        x = Input(("T", "B", D), **F64, name="x")
        y, _ = GRU(3, 4, **F64, rng=1)(x[..., ::2])
        model = Model(x, Linear(2, 2, **F64, rng=2)(y[..., -2:]))
        state, steps = None, []
        for x_t in X:
            y_t, state = model.step(x_t, state)
            steps.append(y_t)
        np.testing.assert_allclose(np.stack(steps), model(X), rtol=1e-12)
        for index, shown in ((0, "0"), (slice(1, None), "1:"), (slice(None, None, -1), "::-1")):
            late = Model(x, GRU(D, 2, **F64, rng=1)(x)[0][index])
            with pytest.raises(ValueError, match=rf"slice: \[{shown}\] needs the whole sequence"):
                late.step(X[0])

    def test_a_still_source_may_be_sliced_in_a_stream(self):
        source, x = Input(("S", "B", D), **F64), Input(("T", "B", D), **F64)
        h = Linear(D, 4, **F64, rng=3)(source[-1])
        y, _ = GRU(D, 4, **F64, rng=1)(x, Stack()(h))
        model, other = Model((source, x), y), np.random.default_rng(4).standard_normal((2, B, D))
        state, steps = None, []
        for x_t in X:
            y_t, state = model.step(other, x_t, state=state, lengths={"S": [2, 1, 2]})
            steps.append(y_t)
        np.testing.assert_allclose(np.stack(steps), model(other, X, lengths={"S": [2, 1, 2]}), rtol=1e-12)


def _with_weights(model):
    return [name for name, layer in model.layers.items() if layer.parameters()]


LAYERS = {
    "features": lambda first: [Slice((..., slice(0, 4))), GRU(4, 4, batch_first=first, **F64, rng=1)],
    "later steps": lambda first: [GRU(D, 4, batch_first=first, **F64, rng=1), Slice(slice(1, None))],
    "backwards": lambda first: [Slice(slice(None, None, -1)), GRU(D, 4, batch_first=first, **F64, rng=1)],
    "nested": lambda first: [
        Sequential(Slice(slice(None, -1)), Sequential(Linear(D, D, **F64, rng=2))),
        GRU(D, 4, batch_first=first, **F64, rng=1),
        Slice((..., slice(-4, None))),
    ],
    "last step": lambda first: [GRU(D, 4, batch_first=first, **F64, rng=1), Slice(-1)],
    "heads": lambda first: [GRU(D, 4, batch_first=first, **F64, rng=1), Reshape((2, 2)), Slice((..., 0))],
}


class TestSequential:
    @settings(max_examples=40)
    @given(
        kind=st.sampled_from(sorted(LAYERS)),
        first=st.booleans(),
        lengths=st.lists(st.integers(2, 6), min_size=1, max_size=6) | st.just([4] * 4),
        size=st.integers(1, 7),
    )
    def test_predictions_depend_on_neither_layout_nor_batch(self, kind, first, lengths, size):
        rng = np.random.default_rng(0)
        x = [rng.standard_normal((n, D)) for n in lengths]
        model, alone = Sequential(*LAYERS[kind](first)), Sequential(*LAYERS[kind](False))
        outputs = [alone(row[:, None]) for row in x]
        expected = [y[0] if kind == "last step" else y[:, 0] for y in outputs]
        arrays = [np.stack(x)] if len(set(lengths)) == 1 else []
        for values in [x, *arrays]:
            for mine, wanted in zip(fastrnn.predict(model, Examples(values), size), expected, strict=True):
                np.testing.assert_allclose(mine, wanted, rtol=1e-10, atol=1e-12)

    def test_gradients_with_lengths(self):
        for kind in ("later steps", "backwards", "nested"):
            layers = LAYERS[kind]
            for model, swap in ((Sequential(*layers(False)), False), (Sequential(*layers(True)), True)):
                wrapped = _Swapped(model) if swap else _Tuple(model)
                assert_alone_is_in_a_batch(wrapped, X, [5, 2, 3])

    def test_targets_have_the_steps_of_the_slice(self):
        x = [np.zeros((n, D)) for n in (4, 3)]
        model = Sequential(*LAYERS["later steps"](False))
        figures = fastrnn.evaluate(model, Examples(x, [[0, 1, 2], [3, 0]]))
        assert figures["loss"] > 0
        with pytest.raises(ValueError, match=r"targets\[0\] must have 3 steps as the output over T-1 has, got 4"):
            fastrnn.evaluate(model, Examples(x, [[0, 1, 2, 3], [3, 0, 1]]))

    def test_the_batch_axis_is_not_time(self):
        model = Sequential(GRU(D, 4, **F64, rng=1), Slice((slice(None), 0)))
        with pytest.raises(ValueError, match=r"layer 1, Slice, does not take .* the batch must not be sliced"):
            fastrnn.predict(model, Examples(X))


class _Tuple:
    def __init__(self, model):
        self.model = model

    def forward(self, x, lengths=None):
        y, backward = self.model.forward(x, lengths)
        return (y,), backward


class _Swapped(_Tuple):
    """A batch_first model that is called like a time-first one."""

    def forward(self, x, lengths=None):
        y, backward = self.model.forward(x.swapaxes(0, 1).copy(), lengths)
        return (y.swapaxes(0, 1),), lambda dy: backward(dy.swapaxes(0, 1)).swapaxes(0, 1)


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


def test_embedded_ids_are_sliced():
    ids = Input(("T", "B"), dtype="int64")
    y, _ = GRU(3, 4, **F64, rng=1)(Embedding(7, 3, **F64, rng=0)(ids[:-1]))
    model, given_ids = Model(ids, y), np.random.default_rng(0).integers(0, 7, (T, B))
    wanted, _ = GRU(3, 4, **F64, rng=1)(Embedding(7, 3, **F64, rng=0)(given_ids[:-1]))
    np.testing.assert_allclose(model(given_ids), wanted, rtol=1e-12)
    np.testing.assert_allclose(model(given_ids, lengths=[5, 3, 2])[:1, 2], wanted[:1, 2], rtol=1e-12)
    for dtype in ("int8", "uint8"):  # unsigned ids have no -1 for the padding
        np.testing.assert_array_equal(model(given_ids.astype(dtype), lengths=[5, 3, 2]), model(given_ids, lengths=[5, 3, 2]))
