"""Errors that a user can cause, with their messages and exit statuses."""

from __future__ import annotations


class UsageError(ValueError):
    """Options that exclude each other or do not apply; the message names them."""


class InputError(ValueError):
    """An input that cannot be read; the message names it and says why."""


def expected(error: Exception) -> tuple[int, str]:
    """Return the exit status and the line for an error: 2 for bad input, 1 for a failure, 0 for a bug."""
    from .._core.checks import SettingError
    from ..backends import BackendUnavailable
    from ..distributed.agreement import RankError, RanksDiffer, TooManyRanks
    from ..distributed.world import MpiError
    from ..gradients import NonFiniteGradient, NonFiniteLoss, NonFiniteWeight
    from ..music._output.synthesis import SoundFontError
    from ..music.chords import ChordError
    from ..music.generation import NonFiniteLogits
    from ..music.midi import MidiError
    from ..serialization import FileFormatError
    from ..text.reading import TextError
    from ..text.vocabulary import EmptyVocabulary, UnknownCharacters
    from ..training import CheckpointError
    from ..training._run.folder import RunError

    bad_input = (UsageError, InputError, SettingError, TextError, RunError, CheckpointError, FileFormatError)
    if isinstance(error, ChordError):
        return 2, str(error)  # several lines: a caret marks the place
    if isinstance(error, (*bad_input, EmptyVocabulary, UnknownCharacters, MidiError, SoundFontError)):
        return 2, one_line(error)
    if isinstance(error, FileExistsError):  # --overwrite was not given
        return 2, explain(error)
    if isinstance(error, OSError):
        return 1, explain(error)
    if isinstance(error, (RanksDiffer, TooManyRanks)):
        return 2, one_line(error)
    if isinstance(error, (RankError, MpiError)):
        return 1, one_line(error)
    if isinstance(error, (NonFiniteGradient, NonFiniteLoss, NonFiniteWeight, NonFiniteLogits, BackendUnavailable)):
        return 1, one_line(error)
    if isinstance(error, MemoryError):
        return 1, f"not enough memory: {one_line(error) or 'try a smaller --batch or --hidden'}"
    return 0, ""


def as_typed(error: ValueError, options: frozenset[str]) -> str | None:
    """Return an error's message with the option that it names as the user types it: ``--min-count must be ...``.

    None if it does not begin with one of the ``options``, as ``min_count must be ...`` does.
    """
    name, _, rest = str(error).partition(" must ")
    option = f"--{name.replace('_', '-')}"
    return f"{option} must {rest}" if option in options else None


def explain(error: OSError) -> str:
    """Return the file's name and the system's message."""
    if error.strerror is None:
        return one_line(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def one_line(error: Exception) -> str:
    """Return the message without line breaks."""
    return " ".join(str(error).split())
