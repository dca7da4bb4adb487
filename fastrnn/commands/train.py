"""``fastrnn train chars``, ``words`` and ``jazz``: train a model of one kind in a run folder."""

from __future__ import annotations

import argparse
import shlex
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import quantity
from ..distributed import heartbeat
from ..distributed.agreement import require_same, together
from ..distributed.communicator import SOLO, Communicator
from ..distributed.world import world
from ..threads import get_num_threads
from ._train.compiling import prepare_kernels
from ._train.jazz import JazzKind
from ._train.kind import Kind, Material, Prepared
from ._train.runs import changed, finish, fresh_folder, note_differences
from ._train.text import TextKind
from .arguments import add_machine_options, apply_machine_options
from .errors import InputError, UsageError
from .rank_output import silent_unless_first

if TYPE_CHECKING:
    from ..training._run.plots import Scale
    from ..training._run.run_config import RunConfig

KINDS: tuple[Kind, ...] = (TextKind("chars"), TextKind("words"), JazzKind())


def add_to(subparsers: Any) -> None:
    """Add a command for each kind."""
    for kind in KINDS:
        parser = subparsers.add_parser(
            kind.name,
            help=kind.words.short,
            description=kind.words.description,
            epilog=kind.words.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("paths", nargs="*", metavar="FILE|FOLDER", help=kind.words.paths)
        kind.flags.add_data(parser.add_argument_group(kind.words.data))
        kind.flags.add_model(parser.add_argument_group("model"))
        kind.flags.add_optimiser(parser.add_argument_group("optimisation"))
        kind.flags.add_run(parser.add_argument_group("run"))
        add_machine_options(parser)
        parser.set_defaults(run=run, kind=kind)


def run(arguments: argparse.Namespace) -> int:
    """Train and return 0, or 130 after Ctrl-C."""
    ranks = world()
    with silent_unless_first(ranks.rank):
        with together(ranks):
            if arguments.resume and arguments.overwrite:
                raise UsageError("--resume and --overwrite exclude each other")
            if arguments.resume and arguments.out is None:
                raise UsageError("--resume needs --out RUN, the folder of the run to go on with")
            apply_machine_options(arguments)
        go = _resume if arguments.resume else _start
        return go(arguments.kind, arguments, ranks)


def _start(kind: Kind, arguments: argparse.Namespace, ranks: Communicator) -> int:
    from ..training._run.folder import CONFIG, claimed, replacing, require_free

    with together(ranks):
        if arguments.out is not None:
            require_free(arguments.out, arguments.overwrite)  # before a large text is read
        material = kind.read(arguments)
        out = arguments.out or fresh_folder(arguments.paths, kind.words.embedded, kind.words.unnamed)
    out = Path(ranks.gather(str(out))[0])
    with together(ranks):
        made = _prepared(kind, material, out, ranks, arguments.overwrite)
    _require_same(material, made, ranks)
    if not arguments.overwrite:  # after a death, the launcher would resume the run that is to be replaced
        heartbeat.say(out=str(out.resolve()))
    with ExitStack() as held, ExitStack() as files:
        with together(ranks):
            if ranks.rank == 0:
                held.enter_context(claimed(out, arguments.overwrite))
                files.enter_context(replacing(out, {CONFIG: _config(material, made).save, **made.files}))
        made.trainer.claim_folder()
        files.close()
        heartbeat.say(out=str(out.resolve()))
        _introduce(kind, material, made, ranks)
        return _run(kind, made)


def _require_same(material: Material, made: Prepared, ranks: Communicator) -> None:
    """Raise RanksDiffer unless all ranks have the same data, options and kernels."""
    from ..training._run.folder import Kernels

    kernels = str(Kernels.of(made.recurrent, material.options.batch))
    require_same(ranks, {"sha256 of the data": material.sha256, "options": asdict(material.options), "kernels": kernels})


def _resume(kind: Kind, arguments: argparse.Namespace, ranks: Communicator) -> int:
    from ..training._run.folder import held

    out = arguments.out
    with ExitStack() as stack:
        with together(ranks):
            config = kind.load_config(out)
            if config.options.kind != kind.name:
                theirs = config.options.kind
                raise InputError(f"{out} holds a run of another kind: go on with fastrnn train {theirs} --resume")
            options = changed(config.options, kind.flags.given(arguments))
            if ranks.rank == 0:
                stack.enter_context(held(out))
            material = kind.reread(arguments, out, config, options)
        return _go_on(kind, material, out, config, ranks)


def _go_on(kind: Kind, material: Material, out: Path, before: RunConfig[Any, Any], ranks: Communicator) -> int:
    from ..training._run.folder import CONFIG, SAMPLES
    from ..training._run.samples import cut_samples
    from ..training.loop import LAST

    with together(ranks):
        made = _prepared(kind, material, out, ranks)
        if not (out / LAST).exists():
            raise InputError(f"{out} has no {LAST} to go on from")
        made.trainer.resume()
        now, step = _config(material, made), made.trainer.state.step
        if ranks.rank == 0:
            now.save(out / CONFIG)
            cut_samples(out / SAMPLES, made.trainer.state.evaluated_step)
    _require_same(material, made, ranks)
    _introduce(kind, material, made, ranks)
    note_differences(before, now, step)
    return _run(kind, made)


def _config(material: Material, made: Prepared) -> RunConfig[Any, Any]:
    from ..training._run.folder import Kernels
    from ..training._run.run_config import RunConfig

    sources, sha256, kernels = material.sources, material.sha256, Kernels.of(made.recurrent, material.options.batch)
    return RunConfig(material.options, made.data.vocabulary, sources, sha256, kernels, made.data.baselines)


def _prepared(kind: Kind, material: Material, out: Path, ranks: Communicator, overwrite: bool = False) -> Prepared:
    """Make the trainer, with callbacks that show progress, sample, and draw the loss curve."""
    from ..training import LossCurve, Progress
    from ..training._run.folder import CURVE
    from ..training._run.pace import SampleNotice
    from ..training.loop import METRICS

    made = kind.prepare(material, out, overwrite, ranks)
    if ranks.rank:
        return made
    unit, scale = _unit(made)
    short = "char" if unit == "character" else unit
    made.trainer.callbacks = (
        SampleNotice(unit),
        Progress(made.trainer.config, short, scale),
        made.sampler,
        LossCurve(out / METRICS, out / CURVE, short, scale, made.data.baselines),
    )
    return made


def _unit(made: Prepared) -> tuple[str, Scale]:
    """Return the unit that losses are counted per, and the scale that they are shown on."""
    from ..training._run.plots import SCALES

    return made.data.vocabulary.unit, SCALES[made.data.vocabulary.unit]


def _introduce(kind: Kind, material: Material, made: Prepared, ranks: Communicator) -> None:
    """Print the data, the model, the ranks and the run folder."""
    options = material.options
    parameters = sum(parameter.size for _, parameter in made.trainer.task.named_parameters())
    tied = "tied " if getattr(options, "tied", False) else ""
    embedding = f", {tied}embedding {options.embedding}" if options.embedding and kind.words.shows_embedding else ""
    for line in kind.introduction(material, made.data):
        print(line)
    print(f"model:    {options.model.upper()} {options.layers} x {options.hidden}{embedding}, {parameters:,} parameters")
    if ranks.size > 1:
        hosts = len(set(ranks.gather(ranks.host)))
        print(f"ranks:    {ranks.size} on {quantity(hosts, 'machine')}, {quantity(get_num_threads(), 'thread')} on rank 0")
    print(f"run:      {made.trainer.out}", flush=True)


def _run(kind: Kind, made: Prepared) -> int:
    """Train, print the result and return the exit status."""
    prepare_kernels(training=True)
    result = made.trainer.run()
    if not made.trainer.ranks.main:
        return 130 if result.stopped == "interrupted" else 0
    made.trainer.task.communicator = SOLO  # type: ignore[attr-defined]  # rank 0 alone evaluates the best weights
    status = finish(result, made.trainer, kind.name, *_unit(made))
    if status == 0:
        print(kind.words.afterwards.format(out=shlex.quote(str(made.trainer.out))))
    return status
