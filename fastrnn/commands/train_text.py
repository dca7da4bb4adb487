"""``fastrnn train chars`` and ``fastrnn train words``: a language model from text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._screen.reading_progress import reading_progress
from ._train.compiling import prepare_kernels
from ._train.help_texts import CHARS, WORDS
from ._train.options import Options
from ._train.runs import changed, finish, folder_to_resume, fresh_folder, given, tell_differences
from .arguments import add_machine_options, apply_machine_options
from .errors import InputError, UsageError
from .text_files import reading

if TYPE_CHECKING:
    from ..text.language_model import LanguageModel
    from ..text.options import TrainOptions
    from ..text.reading import Text, TextFormat
    from ..text.run_folder import RunConfig
    from ..text.training import Data
    from ..training import Trainer

EMBEDDED = "dinosaurs"


def add_to(subparsers: Any) -> None:
    """Add both commands."""
    for kind, texts in (("chars", CHARS), ("words", WORDS)):
        parser = subparsers.add_parser(
            kind,
            help=texts.short,
            description=texts.description,
            epilog=texts.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        default = " (default: the embedded dinosaurs)" if kind == "chars" else ""
        parser.add_argument(
            "paths",
            nargs="*",
            metavar="FILE|FOLDER",
            help=f"text files, and folders whose *.txt files are read, at any depth{default}",
        )
        options = Options(kind)
        options.add_text(parser.add_argument_group("text"))
        options.add_model(parser.add_argument_group("model"))
        options.add_optimiser(parser.add_argument_group("optimisation"))
        options.add_run(parser.add_argument_group("run"))
        add_machine_options(parser)
        parser.set_defaults(run=run, kind=kind)


def run(arguments: argparse.Namespace) -> int:
    """Train; 0, or 130 after Ctrl-C."""
    if arguments.resume and arguments.overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    apply_machine_options(arguments)
    return _resume(arguments) if arguments.resume else _start(arguments)


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of training that were given, by their names in TrainOptions."""
    from ..text.options import KINDS

    found = given(arguments, KINDS[arguments.kind].names())
    found.pop("reading")
    return found


def _read(arguments: argparse.Namespace, otherwise: Sequence[str], taken: TextFormat) -> Text:
    """The text of the paths given, or else of these sources. Raises TextError, and InputError for what cannot be read."""
    from ..text.reading import find, reread

    with reading(arguments):
        return find(arguments.paths, taken) if arguments.paths else reread(otherwise, taken)


def _read_anew(arguments: argparse.Namespace) -> tuple[Text, str, str | None]:
    """The text of a new run, its reading, and why that was guessed, if it was. Raises as :func:`_read` does."""
    from ..text._reading.scripts import is_unparted
    from ..text.reading import TextFormat, guess

    lower = bool(getattr(arguments, "lower", False))
    text = _read(arguments, [f"corpus:{EMBEDDED}"], TextFormat(arguments.encoding, arguments.column, lower))
    if arguments.kind == "words" and is_unparted(text.head):
        raise InputError(
            "this text has no spaces between its words, as in Chinese, Japanese, Thai and Burmese: train characters with "
            "fastrnn train chars, or put spaces between the words first"
        )
    if arguments.reading != "auto":
        return text, arguments.reading, None
    if arguments.column is not None:
        return text, "lines", "each line is a row of columns"
    return text, *guess(text.head)


def _start(arguments: argparse.Namespace) -> int:
    from ..text._reading.columns import columns_seen
    from ..text._training.novelty import line_hashes
    from ..text.options import make_options
    from ..text.run_folder import RunConfig, writers
    from ..training._run.folder import Kernels, claimed, replacing

    if arguments.kind == "words" and not arguments.paths:
        raise UsageError("FILE is missing: no embedded text has sentences")
    text, chosen, why = _read_anew(arguments)
    options = make_options(chosen, arguments.kind, **_given(arguments))
    out = arguments.out or _fresh_folder(arguments.paths)
    trainer, model, data = _prepared(text, options, out, arguments.overwrite)
    with claimed(out, arguments.overwrite):
        kernels = Kernels.of(model.model.recurrent)
        config = RunConfig(options, model.vocabulary, text.sources, text.sha256, kernels, data.baselines)
        lines = None if data.train_items is None else line_hashes(data.train_items)
        with replacing(out, writers(config, lines)):
            trainer.claim_folder()
        if options.column is None and (seen := columns_seen(text.head)):
            print(f"columns:  {seen}")
        _introduce(text, options, data, trainer, why)
        return _run(trainer, data, options)


def _resume(arguments: argparse.Namespace) -> int:
    from ..text.run_folder import RunConfig
    from ..training._run.folder import held

    out = folder_to_resume(arguments)
    config = RunConfig.load(out)
    if config.options.kind != arguments.kind:
        raise InputError(f"{out} holds a run of another kind: go on with fastrnn train {config.options.kind} --resume")
    with held(out):
        return _go_on(arguments, out, config)


def _go_on(arguments: argparse.Namespace, out: Path, config: RunConfig) -> int:
    from ..text.run_folder import RunConfig
    from ..training._run.folder import CONFIG, SAMPLES, Kernels
    from ..training._run.samples import cut_samples
    from ..training.loop import LAST

    options = _changed(config, arguments)
    text = _read(arguments, config.sources, options.text_format)
    if text.sha256 != config.sha256:
        raise InputError(f"the text has changed since the run in {out} was started: {', '.join(text.sources)}")
    trainer, model, data = _prepared(text, options, out)
    if not (out / LAST).exists():
        raise InputError(f"{out} has no {LAST} to go on from")
    trainer.resume()
    kernels = Kernels.of(model.model.recurrent)
    now = RunConfig(options, data.vocabulary, text.sources, text.sha256, kernels, data.baselines)
    now.save(out / CONFIG)
    cut_samples(out / SAMPLES, trainer.state.evaluated_step)
    _introduce(text, options, data, trainer, None)
    print(f"going on from step {trainer.state.step}")
    tell_differences(config.kernels, kernels, config.options, options, trainer.state.step)
    return _run(trainer, data, options)


def _changed(config: RunConfig, arguments: argparse.Namespace) -> TrainOptions:
    """The run's options with what may change. Raises UsageError for an option that differs and may not."""
    wanted = _given(arguments)
    if arguments.reading != "auto":
        wanted["reading"] = arguments.reading
    return changed(config.options, wanted)


def _fresh_folder(paths: Sequence[str]) -> Path:
    """runs/NAME after the text, or the first of runs/NAME-2, runs/NAME-3, ... where nothing would be lost."""
    from ..text.reading import CORPUS

    return fresh_folder((Path(paths[0].removeprefix(CORPUS)).resolve().stem if paths else EMBEDDED) or "text")


def _prepared(text: Text, options: TrainOptions, out: Path, overwrite: bool = False) -> tuple[Trainer, LanguageModel, Data]:
    """What :func:`fastrnn.text.training.make_trainer` makes, with callbacks that show and draw the run."""
    from ..text.training import READ_TIMES, make_trainer, sample_writer
    from ..training import LossCurve, Progress
    from ..training._run.folder import CURVE, SAMPLES
    from ..training._run.pace import SampleNotice
    from ..training._run.plots import SCALES
    from ..training.loop import METRICS

    times = READ_TIMES[options.kind, options.reading]
    with reading_progress("reading", times * text.length, "characters") as bar:
        trainer, model, data = make_trainer(text.reporting(bar.advance), options, out, overwrite=overwrite)
    unit, scale = ("word" if options.kind == "words" else "char"), SCALES[data.vocabulary.unit]
    trainer.callbacks = (
        SampleNotice(data.vocabulary.unit),
        Progress(trainer.config, unit, scale),
        sample_writer(model, out / SAMPLES, options.seed),
        LossCurve(out / METRICS, out / CURVE, unit, scale, data.baselines),
    )
    return trainer, model, data


def _introduce(text: Text, options: TrainOptions, data: Data, trainer: Trainer, why: str | None) -> None:
    """Say what will be trained on what."""
    from ..training._run.plots import SCALES

    guessed = f" (guessed: {why}; --reading changes it)" if why else ""
    token = data.vocabulary.unit
    unit = "lines" if options.reading == "lines" else f"{token}s"
    batches = data.batches
    parameters = sum(parameter.size for _, parameter in trainer.task.named_parameters())
    embedding = f", embedding {options.embedding}" if options.embedding else ""
    names = ", ".join(text.sources[:3]) + (f" and {len(text.sources) - 3} more" if len(text.sources) > 3 else "")
    unknown = f"; {data.unknown:.1%} of the words held out are <UNK>" if token == "word" else ""
    counted = ", ".join(f"{name} {SCALES[token].text(loss)}" for name, loss in data.baselines.items())
    print(f"text:     {names}: {text.length:,} characters, {len(data.vocabulary):,} in the vocabulary")
    print(f"reading:  {options.reading}{guessed}")
    print(f"split:    {data.sizes[0]:,} {unit} to train on, {data.sizes[1]:,} held out; batches of {batches.batch}{unknown}")
    print(f"to beat:  {counted} per {token}, held out")
    sizes = f"{options.layers} x {options.hidden}{embedding}"
    print(f"model:    {options.model.upper()} {sizes}, {parameters:,} parameters")
    print(f"run:      {trainer.out}", flush=True)


def _run(trainer: Trainer, data: Data, options: TrainOptions) -> int:
    """Train, and say how it ended; the exit status."""
    from ..training._run.plots import SCALES

    unit = data.vocabulary.unit
    assert trainer.out is not None
    prepare_kernels(training=True)
    status = finish(trainer.run(), trainer, options.kind, unit, SCALES[unit])
    if status == 0:
        print(f"sample with: fastrnn sample {trainer.out}")
    return status
