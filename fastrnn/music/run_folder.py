"""The folder of a run on music: its configuration, its songs and its model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..graph import Model
from ..serialization import FileFormatError, load_arrays
from ..training._run.folder import PIECES, SONGS, RunError, damaged, load_best, read_json
from ..training._run.run_config import RunConfig
from ._midi import song_files
from ._model.batching import Line, lines
from ._model.habits import Habits, habits_of
from ._model.jazz_task import Split, make_model
from ._model.options import JazzOptions
from ._model.song import Song
from .tokens import encode_notes
from .vocabulary import PartVocabulary


def load_config(where: str | Path) -> RunConfig[JazzOptions, PartVocabulary]:
    """Read the configuration of a run on music. Raises RunError."""
    return RunConfig.load(where, {JazzOptions.kind: JazzOptions}, "a jazz model")


def save_songs(path: Path, songs: Split) -> None:
    """Write ``songs.safetensors``, so the run no longer needs the MIDI files. Raises OSError."""
    song_files.save(path, [*songs.train, *songs.held_out], {"train": str(len(songs.train))})


def load_songs(where: str | Path) -> Split:
    """Read a folder's ``songs.safetensors``, or the ``pieces.json`` of a folder that an older version wrote.

    Raises RunError if there is neither, or if the file is damaged.
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


@dataclass(frozen=True)
class Player:
    """A trained model with its configuration and songs."""

    model: Model
    config: RunConfig[JazzOptions, PartVocabulary]
    songs: Split

    @property
    def vocabulary(self) -> PartVocabulary:
        """The model's tokens."""
        return self.config.vocabulary

    @cached_property
    def lines(self) -> list[Line]:
        """The training songs as tokens."""
        return lines(self.songs.train, self.vocabulary)

    @cached_property
    def habits(self) -> Habits:
        """How often the training songs repeat bars; see :func:`fastrnn.music._model.habits.habits_of`."""
        return habits_of(self.lines, self.vocabulary)


def load_player(where: str | Path, *, backend: str | None = None) -> Player:
    """Load the best model of a run. Raises RunError, CheckpointError, or OSError."""
    config = load_config(where)
    model = load_best(Path(where), lambda: make_model(config.options, config.vocabulary, backend=backend))
    songs = load_songs(where)
    with damaged(songs_file(where)):
        for song in (*songs.train, *songs.held_out):
            encode_notes(*song.notes, config.vocabulary)  # ValueError for notes without tokens: the files do not match
    return Player(model, config, songs)
