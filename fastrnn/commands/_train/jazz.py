"""The kind ``jazz``: models that improvise, trained on MIDI files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...console import note, quantity
from .._screen.reading_progress import reading_progress
from ..errors import InputError, UsageError, explain
from .help_texts import JAZZ
from .kind import Material, Prepared
from .options import CommonOptions, JazzFlags
from .runs import shortened

if TYPE_CHECKING:
    from ...distributed.communicator import Communicator
    from ...music._midi.songs import Library
    from ...music._model.jazz_task import Data
    from ...music._model.options import JazzOptions
    from ...training._run.run_config import RunConfig


@dataclass(frozen=True)
class JazzMaterial(Material):
    """Songs, split for training and validation. ``polyphonic`` says whether notes may sound together."""

    polyphonic: bool = False


class JazzKind:
    """The kind of models that play a melody over chords, or a piano's two hands."""

    name = "jazz"

    def __init__(self) -> None:
        self.words = JAZZ
        self.flags: CommonOptions = JazzFlags()

    def load_config(self, where: Path) -> RunConfig[Any, Any]:
        """Read the configuration of a run on music. Raises RunError."""
        from ...music.run_folder import load_config

        return load_config(where)

    def read(self, arguments: argparse.Namespace) -> JazzMaterial:
        """Read the songs and split them. Raises MidiError, ChordError, UsageError and InputError."""
        from ...music._model.jazz_task import split
        from ...music._model.options import make_options

        options = make_options(**self.flags.given(arguments))
        _check_music(arguments.paths, options)
        library = _read(arguments.paths, options)
        try:
            songs = split(library.songs, options.val_fraction, options.seed)
        except ValueError as error:
            raise InputError(f"{', '.join(library.sources)}: {error}") from error
        return JazzMaterial(songs, options, library.sources, library.sha256, library.polyphonic)

    def reread(
        self, arguments: argparse.Namespace, out: Path, config: RunConfig[Any, Any], options: JazzOptions
    ) -> JazzMaterial:
        """Load the songs from the run folder. Raises RunError, and InputError if other files are given."""
        from ...music.run_folder import load_songs

        if arguments.paths and _read(arguments.paths, options).sha256 != config.sha256:
            raise InputError(f"the songs are not those that the run in {out} was started with: {', '.join(config.sources)}")
        return JazzMaterial(load_songs(out), options, config.sources, config.sha256, config.vocabulary.polyphonic)

    def prepare(self, material: JazzMaterial, out: Path, overwrite: bool, ranks: Communicator) -> Prepared:
        """Make the trainer. The songs are saved in the run folder."""
        from ...music._model.jazz_task import make_trainer
        from ...music._model.run_samples import sample_writer
        from ...music.jazz_model import recurrent_of
        from ...music.run_folder import save_songs
        from ...training._run.folder import SAMPLES, SONGS

        songs, options = material.content, material.options
        how: dict[str, Any] = {"overwrite": overwrite, "communicator": ranks}
        trainer, model, data = make_trainer(songs, options, material.polyphonic, out, **how)
        sampler = sample_writer(model, songs, data, out / SAMPLES, options.seed)
        return Prepared(trainer, data, recurrent_of(model), sampler, {SONGS: lambda path: save_songs(path, songs)})

    def introduction(self, material: JazzMaterial, data: Data) -> Iterator[str]:
        """Return lines on the songs, their split, and the losses of counting models."""
        songs, (train, held) = material.content, data.sizes
        voices = "all that is played" if data.vocabulary.polyphonic else "the melody, one note at a time"
        keys = sum(len(line.moves) for line in data.train) / len(data.train)
        counted = ", ".join(f"{name} {loss:.3f}" for name, loss in data.baselines.items())
        yield f"music:    {shortened(material.sources)}: {voices}; {len(data.vocabulary)} tokens in the vocabulary"
        yield (
            f"split:    {quantity(len(songs.train), 'song')} ({train:,} tokens) to train on, "
            f"in {quantity(round(keys), 'key')} each, "
            f"{len(songs.held_out)} ({held:,} tokens) held out"
        )
        yield f"to beat:  {counted} nats per token, held out"


def _read(paths: list[str], options: JazzOptions) -> Library:
    """Read the songs. Raises MidiError, ChordError, and InputError for a file that cannot be read."""
    from ...music._midi import songs
    from ...music.midi_repairs import repairs_line

    if not paths:
        return songs.embedded()
    how = {name: getattr(options, name) for name in ("voices", "melody", "chords", "changes")}
    with reading_progress("reading", 0, "MIDI files") as bar:
        try:
            library = songs.read(paths, report=note, progress=bar.show, processes=None, **how)
        except OSError as error:
            raise InputError(explain(error)) from error
    if library.skipped:
        note(f"{len(library.songs) + len(library.skipped)} MIDI files: {len(library.skipped)} skipped")
    if library.repairs:
        files = f"{library.repaired:,} MIDI file{'' if library.repaired == 1 else 's'}"
        note(f"{repairs_line(library.repairs)} (in {files})")
    return library


def _check_music(paths: list[str], options: JazzOptions) -> None:
    """Raise UsageError for options that exclude each other."""
    if not paths and (options.melody or options.chords or options.changes or options.voices != "auto"):
        raise UsageError(
            "--melody, --chords, --changes and --voices are for files: the embedded choruses are lines with chords"
        )
    if options.chords and options.changes:
        raise UsageError("--chords and --changes exclude each other")
    if options.melody and options.voices == "all":
        raise UsageError("--melody is for a line: --voices all takes all parts")
