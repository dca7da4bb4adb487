"""Execution plans: calls of layers as steps on numbered values, run forward and backward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._core import memory
from .._core.arrays import Array
from ..functional import USED_TAPE
from ..layers._symbolic.symbols import Nest, Spec, flat, is_nested, mapped
from ..layers.base import Layer

Values = list[Any]  # by number; None before a value is computed and after it is dropped


class Step:
    """Call of a layer: ``values[outputs] = layer(*values[args])``, where ``args`` and ``outputs`` are nests of numbers.

    ``outputs``
        If it is one number but the layer has several outputs, the number belongs to the first output.
    ``runner``
        The layer, or a replacement that fuses it with the layer before.
    ``x``
        The number of the input if the step maps one value to one value, else None.
    ``drop``
        The values that no later step needs.
    ``useful``
        True if a parameter's gradient flows through the step.
    ``no_dx``
        The options of backward if no parameter's gradient flows through its inputs (only x if there is a state).
    """

    __slots__ = ("args", "drop", "layer", "no_dx", "options", "outputs", "runner", "useful", "x")

    def __init__(self, layer: Layer, args: tuple[Nest, ...], outputs: Nest, options: dict[str, Any]) -> None:
        self.layer, self.options = layer, options
        self.runner: Any = layer
        self.args, self.outputs = args, outputs
        one = len(args) == 1 and isinstance(args[0], int) and isinstance(outputs, int)
        self.x: Any = args[0] if one else None  # a fast path for most steps of small layers
        self.drop: tuple[int, ...] = ()
        self.useful = True
        self.no_dx: dict[str, Any] = {}

    def keywords(self, lengths: Any) -> dict[str, Any]:
        """Return the call's options, with the lengths of its time axis if the layer takes them. Raises ValueError."""
        raise NotImplementedError

    def pass_lengths(self, lengths: Any, values: Values) -> None:
        """Add the outputs' lengths to ``lengths``, after the call and before any value is dropped."""


class Plan:
    """Steps in execution order, and the numbers of the ``outputs``. Values are numbered starting with the inputs.

    A layer of ids whose vectors only feed a recurrent layer is fused with that layer (:meth:`Layer.fused_with`).
    """

    def __init__(self, steps: list[Step], outputs: Nest, size: int) -> None:
        self.outputs = outputs
        self.output_numbers = tuple(flat(outputs))
        self.size = size  # the number of values
        self.steps = _fused(steps, self.output_numbers)
        self._find_drops()
        self._find_useful()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copied model builds its own plan

    def _find_drops(self) -> None:
        needed = set(self.output_numbers)
        for step in reversed(self.steps):
            last = {i for i in (*flat(step.args), *flat(step.outputs)) if i not in needed}
            needed |= last
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
        self._idle = [step for step in self.steps if not step.useful]

    def run(self, values: Values, lengths: Any = None) -> Nest:
        """Run inference and return the outputs. ``values`` holds the inputs and is extended."""
        values += [None] * (self.size - len(values))
        for step in self.steps:
            options = step.keywords(lengths) if lengths else step.options
            args = picked(step.args, values) if step.x is None else (values[step.x],)
            store(step.outputs, step.runner(*args, **options), values)
            if lengths:
                step.pass_lengths(lengths, values)
            for i in step.drop:
                values[i] = None
        return picked(self.outputs, values)

    def train(self, values: Values, lengths: Any = None) -> tuple[Nest, list[Entry]]:
        """Run the training forward pass; return the outputs and the entries of a :class:`Tape`."""
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
                step.pass_lengths(lengths, values)
            for i in step.drop:
                values[i] = None
        if any(step.layer.parameters() for step in self._idle):  # a layer that has grown since
            self._find_useful()
        return picked(self.outputs, values), entries


def _fused(steps: list[Step], outputs: tuple[int, ...]) -> list[Step]:
    """Return the steps after fusing each layer that can run as a part of the only step that reads its output."""
    uses = Counter([*outputs, *(i for step in steps for i in flat(step.args))])
    uses.update(outputs)  # counted twice, so that an output is never fused away
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


Entry = tuple[Step, Callable[..., Any], Nest]  # a step, its backward, and its outputs' specs if None must become zeros


class Tape:
    """Backward functions of every step of one run, for a single use."""

    __slots__ = ("_entries",)

    def __init__(self, entries: list[Entry]) -> None:
        self._entries: list[Entry] | None = entries

    def backward(self, numbers: tuple[int, ...], douts: list[Array | None], need_dx: bool) -> Sums:
        """Propagate gradients of some values to all others, and add into the parameters' gradients.

        Parameters
        ----------
        numbers
            The numbers of the values whose gradients are given.
        douts
            Their gradients; None is zero.
        need_dx
            False to skip gradients that reach no parameter.

        Raises
        ------
        RuntimeError
            If the tape has been used before.
        """
        entries, self._entries = self._entries, None
        if entries is None:
            raise RuntimeError(USED_TAPE)
        sums = Sums()
        totals = sums.totals
        sums.add(numbers, douts)
        while entries:  # popping frees each step's tape, so the next step can use its memory
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
    """Return the gradients of a step's arguments."""
    if specs is not None:
        dout = _filled(dout, specs)
    several = dout.__class__ is tuple and not step.layer.one_gradient
    result = backward(*dout, **options) if several else backward(dout, **options)
    return (
        (result,) if result.__class__ is not tuple or (len(step.args) == 1 and step.args[0].__class__ is tuple) else result
    )


def _filled(dout: Nest, specs: Nest) -> Nest:
    """Replace each None by zeros."""
    if is_nested(specs):
        parts = dout if isinstance(dout, tuple) else (None,) * len(specs)
        return tuple(map(_filled, parts, specs))
    return memory.zeros(specs.shape, specs.dtype) if dout is None and specs is not None else dout


class Sums:
    """Gradient of each value, summed over all steps that read it. Given arrays are never modified."""

    def __init__(self) -> None:
        self.totals: dict[int, Array] = {}
        self._own: set[int] = set()  # values whose sum was allocated here and may be modified

    def add(self, numbers: tuple[Nest, ...], gradients: Sequence[Nest]) -> None:
        """Add gradients (None is zero) to the sums of these values."""
        for number, gradient in zip(
            numbers, gradients, strict=False
        ):  # backward also returns a gradient for an omitted state
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
        """Remove and return the sums of a nest of numbers; None for a value without a gradient."""
        if numbers.__class__ is tuple:
            return tuple([self.take(number) for number in numbers])
        return self.totals.pop(numbers, None)


def picked(numbers: Nest, values: Values) -> Nest:
    """Return the values of a nest of numbers."""
    if numbers.__class__ is int:  # tested first: a model of small layers spends most of its own time here
        return values[numbers]
    return None if numbers is None else tuple([picked(number, values) for number in numbers])


def _is_zero(dout: Nest) -> bool:
    """Return True if a nest holds no gradient."""
    return all(map(_is_zero, dout)) if dout.__class__ is tuple else dout is None


def store(numbers: Nest, result: Nest, values: Values) -> None:
    """Store a nest of arrays under a nest of numbers; if a tuple of arrays has a single number, store its first array."""
    if numbers.__class__ is int:
        values[numbers] = result[0] if result.__class__ is tuple else result
    elif numbers is not None:
        for number, item in zip(numbers, result, strict=True):
            store(number, item, values)
