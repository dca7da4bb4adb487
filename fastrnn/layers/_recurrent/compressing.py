"""Compression of a layer's weights; the layer's method ``compress`` documents it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeVar

from ..._core import checks
from ..._core.compressed_parameter import FORMATS
from .compressed_part import CompressedPart

if TYPE_CHECKING:
    from .base import Recurrent

L = TypeVar("L", bound="Recurrent")


def check_form(form: str, dtype: str) -> None:
    """Raise ValueError unless weights of this dtype can be compressed to this form."""
    checks.choice("compression", form, FORMATS)
    if dtype != "float32":
        raise ValueError(f"compression needs dtype float32, got a layer of {dtype}")


def compressed(layer: L, form: str) -> L:
    """Return a layer with the weights of ``layer`` in a form of ``FORMATS``. Raises ValueError."""
    check_form(form, layer.dtype)
    if layer.compression is not None:
        raise ValueError(f"the layer is compressed already, as {layer.compression}: compress the original")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # this layer's own constructor has warned
        how = {"compression": form, "backend": layer.backend, "precision": layer.precision}
        new = type(layer)(**layer.config() | how)
    for part, own in zip(layer.stack.parts, new.stack.parts, strict=True):
        assert isinstance(own, CompressedPart)
        own.fill(part, form)
    new.name = layer.name
    return new
