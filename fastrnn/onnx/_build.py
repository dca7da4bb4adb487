"""Construction of a plan: operators get arrays, return arrays, and add the steps that fill them at each run.

Every value of a graph is an array of a fixed shape. A view costs nothing at run time; other values lie in blocks of memory
that are reused as soon as no later node reads them. While a plan is built all blocks hold zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf, prod
from typing import Any

import numpy as np

from .. import backends
from .._core.arrays import Array
from .._core.cache import SETTINGS
from .._core.drawing_limit import left_after
from ._errors import NotStatic, blaming
from ._graph import Graph, Node
from ._schema import check_dtypes

Step = Callable[[], Any]
ALIGNMENT = 64
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def _require_outputs(node: Node, found: Sequence[Array | None]) -> None:
    """Raise ValueError if the node names an output that its operator does not give."""
    for i, name in enumerate(node.outputs):
        if name and (i >= len(found) or found[i] is None):
            raise ValueError(f"it must not name output {i}, got {name!r}")


class Build:
    """A plan under construction. ``packed`` caches prepared weights by node, for all plans of a model.

    ``last_resort`` allows steps for both branches of an If whose condition is not static. ``may_fold`` is the number of
    values that constant nodes may make; a file of a few nodes can ask for any.
    """

    def __init__(self, packed: dict[Any, Any], last_resort: bool, may_fold: float) -> None:
        self.last_resort = last_resort
        self.engine = backends.current()
        self.packed = packed
        self.steps: list[Step] = []
        self.values: dict[str, Array] = {}
        self._pending: list[Step] = []
        self._static: dict[int, Array] = {}  # by id; the reference prevents that the id is reused
        self._blocks: dict[int, Array] = {}
        self._free: list[Array] = []
        self._holders: dict[int, set[str]] = {}  # names of the values in a block
        self._last_use: dict[str, float] = {}
        self._index: float = -inf  # of the current node; while it is -inf, no memory is reused
        self._folding = False
        self._may_fold = may_fold

    # What operators call.

    def new(self, shape: Sequence[int], dtype: Any) -> Array:
        """Return an array for the node's output: C-contiguous, zero while the plan is built."""
        shape, dtype = tuple(int(n) for n in shape), np.dtype(dtype)
        if dtype.hasobject or self._folding:
            return np.zeros(shape, dtype)
        size = prod(shape) * dtype.itemsize
        block = self._block(size)
        skip = -block.ctypes.data % ALIGNMENT
        array: Array = block[skip : skip + size].view(dtype).reshape(shape)
        return array

    def like(self, x: Array, dtype: Any = None) -> Array:
        """Return an array of x's shape whose axes lie in memory in the same order as x's."""
        order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
        back = sorted(range(x.ndim), key=order.__getitem__)
        return self.new([x.shape[axis] for axis in order], dtype or x.dtype).transpose(back)

    def into(self, x: Array) -> Array:
        """Return x itself if no later node reads it, so that it can be overwritten, else an array like it."""
        block = x.base
        if block is None or id(block) not in self._blocks or self.is_static(x) or not self._dead(block, self._index):
            return self.like(x)
        return x if x.flags.writeable and 0 not in x.strides else self.like(x)

    def emit(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Add a step: ``function(*args, **options)`` at each run."""
        self._pending.append(partial(function, *args, **options) if args or options else function)

    def compute(self, function: Callable[..., Any], *inputs: Any) -> Array:
        """Return an array that holds ``function(*inputs)`` at each run; its shape and dtype come from a call on zeros."""
        sample = np.asarray(function(*inputs))
        out = self.new(sample.shape, sample.dtype)
        self.emit(lambda: np.copyto(out, function(*inputs)))
        return out

    def contiguous(self, x: Array) -> Array:
        """Return x, or a C-contiguous array into which it is copied at each run."""
        if x.flags.c_contiguous and x.flags.aligned:
            return x
        out = self.new(x.shape, x.dtype)
        self.emit(np.copyto, out, x)
        return out

    def is_static(self, x: Array | None) -> bool:
        """Return True if the values of x are known now."""
        return x is None or id(x) in self._static

    def static(self, x: Array, name: str) -> Array:
        """Return x if its values are known now. Raises NotStatic."""
        if not self.is_static(x):
            raise NotStatic(f"{name} must not depend on the values of the model's inputs")
        return x

    def ints(self, x: Array, name: str) -> list[int]:
        """Return a static array as a list of integers."""
        return [int(n) for n in np.ravel(self.static(x, name))]

    def prepared(self, node: Node, make: Callable[[], Any]) -> Any:
        """Return ``make()``, cached for the node and the backend in use."""
        settings, key = SETTINGS.latest, (id(node), self.engine, self.engine.settings())
        found = self.packed.get(key)
        if found is None:
            found = make()
            if SETTINGS.unchanged_since(settings):  # else it may be for other settings than the key
                self.packed[key] = found
        return found

    # What builds the plan.

    def constant(self, x: Array) -> Array:
        """Mark x as known, and return it."""
        self._static[id(x)] = x
        return x

    def add(self, graph: Graph, table: dict[str, Any], inner: bool = False) -> list[Array]:
        """Add the steps of a graph whose inputs are in ``values``; returns its outputs."""
        for name, array in graph.constants.items():
            self.values[name] = self.constant(array)
        before = self._index
        if not inner:
            for i, node in enumerate(graph.nodes):
                made = (name for g in node.subgraphs() for each in g.all_nodes() for name in each.outputs)
                self._last_use.update(dict.fromkeys(made, i))
                self._last_use.update(dict.fromkeys(node.reads(), i))
            self._last_use.update(dict.fromkeys(graph.outputs, inf))
        for i, node in enumerate(graph.nodes):
            self._index = -inf if inner else i
            self._add_node(node, table)
        self._index = before
        return [self.values[name] for name in graph.outputs]

    def name(self, name: str, array: Array) -> None:
        """Give a value its name, which reserves the block that it lies in."""
        self.values[name] = array
        block = array if array.base is None else array.base
        if id(block) in self._blocks:
            self._holders.setdefault(id(block), set()).add(name)

    def _add_node(self, node: Node, table: dict[str, Any]) -> None:
        inputs = [self.values[name] if name else None for name in node.inputs]
        outer, self._pending = self._pending, []
        self._folding = all(map(self.is_static, inputs)) and not node.subgraphs()
        with blaming(node.place):
            check_dtypes(node.op, node.opset, inputs)
            found = table[node.op](self, node, *inputs)
            outputs = found if isinstance(found, (tuple, list)) else (found,)
            _require_outputs(node, outputs)
        pending, self._pending = self._pending, outer
        if self._folding:
            for step in pending:
                step()
            with blaming(node.place):
                for array in outputs:
                    self._may_fold = left_after(array.shape, self._may_fold)
                    self.constant(array)
        else:
            self.steps += pending
        self._folding = False
        for name, array in zip(node.outputs, outputs, strict=False):
            if name:
                self.name(name, array)

    def _block(self, size: int) -> Array:
        for key, block in list(self._blocks.items()):
            if key in self._holders and self._dead(block, self._index - 1):
                del self._holders[key]
                self._free.append(block)
        fitting = [block for block in self._free if size + ALIGNMENT <= len(block) <= 4 * size + 4096]
        if fitting:
            block = min(fitting, key=len)
            self._free = [other for other in self._free if other is not block]
        else:
            block = np.zeros(size + ALIGNMENT, np.uint8)
            self._blocks[id(block)] = block
        return block

    def _dead(self, block: Array, index: float) -> bool:
        names = self._holders.get(id(block))
        return bool(names) and all(self._last_use.get(name, inf) <= index for name in names or ())
