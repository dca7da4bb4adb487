"""Base class of all layers: parameters, state dicts, and the methods that graphs and streams call."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from .. import init
from .._core.arrays import Array
from .._core.cache import ARRAYS, VERSION
from .._core.checks import describe
from .._core.parameter import Parameter
from ..serialization import PathLike, load_arrays, save_arrays
from ._symbolic.symbols import UNKNOWN, Axis, Nest, flat, on_arrays_or_symbols, probed
from ._symbolic.time_axes import lengths_of, require_time


class IncompatibleKeys(NamedTuple):
    """Names that ``load_state_dict(strict=False)`` skipped: those only in the layer, and those only in the dict."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Layer:
    """Base class of all layers.

    ``layer(x, ...)`` runs inference: dropout is off and nothing is saved for a backward pass. ``layer.forward(x, ...)`` runs
    the training forward pass and returns ``output, backward``. ``backward(doutput)`` returns ``dinput`` and adds into
    ``p.grad`` of each parameter. Each call owns its backward, so a layer may be used many times in a model. Float inputs are
    not copied and backward reads them again, so they must not change until it has run.

    A subclass sets its parameters and layers as attributes (or lists of layers); the attributes' names become theirs.

    **In a graph.** Called on a :class:`~fastrnn.Symbol`, any layer returns symbols (:func:`fastrnn.Input`). The attributes
    below tell a Model how to run the layer. The defaults suit a layer with one input, one output and no time axis.

    ``takes_lengths``
        True: the call and the forward accept ``lengths=None``, and a model passes the lengths of the first input's time
        axis. Set it in every layer that combines time steps. Its x is ``[T, B, ...]``, so :func:`fastrnn.fit` transposes
        arrays of sequences ``[N, T, ...]`` for it.
    ``batch_first``
        True: x and y of a layer that combines time steps are ``[B, T, ...]``. Not supported in a graph.
    ``gives_time``
        True or False: y has a time axis or not. None: y has one if it has as many axes as x. Set False in a layer that maps
        ids ``[T, B]`` to ``[B, ...]``.
    ``pointwise``
        True: each time step is computed alone, so the layer can be streamed, and padding affects no other step. An input
        with padding is rejected if neither this nor ``takes_lengths`` is set.
    ``one_gradient``
        True: backward takes the output's gradient as one argument even if the output is a tuple. False: an output
        ``(a, b)`` has ``backward(da, db)``.
    ``none_is_zero``
        True: backward accepts None for the zero gradient of an output or of a part of it. False: it receives zeros.
    ``takes_need_dx``
        True: ``backward(..., need_dx=False)`` skips the inputs' gradients (only x's if there is a state).
    ``takes_ids``
        True: x holds token ids.
    ``carries_state``
        True: the second input is an initial state. :meth:`stream` takes and returns it as its state, and backward returns
        its gradient even with ``need_dx=False``.
    ``skips_padding``
        True: a call with lengths does not read padding in x and writes zeros there in y.
    ``name``
        The layer's name in a model's summary and in its parameters' names. None: the class name in lower case.

    Backward returns the input's gradient, or a tuple with one gradient for each of several inputs (None for an input without
    a gradient, such as ids). :meth:`infer` returns the output's shape, :meth:`stream` continues after the last chunk of
    time, and :meth:`config` returns the constructor's arguments.
    """

    rng: np.random.Generator | None = None
    backend: str | None = None  # the backend's name; None is the current backend
    name: str | None = None
    takes_lengths = False
    pointwise = False
    makes_time = False  # True: x is [B, ...] and y [n, B, ...]
    gives_time: bool | None = None
    one_gradient = False
    none_is_zero = False
    takes_need_dx = False
    takes_ids = False
    carries_state = False
    skips_padding = False
    shared_options: ClassVar[tuple[str, ...]] = ()  # names of the arguments that a constructor takes as ``**options``

    @property
    def reads_time(self) -> bool:
        """True if time is an axis of x: the first, or the second with ``batch_first``."""
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
        """Return the output's spec for the inputs' specs; each is a nest of ``Spec(shape, dtype)``.

        The default calls the layer on small arrays. Raises TypeError or ValueError for inputs that the layer does not
        accept, such as an x without a time axis if the layer combines time steps.
        """
        if self.reads_time:
            require_time(self, inputs)
        return probed(self, *inputs, **options)

    def pick_lengths(self, inputs: Nest, lengths: Mapping[Axis, Any]) -> Any:
        """Return the ``lengths`` that a model passes to the layer, or None.

        ``inputs`` are the inputs' specs, ``lengths`` maps each time axis to its lengths.
        """
        axis = next(flat(inputs)).time
        if axis == UNKNOWN:
            raise ValueError(
                f"{self.name or type(self).__name__} cannot have lengths: its input's time axis combines several time axes"
            )
        return lengths_of(axis, lengths)

    def lengths_after(self, lengths: Array) -> Array:
        """Return the lengths of y along time, int64 ``[B]``, given those of x."""
        return lengths

    def rows_of_ids(self) -> tuple[int, Parameter | None] | None:
        """Return ``V, weight [V, I]`` if the layer only looks up a row for each token id, else None.

        A weight of None means one-hot rows.
        """
        return None

    def fused_with(self, before: Layer) -> Any:
        """Return a replacement that runs ``before`` and this layer in one, or None to run both.

        This layer is the only one that reads the output of ``before``.
        """
        return None

    def not_streaming(self) -> str | None:
        """Return why the layer cannot be streamed, as the end of an error message, or None if it can."""
        return None if self.pointwise else "it does not declare that it computes each time step alone (pointwise = True)"

    def stream(self, *inputs: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """Process the next chunk of time and return ``output, state``.

        Chunk by chunk, the results equal those of the whole sequence at once. An output without a time axis is computed from
        the sequence so far. The default serves ``pointwise`` layers, whose state is None; a layer with memory overrides this
        and :meth:`not_streaming`.

        Parameters
        ----------
        *inputs
            As for the call.
        state
            The state that the last chunk returned; None at the start.
        lengths
            Passed only to layers with ``takes_lengths``.

        Raises
        ------
        ValueError
            If the layer needs later time steps; the message says why.
        """
        self.require_streaming()
        return self(*inputs), None

    def require_streaming(self) -> None:
        """Raise ValueError with the reason if the layer cannot be streamed."""
        why = self.not_streaming()
        if why is not None:
            raise ValueError(f"{self.name or type(self).__name__} cannot be streamed: {why}")

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments: ``type(layer)(**layer.config())`` makes a layer of the same architecture.

        All values fit into JSON. ``backend``, ``precision``, ``rng`` and the parameters' values are not included. The
        default reads each argument from the attribute of the same name. Raises TypeError if there is no such attribute, or
        if the layer cannot be described, for example because it holds a function.
        """
        arguments = list(inspect.signature(type(self)).parameters)
        if self.shared_options and arguments[-1] == "options":
            arguments[-1:] = self.shared_options
        names = [name for name in arguments if name not in ("rng", "backend", "precision")]
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            cause = f"it neither defines config() nor stores its constructor's argument {missing[0]}"
            raise TypeError(f"{type(self).__name__} cannot be described: {cause}")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom: Mapping[str, type[Layer]] | None = None) -> Self:
        """Build a new layer from a :meth:`config`; ``custom`` maps names to layer classes from outside fastrnn."""
        return cls(**config)

    def named(self, name: str) -> Self:
        """Set the layer's name in models and return the layer: ``encoder = GRU(64, 128).named("encoder")``."""
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {describe(name)}")
        if not name or "." in name or "#" in name or "[" in name:
            raise ValueError(f"name must not be empty nor hold any of . # [, got {name!r}")
        self.name = name
        return self

    def __setattr__(self, name: str, value: object) -> None:
        before = self.__dict__.get(name)
        if isinstance(before, Parameter) and value is not None:
            before.check_replacement(name, value)
        super().__setattr__(name, value)
        if isinstance(before, (Parameter, Layer)) or isinstance(value, (Parameter, Layer)):
            ARRAYS.increment()
        elif name == "backend":
            VERSION.increment()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        ARRAYS.increment()

    def children(self) -> Iterator[tuple[str, Layer]]:
        """Yield the names and layers directly below this one, in the order in which they were set."""
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, Layer))

    def named_parameters(self, prefix: str = "", remove_duplicate: bool = True) -> list[tuple[str, Parameter]]:
        """Return ``(dotted name, parameter)`` of every parameter of this layer and those below, its own first.

        A shared parameter is listed once, or under each of its names if ``remove_duplicate`` is False.
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
        """Return every parameter of this layer and those below, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self) -> None:
        """Fill every gradient with zeros."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def set_rng(self, rng: np.random.Generator | int | None) -> None:
        """Make every dropout in this layer and those below draw from this one generator, which may be given as a seed."""
        self.rng = init.generator(rng)
        for _, child in self.children():
            child.set_rng(self.rng)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters by dotted name; a shared one appears under each of its names, as in torch."""
        return {name: parameter.state() for name, parameter in self.named_parameters(remove_duplicate=False)}

    def _stored_state(self) -> dict[str, Any]:
        """Return what a file of this layer holds: the state dict, with bfloat16 as it is."""
        return {name: parameter.stored() for name, parameter in self.named_parameters(remove_duplicate=False)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Set the parameters from arrays or torch tensors by dotted name.

        float16, bfloat16, float32 and float64 are converted to the parameter's dtype. A shared parameter may be given under
        any of its names; of several, the last counts. Everything is checked first, so an error changes nothing. With
        ``strict=False``, missing and unexpected names are returned, not raised.

        Raises
        ------
        ValueError
            Lists missing and unexpected names, wrong shapes, and arrays that hold NaN or infinity.
        TypeError
            If a value is not an array of floats.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must map names to arrays, got {describe(state)}")
        own = dict(self.named_parameters(remove_duplicate=False))
        given = {id(parameter) for name, parameter in own.items() if name in state}
        missing = [name for name, parameter in own.items() if id(parameter) not in given]
        skipped = IncompatibleKeys(missing, [name for name in state if name not in own])
        faults = [f"missing: {', '.join(skipped.missing_keys)}"] if strict and skipped.missing_keys else []
        if strict and skipped.unexpected_keys:
            faults.append(f"unexpected: {', '.join(skipped.unexpected_keys)}")
        values = {}
        for name, parameter in own.items():
            if name in state:
                values[name] = parameter.convert(name, state[name])
                faults += _faults(name, values[name], parameter.shape)
        if faults:
            raise ValueError(f"the state does not fit {type(self).__name__}: {'; '.join(faults)}")
        for name, value in values.items():
            own[name].assign(value)
        return skipped

    def save(self, path: PathLike) -> None:
        """Write the parameters to a safetensors file, atomically. Raises OSError."""
        save_arrays(path, self._stored_state())

    def load(self, path: PathLike) -> None:
        """Set the parameters from a safetensors file; an error changes nothing.

        Raises OSError, FileFormatError for a truncated or foreign file, and the errors of :meth:`load_state_dict` with the
        file's name.
        """
        arrays, _ = load_arrays(path)
        try:
            self.load_state_dict(arrays)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{path}: {error}") from error

    def extra_repr(self) -> str:
        """Return the text between the brackets of the layer's repr."""
        return ""

    def __repr__(self) -> str:
        """Return torch's form: the options, and the layers below."""
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children()]
        inside = "".join(f"\n  {line}" for line in children) + "\n" if children else self.extra_repr()
        return f"{type(self).__name__}({inside})"


def _faults(name: str, array: Array, shape: tuple[int, ...]) -> list[str]:
    if array.shape != shape:
        return [f"{name} has shape {array.shape}, expected {shape}"]
    return [] if np.isfinite(array).all() else [f"{name} holds NaN or infinity"]
