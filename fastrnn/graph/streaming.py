"""Streaming: a model run chunk by chunk along one time axis, the *streamed* axis.

There are three kinds of values:

    still       does not depend on an input with the streamed axis; computed with the first chunk and saved
    flowing     has the streamed axis; each chunk of it is computed from a chunk of its inputs
    so far      depends on the streamed axis but does not have it, such as a final state; holds for the sequence up to now
"""

from __future__ import annotations

from typing import Any

from .._core.checks import describe
from ..layers._symbolic.symbols import UNKNOWN, Nest, Spec, Symbol, flat
from .calls import Call, GraphPlan, Lengths
from .plan import Plan, Step, Values, picked, store
from .trace import Graph

STILL, FLOWING, SO_FAR = "still", "flowing", "so far"
# The states of the moving steps and the saved still values. A model with lengths of still sequences adds these at the end.
State = tuple[tuple[Any, ...], tuple[Any, ...]]


class Stream:
    """Chunk-by-chunk execution of a plan in which every step takes values along the streamed axis."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._still: list[Step] = []
        self._moving, self._flows = plan.steps, [True] * len(plan.steps)
        self._saved: list[int] = []  # the numbers of the still values that later chunks need

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copied model builds its own stream

    def run(self, values: Values, state: State | None, lengths: Any) -> tuple[Nest, State]:
        """Run one chunk and return the outputs and the new state.

        Parameters
        ----------
        values
            The inputs; extended by the other values. Still inputs are read only in the first chunk.
        state
            The state after the last chunk; None at the first one.
        lengths
            The lengths as the steps take them, or None.

        Raises
        ------
        TypeError
            If the state is not this model's.
        """
        plan = self.plan
        values += [None] * (plan.size - len(values))
        before: tuple[Any, ...] = (None,) * len(self._moving)
        if state is None:
            for step in self._still:
                options = step.keywords(lengths) if lengths else step.options
                store(step.outputs, step.runner(*picked(step.args, values), **options), values)
            for number in self._saved:  # copied because callers may reuse their input arrays
                values[number] = values[number].copy()
        else:
            before, saved = self._checked(state)
            for number, value in zip(self._saved, saved, strict=True):
                values[number] = value
        after = []
        for step, flows, carried in zip(self._moving, self._flows, before, strict=True):
            args, options, now = picked(step.args, values), step.keywords(lengths) if lengths else step.options, None
            if not flows:
                result = step.runner(*args, **options)
            elif step.layer.carries_state:
                begin = carried if carried is not None or len(args) == 1 else args[1]
                result, now = step.runner.stream(args[0], state=begin, **options)
            else:
                result, now = step.runner.stream(*args, state=carried, **options)
            store(step.outputs, result, values)
            if lengths:
                step.pass_lengths(lengths, values)
            after.append(now)
        return picked(plan.outputs, values), (tuple(after), tuple([values[number] for number in self._saved]))

    def _checked(self, state: Any) -> State:
        pair = isinstance(state, tuple) and len(state) in (2, 3) and all(isinstance(part, tuple) for part in state[:2])
        if not pair or len(state[0]) != len(self._moving) or len(state[1]) != len(self._saved):
            raise TypeError(f"state must be the one that this model's last step returned, or None, got {describe(state)}")
        return state[0], state[1]


class GraphStream(Stream):
    """Chunk-by-chunk execution of a graph. Raises ValueError with the reason if a graph cannot be streamed."""

    def __init__(self, graph: Graph, plan: GraphPlan) -> None:
        super().__init__(plan)
        self.axis = _streamed_axis(graph)
        self._numbers = plan.numbers
        self._kinds: dict[int, str] = {}
        for symbol in graph.flat_inputs:
            self._kinds[plan.numbers[symbol]] = FLOWING if symbol.spec.time == self.axis else STILL
        self.still_inputs = [self._kinds[plan.numbers[symbol]] == STILL for symbol in graph.flat_inputs]
        self.step_specs = [  # of a single time step, so without the streamed axis
            Spec(spec.shape[1:], spec.dtype) if spec.time == self.axis else spec
            for spec in (s.spec for s in graph.flat_inputs)
        ]
        kinds = [(step, self._step_kind(step, graph)) for step in plan.steps]
        self._still = [step for step, kind in kinds if kind == STILL]
        self._moving = [step for step, kind in kinds if kind != STILL]
        self._flows = [kind == FLOWING for _, kind in kinds if kind != STILL]
        self._saved = self._find_saved()

    def still_lengths(self, state: Any, lengths: Lengths) -> Lengths:
        """Return the first chunk's lengths of the other time axes, ``[B, 1]``, which later states hold after the pair."""
        if state is None:
            return {axis: of_axis[:, None] for axis, of_axis in lengths.items() if axis != self.axis}
        return state[2] if isinstance(state, tuple) and len(state) == 3 and isinstance(state[2], dict) else {}

    def _step_kind(self, step: Call, graph: Graph) -> str:
        """Return the kind of a step, and set the kinds of its outputs."""
        kinds = [self._kinds[number] for number in flat(step.args)]
        kind = FLOWING if FLOWING in kinds else SO_FAR if SO_FAR in kinds else STILL
        name = graph.call_name(step.node)
        if kind == FLOWING:
            if SO_FAR in kinds:
                why = f"{name} takes a value that is known only at the end of the sequence"
                raise ValueError(f"{why} (such as a final state), but it must start earlier")
            refusal = step.layer.not_streaming()
            if refusal is not None:
                raise ValueError(f"{name}: {refusal}")
            along = getattr(step.layer, "streamed_axis", None)  # set for a nested model, which has its own letters
            if along is not None and along(step.specs) != self.axis:
                raise ValueError(f"{name} is streamed along another time axis than {self.axis}")
        for symbol in flat(step.node.outputs):
            if kind == FLOWING and symbol.spec.time == UNKNOWN:
                raise ValueError(f"{name} combines several time axes into a new one")
            moves = symbol.spec.time == self.axis
            self._kinds[self._numbers[symbol]] = kind if kind != FLOWING or moves else SO_FAR
        return kind

    def _find_saved(self) -> list[int]:
        """Return the still values that later chunks need: outputs, and inputs of moving steps.

        A flowing step needs its initial state only once, but one on values so far begins again at each chunk.
        """
        needed = set(flat(self.plan.outputs))
        for step, flows in zip(self._moving, self._flows, strict=True):
            needed.update(flat(step.args[:1] if step.layer.carries_state and flows else step.args))
        return sorted(number for number in needed if self._kinds[number] == STILL)


def _streamed_axis(graph: Graph) -> str:
    """Return the outputs' time axis, or the inputs' if the outputs have none. Raises ValueError unless there is just one."""
    inputs = _time_axes(graph.flat_inputs)
    outputs = [axis for axis in _time_axes(graph.flat_outputs) if axis in inputs]
    axes = outputs or inputs
    if len(axes) == 1:
        return axes[0]
    if not axes:
        raise ValueError("no input has a variable time axis")
    raise ValueError(f"{'its outputs' if outputs else 'its inputs'} have several time axes: {', '.join(axes)}")


def _time_axes(symbols: list[Symbol]) -> list[str]:
    return list(dict.fromkeys(s.spec.time for s in symbols if s.spec.time is not None))
