"""The folder of a run: its configuration, and how a model is made from it."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..serialization import FileFormatError, load_arrays, save_arrays, write_atomically
from ..training import checkpoint
from ..training.loop import BEST, LAST, METRICS
from .char_model import CharModel
from .language_model import LanguageModel
from .novelty import Hashes
from .options import TrainOptions
from .vocabulary import Vocabulary

CONFIG, SAMPLES, CURVE, LINES = "config.json", "samples.txt", "loss.png", "lines.safetensors"
FORMAT, VERSION = "fastrnn-chars", 1


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run is rebuilt from: ``sources`` and ``sha256`` say which text it was trained on."""

    options: TrainOptions
    vocabulary: Vocabulary
    sources: tuple[str, ...]
    sha256: str

    def save(self, folder: Path) -> None:
        """Write ``config.json``, atomically. Raises OSError."""
        from .. import __version__

        content = {
            "format": FORMAT,
            "version": VERSION,
            "data": {"sources": self.sources, "sha256": self.sha256},
            "options": self.options.to_json(),
            "vocabulary": self.vocabulary.to_json(),
            "versions": {"fastrnn": __version__, "numpy": np.__version__, "python": platform.python_version()},
        }
        write_atomically(folder / CONFIG, (json.dumps(content, indent=2, ensure_ascii=True) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> RunConfig:
        """Read ``config.json``. Raises RunError when it is not there or not what :meth:`save` wrote."""
        path = folder / CONFIG
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise RunError(f"{folder} is not a run folder: it has no {CONFIG}") from None
        except ValueError as error:
            raise RunError(f"{path} is damaged: {error}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise RunError(f"{path} is not the configuration of a character model")
        if content.get("version") != VERSION:
            raise RunError(f"{path} has version {content.get('version')}, this fastrnn reads version {VERSION}")
        return cls._from_json(path, content)

    @classmethod
    def _from_json(cls, path: Path, content: dict[str, Any]) -> RunConfig:
        try:
            options = TrainOptions.from_json(content["options"])
            vocabulary = Vocabulary.from_json(content["vocabulary"])
            return cls(options, vocabulary, tuple(content["data"]["sources"]), str(content["data"]["sha256"]))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error!r}") from error


def make_model(
    options: TrainOptions, vocabulary: Vocabulary, *, rng: np.random.Generator | None = None, backend: str | None = None
) -> CharModel:
    """The model that the options describe, with fresh weights."""
    return CharModel(
        len(vocabulary),
        options.model,
        options.layers,
        options.hidden,
        options.embedding,
        options.dropout,
        rng=rng,
        backend=backend,
    )


def claim(folder: Path, overwrite: bool = False) -> None:
    """Make a folder ready for a new run. Raises RunError when it holds one and ``overwrite`` is false, OSError."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file, not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    if holds_run(folder) and not overwrite:
        raise RunError(f"{folder} holds a run already: --resume goes on with it, --overwrite replaces it")
    for name in (SAMPLES, CURVE, LINES):
        (folder / name).unlink(missing_ok=True)


def holds_run(folder: Path) -> bool:
    """Whether there is something of a run that would be lost."""
    return any((folder / name).exists() for name in (LAST, BEST, METRICS))


def save_lines(folder: Path, hashes: Hashes) -> None:
    """Keep the hashes of the training lines, so that new samples can be told from old names. Raises OSError."""
    save_arrays(folder / LINES, {"hashes": hashes})


def load_lines(folder: Path) -> Hashes | None:
    """The hashes, or None where they are missing or damaged: sampling does without."""
    try:
        arrays, _ = load_arrays(folder / LINES)
    except (OSError, FileFormatError):
        return None
    return arrays.get("hashes")


def load_language_model(folder: Path, *, backend: str | None = None) -> tuple[LanguageModel, RunConfig]:
    """The best model of a run. Raises RunError, CheckpointError, or OSError."""
    config = RunConfig.load(folder)
    path = folder / (BEST if (folder / BEST).exists() else LAST)
    if not path.exists():
        raise RunError(f"{folder} has no checkpoint yet: neither {BEST} nor {LAST}")
    model = make_model(config.options, config.vocabulary, backend=backend)
    arrays = checkpoint.load(path).model
    checkpoint.check_fits(path, arrays, model.named_parameters())
    model.load_state_dict(arrays)
    return LanguageModel(model, config.vocabulary, config.options.reading), config
