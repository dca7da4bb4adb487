"""Orders of the rows of a stack's sequences: batch-major and packed calls give the bits of time-major calls."""

import numpy as np
import pytest
from tables import each_row

from fastrnn import functional
from fastrnn.backends.structs import CellSpec, StackSpec, Weights

T, I, H, L = 7, 3, 5, 2  # noqa: E741 - the field's letters
LENGTHS = [7, 7, 5, 2, 1]
CELLS = {"rnn": {"nonlinearity": "relu"}, "gru": {"reset_after": False}, "lstm": {"peephole": True, "proj_size": 3}}


def _stack(cell, directions, reverse=False):
    return StackSpec(CellSpec(cell, I, H, "float64", **CELLS[cell]), L, directions, reverse)


def _problem(stack, B, seed=0):
    """Return random weights, x, h0, c0 and gradients of all outputs, time-major."""
    rng, cell, D = np.random.default_rng(seed), stack.cell, stack.directions
    weights = [
        Weights(**{name: 0.5 * rng.standard_normal(shape) for name, shape in stack.layer(i // D).shapes().items()})
        for i in range(stack.parts)
    ]
    states = [(stack.parts, B, cell.output_size), (stack.parts, B, cell.hidden_size)]
    states = states if cell.cell == "lstm" else states[:1]
    h0 = [rng.standard_normal(shape) for shape in states]
    dstates = [rng.standard_normal(shape) for shape in states]
    dy, dc = rng.standard_normal((T, B, D * cell.output_size)), rng.standard_normal((T, B, D * H))
    return weights, rng.standard_normal((T, B, I)), h0, dy, dstates, dc if cell.cell == "lstm" else None


def _run(stack, weights, x, states, dy, dstates, dc, **options):
    out = functional.stack_forward(stack, weights, x, *states, cell_states=dc is not None, **options)
    grads = functional.stack_backward(out.tape, dy, *dstates, *([None] * (2 - len(dstates))), dc)
    inference = functional.stack_forward(stack, weights, x, *states, keep_tape=False, **options)
    np.testing.assert_array_equal(inference.y, out.y)
    return out, grads


def _assert_same(ours, theirs, convert):
    """Compare two results of ``_run``; ``convert`` brings a time-major sequence to the first one's order of rows."""
    for (got, wanted), sequences in zip(zip(ours, theirs, strict=True), (("y", "c"), ("dx",)), strict=True):
        for name in set(got._fields) - {"tape", "weights"}:
            a, b = getattr(got, name), getattr(wanted, name)
            if b is not None:
                np.testing.assert_array_equal(a, convert(b) if name in sequences else b, err_msg=name)
    for part, (own, other) in enumerate(zip(ours[1].weights, theirs[1].weights, strict=True)):
        for (name, a), (_, b) in zip(own.items(), other.items(), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"{name} of part {part}")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("lengths", [None, [2, 7, 0, 5]])
@each_row("cell", list(CELLS))
def test_batch_major_is_time_major_transposed(engine, cell, lengths, directions, reverse):
    stack = _stack(cell, directions, reverse)
    weights, x, states, dy, dstates, dc = _problem(stack, 4)
    options = {"lengths": lengths, "backend": engine}
    wanted = _run(stack, weights, x, states, dy, dstates, dc, **options)
    swap = [None if a is None else a.swapaxes(0, 1) for a in (x, dy, dc)]
    got = _run(stack, weights, swap[0], states, swap[1], dstates, swap[2], batch_first=True, **options)
    _assert_same(got, wanted, lambda a: a.swapaxes(0, 1))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("reverse", [False, True])
@each_row("cell", list(CELLS))
def test_packed_rows_are_the_rows_within_the_lengths(engine, set_threads, cell, reverse, directions, threads):
    stack = _stack(cell, directions, reverse)
    weights, x, states, dy, dstates, dc = _problem(stack, len(LENGTHS), 1)
    within = np.arange(T)[:, None] < LENGTHS
    packed = [None if a is None else a[within] for a in (x, dy, dc)]
    set_threads(threads)
    wanted = _run(stack, weights, x, states, dy, dstates, dc, lengths=LENGTHS, backend=engine)
    options = {"batch_sizes": within.sum(1), "backend": engine}
    got = _run(stack, weights, packed[0], states, packed[1], dstates, packed[2], **options)
    _assert_same(got, wanted, lambda a: a[within])


def test_ids_are_packed_as_vectors_are(engine):
    stack = _stack("gru", 2)
    weights = _problem(stack, 3)[0]
    ids, sizes = np.array([0, 2, -1, 1, 1, 0]), [3, 2, 1]
    one_hot = np.vstack([np.eye(I), np.zeros(I)])[ids]
    got = functional.stack_forward(stack, weights, ids, batch_sizes=sizes, backend=engine)
    wanted = functional.stack_forward(stack, weights, one_hot, batch_sizes=sizes, backend=engine)
    np.testing.assert_allclose(got.y, wanted.y, rtol=0, atol=1e-14)
    grads = [functional.stack_backward(out.tape, wanted.y) for out in (got, wanted)]
    assert grads[0].dx is None
    np.testing.assert_allclose(grads[0].weights[1].W, grads[1].weights[1].W, rtol=0, atol=1e-13)


def test_errors_name_the_argument():
    stack = _stack("gru", 1)
    weights, x, *_ = _problem(stack, 4)
    packed = np.zeros((6, I))
    for error, words, call in [
        (ValueError, r"batch_sizes must add up to the N = 6 rows of x, got 5", {"x": packed, "batch_sizes": [3, 2]}),
        (ValueError, r"batch_sizes must not increase and must be at least 1, got", {"x": packed, "batch_sizes": [2, 4]}),
        (ValueError, r"at least 1, got \[6, 0\]", {"x": packed, "batch_sizes": [6, 0]}),
        (TypeError, r"batch_sizes must hold integers", {"x": packed, "batch_sizes": [3.0, 3.0]}),
        (ValueError, r"batch_sizes must have shape \[T\]", {"x": packed, "batch_sizes": [[6]]}),
        (ValueError, r"x must be a float64 array of shape \[N, I=3\]", {"x": x, "batch_sizes": [4] * 7}),
        (ValueError, r"lengths must be left out", {"x": packed, "batch_sizes": [6], "lengths": [1] * 6}),
        (ValueError, r"batch_first must be left out", {"x": packed, "batch_sizes": [6], "batch_first": True}),
        (TypeError, r"batch_first must be", {"x": x, "batch_first": 2}),
        (ValueError, r"x must be a float64 array of shape \[B, T, I=3\]", {"x": packed, "batch_first": True}),
        (ValueError, r"h0 must be .*\(2, 3, 5\)", {"x": packed, "batch_sizes": [3, 3], "h0": np.zeros((2, 2, H))}),
    ]:
        with pytest.raises(error, match=words):
            functional.stack_forward(stack, weights, **call)
    out = functional.stack_forward(stack, weights, packed, batch_sizes=[3, 3])
    with pytest.raises(ValueError, match=r"dy must be a float64 array of shape \[N, Y\]"):
        functional.stack_backward(out.tape, np.zeros((2, 3, H)))
