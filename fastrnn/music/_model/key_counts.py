"""Counts of token pairs in songs in all their keys, without transposing each song."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..vocabulary import PITCH, PartVocabulary
from .batching import Line

Counts = NDArray[np.int64]


def pairs_in_keys(songs: Iterable[Line], vocabulary: PartVocabulary) -> tuple[Counts, Counts]:
    """Return ``pairs, counts`` for :func:`fastrnn.training.baselines.baselines_of_pairs`, ends of songs included.

    A pair in another key is the same pair with its pitches moved. So each song is counted once and added to the table
    ``[V+1, V]`` of each of its moves, and each table is moved at the end.
    """
    V = len(vocabulary)
    tables: dict[int, Counts] = {}
    for song in songs:
        table = _pair_table(song, vocabulary)
        for move in song.moves:
            if move in tables:
                tables[move] += table
            else:
                tables[move] = table.copy()
    total = np.zeros((V + 1, V), np.int64)
    is_pitch = vocabulary.kinds() == PITCH
    for move, table in tables.items():
        # Clipping is safe: rows and columns that leave the range belong to pitches that no song with this move has.
        to = np.clip(np.arange(V) + move * is_pitch, 0, V - 1)
        np.add.at(total, (np.append(to, V)[:, None], to[None]), table)
    pairs = np.flatnonzero(total)
    return pairs, total.ravel()[pairs]


def _pair_table(song: Line, vocabulary: PartVocabulary) -> Counts:
    """Count the pairs of tokens in the song's own key, int64 ``[V+1, V]``: previous token (V: none), next token."""
    V = len(vocabulary)
    after = np.append(song.ids, vocabulary.end).astype(np.int64)
    before = np.append(V, after[:-1])
    return np.bincount(before * V + after, minlength=(V + 1) * V).reshape(V + 1, V)
