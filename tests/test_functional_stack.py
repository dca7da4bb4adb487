"""stack_forward and stack_backward: the values and gradients of the layers; errors that name the argument."""

from dataclasses import fields, replace

import numpy as np
import pytest

import fastrnn
from fastrnn import functional
from fastrnn.backends.structs import Weights

KINDS = {
    "rnn": (fastrnn.RNN, {"nonlinearity": "relu"}),
    "gru": (fastrnn.GRU, {"reset_after": False}),
    "lstm": (fastrnn.LSTM, {}),
    "lstm with all": (fastrnn.LSTM, {"peephole": True, "proj_size": 3}),
}
T, B, I, H, L = 6, 4, 3, 5, 2  # noqa: E741 - the field's letters


def _layer(kind, directions, dtype="float64"):
    make, options = KINDS[kind]
    return make(I, H, L, bidirectional=directions == 2, dtype=dtype, rng=0, **options)


def _values(layer):
    return [Weights(**{name: p.data for name, p in part.parameters.items()}) for part in layer.stack.parts]


def _normal(shape, seed, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def _states(layer, seed):
    parts, Y, _ = layer._state_sizes
    return _normal((parts, B, Y), seed), _normal((parts, B, H), seed + 1) if layer.cell == "lstm" else None


@pytest.mark.parametrize("lengths", [None, [6, 0, 2, 5]])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_computes_the_same_as_the_layer(engine, kind, directions, lengths):
    layer = _layer(kind, directions)
    layer.backend = engine
    x, (h0, c0), (dh, dc) = _normal((T, B, I), 1), _states(layer, 2), _states(layer, 4)
    state, dstate = (h0, dh) if c0 is None else ((h0, c0), (dh, dc))
    (y, final), backward = layer.forward(x, state, lengths)
    dx, dinitial = backward(dy := _normal(y.shape, 6), dstate)
    stack, weights = layer.stack.spec, _values(layer)
    out = functional.stack_forward(stack, weights, x, h0, c0, lengths=lengths, backend=engine)
    grads = functional.stack_backward(out.tape, dy, dh, dc)
    np.testing.assert_array_equal(out.y, y)
    np.testing.assert_array_equal(grads.dx, dx)
    given = zip((final, dinitial), ((out.h_n, out.c_n), (grads.dh0, grads.dc0)), strict=True)
    for wanted, halves in given:
        for got, half in zip(halves, wanted if c0 is not None else (wanted, None), strict=True):
            assert (got is None) == (half is None)
            np.testing.assert_array_equal(got, half) if half is not None else None
    for part, own in zip(layer.stack.parts, grads.weights, strict=True):
        for name, parameter in part.parameters.items():
            np.testing.assert_array_equal(getattr(own, name), parameter.grad, err_msg=name)
    with pytest.raises(RuntimeError, match="tape has been used"):
        functional.stack_backward(out.tape, dy)


def test_all_cell_states_and_no_tape():
    layer = _layer("lstm", 2)
    x = _normal((T, B, I), 1)
    out = functional.stack_forward(layer.stack.spec, _values(layer), x, keep_tape=False, cell_states=True)
    np.testing.assert_array_equal(out.c, layer(x, return_cell_states=True)[2])
    assert out.tape is None


@pytest.mark.parametrize("kind", ["rnn", "gru"])
def test_only_an_lstm_has_cell_states(kind):
    stack, values, x = (layer := _layer(kind, 1)).stack.spec, _values(layer), _normal((T, B, I), 1)
    c = np.zeros((T, B, H))
    with pytest.raises(ValueError, match=f"^cell_states must be False for a stack of {kind}: only an LSTM has c"):
        functional.stack_forward(stack, values, x, cell_states=True)
    tape = functional.stack_forward(stack, values, x).tape
    for name, value in (("dc_n", c[:L]), ("dc", c)):
        with pytest.raises(ValueError, match=f"^{name} must be None for a stack of {kind}: only an LSTM has c"):
            functional.stack_backward(tape, c, **{name: value})
    assert functional.stack_backward(tape, c).dx.shape == x.shape  # a refused gradient does not use the tape


def test_errors_name_the_argument():
    layer = _layer("gru", 2)
    stack, weights, x = layer.stack.spec, _values(layer), _normal((T, B, I), 1)
    bad = replace(weights[3], R=weights[3].R[:, :-1])
    zeros = np.zeros
    for error, words, call in [
        (TypeError, "stack must be a StackSpec, got CellSpec", lambda: (stack.cell, weights, x)),
        (TypeError, "weights must be a list of Weights, got", lambda: (stack, [weights], x)),
        (ValueError, "weights must hold one Weights for each of L\\*D = 4 parts, got 3", lambda: (stack, weights[:3], x)),
        (ValueError, "R must be a float64 array of shape", lambda: (stack, [*weights[:3], bad], x)),
        (ValueError, "x must be a float64 array of shape \\[T, B, I=3\\]", lambda: (stack, weights, x[:, :, :2])),
        (ValueError, "h0 must be a float64 array of shape \\[L\\*D, B, Y\\]", lambda: (stack, weights, x, zeros((2, B, H)))),
        (ValueError, "c0 must be None for a stack of gru", lambda: (stack, weights, x, None, zeros((4, B, H)))),
    ]:
        with pytest.raises(error, match=words):
            functional.stack_forward(*call())
    with pytest.raises(TypeError, match="tape must come from a forward with keep_tape=True, got None"):
        functional.stack_backward(None)
    assert {f.name for f in fields(Weights)} == {"W", "R", "b_ih", "b_hh", "peephole", "projection"}
