"""``fastrnn score``: how probable a trained model finds texts."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_machine_options, apply_machine_options
from .errors import InputError, UsageError, explain
from .notes import note

if TYPE_CHECKING:
    from ..text.language_model import LanguageModel, Score

DESCRIPTION = """\
Print the log-probability of texts under the best model of a run, in nats, their probability and their perplexity.
A text starts from a zero state. For a model of lines the end of the line counts as a character, for a model of words the
end of the sentence counts as a word; unknown words are scored, and shown, as <UNK>. Several texts are put side by side.
"""


def add_to(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("score", help="how probable a model finds a text", description=DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="what to score")
    parser.add_argument("--file", metavar="FILE", help="score each line that is not blank; - is standard input")
    parser.add_argument("--verbose", action="store_true", help="a line for each character or word, too")
    add_machine_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the figures; 0."""
    from ..text.run_folder import load_language_model

    apply_machine_options(arguments)
    texts = [*arguments.texts, *(_lines(arguments.file) if arguments.file else [])]
    if not texts:
        raise UsageError("there is nothing to score: give TEXT or --file FILE")
    model, _ = load_language_model(arguments.folder)
    for text in texts:
        _check(model, text)
    scores = [model.score(text) for text in texts]
    if arguments.verbose:
        for score in scores:
            _print_table(score, model)
    if len(scores) == 1:
        _print_one(scores[0], model)
    else:
        _print_side_by_side(scores, model)
    if model.vocabulary.unit == "word":
        _tell_unknown(texts, model)
    return 0


def _lines(name: str) -> list[str]:
    """The lines of a file, or of standard input."""
    from ..text.reading import items, read_file

    try:
        content = sys.stdin.read() if name == "-" else read_file(Path(name))
    except OSError as error:
        raise InputError(explain(error)) from error
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8: {error.reason} at offset {error.start}") from error
    lines = items(content)
    if not lines:
        raise InputError(f"{'standard input' if name == '-' else name} has no text to score")
    return lines


def _check(model: LanguageModel, text: str) -> None:
    """Raise UsageError for what this model cannot score."""
    unit = model.vocabulary.unit
    if model.reading == "lines" and "\n" in text:
        raise UsageError("the text must be without line breaks: this model's texts are single lines")
    if (model.reading == "stream" or unit == "word") and not model.vocabulary.encode(text).size:
        raise UsageError(f"the text must have at least one {unit}")


def _end(model: LanguageModel) -> str:
    """What ends a text, in words."""
    if model.reading == "lines":
        return "the end of the line"
    return "the end of the sentence" if model.vocabulary.unit == "word" else ""


def _print_one(score: Score, model: LanguageModel) -> None:
    unit, count = model.vocabulary.unit, len(score.tokens)
    end = f", {_end(model)} included" if _end(model) else ""
    rows = {
        "log-probability:": f"{score.log_probability:.4f} nats ({count} {unit}{'s' * (count != 1)}{end})",
        "probability:": probability(score.log_probability),
        f"bits per {unit}:": f"{score.bits_per_token:.4f}",
        "perplexity:": f"{score.perplexity:.4f}",
    }
    for name, value in rows.items():
        print(f"{name:<19} {value}")


def _print_side_by_side(scores: list[Score], model: LanguageModel) -> None:
    unit = model.vocabulary.unit
    print(f"{'log p (nats)':>12}  {'probability':>11}  {'perplexity':>10}  {unit + 's':>10}  text")
    for score in scores:
        tokens = score.tokens[:-1] if _end(model) else score.tokens
        text = " ".join(tokens) if unit == "word" else "".join(tokens)
        print(
            f"{score.log_probability:>12.4f}  {probability(score.log_probability):>11}  {score.perplexity:>10.2f}  "
            f"{len(score.tokens):>10}  {text}"
        )
    if len(scores) == 2:
        first, second = (score.log_probability for score in scores)
        more, less = ("first", "second") if first >= second else ("second", "first")
        print(f"the {more} is {probability(abs(first - second))} times as probable as the {less}")


def probability(log_probability: float) -> str:
    """exp of it, three digits, however small or large it is."""
    exponent = log_probability / math.log(10)
    if -5 < exponent < 5:
        return f"{math.exp(log_probability):.3g}"
    whole = math.floor(exponent)
    mantissa = f"{10 ** (exponent - whole):.2f}"
    return f"{mantissa}e{whole:+03d}" if mantissa != "10.00" else f"1.00e{whole + 1:+03d}"


def _tell_unknown(texts: list[str], model: LanguageModel) -> None:
    from ..text.tokens import UNK
    from ..text.word_vocabulary import WordVocabulary

    vocabulary = model.vocabulary
    assert isinstance(vocabulary, WordVocabulary)
    known = set(vocabulary.tokens)
    unknown = dict.fromkeys(token for text in texts for token in vocabulary.tokenize(text) if token not in known)
    if unknown:
        note(f"{UNK} stands for: {', '.join(unknown)}")


def _print_table(score: Score, model: LanguageModel) -> None:
    unit, width = model.vocabulary.unit, max(9, *map(len, score.tokens))
    print(f"{unit:>{width}}  {'probability':>11}  {'bits':>7}")
    for token, log_probability in zip(score.tokens, score.log_probabilities.tolist(), strict=True):
        name = token if unit == "word" else "end" if token == "\n" else repr(token)
        print(f"{name:>{width}}  {math.exp(log_probability):>11.6f}  {-log_probability / math.log(2):>7.3f}")
    print()
