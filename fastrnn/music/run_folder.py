"""The folder of a run on music: its configuration, its songs, and the model that is made from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..checks import describe
from ..graph import Model
from ..serialization import write_atomically
from ..training import checkpoint, folder
from ..training.folder import CONFIG, PIECES, Kernels, RunError, damaged, read_json
from .jazz_task import Split, make_model
from .options import JazzOptions
from .songs import Song
from .tokens import encode
from .vocabulary import PartVocabulary


@dataclass(frozen=True)
class JazzConfig:
    """Everything that a run is rebuilt from, but its songs; ``sources`` and ``sha256`` say which they are.

    ``kernels`` are those of the last sitting. ``baselines`` are held-out losses in nats per token, by what reaches them.
    """

    options: JazzOptions
    vocabulary: PartVocabulary
    sources: tuple[str, ...]
    sha256: str
    kernels: Kernels | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write ``config.json``, atomically. Raises OSError."""
        content = {**folder.common(self), "vocabulary": asdict(self.vocabulary)}
        folder.save_config(path, JazzOptions.kind, content)

    @classmethod
    def load(cls, where: str | Path) -> JazzConfig:
        """Read a folder's ``config.json``. Raises RunError when it is not there or not what :meth:`save` wrote."""
        where = Path(where)
        _, content = folder.load_config(where, {JazzOptions.kind: None}, "a jazz model")
        with damaged(where / CONFIG):
            options = JazzOptions.from_json(content["options"])
            vocabulary = PartVocabulary(**content["vocabulary"])
            sources, sha256 = content["data"]["sources"], str(content["data"]["sha256"])
            if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
                raise TypeError(f"sources must be a list of strings, got {describe(sources)}")
            kernels = None if content["kernels"] is None else Kernels(**content["kernels"])
            baselines = {name: float(loss) for name, loss in content["baselines"].items()}
            return cls(options, vocabulary, tuple(sources), sha256, kernels, baselines)


def save_songs(path: Path, songs: Split) -> None:
    """Write ``pieces.json``: with it a run needs its files no more. Raises OSError."""
    content = {name: [song.to_json() for song in getattr(songs, name)] for name in ("train", "held_out")}
    write_atomically(path, json.dumps(content, separators=(",", ":")).encode())


def load_songs(where: str | Path) -> Split:
    """Read a folder's ``pieces.json``. Raises RunError when it is not there or not what :func:`save_songs` wrote."""
    path = Path(where) / PIECES
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise RunError(f"{where} lacks {PIECES}, the songs of the run") from None
    with damaged(path):
        train, held_out = (tuple(Song.from_json(song) for song in content[name]) for name in ("train", "held_out"))
        if not train or not held_out:
            raise ValueError("it has no songs")
        return Split(train, held_out)


def writers(config: JazzConfig, songs: Split) -> dict[str, Callable[[Path], None]]:
    """What writes a new run's files, by their names."""
    return {CONFIG: config.save, PIECES: lambda path: save_songs(path, songs)}


@dataclass(frozen=True)
class Player:
    """A trained model and what it was trained on."""

    model: Model
    config: JazzConfig
    songs: Split

    @property
    def vocabulary(self) -> PartVocabulary:
        """The tokens that the model says."""
        return self.config.vocabulary


def load_player(where: str | Path, *, backend: str | None = None) -> Player:
    """The best model of a run. Raises RunError, CheckpointError, or OSError."""
    config = JazzConfig.load(where)
    path = folder.best_checkpoint(Path(where))
    model = make_model(config.options, config.vocabulary, backend=backend)
    arrays = checkpoint.load(path).model
    checkpoint.check_fits(path, arrays, model.named_parameters())
    model.load_state_dict(arrays)
    songs = load_songs(where)
    with damaged(Path(where) / PIECES):
        for song in (*songs.train, *songs.held_out):
            encode(song.part, config.vocabulary)  # raises ValueError for notes that the model has no tokens for
    return Player(model, config, songs)
