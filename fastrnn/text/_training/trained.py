"""Sampling and scoring for a :class:`fastrnn.trained_run.TrainedRun` on text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..._core.checks import describe
from ...sampling import PLAIN, Choice
from ..language_model import LanguageModel, Sample, Score
from ..run_folder import TextConfig


class TextParts:
    """Language model of characters or words, with the configuration of its run."""

    songs = None
    choice = PLAIN

    def __init__(self, language_model: LanguageModel, config: TextConfig) -> None:
        self.language_model, self.config = language_model, config
        self.options = config.options
        self.model, self.vocabulary = language_model.model, language_model.vocabulary

    def score(self, item: Any) -> Score:
        """Return the log probabilities of a text's tokens. Raises TypeError, ValueError, UnknownCharacters."""
        if not isinstance(item, str):
            raise TypeError(f"text must be a str, or a list of them, got {describe(item)}")
        return self.language_model.score(item)

    def sample(
        self,
        number: int,
        *,
        length: int | None = None,
        prefix: str = "",
        sentences: bool = False,
        no_unk: bool = False,
        choice: Choice = PLAIN,
        seed: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> list[Sample]:
        """Return samples with the defaults of ``fastrnn sample``. Raises TypeError, ValueError, UnknownCharacters."""
        unk = self._unk(no_unk)
        return self.language_model.sample(
            number, length, prefix=prefix, choice=choice, seed=seed, unk=unk, sentences=sentences, progress=progress
        )

    def stream(
        self,
        length: int | None = None,
        *,
        prefix: str = "",
        no_unk: bool = False,
        choice: Choice = PLAIN,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Return one sample in pieces. Raises as :meth:`sample` does."""
        return self.language_model.stream(length, prefix=prefix, choice=choice, seed=seed, unk=self._unk(no_unk))

    def _unk(self, no_unk: bool) -> bool:
        """Return whether ``<UNK>`` may be sampled. A model of words may sample it; one of characters never does."""
        return self.vocabulary.unit == "word" and not no_unk
