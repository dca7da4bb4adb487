"""Symbols: what a layer is called on to build a graph instead of computing something.

A :class:`Symbol` stands for an array of a given shape and dtype. Its shape is in fastrnn's order of axes, and those whose
size is known only when the model is called are capital-letter strings: ``("T", "B", 64)``. The first axis is time if and
only if the second is ``"B"``.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._core.checks import describe
from .refusals import INSTEAD, Refusals, about_symbols

if TYPE_CHECKING:
    from ..base import Layer

Array = NDArray[Any]
Axis = int | str
Nest = Any  # one thing, None, or a tuple of nests

UNKNOWN = "?"  # an axis whose size follows from others in a way that has no name, such as T+S


class Spec(NamedTuple):
    """The shape and dtype that an array will have: all that a layer is told of its inputs before there are any."""

    shape: tuple[Axis, ...]
    dtype: str

    @property
    def time(self) -> str | None:
        """The time axis, such as ``"T"``, or None: a variable first axis is time iff the second is ``"B"``."""
        first = self.shape[0] if len(self.shape) > 1 and self.shape[1] == "B" else None
        return first if isinstance(first, str) else None  # a final state's first axis is a number: L*D

    @property
    def sequence(self) -> bool:
        """Whether the axes may be time and batch: time's size may be a number too, as of a repeated vector."""
        return len(self.shape) > 1 and self.shape[1] == "B"

    @property
    def axes(self) -> str:
        """The shape as messages and tables show it: ``[T, B, 64]``."""
        return f"[{', '.join(map(str, self.shape))}]"

    def fits(self, wanted: Spec, bound: dict[Axis, Axis]) -> bool:
        """Whether an array of this spec is one of another, whose letters stand for any axes but the batch.

        ``bound`` has what letters stand for already, and is added to. ``"B"`` is ``"B"`` in both: an array whose axes are in
        another order, ``[B, T, ...]`` for ``[T, B, ...]``, does not fit.
        """
        if self.dtype != wanted.dtype or len(self.shape) != len(wanted.shape):
            return False
        pairs = list(zip(self.shape, wanted.shape, strict=True))
        if any((axis == "B") != (letter == "B") for axis, letter in pairs):
            return False
        return all(axis == (letter if isinstance(letter, int) else bound.setdefault(letter, axis)) for axis, letter in pairs)

    def __str__(self) -> str:
        """With the dtype: ``float32 [T, B, 64]``."""
        return f"{self.dtype} {self.axes}"


OPERATORS: dict[str, Callable[..., Any]] = {}  # the layers that operators on symbols call; their modules enter them here
_SERIAL = itertools.count()  # symbols and nodes are numbered as they are made: an order in which a graph can be run


class Node:
    """One call of a layer on symbols: ``layer(*args, **options)``, ``args`` nests of symbols.

    ``outputs`` is a nest of symbols of the same form as what the layer gives for arrays.
    """

    __slots__ = ("args", "layer", "options", "outputs", "serial")

    def __init__(self, layer: Layer, args: tuple[Nest, ...], options: dict[str, Any], specs: Nest) -> None:
        self.serial = next(_SERIAL)
        self.layer, self.args, self.options = layer, args, options
        self.outputs: Nest = _numbered(specs, lambda spec, path: Symbol(spec, self, path))


class Symbol(Refusals):
    """A value that a model will have when it is called: an input's or a layer's.

    ``shape`` and ``dtype`` are those of the arrays that it stands for; see :func:`fastrnn.Input`. ``a + b`` is
    ``Add()(a, b)``, ``a * b`` is ``Multiply()(a, b)`` and ``a[..., :64]`` is ``Slice((..., slice(64)))(a)``.
    """

    __slots__ = ("name", "node", "path", "serial", "spec")
    __iter__ = None  # ``y, h_n = linear(x)`` fails where it is written

    def __init__(self, spec: Spec, node: Node | None = None, path: tuple[int, ...] = (), name: str | None = None) -> None:
        self.serial = next(_SERIAL)
        self.spec, self.node, self.path, self.name = spec, node, path, name

    @property
    def shape(self) -> tuple[Axis, ...]:
        """The shape, in integers and the letters of variable axes."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """The dtype's name."""
        return self.spec.dtype

    def __add__(self, other: object) -> Any:
        return self._combined("+", other)

    def __mul__(self, other: object) -> Any:
        return self._combined("*", other)

    __radd__, __rmul__ = __add__, __mul__  # a Symbol on the left has been asked already: these refuse

    def __getitem__(self, index: Any) -> Any:
        layer = OPERATORS["[]"]((index,) if isinstance(index, list) else index)  # a list is how a config has a tuple
        return layer(self)

    def _combined(self, sign: str, other: object) -> Any:
        if not isinstance(other, Symbol):
            zero = " (sum() begins at 0)" if type(other) is int and other == 0 and sign == "+" else ""
            raise TypeError(f"a Symbol {sign} something needs another Symbol, got {describe(other)}{zero}: {INSTEAD}")
        return OPERATORS[sign]()(self, other)

    def __repr__(self) -> str:
        """Where it comes from, its shape and dtype."""
        if self.node is None:
            source = "an Input" if self.name is None else f"Input {self.name!r}"
        else:
            source = self.node.layer.name or type(self.node.layer).__name__
        path = "".join(f"[{i}]" for i in self.path)
        return f"<Symbol of {source}{path}: {self.spec}>"


def apply(layer: Layer, *args: Nest, **options: Any) -> Nest:
    """Call a layer on symbols: symbols of what it will give.

    Raises TypeError or ValueError, naming the layer, for an argument that is neither a Symbol nor None nor a tuple of them,
    and for shapes and dtypes that the layer does not take.
    """
    name = type(layer).__name__
    options = {key: value for key, value in options.items() if value is not None and value is not False}
    if "lengths" in options:
        raise ValueError(f"{name}: lengths are given to the model when it is called, not to a layer called on a Symbol")
    symbols = {key: options.pop(key) for key in list(options) if any(isinstance(s, Symbol) for s in flat(options[key]))}
    if symbols:
        raise TypeError(f"{name}: symbols go by position, got {', '.join(symbols)} by name")
    while args and args[-1] is None:
        args = args[:-1]
    for item in (item for arg in args for item in flat(arg)):
        if not isinstance(item, Symbol):
            raise TypeError(f"{name}: all inputs of a layer called on a Symbol must be Symbols, got {describe(item)}")
    specs = mapped(args, lambda symbol: symbol.spec)
    try:
        if getattr(layer, "batch_first", False):
            what = "its layers" if any(layer.children()) else "it"
            raise ValueError(f"in a graph the time axis is the first: make {what} without batch_first")
        outputs = layer.infer(*specs, **options)
    except (TypeError, ValueError) as error:
        shown = ", ".join(_shown(spec) for spec in specs)
        raise type(error)(f"{name} does not take {shown}: {about_symbols(str(error))}") from error
    return Node(layer, args, options, outputs).outputs


def takes_symbols(call: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a ``__call__`` that sees to symbols itself: a layer whose call counts in fractions of a microsecond."""
    call._takes_symbols = True  # type: ignore[attr-defined]
    return call


def on_arrays_or_symbols(call: Callable[..., Any]) -> Callable[..., Any]:
    """A layer's call that builds a graph when its first argument is a Symbol."""
    # Handing on any arguments costs a quarter of a microsecond, one of a known name a fifth of that.
    if list(inspect.signature(call).parameters) == ["self", "x"]:

        @functools.wraps(call)
        def either(self: Layer, x: Any) -> Any:
            return apply(self, x) if x.__class__ is Symbol else call(self, x)

    else:

        @functools.wraps(call)
        def either(self: Layer, *args: Any, **kwargs: Any) -> Any:
            if args and args[0].__class__ is Symbol:
                return apply(self, *args, **kwargs)
            return call(self, *args, **kwargs)

    return takes_symbols(either)


def probed(layer: Layer, *specs: Nest, **options: Any) -> Nest:
    """What a layer gives for arrays of these specs, found by calling it twice on small ones whose variable sizes differ.

    A size that follows a letter is that letter, one that stays is a number, any other is ``"?"``.
    """
    letters = sorted({axis for spec in flat(specs) for axis in spec.shape if isinstance(axis, str)})
    trials = []
    for primes in ((3, 5, 7, 11, 13), (17, 19, 23, 29, 31)):
        sizes = dict(zip(letters, primes, strict=False))
        if len(sizes) < len(letters):
            raise ValueError(f"at most {len(primes)} variable axes can meet in a layer, got {', '.join(letters)}")
        trials.append((sizes, _trial(layer, specs, sizes, options)))
    (sizes1, outputs1), (sizes2, outputs2) = trials
    meaning = {(sizes1[letter], sizes2[letter]): letter for letter in letters}

    def named(first: Array, second: Array) -> Spec:
        pairs = zip(first.shape, second.shape, strict=True)
        axes = tuple(a if a == b else meaning.get((a, b), UNKNOWN) for a, b in pairs)
        return Spec(axes, first.dtype.name)

    return mapped(outputs1, named, outputs2)


def _trial(layer: Layer, specs: tuple[Nest, ...], sizes: dict[str, int], options: dict[str, Any]) -> Nest:
    def zeros(spec: Spec) -> Array:
        return np.zeros([axis if isinstance(axis, int) else sizes[axis] for axis in spec.shape], spec.dtype)

    arrays = mapped(specs, zeros)
    try:
        with np.errstate(all="ignore"):
            return layer(*arrays, **options)
    except (TypeError, ValueError) as error:
        text = str(error)
        for array, spec in zip(flat(arrays), flat(specs), strict=True):  # whoever reads it knows letters, not trial sizes
            text = text.replace(str(array.shape), spec.axes)
        raise type(error)(text) from None
    except (AssertionError, IndexError) as error:  # so a class of one's own refuses a shape: any other error is a bug
        raise ValueError(f"{type(error).__name__}: {error}") from error


# Nests: an array, a symbol, a spec..., None, or a tuple of nests. A Spec is a tuple too, but a leaf.


def is_nested(nest: Nest) -> bool:
    """Whether this is a tuple of nests, not a leaf."""
    return isinstance(nest, (tuple, list)) and not isinstance(nest, Spec)


def flat(nest: Nest) -> Iterator[Any]:
    """The leaves, in order, without the Nones."""
    if is_nested(nest):
        for item in nest:
            yield from flat(item)
    elif nest is not None:
        yield nest


def mapped(nest: Nest, function: Callable[..., Any], *others: Nest) -> Nest:
    """A nest of the same form with ``function(leaf, *leaves of others)`` in place of each leaf."""
    if is_nested(nest):
        return tuple(mapped(item, function, *(other[i] for other in others)) for i, item in enumerate(nest))
    return None if nest is None else function(nest, *others)


def _numbered(nest: Nest, function: Callable[[Any, tuple[int, ...]], Any], path: tuple[int, ...] = ()) -> Nest:
    if is_nested(nest):
        return tuple(_numbered(item, function, (*path, i)) for i, item in enumerate(nest))
    return None if nest is None else function(nest, path)


def _shown(nest: Nest) -> str:
    return f"({', '.join(map(_shown, nest))})" if is_nested(nest) else str(nest)
