"""``fastrnn score``: how probable a trained model finds a text."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_machine_options, apply_machine_options
from .errors import UsageError

if TYPE_CHECKING:
    from ..text.language_model import Score

DESCRIPTION = """\
Print the log-probability of a text under the best model of a run, in nats, its bits per character and its perplexity.
The text starts from a zero state. For a model of lines the end of the line counts as a character.
"""


def add_to(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("score", help="how probable a model finds a text", description=DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("text", metavar="TEXT", help="the text to score")
    parser.add_argument("--verbose", action="store_true", help="a line for each character, too")
    add_machine_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the figures; 0."""
    from ..text.run_folder import load_language_model

    apply_machine_options(arguments)
    model, _ = load_language_model(arguments.folder)
    if model.reading == "lines" and "\n" in arguments.text:
        raise UsageError("the text must be without line breaks: this model's texts are single lines")
    if model.reading == "stream" and not arguments.text:
        raise UsageError("the text must have at least one character")
    score = model.score(arguments.text)
    if arguments.verbose:
        _print_table(score)
    count = len(score.tokens)
    end = ", the end of the line included" if model.reading == "lines" else ""
    print(f"log-probability:    {score.log_probability:.4f} nats ({count} character{'s' * (count != 1)}{end})")
    print(f"bits per character: {score.bits_per_character:.4f}")
    print(f"perplexity:         {score.perplexity:.4f}")
    return 0


def _print_table(score: Score) -> None:
    print(f"{'character':>9}  {'probability':>11}  {'bits':>7}")
    for token, log_probability in zip(score.tokens, score.log_probabilities.tolist(), strict=True):
        name = "end" if token == "\n" else repr(token)
        print(f"{name:>9}  {math.exp(log_probability):>11.6f}  {-log_probability / math.log(2):>7.3f}")
    print()
