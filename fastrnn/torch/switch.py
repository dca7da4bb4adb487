"""Switching the recurrent layers of an existing model, in place and back.

A switch assigns the module's class, so the module keeps its parameters, its hooks and its place in the model, and optimisers
keep their references.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from . import cells, modules
from ._stack import TORCHS as CELLS_OF_TORCH

__all__ = ["Report", "accelerate", "restore"]

_OURS: dict[type[nn.Module], type[nn.Module]] = {
    ours.torchs_own: ours for ours in (modules.RNN, modules.GRU, modules.LSTM, cells.RNNCell, cells.GRUCell, cells.LSTMCell)
}
_TORCHS = {ours: torchs for torchs, ours in _OURS.items()}


@dataclass
class Report:
    """Report of :func:`accelerate`, which prints as a table; as a context manager it restores the model at the end.

    ``rows`` holds, for each recurrent module, its name in the model, its class, and what runs it or why it was left alone.
    """

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    switched: list[nn.Module] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.rows:
            return "no recurrent modules"
        table = [("module", "class", "runs"), *self.rows]
        widths = [max(len(row[i]) for row in table) for i in range(2)]
        return "\n".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in table)

    __repr__ = __str__

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for module in self.switched:
            restore(module)


def accelerate(model: nn.Module) -> Report:
    """Switch every RNN, GRU, LSTM and cell of ``torch.nn`` in the model to fastrnn's kernels, in place.

    Returns
    -------
    Report
        which modules were switched, and why others were not. Modules of a class derived from torch's are left alone,
        because their own methods may rely on it. So are modules whose ``forward`` a tool has replaced, because the new one
        calls torch's.

    Raises
    ------
    TypeError
        if the model is not an ``nn.Module``
    """
    report = Report()
    for name, module in _recurrent_modules(model):
        ours = _exchanged(module, _OURS)
        if _exchanged(module, _TORCHS) is not None:
            outcome = "fastrnn already"
        elif ours is None:
            outcome = f"left alone: {type(module).__qualname__} is a class of its own"
        elif "forward" in vars(module):
            outcome = "left alone: its forward was replaced"
        else:
            module.__class__ = ours
            report.switched.append(module)
            outcome = _outcome(module)
        report.rows.append((name or "(the model)", type(module).__name__, outcome))
    return report


def restore(model: nn.Module) -> None:
    """Switch every module that :func:`accelerate` has switched back to its class of ``torch.nn``.

    Raises TypeError if the model is not an ``nn.Module``, ValueError for a module with an option that torch lacks.
    """
    found = [(name, module, _exchanged(module, _TORCHS)) for name, module in _recurrent_modules(model)]
    for name, module, torchs in found:
        if torchs is not None and module.cell not in CELLS_OF_TORCH:
            raise ValueError(f"module {name or '(the model)'} must have an equivalent in torch.nn, got {module}")
    for _, module, torchs in found:
        if torchs is not None:
            module.__class__ = torchs


def _exchanged(module: nn.Module, classes: dict[type[nn.Module], type[nn.Module]]) -> type[nn.Module] | None:
    """Return the class that replaces the module's class, or None.

    torch.nn.utils.parametrize gives a module a class of its own, derived from its former class. Its replacement is derived
    in the same way from the other class.
    """
    own = type(module)
    if own in classes:
        return classes[own]
    base = own.__bases__[0]
    if base not in classes or not is_parametrized(module):
        return None
    body = {name: value for name, value in vars(own).items() if name not in ("__dict__", "__weakref__")}
    return type(own.__name__, (classes[base],), body)


def _recurrent_modules(model: Any) -> Iterator[tuple[str, nn.Module]]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            yield name, module


def _outcome(module: nn.Module) -> str:
    """Return what will run the module's calls, by the device and the dtype of its parameters."""
    parameter = next(module.parameters())
    if parameter.device.type != "cpu":
        return f"PyTorch while its parameters are on {parameter.device.type}"
    if parameter.dtype not in (torch.float32, torch.float64):
        return f"PyTorch while its parameters are {str(parameter.dtype).removeprefix('torch.')}"
    return "fastrnn"
