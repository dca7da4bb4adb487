"""Inputs and outputs of a backend; they mirror the structures of ``csrc/api.h``.

Letters, as in the whole package: ``T`` time steps, ``B`` batch, ``L`` layers, ``D`` directions, ``I`` input size, ``H``
hidden size, ``P`` projection size, ``G`` gates, and ``Y`` the size of one direction's output (``P`` with a projection, else
``H``). A *part* is one layer in one direction; part ``l*D + d`` is layer l in direction d. Arrays are C-contiguous and have
the stack's dtype and the shapes stated here, because the callers, such as :mod:`fastrnn.functional`, have validated them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from .._core.arrays import Array

CELLS = ("rnn", "gru", "lstm")
# Orders of the rows of x, y, c and their gradients: [T,B,...], [B,T,...], or [N,...] as in torch's PackedSequence.
TIME_MAJOR, BATCH_MAJOR, PACKED = ROWS = ("time_major", "batch_major", "packed")


@dataclass(frozen=True, slots=True)
class CellSpec:
    """Specification of one part, with every option of every cell.

    ``nonlinearity`` applies to RNN, ``reset_after`` and ``reset_gate`` to GRU, ``peephole`` and ``proj_size`` to LSTM.
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
        """Number G of gates in the rows of W and R, in torch's order: i f g o (LSTM); r z n or z n (GRU); h (RNN)."""
        if self.cell == "lstm":
            return 4
        if self.cell == "gru":
            return 3 if self.reset_gate else 2
        return 1

    @property
    def output_size(self) -> int:
        """Size Y of one row of y and of h."""
        return self.proj_size or self.hidden_size

    def shapes(self, bias: bool = True) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter of this cell, by its name in :class:`Weights`."""
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
    """Specification of stacked layers of one cell, each in one or two directions.

    ``cell`` specifies the first layer, with input size I; each other layer reads the ``D*Y`` outputs of the layer below.
    ``reverse`` exchanges the directions: the first one runs each sequence from its last step to its first. ``weights`` is
    the form of W, R and the projection for backends that take compressed weights: ``"full"``, ``"bfloat16"``, ``"int8"``.
    ``precision`` is the wanted precision of products, ``"highest"``, ``"high"`` or ``"medium"``; None follows the setting.
    """

    cell: CellSpec
    layers: int = 1
    directions: int = 1
    reverse: bool = False
    weights: str = "full"
    precision: str | None = None

    def layer(self, index: int) -> CellSpec:
        """Return the spec of the parts of one layer."""
        if index == 0:
            return self.cell
        return replace(self.cell, input_size=self.directions * self.cell.output_size)

    @property
    def parts(self) -> int:
        """Number L*D of parts."""
        return self.layers * self.directions


@dataclass(slots=True)
class Weights:
    """Weight arrays of one part, in torch's layouts; None for an array that the cell does not have.

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
        """Return (name, array) for each array that is not None."""
        pairs = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return [(name, array) for name, array in pairs if array is not None]

    def zeros_like(self) -> Weights:
        """Return fresh zero gradients for these weights."""
        return Weights(**{name: np.zeros_like(array) for name, array in self.items()})


@dataclass(slots=True)
class CompressedWeights(Weights):
    """Weights of a part whose stack is compressed (``weights`` of :class:`StackSpec`), for backends that take them.

    W, R and projection hold bits of bfloat16 (uint16), or int8 with a scale for each of their rows, such as
    ``R_scales [G*H]``.
    """

    W_scales: Array | None = None
    R_scales: Array | None = None
    projection_scales: Array | None = None


class Inputs(NamedTuple):
    """Inputs of a forward pass.

    ``x [T,B,I]``, or int64 token ids ``[T,B]`` in -1..I-1: id k stands for the one-hot vector e_k, -1 for the zero vector.
    ``h0 [L*D,B,Y]`` and ``c0 [L*D,B,H]`` (LSTM only); None is zeros. ``lengths`` int64 ``[B]``, each 0..T, in any order;
    None means all T. Steps of x past a sequence's length never affect a result.

    ``rows`` is the order of the rows of x, y, c and their gradients, whose shapes are written for ``TIME_MAJOR``. With
    ``PACKED`` they are ``[N,...]``: step after step, and in each step only the sequences that have it. Then ``lengths`` is
    required and does not increase; N is its sum.
    """

    x: Array
    h0: Array | None = None
    c0: Array | None = None
    lengths: Array | None = None
    rows: str = TIME_MAJOR

    @property
    def ids(self) -> bool:
        """True if x holds token ids instead of vectors."""
        return self.x.ndim == (1 if self.rows == PACKED else 2)


@dataclass(slots=True)
class Outputs:
    """Outputs of a forward pass. All arrays are new and belong to the caller.

    ``y [T,B,D*Y]`` is the output of the last layer, forward before reverse in every row. ``h_n [L*D,B,Y]`` and
    ``c_n [L*D,B,H]`` (LSTM only) are the final states. ``c [T,B,D*H]`` holds all cell states of the last layer, or None
    without ``cell_states``. y and c are zero past a sequence's length. ``tape`` is the data that ``backward`` of the same
    backend needs, or None for inference.
    """

    y: Array
    h_n: Array
    c_n: Array | None = None
    c: Array | None = None
    tape: Any = None


class OutputGradients(NamedTuple):
    """Gradients of the loss with respect to the arrays of :class:`Outputs`, in the same shapes; None is zero.

    Steps of dy and dc past a sequence's length are ignored.
    """

    dy: Array | None = None
    dh_n: Array | None = None
    dc_n: Array | None = None
    dc: Array | None = None


class Gradients(NamedTuple):
    """Gradients of the loss with respect to the arrays of :class:`Inputs`, as new arrays of the same shapes.

    ``dx`` is zero past the lengths, and None for token ids or with ``need_dx=False``. ``dc0`` is None except for LSTM.
    """

    dx: Array | None
    dh0: Array
    dc0: Array | None


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """Language model for :meth:`Backend.train_step`: a stack in one direction that takes ids, then a linear layer.

    ``weights`` and ``gradients`` hold one item for each part; ``weight [V,Y]`` and ``bias [V]`` are the linear layer's,
    ``dweight`` and ``dbias`` their gradients.
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
    """Plan for running one part: one line of ``layer.plan(T, B)``.

    ``split`` names the axis over which the threads divide one time step: ``"none"``, ``"batch"`` or ``"hidden"``.
    ``at_once`` is 2 if both directions of a layer run concurrently, each with ``threads``; in inference it can also be the
    number of layers that run concurrently.

    ``precision`` is that of the products that run, also ``"highest"`` for int8 weights, whose products are of integers.
    ``reason`` says why it is not the wanted one; it is empty if it is.

    A call uses one thread instead of ``threads`` while another Python thread uses the C kernels' thread pool, and for a
    while after the pool lost time waiting on a busy machine. The result is the same to the bit.
    """

    backend: str
    isa: str
    split: str
    threads: int
    at_once: int = 1
    precision: str = "highest"
    reason: str = ""


class Rule(NamedTuple):
    """Update rule of an optimiser; ``kind`` is ``"sgd"``, ``"rmsprop"`` or ``"adam"`` and selects the numbers that are used.

    ``decoupled`` turns Adam into AdamW. The formulas are in :mod:`fastrnn.optim`.
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
    """A parameter ``w``, its gradient ``g`` and the optimiser's state arrays, all contiguous and of one shape and dtype.

    ``steps`` int64 ``[1]`` counts the updates. ``state`` is momentum_buffer or None (SGD); square_avg, momentum_buffer
    or None, grad_avg or None (RMSprop); exp_avg, exp_avg_sq (Adam).
    """

    w: Array
    g: Array
    steps: Array
    state: tuple[Array | None, ...]
