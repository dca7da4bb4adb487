"""``fastrnn sample``: text from a trained model."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_machine_options, apply_machine_options, integer, real, seed
from .errors import UsageError
from .notes import note

if TYPE_CHECKING:
    from ..text.language_model import LanguageModel
    from ..text.run_folder import RunConfig
    from ..text.sampling import Choice

DESCRIPTION = """\
Sample text from the best model of a run. The text goes to standard output; what there is to say about it, such as how
many of the samples are new, to standard error.
"""

LINES_NUMBER, LINES_LENGTH, STREAM_LENGTH = 10, 100, 1000


def add_to(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("sample", help="text from a trained model", description=DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--prefix", default="", metavar="TEXT", help="what each sample begins with")
    parser.add_argument(
        "--number", type=integer(1), metavar="N", help=f"of samples (default: {LINES_NUMBER} of lines, 1 of a stream)"
    )
    parser.add_argument(
        "--length",
        type=integer(1),
        metavar="N",
        help=f"most characters after the prefix (default: {LINES_LENGTH} in lines, {STREAM_LENGTH} in a stream)",
    )
    parser.add_argument(
        "--temperature", type=real(0), default=1.0, metavar="T", help="above 1 is bolder, below 1 tamer (default: 1)"
    )
    parser.add_argument(
        "--top-k", type=integer(0), default=0, metavar="K", help="only the K most likely characters (default: 0, all)"
    )
    parser.add_argument(
        "--top-p",
        type=real(0, 1, above=True),
        default=1.0,
        metavar="P",
        help="only the most likely characters that make up P of the probability (default: 1, all)",
    )
    parser.add_argument("--greedy", action="store_true", help="always the most likely character")
    parser.add_argument("--seed", type=seed, metavar="N", help="of the random numbers (default: fresh ones)")
    add_machine_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print samples; 0."""
    from ..text.run_folder import load_language_model
    from ..text.sampling import Choice

    apply_machine_options(arguments)
    choice = Choice(arguments.temperature, arguments.top_k, arguments.top_p, arguments.greedy)
    model, config = load_language_model(arguments.folder)
    if model.reading == "lines":
        if "\n" in arguments.prefix:
            raise UsageError("--prefix must be without line breaks: this model's texts are single lines")
        _print_lines(model, arguments, choice)
    else:
        _print_stream(model, config, arguments, choice)
    return 0


def _print_lines(model: LanguageModel, arguments: argparse.Namespace, choice: Choice) -> None:
    from ..text.novelty import known_lines
    from ..text.run_folder import load_lines

    number, length = arguments.number or LINES_NUMBER, arguments.length or LINES_LENGTH
    samples = model.sample(number, length, prefix=arguments.prefix, choice=choice, seed=arguments.seed)
    for sample in samples:
        print(sample.text)
    known = load_lines(arguments.folder)
    if known is None:
        note("how many are new is not known: the run folder lacks the hashes of the training lines")
    else:
        new = sum(not copied for copied in known_lines([sample.text for sample in samples if sample.text], known))
        note(f"{new} of {number} are new: not among the {len(known):,} distinct lines trained on")
    cut = sum(not sample.ended for sample in samples)
    if cut:
        note(f"{cut} of {number} had not ended after {length} characters")


def _print_stream(model: LanguageModel, config: RunConfig, arguments: argparse.Namespace, choice: Choice) -> None:
    number, length = arguments.number or 1, arguments.length or STREAM_LENGTH
    options = {"prefix": arguments.prefix, "choice": choice, "seed": arguments.seed}
    if number == 1:
        texts = [_print_as_it_comes(model.stream(length, **options), arguments.prefix)]
    else:
        texts = [sample.text for sample in model.sample(number, length, **options)]
        print("\n\n".join(texts))
    note(_copied("".join(texts), config))


def _print_as_it_comes(pieces: Iterator[str], prefix: str) -> str:
    """Print the prefix and the pieces; returns the whole."""
    whole = []
    for piece in itertools.chain([prefix], pieces):
        print(piece, end="", flush=True)
        whole.append(piece)
    print()
    return "".join(whole)


def _copied(text: str, config: RunConfig) -> str:
    """How much of a sampled stream is in the text trained on, as far as that is still there."""
    from ..text.novelty import NGRAM, copied_share
    from ..text.reading import TextError, reread
    from ..text.training import held_out

    unknown = f"how many of its {NGRAM}-grams are copied is not known: "
    try:
        training = reread(config.sources)
    except (OSError, TextError):
        return unknown + "the text trained on is not there any more"
    if training.sha256 != config.sha256:
        return unknown + "the text trained on has changed"
    held = held_out(len(training.content), config.options.val_fraction, "characters")
    share = copied_share(text, training.content[:-held])
    if share is None:
        return unknown + f"it is shorter than {NGRAM} characters"
    return f"{share:.1%} of its {NGRAM}-grams occur in the text trained on"
