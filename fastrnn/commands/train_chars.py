"""``fastrnn train chars``: a character language model from text."""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_machine_options, apply_machine_options
from .errors import InputError, UsageError, explain
from .notes import note
from .train_options import add_model_options, add_optimiser_options, add_run_options, add_text_options

if TYPE_CHECKING:
    from ..text.options import TrainOptions
    from ..text.reading import Text
    from ..text.run_folder import Kernels, RunConfig
    from ..text.training import Data
    from ..training import LoopConfig, Result, Trainer

DESCRIPTION = """\
Train a character language model (RNN, GRU or LSTM) on text, and keep it in a run folder.

Text is read in one of two ways. As lines: each line is an item of its own, such as a name, from a zero state to the end
of the line. As a stream: the whole text is one sequence, cut into chunks between which the state is carried over
(truncated backpropagation through time). Without --reading, lists of short lines are read as lines, all else as a
stream.
"""

EPILOG = """\
The text is UTF-8; a byte order mark is dropped, line ends become \\n, blank lines are no items. The vocabulary is made
of all characters of the text, the held-out part included.

A run folder holds config.json, best.safetensors and last.safetensors (checkpoints), metrics.csv (losses in nats per
character), loss.png and samples.txt. Sample from it with `fastrnn sample RUN`.

examples:
  fastrnn train chars                                     names of dinosaurs, from the list that comes with fastrnn
  fastrnn train chars names.txt --out runs/names          one item a line
  fastrnn train chars shakespeare.txt --max-seconds 600   one stream, ten minutes
  fastrnn train chars --resume --out runs/names           go on where that run stopped
"""

# What may change when a run goes on; all else is part of what the run is.
RESUMABLE = ("max_steps", "max_seconds", "patience")
EMBEDDED = "dinosaurs"


def add_to(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "chars",
        help="a character language model",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="FILE|FOLDER",
        help="text files, and folders whose *.txt files are read, at any depth (default: the embedded dinosaurs)",
    )
    add_text_options(parser.add_argument_group("text"))
    add_model_options(parser.add_argument_group("model"))
    add_optimiser_options(parser.add_argument_group("optimisation"))
    add_run_options(parser.add_argument_group("run"))
    add_machine_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; 0, or 130 after Ctrl-C."""
    if arguments.resume and arguments.overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    apply_machine_options(arguments)
    return _resume(arguments) if arguments.resume else _start(arguments)


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of training that were given, by their names in TrainOptions."""
    from ..text.options import NAMES

    given = {name: value for name in NAMES if (value := getattr(arguments, name, None)) is not None}
    given.pop("reading")
    for name in ("clip_norm", "clip_value"):
        if given.get(name) == 0:
            given[name] = None
    return given


def _read(paths: Sequence[str], otherwise: Sequence[str]) -> Text:
    """The text of the paths given, or else of these sources. Raises TextError, and InputError for what cannot be read."""
    from ..text import reading

    try:
        return reading.find(paths) if paths else reading.reread(otherwise)
    except OSError as error:
        raise InputError(explain(error)) from error


def _start(arguments: argparse.Namespace) -> int:
    from ..text import run_folder
    from ..text.novelty import line_hashes
    from ..text.options import make_options
    from ..text.reading import guess
    from ..text.training import make_trainer

    text = _read(arguments.paths, [f"corpus:{EMBEDDED}"])
    guessed, why = guess(text.content)
    chosen = guessed if arguments.reading == "auto" else arguments.reading
    options = make_options(chosen, **_given(arguments))
    out = arguments.out or _fresh_folder(arguments.paths)
    trainer, model, data = make_trainer(
        text.content, options, out, callbacks=lambda m, c: _callbacks(m, c, options, out), overwrite=arguments.overwrite
    )
    with run_folder.claimed(out, arguments.overwrite):
        kernels = run_folder.Kernels.of(model.model)
        config = run_folder.RunConfig(options, model.vocabulary, text.sources, text.sha256, kernels)
        with run_folder.replacing(out, config, None if data.train_items is None else line_hashes(data.train_items)):
            trainer.claim_folder()
        _introduce(text, options, data, trainer, why if arguments.reading == "auto" else None)
        return _finish(trainer.run(), out)


def _resume(arguments: argparse.Namespace) -> int:
    from ..text import run_folder

    out = arguments.out
    if out is None:
        raise UsageError("--resume needs --out RUN, the folder of the run to go on with")
    config = run_folder.RunConfig.load(out)
    with run_folder.held(out):
        return _go_on(arguments, out, config)


def _go_on(arguments: argparse.Namespace, out: Path, config: RunConfig) -> int:
    from ..text import run_folder
    from ..text.training import cut_samples, make_trainer
    from ..training.loop import LAST

    options = _changed(config, arguments)
    text = _read(arguments.paths, config.sources)
    if text.sha256 != config.sha256:
        raise InputError(f"the text has changed since the run in {out} was started: {', '.join(text.sources)}")
    trainer, model, data = make_trainer(text.content, options, out, callbacks=lambda m, c: _callbacks(m, c, options, out))
    if not (out / LAST).exists():
        raise InputError(f"{out} has no {LAST} to go on from")
    trainer.resume()
    kernels = run_folder.Kernels.of(model.model)
    run_folder.RunConfig(options, config.vocabulary, text.sources, text.sha256, kernels).save(out)
    cut_samples(out / run_folder.SAMPLES, trainer.state.evaluated_step)
    _introduce(text, options, data, trainer, None)
    print(f"going on from step {trainer.state.step}")
    _tell_differences(config, options, kernels, trainer.state.step)
    return _finish(trainer.run(), out)


def _tell_differences(config: RunConfig, options: TrainOptions, kernels: Kernels, step: int) -> None:
    """Say why the run will not be, to the bit, what it would have been without a stop."""
    from ..text.options import reshaped

    if config.kernels not in (None, kernels):
        note(f"fastrnn: warning: the run used {config.kernels} and goes on with {kernels}: results will differ in rounding")
    if reshaped(config.options, options, step):
        steps = f"--max-steps was {config.options.max_steps} and is {options.max_steps}"
        note(f"fastrnn: warning: {steps}: the learning rates of the {options.schedule} schedule change")


def _changed(config: RunConfig, arguments: argparse.Namespace) -> TrainOptions:
    """The run's options with what may change. Raises UsageError for an option that differs and may not."""
    from dataclasses import replace

    given = _given(arguments)
    if arguments.reading != "auto":
        given["reading"] = arguments.reading
    for name, value in given.items():
        before = getattr(config.options, name)
        if name not in RESUMABLE and value != before:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} cannot change when a run goes on: it is {before}, got {value}")
    return replace(config.options, **{name: value for name, value in given.items() if name in RESUMABLE})


def _fresh_folder(paths: Sequence[str]) -> Path:
    """runs/NAME after the text, or the first of runs/NAME-2, runs/NAME-3, ... where nothing would be lost."""
    from ..text.reading import CORPUS
    from ..text.run_folder import files_of_a_run

    name = (Path(paths[0].removeprefix(CORPUS)).resolve().stem if paths else EMBEDDED) or "chars"
    candidates = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    return next(folder for candidate in candidates if not files_of_a_run(folder := Path("runs") / candidate))


def _callbacks(model: Any, config: LoopConfig, options: TrainOptions, out: Path) -> list[object]:
    from ..text.run_folder import CURVE, SAMPLES
    from ..text.training import SampleWriter
    from ..training import LossCurve, Progress
    from ..training.loop import METRICS

    writer = SampleWriter(model, out / SAMPLES, options.seed)
    return [Progress(config, unit="char"), writer, LossCurve(out / METRICS, out / CURVE, unit="char")]


def _introduce(text: Text, options: TrainOptions, data: Data, trainer: Trainer, why: str | None) -> None:
    """Say what will be trained on what."""
    guessed = f" (guessed: {why}; --reading changes it)" if why else ""
    unit = "lines" if options.reading == "lines" else "characters"
    batches = data.batches
    parameters = sum(parameter.size for _, parameter in trainer.task.named_parameters())
    embedding = f", embedding {options.embedding}" if options.embedding else ""
    names = ", ".join(text.sources[:3]) + (f" and {len(text.sources) - 3} more" if len(text.sources) > 3 else "")
    print(f"text:     {names}: {len(text.content):,} characters, {len(data.vocabulary)} in the vocabulary")
    print(f"reading:  {options.reading}{guessed}")
    print(f"split:    {data.sizes[0]:,} {unit} to train on, {data.sizes[1]:,} held out; batches of {batches.batch}")
    sizes = f"{options.layers} x {options.hidden}{embedding}"
    print(f"model:    {options.model.upper()} {sizes}, {parameters:,} parameters")
    print(f"run:      {trainer.out}", flush=True)


def _finish(result: Result, out: Path) -> int:
    """Say how it ended; the exit status."""
    if result.best_val_loss is not None:
        loss, bits = result.best_val_loss, result.best_val_loss / math.log(2)
        print(f"best validation loss {loss:.4f} nats per character ({bits:.3f} bits), at step {result.best_step}")
    if result.stopped == "interrupted":
        print(f"interrupted at step {result.step}; go on with: fastrnn train chars --resume --out {out}")
        return 130
    reasons = {"steps": "all steps done", "seconds": "the time is up", "patience": "no improvement any more"}
    print(f"{reasons[result.stopped]}: {result.step} steps in {result.seconds:.0f} s")
    print(f"sample with: fastrnn sample {out}")
    return 0
