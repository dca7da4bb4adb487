"""What a backend is: the values that go in, the values that come out.

Letters, as everywhere: ``T`` time steps, ``B`` batch, ``I`` input size, ``H`` hidden size, ``P`` projection size,
``G`` gates, and ``Y`` the size of the output (``P`` when there is a projection, else ``H``).

A backend does one layer in one direction. Its caller, :mod:`fastrnn.functional`, has checked every argument: arrays are
C-contiguous, of the spec's dtype and of the shapes stated here. Backends do not check again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CELLS = ("rnn", "gru", "lstm")


@dataclass(frozen=True, slots=True)
class CellSpec:
    """What one layer in one direction computes; every option of every cell.

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
        """The shape of each parameter that this cell has, by its name in :class:`Params`."""
        rows = self.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"W": (rows, self.input_size), "R": (rows, self.output_size)}
        if bias:
            shapes |= {"b_ih": (rows,), "b_hh": (rows,)}
        if self.peephole:
            shapes["peephole"] = (3 * self.hidden_size,)
        if self.proj_size:
            shapes["projection"] = (self.proj_size, self.hidden_size)
        return shapes


@dataclass(slots=True)
class Params:
    """The arrays of one layer and direction, in torch's layouts; ``None`` for what the cell does not have.

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
        """(name, array) of each array that is there."""
        pairs = [(f.name, getattr(self, f.name)) for f in fields(self)]
        return [(name, array) for name, array in pairs if array is not None]

    def zeros_like(self) -> Params:
        """Fresh zero gradients for these parameters."""
        return Params(**{name: np.zeros_like(array) for name, array in self.items()})


@dataclass(slots=True)
class Forward:
    """What a forward pass gives. All arrays are fresh and the caller's own.

    ``y [T,B,Y]`` (zero past a sequence's length), ``h_n [B,Y]``, ``c_n [B,H]`` (LSTM only), ``c [T,B,H]`` all cell states
    if asked for (zero past the length), ``tape`` whatever the same backend's ``backward`` needs, or None if not asked for.
    """

    y: Array
    h_n: Array
    c_n: Array | None = None
    c: Array | None = None
    tape: Any = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a layer would run: one line of ``layer.plan(T, B)``.

    ``split`` says over what the threads divide one time step: ``"none"``, ``"batch"`` or ``"hidden"``. A call works with
    one thread instead of ``threads``, at the same result to the bit, while another Python thread has the C kernels' team,
    and for a while after the team has lost its time waiting on a busy machine. ``at_once`` is 2 where both directions of
    a layer run side by side, each with ``threads``; and the number of layers that run side by side in inference.
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


class Backend(Protocol):
    """One implementation of the three cells, forward and backward.

    A backend may offer a sampling loop of its own, ``generate(stack, request)``: see :mod:`fastrnn.sampling`;
    a language model's training step in one call: see :mod:`fastrnn.text.learning`; and layers laid out to be fed step by
    step, ``stream(stack, ids, h0, c0)``: see :mod:`fastrnn.layers.stepper`. With ``prepare_stack(layers)`` and
    ``forward_stack(stack, x, h0, c0, lengths)`` it runs prepared layers on top of each other itself, without tapes: y of the
    last one, h_n ``[L,B,Y]`` and c_n ``[L,B,H]`` of all. ``layers_at_once(stack, T, B)`` says how many at a time.

    A backend that compiles when it is first used offers ``compile_for(dtype, training, tell)``, which does so at once.

    A *prepared* layer is the backend's own form of (spec, params), such as packed weights. It may go on referring to the
    arrays in ``params`` or copy them; callers prepare again after a parameter has changed.
    """

    name: str

    def settings(self) -> Any:
        """What a prepared layer depends on beside its parameters: while it compares equal, the layer stays current."""

    def prepare(self, spec: CellSpec, params: Params) -> Any:
        """Make a layer ready to run; the parameters do not change while the result is in use."""

    def forward(
        self,
        prepared: Any,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        lengths: Array | None = None,
        *,
        reverse: bool = False,
        keep_tape: bool = False,
        cell_states: bool = False,
    ) -> Forward:
        """Run over time.

        ``x`` is ``[T,B,I]`` of the spec's dtype, or int64 ``[T,B]``, token ids in -1..I-1: id k stands for the one-hot
        vector e_k, -1 for the zero vector. ``h0 [B,Y]`` and ``c0 [B,H]`` (LSTM only); None is zeros. ``lengths`` int64
        ``[B]``, each 0..T, any order; None means all T. ``reverse`` runs each sequence from its own last step to its
        first; y stays in the order of x, and h_n is the state after x[0]. What lies in x past a length is never read
        into a result. The final state of a sequence of length 0 is its initial one. T is at least 1, B may be 0.
        """

    def backward(
        self,
        tape: Any,
        dy: Array | None,
        dh_n: Array | None,
        dc_n: Array | None,
        dc: Array | None,
        grads: Params,
        *,
        need_dx: bool = True,
    ) -> tuple[Array | None, Array, Array | None]:
        """Gradients of a scalar loss: returns dx, dh0, dc0 (fresh) and ADDS the parameters' gradients into ``grads``.

        ``dy [T,B,Y]``, ``dh_n [B,Y]``, ``dc_n [B,H]`` and ``dc [T,B,H]`` (of all cell states) are the loss's gradients
        with respect to the outputs; None is zero. What lies in dy or dc past a length is ignored. ``dx [T,B,I]`` is zero
        past the lengths, and None for token ids or when ``need_dx`` is false. A tape serves once: backward may overwrite it.
        """

    def forward_both(
        self,
        prepared: Sequence[Any],
        x: Array,
        h0: Array | None,
        c0: Array | None,
        lengths: Array | None = None,
        *,
        keep_tape: bool = False,
        cell_states: bool = False,
    ) -> Forward:
        """Run two prepared layers of one spec, the second in reverse, on one input, as :meth:`forward` runs each.

        ``h0 [2,B,Y]``, ``c0 [2,B,H]``; gives ``y [T,B,2*Y]`` and ``c [T,B,2*H]``, forward before reverse in every row,
        ``h_n [2,B,Y]``, ``c_n [2,B,H]``, and as ``tape`` a list of two.
        """

    def backward_both(
        self,
        tapes: Sequence[Any],
        dy: Array | None,
        dh_n: Array | None,
        dc_n: Array | None,
        dc: Array | None,
        grads: Sequence[Params],
        *,
        need_dx: bool = True,
    ) -> tuple[Array | None, Array, Array | None]:
        """As :meth:`backward`, of :meth:`forward_both`, whose shapes these are: dx is the sum of both directions' own."""

    def plan(self, spec: CellSpec, T: int, B: int, directions: int = 1) -> Plan:
        """What forward, or with two directions forward_both, would use for this size, with the present settings."""

    def prepare_linear(self, weight: Array, bias: Array | None) -> Any:
        """Make a linear layer ready to run: ``weight [O,I]``, ``bias [O]`` or None; as in :meth:`prepare`."""

    def linear_forward(self, prepared: Any, x: Array) -> Array:
        """``y [N,O] = x [N,I] weight^T + bias``, fresh."""

    def linear_backward(
        self, prepared: Any, x: Array, dy: Array, dW: Array, db: Array | None, *, need_dx: bool = True
    ) -> Array | None:
        """``dx [N,I] = dy [N,O] weight``, fresh (None if not needed); ADDS ``dy^T x`` into dW and dy's rows into db."""

    def softmax_cross_entropy(
        self, x: Array, targets: Array, mask: Array | None, ignore_index: int, mean: bool
    ) -> tuple[float, Array] | None:
        """loss and dx ``[N,V]``, fresh, for logits ``x [N,V]``: see :func:`fastrnn.losses.softmax_cross_entropy`.

        ``targets`` int64 ``[N]``, ``mask`` bool ``[N]``, True where a row counts. None if a target that counts is not
        in 0..V-1.
        """

    def prepare_arrays(self, arrays: Sequence[Array]) -> Any:
        """Contiguous float arrays of any dtypes as the next three take them; it may refer to their memory."""

    def squares(self, prepared: Any) -> float:
        """The sum of the squares of all elements, in float64."""

    def scale(self, prepared: Any, factor: float) -> None:
        """Multiply all elements by a factor, in place."""

    def clamp(self, prepared: Any, bound: float) -> None:
        """Put all elements between -bound and bound, in place; NaN stays."""

    def prepare_update(self, slots: Sequence[Slot]) -> Any:
        """Parameters as :meth:`update` takes them; it refers to their memory. Made anew when the settings change."""

    def update(self, prepared: Any, rule: Rule) -> None:
        """Update every slot's w and state in place from its g, and count the update."""
