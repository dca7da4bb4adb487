"""Calls of layers as steps on numbered values: how a model is run and how its gradients flow back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import memory
from ..functional import USED_TAPE
from ..layers._symbolic.symbols import Nest, Spec, flat, is_nested, mapped
from ..layers.base import Layer

Array = NDArray[Any]
Values = list[Any]  # by number; None where there is none (yet, or no longer)


class Step:
    """One call of a layer: ``values[outputs] = layer(*values[args])``, both nests of numbers.

    A number in place of several outputs is that of the first. ``runner`` is what is called, the layer or what stands in for
    it; ``drop`` are the values that nothing takes after. ``useful`` says whether a parameter's gradient flows through the
    step, ``no_dx`` are the options of its backward where none flows through its inputs (through x, where there is a state).
    """

    __slots__ = ("args", "drop", "layer", "no_dx", "options", "outputs", "runner", "useful", "x")

    def __init__(self, layer: Layer, args: tuple[Nest, ...], outputs: Nest, options: dict[str, Any]) -> None:
        self.layer, self.options = layer, options
        self.runner: Any = layer
        self.args, self.outputs = args, outputs
        one = len(args) == 1 and isinstance(args[0], int) and isinstance(outputs, int)
        self.x: Any = args[0] if one else None  # where one value gives one: most steps of small layers go this short way
        self.drop: tuple[int, ...] = ()
        self.useful = True
        self.no_dx: dict[str, Any] = {}

    def keywords(self, lengths: Any) -> dict[str, Any]:
        """The options of the call, with the lengths of its time axis where the layer takes them. Raises ValueError."""
        raise NotImplementedError

    def hand_on(self, lengths: Any, values: Values) -> None:
        """Add the lengths of the outputs to those that are known, after the call and before anything is dropped."""


class Plan:
    """Steps in the order in which they are run, and the numbers of the ``outputs``. Values are numbered from the inputs on.

    A layer of ids whose vectors only feed a recurrent layer is run with that one (:meth:`Layer.fused_with`).
    """

    def __init__(self, steps: list[Step], outputs: Nest, size: int) -> None:
        self.outputs = outputs
        self.output_numbers = tuple(flat(outputs))
        self.size = size  # the number of values
        self.steps = _fused(steps, self.output_numbers)
        self._find_drops()
        self._find_useful()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copy of a model makes its own

    def _find_drops(self) -> None:
        kept = set(self.output_numbers)
        for step in reversed(self.steps):
            last = {i for i in (*flat(step.args), *flat(step.outputs)) if i not in kept}
            kept |= last
            step.drop = tuple(last)

    def _find_useful(self) -> None:
        useful: set[int] = set()
        for step in self.steps:
            through = [any(i in useful for i in flat(arg)) for arg in step.args]
            dx_useful = through[0] if step.layer.carries_state else any(through)
            step.no_dx = {"need_dx": False} if step.runner.takes_need_dx and not dx_useful else {}
            step.useful = any(through) or bool(step.layer.parameters())
            if step.useful:
                useful.update(flat(step.outputs))

    def run(self, values: Values, lengths: Any = None) -> Nest:
        """The outputs, from a list that begins with the inputs: inference, which keeps nothing."""
        values += [None] * (self.size - len(values))
        for step in self.steps:
            options = step.keywords(lengths) if lengths else step.options
            args = picked(step.args, values) if step.x is None else (values[step.x],)
            store(step.outputs, step.runner(*args, **options), values)
            if lengths:
                step.hand_on(lengths, values)
            for i in step.drop:
                values[i] = None
        return picked(self.outputs, values)

    def train(self, values: Values, lengths: Any = None) -> tuple[Nest, list[Entry]]:
        """The outputs, and what their gradients need to flow back: the entries of a :class:`Tape`."""
        values += [None] * (self.size - len(values))
        entries: list[Entry] = []
        for step in self.steps:
            options = step.keywords(lengths) if lengths else step.options
            args = picked(step.args, values) if step.x is None else (values[step.x],)
            result, backward = step.runner.forward(*args, **options)
            several = step.outputs.__class__ is tuple and not step.layer.none_is_zero
            specs = mapped(result, lambda array: Spec(array.shape, array.dtype)) if several else None
            entries.append((step, backward, specs))
            store(step.outputs, result, values)
            if lengths:
                step.hand_on(lengths, values)
            for i in step.drop:
                values[i] = None
        return picked(self.outputs, values), entries


def _fused(steps: list[Step], outputs: tuple[int, ...]) -> list[Step]:
    """The steps without those that run as a part of the one that alone takes what they give."""
    uses = Counter([*outputs, *(i for step in steps for i in flat(step.args))])
    uses.update(outputs)  # an output is needed as it is
    made_by = {step.outputs: step for step in steps if isinstance(step.outputs, int)}
    gone = set()
    for step in steps:
        x = step.args[0]
        before = made_by.get(x) if isinstance(x, int) and uses[x] == 1 and not step.options else None
        runner = None if before is None else step.layer.fused_with(before.layer)
        if before is not None and runner is not None:
            step.runner, step.args = runner, (before.args[0], *step.args[1:])
            step.x = before.x if step.x is not None else None
            gone.add(before)
    return [step for step in steps if step not in gone]


Entry = tuple[Step, Callable[..., Any], Nest]  # a step, its backward, the specs of its outputs if it wants zeros for None


class Tape:
    """The backward of every step of one run, to be used once."""

    __slots__ = ("_entries",)

    def __init__(self, entries: list[Entry]) -> None:
        self._entries: list[Entry] | None = entries

    def backward(self, numbers: tuple[int, ...], douts: list[Array | None], need_dx: bool) -> Sums:
        """The gradients by the values' numbers, from those of some (None for zero); adds into the parameters' own."""
        entries, self._entries = self._entries, None
        if entries is None:
            raise RuntimeError(USED_TAPE)
        sums = Sums()
        totals = sums.totals
        sums.add(numbers, douts)
        while entries:  # what is done is let go of: the memory of its tape is free for the next
            step, backward, specs = entries.pop()
            dout = totals.pop(step.outputs, None) if step.x is not None else sums.take(step.outputs)
            if dout is None or not (step.useful or need_dx):
                continue
            options = {} if need_dx else step.no_dx
            if step.x is None:
                if not _is_zero(dout):
                    sums.add(step.args, _gradients(step, backward, dout, specs, options))
                continue
            dx = backward(dout, **options)
            if dx.__class__ is tuple:
                dx = dx[0]
            if step.x in totals:
                sums.add(step.args, (dx,))
            elif dx is not None:
                totals[step.x] = dx
        return sums


def _gradients(step: Step, backward: Callable[..., Any], dout: Nest, specs: Nest, options: dict[str, Any]) -> Sequence[Nest]:
    """The gradients of a step's arguments."""
    if specs is not None:
        dout = _filled(dout, specs)
    several = dout.__class__ is tuple and not step.layer.one_gradient
    result = backward(*dout, **options) if several else backward(dout, **options)
    return (
        (result,) if result.__class__ is not tuple or (len(step.args) == 1 and step.args[0].__class__ is tuple) else result
    )


def _filled(dout: Nest, specs: Nest) -> Nest:
    """Zeros for the Nones."""
    if is_nested(specs):
        parts = dout if isinstance(dout, tuple) else (None,) * len(specs)
        return tuple(map(_filled, parts, specs))
    return memory.zeros(specs.shape, specs.dtype) if dout is None and specs is not None else dout


class Sums:
    """The gradient of each value, summed over all that take it. What is given is never written to."""

    def __init__(self) -> None:
        self.totals: dict[int, Array] = {}
        self._own: set[int] = set()  # arrays made here, which may be added to

    def add(self, numbers: tuple[Nest, ...], gradients: Sequence[Nest]) -> None:
        """Add gradients (None for zero) of the values of these numbers."""
        for number, gradient in zip(numbers, gradients, strict=False):  # a state that was not given has a gradient too
            if gradient is None or number is None:
                continue
            if number.__class__ is tuple:
                self.add(number, gradient)
            elif number not in self.totals:
                self.totals[number] = gradient
            elif number in self._own:
                self.totals[number] += gradient
            else:
                self._own.add(number)
                total = memory.empty(gradient.shape, gradient.dtype)
                self.totals[number] = np.add(self.totals[number], gradient, out=total)

    def take(self, numbers: Nest) -> Nest:
        """The sums of a nest of numbers, which are then forgotten; None where nothing was added."""
        if numbers.__class__ is tuple:
            return tuple([self.take(number) for number in numbers])
        return self.totals.pop(numbers, None)


def picked(numbers: Nest, values: Values) -> Nest:
    """The values of a nest of numbers."""
    if numbers.__class__ is int:  # a model's own time, where its layers are small, is spent here
        return values[numbers]
    return None if numbers is None else tuple([picked(number, values) for number in numbers])


def _is_zero(dout: Nest) -> bool:
    """Whether no gradient has come."""
    return all(map(_is_zero, dout)) if dout.__class__ is tuple else dout is None


def store(numbers: Nest, result: Nest, values: Values) -> None:
    """Put a nest of arrays at their numbers, the first of several at a number alone."""
    if numbers.__class__ is int:
        values[numbers] = result[0] if result.__class__ is tuple else result
    elif numbers is not None:
        for number, item in zip(numbers, result, strict=True):
            store(number, item, values)
