"""A cache of songs read from MIDI files, so that the next training on the same files starts at once.

There is one cache file for each list of paths and reading options, in ``$XDG_CACHE_HOME/fastrnn`` or ``~/.cache/fastrnn``.
Songs are found in it by the content of their MIDI files. It may be deleted at any time; a damaged one is replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from ...json_reading import parse
from .._model.song import Song
from ..midi import LARGEST
from . import song_files
from .processes import FEWEST

MOST_DAYS = 30  # days that an unused file stays

Repairs = Counter[str]


class Reading(NamedTuple):
    """The result of reading a file: its song, or the ``fault`` if it has none; ``is_solo``: for keyboards alone."""

    song: Song | None
    fault: str
    is_solo: bool


class ReadingCache:
    """The songs of some MIDI files, in a file named after a hash of ``key``, any JSON value.

    All failures to read or write it are silent, because it only saves time.
    """

    def __init__(self, key: Any) -> None:
        name = hashlib.sha256(json.dumps([code_hash(), key]).encode()).hexdigest()[:32]
        self.path = folder() / f"songs-{name}.safetensors"
        self._known: dict[str, tuple[Reading, Repairs]] = {}
        self._used: dict[str, tuple[Reading, Repairs]] = {}
        with suppress(Exception):  # the file may be missing, damaged, or of another format
            songs, texts = song_files.load(self.path)
            for song, (name, is_solo, repairs) in zip(songs, parse(texts["files"]), strict=True):
                found = Counter({str(phrase): int(count) for phrase, count in repairs.items()})
                self._known[str(name)] = Reading(song, "", bool(is_solo)), found

    def view(self, voices: str) -> CacheView:
        """Return the part of the cache for files read with these ``voices``."""
        return CacheView(self, voices)

    def find(self, name: str) -> tuple[Reading, Repairs] | None:
        """Return the reading of this name; None if there is none."""
        found = self._known.get(name)
        if found:
            self._used[name] = found
        return found

    def add(self, name: str, reading: Reading, repairs: Repairs) -> None:
        """Store a reading, if it has a song."""
        if reading.song is not None:
            self._used[name] = reading, repairs

    def save(self) -> None:
        """Write the readings that were found or added, if there are many, and delete old unused cache files."""
        if len(self._used) < FEWEST:
            return
        rows, songs = [], []
        for name, (reading, repairs) in self._used.items():
            assert reading.song is not None
            rows.append((name, reading.is_solo, dict(repairs)))
            songs.append(reading.song)
        with suppress(OSError):
            if self._used.keys() == self._known.keys():
                os.utime(self.path)
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                song_files.save(self.path, songs, {"files": json.dumps(rows)})
            _delete_unused(self.path.parent.glob("songs-*.safetensors"))


class CacheView:
    """A cache of files read with the same options. Files are found by content and name, without the folder."""

    def __init__(self, cache: ReadingCache, voices: str) -> None:
        self._cache, self._voices = cache, voices
        self._names: dict[Path, str] = {}

    def recall(self, path: Path) -> tuple[Reading, Repairs] | None:
        """Return the reading of a file; None if there is none."""
        name = self._names[path] = self._name(path)
        return self._cache.find(name)

    def store(self, path: Path, reading: Reading, repairs: Repairs) -> None:
        """Store a reading after :meth:`recall` found none, unless the file has changed meanwhile."""
        name = self._name(path)
        if name == self._names.get(path):
            self._cache.add(name, reading, repairs)

    def _name(self, path: Path) -> str:
        return f"{content_hash(path)} {self._voices} {path.stem}"


def folder() -> Path:
    """Return the folder of the caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastrnn"


def content_hash(path: Path) -> str | None:
    """Return the SHA-256 hash of a file's content; None if it is too large for MIDI, or cannot be read."""
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= LARGEST:
            return hashlib.sha256(path.read_bytes()).hexdigest()
    return None


@cache
def code_hash() -> str:
    """Return a hash of the code that reads music, because readings of another version must not be used."""
    found = hashlib.sha256()
    music = Path(__file__).parents[1]
    for module in sorted(music.rglob("*.py")):
        found.update(module.relative_to(music).as_posix().encode() + b"\0" + module.read_bytes())
    with suppress(metadata.PackageNotFoundError):  # chardet decides how the names of parts are decoded
        found.update(f"chardet {metadata.version('chardet')}".encode())
    return found.hexdigest()


def _delete_unused(files: Iterable[Path]) -> None:
    for file in files:
        if file.stat().st_mtime < time.time() - 86_400 * MOST_DAYS:
            file.unlink(missing_ok=True)
