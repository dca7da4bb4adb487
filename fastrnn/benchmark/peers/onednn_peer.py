"""The adapter of oneDNN, the strongest peer: called without a framework, through the shim of ``bench/onednn``."""

from __future__ import annotations

import ctypes
from functools import cached_property
from itertools import cycle
from typing import Any

import numpy as np

from ..._core.arrays import Array
from ..cases import MEDIUM
from ..problem import Problem
from .onednn_build import Build, load
from .protocol import Peer, Side, Unsupported, as_arrays, require_threads

KINDS = {"RNN": 0, "GRU": 1, "LSTM": 2}


class Layer:
    """A oneDNN primitive and its weights."""

    def __init__(self, library: Any, problem: Problem, *, training: bool = False, states: bool = False) -> None:
        case = problem.case
        self.W, self.R = (np.ascontiguousarray(_gates(problem, a).T) for a in (problem.W, problem.R))
        self.b = _bias(problem)
        sizes = (case.T, case.B, case.I, case.H)
        arrays = [_address(a) for a in (self.W, self.R, self.b)]
        options = training, states, case.variant == MEDIUM
        self.handle = library.onednn_create(KINDS[case.cell], *options, *sizes, *arrays)
        if not self.handle:
            raise Unsupported(library.onednn_message().decode())
        self._destroy = library.onednn_destroy

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._destroy(self.handle)


def _address(array: Array) -> int:
    return int(array.ctypes.data)


def _gates(problem: Problem, array: Array) -> Array:
    """Return ``[G*H, ...]`` in oneDNN's order: torch's, except z r n for GRU. The function is its own inverse."""
    if problem.case.cell != "GRU":
        return array
    r, z, n = np.split(array, 3)
    return np.concatenate((z, r, n))


def _bias(problem: Problem) -> Array:
    """Return the biases: one per gate, except that the n of a GRU has two, one for W and one for R."""
    both = _gates(problem, problem.b_ih + problem.b_hh)
    if problem.case.cell != "GRU":
        return both
    H = problem.case.H
    return np.concatenate((both[: 2 * H], problem.b_ih[2 * H :], problem.b_hh[2 * H :]))


def _stored(problem: Problem, array: Array) -> Array:
    """Return x or y as oneDNN takes it: float32, or the upper halves of its words, rounded to nearest and ties to even."""
    if problem.case.variant != MEDIUM:
        return array
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _in_float32(stored: Array) -> Array:
    return (stored.astype(np.uint32) << 16).view(np.float32) if stored.dtype == np.uint16 else stored


class OneDNN(Peer):
    """The RNN primitives of one build of oneDNN."""

    bfloat16 = True

    def __init__(self, name: str, build: Build) -> None:
        self.name = name
        self.build = build

    @cached_property
    def library(self) -> Any:
        """The loaded shim."""
        return load(self.build)

    def version(self) -> str:
        """Return the library's version."""
        numbers = (ctypes.c_int * 3)()
        self.library.onednn_version(numbers)
        return ".".join(map(str, numbers))

    def use_threads(self, n: int) -> None:
        """Set the threads of the runtime that the library was built for."""
        self.library.onednn_set_threads(n)
        require_threads(n, self.library.onednn_threads(), self.name)

    def _check(self, failed: int) -> None:
        if failed:
            raise RuntimeError(self.library.onednn_message().decode())

    def forward(self, problem: Problem) -> Side:
        """Build forward_inference, with weights reordered beforehand into the primitive's layout."""
        layer, call, x = Layer(self.library, problem), self.library.onednn_forward, _stored(problem, problem.x)
        y = np.empty_like(_stored(problem, problem.dy))
        arguments = (layer.handle, _address(x), _address(y))

        def run() -> Array:
            self._check(call(*arguments))
            return y

        return _holding(Side(run, lambda y: as_arrays(y=_in_float32(y))), layer, x)

    def training(self, problem: Problem) -> Side:
        """Build forward_training and backward with all gradients, both of which reorder the changed weights.

        Weights and their gradients are in the plain layout that needs the fewest reorders, not in torch's.
        """
        layer, call = Layer(self.library, problem, training=True), self.library.onednn_train
        x, y = (_stored(problem, a) for a in (problem.x, problem.dy))
        outputs = [np.empty_like(a) for a in (y, problem.x, layer.W, layer.R, layer.b)]
        arguments = (layer.handle, *(_address(a) for a in (x, problem.dy, *outputs)))

        def run() -> list[Array]:
            self._check(call(*arguments))
            return outputs

        def results(out: list[Array]) -> Any:
            y, dx, dW, dR, db = out
            dW, dR = (_gates(problem, np.ascontiguousarray(a.T)) for a in (dW, dR))
            named = as_arrays(y=_in_float32(y), dx=dx, dW=dW, dR=dR)
            return named if problem.case.cell == "GRU" else named | as_arrays(db_ih=db, db_hh=db)

        return _holding(Side(run, results), layer, problem, x)

    def step(self, problem: Problem) -> Side:
        """Build one step, called from Python; two pairs of buffers alternate as its state."""
        layer, call = Layer(self.library, problem, states=True), self.library.onednn_step
        H = problem.case.H
        states = [[np.zeros((problem.case.B, H), np.float32) for _ in "hc"] for _ in range(2)]
        y = np.empty((problem.case.B, H), np.float32)
        x, out = _address(problem.x), _address(y)
        (h0, c0), (h1, c1) = ([_address(a) for a in pair] for pair in states)
        ways = cycle(((layer.handle, x, h0, c0, out, h1, c1), (layer.handle, x, h1, c1, out, h0, c0)))

        def run() -> Array:
            self._check(call(*next(ways)))
            return y

        return _holding(Side(run, lambda y: as_arrays(y=y)), layer, problem, states)


def _holding(side: Side, *owners: Any) -> Side:
    """Return the side with references to the memory that its pointers use."""

    def run(_owners: Any = owners, inner: Any = side.run) -> Any:
        return inner()

    return Side(run, side.results)


PEER = OneDNN("onednn", Build(("onednn", "onednn-devel", "tbb", "tbb-devel")))
