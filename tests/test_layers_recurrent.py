"""Recurrent layers and cells in what torch lacks: prepared weights, ids, further options. Gradients by differences."""

import numpy as np
import pytest
from differences import central_differences, directional_difference, flat, make, normal, parameter_differences
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn import backends
from fastrnn.layers import GRU, LSTM, RNN, Dropout, GRUCell, Linear, LSTMCell, RNNCell

RECURRENT = [
    (RNN, {}),
    (GRU, {}),
    (GRU, {"reset_after": False}),
    (GRU, {"reset_gate": False}),
    (LSTM, {}),
    (LSTM, {"peephole": True}),
    (LSTM, {"peephole": True, "proj_size": 2}),
]
EVERY_LAYER = pytest.mark.parametrize(("kind", "options"), RECURRENT, ids=lambda value: getattr(value, "__name__", None))


@EVERY_LAYER
def test_prepared_weights_follow_every_change(kind, options):
    layer, x = make(kind, **options), normal(5, 2, 3)
    first = layer.stack.prepared(None).content
    assert layer.stack.prepared(None).content is first
    layer(x)
    for parameter in layer.parameters():
        values = normal(*parameter.shape, seed=7)
        before = layer(x)[0]
        parameter.assign(values)
        after = layer(x)[0]
        assert not np.allclose(before, after), parameter.name
    fresh = make(kind, **options, seed=5)
    fresh.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(fresh(x)[0], layer(x)[0])
    assert layer.stack.prepared(None).content is not first


def test_prepared_weights_follow_the_backend_and_a_replaced_parameter():
    layer, x = make(LSTM), normal(5, 2, 3)
    expected = layer(x)[0]
    with backends.use_backend("reference"):
        np.testing.assert_allclose(layer(x)[0], expected, atol=1e-12)
        assert layer.plan(5, 2)[0].backend == "reference"
    other = make(LSTM, seed=3)
    for name, parameter in other.named_parameters():
        setattr(layer, name, parameter)
    np.testing.assert_array_equal(layer(x)[0], other(x)[0])


@EVERY_LAYER
def test_a_call_like_an_earlier_one_is_checked_as_the_first(kind, options):
    """A repeated size skips the checks. Arrays that differ in any respect from the earlier ones must be checked."""
    layer, x = make(kind, **options), normal(5, 2, 3)
    y, state = layer(x)
    h, c = state if kind is LSTM else (state, None)
    state_of = (lambda h, c=c: (h, c)) if kind is LSTM else lambda h: h
    expected = layer(x, state)[0]
    given = [
        (x[:, ::-1][:, ::-1].copy()[:, :, ::-1][:, :, ::-1], state),
        (x, state_of(np.asfortranarray(h))),
        (x, list(state) if kind is LSTM else h),
        (np.repeat(x, 2, axis=1)[:, ::2], state_of(np.repeat(h, 2, axis=2)[..., ::2])),
    ]
    for arrays in given:
        np.testing.assert_array_equal(layer(*arrays)[0], expected)
    np.testing.assert_array_equal(layer(x, state, [5, 5])[0], expected)
    np.testing.assert_array_equal(layer(x)[0], y)
    ids = np.array([[0, 1, 2], [2, 1, 0]])
    assert layer(ids)[0].shape == (2, 3, y.shape[2])
    unbatched = ids.astype(x.dtype)  # [T, I], with the shape of the ids
    np.testing.assert_array_equal(layer(unbatched)[0], make(kind, **options)(unbatched)[0])
    bad = [
        (x.astype("float32"), state),
        (x, state_of(h.astype("float32"))),
        (x, state_of(h[:, :1])),
        (x, state_of(h[..., :-1])),
        (x, (h, c, c)),
        (x, "h"),
    ]
    if kind is LSTM:
        bad += [(x, (h, c.astype("float32"))), (x, (h, c[:, :1])), (x, h)]
    for arrays in bad:
        errors = []
        for each in (layer, make(kind, **options)):
            with pytest.raises((TypeError, ValueError)) as error:
                each(*arrays)
            errors.append((type(error.value), str(error.value)))
        assert errors[0] == errors[1], arrays


@EVERY_LAYER
def test_gradients_with_dropout_and_lengths_are_finite_differences(kind, options):
    layer = make(kind, L=2, dropout=0.4, bidirectional=True, **options)
    x, lengths = normal(4, 3, 3), [2, 4, 1]
    y, state = layer(x, None, lengths)
    state = tuple(0.3 * normal(*array.shape, seed=2) for array in flat(state))
    state = state if kind is LSTM else state[0]
    dy, dstate = normal(*y.shape), tuple(normal(*array.shape) for array in flat(state))

    def loss():
        layer.set_rng(np.random.default_rng(3))
        (y, final), _ = layer.forward(x, state, lengths)
        return np.sum(y * dy) + sum(np.sum(a * d) for a, d in zip(flat(final), dstate, strict=True))

    layer.set_rng(np.random.default_rng(3))
    _, backward = layer.forward(x, state, lengths)
    dx, dstate0 = backward(dy, dstate if kind is LSTM else dstate[0])
    np.testing.assert_allclose(dx, central_differences(loss, x), atol=1e-7)
    for got, array in zip(flat(dstate0), flat(state), strict=True):
        np.testing.assert_allclose(got, central_differences(loss, array), atol=1e-7)
    for parameter in layer.parameters():
        direction = normal(*parameter.data.shape, seed=4)
        along = directional_difference(loss, parameter, direction)
        np.testing.assert_allclose(np.sum(parameter.grad * direction), along, atol=1e-7)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_all_cell_states_and_their_gradient(bidirectional, batch_first):
    layer = make(LSTM, L=2, bidirectional=bidirectional, batch_first=batch_first, proj_size=3)
    x, lengths = normal(3, 4, 3), [4, 2, 3] if batch_first else [2, 3, 1, 3]
    (_, (_, c_n), c), backward = layer.forward(x, None, lengths, return_cell_states=True)
    assert c.shape == (3, 4, 8 if bidirectional else 4)
    by_sequence = c if batch_first else c.swapaxes(0, 1)
    for b, length in enumerate(lengths):
        np.testing.assert_array_equal(by_sequence[b, length - 1, :4], c_n[-2 if bidirectional else -1, b])
        np.testing.assert_array_equal(by_sequence[b, length:], 0)
        if bidirectional:
            np.testing.assert_array_equal(by_sequence[b, 0, 4:], c_n[-1, b])
    dc = normal(*c.shape)
    dx, _ = backward(None, None, dc)
    wanted = central_differences(lambda: np.sum(layer(x, None, lengths, return_cell_states=True)[2] * dc), x)
    np.testing.assert_allclose(dx, wanted, atol=1e-8)


@pytest.mark.parametrize("batch_first", [False, True])
@EVERY_LAYER
def test_ids_are_one_hot_vectors(kind, options, batch_first):
    ids = np.random.default_rng(2).integers(-1, 5, (6, 3))
    vectors = np.vstack([np.eye(5), np.zeros(5)])[ids]
    layers = [make(kind, I=5, L=2, bidirectional=True, batch_first=batch_first, **options) for _ in range(2)]
    (y, state), backward = layers[0].forward(ids)
    (y_dense, state_dense), backward_dense = layers[1].forward(vectors)
    np.testing.assert_allclose(y, y_dense, atol=1e-12)
    np.testing.assert_allclose(layers[0](ids[:, 0])[0], layers[1](vectors[:, 0])[0], atol=1e-12)
    for got, wanted in zip(flat(state), flat(state_dense), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-12)
    dy = normal(*y.shape)
    assert backward(dy)[0] is None
    backward_dense(dy)
    for got, wanted in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
        np.testing.assert_allclose(got.grad, wanted.grad, atol=1e-12)


@settings(max_examples=30)
@given(data=st.data())
def test_streaming_unbatched_and_batch_first_are_the_same_numbers(data):
    kind, options = data.draw(st.sampled_from(RECURRENT))
    T, B, L = (data.draw(st.integers(1, 6), letter) for letter in "TBL")
    layer = make(kind, L=L, **options)
    x, cut = normal(T, B, 3), data.draw(st.integers(0, T), "cut")
    y, final = layer(x)
    state, parts = None, []
    for part in (x[:cut], x[cut:]):
        if len(part):
            out, state = layer(part, state)
            parts.append(out)
    np.testing.assert_allclose(np.concatenate(parts), y, atol=1e-13)
    alone, final_alone = layer(x[:, 0])
    np.testing.assert_allclose(alone, y[:, 0], atol=1e-13)
    swapped = make(kind, L=L, batch_first=True, **options)
    y_swapped, final_swapped = swapped(x.swapaxes(0, 1))
    np.testing.assert_allclose(y_swapped.swapaxes(0, 1), y, atol=1e-13)
    for whole, *others in zip(*map(flat, (final, state, final_swapped, final_alone)), strict=True):
        for got, wanted in zip(others, (whole, whole, whole[:, 0]), strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-13)


def test_a_layer_used_twice_adds_both_gradients():
    layer, x = make(GRU, I=4), normal(3, 2, 4)
    (y1, _), backward1 = layer.forward(x)
    (y2, _), backward2 = layer.forward(y1)
    dy = normal(*y2.shape)
    dx, _ = backward1(backward2(dy)[0])

    def loss():
        return np.sum(layer(layer(x)[0])[0] * dy)

    np.testing.assert_allclose(dx, central_differences(loss, x), atol=1e-8)
    for parameter in layer.parameters():
        np.testing.assert_allclose(parameter.grad, parameter_differences(loss, parameter), atol=1e-8)


def test_backward_runs_once():
    (y, _), backward = make(LSTM, L=2).forward(normal(2, 2, 3))
    backward(y)
    with pytest.raises(RuntimeError, match="run forward again"):
        backward(y)


def test_backward_after_an_update_is_refused():
    for layer, x in [(make(LSTM), normal(2, 2, 3)), (Linear(3, 2, dtype="float64"), normal(2, 3))]:
        output, backward = layer.forward(x)
        parameter = layer.parameters()[0]
        parameter.assign(parameter.data * 2)
        y = output[0] if isinstance(output, tuple) else output
        with pytest.raises(RuntimeError, match=rf"{parameter.name} has changed since the forward pass"):
            backward(np.ones_like(y))


@pytest.mark.parametrize("kind", [GRUCell, LSTMCell, RNNCell])
def test_cells_take_ids_and_step_as_the_layer_does(kind):
    layer_kind = {GRUCell: GRU, LSTMCell: LSTM, RNNCell: RNN}[kind]
    options = {GRUCell: {"reset_after": False}, LSTMCell: {"peephole": True}, RNNCell: {"nonlinearity": "relu"}}[kind]
    cell, layer = kind(5, 4, dtype="float64", **options), make(layer_kind, I=5, **options)
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    ids = np.random.default_rng(2).integers(-1, 5, (6, 3))
    y, _ = layer(ids)
    state, alone = None, None
    for t in range(6):
        state, alone = cell(ids[t], state), cell(ids[t, 0], alone)
        np.testing.assert_allclose(flat(state)[0], y[t], atol=1e-13)
        np.testing.assert_allclose(flat(alone)[0], y[t, 0], atol=1e-13)
    state, backward = cell.forward(ids[0])
    assert backward(tuple(map(np.ones_like, state)) if kind is LSTMCell else np.ones_like(state))[0] is None


def test_cell_gradients_are_finite_differences():
    cell = LSTMCell(3, 4, peephole=True, dtype="float64", rng=0)
    x, state = normal(2, 3), (normal(2, 4, seed=2), normal(2, 4, seed=3))
    dstate = (None, normal(2, 4, seed=4))
    _, backward = cell.forward(x, state)
    dx, (dh, dc) = backward(dstate)

    def loss():
        return np.sum(cell(x, state)[1] * dstate[1])

    for got, array in [(dx, x), (dh, state[0]), (dc, state[1])]:
        np.testing.assert_allclose(got, central_differences(loss, array), atol=1e-8)
    for parameter in cell.parameters():
        np.testing.assert_allclose(parameter.grad, parameter_differences(loss, parameter), atol=1e-8)


@EVERY_LAYER
def test_initial_values(kind, options):
    layer = kind(30, 100, 2, bidirectional=True, rng=0, **options)
    for parameter in layer.parameters():
        low, high = parameter.data.min(), parameter.data.max()
        assert -0.1 <= low < -0.09 < 0.09 < high < 0.1, parameter.name
        assert abs(parameter.data.mean()) < 0.02
    wide = kind(30, 100, 2, bidirectional=True, rng=0, dtype="float64", **options)
    for parameter, same in zip(layer.parameters(), wide.parameters(), strict=True):
        np.testing.assert_array_equal(parameter.data, same.data.astype(np.float32))


def test_forget_bias():
    plain, biased = LSTM(3, 4, 2, bidirectional=True, rng=0), LSTM(3, 4, 2, bidirectional=True, rng=0, forget_bias=1.5)
    for name, parameter in biased.named_parameters():
        wanted = plain.state_dict()[name]
        if name.startswith("bias"):
            wanted[4:8] = 1.5 if name.startswith("bias_ih") else 0
        np.testing.assert_array_equal(parameter.data, wanted)
    cell = LSTMCell(3, 4, forget_bias=2)
    np.testing.assert_array_equal(cell.bias_ih.data[4:8] + cell.bias_hh.data[4:8], np.full(4, 2))


def test_plan_says_what_runs_for_every_layer_and_direction():
    layer = LSTM(3, 4, 2, bidirectional=True, backend="reference")
    plans = layer.plan(7, 5)
    assert len(plans) == 4
    assert {plan.backend for plan in plans} == {"reference"}
    assert LSTM(3, 4).plan(7, 5)[0].backend == backends.current().name


def test_dropout_of_one_layer_warns_as_torch_does():
    with pytest.warns(UserWarning, match="with num_layers=1 it does nothing"):
        GRU(3, 4, dropout=0.5)


def test_options_that_made_a_layer_cannot_change():
    layer, x = GRU(3, 4, 2, rng=0), np.ones((5, 2, 3), np.float32)
    wanted, config = layer(x)[0], layer.config()
    others = {"batch_first": True, "bidirectional": True, "merge": "sum", "num_layers": 1, "hidden_size": 5, "bias": False}
    others |= {"dtype": "float64", "precision": "medium", "reset_after": False, "compression": "int8"}
    for name, value in others.items():
        with pytest.raises(AttributeError, match=f"^{name} is .* and cannot become {value!r}: make a new layer"):
            setattr(layer, name, value)
        setattr(layer, name, getattr(layer, name))
    assert layer.config() == config
    np.testing.assert_array_equal(layer(x)[0], wanted)


def test_dropout_may_change_within_its_range():
    layer = GRU(3, 4, 2, rng=0)
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\], got 7"):
        layer.dropout = 7
    assert layer.dropout == 0
    layer.dropout = np.float32(0.5)
    assert type(layer.config()["dropout"]) is float
    small = Dropout(0.5)
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\], got 7"):
        small.p = 7
    assert small.p == 0.5
