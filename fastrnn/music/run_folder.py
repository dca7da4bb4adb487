"""The folder of a run on music: its configuration, its songs, and the model that is made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .._core.checks import describe
from ..graph import Model
from ..serialization import FileFormatError, load_arrays
from ..training import checkpoint
from ..training._run import folder
from ..training._run.folder import CONFIG, PIECES, SONGS, Kernels, RunError, damaged, read_json
from ._midi import song_files
from ._model.jazz_task import Split, make_model
from ._model.options import JazzOptions
from ._model.song import Song
from .tokens import encode_notes
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
    """Write ``songs.safetensors``: with it a run needs its files no more. Raises OSError."""
    song_files.save(path, [*songs.train, *songs.held_out], {"train": str(len(songs.train))})


def load_songs(where: str | Path) -> Split:
    """Read a folder's ``songs.safetensors``, or the ``pieces.json`` of a folder that an older version wrote.

    Raises RunError when there is neither, or when it is not what :func:`save_songs` wrote.
    """
    path = songs_file(where)
    try:
        train, held_out = (_from_json if path.name == PIECES else _from_arrays)(path)
    except FileNotFoundError:
        raise RunError(f"{where} lacks {SONGS}, the songs of the run") from None
    if not train or not held_out:
        raise RunError(f"{path} is damaged: it has no songs")
    return Split(tuple(train), tuple(held_out))


def songs_file(where: str | Path) -> Path:
    """Return the path of a folder's songs."""
    new, old = Path(where) / SONGS, Path(where) / PIECES
    return old if old.exists() and not new.exists() else new


def _from_arrays(path: Path) -> tuple[list[Song], list[Song]]:
    try:
        arrays, texts = load_arrays(path)
    except FileFormatError as error:
        raise RunError(str(error)) from error
    with damaged(path):
        songs, texts = song_files.unpack(arrays, texts)
        count = int(texts["train"])
        return songs[:count], songs[count:]


def _from_json(path: Path) -> tuple[list[Song], list[Song]]:
    content = read_json(path)
    with damaged(path):
        train, held_out = ([Song.from_json(song) for song in content[name]] for name in ("train", "held_out"))
        return train, held_out


def writers(config: JazzConfig, songs: Split) -> dict[str, Callable[[Path], None]]:
    """What writes a new run's files, by their names."""
    return {CONFIG: config.save, SONGS: lambda path: save_songs(path, songs)}


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
    with damaged(songs_file(where)):
        for song in (*songs.train, *songs.held_out):
            encode_notes(*song.notes, config.vocabulary)  # raises ValueError for notes that the model has no tokens for
    return Player(model, config, songs)
