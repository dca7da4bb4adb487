"""The base class of all optimisers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .. import backends
from .._core import checks
from .._core.arrays import Array
from .._core.cache import Cached, cached
from .._core.memory import zeros
from .._core.parameter import Parameter
from ..backends.base import Backend
from ..backends.structs import Rule, Slot
from ..gradients import Params, named
from .hyperparameters import Checks, finite

_MOST_STEPS = 2**62  # which leaves room to count on in int64


class Optimizer:
    """Base class of all optimisers: the parameters, their state arrays, and the step.

    Hyperparameters may be set at any time, as schedules set ``lr``, unless the new value needs other state arrays. A
    subclass defines ``arrays``, the names of its state arrays (torch's); ``hyperparameters``, for each name a function
    ``check(name, value)`` that returns the value or raises; and its update rule. Its constructor passes all
    hyperparameters to ``Optimizer.__init__`` by name; a missing or further one raises TypeError.
    """

    arrays: ClassVar[tuple[str, ...]] = ()
    hyperparameters: ClassVar[Checks] = {"lr": finite}

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
        self._lr = finite("lr", value)

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute. A hyperparameter that is set later is checked as the constructor does."""
        if name in self.hyperparameters and name != "lr" and "_state" in vars(self):
            other = copy.copy(self)
            other._set({**{each: getattr(self, each) for each in self.hyperparameters}, name: value})
            if dict(self._named_arrays()).keys() != other._array_names():
                needed = f"make a new {type(self).__name__}, because it needs other state arrays"
                raise ValueError(f"{name} is {getattr(self, name)!r} and cannot become {value!r}: {needed}")
            value = getattr(other, name)
        super().__setattr__(name, value)

    def _set(self, hyperparameters: Mapping[str, Any]) -> None:
        """Check and set all hyperparameters."""
        if hyperparameters.keys() != self.hyperparameters.keys():
            expected, got = sorted(self.hyperparameters), sorted(hyperparameters)
            raise TypeError(f"{type(self).__name__} needs the hyperparameters {expected}, got {got}")
        for name, check in self.hyperparameters.items():
            super().__setattr__(name, check(name, hyperparameters[name]))

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

    def _array_names(self) -> set[str]:
        """Return the names of the state arrays that the hyperparameters need."""
        return {f"{i}.{name}" for i, (_, param) in enumerate(self.named_params) for name in self._arrays_of(param)}

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
        theirs = other._array_names()
        mine = dict(self._named_arrays())
        if difference := (set(arrays) ^ set(mine)) | (theirs ^ set(mine)):
            names = ", ".join(sorted(map(str, difference)))
            raise ValueError(f"the optimiser's state has other arrays than this optimiser; the difference is {names}")
        for name, array in mine.items():
            checks.array(f"the optimiser's {name}", np.asarray(arrays[name]), array.shape, array.dtype.name)


def _parts(state: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the name, the scalars and the arrays of an optimiser's state. Raises TypeError if it has another structure."""
    kinds = {"name": str, "scalars": Mapping, "arrays": Mapping}
    if not isinstance(state, Mapping) or not all(isinstance(state.get(key), kind) for key, kind in kinds.items()):
        raise TypeError(f"the optimiser's state must have a name, scalars and arrays, got {checks.describe(state)}")
    return state["name"], dict(state["scalars"]), dict(state["arrays"])
