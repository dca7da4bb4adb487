"""Muon, which orthogonalises the updates of recurrent layers' matrices."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from .. import backends
from .._core.arrays import Array
from .._core.parameter import Parameter
from ..backends.orthogonal import NS_STEPS, orthogonalised
from ..gradients import Params
from .base import Optimizer
from .hyperparameters import Checks, decay, ns_steps
from .rules import AdamW


class Muon(AdamW):
    """Muon (Jordan et al. 2024) for the weight matrices of recurrent layers, and AdamW for all other parameters.

    The rule of a matrix w ``[N, I]`` is ``m <- momentum m + (1 - momentum) g``, ``u = momentum m + (1 - momentum) g``,
    ``w <- (1 - lr weight_decay) w``, ``w <- w - 0.2 sqrt(max(N, I)) lr O(u)``. O(u) has u's singular vectors, and singular
    values near 1, by Newton and Schulz's iteration, so directions with small gradients are learnt as fast as the others. The
    factor makes the updates about as large as AdamW's (Liu et al. 2025, equation 4; torch.optim.Muon with
    ``adjust_lr_fn="match_rms_adamw"``), so both rules share ``lr`` and ``weight_decay``. A step costs as many operations for
    a small batch as for a large one, some 60 H^3 multiply-adds for an LSTM's matrix [4H, H], so it pays off for batches of
    many more than H tokens. In precision ``"medium"`` it multiplies bfloat16 numbers, as torch.optim.Muon does. Raises
    TypeError or ValueError for wrong values.

    Parameters
    ----------
    params, lr
        parameters (see the docstring of :mod:`fastrnn.optim`) and learning rate. Matrices of recurrent layers are recognised
        by their ``Parameter.name``, which begins with ``weight_ih``, ``weight_hh`` or ``weight_hr``.
    betas, eps
        decay rates and offset of the denominator in AdamW's rule.
    weight_decay
        each step multiplies the weights by ``1 - lr weight_decay``.
    momentum
        decay of the gradients' mean m, in [0, 1).
    ns_steps
        number of iterations in O, from 1 to 100.
    """

    hyperparameters: ClassVar[Checks] = {**AdamW.hyperparameters, "momentum": decay, "ns_steps": ns_steps}
    momentum: float
    ns_steps: int

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        ns_steps: int = NS_STEPS,
    ) -> None:
        Optimizer.__init__(
            self, params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum=momentum, ns_steps=ns_steps
        )

    def _arrays_of(self, param: Parameter) -> tuple[str, ...]:
        return ("momentum_buffer",) if _is_recurrent_matrix(param) else self.arrays

    def _in_one_pass(self, param: Parameter) -> bool:
        return super()._in_one_pass(param) and not _is_recurrent_matrix(param)

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        for (_, param), state in zip(self.named_params, self._state, strict=True):
            if param.grad is not None and _is_recurrent_matrix(param):
                self._update_matrix(param, param.grad, state["momentum_buffer"])
        super().step()

    def _update_matrix(self, param: Parameter, g: Array, m: Array) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # check_finite_weights names what is not finite
            new = (1 - self.momentum) * g
            m *= self.momentum
            m += new
            update = orthogonalised(backends.current(), self.momentum * m + new, self.ns_steps)
            update *= 0.2 * math.sqrt(max(param.shape)) * self.lr
            w = param.writable()
            try:
                w *= 1 - self.lr * self.weight_decay
                w -= update
            finally:  # as in Optimizer.step
                Parameter.changed((param,))


def _is_recurrent_matrix(param: Parameter) -> bool:
    return len(param.shape) == 2 and param.name.startswith(("weight_ih", "weight_hh", "weight_hr"))
