"""Vocabulary of characters, and the base of vocabularies: conversion between tokens and ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._core import checks
from .tokens import UNK

Ids = NDArray[np.int32]

EOL = "\n"


class UnknownCharacters(ValueError):
    """Error for a text with characters that the vocabulary lacks; the message names them with their code points."""


class EmptyVocabulary(ValueError):
    """Error for a text in which no character or word is frequent enough to be in the vocabulary."""


class Tokens:
    """Base of vocabularies: ``tokens`` in the order of their ids, 0 to V-1, and ``unk_id``, None without ``<UNK>``.

    ``unit`` is the name of a token for the user, such as "word". ``end`` is the token that ends a line or a sentence.
    """

    unit: ClassVar[str]
    end: ClassVar[str]
    tokens: tuple[str, ...]
    unk_id: int | None

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} tokens{', unk' if self.unk_id is not None else ''})"

    def id(self, token: str) -> int:
        """Return the id of a token. Raises KeyError for an unknown token."""
        try:
            return self.tokens.index(token)
        except ValueError:
            raise KeyError(token) from None

    def names(self, ids: Iterable[int] | NDArray[Any]) -> list[str]:
        """Return the tokens of ids. Raises TypeError, or ValueError for an id outside 0..V-1."""
        array = checks.integers("ids", ids)
        if array.size and (array.min() < 0 or array.max() >= len(self)):
            worst = int(array.min()) if array.min() < 0 else int(array.max())
            raise ValueError(f"ids must lie in 0..{len(self) - 1}, got {worst}")
        return [self.tokens[i] for i in array.tolist()]

    def encode(self, text: str) -> Ids:
        """Return the ids ``[n]`` of a text."""
        raise NotImplementedError

    def unknown(self, text: str) -> tuple[str, ...]:
        """Return the tokens of a text that :meth:`encode` makes ``<UNK>``, each as often as it occurs."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return a description for the class's ``from_json``, serialisable as JSON."""
        raise NotImplementedError

    def decoder(self, before: Iterable[int] = ()) -> Callable[[Iterable[int] | NDArray[Any]], str]:
        """Return a function whose calls convert successive ids, which follow those ``before``, to text."""
        raise NotImplementedError

    def decode(self, ids: Iterable[int] | NDArray[Any]) -> str:
        """Return the text of ids. Raises ValueError for an id outside 0..V-1."""
        return self.decoder()(ids)


class Vocabulary(Tokens):
    """Vocabulary of characters.

    ``tokens`` are distinct strings of one character each, in the order of their ids, 0 to V-1. With ``unk``, one more token,
    ``<UNK>``, has the last id and stands for every other character. With ``lower`` a text is lower-cased before it is
    encoded. Raises TypeError and ValueError for other tokens.
    """

    unit = "character"
    end = EOL

    def __init__(self, tokens: Iterable[str], unk: bool = False, *, lower: bool = False) -> None:
        self.lower = checks.flag("lower", lower)
        characters = tuple(tokens)
        for token in characters:
            if not isinstance(token, str) or len(token) != 1:
                raise ValueError(f"tokens must be strings of one character each, got {checks.describe(token)}")
        if not characters:
            raise ValueError("tokens must hold at least one character, got none")
        self.tokens: tuple[str, ...] = (*characters, UNK) if unk else characters
        self.unk_id: int | None = len(characters) if unk else None
        points = np.array([ord(token) for token in characters], np.uint32)
        self._by_point = np.argsort(points).astype(np.int32)
        self._points = points[self._by_point]
        if (self._points[1:] == self._points[:-1]).any():
            raise ValueError(f"tokens must be distinct, got {checks.describe(characters)}")

    @classmethod
    def from_text(
        cls, text: str, *, unk: bool = False, min_count: int = 1, first: str = "", lower: bool = False
    ) -> Vocabulary:
        """Return the vocabulary of a text's characters that occur at least ``min_count`` times, in code point order.

        The characters of ``first`` are always included and get the first ids. Raises ValueError for a ``min_count`` above 1
        without ``unk``, because the text itself could not be encoded. Raises EmptyVocabulary if no character is frequent
        enough.
        """
        checks.positive_int("min_count", min_count)
        if min_count > 1 and not unk:
            raise ValueError(f"unk must be true when min_count is {min_count}: rarer characters become {UNK}")
        points, counts = np.unique(code_points(text.lower() if lower else text), return_counts=True)
        frequent = [chr(point) for point in points[counts >= min_count].tolist()]
        if not frequent:
            most = int(counts.max(initial=0))
            raise EmptyVocabulary(f"min_count must be at most {most}, the count of the commonest character, got {min_count}")
        return cls([*first, *(character for character in frequent if character not in first)], unk, lower=lower)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.tokens)

    def encode(self, text: str) -> Ids:
        """Return the ids ``[n]`` of a text's n characters. Raises UnknownCharacters without ``<UNK>``."""
        points = code_points(text.lower() if self.lower else text)
        places = np.minimum(np.searchsorted(self._points, points), len(self._points) - 1)
        known = self._points[places] == points
        ids = self._by_point[places]
        if not known.all():
            if self.unk_id is None:
                raise UnknownCharacters(_name_unknown(points[~known]))
            ids[~known] = self.unk_id
        return ids

    def unknown(self, text: str) -> tuple[str, ...]:
        """Return the characters of a text that :meth:`encode` makes ``<UNK>``. Raises UnknownCharacters."""
        ids = self.encode(text)
        text = text.lower() if self.lower else text
        return () if self.unk_id is None else tuple(text[i] for i in np.flatnonzero(ids == self.unk_id).tolist())

    def decoder(self, before: Iterable[int] = ()) -> Callable[[Iterable[int] | NDArray[Any]], str]:
        """Return a function from ids to text, which does not depend on the ids ``before``."""
        return lambda ids: "".join(self.names(ids))

    def to_json(self) -> dict[str, Any]:
        """Return a description for :meth:`from_json`, serialisable as JSON."""
        unk = self.unk_id is not None
        return {"tokens": list(self.tokens[: self.unk_id] if unk else self.tokens), "unk": unk, "lower": self.lower}

    @classmethod
    def from_json(cls, value: Any) -> Vocabulary:
        """Return the vocabulary that :meth:`to_json` described. Raises TypeError or ValueError for anything else."""
        if not isinstance(value, dict) or not isinstance(value.get("tokens"), list):
            raise ValueError(f"vocabulary must be an object with a list of tokens, got {checks.describe(value)}")
        return cls(value["tokens"], bool(value.get("unk", False)), lower=value.get("lower", False))


def code_points(text: str) -> NDArray[np.uint32]:
    """Return the code points uint32 ``[n]`` of a text's n characters.

    Surrogates count as characters, because file names and command lines that are invalid UTF-8 contain them.
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _name_unknown(points: NDArray[np.uint32]) -> str:
    distinct = np.unique(points).tolist()
    shown = ", ".join(f"{chr(point)!r} (U+{point:04X})" for point in distinct[:8])
    more = f" and {len(distinct) - 8} more" if len(distinct) > 8 else ""
    return f"the vocabulary lacks {shown}{more}"
