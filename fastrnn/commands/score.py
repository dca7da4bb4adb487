"""``fastrnn score``: print the probability of texts under a trained model."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import note, quantity
from ..text.tokens import UNK
from ._screen.checkpoint_notice import note_checkpoint
from ._screen.verdict import lost, probability, verdict
from ._train.compiling import prepare_kernels
from .arguments import add_machine_options, apply_machine_options
from .errors import InputError, UsageError
from .text_files import add_file_options, reading

if TYPE_CHECKING:
    from ..text.language_model import Score
    from ..text.reading import TextFormat
    from ..trained_run import TrainedRun

DESCRIPTION = """\
Print the log-probability of texts under the best model of a run, in nats, with their probability and perplexity.
A text starts from a zero state. The end of the line counts as a character for a model of lines, and the end of the sentence
counts as a word for a model of words. Unknown words are scored, and shown, as <UNK>. Several texts are shown side by side;
texts that lost different words to <UNK> are not compared.
"""


def add_to(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("score", help="print the probability of texts under a model", description=DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="text to score")
    parser.add_argument("--file", metavar="FILE", help="score each line that is not blank; - is standard input")
    add_file_options(parser)
    parser.add_argument("--verbose", action="store_true", help="also print a line for each character or word")
    add_machine_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the scores and return 0."""
    from ..trained_run import load_run
    from ..training._run.folder import CONFIG

    apply_machine_options(arguments)
    _check_options(arguments)
    texts = [*arguments.texts, *(_lines(arguments) if arguments.file else [])]
    if not texts:
        raise UsageError("there is nothing to score: give TEXT or --file FILE")
    trained = load_run(arguments.folder)
    if trained.kind == "jazz":
        path = arguments.folder / CONFIG
        raise UsageError(f"{path} is not the configuration of a character model or a word model, but of jazz")
    note_checkpoint(arguments.folder)
    for text in texts:
        _check(trained, text)
    prepare_kernels()
    scores = trained.score(texts)
    if arguments.verbose:
        for score in scores:
            _print_table(score, trained)
    if len(scores) == 1:
        _print_one(scores[0], trained)
    else:
        _print_side_by_side(scores, trained)
    _note_unknown(scores, trained.vocabulary.unit)
    return 0


def _lines(arguments: argparse.Namespace) -> list[str]:
    """Return the lines of a file or of standard input. Raises InputError and TextError."""
    from ..text.reading import TextFormat, items, read_file

    name, taken = arguments.file, TextFormat(arguments.encoding, arguments.column)
    with reading(arguments):
        content = _standard_input(taken) if name == "-" else read_file(Path(name), taken)
    lines = items(content)
    if not lines:
        raise InputError(f"{'standard input' if name == '-' else name} has no text to score")
    return lines


def _standard_input(taken: TextFormat) -> str:
    buffer = getattr(sys.stdin, "buffer", None)  # missing if another program has replaced sys.stdin
    name = "standard input"
    return taken.convert(sys.stdin.read(), name) if buffer is None else taken.text(buffer.read(), name)


def _check_options(arguments: argparse.Namespace) -> None:
    for name in ("encoding", "column"):
        if getattr(arguments, name) is not None and arguments.file is None:
            raise UsageError(f"--{name} is for --file")


def _check(trained: TrainedRun, text: str) -> None:
    """Raise UsageError for a text that this model cannot score."""
    unit = trained.vocabulary.unit
    if trained.options.reading == "lines" and "\n" in text:
        raise UsageError("the text must be without line breaks: this model's texts are single lines")
    if (trained.options.reading == "stream" or unit == "word") and not trained.vocabulary.encode(text).size:
        raise UsageError(f"the text must have at least one {unit}")


def _end(trained: TrainedRun) -> str:
    """Return the name of the token that ends a text, empty if there is none."""
    if trained.options.reading == "lines":
        return "the end of the line"
    return "the end of the sentence" if trained.vocabulary.unit == "word" else ""


def _print_one(score: Score, trained: TrainedRun) -> None:
    unit, count = trained.vocabulary.unit, len(score.tokens)
    ends = bool(_end(trained))
    end = f", {_end(trained)} included" if ends else ""
    rows = {
        "log-probability:": f"{score.log_probability:.4f} nats ({quantity(count, unit)}{end})",
        "probability:": probability(score.log_probability),
        f"bits per {unit}:": f"{score.bits_per_token:.4f}",
        "perplexity:": f"{score.perplexity:.4f}",
    }
    if score.unknown:
        rows[f"lost to {UNK}:"] = lost(score, unit, ends)
    for name, value in rows.items():
        print(f"{name:<19} {value}")


def _print_side_by_side(scores: list[Score], trained: TrainedRun) -> None:
    unit, ends = trained.vocabulary.unit, bool(_end(trained))
    count = f"{unit}s + end" if ends else f"{unit}s"
    width = max(10, len(count))
    losing = any(score.unknown for score in scores)
    differing = len(scores) > 2 and len({tuple(sorted(score.unknown)) for score in scores}) > 1
    column = f"  {UNK:>5}" if losing else ""
    print(f"{'log p (nats)':>12}  {'probability':>11}  {'perplexity':>10}  {count:>{width}}{column}  text")
    for score in scores:
        tokens = score.tokens[:-1] if ends else score.tokens
        text = (" " if unit == "word" else "").join(tokens).replace("\n", "\\n")  # a row is one line
        column = f"  {len(score.unknown):>5}" if losing else ""
        print(
            f"{score.log_probability:>12.4f}  {probability(score.log_probability):>11}  {score.perplexity:>10.2f}  "
            f"{len(score.tokens):>{width}}{column}  {text}{_lost_words(score, unit) if differing else ''}"
        )
    if line := verdict(scores, unit, ends):
        print(line)


def _lost_words(score: Score, unit: str) -> str:
    """Return the note behind a text of the table: the words that it lost to ``<UNK>``."""
    return f"  [{', '.join(_shown(score.unknown, unit))}]" if score.unknown else ""


def _shown(tokens: Iterable[str], unit: str) -> Iterable[str]:
    return tokens if unit == "word" else map(repr, tokens)


def _note_unknown(scores: list[Score], unit: str) -> None:
    unknown = dict.fromkeys(token for score in scores for token in score.unknown if token != UNK)
    if unknown:
        note(f"{UNK} stands for: {', '.join(_shown(unknown, unit))}")


def _print_table(score: Score, trained: TrainedRun) -> None:
    unit, width = trained.vocabulary.unit, max(9, *map(len, score.tokens))
    print(f"{unit:>{width}}  {'probability':>11}  {'bits':>7}")
    for token, log_probability in zip(score.tokens, score.log_probabilities.tolist(), strict=True):
        name = token if unit == "word" else "end" if token == "\n" and _end(trained) else repr(token)
        print(f"{name:>{width}}  {math.exp(log_probability):>11.6f}  {-log_probability / math.log(2):>7.3f}")
    print()
