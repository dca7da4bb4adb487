"""``fastrnn train jazz``: a model that improvises, from MIDI files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import note
from ..music._midi.songs import VOICES
from ..music._model.options import DEFAULTS, JazzOptions
from ._screen.reading_progress import reading_progress
from ._train.compiling import prepare_kernels
from ._train.options import CommonOptions
from ._train.runs import changed, finish, folder_to_resume, fresh_folder, given, tell_differences
from .arguments import add_machine_options, apply_machine_options, real
from .errors import InputError, UsageError, explain

if TYPE_CHECKING:
    from ..graph import Model
    from ..music._midi.songs import Library
    from ..music._model.jazz_task import Data, Split
    from ..training import Trainer

DESCRIPTION = """\
Train a recurrent model of melodies over chords (or of a piano's two hands) on MIDI files, and keep it in a run folder.
Without files it learns from choruses that were written for fastrnn: blues, ii-V-I, rhythm changes.
"""
EPILOG = """\
Of each file the melody is learned, as a line of single notes (which part that is, is guessed; --melody names it), or,
where most files are for piano alone, all that is played, notes that sound together included (--voices). Drums are never
learned. Chords are the file's own (markers, texts or lyrics that are chord symbols), or are inferred from what sounds,
or are given with --changes. Files are read onto a grid of 12 ticks a quarter, where swung eighths become straight ones,
and learned in all twelve keys. A file that comes twice is learned from once.

Many files are read by several processes. What was read is kept in ~/.cache/fastrnn (or $XDG_CACHE_HOME/fastrnn), so
that the next training on the same files starts at once.

A run folder holds config.json, songs.safetensors (what was learned from: the files are not needed again),
best.safetensors and last.safetensors (checkpoints), metrics.csv (losses in nats per token), loss.png and samples.txt
(four bars over a ii-V-I at each evaluation, in the names of the notes).

examples:
  fastrnn train jazz                                      the choruses that come with fastrnn
  fastrnn train jazz solos/ --out runs/solos              a folder of MIDI files; bad ones are skipped
  fastrnn train jazz joplin/*.mid --voices all            two hands
  fastrnn train jazz --resume --out runs/solos            go on where that run stopped
  fastrnn improvise runs/solos --changes blues --key F --choruses 4 --out solo.mid
"""
NAME = "jazz"


class Flags(CommonOptions):
    """The options of the command."""

    def __init__(self) -> None:
        super().__init__("token", "tokens of a sequence, about three a note", "the first file")

    def default(self, name: str) -> str:
        """A default for the help."""
        return f"default: {DEFAULTS.get(name, getattr(JazzOptions, name, None))}"

    def add_music(self, group: Any) -> None:
        """What to read, and how."""
        group.add_argument("--voices", choices=VOICES, help="the melody as a line, or all that is played (default: auto)")
        group.add_argument("--melody", metavar="PART", help="the part that is the melody, by name or number from 0")
        group.add_argument("--chords", metavar="PART", help="the part that chords are heard in, by name or number from 0")
        group.add_argument(
            "--changes",
            metavar="CHORDS",
            help='those of all files, bar by bar, such as "Dm7 | G7 | C | %%", or the name of a progression, in C',
        )
        group.add_argument(
            "--no-transpose",
            dest="transpose",
            action="store_const",
            const=False,
            help="learn songs in their own keys only (default: in all twelve)",
        )
        group.add_argument(
            "--val-fraction",
            type=real(0, 1, above=True, below=True),
            metavar="F",
            help=f"of the songs, held out for validation; of a single one its end ({self.default('val_fraction')})",
        )


def add_to(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        NAME,
        help="a model that improvises over chords",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="FILE|FOLDER",
        help="MIDI files, and folders whose *.mid and *.midi files are read, at any depth (default: the embedded choruses)",
    )
    flags = Flags()
    flags.add_music(parser.add_argument_group("music"))
    flags.add_model(parser.add_argument_group("model"))
    flags.add_optimiser(parser.add_argument_group("optimisation"))
    flags.add_run(parser.add_argument_group("run"))
    add_machine_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; 0, or 130 after Ctrl-C."""
    if arguments.resume and arguments.overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    apply_machine_options(arguments)
    return _resume(arguments) if arguments.resume else _start(arguments)


def _read(paths: list[str], options: JazzOptions) -> Library:
    """The songs. Raises MidiError, ChordError, and InputError for what cannot be read."""
    from ..music._midi import songs
    from ..music.midi_repairs import repairs_line

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
    """Raises UsageError for options that do not go together."""
    if not paths and (options.melody or options.chords or options.changes or options.voices != "auto"):
        raise UsageError(
            "--melody, --chords, --changes and --voices are for files: the embedded choruses are lines with chords"
        )
    if options.chords and options.changes:
        raise UsageError("--chords and --changes exclude each other")
    if options.melody and options.voices == "all":
        raise UsageError("--melody is for a line: --voices all takes all parts")


def _split(library: Library, options: JazzOptions) -> Split:
    from ..music._model.jazz_task import split

    try:
        return split(library.songs, options.val_fraction, options.seed)
    except ValueError as error:
        raise InputError(f"{', '.join(library.sources)}: {error}") from error


def _start(arguments: argparse.Namespace) -> int:
    from ..music._model.options import make_options
    from ..music.jazz_model import recurrent_of
    from ..music.run_folder import JazzConfig, writers
    from ..training._run.folder import Kernels, claimed, replacing

    options = make_options(**given(arguments, JazzOptions.names()))
    _check_music(arguments.paths, options)
    library = _read(arguments.paths, options)
    songs = _split(library, options)
    out = arguments.out or fresh_folder((Path(arguments.paths[0]).resolve().stem if arguments.paths else NAME) or NAME)
    trainer, model, data = _prepared(songs, options, library.polyphonic, out, arguments.overwrite)
    with claimed(out, arguments.overwrite):
        kernels = Kernels.of(recurrent_of(model))
        config = JazzConfig(options, data.vocabulary, library.sources, library.sha256, kernels, data.baselines)
        with replacing(out, writers(config, songs)):
            trainer.claim_folder()
        _introduce(library.sources, songs, options, data, trainer)
        return _run(trainer, out)


def _resume(arguments: argparse.Namespace) -> int:
    from ..music.run_folder import JazzConfig
    from ..training._run.folder import held

    out = folder_to_resume(arguments)
    config = JazzConfig.load(out)
    options = changed(config.options, given(arguments, JazzOptions.names()))
    if arguments.paths and _read(arguments.paths, options).sha256 != config.sha256:
        raise InputError(f"the songs are not those that the run in {out} was started with: {', '.join(config.sources)}")
    with held(out):
        return _go_on(out, config, options)


def _go_on(out: Path, config: Any, options: JazzOptions) -> int:
    from dataclasses import replace

    from ..music.jazz_model import recurrent_of
    from ..music.run_folder import load_songs
    from ..training._run.folder import CONFIG, SAMPLES, Kernels
    from ..training._run.samples import cut_samples
    from ..training.loop import LAST

    songs = load_songs(out)
    trainer, model, data = _prepared(songs, options, config.vocabulary.polyphonic, out)
    if not (out / LAST).exists():
        raise InputError(f"{out} has no {LAST} to go on from")
    trainer.resume()
    kernels = Kernels.of(recurrent_of(model))
    replace(config, options=options, kernels=kernels).save(out / CONFIG)
    cut_samples(out / SAMPLES, trainer.state.evaluated_step)
    _introduce(config.sources, songs, options, data, trainer)
    print(f"going on from step {trainer.state.step}")
    tell_differences(config.kernels, kernels, config.options, options, trainer.state.step)
    return _run(trainer, out)


def _prepared(
    songs: Split, options: JazzOptions, polyphonic: bool, out: Path, overwrite: bool = False
) -> tuple[Trainer, Model, Data]:
    """What :func:`fastrnn.music._model.jazz_task.make_trainer` makes, with callbacks that show, sample and draw the run."""
    from ..music._model.jazz_task import make_trainer
    from ..music._model.run_samples import sample_writer
    from ..training import LossCurve, Progress
    from ..training._run.folder import CURVE, SAMPLES
    from ..training._run.pace import SampleNotice
    from ..training._run.plots import PERPLEXITY
    from ..training.loop import METRICS

    trainer, model, data = make_trainer(songs, options, polyphonic, out, overwrite=overwrite)
    trainer.callbacks = (
        SampleNotice("token"),
        Progress(trainer.config, "token", PERPLEXITY),
        sample_writer(model, songs, data, out / SAMPLES, options.seed),
        LossCurve(out / METRICS, out / CURVE, "token", PERPLEXITY, data.baselines),
    )
    return trainer, model, data


def _introduce(sources: tuple[str, ...], songs: Split, options: JazzOptions, data: Data, trainer: Trainer) -> None:
    """Say what will be trained on what."""
    train, held = data.sizes
    voices = "all that is played" if data.vocabulary.polyphonic else "the melody, one note at a time"
    names = ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
    keys = sum(len(line.moves) for line in data.train) / len(data.train)
    counted = ", ".join(f"{name} {loss:.3f}" for name, loss in data.baselines.items())
    parameters = sum(parameter.size for _, parameter in trainer.task.named_parameters())
    print(f"music:    {names}: {voices}; {len(data.vocabulary)} tokens in the vocabulary")
    print(
        f"split:    {len(songs.train)} songs ({train:,} tokens) to train on, in {keys:.0f} keys each, "
        f"{len(songs.held_out)} ({held:,} tokens) held out"
    )
    print(f"to beat:  {counted} nats per token, held out")
    print(f"model:    {options.model.upper()} {options.layers} x {options.hidden}, {parameters:,} parameters")
    print(f"run:      {trainer.out}", flush=True)


def _run(trainer: Trainer, out: Path) -> int:
    """Train, and say how it ended; the exit status."""
    from ..training._run.plots import PERPLEXITY

    prepare_kernels(training=True)
    status = finish(trainer.run(), trainer, NAME, "token", PERPLEXITY)
    if status == 0:
        print(f'improvise with: fastrnn improvise {out} --changes "Dm7 | G7 | Cmaj7 | %" --out solo.mid')
    return status
