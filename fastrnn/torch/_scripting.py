"""The replacement of a module for torch.jit.script, because TorchScript cannot compile the module itself."""

from __future__ import annotations

from typing import Any

from torch import nn

from ._fallback import report_once
from ._stack import TORCHS


def torchs_twin(self: Any) -> nn.Module:
    """Return torch's own module on the same parameters. Raises ValueError for an option that torch lacks."""
    if self.cell not in TORCHS:
        raise ValueError(f"torch.jit.script has no {type(self).__name__} with the options of {self}")
    report_once(type(self).__name__, "torch.jit.script")
    twin: nn.Module = self.torchs_own.__new__(self.torchs_own)
    twin.__dict__.update(self.__dict__)
    return twin
