"""The optimisers whose update rules a backend applies to all parameters in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .._core import checks
from .._core.parameter import Parameter
from ..backends.structs import Rule
from ..gradients import Params
from .base import Optimizer
from .hyperparameters import Checks, betas, finite, fraction


class SGD(Optimizer):
    """Stochastic gradient descent: ``v <- momentum v + g``, ``w <- w - lr v``.

    Raises TypeError or ValueError for wrong values, and for ``nesterov`` without momentum.

    Parameters
    ----------
    params, lr
        parameters (see the docstring of :mod:`fastrnn.optim`) and learning rate.
    momentum
        decay of the velocity v; 0 turns it off.
    nesterov
        use the step ``w <- w - lr (g + momentum v)`` (Sutskever et al. 2013, in torch's form).
    weight_decay
        add ``weight_decay * w`` to g.
    """

    arrays = ("momentum_buffer",)
    hyperparameters: ClassVar[Checks] = {
        "lr": finite,
        "momentum": finite,
        "nesterov": checks.flag,
        "weight_decay": finite,
    }
    momentum: float
    nesterov: bool
    weight_decay: float

    def __init__(
        self, params: Params, lr: float = 1e-3, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)

    def _set(self, hyperparameters: Mapping[str, Any]) -> None:
        super()._set(hyperparameters)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, got momentum 0")

    def _arrays_of(self, param: Parameter) -> tuple[str, ...]:
        return self.arrays if self.momentum else ()

    def _rule(self) -> Rule:
        return Rule("sgd", self.lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay)


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012) as in torch: ``s <- alpha s + (1-alpha) g^2``, ``w <- w - lr g / (sqrt(s) + eps)``.

    Raises TypeError or ValueError for wrong values.

    Parameters
    ----------
    params, lr
        parameters (see the docstring of :mod:`fastrnn.optim`) and learning rate.
    alpha, eps
        numbers in the rule.
    weight_decay
        add ``weight_decay * w`` to g.
    momentum
        accumulate the quotient with this decay before applying it.
    centered
        subtract the squared mean gradient from s (Graves 2013).
    """

    arrays = ("square_avg", "momentum_buffer", "grad_avg")
    hyperparameters: ClassVar[Checks] = {
        "lr": finite, "alpha": fraction, "eps": finite, "weight_decay": finite, "momentum": finite,
        "centered": checks.flag,
    }  # fmt: skip
    alpha: float
    eps: float
    weight_decay: float
    momentum: float
    centered: bool

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered
        )

    def _arrays_of(self, param: Parameter) -> tuple[str, ...]:
        used = {"square_avg": True, "momentum_buffer": self.momentum > 0, "grad_avg": self.centered}
        return tuple(name for name in self.arrays if used[name])

    def _rule(self) -> Rule:
        return Rule(
            "rmsprop", self.lr, alpha=self.alpha, eps=self.eps, weight_decay=self.weight_decay, momentum=self.momentum
        )


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015) as in torch.

    The rule is ``m <- beta1 m + (1-beta1) g``, ``v <- beta2 v + (1-beta2) g^2``, ``w <- w - lr m' / (sqrt(v') + eps)``, with
    ``m' = m / (1-beta1^t)`` and ``v' = v / (1-beta2^t)``. ``betas`` is ``(beta1, beta2)``, and ``weight_decay`` adds
    ``weight_decay * w`` to g. Raises TypeError or ValueError for wrong values.
    """

    arrays = ("exp_avg", "exp_avg_sq")
    hyperparameters: ClassVar[Checks] = {"lr": finite, "betas": betas, "eps": finite, "weight_decay": finite}
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    decoupled_decay: ClassVar[bool] = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _rule(self) -> Rule:
        beta1, beta2 = self.betas
        return Rule(
            "adam", self.lr, beta1=beta1, beta2=beta2, eps=self.eps, weight_decay=self.weight_decay,
            decoupled=self.decoupled_decay,
        )  # fmt: skip


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): first ``w <- (1 - lr weight_decay) w``."""

    decoupled_decay = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
