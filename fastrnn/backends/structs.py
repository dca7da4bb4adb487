"""The values that go into a backend and come out of it; they mirror the structures of ``csrc/api.h``.

Letters, as everywhere: ``T`` time steps, ``B`` batch, ``L`` layers, ``D`` directions, ``I`` input size, ``H`` hidden size,
``P`` projection size, ``G`` gates, and ``Y`` the size of one direction's output (``P`` when there is a projection, else
``H``). A *part* is one layer in one direction; part ``l*D + d`` is layer l in direction d. Arrays are C-contiguous, of the
stack's dtype and of the shapes stated here: the caller, :mod:`fastrnn.functional`, has validated them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CELLS = ("rnn", "gru", "lstm")


@dataclass(frozen=True, slots=True)
class CellSpec:
    """What one part computes; every option of every cell.

    ``nonlinearity`` is RNN's, ``reset_after`` and ``reset_gate`` are GRU's, ``peephole`` and ``proj_size`` are LSTM's.
    ``dtype`` is ``"float32"`` or ``"float64"``.
    """

    cell: str
    input_size: int
    hidden_size: int
    dtype: str = "float32"
    nonlinearity: str = "tanh"
    reset_after: bool = True
    reset_gate: bool = True
    peephole: bool = False
    proj_size: int = 0

    @property
    def gates(self) -> int:
        """G, the number of gates stacked in the rows of W and R, in torch's order: i f g o; r z n (z n); h."""
        if self.cell == "lstm":
            return 4
        if self.cell == "gru":
            return 3 if self.reset_gate else 2
        return 1

    @property
    def output_size(self) -> int:
        """Y, the size of y and of h."""
        return self.proj_size or self.hidden_size

    def shapes(self, bias: bool = True) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter that this cell has, by its name in :class:`Weights`."""
        rows = self.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"W": (rows, self.input_size), "R": (rows, self.output_size)}
        if bias:
            shapes |= {"b_ih": (rows,), "b_hh": (rows,)}
        if self.peephole:
            shapes["peephole"] = (3 * self.hidden_size,)
        if self.proj_size:
            shapes["projection"] = (self.proj_size, self.hidden_size)
        return shapes


@dataclass(frozen=True, slots=True)
class StackSpec:
    """Layers on top of each other, each in one or two directions, all of one cell.

    ``cell`` is the first layer's, with the input size I; the other layers read the ``D*Y`` outputs of the layer below.
    ``reverse`` exchanges the directions: the first one takes each sequence from its last step to its first.
    """

    cell: CellSpec
    layers: int = 1
    directions: int = 1
    reverse: bool = False

    def layer(self, index: int) -> CellSpec:
        """Return the spec of the parts of one layer."""
        if index == 0:
            return self.cell
        return replace(self.cell, input_size=self.directions * self.cell.output_size)

    @property
    def parts(self) -> int:
        """L*D."""
        return self.layers * self.directions


@dataclass(slots=True)
class Weights:
    """The arrays of one part, in torch's layouts; ``None`` for what the cell does not have.

    ``W [G*H, I]``, ``R [G*H, Y]``, ``b_ih [G*H]``, ``b_hh [G*H]`` (both biases or neither), ``peephole [3*H]`` (i f o),
    ``projection [P, H]``. The same class holds their gradients.
    """

    W: Array
    R: Array
    b_ih: Array | None = None
    b_hh: Array | None = None
    peephole: Array | None = None
    projection: Array | None = None

    def items(self) -> list[tuple[str, Array]]:
        """Return (name, array) of each array that is there."""
        pairs = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return [(name, array) for name, array in pairs if array is not None]

    def zeros_like(self) -> Weights:
        """Return fresh zero gradients for these weights."""
        return Weights(**{name: np.zeros_like(array) for name, array in self.items()})


class Inputs(NamedTuple):
    """What goes into a forward pass.

    ``x [T,B,I]``, or int64 token ids ``[T,B]`` in -1..I-1: id k stands for the one-hot vector e_k, -1 for the zero vector.
    ``h0 [L*D,B,Y]`` and ``c0 [L*D,B,H]`` (LSTM only); None is zeros. ``lengths`` int64 ``[B]``, each 0..T, in any order;
    None means all T. What lies in x past a length is never read into a result.
    """

    x: Array
    h0: Array | None = None
    c0: Array | None = None
    lengths: Array | None = None


@dataclass(slots=True)
class Outputs:
    """What a forward pass gives. All arrays are fresh and the caller's own.

    ``y [T,B,D*Y]`` of the last layer (zero past a sequence's length), forward before reverse in every row;
    ``h_n [L*D,B,Y]``; ``c_n [L*D,B,H]`` (LSTM only); ``c [T,B,D*H]`` all cell states of the last layer if asked for (zero
    past the length);
    ``tape`` whatever the same backend's ``backward`` needs, or None if not asked for.
    """

    y: Array
    h_n: Array
    c_n: Array | None = None
    c: Array | None = None
    tape: Any = None


class OutputGradients(NamedTuple):
    """Gradients of the loss with respect to the arrays of :class:`Outputs`, of their shapes; None is zero.

    What lies in dy or dc past a length is ignored.
    """

    dy: Array | None = None
    dh_n: Array | None = None
    dc_n: Array | None = None
    dc: Array | None = None


class Gradients(NamedTuple):
    """Gradients of the loss with respect to the arrays of :class:`Inputs`, of their shapes; fresh.

    ``dx`` is zero past the lengths, and None for token ids or when it was not wanted; ``dc0`` is None but for LSTM.
    """

    dx: Array | None
    dh0: Array
    dc0: Array | None


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A language model for :meth:`Backend.train_step`: a stack in one direction that takes ids, under a linear layer.

    ``weights`` and ``gradients`` of each part; ``weight [V,Y]`` and ``bias [V]`` of the linear layer, with their gradients.
    """

    stack: StackSpec
    weights: Sequence[Weights]
    gradients: Sequence[Weights]
    weight: Array
    bias: Array | None
    dweight: Array
    dbias: Array | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a part: one line of ``layer.plan(T, B)``.

    ``split`` is what the threads divide in one time step: ``"none"``, ``"batch"`` or ``"hidden"``. A call uses one thread
    instead of ``threads``, with the same bits, while another Python thread owns the C kernels' thread pool, and while
    the pool backs off on a busy machine. ``at_once`` is 2 if both directions of a layer run at once, each with
    ``threads``. In inference it is the number of layers that run at once.
    """

    backend: str
    isa: str
    split: str
    threads: int
    at_once: int = 1


class Rule(NamedTuple):
    """How an optimiser updates: ``kind`` is ``"sgd"``, ``"rmsprop"`` or ``"adam"``, which each read their own numbers.

    ``decoupled`` makes AdamW of Adam. The formulas are in :mod:`fastrnn.optim`.
    """

    kind: str
    lr: float
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    alpha: float = 0.0
    beta1: float = 0.0
    beta2: float = 0.0
    eps: float = 0.0
    decoupled: bool = False


class Slot(NamedTuple):
    """A parameter ``w`` with its gradient ``g`` and what the optimiser keeps: all contiguous and of one shape and dtype.

    ``steps`` int64 ``[1]`` counts its updates. ``state`` is momentum_buffer or None (SGD); square_avg, momentum_buffer
    or None, grad_avg or None (RMSprop); exp_avg, exp_avg_sq (Adam).
    """

    w: Array
    g: Array
    steps: Array
    state: tuple[Array | None, ...]
