"""Trained runs of all kinds, loaded from their folders, with the functions of ``fastrnn sample`` and ``fastrnn score``."""

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
    """Best model of a run, with its vocabulary. It is made by :func:`load_run`.

    Attributes
    ----------
    folder
        The run's folder, a Path.
    kind
        ``"chars"``, ``"words"`` or ``"jazz"``.
    options
        The training options, named as on the command line: ``run.options.hidden``.
    model
        A layer from ids to logits, with the weights of the best evaluation. For text it is called as
        ``logits [T,B,V], state = model(ids)`` with ids int64 ``[T,B]``. For jazz it is the graph of
        :func:`fastrnn.music.jazz_model.jazz_model`.
    vocabulary
        Conversion between text and ids, ``encode`` and ``decode``; for jazz, between notes and ids.
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
        """The songs of a jazz run, ``songs.train`` and ``songs.held_out``. Raises TypeError for text."""
        songs = self._parts.songs
        if songs is None:
            raise TypeError(f"songs are for jazz, and {self.folder} holds a run of {self.kind}")
        return songs

    @overload
    def score(self, text: str) -> Score: ...
    @overload
    def score(self, text: Sequence[Any]) -> list[Score]: ...
    def score(self, text: Any) -> Score | list[Score]:
        """Return the score of a text, or of each text in a list.

        A :class:`fastrnn.text.language_model.Score` has ``log_probability`` in nats, ``perplexity``, ``bits_per_token``, the
        ``tokens``, and the ``unknown`` ones that became ``<UNK>``. A jazz run scores a
        :class:`fastrnn.music._midi.songs.Song`, or a list of them. Raises TypeError for anything else. Raises
        UnknownCharacters, and ValueError for an empty text, or for line breaks if the model's texts are lines.
        """
        if isinstance(text, (list, tuple)):
            return [self._parts.score(item) for item in text]
        return self._parts.score(text)

    def sample(self, number: int = 1, **options: Any) -> list[Any]:
        """Return ``number`` samples, the same as ``fastrnn sample`` with the same seed.

        All kinds take ``seed`` (None for a fresh one), ``temperature``, ``top_k``, ``top_p`` and ``greedy``, as on the
        command line, and ``progress``, a function that is called from time to time with the number of finished samples.

        Text gives a list of :class:`fastrnn.text.language_model.Sample`, with ``text`` and ``ended``. Its options are
        ``length``, ``prefix``, ``sentences`` and ``no_unk``.

        Jazz gives a list of :class:`fastrnn.music.piece.Piece`, a solo over chords, which
        :func:`fastrnn.music.midi_writing.write_midi` writes. With ``changes``, and optionally ``choruses``, ``key`` and
        ``metre``, the model plays over these chords as ``fastrnn improvise`` does, and adds a closing bar unless ``ending``
        is False. Otherwise it plays over the chords of a training song. ``instrument`` limits the solo to its range. The
        i-th piece has the seed ``seed + i``.

        Raises TypeError for an option that this kind does not have, and ValueError for a value out of range.
        """
        checks.positive_int("number", number)
        return self._parts.sample(number, **self._known("sample", options))

    def stream(self, length: int | None = None, **options: Any) -> Iterator[str]:
        """Return an iterator over the pieces of one text of :meth:`sample`, without the prefix.

        Raises TypeError for a jazz run, which has no text, and as :meth:`sample` does.
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
            raise TypeError(
                f"{wrong[0]} is not an option of {method} for a run of {self.kind}: the options are {', '.join(known)}"
            )
        chosen = {name: options.pop(name) for name in choosing if name in options}
        return {**options, "choice": replace(self._parts.choice, **chosen)}


def load_run(path: str | Path, *, backend: str | None = None) -> TrainedRun:
    """Load the best model of a run that ``fastrnn train chars``, ``words`` or ``jazz`` has trained.

    Raises ValueError (RunError, CheckpointError) with a message of one line if the folder is missing, holds no run or is
    damaged. Raises OSError, and MemoryError if its model is larger than the machine's memory.
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
    else:  # the loader raises RunError if it is not text
        from .text._training.trained import TextParts
        from .text.run_folder import load_language_model

        parts = TextParts(*load_language_model(folder, backend=backend))
    return TrainedRun(folder, kind, parts)
