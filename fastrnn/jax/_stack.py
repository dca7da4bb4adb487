"""One cell as a differentiable JAX function.

``jax.custom_vjp`` is outside: forward for a gradient also returns the tape, as bytes. Inside, ``custom_vmap`` folds a mapped
axis into the batch in inference. For a gradient it runs one example after another, because each example has its own tape and
its own gradients of the weights.
"""

from __future__ import annotations

from functools import lru_cache, partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero

from . import _callback, _ffi
from ._call import Call

MOST_CALLS = 256  # functions that are kept, so that JAX finds what it has compiled for them


def alike(arrays: Any) -> Any:
    """Return a tree of arrays that all vary over the mesh axes of ``shard_map`` over which any of them varies."""
    return _varying(arrays, frozenset[str]().union(*map(_axes, jax.tree.leaves(arrays))))


def _varying(arrays: Any, axes: frozenset[str]) -> Any:
    """Return arrays that vary over the mesh axes. JAX takes a foreign function's outputs to be the same on all devices."""

    def one(array: Any) -> Any:
        missing = axes - _axes(array)
        return _vary(array, tuple(missing)) if missing else array

    return jax.tree.map(one, arrays)


def _vary(array: Any, axes: tuple[str, ...]) -> Any:
    lax: Any = jax.lax
    return lax.pcast(array, axes, to="varying") if hasattr(lax, "pcast") else lax.pvary(array, axes)  # before JAX 0.9


def _axes(array: Any) -> frozenset[str]:
    """Return the mesh axes over which an array varies; none before JAX 0.6, which did not keep account of them."""
    kind: Any = jax.typeof(array) if hasattr(jax, "typeof") else None
    if hasattr(kind, "manual_axis_type"):  # since JAX 0.10
        kind = kind.manual_axis_type
    varying: frozenset[str] = getattr(kind, "varying" if hasattr(kind, "varying") else "vma", frozenset())
    return varying


def _run(call: Call, x: Any, states: Any, lengths: Any, weights: Any) -> Any:
    return _varying(_inference(call)(x, states, lengths, weights), _axes(x))


def _run_forward(call: Call, x: Any, states: Any, lengths: Any, weights: Any) -> Any:
    need_dx = () if x.perturbed else None  # a tree's structure is known when backward is traced; a value is not
    x, states, lengths, weights = jax.tree.map(lambda given: given.value, (x, states, lengths, weights))
    *outputs, tape = _varying(_training(call)(x, states, lengths, weights), _axes(x))
    return tuple(outputs), (need_dx, (x, states, lengths, weights, tape))


def _run_backward(call: Call, saved: Any, gradients: Any) -> Any:
    need_dx, saved = saved
    gradients = jax.tree.map(_instantiated, gradients, is_leaf=_is_zero)
    dx, dstates, dweights = _varying(_backward(call, need_dx is not None)(*saved, gradients), _axes(saved[0]))
    return dx, dstates, None, dweights  # None: integers have no gradient


def _is_zero(gradient: Any) -> bool:
    return isinstance(gradient, SymbolicZero)


def _instantiated(gradient: Any) -> Any:
    return jnp.zeros(gradient.shape, gradient.dtype) if _is_zero(gradient) else gradient


run = jax.custom_vjp(_run, nondiff_argnums=(0,))
run.defvjp(_run_forward, _run_backward, symbolic_zeros=True)


@lru_cache(MOST_CALLS)
def _inference(call: Call) -> Any:
    """Return ``x, states, lengths, weights -> y, h_n[, c_n]``."""
    function = custom_vmap(partial(_way(call).forward, call, False))

    def fold(axis_size: int, batched: Any, x: Any, states: Any, lengths: Any, weights: Any) -> Any:
        if any(jax.tree.leaves(batched[3])):  # each example has weights of its own
            return _one_by_one(function, batched, (x, states, lengths, weights))
        axis, B = call.batch_axis, states[0].shape[1 if batched[1][0] else 0]
        x = _folded(x, batched[0], axis_size, axis)
        states = tuple(_folded(s, b, axis_size, 0) for s, b in zip(states, batched[1], strict=True))
        lengths = None if lengths is None else _folded(lengths, batched[2], axis_size, 0)
        y, *last = function(x, states, lengths, weights)
        found = _unfolded(y, axis_size, B, axis), *(_unfolded(s, axis_size, B, 0) for s in last)
        return found, (True,) * len(found)

    function.def_vmap(fold)
    return function


@lru_cache(MOST_CALLS)
def _training(call: Call) -> Any:
    """Return ``x, states, lengths, weights -> y, h_n[, c_n], tape``."""
    return _mapped_one_by_one(partial(_way(call).forward, call, True))


@lru_cache(MOST_CALLS)
def _backward(call: Call, need_dx: bool) -> Any:
    """Return ``x, states, lengths, weights, tape, gradients -> dx, dstates, dweights``; dx is None unless ``need_dx``."""
    return _mapped_one_by_one(partial(_way(call).backward, call, need_dx))


def _way(call: Call) -> ModuleType:
    return _ffi if call.direct else _callback


def _mapped_one_by_one(function: Any) -> Any:
    mapped = custom_vmap(function)
    mapped.def_vmap(lambda axis_size, batched, *args: _one_by_one(mapped, batched, args))
    return mapped


def _one_by_one(function: Any, batched: Any, args: tuple[Any, ...]) -> Any:
    """Run one example after another; all outputs are batched."""
    leaves, structure = jax.tree.flatten(args)
    tree: Any = structure
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


def _unfolded(array: Any, N: int, B: int, axis: int) -> Any:
    array = array.reshape(*array.shape[:axis], N, B, *array.shape[axis + 1 :])
    return jnp.moveaxis(array, axis, 0)
