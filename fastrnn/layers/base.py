"""What every layer is: parameters and layers as attributes, a call for inference, a forward for training."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .._core.cache import ARRAYS, VERSION
from .._core.checks import describe
from .._core.conversion import to_floats
from .._core.parameter import Parameter
from ..serialization import PathLike, load_arrays, save_arrays
from ._symbolic.symbols import UNKNOWN, Axis, Nest, flat, on_arrays_or_symbols, probed
from ._symbolic.time_axes import lengths_of, require_time

Array = NDArray[Any]


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` left alone: names only the layer has, and names only the dict has."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Layer:
    """A part of a model.

    ``layer(x, ...)`` is inference: dropout is off and nothing is kept. ``layer.forward(x, ...)`` is training: it
    returns ``output, backward``, and ``backward(doutput)`` returns ``dinput`` and adds into ``p.grad`` of each
    parameter. As each call owns its backward, a layer may be used many times in a model. Inputs of floats must stay as they
    are until backward has run: it reads them again, and nothing is copied.

    A subclass sets its parameters and layers as attributes (or lists of layers); their names follow from that.

    **In a graph.** Called on a :class:`~fastrnn.Symbol`, any layer gives symbols (:func:`fastrnn.Input`). What a Model
    wants to know of a layer, it asks here; the defaults do for a layer of one input and one output without time:

    ``takes_lengths``
        True: the call and the forward take ``lengths=None``, and the model hands over those of the time axis of the
        first input. To be set by every layer that looks along time: its x is ``[T, B, ...]``, and :func:`fastrnn.fit` gives
        it an array ``[N, T, ...]`` of sequences so.
    ``batch_first``
        True: a layer that looks along time takes ``[B, T, ...]``, and gives it. Not in a graph.
    ``gives_time``
        False: y has no time axis where x has one. By default y has it if it has as many axes as x; to be set by a layer that
        makes ``[B, ...]`` of ids ``[T, B]``.
    ``pointwise``
        True: every time step is computed alone, so that a chunk of time gives what the whole sequence does, and padding
        reaches nothing. A layer that says neither this nor ``takes_lengths`` refuses an input that has padding.
    ``one_gradient``
        True: backward takes the output's gradient as one argument even where the output is a tuple. Otherwise an
        output ``(a, b)`` has ``backward(da, db)``.
    ``none_is_zero``
        True: backward takes None for the zero gradient of an output, or of a part of one. Otherwise it gets zeros.
    ``takes_need_dx``
        True: ``backward(..., need_dx=False)`` leaves the gradients of the inputs (of x, where there is a state) out.
    ``takes_ids``
        True: x is token ids.
    ``carries_state``
        True: the second input is an initial state, which :meth:`stream` takes and gives as its state, and whose gradient
        backward gives with ``need_dx=False`` also.
    ``skips_padding``
        True: a call with lengths reads no padding of x, and y is zero there.
    ``name``
        What a model calls the layer, in its summary and its parameters' names; None is the class' name in lower case.

    Backward gives the gradient of the one input, or a tuple of one for each (None where there is none). :meth:`infer` tells
    shapes, :meth:`stream` carries on where the last chunk of time ended, :meth:`config` is what a layer is made of.
    """

    rng: np.random.Generator | None = None
    backend: str | None = None  # the name of the one that does the work; None is the one in use
    name: str | None = None
    takes_lengths = False
    pointwise = False
    makes_time = False  # True: x is [B, ...] and y [n, B, ...]
    gives_time: bool | None = None  # whether y has a time axis; None: if it has as many axes as x
    one_gradient = False
    none_is_zero = False
    takes_need_dx = False
    takes_ids = False
    carries_state = False
    skips_padding = False

    @property
    def reads_time(self) -> bool:
        """Whether time is an axis of x: the first, with ``batch_first`` the second."""
        return self.takes_lengths

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        call = cls.__dict__.get("__call__")
        if call is not None and not hasattr(call, "_takes_symbols"):
            cls.__call__ = on_arrays_or_symbols(call)  # type: ignore[method-assign]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run inference; see the class."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the training forward pass; see the class."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def infer(self, *inputs: Nest, **options: Any) -> Nest:
        """The output's specs from the inputs', as the call gives outputs from inputs: nests of ``Spec(shape, dtype)``.

        The default finds out by calling the layer on small arrays. Raises TypeError or ValueError for inputs that the
        layer does not take, such as an x without time if the layer looks along time.
        """
        if self.reads_time:
            require_time(self, inputs)
        return probed(self, *inputs, **options)

    def pick_lengths(self, inputs: Nest, lengths: Mapping[Axis, Any]) -> Any:
        """What a model hands over as ``lengths``, from those by time axis and the inputs' specs; None for nothing."""
        axis = next(flat(inputs)).time
        if axis == UNKNOWN:
            raise ValueError(f"{self.name or type(self).__name__} cannot have lengths: its time axis is made of others")
        return lengths_of(axis, lengths)

    def lengths_after(self, lengths: Array) -> Array:
        """The lengths of an output over time, int64 ``[B]``, from those of x."""
        return lengths

    def rows_of_ids(self) -> tuple[int, Parameter | None] | None:
        """``V, weight [V, I]`` of a layer that only gives the row of each token id; None of any other layer.

        A weight that is None stands for one-hot rows.
        """
        return None

    def fused_with(self, before: Layer) -> Any:
        """What to run in place of ``before`` and this layer, which alone takes what ``before`` gives; None to run both."""
        return None

    def not_streaming(self) -> str | None:
        """Why :meth:`stream` refuses, as the end of a sentence "... cannot be streamed: "; None where it does not."""
        return None if self.pointwise else "it does not say that it computes every time step alone (pointwise = True)"

    def stream(self, *inputs: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """``output, state`` for the next chunk of time: chunk after chunk the same as the whole sequence at once.

        ``inputs`` are as for the call; ``state`` is what the last chunk gave, None at the start. An output without a time
        axis is that of the sequence so far. The default is for layers that are ``pointwise``, whose state is None; one
        that remembers something overrides this and :meth:`not_streaming`. Only layers that ``takes_lengths`` are given
        ``lengths``. Raises ValueError, saying why, for a layer that needs what is still to come.
        """
        self.require_streaming()
        return self(*inputs), None

    def require_streaming(self) -> None:
        """Raise ValueError, saying why, if the layer cannot be streamed."""
        why = self.not_streaming()
        if why is not None:
            raise ValueError(f"{self.name or type(self).__name__} cannot be streamed: {why}")

    def config(self) -> dict[str, Any]:
        """The constructor's arguments: ``type(layer)(**layer.config())`` is a new layer of the same architecture.

        All of it fits into JSON. What says how a layer is run or drawn (``backend``, ``rng``) is not part of it, nor are
        the parameters' values. The default takes each argument from the attribute of the same name. Raises TypeError where
        there is none, or for a layer that cannot be described, such as one with a function in it.
        """
        arguments = inspect.signature(type(self)).parameters
        names = [name for name in arguments if name not in ("rng", "backend")]
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            cause = f"it neither defines config() nor keeps its constructor's argument {missing[0]}"
            raise TypeError(f"{type(self).__name__} cannot be described: {cause}")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom: Mapping[str, type[Layer]] | None = None) -> Self:
        """A new layer from a :meth:`config`; ``custom`` has classes that are not fastrnn's, by name, for layers within."""
        return cls(**config)

    def named(self, name: str) -> Self:
        """This layer, with a name by which models call it: ``encoder = GRU(64, 128).named("encoder")``."""
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {describe(name)}")
        if not name or "." in name or "#" in name or "[" in name:
            raise ValueError(f"name must not be empty nor hold any of . # [, got {name!r}")
        self.name = name
        return self

    def __setattr__(self, name: str, value: object) -> None:
        before = self.__dict__.get(name)
        replaces = isinstance(before, Parameter)
        if replaces and not (value is None or isinstance(value, Parameter)):
            raise TypeError(f"{name} is a parameter: change its values with .{name}.assign(array)")
        super().__setattr__(name, value)
        if isinstance(before, (Parameter, Layer)) or isinstance(value, (Parameter, Layer)):
            ARRAYS.increment()
        elif name == "backend":
            VERSION.increment()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        ARRAYS.increment()

    def children(self) -> Iterator[tuple[str, Layer]]:
        """The layers directly below this one, with their names, in the order in which they were set."""
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, Layer))

    def named_parameters(self, prefix: str = "", remove_duplicate: bool = True) -> list[tuple[str, Parameter]]:
        """(dotted name, parameter) of every parameter here and below, this layer's own first.

        A parameter that is reached by several paths is listed once, or under each name if not ``remove_duplicate``.
        """
        own = [(prefix + name, value) for name, value in vars(self).items() if isinstance(value, Parameter)]
        for name, child in self.children():
            own += child.named_parameters(f"{prefix}{name}.", remove_duplicate=False)
        if not remove_duplicate:
            return own
        first: dict[int, tuple[str, Parameter]] = {}
        for pair in own:
            first.setdefault(id(pair[1]), pair)
        return list(first.values())

    def parameters(self) -> list[Parameter]:
        """Every parameter here and below, once."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self) -> None:
        """Fill every gradient with zeros."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def set_rng(self, generator: np.random.Generator) -> None:
        """Let every dropout here and below draw from this one generator."""
        self.rng = generator
        for _, child in self.children():
            child.set_rng(generator)

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters by dotted name; a shared one appears under each of its names, as in torch."""
        return {name: parameter.data.copy() for name, parameter in self.named_parameters(remove_duplicate=False)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Set the parameters from arrays (or torch tensors) by dotted name.

        float16, bfloat16, float32 and float64 are converted to the parameter's dtype.

        All is checked first: on an error nothing is changed. Raises ValueError listing the missing and unexpected
        names (unless not ``strict``), the wrong shapes, and the arrays that hold NaN or infinity; TypeError for what
        is not an array of floats.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must map names to arrays, got {describe(state)}")
        own = dict(self.named_parameters(remove_duplicate=False))
        skipped = IncompatibleKeys([n for n in own if n not in state], [n for n in state if n not in own])
        faults = [f"missing: {', '.join(skipped.missing_keys)}"] if strict and skipped.missing_keys else []
        if strict and skipped.unexpected_keys:
            faults.append(f"unexpected: {', '.join(skipped.unexpected_keys)}")
        values = {}
        for name, parameter in own.items():
            if name in state:
                values[name] = to_floats(name, state[name], parameter.dtype)
                faults += _faults(name, values[name], parameter.shape)
        if faults:
            raise ValueError(f"the state does not fit {type(self).__name__}: {'; '.join(faults)}")
        for name, value in values.items():
            own[name].assign(value)
        return skipped

    def save(self, path: PathLike) -> None:
        """Write the parameters to a safetensors file, atomically. Raises OSError."""
        save_arrays(path, self.state_dict())

    def load(self, path: PathLike) -> None:
        """Set the parameters from a safetensors file; on an error nothing is changed.

        Raises OSError, FileFormatError (truncated, foreign), or ValueError as :meth:`load_state_dict`, naming the file.
        """
        arrays, _ = load_arrays(path)
        try:
            self.load_state_dict(arrays)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{path}: {error}") from error

    def extra_repr(self) -> str:
        """What stands between the brackets of the layer's repr."""
        return ""

    def __repr__(self) -> str:
        """As torch shows it: the options, and the layers below."""
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children()]
        inside = "".join(f"\n  {line}" for line in children) + "\n" if children else self.extra_repr()
        return f"{type(self).__name__}({inside})"


def _faults(name: str, array: Array, shape: tuple[int, ...]) -> list[str]:
    if array.shape != shape:
        return [f"{name} has shape {array.shape}, expected {shape}"]
    return [] if np.isfinite(array).all() else [f"{name} holds NaN or infinity"]
