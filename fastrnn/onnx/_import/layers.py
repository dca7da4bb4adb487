"""Other nodes as layers, one function each, of the node and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import layers
from ..._core.arrays import Array
from ..._core.checks import describe
from .._graph import Node
from .._operators.comparison import dtype_of
from .recurrent import recurrent
from .values import Anything, Directions, Sizes, Value, Zero


def value(x: Anything) -> Value:
    """Return x if it is the value of a symbol. Raises ValueError for anything else."""
    if isinstance(x, Directions):
        raise ValueError("Y of a recurrent node must lose its axis of directions by Squeeze, or by Transpose and Reshape")
    if not isinstance(x, Value):
        raise ValueError("the first input must depend on an input of the model")
    return x


def same(node: Node, x: Anything, *rest: Anything) -> Anything:
    """Return the first input."""
    return x


def cast(node: Node, x: Anything) -> Anything:
    """Return x, if the cast changes nothing for a layer: ids may be any integers, and floats keep their dtype."""
    if not isinstance(x, Value):
        return x
    target = dtype_of(node)
    if target.name != x.symbol.dtype and not (target.kind in "iu" and x.symbol.dtype == "int64"):
        raise ValueError(f"the dtype must stay {x.symbol.dtype}, got {target}")
    return x


def matmul(node: Node, x: Anything, W: Anything, b: Anything = None) -> Value:
    """Multiply by a constant, and add the bias that has joined the product."""
    if not isinstance(W, np.ndarray) or W.ndim != 2 or not (b is None or isinstance(b, np.ndarray)):
        raise ValueError("the second factor must be a constant of two axes")
    return _linear(value(x), W.T, b)


def gemm(node: Node, x: Anything, W: Anything, b: Anything = None) -> Value:
    """Multiply by a constant and add another constant."""
    of = node.attributes
    if not isinstance(W, np.ndarray) or not (b is None or isinstance(b, np.ndarray)) or of.get("transA"):
        raise ValueError("the second factor and the bias must be constants, and transA 0")
    weight = (W if of.get("transB") else W.T) * W.dtype.type(of.get("alpha", 1.0))
    if b is not None and b.shape not in ((len(weight),), (1, len(weight)), (1, 1), (1,), ()):
        raise ValueError(f"C must hold one value for each of {len(weight)} outputs, got {describe(b)}")
    bias = None if b is None else np.broadcast_to(np.ravel(b), weight.shape[:1]) * W.dtype.type(of.get("beta", 1.0))
    return _linear(value(x), weight, bias)


def _linear(x: Value, weight: Array, bias: Array | None) -> Value:
    layer = layers.Linear(weight.shape[1], weight.shape[0], bias is not None, dtype=weight.dtype.name, rng=0)
    layer.weight.assign(np.ascontiguousarray(weight))
    if layer.bias is not None and bias is not None:
        layer.bias.assign(np.ascontiguousarray(bias))
    return x.through(layer)


def activation(name: str) -> Callable[..., Value]:
    """Return the function for an activation."""

    def made(node: Node, x: Anything) -> Value:
        found = value(x)
        last = len(found.shape) - 1
        if name == "softmax" and node.attributes.get("axis", -1 if node.opset >= 13 else 1) not in (-1, last):
            raise ValueError("axis must be the last")
        return found.through(layers.Activation(name))

    return made


def layer_norm(node: Node, x: Anything, scale: Anything, bias: Anything = None) -> Value:
    """Normalise the last axis."""
    found = value(x)
    if node.attributes.get("axis", -1) not in (-1, len(found.shape) - 1) or not isinstance(scale, np.ndarray):
        raise ValueError("axis must be the last, and the scale a constant")
    layer = layers.LayerNorm(scale.size, node.attributes.get("epsilon", 1e-5), bias=bias is not None, dtype=scale.dtype.name)
    if layer.weight is not None:
        layer.weight.assign(scale)
    if layer.bias is not None and isinstance(bias, np.ndarray):
        layer.bias.assign(bias)
    return found.through(layer)


def gather(node: Node, x: Anything, indices: Anything) -> Anything:
    """Return rows of an embedding, one step or one feature, or one of several sizes."""
    axis = node.attributes.get("axis", 0)
    if isinstance(x, np.ndarray) and isinstance(indices, Value):
        if x.ndim != 2 or axis:
            raise ValueError("the weight of an embedding must have two axes")
        layer = layers.Embedding(*x.shape, dtype=x.dtype.name, rng=0)
        layer.weight.assign(x)
        return indices.through(layer)
    if not isinstance(indices, np.ndarray):
        raise ValueError("indices must be constant")
    if isinstance(x, Sizes):
        return Sizes(tuple(x.axes[i] for i in np.ravel(indices)), indices.ndim == 0)
    if indices.ndim:
        raise ValueError("indices must be one number")
    return _sliced(value(x), {axis: int(indices)})


def slice_of(node: Node, x: Anything, *inputs: Anything) -> Anything:
    """Slice features or time."""
    names = ("starts", "ends", "axes", "steps")
    given: dict[str, Any] = {name: node.attributes[name] for name in names if name in node.attributes}
    given |= {name: part for name, part in zip(names, inputs, strict=False) if part is not None}
    if not all(isinstance(part, (list, np.ndarray)) for part in given.values()):
        raise ValueError("starts, ends, axes and steps must be constant")
    starts, ends = (list(map(int, given[name])) for name in names[:2])
    axes, steps = given.get("axes", range(len(starts))), given.get("steps", [1] * len(starts))
    parts = {int(axis): _python_slice(*each) for axis, *each in zip(axes, starts, ends, steps, strict=True)}
    if isinstance(x, Zero):
        return x
    if isinstance(x, Sizes):
        return Sizes(x.axes[parts[0]])
    return _sliced(value(x), parts)


def _python_slice(start: int, end: int, step: int) -> slice:
    """Return Python's slice; ONNX writes the largest integers for open ends."""
    far = 2**31 - 1
    open_end = end >= far if step > 0 else end <= -far
    open_start = start == 0 if step > 0 else start >= far
    return slice(None if open_start else start, None if open_end else end, None if step == 1 else int(step))


def _sliced(x: Value, parts: dict[int, Any]) -> Value:
    """Return ``x[...]`` with indices by ONNX's axes."""
    ndim = len(x.shape)
    index: list[Any] = [slice(None)] * ndim
    for axis, part in parts.items():
        place = axis % ndim
        index[1 - place if x.swapped and place < 2 else place] = part
    if all(part == slice(None) for part in index):
        return x
    swapped = x.swapped and not isinstance(index[0], int)
    return Value(x.symbol[tuple(index)], swapped)


def squeeze(node: Node, x: Anything, axes: Anything = None) -> Anything:
    """Remove the axis of one direction, or of one layer's state."""
    found = _axes(node, axes)
    if isinstance(x, Sizes):
        return Sizes(x.axes, True)
    if isinstance(x, Directions):
        if x.count == 1 and found is not None and [axis % 4 for axis in found] == [x.axes.index("D")]:
            return x.value()
        raise ValueError("axes must be that of one direction")
    result = value(x)
    sizes = result.shape
    if found is None or any(sizes[axis] != 1 for axis in found):
        raise ValueError("axes must be of size 1")
    return _sliced(result, dict.fromkeys(found, 0))


def unsqueeze(node: Node, x: Anything, axes: Anything = None) -> Anything:
    """Add an axis to sizes or to zeros."""
    if isinstance(x, Sizes):
        return Sizes(x.axes)
    if isinstance(x, Zero):
        return x
    raise ValueError("a model's values cannot get another axis")


def _axes(node: Node, axes: Anything) -> list[int] | None:
    if isinstance(axes, np.ndarray):
        return [int(axis) for axis in axes]
    return node.attributes.get("axes")


def transpose(node: Node, x: Anything) -> Anything:
    """Exchange time and batch, or move the directions next to the features."""
    perm = node.attributes.get("perm")
    if isinstance(x, Directions) and perm is not None:
        return Directions(x.symbol, x.count, "".join(x.axes[axis] for axis in perm))
    found = value(x)
    rest = list(range(2, len(found.shape)))
    if perm == [0, 1, *rest]:
        return found
    if perm != [1, 0, *rest] or not found.symbol.spec.sequence:
        raise ValueError(f"perm must exchange time and batch, got {perm}")
    return Value(found.symbol, not found.swapped)


def reshape(node: Node, x: Anything, shape: Anything) -> Anything:
    """Concatenate the directions' features, or give features another shape."""
    if isinstance(x, Zero):
        return x
    sizes = _sizes(shape)
    if isinstance(x, Directions):
        if x.axes not in ("TBDH", "BTDH") or len(sizes) != 3:
            raise ValueError("the axes of directions and features must be next to each other")
        return x.value()
    found = value(x)
    old = found.shape
    kept = 2 if found.symbol.spec.sequence else 1
    features = sizes[kept:]
    lead = all(new in (0, axis, -1) or isinstance(axis, str) for new, axis in zip(sizes, old[:kept], strict=False))
    if not lead or len(sizes) <= kept or not all(isinstance(n, int) for n in features):
        raise ValueError(f"shape must keep the axes before the features, got {list(sizes)} for {list(old)}")
    if tuple(features) == old[kept:] or (tuple(features) == (-1,) and len(old) == kept + 1):
        return found
    layer = layers.Reshape([int(n) for n in features], len(old) - kept)
    return found.through(layer)


def _sizes(shape: Anything) -> tuple[Any, ...]:
    if isinstance(shape, Sizes):
        return shape.axes
    if isinstance(shape, np.ndarray):
        return tuple(int(n) for n in np.ravel(shape))
    raise ValueError("shape must follow from the shapes of the inputs")


def shape_of(node: Node, x: Anything) -> Sizes:
    """Return the sizes of x's axes; those of time and batch are letters."""
    return Sizes(value(x).shape[node.attributes.get("start", 0) : node.attributes.get("end")])


def concat(node: Node, *inputs: Anything) -> Anything:
    """Concatenate features, or join lists of sizes."""
    if any(isinstance(x, Sizes) for x in inputs):
        return Sizes(tuple(axis for x in inputs for axis in _sizes(x)))
    found = [value(x) for x in inputs]
    axis = node.attributes["axis"] % len(found[0].shape)
    if found[0].swapped and axis < 2:
        axis = 1 - axis
    if len({x.swapped for x in found}) > 1:
        raise ValueError("inputs must have time and batch in one order")
    return found[0].through(layers.Concat(axis), *found[1:])


def zeros(node: Node, shape: Anything) -> Zero:
    """Return zeros, which may serve as an initial state."""
    if np.any(node.attributes.get("value", 0)):
        raise ValueError("value must be 0")
    return Zero()


def expand(node: Node, x: Anything, shape: Anything) -> Zero:
    """Return zeros, which may serve as an initial state."""
    if isinstance(x, Zero) or (isinstance(x, np.ndarray) and not x.any()):
        return Zero()
    raise ValueError("only zeros can be expanded")


def combined(kind: type[layers.Layer]) -> Callable[..., Value]:
    """Return the function for a layer that combines values of one shape."""

    def made(node: Node, *inputs: Anything) -> Value:
        found = [value(x) for x in inputs]
        if len({(x.shape, x.swapped) for x in found}) > 1:
            raise ValueError(f"inputs must have one shape, got {[list(x.shape) for x in found]}")
        return found[0].through(kind(), *found[1:])

    return made


def pool(kind: type[layers.Layer]) -> Callable[..., Value]:
    """Return the function for a reduction over time."""

    def made(node: Node, x: Anything, axes: Anything = None) -> Value:
        found = value(x)
        time = 1 if found.swapped else 0
        if _axes(node, axes) != [time] or not found.symbol.spec.sequence or node.attributes.get("keepdims", 1):
            raise ValueError("axes must be that of time, and keepdims 0")
        return Value(kind()(found.symbol))

    return made


LAYERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("RNN", "GRU", "LSTM"), recurrent),
    **dict.fromkeys(("Identity", "Dropout"), same),
    "Cast": cast,
    **{name: activation(name.lower()) for name in ("Tanh", "Relu", "Sigmoid", "Softmax", "Softplus")},
    **{"Add": combined(layers.Add), "Mul": combined(layers.Multiply)},
    **{"ReduceMean": pool(layers.MeanPool), "ReduceMax": pool(layers.MaxPool)},
    **{"MatMul": matmul, "Gemm": gemm, "LayerNormalization": layer_norm, "Gather": gather, "Slice": slice_of},
    **{"Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose, "Reshape": reshape, "Shape": shape_of},
    **{"Concat": concat, "ConstantOfShape": zeros, "Expand": expand},
}
