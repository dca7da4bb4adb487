"""The options of ``fastrnn train``, by the groups that their help has. None means: not given."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ...music._midi.songs import VOICES
from ...music._model.options import JazzOptions
from ...text.options import KINDS, UNK_MIN_COUNT
from ...training._run.options import DEFAULT_LR, OPTIMIZERS, SGD_MOMENTUM, RunOptions
from ...training.schedules import NAMES
from ..arguments import integer, real, seed
from ..text_files import add_file_options


class CommonOptions:
    """Adds the options that all kinds of model have to groups of a parser.

    ``options`` is the class of options. ``unit`` is what a sequence is made of, ``chunk`` says what ``--seq-length``
    counts, ``name`` what a run is called after.
    """

    def __init__(self, options: type[RunOptions], unit: str, chunk: str, name: str) -> None:
        self.options, self.unit, self.chunk, self.name = options, unit, chunk, name

    def default(self, name: str) -> str:
        """Return a default for the help, which may depend on the reading of text."""
        options = self.options
        first, *others = (given.get(name, getattr(options, name, None)) for given in options.defaults.values())
        return (
            f"default: {first} for lines, {others[0]} for a stream" if {first} != {first, *others} else f"default: {first}"
        )

    def given(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Return the options of training that were given, by name; 0 turns clipping off."""
        found = {name: value for name in self.options.names() if (value := getattr(arguments, name, None)) is not None}
        for name in ("clip_norm", "clip_value"):
            if found.get(name) == 0:
                found[name] = None
        if found.get("reading") == "auto":  # a guess
            del found["reading"]
        return found

    def add_data(self, group: Any) -> None:
        """Add what to read, and how."""
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


class JazzFlags(CommonOptions):
    """Adds the options of models of music to groups of a parser."""

    def __init__(self) -> None:
        super().__init__(JazzOptions, "token", "tokens of a sequence, about three a note", "the first file")

    def add_data(self, group: Any) -> None:
        """Add what to read, and how."""
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


class TextFlags(CommonOptions):
    """Adds the options of one kind of model, ``"chars"`` or ``"words"``, to groups of a parser."""

    def __init__(self, kind: str) -> None:
        unit = "word" if kind == "words" else "character"
        super().__init__(KINDS[kind], unit, f"{unit}s of a chunk of a stream; longer lines are cut there", "the text")

    def add_data(self, group: Any) -> None:
        """Add what to read, and how."""
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
