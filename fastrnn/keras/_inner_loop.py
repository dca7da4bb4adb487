"""A Keras layer's loop over time on the kernels, or the reason why Keras must run it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import keras
from keras import ops
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from ._masks import Span, span_of
from ._report import Calls
from ._unsupported import NOT_A_CALL, Unsupported

_CELLS = {
    keras.layers.LSTMCell: "lstm",
    keras.layers.GRUCell: "gru",
    keras.layers.SimpleRNNCell: "rnn",
}
_ACTIVATIONS = {keras.activations.tanh: "tanh", keras.activations.relu: "relu"}


def run_or_fall_back(
    layer: Any,
    original: Callable[..., Any],
    calls: Calls,
    sequences: Any,
    initial_state: Any,
    mask: Any,
    training: bool,
) -> Any:
    """Run a layer's ``inner_loop`` on the kernels, or ``original``, Keras' own, where they cannot; count it in ``calls``."""
    name = type(layer).__name__

    def keras_loop() -> Any:
        return original(layer, sequences, initial_state, mask, training=training)

    try:
        outputs = run(layer, keras_loop, sequences, initial_state, mask, training)
    except Unsupported as unsupported:
        if str(unsupported) != NOT_A_CALL:
            calls.fallbacks[name, str(unsupported)] += 1
        return keras_loop()
    calls.calls[name] += 1
    return outputs


def run(
    layer: Any, keras_loop: Callable[[], Any], sequences: Any, initial_state: Any, mask: Any, training: bool
) -> tuple[Any, Any, list[Any]]:
    """Return ``last_output, outputs, states`` as Keras' ``inner_loop`` does. Raises Unsupported.

    In a compiled call a mask's values are unknown, so the program chooses between the kernels and ``keras_loop``.
    """
    if in_symbolic_scope() and keras.config.backend() in ("jax", "tensorflow"):
        raise Unsupported(NOT_A_CALL)
    options = _options(layer, training)
    x = _dropped(layer.cell, sequences, training)
    if "int" in keras.backend.standardize_dtype(x.dtype):  # Keras' own products cast integers as well
        x = ops.cast(x, layer.cell.compute_dtype)
    states = keras.tree.flatten(initial_state)
    if keras.tree.is_nested(mask):
        mask = mask[0]
    _check(layer, x, states, mask)
    if layer.go_backwards:  # outputs stay in the order in which the steps ran
        x, mask = ops.flip(x, axis=1), None if mask is None else ops.flip(mask, axis=1)
    engine = import_module(f"._backends.on_{keras.config.backend()}", __package__)
    if mask is None:
        y, *last = engine.run(options, layer.cell, x, states, None)
        # With one state the last output is the final state; y[:, -1] would be one more operator.
        return last[0], y, last
    span, whole = span_of(mask)
    is_whole = engine.known(whole)
    if is_whole is None:
        return _chosen(layer, whole, lambda: _masked(layer, engine, options, x, states, span), keras_loop)
    if not is_whole:
        raise Unsupported("mask with holes")
    return _masked(layer, engine, options, x, states, span)


def _chosen(layer: Any, whole: Any, kernels: Callable[[], Any], keras_loop: Callable[[], Any]) -> tuple[Any, Any, list[Any]]:
    """Choose when the compiled program runs: the kernels for masks without holes, else Keras' loop."""

    def alike(function: Callable[[], Any]) -> Callable[[], Any]:
        def outputs() -> tuple[Any, ...]:
            last, y, states = function()
            return (last, *([y] if layer.return_sequences else []), *keras.tree.flatten(states))

        return outputs

    last, *rest = ops.cond(whole, alike(kernels), alike(keras_loop))
    y = rest.pop(0) if layer.return_sequences else last[:, None]  # as Keras returns it
    return last, y, rest


def _options(layer: Any, training: bool) -> dict[str, Any]:
    """Return the options of the cell's :class:`CellSpec`."""
    cell = layer.cell
    kind = _CELLS.get(type(cell))
    if kind is None:
        raise Unsupported(f"cell of class {type(cell).__name__}")
    activation = _ACTIVATIONS.get(cell.activation)
    if activation is None or (kind != "rnn" and activation != "tanh"):
        raise Unsupported(f"activation {_name(cell.activation)}")
    if kind == "rnn":
        return {"cell": kind, "nonlinearity": activation}
    if cell.recurrent_activation is not keras.activations.sigmoid:
        raise Unsupported(f"recurrent activation {_name(cell.recurrent_activation)}")
    return {"cell": kind, "reset_after": cell.reset_after} if kind == "gru" else {"cell": kind}


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _dropped(cell: Any, x: Any, training: bool) -> Any:
    """Return x after the layer's input dropout, with Keras' own mask."""
    if not training:
        return x
    if cell.recurrent_dropout:
        raise Unsupported("recurrent dropout")
    if not cell.dropout:
        return x
    mask = cell.get_dropout_mask(x[:, 0, :])
    if isinstance(mask, list):  # implementation=1 has a mask for each gate
        raise Unsupported("dropout with implementation=1")
    return x * ops.expand_dims(mask, 1)


def _check(layer: Any, x: Any, states: list[Any], mask: Any) -> None:
    dtypes = {keras.backend.standardize_dtype(a.dtype) for a in (x, *states)} | {layer.cell.compute_dtype}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        raise Unsupported(f"dtype {' and '.join(sorted(dtypes))}")
    if x.shape[1] == 0:
        raise Unsupported("sequences without steps")
    if mask is not None and (layer.unroll or len(mask.shape) != 2):
        raise Unsupported("mask with unroll=True" if layer.unroll else "mask of each feature")


def _masked(
    layer: Any, engine: Any, options: dict[str, Any], x: Any, states: list[Any], span: Span
) -> tuple[Any, Any, list[Any]]:
    """Run with a mask. A masked step repeats the output before it, or gives zeros with ``zero_output_for_mask``."""
    moved = engine.known(ops.all(ops.equal(span.start, 0))) is not True
    y, *last = engine.run(options, layer.cell, span.rotated(x) if moved else x, states, span.length[:, 0])
    if moved:
        y = span.rotated(y, back=True)
    zeros = ops.zeros_like(last[0])
    after = zeros if layer.zero_output_for_mask else last[0]
    before = zeros if layer.zero_output_for_mask or not engine.FIRST_OUTPUT_IS_STATE else states[0]
    never = ops.equal(span.length, 0)  # a sequence without a valid step
    y = span.filled(y, before, ops.where(never, before, after))
    return y[:, -1], y, last
