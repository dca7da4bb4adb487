"""A trained run of any kind, loaded from its folder: what ``fastrnn sample`` and ``fastrnn score`` do, from Python."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ._core import checks
from .sampling import Choice

if TYPE_CHECKING:
    from .music._model.jazz_task import Split
    from .music._model.trained import JazzParts
    from .text._training.trained import TextParts
    from .text.language_model import Score


class TrainedRun:
    """The best model of a run, with its vocabulary; :func:`load_run` makes it.

    ``folder``
        the run's folder, a Path.
    ``kind``
        ``"chars"``, ``"words"`` or ``"jazz"``.
    ``options``
        what it was trained with, by the names of the command line: ``run.options.hidden``.
    ``model``
        a layer with the weights of the best evaluation, from ids to logits: for text ``logits [T,B,V], state = model(ids)``
        with ids int64 ``[T,B]``; for jazz the graph of :func:`fastrnn.music.jazz_model.jazz_model`.
    ``vocabulary``
        ids from text and back, ``encode`` and ``decode``; for jazz the tokens of notes.
    """

    def __init__(self, folder: Path, kind: str, parts: TextParts | JazzParts) -> None:
        self.folder, self.kind = folder, kind
        self.options: Any = parts.options
        self.vocabulary: Any = parts.vocabulary
        self.model = parts.model
        self._parts = parts

    def __repr__(self) -> str:
        return f"TrainedRun({str(self.folder)!r}, kind={self.kind!r}, {len(self.vocabulary)} tokens)"

    @property
    def songs(self) -> Split:
        """The songs of a run of jazz: ``songs.train`` and ``songs.held_out``. Raises TypeError for text."""
        songs = self._parts.songs
        if songs is None:
            raise TypeError(f"songs are those of jazz, and {self.folder} holds a run of {self.kind}")
        return songs

    @overload
    def score(self, text: str) -> Score: ...
    @overload
    def score(self, text: Sequence[Any]) -> list[Score]: ...
    def score(self, text: Any) -> Score | list[Score]:
        """Return how probable the model finds a text, or each of a list of texts.

        A :class:`fastrnn.text.language_model.Score` has ``log_probability`` in nats, ``perplexity``, ``bits_per_token``, the
        ``tokens``, and the ``unknown`` ones among them that became ``<UNK>``. A run of jazz scores a
        :class:`fastrnn.music._midi.songs.Song`, or a list of them. Raises TypeError for anything else, UnknownCharacters,
        and ValueError for a text that is empty, or has line breaks where the model's texts are lines.
        """
        if isinstance(text, (list, tuple)):
            return [self._parts.score(item) for item in text]
        return self._parts.score(text)

    def sample(self, number: int = 1, **options: Any) -> list[Any]:
        """Return ``number`` samples, those of ``fastrnn sample`` with the same seed.

        For all kinds: ``seed`` (None: a fresh one), ``temperature``, ``top_k``, ``top_p`` and ``greedy``, as on the command
        line; ``progress``, a function that is called now and then with the number of samples that are done.

        Text gives a list of :class:`fastrnn.text.language_model.Sample`, with ``text`` and ``ended``. Its options are
        ``length``, ``prefix``, ``sentences`` and ``no_unk``.

        Jazz gives a list of :class:`fastrnn.music.piece.Piece`, the solo over its chords, which
        :func:`fastrnn.music.midi_writing.write_midi` writes. With ``changes``, and with ``choruses``, ``key`` and ``metre``,
        it plays over these chords as ``fastrnn improvise`` does, else over those of a song that it learned from.
        ``instrument`` keeps it to a range. The i-th piece has the seed ``seed + i``.

        Raises TypeError for an option that this kind has not, and ValueError for a value that cannot be.
        """
        checks.positive_int("number", number)
        return self._parts.sample(number, **self._known("sample", options))

    def stream(self, length: int | None = None, **options: Any) -> Iterator[str]:
        """Return one text of :meth:`sample` in pieces, as they come; the prefix is not repeated.

        Raises TypeError for a run of jazz, which has no text, and as :meth:`sample` does.
        """
        stream = self._parts.stream
        if stream is None:
            raise TypeError(f"stream is for text, and {self.folder} holds a run of {self.kind}")
        return stream(length, **self._known("stream", options))

    def _known(self, method: str, options: dict[str, Any]) -> dict[str, Any]:
        names = inspect.signature(getattr(self._parts, method)).parameters
        own = [name for name, parameter in names.items() if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
        choosing = [field.name for field in fields(Choice)]
        known = [*(name for name in own if name != "choice"), *choosing]
        wrong = [name for name in options if name not in known]
        if wrong:
            raise TypeError(f"{wrong[0]} is no option of {method} for a run of {self.kind}: those are {', '.join(known)}")
        chosen = {name: options.pop(name) for name in choosing if name in options}
        return {**options, "choice": replace(self._parts.choice, **chosen)}


def load_run(path: str | Path, *, backend: str | None = None) -> TrainedRun:
    """Load the best model of a run that ``fastrnn train chars``, ``words`` or ``jazz`` has trained.

    Raises ValueError (RunError, CheckpointError) in one line for a folder that is not there, holds no run or is damaged,
    and OSError.
    """
    from .training._run.folder import kind_of

    if not isinstance(path, (str, Path)):
        raise TypeError(f"path must be a str or a Path, got {checks.describe(path)}")
    folder = Path(path)
    kind = kind_of(folder)
    parts: TextParts | JazzParts
    if kind == "jazz":
        from .music._model.trained import JazzParts
        from .music.run_folder import load_player

        parts = JazzParts(load_player(folder, backend=backend))
    else:  # the loader says what it is if it is not text
        from .text._training.trained import TextParts
        from .text.run_folder import load_language_model

        parts = TextParts(*load_language_model(folder, backend=backend))
    return TrainedRun(folder, kind, parts)
