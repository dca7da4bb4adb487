"""A cache of what was read from MIDI files, so that the next training on them starts at once.

There is one file for each list of paths and way of reading, in ``$XDG_CACHE_HOME/fastrnn`` or ``~/.cache/fastrnn``.
Songs are found in it by the content of their MIDI files. It may be deleted at any time; a damaged one is written anew.
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

KEPT_DAYS = 30  # without being used

Repairs = Counter[str]


class Reading(NamedTuple):
    """The result of reading a file: its song, or the ``fault`` if it has none, and whether it is for keyboards alone."""

    song: Song | None
    fault: str
    is_solo: bool


class ReadingCache:
    """The songs of some MIDI files, in a file that is called after ``key``, anything that JSON can say.

    All failures to read or write it are silent: it only saves time.
    """

    def __init__(self, key: Any) -> None:
        name = hashlib.sha256(json.dumps([code_hash(), key]).encode()).hexdigest()[:32]
        self.path = folder() / f"songs-{name}.safetensors"
        self._known: dict[str, tuple[Reading, Repairs]] = {}
        self._used: dict[str, tuple[Reading, Repairs]] = {}
        with suppress(Exception):  # of a file that is not there, damaged, or of another format
            songs, texts = song_files.load(self.path)
            for song, (name, is_solo, repairs) in zip(songs, parse(texts["files"]), strict=True):
                found = Counter({str(phrase): int(count) for phrase, count in repairs.items()})
                self._known[str(name)] = Reading(song, "", bool(is_solo)), found

    def view(self, voices: str) -> CacheView:
        """Return the part of the cache that has files as they are read with these ``voices``."""
        return CacheView(self, voices)

    def find(self, name: str) -> tuple[Reading, Repairs] | None:
        """Return what is known by a name; None for nothing."""
        found = self._known.get(name)
        if found:
            self._used[name] = found
        return found

    def add(self, name: str, reading: Reading, repairs: Repairs) -> None:
        """Keep a reading that has a song."""
        if reading.song is not None:
            self._used[name] = reading, repairs

    def save(self) -> None:
        """Write what was found or added, if they are many, and delete cache files that nobody has used for long."""
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
    """A cache of files that are read in one way. Files are found by their content and their names without folders."""

    def __init__(self, cache: ReadingCache, voices: str) -> None:
        self._cache, self._voices = cache, voices
        self._names: dict[Path, str] = {}

    def recall(self, path: Path) -> tuple[Reading, Repairs] | None:
        """Return what is known of a file; None for nothing."""
        name = self._names[path] = self._name(path)
        return self._cache.find(name)

    def keep(self, path: Path, reading: Reading, repairs: Repairs) -> None:
        """Keep what was read after :meth:`recall` knew nothing, unless the file has changed meanwhile."""
        name = self._name(path)
        if name == self._names.get(path):
            self._cache.add(name, reading, repairs)

    def _name(self, path: Path) -> str:
        return f"{content_hash(path)} {self._voices} {path.stem}"


def folder() -> Path:
    """Return the folder of the caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastrnn"


def content_hash(path: Path) -> str | None:
    """Return the SHA-256 hash of a file's content; None for what is too large for MIDI, or cannot be read."""
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= LARGEST:
            return hashlib.sha256(path.read_bytes()).hexdigest()
    return None


@cache
def code_hash() -> str:
    """Return a hash of the code that reads music: what another version has read is not used."""
    found = hashlib.sha256()
    music = Path(__file__).parents[1]
    for module in sorted(music.rglob("*.py")):
        found.update(module.relative_to(music).as_posix().encode() + b"\0" + module.read_bytes())
    with suppress(metadata.PackageNotFoundError):  # it says which characters the names of parts are
        found.update(f"chardet {metadata.version('chardet')}".encode())
    return found.hexdigest()


def _delete_unused(files: Iterable[Path]) -> None:
    for file in files:
        if file.stat().st_mtime < time.time() - 86_400 * KEPT_DAYS:
            file.unlink(missing_ok=True)
