"""The options of ``fastrnn train``, in the groups of its help. None means that an option was not given."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ...music._midi.songs import VOICES
from ...music._model.options import JazzOptions
from ...text.options import KINDS, UNK_MIN_COUNT
from ...training._run.options import DEFAULT_LR, DEFAULT_WEIGHT_DECAY, OPTIMIZERS, SGD_MOMENTUM, RunOptions
from ...training.schedules import NAMES
from ..arguments import folder, integer, real, seed
from ..text_files import add_file_options

FRACTION = real(0, 1, above=True, below=True)


class CommonOptions:
    """The options that all kinds share, to be added to groups of a parser.

    ``options`` is the class of options. The other arguments are words for the help: ``unit`` for an element of a sequence,
    ``chunk`` for the count in ``--seq-length``, ``name`` for the source of a run's name.
    """

    def __init__(self, options: type[RunOptions], unit: str, chunk: str, name: str) -> None:
        self.options, self.unit, self.chunk, self.name = options, unit, chunk, name

    def default(self, name: str) -> str:
        """Return the help's text on an option's default, which may depend on the reading of text."""
        options = self.options
        first, *others = (given.get(name, getattr(options, name, None)) for given in options.defaults.values())
        return (
            f"default: {first} for lines, {others[0]} for a stream" if {first} != {first, *others} else f"default: {first}"
        )

    def _add(self, group: Any, option: str, kind: Callable[[str], Any], metavar: str, text: str = "") -> None:
        """Add an option with a value. Its help is ``text``, then the default."""
        default = self.default(option[2:].replace("-", "_"))
        group.add_argument(option, type=kind, metavar=metavar, help=f"{text} ({default})" if text else default)

    def given(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Return the given training options by name; 0 turns clipping off."""
        found = {name: value for name in self.options.names() if (value := getattr(arguments, name, None)) is not None}
        for name in ("clip_norm", "clip_value"):
            if found.get(name) == 0:
                found[name] = None
        if found.get("reading") == "auto":  # the reading is then guessed
            del found["reading"]
        return found

    def add_data(self, group: Any) -> None:
        """Add the options for the data."""
        raise NotImplementedError

    def add_model(self, group: Any) -> None:
        """Add the options for the model."""
        group.add_argument("--model", choices=("rnn", "gru", "lstm"), help=self.default("model"))
        self._add(group, "--layers", integer(1), "N")
        self._add(group, "--hidden", integer(1), "N", "units of a layer")
        self._add(group, "--embedding", integer(0), "N", f"size of a learned vector for each {self.unit}; 0 is one-hot")
        self._add(group, "--dropout", real(0, 1, below=True), "P", "dropout between the layers and before the output")

    def add_optimiser(self, group: Any) -> None:
        """Add the options for the optimiser."""
        rates, decays = (
            ", ".join(f"{value:g} for {name}" for name, value in values.items())
            for values in (DEFAULT_LR, DEFAULT_WEIGHT_DECAY)
        )
        own = ((given.get("weight_decay"), reading) for reading, given in self.options.defaults.items())
        usual = "".join(f"; {decay} for a {reading} without --optimizer" for decay, reading in own if decay is not None)
        group.add_argument(
            "--optimizer",
            choices=tuple(OPTIMIZERS),
            help=f"sgd has a momentum of {SGD_MOMENTUM:g} ({self.default('optimizer')})",
        )
        group.add_argument("--lr", type=real(0, above=True), metavar="RATE", help=f"learning rate (default: {rates})")
        group.add_argument("--schedule", choices=NAMES, help=f"schedule of the learning rate ({self.default('schedule')})")
        self._add(group, "--warmup", integer(0), "STEPS", "steps of linearly rising rate, at most a tenth of all")
        group.add_argument("--weight-decay", type=real(0), metavar="D", help=f"default: {decays}, else 0{usual}")
        self._add(group, "--clip-norm", real(0), "C", "clip all gradients together to this norm; 0 is off")
        group.add_argument(
            "--clip-value", type=real(0), metavar="C", help="clip each element of a gradient (default: 0, off)"
        )
        self._add(group, "--batch", integer(1), "B", "sequences in a batch")
        self._add(group, "--seq-length", integer(1), "T", self.chunk)

    def add_run(self, group: Any) -> None:
        """Add the options for the run: its folder, its limits and its evaluations."""
        group.add_argument(
            "--out", type=folder, metavar="RUN", help=f"the run folder (default: runs/NAME, after {self.name})"
        )
        group.add_argument("--resume", action="store_true", help="go on with the run in --out, as if it had never stopped")
        group.add_argument("--overwrite", action="store_true", help="replace the run in --out")
        shape = "they shape the warm-up and all schedules except constant, so another number given with --resume changes"
        self._add(group, "--max-steps", integer(1), "N", f"training steps; {shape} the learning rates that follow")
        group.add_argument(
            "--max-seconds",
            type=real(0, above=True),
            metavar="S",
            help="time limit; without --max-steps, warm-up, schedule and evaluations fit it (default: none)",
        )
        group.add_argument(
            "--patience", type=integer(1), metavar="N", help="stop after N evaluations without improvement (default: never)"
        )
        group.add_argument(
            "--eval-every",
            type=integer(1),
            metavar="STEPS",
            help=f"steps between evaluations ({self.default('eval_every')}; ten evaluations or more in a short run)",
        )
        self._add(group, "--seed", seed, "N", "seed of all random numbers")


class JazzFlags(CommonOptions):
    """The options of models of music, to be added to groups of a parser."""

    def __init__(self) -> None:
        super().__init__(JazzOptions, "token", "tokens of a sequence, about three a note", "the first file")

    def add_data(self, group: Any) -> None:
        """Add the options for the data."""
        group.add_argument("--voices", choices=VOICES, help="learn the melody as a line, or all voices (default: auto)")
        group.add_argument("--melody", metavar="PART", help="the melody's part, by name or number from 0")
        group.add_argument("--chords", metavar="PART", help="the part to infer chords from, by name or number from 0")
        group.add_argument(
            "--changes",
            metavar="CHORDS",
            help='the chords of all files, bar by bar, such as "Dm7 | G7 | C | %%", or the name of a progression, in C',
        )
        group.add_argument(
            "--no-transpose",
            dest="transpose",
            action="store_const",
            const=False,
            help="learn songs in their own keys only (default: in all twelve)",
        )
        held = "share of the songs held out for validation; of a single song, its end"
        self._add(group, "--val-fraction", FRACTION, "F", held)


class TextFlags(CommonOptions):
    """The options of a kind of text model, ``"chars"`` or ``"words"``, to be added to groups of a parser."""

    def __init__(self, kind: str) -> None:
        unit = "word" if kind == "words" else "character"
        super().__init__(KINDS[kind], unit, f"{unit}s of a chunk of a stream; longer lines are cut there", "the text")

    def add_model(self, group: Any) -> None:
        """Add the options for the model."""
        super().add_model(group)
        tied = "use one matrix for the embedding and the output, which needs --embedding equal to --hidden"
        group.add_argument("--tied", action=argparse.BooleanOptionalAction, help=f"{tied} ({self.default('tied')})")

    def default(self, name: str) -> str:
        """Return the help's text on an option's default. Two of the options for words follow from others."""
        words = {"tied": "default: tied if they are equal", "embedding": "default: that of --hidden; 256 with --no-tied"}
        return words[name] if self.options.kind == "words" and name in words else super().default(name)

    def add_data(self, group: Any) -> None:
        """Add the options for the data."""
        group.add_argument("--reading", choices=("auto", "lines", "stream"), default="auto", help="default: auto, a guess")
        add_file_options(group)
        held = "share held out for validation: the end of a stream, or random lines"
        self._add(group, "--val-fraction", FRACTION, "F", held)
        if self.options.kind == "words":
            self._add_words(group)
        else:
            self._add_characters(group)

    def _add_words(self, group: Any) -> None:
        self._add(group, "--vocabulary-size", integer(1), "M", "keep the M most frequent words; all others become <UNK>")
        rare = "words that occur fewer than N times become <UNK>, so that a model learns about it"
        self._add(group, "--min-count", integer(1), "N", rare)
        group.add_argument(
            "--keep-case", action="store_true", default=None, help="distinguish The and the (default: lower case)"
        )
        group.add_argument(
            "--vectors",
            metavar="VECTORS",
            help="start from the word vectors in a text file of word2vec, GloVe or fastText; the embedding gets their width",
        )

    def _add_characters(self, group: Any) -> None:
        group.add_argument("--lower", action="store_true", default=None, help="lower-case the text (default: as it is)")
        group.add_argument(
            "--unk",
            action="store_true",
            default=None,
            help=f"add <UNK> for unknown characters; implies --min-count {UNK_MIN_COUNT} unless given, because a model "
            "learns about <UNK> only from characters that become it",
        )
        group.add_argument(
            "--min-count",
            type=integer(1),
            metavar="N",
            help="characters that occur fewer than N times become <UNK>; above 1 it implies --unk "
            f"(default: {UNK_MIN_COUNT} with --unk, else 1)",
        )
