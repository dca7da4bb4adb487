"""The options of training a model of melodies, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..._core import checks
from ...training._run.options import RunOptions, defaults_of
from ...training._run.pace import paced
from .._midi.songs import VOICES
from ..vocabulary import PartVocabulary

# A few hundred bars in twelve keys: much dropout, and an end before the model knows them by heart.
DEFAULTS: dict[str, Any] = {
    "hidden": 160, "batch": 32, "seq_length": 192, "max_steps": 500, "eval_every": 50, "dropout": 0.3,
}  # fmt: skip

TOP_P = 0.95  # nucleus sampling; notes of the least likely twentieth would stand out


@dataclass(frozen=True, kw_only=True)
class JazzOptions(RunOptions):
    """The options of a run on music; see also :class:`fastrnn.training._run.options.RunOptions`.

    ``seq_length`` is in tokens, three per note.

    Attributes
    ----------
    voices
        ``"auto"``, ``"line"`` or ``"all"``, as in :func:`fastrnn.music._midi.songs.read`.
    melody
        The part to learn as a line, by name or number; None: a guess.
    chords
        The part to infer chords from, by name or number; None: the file's own chords, or a guess.
    changes
        Chords for all songs; None: each song's own.
    transpose
        True to learn songs in all twelve keys.
    """

    kind = "jazz"
    defaults: ClassVar = {"": DEFAULTS}

    voices: str = "auto"
    melody: str | None = None
    chords: str | None = None
    changes: str | None = None
    transpose: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("voices", self.voices, VOICES)
        checks.flag("transpose", self.transpose)
        for name in ("melody", "chords", "changes"):
            if not isinstance(getattr(self, name), str | None):
                raise TypeError(f"{name} must be a string or None, got {checks.describe(getattr(self, name))}")

    def read_vocabulary(self, value: Any) -> PartVocabulary:
        """Make a vocabulary from its ``to_json()``. Raises TypeError or ValueError."""
        return PartVocabulary(**value)


def make_options(**given: Any) -> JazzOptions:
    """Complete the given options with defaults. Raises TypeError or ValueError."""
    return JazzOptions(**paced({**DEFAULTS, **defaults_of(given.get("optimizer", JazzOptions.optimizer))}, given))
