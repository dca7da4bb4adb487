"""Trained models of the zoo on disk: a folder with ``model.safetensors`` and ``details.json``.

``Model.save`` writes the first file, the graph and its weights. The second names the example that wrote it, and holds its
vocabularies, sizes and thresholds.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastrnn import Model
from fastrnn.commands.errors import explain
from fastrnn.commands.outputs import add_overwrite_option, check_free
from fastrnn.json_reading import parse
from fastrnn.serialization import write_atomically
from fastrnn.text.reading import TextError

MODEL, DETAILS = "model.safetensors", "details.json"


def add_options(parser: argparse.ArgumentParser, default: Path | None = None, text: str = "") -> None:
    """Add ``--out`` and ``--overwrite``, and ``--text`` if its help is given."""
    shown = default or "nothing is saved"
    parser.add_argument("--out", type=Path, default=default, help=f"folder for the trained model (default: {shown})")
    add_overwrite_option(parser)
    if text:
        parser.add_argument("--text", action="append", default=[], help=f"{text}; may be given again")


def claim(out: Path | None, overwrite: bool, names: Iterable[str] = (MODEL, DETAILS)) -> None:
    """Make the folder before training. Ends the program if this fails, or if a file would be replaced."""
    if out is None:
        return
    try:
        check_free([out / name for name in names], overwrite)
    except FileExistsError as error:
        raise SystemExit(explain(error)) from None
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"--out cannot be made: {error}") from None


def save(out: Path | None, example: str, model: Model, *, architecture: bool = True, **details: Any) -> None:
    """Write a trained model and its details, which JSON must be able to hold; without a folder do nothing.

    ``architecture=False`` leaves out the graph, because a layer that an example defines itself cannot be described.
    """
    if out is None:
        return
    model.save(out / MODEL, architecture)
    write_atomically(out / DETAILS, json.dumps({"example": example, **details}).encode())
    print(f"saved the model in {out}")


def use_saved(parser: argparse.ArgumentParser, arguments: argparse.Namespace, source: str | None = None) -> bool:
    """Return True if the model in ``--out`` answers ``--text``; else claim ``--out`` for a new model.

    ``source`` names the argument that training needs. Ends the program if it is missing, or as :func:`claim` does.
    """
    saved = arguments.out is not None and (arguments.out / DETAILS).exists()
    if arguments.text and saved and not arguments.overwrite:
        return True
    if source and getattr(arguments, source) is None:
        parser.error(f"{source.upper()} is missing: only --text with an --out that holds a trained model does without it")
    claim(arguments.out, arguments.overwrite)
    return False


def run(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    source: str | None,
    answer: Callable[[], object],
    train: Callable[[], object],
) -> None:
    """Call ``answer`` if :func:`use_saved` finds a saved model for ``--text``, else ``train``.

    Ends the program with a usage error if a file cannot be read.
    """
    try:
        if use_saved(parser, arguments, source):
            answer()
        else:
            train()
    except (OSError, TextError) as error:
        parser.error(str(error))


@contextmanager
def short_errors(*kinds: type[Exception]) -> Iterator[None]:
    """End the program with only the message of an OSError or an error of these kinds."""
    try:
        yield
    except (OSError, *kinds) as error:
        raise SystemExit(str(error)) from None


@contextmanager
def loading(out: Path, example: str) -> Iterator[dict[str, Any]]:
    """Yield the details of a model that ``example`` saved. Ends the program with one line if the folder is damaged."""
    try:
        details = parse((out / DETAILS).read_bytes())
        if details["example"] != example:
            raise SystemExit(f"{out / DETAILS} must be {example}'s, got {details['example']!r}")
        yield details
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise SystemExit(f"{out} does not hold a model that can be used: {error}") from None
    print(f"using the model saved in {out}; --overwrite trains another one")
