"""Conversion of state dicts and single layers to and from PyTorch, whose names and gate order fastrnn shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .. import layers
from .._core import checks
from .._core.arrays import Array
from .._core.conversion import to_array
from ..layers import Layer

if TYPE_CHECKING:
    import torch

_CELL = ("input_size", "hidden_size", "bias")
_RECURRENT = (*_CELL, "num_layers", "batch_first", "dropout", "bidirectional")
# Layers of both libraries by their common name, with the constructor's arguments, which are also attributes.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "RNN": (*_RECURRENT, "nonlinearity"),
    "GRU": _RECURRENT,
    "LSTM": (*_RECURRENT, "proj_size"),
    "RNNCell": (*_CELL, "nonlinearity"),
    "GRUCell": _CELL,
    "LSTMCell": _CELL,
    "Linear": ("in_features", "out_features", "bias"),
    "Embedding": ("num_embeddings", "embedding_dim"),
    "Dropout": ("p",),
}
# Options that one side lacks, with the value that means the other side's behaviour.
_ONLY_OURS = {
    **{"peephole": False, "reset_after": True, "reset_gate": True},
    **{"merge": "concat", "input_dropout": 0.0, "recurrent_dropout": 0.0},
}
HALVES = ("float16", "bfloat16")  # float32 represents all their values
_ONLY_TORCHS = {"padding_idx": None, "max_norm": None, "scale_grad_by_freq": False, "sparse": False}


@overload
def from_torch(source: Mapping[str, torch.Tensor]) -> dict[str, Array]: ...


@overload
def from_torch(source: torch.nn.Module, *, rng: Any = None, backend: str | None = None) -> Layer: ...


def from_torch(source: Any, *, rng: Any = None, backend: str | None = None) -> Any:
    """Return a state dict of tensors as arrays, or a torch layer as a fastrnn layer; values are copied.

    bfloat16 values become float32, and a float16 or bfloat16 layer becomes a float32 layer; both are exact.

    Parameters
    ----------
    source
        A state dict, or a layer: RNN, GRU, LSTM, their cells, Linear, Embedding or Dropout.
    rng, backend
        As in fastrnn's constructors; ``rng`` is for dropout.

    Raises
    ------
    TypeError
        For any other module, or a tensor of a dtype that NumPy lacks.
    ValueError
        For an option or a dtype that fastrnn lacks.
    """
    if isinstance(source, Mapping):
        return {name: np.array(to_array(name, tensor)) for name, tensor in source.items()}
    name = _common_name(source, "torch.nn")
    _refuse_options(source, _ONLY_TORCHS, "fastrnn")
    options = _options(source, name) | {"rng": rng}
    for parameter in source.parameters():
        dtype = str(parameter.dtype).removeprefix("torch.")
        if dtype not in (*HALVES, *checks.DTYPES):  # such as float8, whose values need scales that are stored apart
            allowed = "float16, bfloat16, float32 or float64"
            raise ValueError(f"the module's dtype must be {allowed}, got {dtype}: convert it, module.float()")
        options["dtype"] = "float32" if dtype in HALVES else dtype
    if "hidden_size" in options:
        options["backend"] = backend
    layer: Layer = getattr(layers, name)(**options)
    layer.load_state_dict(source.state_dict())
    return layer


@overload
def to_torch(source: Mapping[str, Array]) -> dict[str, torch.Tensor]: ...


@overload
def to_torch(source: Layer) -> torch.nn.Module: ...


def to_torch(source: Any) -> Any:
    """Return a state dict of arrays as tensors, or a fastrnn layer as a torch layer; values are copied.

    It is the inverse of :func:`from_torch`. Raises TypeError for any other layer, ValueError for an option that torch lacks.
    """
    import torch

    if isinstance(source, Mapping):
        return {name: torch.from_numpy(np.array(array)) for name, array in source.items()}
    name = _common_name(source, "fastrnn.layers")
    _refuse_options(source, _ONLY_OURS, "torch")
    options = _options(source, name)
    for parameter in source.parameters():
        options["dtype"] = getattr(torch, parameter.dtype.name)
    module: torch.nn.Module = getattr(torch.nn, name)(**options)
    module.load_state_dict(to_torch(source.state_dict()))
    return module


def _common_name(source: object, package: str) -> str:
    """Return the name of the layer's class if both libraries have it. Raises TypeError."""
    kind = type(source)
    if kind.__name__ not in _ARGUMENTS or not kind.__module__.startswith(package):
        expected = f"a state dict or a layer of {package}: {', '.join(_ARGUMENTS)}"
        raise TypeError(f"source must be {expected}, got {checks.describe(source)}")
    return kind.__name__


def _refuse_options(source: object, agreeing: Mapping[str, Any], other: str) -> None:
    for option, value in agreeing.items():
        if getattr(source, option, value) != value:
            raise ValueError(f"{other} has no {option}: {type(source).__name__} has {option}={getattr(source, option)}")


def _options(source: Any, name: str) -> dict[str, Any]:
    """Return the constructor's arguments. In both libraries the attribute ``bias`` is a flag or the parameter itself."""
    options = {argument: getattr(source, argument) for argument in _ARGUMENTS[name]}
    if "bias" in options:
        options["bias"] = options["bias"] is not None and options["bias"] is not False
    return options
