"""A model chunk by chunk: what is computed once, what goes on in time, and what is known only up to now.

Along one time axis, the *streamed* one, a value is

    still       it depends on no input that has the axis: computed with the first chunk, and kept
    flowing     it has the axis: a chunk of it is computed from a chunk of what it depends on
    so far      it depends on the axis and has it no longer, as a final state: its value is that of the sequence up to now
"""

from __future__ import annotations

from typing import Any

from .._core.checks import describe
from ..layers._symbolic.symbols import UNKNOWN, Nest, Spec, Symbol, flat
from .calls import Call, GraphPlan
from .plan import Plan, Step, Values, picked, store
from .trace import Graph

STILL, FLOWING, SO_FAR = "still", "flowing", "so far"
State = tuple[tuple[Any, ...], tuple[Any, ...]]  # of each flowing step, and the still values that are kept


class Stream:
    """A plan whose steps all flow, chunk by chunk."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._still: list[Step] = []
        self._moving, self._flows = plan.steps, [True] * len(plan.steps)
        self._kept: list[int] = []  # the numbers of the still values that later chunks need

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copy of a model makes its own

    def run(self, values: Values, state: State | None, lengths: Any) -> tuple[Nest, State]:
        """The outputs and the state after a chunk, from a list that begins with the inputs.

        The inputs that are still are only looked at in the first chunk, when ``state`` is None. Raises TypeError for a state
        that is not this model's.
        """
        plan = self.plan
        values += [None] * (plan.size - len(values))
        before: tuple[Any, ...] = (None,) * len(self._moving)
        if state is None:
            for step in self._still:
                options = step.keywords(lengths) if lengths else step.options
                store(step.outputs, step.runner(*picked(step.args, values), **options), values)
            for number in self._kept:  # callers may go on to use the arrays that they have given for others
                values[number] = values[number].copy()
        else:
            before, kept = self._checked(state)
            for number, value in zip(self._kept, kept, strict=True):
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
                step.hand_on(lengths, values)
            after.append(now)
        return picked(plan.outputs, values), (tuple(after), tuple([values[number] for number in self._kept]))

    def _checked(self, state: Any) -> State:
        pair = isinstance(state, tuple) and len(state) == 2 and all(isinstance(part, tuple) for part in state)
        if not pair or len(state[0]) != len(self._moving) or len(state[1]) != len(self._kept):
            raise TypeError(f"state must be what this model's last step gave, or None, got {describe(state)}")
        return state[0], state[1]


class GraphStream(Stream):
    """How a graph is streamed. Raises ValueError, saying why, for one that cannot be."""

    def __init__(self, graph: Graph, plan: GraphPlan) -> None:
        super().__init__(plan)
        self.axis = _streamed_axis(graph)
        self._numbers = plan.numbers
        self._kinds: dict[int, str] = {}
        for symbol in graph.flat_inputs:
            self._kinds[plan.numbers[symbol]] = FLOWING if symbol.spec.time == self.axis else STILL
        self.still_inputs = [self._kinds[plan.numbers[symbol]] == STILL for symbol in graph.flat_inputs]
        self.step_specs = [  # of the inputs of one step: without the axis
            Spec(spec.shape[1:], spec.dtype) if spec.time == self.axis else spec
            for spec in (s.spec for s in graph.flat_inputs)
        ]
        kinds = [(step, self._step_kind(step, graph)) for step in plan.steps]
        self._still = [step for step, kind in kinds if kind == STILL]
        self._moving = [step for step, kind in kinds if kind != STILL]
        self._flows = [kind == FLOWING for _, kind in kinds if kind != STILL]
        self._kept = self._find_kept()

    def _step_kind(self, step: Call, graph: Graph) -> str:
        """What kind a step is, and the kinds of what it gives."""
        kinds = [self._kinds[number] for number in flat(step.args)]
        kind = FLOWING if FLOWING in kinds else SO_FAR if SO_FAR in kinds else STILL
        name = graph.call_name(step.node)
        if kind == FLOWING:
            if SO_FAR in kinds:
                why = f"{name} takes a value that is known only at the end of the sequence"
                raise ValueError(f"{why} (such as a final state), and it begins before")
            refusal = step.layer.not_streaming()
            if refusal is not None:
                raise ValueError(f"{name}: {refusal}")
            along = getattr(step.layer, "streamed_axis", None)  # of a model within, which has its own letters
            if along is not None and along(step.specs) != self.axis:
                raise ValueError(f"{name} goes on along another time axis than {self.axis}")
        for symbol in flat(step.node.outputs):
            if kind == FLOWING and symbol.spec.time == UNKNOWN:
                raise ValueError(f"{name} makes a time axis of others")
            moves = symbol.spec.time == self.axis
            self._kinds[self._numbers[symbol]] = kind if kind != FLOWING or moves else SO_FAR
        return kind

    def _find_kept(self) -> list[int]:
        """The still values that later chunks need: what moving steps take, except initial states, and outputs."""
        needed = set(flat(self.plan.outputs))
        for step in self._moving:
            needed.update(flat(step.args[:1] if step.layer.carries_state else step.args))
        return sorted(number for number in needed if self._kinds[number] == STILL)


def _streamed_axis(graph: Graph) -> str:
    """The time axis of the outputs; where they have none, that of the inputs. Raises ValueError where there is not one."""
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
