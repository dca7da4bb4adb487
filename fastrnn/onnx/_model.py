"""A loaded model: it plans its steps for each new set of input shapes and runs them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import backends
from .._core.arrays import Array
from .._core.cache import SETTINGS, VERSION
from .._core.checks import describe, printable
from .._core.fork_lock import ForkLock
from ..threads import get_num_threads
from ._errors import NotStatic
from ._graph import Graph, read_graph
from ._operators import TABLE
from ._plan import Plan, build_plan
from ._rewrite import rewritten
from ._states import initial_states, state_pairs

MOST_PLANS = 32  # sets of input shapes that are cached


class OnnxModel:
    """A model from an ONNX file, run on the kernels of this package. Made by :func:`fastrnn.onnx.load`.

    The first run with new shapes of the inputs plans all steps; later ones only run them, in the same memory. Runs of
    several threads wait for each other.
    """

    def __init__(self, graph: Graph, state: Mapping[str, str] | None = None) -> None:
        self._graph = graph
        self._packed: dict[Any, Any] = {}
        self._plans: dict[Any, Plan] = {}
        self._known: frozenset[str] | None = None  # inputs whose values are part of the key of a plan
        self._recent: Plan | None = None  # of the last run, because shapes repeat
        self._lock = ForkLock()
        self._pairs = state_pairs(graph, state)
        self._states: dict[str, Array] | None = None

    @property
    def inputs(self) -> dict[str, tuple[str, tuple[Any, ...] | None]]:
        """Dtype and axes of each input, by name; an axis is a size, a name, or None where the file leaves it open."""
        return {name: (declared.dtype.name, declared.axes) for name, declared in self._graph.inputs.items()}

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return list(self._graph.outputs)

    @property
    def state(self) -> dict[str, str]:
        """The outputs that :meth:`step` feeds back, each with the input that receives it."""
        return dict(self._pairs)

    def run(self, inputs: Mapping[str, Any]) -> list[Array]:
        """Return the outputs for inputs by name, as new arrays.

        Raises TypeError for an input that is missing, unknown or of another dtype, ValueError for a shape that does not fit.
        """
        with self._lock, np.errstate(all="ignore"):
            plan = self._recent
            if plan is None or not plan.fits(inputs, VERSION.latest, get_num_threads()):
                inputs = self._checked(inputs)
                self._recent = plan = self._plan(inputs)
            plan.run(inputs)
            return [array.copy() for array in plan.outputs]

    def step(self, inputs: Mapping[str, Any]) -> list[Array]:
        """Return the outputs except the states, and keep the states for the next step.

        The first step, and the first after :meth:`reset`, starts from zeros. Raises TypeError or ValueError as :meth:`run`
        does, and ValueError for a model without states.
        """
        if not self._pairs:
            raise ValueError('this model has no states that are known: name them as load(..., state={"output": "input"})')
        if self._states is None:
            self._states = initial_states(self._graph, self._pairs, inputs)
        outputs = dict(zip(self._graph.outputs, self.run({**inputs, **self._states}), strict=True))
        self._states = {name: outputs.pop(output) for output, name in self._pairs.items()}
        return list(outputs.values())

    def reset(self, states: Mapping[str, Any] | None = None) -> None:
        """Start the next step from zeros, or from the given arrays for all states, by the names of the inputs."""
        if states is None:
            self._states = None
            return
        wanted = set(self._pairs.values())
        if set(states) != wanted:
            raise ValueError(f"states must be {', '.join(sorted(wanted))}, got {', '.join(sorted(states))}")
        self._states = {name: np.array(value) for name, value in states.items()}

    def _checked(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        declared = self._graph.inputs
        if not isinstance(inputs, Mapping):
            raise TypeError(f"inputs must map names to arrays, got {type(inputs).__name__}")
        if inputs.keys() != declared.keys():
            raise TypeError(f"inputs must be {', '.join(declared)}, got {', '.join(map(str, inputs)) or 'none'}")
        feeds = {}
        for name, (dtype, axes) in declared.items():
            value = inputs[name]
            if not isinstance(value, np.ndarray):
                value = np.asarray(value, dtype if isinstance(value, (bool, int, float)) else None)
            if value.dtype != dtype:
                raise TypeError(f"{name} must be an array of {dtype}, got {describe(value)}")
            if axes is not None and not _fits(value.shape, axes):
                raise ValueError(f"{name} must have the shape {_shape(axes)}, got {describe(value)}")
            feeds[name] = value
        return feeds

    def _plan(self, feeds: dict[str, Array]) -> Plan:
        """Return the plan for these inputs, from the cache or new, valid for the present settings."""
        version, settings_version, threads, engine = VERSION.latest, SETTINGS.latest, get_num_threads(), backends.current()
        settings = engine, engine.settings(), threads
        plan = self._plans.pop(self._key(feeds, settings), None)  # and put at the end: the first is the least recent
        if plan is None:
            plan = self._new_plan(feeds)
        if SETTINGS.unchanged_since(settings_version):  # else the plan may be for other settings than the key
            if len(self._plans) >= MOST_PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[self._key(feeds, settings)] = plan
        plan.version, plan.threads = version, threads
        return plan

    def _new_plan(self, feeds: dict[str, Array]) -> Plan:
        try:
            return build_plan(self._graph, feeds, self._known, self._packed)
        except NotStatic:
            if self._known is not None:
                raise
        # A shape or a branch depends on the values of integer inputs, so these values become part of the plan.
        whole = frozenset(name for name, value in feeds.items() if value.dtype.kind in "iub")
        plan = build_plan(self._graph, feeds, whole, self._packed)
        self._known = whole
        self._plans.clear()
        return plan

    def _key(self, feeds: dict[str, Array], settings: tuple[Any, ...]) -> tuple[Any, ...]:
        known = [feeds[name].tobytes() for name in sorted(self._known or ())]
        return settings, *(value.shape for value in feeds.values()), *known


def _fits(shape: tuple[int, ...], axes: tuple[Any, ...]) -> bool:
    return len(shape) == len(axes) and all(n == a or type(a) is not int for n, a in zip(shape, axes, strict=True))


def _shape(axes: tuple[Any, ...]) -> str:
    return f"({', '.join('?' if axis is None else str(axis) for axis in axes)})"


def load(source: str | os.PathLike[str] | bytes, *, state: Mapping[str, str] | None = None) -> OnnxModel:
    """Load an ONNX model to run it on this package's kernels.

    Parameters
    ----------
    source
        a path, or the bytes of a file.
    state
        the outputs that :meth:`OnnxModel.step` feeds back, each with the name of the input that receives it. None finds
        them by their names, such as ``hn`` and ``h`` or ``stateN`` and ``state``.

    Returns
    -------
    OnnxModel

    Raises
    ------
    OSError
        if the file cannot be read
    ValueError
        for an invalid file, or for operators that this package lacks: the message names all of them
    """
    graph = read_graph(source)
    missing = sorted({node.op for node in graph.all_nodes()} - TABLE.keys())
    if missing:
        raise ValueError(f"the model must use only operators that fastrnn has, got {printable(', '.join(missing))}")
    return OnnxModel(rewritten(graph), state)
