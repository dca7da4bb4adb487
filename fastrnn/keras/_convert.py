"""Each Keras layer's counterpart: how to make it, and how to call it on symbols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import layers
from ._file import KerasLayer
from ._operators import get_item, items_of, stack
from ._weights import NUMPY, torch_order

_KINDS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
_RECURRENT = {"LSTM": layers.LSTM, "GRU": layers.GRU, "SimpleRNN": layers.RNN}
_MERGE = {"concat": "concat", "sum": "sum", "ave": "average", "mul": "mul"}
_WRAPPED = {"Bidirectional": tuple(_RECURRENT), "TimeDistributed": ("Dense",)}
_SHARED = ("units", "activation", "recurrent_activation", "reset_after", "use_bias")  # in both directions
_JOIN = {"concat": layers.Concat, "sum": layers.Add, "ave": layers.Average, "mul": layers.Multiply}
_ACTIVATIONS = ("tanh", "relu", "sigmoid", "softmax", "softplus")


class Counterpart(NamedTuple):
    """``make(layer)`` returns our layer, or several; ``call(layer, ours, symbols)`` returns the outputs' symbols."""

    make: Callable[[KerasLayer], Any]
    call: Callable[[KerasLayer, Any, list[Any]], list[Any]]


def convert(layer: KerasLayer) -> Any:
    """Return our layer, or layers, with the Keras layer's weights."""
    return LAYERS[layer.kind].make(layer)


def obstacle(layer: KerasLayer) -> str:
    """Return why a layer has no counterpart, or nothing."""
    if layer.kind != "InputLayer" and layer.kind not in LAYERS:
        return f"{layer.name} ({layer.kind})"
    config, kind = layer.config, layer.kind
    if kind == "GetItem" and items_of(layer) is None:
        return f"{layer.name} (GetItem of a batch, or with ...)"
    if kind in _WRAPPED:
        config, kind = config["layer"]["config"], config["layer"]["class_name"]
        if kind not in _WRAPPED[layer.kind]:
            return f"{layer.name} ({layer.kind} of {kind})"
    allowed: dict[str, tuple[Any, ...]] = {"activation": ("linear", *_ACTIVATIONS)}
    if kind in _KINDS:
        allowed["activation"] = ("tanh", "relu") if kind == "SimpleRNN" else ("tanh",)
        allowed["recurrent_activation"] = ("sigmoid",)
    if layer.kind == "Bidirectional":
        allowed["go_backwards"] = (False,)
    if kind == "LayerNormalization":
        allowed |= {"scale": (True,), "rms_scaling": (False,)}
    if kind in ("LayerNormalization", "Concatenate"):
        allowed["axis"] = (-1, [-1])
    given = {option: config.get(option, values[0]) for option, values in allowed.items()}
    wrong = [f"{option} {value}" for option, value in given.items() if value not in allowed[option]]
    backward = layer.config.get("backward_layer", {"class_name": kind, "config": config})
    if backward["class_name"] != kind or any(backward["config"].get(option) != config.get(option) for option in _SHARED):
        wrong.append("directions that differ")
    return f"{layer.name} ({layer.kind} with {', '.join(wrong)})" if wrong else ""


def _named(ours: Any, layer: KerasLayer) -> Any:
    return ours.named(layer.name) if not set(layer.name) & set(".#[") else ours


def _dense(layer: KerasLayer) -> list[Any]:
    """Return a linear layer and, if there is one, its activation."""
    inner = layer.config["layer"]["config"] if layer.kind == "TimeDistributed" else layer.config
    weight, *bias = [layer.arrays[path] for path in sorted(layer.arrays)]
    linear = _named(layers.Linear(weight.shape[0], weight.shape[1], bool(bias), dtype=weight.dtype), layer)
    linear.load_state_dict({"weight": weight.T} | ({"bias": bias[0]} if bias else {}))
    return [linear, *([] if inner["activation"] == "linear" else [layers.Activation(inner["activation"])])]


def _layer_norm(layer: KerasLayer) -> list[Any]:
    gamma, *beta = [layer.arrays[path] for path in sorted(layer.arrays)]
    ours = _named(layers.LayerNorm(gamma.size, layer.config["epsilon"], bias=bool(beta), dtype=gamma.dtype), layer)
    ours.load_state_dict({"weight": gamma} | ({"bias": beta[0]} if beta else {}))
    return [ours]


def _embedding(layer: KerasLayer) -> list[Any]:
    (weight,) = layer.arrays.values()
    ours = _named(layers.Embedding(*weight.shape, dtype=weight.dtype), layer)
    ours.load_state_dict({"weight": weight})
    return [ours]


def _chain(layer: KerasLayer, ours: list[Any], symbols: list[Any]) -> list[Any]:
    x = symbols[0]
    for one in ours:
        x = one(x)
    return [x]


def _plain(make: Callable[[KerasLayer], Any]) -> Counterpart:
    """Return the counterpart that is one layer of one input."""
    return Counterpart(lambda layer: [_named(make(layer), layer)], _chain)


def _joined(layer: KerasLayer, ours: list[Any], symbols: list[Any]) -> list[Any]:
    return [ours[0](*symbols)]


def _recurrent(layer: KerasLayer) -> Any:
    """Return a layer in one direction, or in two for Bidirectional."""
    both = layer.kind == "Bidirectional"
    kind = layer.config["layer"]["class_name"] if both else layer.kind
    config = layer.config["layer"]["config"] if both else layer.config
    state: dict[str, Any] = {}
    for prefix, suffix in (("forward_layer/", ""), ("backward_layer/", "_reverse")) if both else (("", ""),):
        paths = sorted(path for path in layer.arrays if path.startswith(f"{prefix}cell/vars/"))
        arrays = torch_order(_KINDS[kind], [layer.arrays[path] for path in paths], NUMPY)
        names = [f"{name}_l0{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        state |= dict(zip(names, arrays, strict=False))
    W = state["weight_ih_l0"]
    whole = both and config["return_sequences"]
    merge = {"merge": _MERGE.get(layer.config["merge_mode"], "concat")} if whole else {}
    options = {"SimpleRNN": {"nonlinearity": config["activation"]}, "GRU": {"reset_after": config.get("reset_after")}}
    ours = _RECURRENT[kind](
        W.shape[1], config["units"], bias="bias_ih_l0" in state, bidirectional=both, dtype=W.dtype,
        **merge, **options.get(kind, {}),
    )  # fmt: skip
    ours.load_state_dict(state)
    return _named(ours, layer)


def _run_recurrent(layer: KerasLayer, ours: Any, symbols: list[Any]) -> list[Any]:
    x, *initial = symbols
    config = layer.config
    state = [layers.Stack()(s) for s in initial] or None
    y, last = ours(x[::-1] if config["go_backwards"] else x, _state(ours, state))
    last = [h[0] for h in (last if ours.cell == "lstm" else (last,))]
    return [y if config["return_sequences"] else last[0], *last]


def _run_bidirectional(layer: KerasLayer, ours: Any, symbols: list[Any]) -> list[Any]:
    """Return the merged outputs, then the states of both directions."""
    x, *initial = symbols
    half, H = len(initial) // 2, ours.hidden_size
    state = [layers.Stack()(*pair) for pair in zip(initial[:half], initial[half:], strict=True)] or None
    y, last = ours(x, _state(ours, state))
    states = [h[d] for d in (0, 1) for h in (last if ours.cell == "lstm" else (last,))]
    whole = layer.config["layer"]["config"]["return_sequences"]
    merge = layer.config["merge_mode"]
    if whole and merge is not None:
        return [y, *states]
    parts = [y[..., :H], y[..., H:]] if whole else [states[0], states[len(states) // 2]]
    return [*(parts if merge is None else [_JOIN[merge]()(*parts)]), *states]


def _state(ours: Any, state: list[Any] | None) -> Any:
    return None if state is None else tuple(state) if ours.cell == "lstm" else state[0]


LAYERS = {
    **{kind: Counterpart(_recurrent, _run_recurrent) for kind in _RECURRENT},
    "Bidirectional": Counterpart(_recurrent, _run_bidirectional),
    "Dense": Counterpart(_dense, _chain),
    "TimeDistributed": Counterpart(_dense, _chain),
    "Embedding": Counterpart(_embedding, _chain),
    "LayerNormalization": Counterpart(_layer_norm, _chain),
    "Masking": Counterpart(lambda layer: [], _chain),
    "Dropout": _plain(lambda layer: layers.Dropout(layer.config["rate"])),
    "SpatialDropout1D": _plain(lambda layer: layers.VariationalDropout(layer.config["rate"])),
    "Activation": _plain(lambda layer: layers.Activation(layer.config["activation"])),
    "RepeatVector": _plain(lambda layer: layers.RepeatVector(layer.config["n"])),
    "GlobalAveragePooling1D": _plain(lambda layer: layers.MeanPool()),
    "GlobalMaxPooling1D": _plain(lambda layer: layers.MaxPool()),
    "Concatenate": Counterpart(lambda layer: [layers.Concat()], _joined),
    "Add": Counterpart(lambda layer: [layers.Add()], _joined),
    "Average": Counterpart(lambda layer: [layers.Average()], _joined),
    "Multiply": Counterpart(lambda layer: [layers.Multiply()], _joined),
    "GetItem": Counterpart(lambda layer: [], get_item),
    "Stack": Counterpart(lambda layer: [], stack),
}
