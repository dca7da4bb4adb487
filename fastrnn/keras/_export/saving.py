"""A model or a layer as a Keras model, and as a ``.keras`` file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from ..._core import checks
from ...graph import Model
from ...layers._recurrent.base import Recurrent
from ...layers._symbolic.input_spec import input_spec
from ...layers._symbolic.symbols import Axis, Spec
from ...layers.base import Layer
from .builder import Builder, order_of, whole
from .graph import called, leaves, traced


def to_keras(
    model: Layer,
    *,
    shape: Sequence[Axis] | None = None,
    dtype: str | None = None,
    mask_zero: bool = False,
) -> Any:
    """Make a functional Keras model with the same outputs, of Keras' own layers.

    Its arrays have the batch first: sequences ``[T, B, ...]`` are ``[B, T, ...]`` there, states ``[L*D, B, H]`` are
    ``[B, L*D, H]``. Axes that are letters, such as T, stay open. Token ids are int32 and must not be -1.

    Parameters
    ----------
    model
        a Model, a Sequential, or any other layer that takes one input.
    shape, dtype
        of the input of a model that is no Model, as in :func:`fastrnn.Input`; by default they follow from the layers.
    mask_zero
        True: id 0, and steps whose features are all 0, are padding, which takes the place of ``lengths``. False: all
        sequences have T steps.

    Returns
    -------
    keras.Model
        Its weights are copies. Within the lengths its outputs are those of ``model``.

    Raises
    ------
    TypeError
        if model is not a layer
    ValueError
        for a layer or an option that Keras does not have; the message names it
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a fastrnn layer, got {checks.describe(model)}")
    b = Builder(checks.flag("mask_zero", mask_zero))
    if isinstance(model, Model):
        if shape is not None or dtype is not None:
            raise ValueError("shape and dtype must be None for a Model, which has its own")
        graph = model.graph
        inputs = [_input(b, name, x.spec) for name, x in zip(graph.input_names, graph.flat_inputs, strict=True)]
        symbols = traced(b, graph, dict(zip(graph.flat_inputs, _masked(b, inputs), strict=True)))
        outputs = [symbols[symbol] for symbol in graph.flat_outputs]
    else:
        spec = input_spec(model, shape, dtype)
        inputs = [_input(b, "input", spec)]
        if isinstance(model, Recurrent):
            b.outputs_read.add(id(model))
            b.states_read.add(id(model))
        outputs = leaves(called(b, model, tuple(_masked(b, inputs)), (spec,), {}))
    values = [whole(output) for output in outputs]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], values if len(values) > 1 else values[0], name=model.name)


def save(model: Layer, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a model or a layer to a ``.keras`` file, as the Keras model that :func:`to_keras` makes.

    ``options`` are those of :func:`to_keras`, and so are the errors. The file is replaced only by a complete one.
    """
    target = Path(path)
    if target.suffix != ".keras":
        raise ValueError(f"path must end with .keras, got {os.fspath(path)}")
    part = target.with_name(f".{target.stem}.part.keras")
    try:
        to_keras(model, **options).save(part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _input(b: Builder, name: str, spec: Spec) -> Any:
    shape = [None if isinstance(axis, str) else axis for axis in (spec.shape[i] for i in order_of(spec)[1:])]
    return keras.Input(shape, dtype="int32" if spec.dtype.startswith("int") else spec.dtype, name=b.name(name))


def _masked(b: Builder, inputs: list[Any]) -> list[Any]:
    """Return the inputs; if padding is to be masked, sequences of vectors have passed a Masking layer."""

    def masked(x: Any) -> Any:
        is_sequence = len(x.shape) == 3 and x.shape[1] is None
        return keras.layers.Masking(dtype=x.dtype, name=b.name("masking"))(x) if b.masks and is_sequence else x

    return [masked(x) for x in inputs]
