"""To and from PyTorch: state dicts and single layers. Only layout: names and gate order are torch's already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from .. import layers
from .._core import checks
from .._core.conversion import to_array
from ..layers import Layer

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]

_CELL = ("input_size", "hidden_size", "bias")
_RECURRENT = (*_CELL, "num_layers", "batch_first", "dropout", "bidirectional")
# The layers that both sides have, by their common name, with the constructor's arguments, which are attributes too.
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
# Options that one side lacks, with the value at which it agrees with the other.
_ONLY_OURS = {
    **{"peephole": False, "reset_after": True, "reset_gate": True},
    **{"merge": "concat", "input_dropout": 0.0, "recurrent_dropout": 0.0},
}
HALVES = ("float16", "bfloat16")  # whose values float32 has, all of them
_ONLY_TORCHS = {"padding_idx": None, "max_norm": None, "scale_grad_by_freq": False, "sparse": False}


@overload
def from_torch(source: Mapping[str, torch.Tensor]) -> dict[str, Array]: ...


@overload
def from_torch(source: torch.nn.Module, *, rng: Any = None, backend: str | None = None) -> Layer: ...


def from_torch(source: Any, *, rng: Any = None, backend: str | None = None) -> Any:
    """Return a state dict of tensors as arrays, or a torch layer as a fastrnn layer of the same options and values (copied).

    Layers: RNN, GRU, LSTM, their cells, Linear, Embedding, Dropout. ``rng`` (for dropout) and ``backend`` are as in
    fastrnn's constructors. bfloat16 values become float32, and a float16 or bfloat16 layer becomes a float32 one; both are
    exact. Raises TypeError for any other module or a tensor of a dtype that NumPy lacks, ValueError for an option or a
    dtype that fastrnn lacks.
    """
    if isinstance(source, Mapping):
        return {name: np.array(to_array(name, tensor)) for name, tensor in source.items()}
    name = _common_name(source, "torch.nn")
    _refuse_options(source, _ONLY_TORCHS, "fastrnn")
    options = _options(source, name) | {"rng": rng}
    for parameter in source.parameters():
        dtype = str(parameter.dtype).removeprefix("torch.")
        options["dtype"] = "float32" if dtype in HALVES else checks.float_dtype("the module's dtype", dtype)
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
    """A state dict of arrays as tensors, or a fastrnn layer as the torch layer of the same options, values copied.

    The inverse of :func:`from_torch`. Raises TypeError for any other layer, ValueError for an option that torch lacks.
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
    """The name of the layer's class if both sides have it. Raises TypeError."""
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
    """The constructor's arguments; bias, where there is one, is a flag or the parameter itself, on both sides."""
    options = {argument: getattr(source, argument) for argument in _ARGUMENTS[name]}
    if "bias" in options:
        options["bias"] = options["bias"] is not None and options["bias"] is not False
    return options
