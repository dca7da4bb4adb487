"""Optimisers with torch.optim's update rules; gradient clipping and checks come along from :mod:`fastrnn.gradients`.

Everything works in place, chunk by chunk, in scratch memory allocated once: a step takes no new memory. ``params`` is
always an iterable of parameters or of (name, parameter) pairs as from ``model.named_parameters()``. A parameter whose
gradient is None is left alone, as in torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import checks
from .gradients import (
    CHUNK,
    NonFiniteGradient,
    NonFiniteWeight,
    Params,
    check_finite,
    check_finite_weights,
    chunks,
    clip_grad_norm,
    clip_grad_value,
    grad_norm,
    named,
)
from .memory import empty, zeros

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "NonFiniteGradient",
    "NonFiniteWeight",
    "Optimizer",
    "RMSprop",
    "check_finite",
    "check_finite_weights",
    "clip_grad_norm",
    "clip_grad_value",
    "grad_norm",
]

Array = NDArray[Any]


class Optimizer:
    """Common to all optimisers: the parameters, their state arrays and the loop over chunks.

    ``lr`` may be set at any time; schedules do. A subclass names its state arrays (torch's names) and its
    hyperparameters, and updates one chunk.
    """

    arrays: ClassVar[tuple[str, ...]] = ()
    hyperparameters: ClassVar[tuple[str, ...]] = ("lr",)

    def __init__(self, params: Params, lr: float) -> None:
        self.named_params = named(params)
        if not self.named_params:
            raise ValueError("params must hold at least one parameter, got none")
        self.lr = lr
        # Updates made so far to each parameter: Adam's bias correction needs its own count for each, as in torch.
        self._steps = [0] * len(self.named_params)
        self._state = [
            {name: zeros(param.shape, param.dtype) for name in self._arrays_in_use()} for _, param in self.named_params
        ]
        self._scratch = {dtype: empty((2, CHUNK), dtype) for dtype in {param.dtype for _, param in self.named_params}}

    @property
    def lr(self) -> float:
        """The learning rate; finite and at least 0, else TypeError or ValueError."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = _finite("lr", value)

    def _arrays_in_use(self) -> tuple[str, ...]:
        return self.arrays

    def zero_grad(self) -> None:
        """Fill every gradient that exists with zeros."""
        for _, param in self.named_params:
            param.zero_grad()

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        for i, (_, param) in enumerate(self.named_params):
            if param.grad is None:
                continue
            self._steps[i] += 1
            scratch = self._scratch[param.dtype]
            for weight, gradient, *state in chunks(param.writable(), param.grad, *self._state[i].values()):
                one, two = scratch[:, : weight.size]
                self._update(weight, gradient, dict(zip(self._state[i], state, strict=True)), self._steps[i], one, two)

    def _update(self, w: Array, g: Array, state: dict[str, Array], step: int, one: Array, two: Array) -> None:
        """Update one chunk ``w`` and its ``state`` from the gradient ``g`` (not changed).

        ``step`` counts the parameter's updates from 1; ``one`` and ``two`` are scratch of the chunk's size.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """``name``, ``scalars`` (JSON-able) and ``arrays`` (copies), enough to go on bit for bit."""
        scalars = {name: getattr(self, name) for name in self.hyperparameters}
        arrays = {f"{i}.{name}": array.copy() for i, state in enumerate(self._state) for name, array in state.items()}
        return {"name": type(self).__name__, "scalars": {**scalars, "steps": list(self._steps)}, "arrays": arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from another optimiser's :meth:`state_dict`, its hyperparameters included, as in torch.

        Raises ValueError or TypeError for that of another kind of optimiser or other parameters; then nothing changes.
        """
        if state.get("name") != type(self).__name__:
            raise ValueError(f"the optimiser's state is of {state.get('name')}, expected {type(self).__name__}")
        scalars, arrays = dict(state["scalars"]), state["arrays"]
        steps = scalars.pop("steps", None)
        mine = {f"{i}.{name}": array for i, kept in enumerate(self._state) for name, array in kept.items()}
        self._check_state(scalars, steps, arrays, mine)
        for name, value in scalars.items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)
        self._steps = [int(step) for step in steps]
        for name, array in mine.items():
            array[...] = arrays[name]

    def _check_state(self, scalars: dict[str, Any], steps: Any, arrays: Mapping[str, Array], mine: dict[str, Array]) -> None:
        if set(scalars) != set(self.hyperparameters):
            raise ValueError(f"the optimiser's state has {sorted(scalars)}, expected {sorted(self.hyperparameters)}")
        if not isinstance(steps, list) or len(steps) != len(self.named_params):
            raise ValueError(f"the optimiser's state must hold the steps of {len(self.named_params)} parameters")
        if set(arrays) != set(mine):
            names = ", ".join(sorted(set(arrays) ^ set(mine)))
            raise ValueError(f"the optimiser's state has other arrays than this optimiser; the difference is {names}")
        for name, array in mine.items():
            checks.array(f"the optimiser's {name}", np.asarray(arrays[name]), array.shape, array.dtype.name)


def _finite(name: str, value: object) -> float:
    """A finite number of at least 0. Raises TypeError or ValueError."""
    number = checks.number(name, value, 0.0)
    if number == math.inf:
        raise ValueError(f"{name} must be finite, got {value}")
    return number


def _betas(value: Any) -> tuple[float, float]:
    """Adam's two decay rates. Raises TypeError or ValueError."""
    message = f"betas must be two numbers in [0, 1), got {checks.describe(value)}"
    try:
        betas = [checks.number("betas", beta, 0.0, 1.0) for beta in value]
    except (TypeError, ValueError) as error:
        raise type(error)(message) from None
    if len(betas) != 2 or 1 in betas:
        raise ValueError(message)
    return betas[0], betas[1]


def _decayed(w: Array, g: Array, weight_decay: float, out: Array) -> Array:
    """g + weight_decay * w, written to ``out``; g itself where there is no decay."""
    if weight_decay == 0:
        return g
    np.multiply(w, weight_decay, out=out)
    out += g
    return out


class SGD(Optimizer):
    """Stochastic gradient descent: ``v <- momentum v + g``, ``w <- w - lr v``.

    ``nesterov`` takes the step ``w <- w - lr (g + momentum v)`` instead (Sutskever et al. 2013, in torch's form).
    ``weight_decay`` adds ``weight_decay * w`` to g. Raises ValueError for values out of range, and for nesterov without
    momentum.
    """

    arrays = ("momentum_buffer",)
    hyperparameters = ("lr", "momentum", "nesterov", "weight_decay")

    def __init__(
        self, params: Params, lr: float = 1e-3, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        self.momentum = _finite("momentum", momentum)
        self.nesterov = bool(nesterov)
        self.weight_decay = _finite("weight_decay", weight_decay)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, got momentum 0")
        super().__init__(params, lr)

    def _arrays_in_use(self) -> tuple[str, ...]:
        return self.arrays if self.momentum else ()

    def _update(self, w: Array, g: Array, state: dict[str, Array], step: int, one: Array, two: Array) -> None:
        g = _decayed(w, g, self.weight_decay, one)
        if self.momentum:
            v = state["momentum_buffer"]
            v *= self.momentum
            v += g
            if self.nesterov:
                np.multiply(v, self.momentum, out=two)
                two += g
                g = two
            else:
                g = v
        np.multiply(g, self.lr, out=one)
        w -= one


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012) as in torch: ``s <- alpha s + (1-alpha) g^2``, ``w <- w - lr g / (sqrt(s) + eps)``.

    ``momentum`` accumulates the quotient before it is applied; ``centered`` subtracts the squared mean gradient from s
    (Graves 2013); ``weight_decay`` adds ``weight_decay * w`` to g. Raises ValueError for values out of range.
    """

    arrays = ("square_avg", "momentum_buffer", "grad_avg")
    hyperparameters = ("lr", "alpha", "eps", "weight_decay", "momentum", "centered")

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
        self.alpha = checks.number("alpha", alpha, 0.0, 1.0)
        self.eps = _finite("eps", eps)
        self.weight_decay = _finite("weight_decay", weight_decay)
        self.momentum = _finite("momentum", momentum)
        self.centered = bool(centered)
        super().__init__(params, lr)

    def _arrays_in_use(self) -> tuple[str, ...]:
        used = {"square_avg": True, "momentum_buffer": self.momentum > 0, "grad_avg": self.centered}
        return tuple(name for name in self.arrays if used[name])

    def _update(self, w: Array, g: Array, state: dict[str, Array], step: int, one: Array, two: Array) -> None:
        g = _decayed(w, g, self.weight_decay, one)
        s = state["square_avg"]
        s *= self.alpha
        np.multiply(g, 1 - self.alpha, out=two)
        two *= g
        s += two
        if self.centered:
            mean = state["grad_avg"]
            _move_towards(mean, g, 1 - self.alpha, two)
            np.multiply(mean, mean, out=two)
            np.subtract(s, two, out=two)
            np.maximum(two, 0, out=two)  # rounding can make the variance negative, where torch gives NaN
            np.sqrt(two, out=two)
        else:
            np.sqrt(s, out=two)
        two += self.eps
        np.divide(g, two, out=two)
        if self.momentum:
            v = state["momentum_buffer"]
            v *= self.momentum
            v += two
            np.multiply(v, self.lr, out=two)
        else:
            two *= self.lr
        w -= two


def _move_towards(mean: Array, g: Array, weight: float, scratch: Array) -> None:
    """mean <- mean + weight (g - mean), torch's lerp."""
    np.subtract(g, mean, out=scratch)
    scratch *= weight
    mean += scratch


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015) as in torch; ``weight_decay`` adds ``weight_decay * w`` to g.

    ``m <- beta1 m + (1-beta1) g``, ``v <- beta2 v + (1-beta2) g^2``, and with ``m' = m / (1-beta1^t)`` and
    ``v' = v / (1-beta2^t)``, ``w <- w - lr m' / (sqrt(v') + eps)``. Raises ValueError for values out of range.
    """

    arrays = ("exp_avg", "exp_avg_sq")
    hyperparameters = ("lr", "betas", "eps", "weight_decay")
    decoupled_decay: ClassVar[bool] = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.betas = _betas(betas)
        self.eps = _finite("eps", eps)
        self.weight_decay = _finite("weight_decay", weight_decay)
        super().__init__(params, lr)

    def _update(self, w: Array, g: Array, state: dict[str, Array], step: int, one: Array, two: Array) -> None:
        if self.decoupled_decay:
            w *= 1 - self.lr * self.weight_decay
        else:
            g = _decayed(w, g, self.weight_decay, one)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        beta1, beta2 = self.betas
        _move_towards(m, g, 1 - beta1, two)
        v *= beta2
        np.multiply(g, 1 - beta2, out=two)
        two *= g
        v += two
        np.sqrt(v, out=two)
        two /= math.sqrt(1 - beta2**step)
        two += self.eps
        np.divide(m, two, out=two)
        two *= self.lr / (1 - beta1**step)
        w -= two


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
