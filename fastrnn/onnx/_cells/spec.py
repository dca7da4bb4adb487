"""Attributes and inputs of one RNN, GRU or LSTM node, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..._core.arrays import Array
from ..._core.checks import describe
from .activations import Function, functions

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """Attributes of a node. ``activations`` has the functions (f, g, h as far as the cell has them) of each direction."""

    op: str
    hidden_size: int
    direction: str
    activations: tuple[tuple[Function, ...], ...]
    clip: float | None = None
    input_forget: bool = False
    linear_before_reset: bool = False
    layout: int = 0

    @property
    def directions(self) -> int:
        """Number D of directions."""
        return len(self.activations)


class NodeInputs(NamedTuple):
    """Inputs of a node in ONNX's order and layouts; None for one that is missing. ``P`` is LSTM's.

    ``X [T,B,I]``, ``W [D,G*H,I]``, ``R [D,G*H,H]``, ``B [D,2*G*H]``, ``sequence_lens [B]``, ``initial_h`` and ``initial_c``
    ``[D,B,H]``, ``P [D,3*H]``. With ``layout=1`` X is ``[B,T,I]`` and the states are ``[B,D,H]``.
    """

    X: Array
    W: Array
    R: Array
    B: Array | None = None
    sequence_lens: Array | None = None
    initial_h: Array | None = None
    initial_c: Array | None = None
    P: Array | None = None


class NodeOutputs(NamedTuple):
    """Outputs of a node: ``Y [T,D,B,H]``, ``Y_h`` and (LSTM) ``Y_c`` ``[D,B,H]``.

    With ``layout=1`` they are ``[B,T,D,H]`` and ``[B,D,H]``.
    """

    Y: Array
    Y_h: Array
    Y_c: Array | None = None


def node_spec(op: str, attributes: Mapping[str, Any], R: Array) -> NodeSpec:
    """Return the specification of a node. Raises ValueError for an invalid attribute or number of axes of R."""
    if R.ndim != 3:
        raise ValueError(f"R must have three axes, got {describe(R)}")
    hidden_size = R.shape[2]
    direction = attributes.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}")
    given = attributes.get("hidden_size", hidden_size)
    if given != hidden_size:
        raise ValueError(f"hidden_size must be that of R, {hidden_size}, got {given}")
    D, count = DIRECTIONS[direction], len(DEFAULTS[op])
    names = list(attributes.get("activations") or DEFAULTS[op] * D)
    if len(names) != count * D:
        raise ValueError(f"activations must hold {count} names for each of {D} directions, got {names}")
    found = functions(names, attributes.get("activation_alpha", ()), attributes.get("activation_beta", ()))
    layout = attributes.get("layout", 0)
    if layout not in (0, 1):
        raise ValueError(f"layout must be 0 or 1, got {layout}")
    clip = attributes.get("clip")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, got {clip:g}")
    return NodeSpec(
        op, hidden_size, direction, tuple(found[d * count : (d + 1) * count] for d in range(D)), clip,
        bool(attributes.get("input_forget", 0)), bool(attributes.get("linear_before_reset", 0)), layout,
    )  # fmt: skip


def check_weights(spec: NodeSpec, input_size: int, W: Array, R: Array, B: Array | None, P: Array | None) -> None:
    """Raise ValueError unless the weights have the shapes that :class:`NodeInputs` states."""
    D, H = spec.directions, spec.hidden_size
    rows = GATES[spec.op] * H
    _check_shape("W", W, (D, rows, input_size))
    _check_shape("R", R, (D, rows, H))
    _check_shape("B", B, (D, 2 * rows))
    _check_shape("P", P, (D, 3 * H))


def _check_shape(name: str, value: Array | None, shape: tuple[int, ...]) -> None:
    if value is not None and value.shape != shape:
        raise ValueError(f"{name} must be of shape {shape}, got {describe(value)}")


def check_inputs(spec: NodeSpec, inputs: NodeInputs) -> None:
    """Raise ValueError unless all inputs have the shapes that :class:`NodeInputs` states."""
    X, H, D = inputs.X, spec.hidden_size, spec.directions
    if X.ndim != 3:
        raise ValueError(f"X must have three axes, got {describe(X)}")
    B = X.shape[0 if spec.layout else 1]
    state = (B, D, H) if spec.layout else (D, B, H)
    check_weights(spec, X.shape[2], inputs.W, inputs.R, inputs.B, inputs.P)
    _check_shape("sequence_lens", inputs.sequence_lens, (B,))
    _check_shape("initial_h", inputs.initial_h, state)
    _check_shape("initial_c", inputs.initial_c, state)
    T, lengths = X.shape[1 if spec.layout else 0], inputs.sequence_lens
    if lengths is not None and lengths.size and not (np.min(lengths) >= 0 and np.max(lengths) <= T):
        raise ValueError(f"sequence_lens must lie in 0..{T}, got {lengths.tolist()}")
