"""Symbols: a layer called on them builds a graph instead of computing a value.

A :class:`Symbol` represents an array of a given shape and dtype. Its axes are in fastrnn's order. A capital-letter string is
an axis whose size is known only when the model is called: ``("T", "B", 64)``. The first axis is time if and only if the
second is ``"B"``.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..._core.arrays import Array
from ..._core.checks import describe
from ..._core.drawing_limit import check_trial
from .refusals import INSTEAD, Refusals, about_symbols

if TYPE_CHECKING:
    from ..base import Layer

Axis = int | str
Nest = Any  # a leaf, None, or a tuple of nests

UNKNOWN = "?"  # an axis whose size is an unnamed function of others, such as T+S


class Spec(NamedTuple):
    """Shape and dtype of an array that does not exist yet."""

    shape: tuple[Axis, ...]
    dtype: str

    @property
    def time(self) -> str | None:
        """The time axis, such as ``"T"``, or None. A variable first axis is time if and only if the second is ``"B"``."""
        first = self.shape[0] if len(self.shape) > 1 and self.shape[1] == "B" else None
        return first if isinstance(first, str) else None  # a final state's first axis is a number: L*D

    @property
    def sequence(self) -> bool:
        """True if the second axis is the batch, so the first may be time, also with a fixed number of steps."""
        return len(self.shape) > 1 and self.shape[1] == "B"

    @property
    def axes(self) -> str:
        """The shape for messages and tables: ``[T, B, 64]``."""
        return f"[{', '.join(map(str, self.shape))}]"

    def fits(self, wanted: Spec, bound: dict[Axis, Axis]) -> bool:
        """Return True if this spec matches ``wanted``, whose letters other than ``"B"`` match any axis.

        ``bound`` maps the letters matched so far to their axes, and is extended. ``"B"`` matches only ``"B"``, so axes in
        another order, ``[B, T, ...]`` for ``[T, B, ...]``, do not fit.
        """
        if self.dtype != wanted.dtype or len(self.shape) != len(wanted.shape):
            return False
        pairs = list(zip(self.shape, wanted.shape, strict=True))
        if any((axis == "B") != (letter == "B") for axis, letter in pairs):
            return False
        return all(axis == (letter if isinstance(letter, int) else bound.setdefault(letter, axis)) for axis, letter in pairs)

    def __str__(self) -> str:
        """Return the dtype and shape: ``float32 [T, B, 64]``."""
        return f"{self.dtype} {self.axes}"


OPERATORS: dict[str, Callable[..., Any]] = {}  # the layer class of each operator on symbols, set by the layers' modules
_SERIAL = itertools.count()  # numbers symbols and nodes in the order of their creation, in which a graph can run


class Node:
    """Call of a layer on symbols: ``layer(*args, **options)``, where ``args`` are nests of symbols.

    ``outputs`` is a nest of symbols with the structure of the layer's output for arrays.
    """

    __slots__ = ("args", "layer", "options", "outputs", "serial")

    def __init__(self, layer: Layer, args: tuple[Nest, ...], options: dict[str, Any], specs: Nest) -> None:
        self.serial = next(_SERIAL)
        self.layer, self.args, self.options = layer, args, options
        self.outputs: Nest = _numbered(specs, lambda spec, path: Symbol(spec, self, path))


class Symbol(Refusals):
    """Placeholder for an array that a model will compute or receive when it is called.

    ``shape`` and ``dtype`` are those of the array; see :func:`fastrnn.Input`. ``a + b`` is ``Add()(a, b)``, ``a * b`` is
    ``Multiply()(a, b)`` and ``a[..., :64]`` is ``Slice((..., slice(64)))(a)``.
    """

    __slots__ = ("name", "node", "path", "serial", "spec")
    __iter__ = None  # so ``y, h_n = linear(x)`` fails in that line

    def __init__(self, spec: Spec, node: Node | None = None, path: tuple[int, ...] = (), name: str | None = None) -> None:
        self.serial = next(_SERIAL)
        self.spec, self.node, self.path, self.name = spec, node, path, name

    @property
    def shape(self) -> tuple[Axis, ...]:
        """The shape: integers, and letters for variable axes."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """The dtype's name."""
        return self.spec.dtype

    def __add__(self, other: object) -> Any:
        return self._combined("+", other)

    def __mul__(self, other: object) -> Any:
        return self._combined("*", other)

    __radd__, __rmul__ = __add__, __mul__  # called only if the left operand is not a Symbol, so these raise

    def __getitem__(self, index: Any) -> Any:
        # Slice takes a list for a tuple from a JSON config, so a list of indices goes inside a tuple.
        layer = OPERATORS["[]"]((index,) if isinstance(index, list) else index)
        return layer(self)

    def _combined(self, sign: str, other: object) -> Any:
        if not isinstance(other, Symbol):
            zero = " (sum() begins at 0)" if type(other) is int and other == 0 and sign == "+" else ""
            raise TypeError(f"a Symbol {sign} something needs another Symbol, got {describe(other)}{zero}: {INSTEAD}")
        return OPERATORS[sign]()(self, other)

    def __repr__(self) -> str:
        """Return the source, shape and dtype."""
        if self.node is None:
            source = "an Input" if self.name is None else f"Input {self.name!r}"
        else:
            source = self.node.layer.name or type(self.node.layer).__name__
        path = "".join(f"[{i}]" for i in self.path)
        return f"<Symbol of {source}{path}: {self.spec}>"


def apply(layer: Layer, *args: Nest, **options: Any) -> Nest:
    """Call a layer on symbols and return its output's symbols.

    Each argument is a Symbol, None or a tuple of them. Raises TypeError or ValueError, naming the layer, for other arguments
    and for shapes and dtypes that the layer does not accept.
    """
    name = type(layer).__name__
    options = {key: value for key, value in options.items() if value is not None and value is not False}
    if "lengths" in options:
        raise ValueError(f"{name}: lengths are given to the model when it is called, not to a layer called on a Symbol")
    symbols = {key: options.pop(key) for key in list(options) if any(isinstance(s, Symbol) for s in flat(options[key]))}
    if symbols:
        raise TypeError(f"{name}: symbols must be passed by position, got {', '.join(symbols)} by name")
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
        shown = ", ".join(listed(spec) for spec in specs)
        raise type(error)(f"{name} does not take {shown}: {about_symbols(str(error))}") from error
    return Node(layer, args, options, outputs).outputs


def takes_symbols(call: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a ``__call__`` that handles symbols itself, to avoid the wrapper's fraction of a microsecond."""
    call._takes_symbols = True  # type: ignore[attr-defined]
    return call


def on_arrays_or_symbols(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a layer's call so that it builds a graph if its first argument is a Symbol."""
    # Passing on *args and **kwargs costs a quarter of a microsecond, a single named argument a fifth of that.
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
    """Return the specs of a layer's output, found by two calls on small arrays with different sizes for each letter.

    A size that follows a letter becomes that letter, a constant size a number, and any other size ``"?"``.
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
    def shape_of(spec: Spec) -> tuple[int, ...]:
        return tuple(axis if isinstance(axis, int) else sizes[axis] for axis in spec.shape)

    check_trial([shape_of(spec) for spec in flat(specs)])
    arrays = mapped(specs, lambda spec: np.zeros(shape_of(spec), spec.dtype))
    try:
        with np.errstate(all="ignore"):
            return layer(*arrays, **options)
    except (TypeError, ValueError) as error:
        text = str(error)
        for array, spec in zip(flat(arrays), flat(specs), strict=True):  # show letters: the user never chose these sizes
            text = text.replace(str(array.shape), spec.axes)
        raise type(error)(text) from None
    except (AssertionError, IndexError) as error:  # how a user's layer rejects a shape; any other error is a bug
        raise ValueError(f"{type(error).__name__}: {error}") from error


# A nest is a leaf (an array, a symbol, a spec), None, or a tuple of nests. A Spec is a leaf although it is a tuple.


def is_nested(nest: Nest) -> bool:
    """Return True for a tuple of nests, False for a leaf."""
    return isinstance(nest, (tuple, list)) and not isinstance(nest, Spec)


def flat(nest: Nest) -> Iterator[Any]:
    """Yield the leaves in order, without the Nones."""
    if is_nested(nest):
        for item in nest:
            yield from flat(item)
    elif nest is not None:
        yield nest


def mapped(nest: Nest, function: Callable[..., Any], *others: Nest) -> Nest:
    """Return a nest of the same structure, with ``function(leaf, *leaves of others)`` for each leaf."""
    if is_nested(nest):
        return tuple(mapped(item, function, *(other[i] for other in others)) for i, item in enumerate(nest))
    return None if nest is None else function(nest, *others)


def _numbered(nest: Nest, function: Callable[[Any, tuple[int, ...]], Any], path: tuple[int, ...] = ()) -> Nest:
    if is_nested(nest):
        return tuple(_numbered(item, function, (*path, i)) for i, item in enumerate(nest))
    return None if nest is None else function(nest, path)


def listed(nest: Nest) -> str:
    """Return a nest as text: a leaf as it is, and a tuple in brackets."""
    return f"({', '.join(map(listed, nest))})" if is_nested(nest) else str(nest)
