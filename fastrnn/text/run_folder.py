"""The folder of a run: its configuration, and how a model is made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .._core.checks import describe
from ..serialization import FileFormatError, load_arrays, save_arrays
from ..training import checkpoint
from ..training._run import folder
from ..training._run.folder import CONFIG, LINES, Kernels, damaged
from ..training._run.model_size import check_model, recurrent_count
from ._training.novelty import Hashes
from .char_model import CharModel
from .language_model import LanguageModel
from .options import KINDS, TrainOptions
from .vocabulary import EOL, Tokens, Vocabulary
from .word_vocabulary import WordVocabulary

VOCABULARIES: dict[str, type[Vocabulary] | type[WordVocabulary]] = {"chars": Vocabulary, "words": WordVocabulary}


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

    def save(self, path: Path) -> None:
        """Write ``config.json``, atomically. Raises OSError."""
        content = {**folder.common(self), "vocabulary": self.vocabulary.to_json()}
        folder.save_config(path, self.options.kind, content)

    @classmethod
    def load(cls, where: str | Path) -> RunConfig:
        """Read a folder's ``config.json``. Raises RunError when it is not there or not what :meth:`save` wrote."""
        where = Path(where)
        kind, content = folder.load_config(where, KINDS, "a character model or a word model")
        with damaged(where / CONFIG):
            options = KINDS[kind].from_json(content["options"])
            vocabulary = VOCABULARIES[kind].from_json(content["vocabulary"])
            if kind == "chars" and options.reading == "lines" and EOL not in vocabulary.tokens:
                raise ValueError("the vocabulary lacks the end of the line")
            sources, sha256 = _strings("sources", content["data"]["sources"]), str(content["data"]["sha256"])
            kernels = None if content.get("kernels") is None else Kernels(**content["kernels"])
            baselines = {name: float(loss) for name, loss in content.get("baselines", {}).items()}
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
    check_model(options, parameter_count(options, len(vocabulary)), copies)
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


def parameter_count(options: TrainOptions, V: int) -> int:
    """The number of weights of a :class:`fastrnn.text.char_model.CharModel` over V tokens."""
    E, H = options.embedding, options.hidden
    return V * E + recurrent_count(options, E or V) + (H + 1) * V


def writers(config: RunConfig, lines: Hashes | None) -> dict[str, Callable[[Path], None]]:
    """What writes a new run's files, by their names: the configuration, and the hashes of the training lines.

    Those tell new samples from old names.
    """
    found: dict[str, Callable[[Path], None]] = {CONFIG: config.save}
    if lines is not None:
        found[LINES] = lambda path: save_arrays(path, {"hashes": lines})
    return found


def load_lines(where: str | Path) -> Hashes | None:
    """The hashes, or None where they are missing or damaged: sampling does without."""
    try:
        arrays, _ = load_arrays(Path(where) / LINES)
    except (OSError, FileFormatError):
        return None
    return arrays.get("hashes")


def load_language_model(where: str | Path, *, backend: str | None = None) -> tuple[LanguageModel, RunConfig]:
    """The best model of a run. Raises RunError, CheckpointError, or OSError."""
    config = RunConfig.load(where)
    path = folder.best_checkpoint(Path(where))
    model = make_model(config.options, config.vocabulary, backend=backend)
    arrays = checkpoint.load(path).model
    checkpoint.check_fits(path, arrays, model.named_parameters())
    model.load_state_dict(arrays)
    return LanguageModel(model, config.vocabulary, config.options.reading), config
