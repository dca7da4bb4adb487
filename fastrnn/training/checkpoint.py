"""Checkpoints: everything that a run needs to continue, in one safetensors file that is written atomically.

The arrays belong to the model (``model.<name>``), the optimiser (``optimizer.<name>``) and the state (``state.<name>``).
The metadata holds one JSON text under ``fastrnn_checkpoint``: version, the optimiser's name and scalars, and the rest of
the state. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .._core.arrays import Array
from .._core.checks import describe
from ..json_reading import JsonError, parse
from ..serialization import FileFormatError, PathLike, load_arrays, save_arrays

if TYPE_CHECKING:
    from .._core.parameter import Parameter

KEY = "fastrnn_checkpoint"
VERSION = 1


class CheckpointError(ValueError):
    """Error for a file that is damaged, not a checkpoint, or for another model; names the file and the fault."""


class HasState(Protocol):
    """Protocol of an optimiser that can be saved, such as :class:`fastrnn.optim.Optimizer`."""

    def state_dict(self) -> dict[str, Any]:
        """Return ``name``, ``scalars`` and ``arrays``."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Content of a checkpoint file.

    ``model`` holds arrays by parameter name, ``optimizer`` is the optimiser's ``state_dict()``, and ``state`` is the state
    that was given to ``save``.
    """

    model: dict[str, Array]
    optimizer: dict[str, Any]
    state: dict[str, Any]


def save(path: PathLike, model_arrays: Mapping[str, Array], optimizer: HasState, state: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically: an existing file stays whole until the new one is complete.

    ``state`` must be serialisable as JSON, except for NumPy arrays by name under its key ``"arrays"``. Raises OSError naming
    the file, and TypeError for any other value.
    """
    optimizer_state = optimizer.state_dict()
    rest = {key: value for key, value in state.items() if key != "arrays"}
    header = {"version": VERSION, "optimizer": {key: optimizer_state[key] for key in ("name", "scalars")}, "state": rest}
    parts = {"model": model_arrays, "optimizer": optimizer_state["arrays"], "state": state.get("arrays", {})}
    arrays = {f"{part}.{name}": array for part, named in parts.items() for name, array in named.items()}
    save_arrays(path, arrays, {KEY: json.dumps(header, default=_plain)})


def _plain(value: object) -> object:
    """Convert a NumPy scalar to a Python one, for JSON."""
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    raise TypeError(f"the state must be JSON-able except for its 'arrays', got {describe(value)}")


def load(path: PathLike) -> Checkpoint:
    """Read a checkpoint.

    Raises OSError if the file cannot be opened. Raises :class:`CheckpointError` if it is truncated, not a fastrnn checkpoint
    or of an unknown version, or if its weights are not finite.
    """
    try:
        arrays, metadata = load_arrays(path)
    except FileFormatError as error:
        raise CheckpointError(str(error)) from error
    header = _header(path, metadata)
    parts: dict[str, dict[str, Array]] = {"model": {}, "optimizer": {}, "state": {}}
    for full_name, array in arrays.items():
        part, _, name = full_name.partition(".")
        if part not in parts:
            raise CheckpointError(f"{path} is damaged: it holds an array of an unknown kind, {full_name!r}")
        parts[part][name] = array
    for name, array in parts["model"].items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{path} is damaged: the weights {name} hold NaN or infinity")
    return Checkpoint(
        model=parts["model"],
        optimizer={**header["optimizer"], "arrays": parts["optimizer"]},
        state={**header["state"], "arrays": parts["state"]},
    )


def check_fits(path: PathLike, arrays: Mapping[str, Array], named_params: Iterable[tuple[str, Parameter]]) -> None:
    """Raise :class:`CheckpointError`, naming all differences, if a checkpoint's weights do not match these parameters."""
    params = dict(named_params)
    faults = [f"{name} is missing" for name in params if name not in arrays]
    faults += [f"{name} is unexpected" for name in arrays if name not in params]
    for name in params.keys() & arrays.keys():
        mine, its = params[name], arrays[name]
        if (mine.shape, mine.dtype) != (its.shape, its.dtype):
            faults.append(f"{name} is a {describe(its)}, expected {mine.dtype} of shape {mine.shape}")
    if faults:
        raise CheckpointError(f"{path} is of another model: {'; '.join(sorted(faults))}")


def _header(path: PathLike, metadata: Mapping[str, str]) -> dict[str, Any]:
    if KEY not in metadata:
        raise CheckpointError(f"{path} is not a fastrnn checkpoint: it is a safetensors file without {KEY!r}")
    try:
        header = parse(metadata[KEY], nonfinite=True)  # because a loss that is not known yet is NaN or infinity
    except JsonError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if not isinstance(header, dict) or "version" not in header:
        raise CheckpointError(f"{path} is damaged: its header has no version")
    if header["version"] != VERSION:
        raise CheckpointError(f"{path} has checkpoint version {describe(header['version'])}, this fastrnn reads {VERSION}")
    if not all(isinstance(header.get(key), dict) for key in ("optimizer", "state")):
        raise CheckpointError(f"{path} is damaged: its header lacks a part")
    return header
