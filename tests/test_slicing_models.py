"""Models with slices: values, gradients, padding, files, streams, and both layouts of a Sequential."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transposes import F64, B, D, T, X

import fastrnn
from fastrnn import GRU, Add, Concat, Embedding, Examples, Input, Last, Linear, Model, Reshape, Sequential, Slice, Stack


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
        import fastrnn.torch

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


def test_embedded_ids_are_sliced():
    ids = Input(("T", "B"), dtype="int64")
    y, _ = GRU(3, 4, **F64, rng=1)(Embedding(7, 3, **F64, rng=0)(ids[:-1]))
    model, given_ids = Model(ids, y), np.random.default_rng(0).integers(0, 7, (T, B))
    wanted, _ = GRU(3, 4, **F64, rng=1)(Embedding(7, 3, **F64, rng=0)(given_ids[:-1]))
    np.testing.assert_allclose(model(given_ids), wanted, rtol=1e-12)
    np.testing.assert_allclose(model(given_ids, lengths=[5, 3, 2])[:1, 2], wanted[:1, 2], rtol=1e-12)
    for dtype in ("int8", "uint8"):  # unsigned ids have no -1 for the padding
        np.testing.assert_array_equal(model(given_ids.astype(dtype), lengths=[5, 3, 2]), model(given_ids, lengths=[5, 3, 2]))
