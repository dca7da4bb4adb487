"""Vocabulary of words: conversion between words and ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import checks
from .tokens import EOS, UNK, Detokenizer, tokenize
from .vocabulary import EmptyVocabulary, Ids, Tokens


class WordVocabulary(Tokens):
    """Vocabulary of ``<EOS>``, ``words`` in the order of their ids, 1 to m, and ``<UNK>`` for all other words.

    A word is a token of :mod:`fastrnn.text.tokens`, which describes ``keep_case`` and ``sentences``. Raises ValueError for
    words that are not distinct strings.
    """

    unit = "word"
    end = EOS

    def __init__(self, words: Iterable[str], *, keep_case: bool = False, sentences: bool = True) -> None:
        self.tokens = (EOS, *words, UNK)
        wrong = [token for token in self.tokens if not isinstance(token, str) or not token]
        if wrong:
            raise ValueError(f"words must be strings, not empty, got {checks.describe(wrong[0])}")
        if len(self.tokens) == 2:
            raise ValueError("words must hold at least one word, got none")
        self.unk_id: int = len(self.tokens) - 1
        self.keep_case = checks.flag("keep_case", keep_case)
        self.sentences = checks.flag("sentences", sentences)
        self._by_token = {token: i for i, token in enumerate(self.tokens)}
        if len(self._by_token) < len(self.tokens):
            twice = Counter(self.tokens).most_common(1)[0][0]
            raise ValueError(f"words must be distinct, and neither {EOS} nor {UNK}, got {twice!r} twice")

    @classmethod
    def most_frequent(cls, tokens: Iterable[str], m: int, *, min_count: int = 1, **options: bool) -> WordVocabulary:
        """Return the vocabulary of the ``m`` most frequent tokens that occur at least ``min_count`` times.

        Ties go by code points. ``tokens`` may be a mapping from tokens to their counts. ``options`` are those of the class.
        Raises EmptyVocabulary if no word is frequent enough.
        """
        checks.positive_int("m", m)
        checks.positive_int("min_count", min_count)
        counts = Counter(tokens)
        for token in (EOS, UNK):
            counts.pop(token, None)
        frequent = [word for word, count in counts.items() if count >= min_count]
        if not frequent:
            most = max(counts.values(), default=0)
            raise EmptyVocabulary(f"min_count must be at most {most}, the count of the commonest word, got {min_count}")
        return cls(sorted(frequent, key=lambda word: (-counts[word], word))[:m], **options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WordVocabulary) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.tokens)

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, known and unknown."""
        return tokenize(text, keep_case=self.keep_case, sentences=self.sentences)

    def ids(self, tokens: Iterable[str]) -> Ids:
        """Return the ids of tokens, where unknown ones are ``<UNK>``."""
        return np.array([self._by_token.get(token, self.unk_id) for token in tokens], np.int32)

    def encode(self, text: str) -> Ids:
        """Return the ids of a text's tokens."""
        return self.ids(self.tokenize(text))

    def unknown(self, text: str) -> tuple[str, ...]:
        """Return the tokens that :meth:`encode` replaces by ``<UNK>``, and any literal ``<UNK>``."""
        return tuple(token for token in self.tokenize(text) if self._by_token.get(token, self.unk_id) == self.unk_id)

    def decoder(self, before: Iterable[int] = ()) -> Callable[[Iterable[int] | NDArray[Any]], str]:
        """Return a function from ids that follow those ``before`` to text, a :class:`fastrnn.text.tokens.Detokenizer`."""
        detokenizer = Detokenizer()
        detokenizer(self.names(before))
        return lambda ids: detokenizer(self.names(ids))

    def to_json(self) -> dict[str, Any]:
        """Return a description for :meth:`from_json`, serialisable as JSON."""
        return {"words": list(self.tokens[1:-1]), "keep_case": self.keep_case, "sentences": self.sentences}

    @classmethod
    def from_json(cls, value: Any) -> WordVocabulary:
        """Return the vocabulary that :meth:`to_json` described. Raises TypeError or ValueError for anything else."""
        if not isinstance(value, dict) or not isinstance(value.get("words"), list):
            raise ValueError(f"vocabulary must be an object with a list of words, got {checks.describe(value)}")
        return cls(value["words"], keep_case=value.get("keep_case", False), sentences=value.get("sentences", True))
