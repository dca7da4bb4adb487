"""Replacing and restoring ``inner_loop`` of Keras' recurrent layers.

``inner_loop`` is the loop over time. Before it Keras casts inputs and initial states; after it Keras stores states and picks
the output. Every layer calls it, also inside ``Bidirectional`` and in classes derived from Keras' layers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from ._inner_loop import BACKENDS, run
from ._report import Report
from ._unsupported import NOT_A_CALL, Unsupported

LAYERS: tuple[Any, ...] = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
OLDEST = (3, 12)
PARAMETERS = ["self", "sequences", "initial_state", "mask", "training"]
_report: Report | None = None
_own: dict[Any, Any] = {}  # a class's own inner_loop, or None if it inherits it


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
        _check()
        report = Report(keras.config.backend(), [f"keras.layers.{layer.__name__}.inner_loop" for layer in LAYERS], restore)
        for layer in LAYERS:
            _own[layer] = vars(layer).get("inner_loop")
            layer.inner_loop = _accelerated(layer.inner_loop, report)
        _report = report
    return _report


def restore() -> None:
    """Give Keras' layers their own loops back. Does nothing if :func:`accelerate` is not in effect."""
    global _report
    for layer, own in _own.items():
        if own is None:
            del layer.inner_loop
        else:
            layer.inner_loop = own
    _own.clear()
    _report = None


def _check() -> None:
    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    if not OLDEST <= version < (4,):
        raise RuntimeError(f"keras must be a version from 3.12 to 3.x, got {keras.__version__}")
    if keras.config.backend() not in BACKENDS:
        raise RuntimeError(f"the Keras backend must be one of {', '.join(BACKENDS)}, got {keras.config.backend()}")
    for layer in LAYERS:
        found = list(inspect.signature(layer.inner_loop).parameters)
        if found != PARAMETERS:
            raise RuntimeError(
                f"{layer.__name__}.inner_loop must take {PARAMETERS}, got {found} in Keras {keras.__version__}"
            )


def _accelerated(original: Callable[..., Any], report: Report) -> Callable[..., Any]:
    @functools.wraps(original)
    def inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        name = type(self).__name__
        try:
            outputs = run(self, sequences, initial_state, mask, training)
        except Unsupported as unsupported:
            if str(unsupported) != NOT_A_CALL:
                report.fallbacks[name, str(unsupported)] += 1
            return original(self, sequences, initial_state, mask, training=training)
        report.calls[name] += 1
        return outputs

    return inner_loop
