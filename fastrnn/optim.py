"""Optimisers with torch.optim's update rules, and gradient clipping and checks from :mod:`fastrnn.gradients`.

The backend in use updates all parameters in one pass and in place. A step allocates no memory, except that :class:`Muon`
needs some for its matrices. ``params`` is always an iterable of parameters or of (name, parameter) pairs as from
``model.named_parameters()``. A parameter whose gradient is None does not change, as in torch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from . import backends
from ._core import checks
from ._core.arrays import Array
from ._core.cache import Cached, cached
from ._core.memory import zeros
from ._core.parameter import Parameter
from .backends.base import Backend
from .backends.orthogonal import NS_STEPS, orthogonalised
from .backends.structs import Rule, Slot
from .gradients import (
    NonFiniteGradient,
    NonFiniteLoss,
    NonFiniteWeight,
    Params,
    check_finite,
    check_finite_weights,
    clip_grad_norm,
    clip_grad_value,
    grad_norm,
    named,
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


Checks = dict[str, Callable[[str, Any], Any]]  # of hyperparameters, by name

_MOST_STEPS = 2**62  # which leaves room to count on in int64
_MOST_NS_STEPS = 100  # rounding errors hide what more of them change


def _finite(name: str, value: object) -> float:
    """Return a finite number of at least 0. Raises TypeError or ValueError."""
    number = checks.number(name, value, 0.0)
    if number == math.inf:
        raise ValueError(f"{name} must be finite, got {checks.describe(value)}")
    return number


def _fraction(name: str, value: object) -> float:
    """Return a number in [0, 1]. Raises TypeError or ValueError."""
    return checks.number(name, value, 0.0, 1.0)


def _decay(name: str, value: object) -> float:
    """Return the decay rate of a mean, in [0, 1). Raises TypeError or ValueError."""
    rate = _fraction(name, value)
    if rate == 1:
        raise ValueError(f"{name} must lie in [0, 1), got 1: no gradient would ever count")
    return rate


def _ns_steps(name: str, value: object) -> int:
    """Return a number of iterations of which a step has time for. Raises TypeError or ValueError."""
    number = checks.positive_int(name, value)
    if number > _MOST_NS_STEPS:
        raise ValueError(f"{name} must be at most {_MOST_NS_STEPS}, got {checks.describe(value)}")
    return number


def _betas(name: str, value: Any) -> tuple[float, float]:
    """Return Adam's two decay rates. Raises TypeError or ValueError."""
    message = f"{name} must be two numbers in [0, 1), got {checks.describe(value)}"
    try:
        betas = [_decay(name, beta) for beta in value]
    except (TypeError, ValueError) as error:
        raise type(error)(message) from None
    if len(betas) != 2:
        raise ValueError(message)
    return betas[0], betas[1]


def _parts(state: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the name, the scalars and the arrays of an optimiser's state. Raises TypeError if it has another structure."""
    kinds = {"name": str, "scalars": Mapping, "arrays": Mapping}
    if not isinstance(state, Mapping) or not all(isinstance(state.get(key), kind) for key, kind in kinds.items()):
        raise TypeError(f"the optimiser's state must have a name, scalars and arrays, got {checks.describe(state)}")
    return state["name"], dict(state["scalars"]), dict(state["arrays"])


class Optimizer:
    """Base class of all optimisers: the parameters, their state arrays, and the step.

    ``lr`` may be set at any time, as schedules do. A subclass defines ``arrays``, the names of its state arrays (torch's);
    ``hyperparameters``, for each name a function ``check(name, value)`` that returns the value or raises; and its update
    rule. Its constructor passes all hyperparameters to ``Optimizer.__init__`` by name; a missing or further one raises
    TypeError.
    """

    arrays: ClassVar[tuple[str, ...]] = ()
    hyperparameters: ClassVar[Checks] = {"lr": _finite}

    def __init__(self, params: Params, **hyperparameters: Any) -> None:
        self._set(hyperparameters)
        self.named_params = named(params)
        if not self.named_params:
            raise ValueError("params must hold at least one parameter, got none")
        # Number of updates of each parameter: Adam's bias correction needs a count for each, as in torch.
        self._steps = np.zeros(len(self.named_params), np.int64)
        self._state = [
            {name: zeros(param.shape, param.dtype) for name in self._arrays_of(param)} for _, param in self.named_params
        ]
        self._prepared: Cached | None = None  # the parameters in a backend's form

    @property
    def lr(self) -> float:
        """The learning rate. Setting it raises TypeError or ValueError unless it is finite and at least 0."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = _finite("lr", value)

    def _set(self, hyperparameters: Mapping[str, Any]) -> None:
        """Check and set all hyperparameters."""
        if hyperparameters.keys() != self.hyperparameters.keys():
            expected, got = sorted(self.hyperparameters), sorted(hyperparameters)
            raise TypeError(f"{type(self).__name__} needs the hyperparameters {expected}, got {got}")
        for name, check in self.hyperparameters.items():
            setattr(self, name, check(name, hyperparameters[name]))

    def _arrays_of(self, param: Parameter) -> tuple[str, ...]:
        """Return the names of a parameter's state arrays."""
        return self.arrays

    def _in_one_pass(self, param: Parameter) -> bool:
        """Return whether the backend updates this parameter in its one pass."""
        return param.grad is not None

    def zero_grad(self) -> None:
        """Fill every gradient that exists with zeros."""
        for _, param in self.named_params:
            param.zero_grad()

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        key = backends.arrays_key()
        backend = key[0]
        self._prepared = current = cached(self._prepared, key, lambda: self._prepare(backend))
        content, params = current.value
        try:
            backend.update(content, self._rule())
        finally:  # after the update: weights packed during it may be half written and must be invalidated
            Parameter.changed(params)

    def _prepare(self, backend: Backend) -> tuple[Any, list[Parameter]]:
        """Return the backend's form of the update, and the parameters that it updates."""
        params = [param for _, param in self.named_params if self._in_one_pass(param)]
        return backend.prepare_update(self._slots()), params

    def _slots(self) -> list[Slot]:
        """Return a slot for each parameter that the backend updates."""
        slots = []
        for i, (_, param) in enumerate(self.named_params):
            if self._in_one_pass(param):
                assert param.grad is not None
                state = tuple(self._state[i].get(name) for name in self.arrays)
                slots.append(Slot(param.writable(), param.grad, self._steps[i : i + 1], state))
        return slots

    def _rule(self) -> Rule:
        """Return the update rule with the current hyperparameters."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return ``name``, ``scalars`` (JSON-able) and ``arrays`` (copies), from which training resumes bit for bit."""
        scalars = {name: getattr(self, name) for name in self.hyperparameters}
        arrays = {name: array.copy() for name, array in self._named_arrays()}
        return {"name": type(self).__name__, "scalars": {**scalars, "steps": self._steps.tolist()}, "arrays": arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load another optimiser's :meth:`state_dict`, including its hyperparameters, as in torch.

        Raises ValueError or TypeError, and changes nothing, if the state is from another kind of optimiser or does not fit
        the parameters.
        """
        name, scalars, arrays = _parts(state)
        if name != type(self).__name__:
            raise ValueError(f"the optimiser's state is of {name}, expected {type(self).__name__}")
        steps = self._checked_steps(scalars.pop("steps", None))
        if set(scalars) != set(self.hyperparameters):
            expected, got = sorted(self.hyperparameters), sorted(map(str, scalars))
            raise ValueError(f"the optimiser's state has {got}, expected {expected}")
        other = copy.copy(self)
        try:
            other._set(scalars)
        except (TypeError, ValueError) as error:
            raise type(error)(f"the optimiser's state: {error}") from None
        self._check_arrays(arrays, other)
        self._set(scalars)
        self._steps[:] = steps
        for name, array in self._named_arrays():
            array[...] = arrays[name]

    def _named_arrays(self) -> list[tuple[str, Array]]:
        """Return the state arrays with their names in :meth:`state_dict`."""
        return [(f"{i}.{name}", array) for i, state in enumerate(self._state) for name, array in state.items()]

    def _checked_steps(self, steps: Any) -> list[int]:
        """Return the number of updates of each parameter, from a state."""
        if not isinstance(steps, list) or len(steps) != len(self.named_params):
            raise ValueError(f"the optimiser's state must hold the steps of {len(self.named_params)} parameters")
        counts = [checks.positive_int("the optimiser's state: steps", each, 0) for each in steps]
        if max(counts) > _MOST_STEPS:
            raise ValueError(f"the optimiser's state: steps must be at most 2^62, got {checks.describe(max(counts))}")
        return counts

    def _check_arrays(self, arrays: Mapping[str, Array], other: Optimizer) -> None:
        """Raise unless a state's arrays fit this optimiser and ``other``, a copy with the state's hyperparameters."""
        theirs = {f"{i}.{name}" for i, (_, param) in enumerate(self.named_params) for name in other._arrays_of(param)}
        mine = dict(self._named_arrays())
        if difference := (set(arrays) ^ set(mine)) | (theirs ^ set(mine)):
            names = ", ".join(sorted(map(str, difference)))
            raise ValueError(f"the optimiser's state has other arrays than this optimiser; the difference is {names}")
        for name, array in mine.items():
            checks.array(f"the optimiser's {name}", np.asarray(arrays[name]), array.shape, array.dtype.name)


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
        "lr": _finite,
        "momentum": _finite,
        "nesterov": checks.flag,
        "weight_decay": _finite,
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
        "lr": _finite, "alpha": _fraction, "eps": _finite, "weight_decay": _finite, "momentum": _finite,
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
    hyperparameters: ClassVar[Checks] = {"lr": _finite, "betas": _betas, "eps": _finite, "weight_decay": _finite}
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


class Muon(AdamW):
    """Muon (Jordan et al. 2024) for the weight matrices of recurrent layers, and AdamW for all other parameters.

    The rule of a matrix w ``[N, I]`` is ``m <- momentum m + (1 - momentum) g``, ``u = momentum m + (1 - momentum) g``,
    ``w <- (1 - lr weight_decay) w``, ``w <- w - 0.2 sqrt(max(N, I)) lr O(u)``. O(u) has u's singular vectors, and singular
    values near 1, by Newton and Schulz's iteration, so directions with small gradients are learnt as fast as the others. The
    factor makes the updates about as large as AdamW's (Liu et al. 2025, equation 4; torch.optim.Muon with
    ``adjust_lr_fn="match_rms_adamw"``), so both rules share ``lr`` and ``weight_decay``. A step costs as many operations for
    a small batch as for a large one, some 60 H^3 multiply-adds for an LSTM's matrix [4H, H], so it pays off for batches of
    many more than H tokens. Raises TypeError or ValueError for wrong values.

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

    hyperparameters: ClassVar[Checks] = {**AdamW.hyperparameters, "momentum": _decay, "ns_steps": _ns_steps}
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
