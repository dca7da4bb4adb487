"""Files of songs: safetensors with the concatenated arrays of all songs, and the rest as JSON in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...json_reading import parse
from ...serialization import load_arrays, save_arrays
from .._model.song import COLUMNS, Head, Song

FORMAT = "fastrnn-songs-1"
_CONTENT = "content"  # the name of the JSON in the header
_COUNTS = "counts"  # [songs, kinds of columns]: the lengths of each song's columns


def save(path: Path, songs: Sequence[Song], metadata: Mapping[str, str]) -> None:
    """Write songs and texts to one file, atomically. Raises OSError."""
    arrays = {
        name: np.concatenate([np.empty(0, dtype), *(song.columns[name] for song in songs)], dtype=dtype)
        for names in COLUMNS.values()
        for name, dtype in names.items()
    }
    first = [next(iter(names)) for names in COLUMNS.values()]
    counts = [[len(song.columns[name]) for name in first] for song in songs]
    arrays[_COUNTS] = np.array(counts, np.int64).reshape(-1, len(COLUMNS))
    content = {"format": FORMAT, "songs": [asdict(song.head) for song in songs], "texts": dict(metadata)}
    # One entry only, because safetensors writes several in any order, and the same songs must give the same file.
    save_arrays(path, arrays, {_CONTENT: json.dumps(content, separators=(",", ":"))})


def load(path: Path) -> tuple[list[Song], dict[str, str]]:
    """Read the songs and texts of :func:`save`. Raises OSError, FileFormatError, and as :func:`unpack` does."""
    return unpack(*load_arrays(path))


def unpack(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> tuple[list[Song], dict[str, str]]:
    """Return the songs and texts in the content of a file of :func:`save`.

    Raises KeyError, TypeError or ValueError for content that :func:`save` would not write.
    """
    content = parse(metadata.get(_CONTENT, "{}"))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("it does not hold songs")
    heads, texts = content["songs"], content["texts"]
    ends = np.cumsum(arrays[_COUNTS], axis=0)
    if arrays[_COUNTS].shape != (len(heads), len(COLUMNS)) or (arrays[_COUNTS] < 0).any():
        raise ValueError("it lacks the sizes of its songs")
    parts: list[dict[str, NDArray[Any]]] = [{} for _ in heads]
    for kind, names in enumerate(COLUMNS.values()):
        for name, dtype in names.items():
            whole = arrays[name]
            if whole.dtype != dtype or whole.shape != (ends[-1, kind] if len(heads) else 0,):
                raise ValueError(f"{name} must be {np.dtype(dtype)}, one for each of its {kind}")
            for part, column in zip(parts, np.split(whole, ends[:-1, kind]), strict=True):
                part[name] = column
    return [Song.of(_head(head), columns) for head, columns in zip(heads, parts, strict=True)], texts


def _head(value: dict[str, object]) -> Head:
    head = Head(**value)  # type: ignore[arg-type]
    symbols = head.symbols
    if not isinstance(symbols, list) or not isinstance(head.part, str):
        raise TypeError("a song must have the name of a part, and a list of symbols")
    return Head(head.title, head.part, head.program, head.is_drum, head.length, head.swing, tuple(symbols))
