"""The folder of a run: its configuration, and how a model is made from it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import describe
from ..serialization import FileFormatError, load_arrays, save_arrays, write_atomically
from ..training import checkpoint
from ..training.loop import BEST, LAST, METRICS
from .char_model import CharModel
from .language_model import LanguageModel
from .model_size import check_size
from .novelty import Hashes
from .options import KINDS, TrainOptions
from .vocabulary import EOL, Tokens, Vocabulary
from .word_vocabulary import WordVocabulary

CONFIG, SAMPLES, CURVE, LINES = "config.json", "samples.txt", "loss.png", "lines.safetensors"
VERSION = 1
FORMATS = {f"fastrnn-{kind}": kind for kind in KINDS}
VOCABULARIES: dict[str, type[Vocabulary] | type[WordVocabulary]] = {"chars": Vocabulary, "words": WordVocabulary}


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """What a run computes with: with another backend or instruction set sums are rounded differently."""

    backend: str
    isa: str

    @classmethod
    def of(cls, model: CharModel) -> Kernels:
        """Those that the model would run on now."""
        plan = model.recurrent.plan(1, 1)[0]
        return cls(plan.backend, plan.isa)

    def __str__(self) -> str:
        return f"{self.backend} ({self.isa})"


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run is rebuilt from: ``sources`` and ``sha256`` say which text it was trained on.

    ``kernels`` are those of the last sitting, None in a folder that does not say. ``baselines`` are held-out losses in
    nats per token, by the names of what reaches them.
    """

    options: TrainOptions
    vocabulary: Tokens
    sources: tuple[str, ...]
    sha256: str
    kernels: Kernels | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)

    def save(self, folder: Path, name: str = CONFIG) -> None:
        """Write ``config.json``, atomically. Raises OSError."""
        from .. import __version__

        content = {
            "format": f"fastrnn-{self.options.kind}",
            "version": VERSION,
            "data": {"sources": self.sources, "sha256": self.sha256},
            "options": self.options.to_json(),
            "vocabulary": self.vocabulary.to_json(),
            "baselines": dict(self.baselines),
            "kernels": None if self.kernels is None else asdict(self.kernels),
            "versions": {"fastrnn": __version__, "numpy": np.__version__, "python": platform.python_version()},
        }
        write_atomically(folder / name, (json.dumps(content, indent=2, ensure_ascii=True) + "\n").encode())

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
        if not isinstance(content, dict) or content.get("format") not in FORMATS:
            raise RunError(f"{path} is not the configuration of a character model or a word model")
        if content.get("version") != VERSION:
            raise RunError(f"{path} has version {content.get('version')}, this fastrnn reads version {VERSION}")
        return cls._from_json(path, content)

    @classmethod
    def _from_json(cls, path: Path, content: dict[str, Any]) -> RunConfig:
        try:
            kind = FORMATS[content["format"]]
            options = KINDS[kind].from_json(content["options"])
            vocabulary = VOCABULARIES[kind].from_json(content["vocabulary"])
            sources, sha256 = _strings("sources", content["data"]["sources"]), str(content["data"]["sha256"])
            kernels = None if content.get("kernels") is None else Kernels(**content["kernels"])
            baselines = {name: float(loss) for name, loss in content.get("baselines", {}).items()}
        except KeyError as error:
            raise RunError(f"{path} is damaged: it lacks {error}") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}") from error
        if kind == "chars" and options.reading == "lines" and EOL not in vocabulary.tokens:
            raise RunError(f"{path} is damaged: the vocabulary lacks the end of the line")
        return cls(options, vocabulary, sources, sha256, kernels, baselines)


def _strings(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{name} must be a list of strings, got {describe(value)}")
    return tuple(value)


def make_model(
    options: TrainOptions,
    vocabulary: Tokens,
    *,
    rng: np.random.Generator | None = None,
    backend: str | None = None,
    copies: int = 1,
) -> CharModel:
    """The model that the options describe, with fresh weights.

    Raises MemoryError when as many ``copies`` of the weights as will be held are more than the machine's memory.
    """
    check_size(options, len(vocabulary), copies)
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


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a folder. Raises OSError, and RunError when another one is at work in it.

    The lock is the system's, on the folder itself: it goes with the process, however that ends.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder} is in use: another training is running in it") from None
        yield
    finally:
        os.close(handle)


@contextmanager
def claimed(folder: Path, overwrite: bool = False) -> Iterator[None]:
    """Make a folder for a new run, and hold it.

    Raises OSError, and RunError when it holds what would be lost, unless ``overwrite``, or when it is in use.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file, not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        found = files_of_a_run(folder)
        if found and not overwrite:
            what = f"holds a run already, or files of the same names ({', '.join(found)})"
            raise RunError(f"{folder} {what}: --resume goes on with a run, --overwrite replaces the files")
        yield


def files_of_a_run(folder: Path) -> list[str]:
    """The names of what is in a folder and would be lost to a new run."""
    return [name for name in (CONFIG, LAST, BEST, METRICS, SAMPLES, CURVE, LINES) if (folder / name).exists()]


@contextmanager
def replacing(folder: Path, config: RunConfig, lines: Hashes | None) -> Iterator[None]:
    """Write a new run's ``config.json``, and the hashes of its training lines, to tell new samples from old names.

    They take their names when the block ends well, and what another run left goes then; after an error all is as before.
    Raises OSError.
    """
    staged = {name: folder / f".{name}.new" for name in (CONFIG, LINES)}
    try:
        config.save(folder, staged[CONFIG].name)
        if lines is not None:
            save_arrays(staged[LINES], {"hashes": lines})
        yield
        for name in (SAMPLES, CURVE, LINES):
            (folder / name).unlink(missing_ok=True)
        for name, path in staged.items():
            if path.exists():
                path.replace(folder / name)
    finally:
        for path in staged.values():
            path.unlink(missing_ok=True)


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
