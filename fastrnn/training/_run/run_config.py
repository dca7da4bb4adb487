"""Configuration of a run of any kind, from which the run is rebuilt together with its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..._core.checks import describe
from .folder import CONFIG, Kernels, damaged, load_config, save_config
from .options import RunOptions

Options = TypeVar("Options", bound=RunOptions)
Vocabulary = TypeVar("Vocabulary")


@dataclass(frozen=True)
class RunConfig(Generic[Options, Vocabulary]):
    """Options and vocabulary of a run, and the origin of its data: ``sources`` and ``sha256``.

    ``kernels`` are those of the last session, None if the folder does not say. ``baselines`` are held-out losses in nats per
    token, by the name of the model.
    """

    options: Options
    vocabulary: Vocabulary
    sources: tuple[str, ...]
    sha256: str
    kernels: Kernels | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write ``config.json``, atomically. Raises OSError."""
        vocabulary: Any = self.vocabulary
        content = {
            "data": {"sources": self.sources, "sha256": self.sha256},
            "options": self.options.to_json(),
            "baselines": dict(self.baselines),
            "kernels": None if self.kernels is None else asdict(self.kernels),
            "vocabulary": vocabulary.to_json(),
        }
        save_config(path, self.options.kind, content)

    @classmethod
    def load(cls, where: str | Path, kinds: Mapping[str, type[Options]], what: str) -> RunConfig[Options, Any]:
        """Read a folder's ``config.json``.

        ``kinds`` maps each kind to its class of options. Raises RunError if the file is missing, damaged, or of another
        kind; the error names ``what`` was expected, such as "a jazz model".
        """
        where = Path(where)
        kind, content = load_config(where, kinds, what)
        with damaged(where / CONFIG):
            options = kinds[kind](**content["options"])
            vocabulary = options.read_vocabulary(content["vocabulary"])
            sources, sha256 = _strings("sources", content["data"]["sources"]), str(content["data"]["sha256"])
            kernels = None if content.get("kernels") is None else Kernels(**content["kernels"])
            baselines = {name: float(loss) for name, loss in content.get("baselines", {}).items()}
            return RunConfig(options, vocabulary, sources, sha256, kernels, baselines)


def _strings(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{name} must be a list of strings, got {describe(value)}")
    return tuple(value)
