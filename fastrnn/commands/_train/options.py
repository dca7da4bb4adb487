"""The options of ``fastrnn train``, by the groups that their help has. None means: not given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...text.options import KINDS, UNK_MIN_COUNT
from ...training._run.options import DEFAULT_LR, OPTIMIZERS, SGD_MOMENTUM
from ...training.schedules import NAMES
from ..arguments import integer, real, seed
from ..text_files import add_file_options


class CommonOptions:
    """Adds the options that all kinds of model have to groups of a parser.

    ``unit`` is what a sequence is made of, ``chunk`` says what ``--seq-length`` counts, ``name`` what a run is called after.
    """

    def __init__(self, unit: str, chunk: str, name: str) -> None:
        self.unit, self.chunk, self.name = unit, chunk, name

    def default(self, name: str) -> str:
        """A default for the help."""
        raise NotImplementedError

    def add_model(self, group: Any) -> None:
        """What to train."""
        group.add_argument("--model", choices=("rnn", "gru", "lstm"), help=self.default("model"))
        group.add_argument("--layers", type=integer(1), metavar="N", help=self.default("layers"))
        group.add_argument("--hidden", type=integer(1), metavar="N", help=f"units of a layer ({self.default('hidden')})")
        group.add_argument(
            "--embedding",
            type=integer(0),
            metavar="N",
            help=f"size of a learned vector for each {self.unit}; 0 is one-hot ({self.default('embedding')})",
        )
        group.add_argument(
            "--dropout",
            type=real(0, 1, below=True),
            metavar="P",
            help=f"between the layers and before the output ({self.default('dropout')})",
        )

    def add_optimiser(self, group: Any) -> None:
        """How to train it."""
        rates = ", ".join(f"{rate:g} for {name}" for name, rate in DEFAULT_LR.items())
        group.add_argument(
            "--optimizer",
            choices=tuple(OPTIMIZERS),
            help=f"sgd has a momentum of {SGD_MOMENTUM:g} ({self.default('optimizer')})",
        )
        group.add_argument("--lr", type=real(0, above=True), metavar="RATE", help=f"learning rate (default: {rates})")
        group.add_argument("--schedule", choices=NAMES, help=f"of the learning rate ({self.default('schedule')})")
        group.add_argument(
            "--warmup",
            type=integer(0),
            metavar="STEPS",
            help=f"of linearly rising rate, at most a tenth of all steps ({self.default('warmup')})",
        )
        group.add_argument("--weight-decay", type=real(0), metavar="D", help="default: 0.01 for adamw, else 0")
        group.add_argument(
            "--clip-norm",
            type=real(0),
            metavar="C",
            help=f"norm to clip all gradients to, 0: none ({self.default('clip_norm')})",
        )
        group.add_argument(
            "--clip-value", type=real(0), metavar="C", help="clip each element of a gradient (default: 0, none)"
        )
        group.add_argument("--batch", type=integer(1), metavar="B", help=f"sequences in a batch ({self.default('batch')})")
        group.add_argument(
            "--seq-length",
            type=integer(1),
            metavar="T",
            help=f"{self.chunk} ({self.default('seq_length')})",
        )

    def add_run(self, group: Any) -> None:
        """How long, how often to look, and where to."""
        group.add_argument("--out", type=Path, metavar="RUN", help=f"the run folder (default: runs/NAME, after {self.name})")
        group.add_argument("--resume", action="store_true", help="go on with the run in --out, as if it had never stopped")
        group.add_argument("--overwrite", action="store_true", help="replace the run in --out")
        group.add_argument(
            "--max-steps",
            type=integer(1),
            metavar="N",
            help="warm-up and the schedules but constant are shaped by it: given with --resume, another number changes the "
            f"learning rates that follow ({self.default('max_steps')})",
        )
        group.add_argument(
            "--max-seconds",
            type=real(0, above=True),
            metavar="S",
            help="without --max-steps, warm-up, schedule and evaluations fit this time (default: no limit)",
        )
        group.add_argument(
            "--patience", type=integer(1), metavar="N", help="stop after N evaluations without improvement (default: never)"
        )
        group.add_argument(
            "--eval-every",
            type=integer(1),
            metavar="STEPS",
            help=f"between evaluations ({self.default('eval_every')}; ten or more in few steps or in --max-seconds)",
        )
        group.add_argument("--seed", type=seed, metavar="N", help=f"of all random numbers ({self.default('seed')})")


class Options(CommonOptions):
    """Adds the options of one kind of model, ``"chars"`` or ``"words"``, to groups of a parser."""

    def __init__(self, kind: str) -> None:
        self.options = KINDS[kind]
        unit = "word" if kind == "words" else "character"
        super().__init__(unit, f"{unit}s of a chunk of a stream; longer lines are cut there", "the text")

    def default(self, name: str) -> str:
        """A default for the help, which may depend on the reading."""
        options = self.options
        lines, stream = (
            options.defaults[reading].get(name, getattr(options, name, None)) for reading in ("lines", "stream")
        )
        return f"default: {lines}" if lines == stream else f"default: {lines} for lines, {stream} for a stream"

    def add_text(self, group: Any) -> None:
        """What to read, and how."""
        group.add_argument("--reading", choices=("auto", "lines", "stream"), default="auto", help="default: auto, a guess")
        add_file_options(group)
        group.add_argument(
            "--val-fraction",
            type=real(0, 1, above=True, below=True),
            metavar="F",
            help=f"held out for validation: the end of a stream, a random choice of lines ({self.default('val_fraction')})",
        )
        if self.options.kind == "words":
            self._add_words(group)
        else:
            self._add_characters(group)

    def _add_words(self, group: Any) -> None:
        group.add_argument(
            "--vocabulary-size",
            type=integer(1),
            metavar="M",
            help=f"the most frequent M words are known, all others <UNK> ({self.default('vocabulary_size')})",
        )
        group.add_argument(
            "--min-count",
            type=integer(1),
            metavar="N",
            help=f"words that occur fewer than N times become <UNK>, so that a model learns about it "
            f"({self.default('min_count')})",
        )
        group.add_argument("--keep-case", action="store_true", default=None, help="tell The from the (default: lower case)")

    def _add_characters(self, group: Any) -> None:
        group.add_argument("--lower", action="store_true", default=None, help="lower-case the text (default: as it is)")
        group.add_argument(
            "--unk",
            action="store_true",
            default=None,
            help=f"add <UNK>, for unknown characters; implies --min-count {UNK_MIN_COUNT} unless given, as a model learns "
            "about <UNK> only from characters that become it",
        )
        group.add_argument(
            "--min-count",
            type=integer(1),
            metavar="N",
            help="characters that occur fewer than N times become <UNK>; above 1 it implies --unk "
            f"(default: {UNK_MIN_COUNT} with --unk, else 1)",
        )
