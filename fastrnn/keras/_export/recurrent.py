"""Recurrent layers as Keras layers, one for each layer of a stack."""

from __future__ import annotations

from typing import Any

import keras

from ...layers._recurrent.base import Recurrent
from ...layers._symbolic.symbols import Nest
from .._weights import keras_order
from .builder import Builder, Specs, Values, states_of, whole
from .ids import one_hot_vectors

KINDS: dict[str, Any] = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
MERGES = {"concat": "concat", "sum": "sum", "average": "ave", "mul": "mul"}


def recurrent(b: Builder, layer: Recurrent, args: Values, specs: Specs, options: Any) -> Nest:
    """Return ``y, h_n`` or ``y, (h_n, c_n)``; states are lists of L*D tensors ``[B, H]``."""
    _require_counterpart(layer, options)
    x = whole(args[0])
    if specs[0].dtype.startswith("int"):
        x = one_hot_vectors(b, layer, layer.input_size, layer.dtype)(x)
    D, halves = (2 if layer.bidirectional else 1), (2 if layer.cell == "lstm" else 1)
    initial = _by_part(args[1] if len(args) > 1 else None, layer.num_layers * D)
    if any(initial) and b.masks:
        raise ValueError("Keras does not pass its mask on next to initial states, so mask_zero must be False")
    last: list[Any] = []
    for i, (dropout, own) in enumerate(b.once(layer, lambda: _layers(b, layer))):
        x = x if dropout is None else dropout(x)
        given = [state for part in initial[i * D : (i + 1) * D] for state in part]
        x = own(x, initial_state=given) if given else own(x)
        if isinstance(x, (list, tuple)):
            x, *states = x
            last += states
    found = tuple(last[half::halves] or None for half in range(halves))
    return x, found if halves == 2 else found[0]


def _require_counterpart(layer: Recurrent, options: dict[str, Any]) -> None:
    """Raise ValueError for an option that Keras' layer does not have."""
    if options.get("return_cell_states"):
        raise ValueError("Keras' LSTM does not return the cell states of all steps")
    missing = [name for name in ("proj_size", "peephole", "compression") if getattr(layer, name, None)]
    if not getattr(layer, "reset_gate", True):
        missing.append("reset_gate=False")
    if missing:
        raise ValueError(f"Keras' {KINDS[layer.cell].__name__} has no {', '.join(missing)}")


def _by_part(state: Nest, parts: int) -> list[tuple[Any, ...]]:
    """Return the states of each layer and direction, h or h and c; empty tuples for no state."""
    if state is None:
        return [()] * parts
    halves = state if isinstance(state, tuple) else (state,)
    return list(zip(*(states_of(half, parts) for half in halves), strict=True))


def _layers(b: Builder, layer: Recurrent) -> list[Any]:
    """Return the stack's Keras layers, with their weights, each with the dropout before it or None."""
    D, made = (2 if layer.bidirectional else 1), []
    for i in range(layer.num_layers):
        parts = layer.stack.parts[i * D : (i + 1) * D]
        name = b.name_of(layer, f"_l{i}" if layer.num_layers > 1 else "")
        inner = KINDS[layer.cell](
            layer.hidden_size,
            use_bias=layer.bias,
            dtype=layer.dtype,
            dropout=layer.input_dropout,
            recurrent_dropout=layer.recurrent_dropout,
            return_sequences=i + 1 < layer.num_layers or id(layer) in b.outputs_read,
            return_state=id(layer) in b.states_read,
            zero_output_for_mask=b.masks,
            name=name,
            **_own_options(layer),
        )
        own = keras.layers.Bidirectional(inner, MERGES[layer.merge], name=f"{name}_both") if D == 2 else inner
        own.build((None, None, parts[0].spec.input_size))
        directions = [own.forward_layer, own.backward_layer] if D == 2 else [own]
        for direction, part in zip(directions, parts, strict=True):
            two_biases = layer.cell == "gru" and part.spec.reset_after
            direction.set_weights(keras_order(layer.cell, part.weights(), two_biases))
        between = i and layer.dropout
        made.append((keras.layers.Dropout(layer.dropout, name=f"{name}_dropout") if between else None, own))
    return made


def _own_options(layer: Any) -> dict[str, Any]:
    """Return the options that only this kind of layer has."""
    if layer.cell == "rnn":
        return {"activation": layer.nonlinearity}
    return {"reset_after": layer.reset_after} if layer.cell == "gru" else {}
