"""Optimisers with torch.optim's update rules, and gradient clipping and checks from :mod:`fastrnn.gradients`.

The backend in use updates all parameters in one pass and in place. A step allocates no memory, except that :class:`Muon`
needs some for its matrices. ``params`` is always an iterable of parameters or of (name, parameter) pairs as from
``model.named_parameters()``. A parameter whose gradient is None does not change, as in torch.
"""

from __future__ import annotations

from ._optimisers.base import Optimizer
from ._optimisers.muon import Muon
from ._optimisers.rules import SGD, Adam, AdamW, RMSprop
from .gradients import (
    NonFiniteGradient,
    NonFiniteLoss,
    NonFiniteWeight,
    check_finite,
    check_finite_weights,
    clip_grad_norm,
    clip_grad_value,
    grad_norm,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Muon",
    "NonFiniteGradient",
    "NonFiniteLoss",
    "NonFiniteWeight",
    "Optimizer",
    "RMSprop",
    "check_finite",
    "check_finite_weights",
    "clip_grad_norm",
    "clip_grad_value",
    "grad_norm",
]
