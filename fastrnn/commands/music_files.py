"""Checks of the files that music is written to, made before anything is sampled."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from .errors import InputError, UsageError, explain
from .outputs import check_free, check_place

SUFFIXES = {"--out": (".mid", ".midi"), "--wav": (".wav",), "--roll": (".png",)}


def check_outputs(arguments: argparse.Namespace) -> None:
    """Raise an error for outputs that cannot be written, or that would overwrite a file that is needed.

    Raises
    ------
    UsageError
        ``--out`` is missing, ``--sound-font`` comes without ``--wav``, two outputs are one file, an output has the wrong
        suffix, or an output is the primer, the sound font or a file of the run.
    InputError
        A folder is missing or not writable, a path is not a regular file, or the sound font or a library is missing.
    FileExistsError
        A file exists already and ``--overwrite`` was not given.
    SoundFontError, MidiError
        As :func:`fastrnn.music._output.synthesis.check_sound_font` and :func:`fastrnn.music.midi.library` raise them.
    """
    if arguments.out is None:
        raise UsageError("--out FILE.mid is missing: the MIDI file to write")
    if arguments.sound_font and not arguments.wav:
        raise UsageError("--sound-font is for --wav")
    paths: dict[str, Path | None] = {"--out": arguments.out, "--wav": arguments.wav, "--roll": arguments.roll}
    outputs = {option: path for option, path in paths.items() if path is not None}
    _check_distinct(outputs, arguments)
    for option, path in outputs.items():
        _check_suffix(option, path)
        check_place(option, path)
    check_free(outputs.values(), arguments.overwrite)
    _check_means(arguments)


def _check_distinct(outputs: Mapping[str, Path], arguments: argparse.Namespace) -> None:
    """Raise UsageError if an output is also another output, an input or a file of the run."""
    from ..training._run.folder import FILES

    taken = {os.path.realpath(arguments.folder / name): "a file of the run" for name in FILES}
    for option in ("primer", "sound_font"):
        path = getattr(arguments, option, None)
        if path is not None:
            taken[os.path.realpath(path)] = f"the file of --{option.replace('_', '-')}"
    for option, path in outputs.items():
        place = os.path.realpath(path)
        if place in taken:
            raise UsageError(f"{option} {path} is {taken[place]}, which it would overwrite")
        taken[place] = f"the file of {option}"


def _check_suffix(option: str, path: Path) -> None:
    """Raise UsageError for a file with the wrong suffix."""
    suffixes = SUFFIXES[option]
    if not path.is_dir() and path.suffix.casefold() not in suffixes:
        raise UsageError(f"{option} must end in {' or '.join(suffixes)}, got {path}")


def _check_means(arguments: argparse.Namespace) -> None:
    """Raise an error if a library is missing, or if the sound font is invalid."""
    from ..music._output.roll import figure_class
    from ..music._output.synthesis import check_sound_font, fluidsynth_libraries
    from ..music.midi import library

    library()
    path = arguments.roll
    try:
        if path is not None:
            figure_class()
        if arguments.sound_font:
            path = arguments.sound_font
            check_sound_font(path)
            fluidsynth_libraries()
    except ImportError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(explain(error)) from error
