"""One cell as a differentiable JAX function, which calls the kernels on the host.

``jax.custom_vjp`` is outside: forward for a gradient also returns the tape, as bytes. Inside, ``custom_vmap`` folds a mapped
axis into the batch in inference. For a gradient it runs one example after another, because each example has its own tape and
its own gradients of the weights.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from ..backends.structs import BATCH_MAJOR, StackSpec
from . import _host

MOST_CALLS = 256  # functions that are kept, so that JAX finds what it has compiled for them


class Call(NamedTuple):
    """Settings that are fixed when a call is traced: the stack of one part, and the order of the rows of x."""

    stack: StackSpec
    rows: str

    def batch_axis(self) -> int:
        """Return the axis of B in x and y."""
        return 0 if self.rows == BATCH_MAJOR else 1


class _OnHost(NamedTuple):
    """A function of the host for one call; equal ones compare equal, so JAX finds what it has compiled for them."""

    function: Any
    call: Call

    def __call__(self, *arrays: Any) -> Any:
        return self.function(self.call.stack, self.call.rows, *arrays)


def _run(call: Call, x: Any, states: Any, lengths: Any, weights: Any) -> Any:
    return _inference(call)(x, states, lengths, weights)


def _run_forward(call: Call, x: Any, states: Any, lengths: Any, weights: Any) -> Any:
    *outputs, tape = _training(call)(x, states, lengths, weights)
    return tuple(outputs), (x, states, lengths, weights, tape)


def _run_backward(call: Call, saved: Any, gradients: Any) -> Any:
    dx, dstates, dweights = _backward(call)(*saved, gradients)
    return dx, dstates, None, dweights  # None: integers have no gradient


run = jax.custom_vjp(_run, nondiff_argnums=(0,))
run.defvjp(_run_forward, _run_backward)


@lru_cache(MOST_CALLS)
def _inference(call: Call) -> Any:
    """Return ``x, states, lengths, weights -> y, h_n[, c_n]``."""
    function = custom_vmap(lambda *args: _callback(_host.infer, call, _outputs(call, args[0]), *args))

    def fold(axis_size: int, batched: Any, x: Any, states: Any, lengths: Any, weights: Any) -> Any:
        if any(jax.tree.leaves(batched[3])):  # each example has weights of its own
            return _one_by_one(function, batched, (x, states, lengths, weights))
        axis = call.batch_axis()
        x = _folded(x, batched[0], axis_size, axis)
        states = tuple(_folded(s, b, axis_size, 0) for s, b in zip(states, batched[1], strict=True))
        lengths = None if lengths is None else _folded(lengths, batched[2], axis_size, 0)
        y, *last = function(x, states, lengths, weights)
        found = _unfolded(y, axis_size, axis), *(_unfolded(s, axis_size, 0) for s in last)
        return found, (True,) * len(found)

    function.def_vmap(fold)
    return function


@lru_cache(MOST_CALLS)
def _training(call: Call) -> Any:
    """Return ``x, states, lengths, weights -> y, h_n[, c_n], tape``."""

    def forward(x: Any, *others: Any) -> Any:
        outputs = *_outputs(call, x), jax.ShapeDtypeStruct((_host.tape_size(call.stack, call.rows, x.shape),), jnp.uint8)
        return _callback(_host.train, call, outputs, x, *others)

    return _mapped_one_by_one(forward)


@lru_cache(MOST_CALLS)
def _backward(call: Call) -> Any:
    """Return ``x, states, lengths, weights, tape, gradients -> dx, dstates, dweights``."""

    def backward(x: Any, states: Any, lengths: Any, weights: Any, tape: Any, gradients: Any) -> Any:
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (x, states, weights))
        return _callback(_host.backward, call, shapes, x, states, lengths, weights, tape, gradients)

    return _mapped_one_by_one(backward)


def _outputs(call: Call, x: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    cell, B = call.stack.cell, x.shape[call.batch_axis()]
    state = jax.ShapeDtypeStruct((B, cell.hidden_size), x.dtype)
    return jax.ShapeDtypeStruct((*x.shape[:2], cell.hidden_size), x.dtype), *[state] * (2 if cell.cell == "lstm" else 1)


def _callback(function: Any, call: Call, outputs: Any, *args: Any) -> Any:
    return jax.pure_callback(_OnHost(function, call), outputs, *args)


def _mapped_one_by_one(function: Any) -> Any:
    mapped = custom_vmap(function)
    mapped.def_vmap(lambda axis_size, batched, *args: _one_by_one(mapped, batched, args))
    return mapped


def _one_by_one(function: Any, batched: Any, args: tuple[Any, ...]) -> Any:
    """Run one example after another; all outputs are batched."""
    leaves, tree = jax.tree.flatten(args)
    flags = jax.tree.leaves(batched)
    varying = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]

    def one(parts: list[Any]) -> Any:
        rest = iter(parts)
        return function(*tree.unflatten([next(rest) if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]))

    found = jax.lax.map(one, varying)
    return found, jax.tree.map(lambda _: True, found)


def _folded(array: Any, is_batched: bool, N: int, axis: int) -> Any:
    """Return an array whose leading axis N, or N copies of it, is folded into its axis B."""
    if not is_batched:
        array = jnp.broadcast_to(array, (N, *array.shape))
    array = jnp.moveaxis(array, 0, axis)
    return array.reshape(*array.shape[:axis], N * array.shape[axis + 1], *array.shape[axis + 2 :])


def _unfolded(array: Any, N: int, axis: int) -> Any:
    array = array.reshape(*array.shape[:axis], N, array.shape[axis] // N, *array.shape[axis + 1 :])
    return jnp.moveaxis(array, axis, 0)
