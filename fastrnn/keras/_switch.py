"""Replacing and restoring ``inner_loop`` of Keras' recurrent layers.

``inner_loop`` is the loop over time. Before it Keras casts inputs and initial states; after it Keras stores states and picks
the output. Every layer calls it, also inside ``Bidirectional`` and in classes derived from Keras' layers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from ._inner_loop import run_or_fall_back
from ._report import Report
from ._support import LAYERS, require_support

_report: Report | None = None
_own: dict[tuple[Any, str], Any] = {}  # a class's own attribute that was replaced, or None if it inherits it


def accelerate() -> Report:
    """Put the kernels under Keras' LSTM, GRU and SimpleRNN, for all layers of the process, until :func:`restore`.

    A call that the kernels cannot run goes on to Keras, and the report counts it with the reason. A second call returns the
    report of the first.

    Raises
    ------
    RuntimeError
        for a version of Keras whose layers this module does not know, and for another Keras backend
    """
    global _report
    if _report is None:
        require_support()
        _report = report = Report(keras.config.backend(), restore)
        for layer in LAYERS:
            _replace(layer, "inner_loop", _accelerated(layer.inner_loop, report))
        if report.backend == "tensorflow":  # XLA cannot compile the kernels' callback
            for layer in LAYERS:
                _replace(layer, "supports_jit", property(lambda self: False, _set_supports_jit))
        report.replaced += [f"keras.layers.{layer.__name__}.{name}" for layer, name in _own]
    return _report


def restore() -> None:
    """Give Keras' layers their own loops back. Does nothing if :func:`accelerate` is not in effect."""
    global _report
    for (layer, name), own in _own.items():
        if own is None:
            delattr(layer, name)
        else:
            setattr(layer, name, own)
    _own.clear()
    _report = None


def _replace(layer: Any, name: str, attribute: Any) -> None:
    _own[layer, name] = vars(layer).get(name)
    setattr(layer, name, attribute)


def _set_supports_jit(layer: Any, value: bool) -> None:
    """Store the layer's own value, which it has again after :func:`restore`."""
    vars(layer)["supports_jit"] = value


def _accelerated(original: Callable[..., Any], report: Report) -> Callable[..., Any]:
    @functools.wraps(original)
    def inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        return run_or_fall_back(self, original, report, sequences, initial_state, mask, training)

    return inner_loop
