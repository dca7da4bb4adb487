"""Folder of a run on text: its configuration, and the model made from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..serialization import FileFormatError, load_arrays, save_arrays
from ..training._run.folder import LINES, load_best
from ..training._run.model_size import check_model, recurrent_count
from ..training._run.run_config import RunConfig
from ._training.novelty import Hashes, line_hashes
from .char_model import CharModel
from .language_model import LanguageModel
from .options import KINDS, TrainOptions
from .vocabulary import Tokens

TextConfig: TypeAlias = RunConfig[TrainOptions, Tokens]


def load_config(where: str | Path) -> TextConfig:
    """Read the configuration of a run on text. Raises RunError."""
    return RunConfig.load(where, KINDS, "a character model or a word model")


def make_model(
    options: TrainOptions,
    vocabulary: Tokens,
    *,
    rng: np.random.Generator | None = None,
    backend: str | None = None,
    copies: int = 1,
) -> CharModel:
    """Return the model that the options describe, with fresh weights.

    Raises MemoryError if ``copies`` arrays of the weights' size exceed the machine's memory.
    """
    check_model(options, parameter_count(options, len(vocabulary)), copies)
    return CharModel(
        len(vocabulary),
        options.model,
        options.layers,
        options.hidden,
        options.embedding,
        options.dropout,
        options.tied,
        rng=rng,
        backend=backend,
    )


def parameter_count(options: TrainOptions, V: int) -> int:
    """Return the number of weights of a :class:`fastrnn.text.char_model.CharModel` over V tokens."""
    E, H = options.embedding, options.hidden
    output = V if options.tied else (H + 1) * V
    return V * E + recurrent_count(options, E or V) + output


def save_lines(path: Path, lines: Iterable[str]) -> None:
    """Write the hashes of the training lines, which later show whether a sample is one of them. Raises OSError."""
    save_arrays(path, {"hashes": line_hashes(lines)})


def load_lines(where: str | Path) -> Hashes | None:
    """Return the hashes of :func:`save_lines`, or None if they are missing or damaged; sampling does not need them."""
    try:
        arrays, _ = load_arrays(Path(where) / LINES)
    except (OSError, FileFormatError):
        return None
    return arrays.get("hashes")


def load_language_model(where: str | Path, *, backend: str | None = None) -> tuple[LanguageModel, TextConfig]:
    """Return the best model of a run and its configuration. Raises RunError, CheckpointError, or OSError."""
    config = load_config(where)
    model = load_best(Path(where), lambda: make_model(config.options, config.vocabulary, backend=backend))
    return LanguageModel(model, config.vocabulary, config.options.reading), config
