"""A graph as a list of steps on numbered values: how a model is run and how its gradients flow back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import memory
from ..functional import USED_TAPE
from ..layers._recurrent.base import Recurrent
from ..layers._recurrent.embedding_table import EmbeddedRecurrent
from ..layers._recurrent.fusion import fused
from ..layers._symbolic.padding import require_defined_on_padding
from ..layers._symbolic.symbols import UNKNOWN, Axis, Nest, Node, Spec, Symbol, flat, is_nested, mapped
from ..layers._symbolic.time_axes import lengths_of
from .trace import Graph

Array = NDArray[Any]
Lengths = dict[Axis, Array]  # by time axis
Values = list[Any]  # by number; None where there is none (yet, or no longer)


class Step:
    """One call of a layer: ``values[outputs] = layer(*values[args])``, both nests of numbers.

    ``runner`` is what is called, the layer or what stands in for it; ``drop`` are the values that nothing takes after.
    ``wanted`` tells of each argument whether a parameter's gradient flows through it, ``useful`` of the step.
    """

    __slots__ = ("args", "drop", "layer", "node", "options", "outputs", "plain", "runner", "specs", "useful", "wanted")

    def __init__(self, node: Node, args: tuple[Nest, ...], outputs: Nest) -> None:
        self.node, self.layer, self.options = node, node.layer, node.options
        self.runner: Any = node.layer
        self.specs = mapped(node.args, lambda symbol: symbol.spec)
        self.args, self.outputs = args, outputs
        self.plain = False  # whether every argument is one number
        self.drop: tuple[int, ...] = ()
        self.wanted: tuple[bool, ...] = ()
        self.useful = True

    def take(self, values: Values) -> Nest:
        """The arguments."""
        return [values[i] for i in self.args] if self.plain else picked(self.args, values)

    def keywords(self, lengths: Lengths | None) -> dict[str, Any]:
        """The options of the call, and lengths where the layer takes them and its time axis has any. Raises ValueError."""
        if not lengths:
            return self.options
        if not self.layer.takes_lengths:
            if any(spec.time == UNKNOWN or lengths_of(spec.time, lengths) is not None for spec in flat(self.specs)):
                require_defined_on_padding(self.layer)
            return self.options
        found = self.layer.pick_lengths(self.specs, lengths)
        return self.options if found is None else self.options | {"lengths": found}


class Plan:
    """The steps of a graph.

    Values are numbered: the inputs from 0, then what each step gives. A layer of ids whose vectors only feed a recurrent
    layer is run with that one (:mod:`fastrnn.layers._recurrent.fusion`).
    """

    def __init__(self, graph: Graph) -> None:
        self.numbers: dict[Symbol, int] = {symbol: i for i, symbol in enumerate(graph.flat_inputs)}
        for node in graph.nodes:
            for symbol in flat(node.outputs):
                self.numbers.setdefault(symbol, len(self.numbers))
        given = set(graph.flat_inputs)
        self.outputs: Nest = mapped(graph.outputs, self.numbers.__getitem__)
        self.input_numbers: Nest = mapped(graph.inputs, self.numbers.__getitem__)
        self.output_numbers = tuple(self.numbers[symbol] for symbol in graph.flat_outputs)
        self.steps = [self._step(node, given) for node in graph.nodes]
        self._fuse(graph)
        self._finish()
        self._find_wanted()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copy of a model makes its own

    def _step(self, node: Node, given: set[Symbol]) -> Step:
        args = mapped(node.args, self.numbers.__getitem__)
        outputs = mapped(node.outputs, lambda symbol: None if symbol in given else self.numbers[symbol])
        return Step(node, args, outputs)

    def _fuse(self, graph: Graph) -> None:
        uses: dict[Symbol, int] = dict.fromkeys(graph.flat_outputs, 2)  # an output is needed as it is
        for node in graph.nodes:
            for symbol in flat(node.args):
                uses[symbol] = uses.get(symbol, 0) + 1
        made_by = {step.outputs: step for step in self.steps if isinstance(step.outputs, int)}
        gone = set()
        for step in self.steps:
            before = made_by.get(step.args[0]) if isinstance(step.args[0], int) else None
            alone = before is not None and uses[before.node.outputs] == 1 and not step.options
            stand_in = fused(before.layer, step.layer) if before is not None and alone else None
            if before is None or stand_in is None:
                continue
            before.runner, step.runner = stand_in
            if before.runner is None:
                step.args = (before.args[0], *step.args[1:])
                gone.add(id(before))
        self.steps = [step for step in self.steps if id(step) not in gone]

    def _finish(self) -> None:
        kept = set(flat(self.outputs))
        for step in reversed(self.steps):
            step.plain = all(isinstance(arg, int) for arg in step.args)
            last = {i for i in (*flat(step.args), *flat(step.outputs)) if i not in kept}
            kept |= last
            step.drop = tuple(last)

    def _find_wanted(self) -> None:
        useful: set[int] = set()
        for step in self.steps:
            step.wanted = tuple(any(i in useful for i in flat(arg)) for arg in step.args)
            runner = step.runner
            embedded = isinstance(runner, EmbeddedRecurrent)
            step.useful = embedded or any(step.wanted) or bool(runner.parameters())
            if step.useful:
                useful.update(flat(step.outputs))

    def run(self, values: Values, lengths: Lengths | None) -> Nest:
        """The outputs, from a list that begins with the inputs: inference, which keeps nothing."""
        values += [None] * (len(self.numbers) - len(values))
        for step in self.steps:
            result = step.runner(*step.take(values), **step.keywords(lengths))
            store(step.outputs, result, values)
            for i in step.drop:
                values[i] = None
        return picked(self.outputs, values)

    def train(self, values: Values, lengths: Lengths | None) -> tuple[Nest, Tape]:
        """The outputs, and what their gradients need to flow back."""
        values += [None] * (len(self.numbers) - len(values))
        entries: list[Entry] = []
        for step in self.steps:
            result, backward = step.runner.forward(*step.take(values), **step.keywords(lengths))
            store(step.outputs, result, values)
            several = isinstance(result, tuple) and not step.layer.none_is_zero
            specs = mapped(result, lambda array: Spec(array.shape, array.dtype)) if several else None
            entries.append((step, backward, specs))
            for i in step.drop:
                values[i] = None
        return picked(self.outputs, values), Tape(entries)


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
        sums.add(numbers, douts)
        while entries:  # what is done is let go of: the memory of its tape is free for the next
            step, backward, specs = entries.pop()
            dout = sums.take(step.outputs)
            if (step.useful or need_dx) and not _is_zero(dout):
                sums.add(step.args, _gradients(step, backward, dout, specs, need_dx))
        return sums


def _gradients(step: Step, backward: Callable[..., Any], dout: Nest, specs: Nest, need_dx: bool) -> tuple[Nest, ...]:
    """The gradients of a step's arguments."""
    if specs is not None:
        dout = _filled(dout, specs)
    several = isinstance(dout, tuple) and not step.layer.one_gradient
    # A recurrent layer gives its state's gradient in any case.
    wanted = need_dx or (step.wanted[0] if isinstance(step.layer, Recurrent) else any(step.wanted))
    options = {"need_dx": False} if not wanted and getattr(step.runner, "takes_need_dx", False) else {}
    result = backward(*dout, **options) if several else backward(dout, **options)
    alone = len(step.args) == 1 and isinstance(step.args[0], tuple)
    return result if isinstance(result, tuple) and not alone else (result,)


def _filled(dout: Nest, specs: Nest) -> Nest:
    """Zeros for the Nones."""
    if is_nested(specs):
        parts = dout if isinstance(dout, tuple) else (None,) * len(specs)
        return tuple(map(_filled, parts, specs))
    return memory.zeros(specs.shape, specs.dtype) if dout is None and specs is not None else dout


class Sums:
    """The gradient of each value, summed over all that take it. What is given is never written to."""

    def __init__(self) -> None:
        self._sums: dict[int, Array] = {}
        self._own: set[int] = set()  # arrays made here, which may be added to

    def add(self, numbers: Nest, gradients: Nest) -> None:
        """Add gradients (None for zero) of the values of these numbers."""
        if gradients is None or numbers is None:
            return
        if isinstance(numbers, tuple):
            for number, gradient in zip(numbers, gradients, strict=False):  # a state that was not given has a gradient too
                self.add(number, gradient)
        elif numbers not in self._sums:
            self._sums[numbers] = gradients
        elif numbers in self._own:
            self._sums[numbers] += gradients
        else:
            self._own.add(numbers)
            total = memory.empty(gradients.shape, gradients.dtype)
            self._sums[numbers] = np.add(self._sums[numbers], gradients, out=total)

    def take(self, numbers: Nest) -> Nest:
        """The sums of a nest of numbers, which are then forgotten; None where nothing was added."""
        if isinstance(numbers, tuple):
            return tuple([self.take(number) for number in numbers])
        return self._sums.pop(numbers, None)


def picked(numbers: Nest, values: Values) -> Nest:
    """The values of a nest of numbers."""
    if numbers.__class__ is int:  # a model's own time, where its layers are small, is spent here
        return values[numbers]
    return None if numbers is None else tuple([picked(number, values) for number in numbers])


def _is_zero(dout: Nest) -> bool:
    """Whether no gradient has come."""
    return all(map(_is_zero, dout)) if isinstance(dout, tuple) else dout is None


def store(numbers: Nest, result: Nest, values: Values) -> None:
    """Put a nest of arrays at their numbers."""
    if isinstance(numbers, int):
        values[numbers] = result
    elif numbers is not None:
        for number, item in zip(numbers, result, strict=True):
            store(number, item, values)
