"""The former place of :func:`fastrnn.torch.from_torch` and :func:`fastrnn.torch.to_torch`, for scripts that import it."""

from ..torch import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
