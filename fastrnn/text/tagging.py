"""Tags of words: files in CoNLL columns, and the best legal sequence of BIO tags.

A tag is ``B-x`` for the first word of an entity of kind x, ``I-x`` for each further word, and ``O`` outside of entities.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._core import checks
from .._core.arrays import Array
from ..layers import CRF
from .reading import TextError, read_file

TAG = re.compile("O|[BI]-.+")


class Tagged(NamedTuple):
    """Sentence with a tag for each of its words."""

    words: list[str]
    tags: list[str]


def read_conll(path: str | Path) -> list[Tagged]:
    """Return the sentences of a file whose lines hold a token and, in the last tab-separated column, its tag.

    A blank line, which may hold white space, ends a sentence. A line that begins with ``#`` and has no tab is a comment; a
    hashtag is followed by a tab and its tag. Raises TextError, naming the line, for any other line without a token or a BIO
    tag. Raises TextError for invalid UTF-8 and for a file without sentences, and OSError.
    """
    sentences = [Tagged([], [])]
    # splitlines() would also split at separators within tokens, such as U+0085.
    for number, line in enumerate(read_file(Path(path)).split("\n"), 1):
        if not line.strip():
            sentences.append(Tagged([], []))
            continue
        word, tab, rest = line.partition("\t")
        if not tab and line.startswith("#"):
            continue
        tag = rest.rpartition("\t")[2].strip()
        if not (word.strip() and TAG.fullmatch(tag)):
            raise TextError(f"{path}, line {number}: expected a token, a tab and O, B-x or I-x, got {checks.describe(line)}")
        sentences[-1].words.append(word)
        sentences[-1].tags.append(tag)
    sentences = [sentence for sentence in sentences if sentence.words]
    if not sentences:
        raise TextError(f"{path} has no sentence in it")
    return sentences


def decode_bio(scores: Array, tags: Sequence[str]) -> list[str]:
    """Return the legal tag sequence with the largest sum of scores, by Viterbi's algorithm.

    A sequence is legal if ``I-x`` only follows ``B-x`` or ``I-x``. With ``K = len(tags)``, scores are logits or log
    probabilities ``[T, K]``, or those of pairs ``[T, K, K]``: a sentence's part of what :class:`fastrnn.CRF` returns. They
    are finite; a constant added to all scores of a word changes nothing. Raises TypeError or ValueError naming the argument.
    """
    if not isinstance(tags, Sequence) or isinstance(tags, str):
        raise TypeError(f"tags must be a list of O, B-x and I-x, got {checks.describe(tags)}")
    if not tags or not all(isinstance(tag, str) and TAG.fullmatch(tag) for tag in tags):
        raise ValueError(f"tags must be O, B-x or I-x, got {checks.describe(tags)}")
    if all(tag[0] == "I" for tag in tags):
        raise ValueError(f"tags must hold one that a sentence can begin with, O or B-x, got {checks.describe(tags)}")
    if not isinstance(scores, np.ndarray) or scores.dtype.kind != "f":
        raise TypeError(f"scores must be an array of floats, got {checks.describe(scores)}")
    K = len(tags)
    if scores.shape[1:] not in ((K,), (K, K)):
        raise ValueError(f"scores must have shape [T, {K}] or [T, {K}, {K}], got {checks.describe(scores)}")
    if not len(scores):
        return []
    finite = np.isfinite(scores).reshape(len(scores), -1)
    if not finite.all():
        wrong = int(np.argmin(finite.all(axis=1)))
        raise ValueError(f"scores must be finite, got {scores[wrong].reshape(-1)[~finite[wrong]][0]} at word {wrong}")
    legal = [[tag[0] != "I" or before[1:] == tag[1:] for tag in tags] for before in tags]
    cost = np.where(legal, 0.0, -np.inf)  # from a row's tag to a column's tag
    pairs: Array = np.float64(scores if scores.ndim == 3 else scores[:, None]) + cost
    pairs[0] = np.where([tag[0] == "I" for tag in tags], -np.inf, scores[0])
    return [tags[k] for k in CRF.decode(pairs[:, None])[:, 0]]
