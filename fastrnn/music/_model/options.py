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
    "hidden": 160, "batch": 32, "seq_length": 192, "max_steps": 300, "eval_every": 50, "dropout": 0.3,
    "memory": True,
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
    memory
        True if the model knows its place in the form and what it played some bars ago. A run without it does not store this
        option, so older runs are as they were.
    """

    kind = "jazz"
    defaults: ClassVar = {"": DEFAULTS}

    voices: str = "auto"
    melody: str | None = None
    chords: str | None = None
    changes: str | None = None
    transpose: bool = True
    memory: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("voices", self.voices, VOICES)
        checks.flag("transpose", self.transpose)
        checks.flag("memory", self.memory)
        for name in ("melody", "chords", "changes"):
            if not isinstance(getattr(self, name), str | None):
                raise TypeError(f"{name} must be a string or None, got {checks.describe(getattr(self, name))}")

    def to_json(self) -> dict[str, Any]:
        """Return the options by name; ``memory`` only if it is True."""
        content = super().to_json()
        return content if self.memory else {name: value for name, value in content.items() if name != "memory"}

    def read_vocabulary(self, value: Any) -> PartVocabulary:
        """Make a vocabulary from its ``to_json()``. Raises TypeError or ValueError."""
        return PartVocabulary(**value)


def make_options(**given: Any) -> JazzOptions:
    """Complete the given options with defaults. Raises TypeError or ValueError."""
    return JazzOptions(**paced({**DEFAULTS, **defaults_of(given.get("optimizer", JazzOptions.optimizer))}, given))
