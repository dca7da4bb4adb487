"""The kinds ``chars`` and ``words``: language models from text."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._screen.reading_progress import reading_progress
from ..errors import InputError, UsageError
from ..text_files import reading
from .help_texts import CHARS, WORDS
from .kind import Material, Prepared
from .options import CommonOptions, TextFlags
from .runs import shortened

if TYPE_CHECKING:
    from ...distributed.communicator import Communicator
    from ...text.language_model import LanguageModel
    from ...text.options import TrainOptions
    from ...text.reading import Text, TextFormat
    from ...text.run_folder import TextConfig
    from ...text.training import Data


@dataclass(frozen=True)
class TextMaterial(Material):
    """A text.

    ``guessed`` is the reason for a guessed reading, ``columns`` the description of its columns. ``fresh`` says that the run
    is a new one, which starts from the word vectors of its options if there are any.
    """

    guessed: str | None = None
    columns: str | None = None
    fresh: bool = True


class TextKind:
    """The kind of models of characters or of words; ``name`` is ``"chars"`` or ``"words"``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.flags: CommonOptions = TextFlags(name)
        self.words = WORDS if name == "words" else CHARS

    def load_config(self, where: Path) -> TextConfig:
        """Read the configuration of a run on text. Raises RunError."""
        from ...text.run_folder import load_config

        return load_config(where)

    def read(self, arguments: argparse.Namespace) -> TextMaterial:
        """Read a text and choose its reading. Raises TextError, and InputError for a file that cannot be read."""
        from ...text._reading.columns import describe_columns
        from ...text._reading.scripts import is_unparted
        from ...text.options import make_options
        from ...text.reading import TextFormat, guess

        if self.name == "words" and not arguments.paths:
            raise UsageError("FILE is missing: no embedded text has sentences")
        lower = bool(getattr(arguments, "lower", False))
        text = _read(arguments, [f"corpus:{self.words.embedded}"], TextFormat(arguments.encoding, arguments.column, lower))
        if self.name == "words" and is_unparted(text.head):
            raise InputError(
                "this text has no spaces between its words, as in Chinese, Japanese, Thai and Burmese: train characters "
                "with fastrnn train chars, or put spaces between the words first"
            )
        wanted, why = self.flags.given(arguments), None
        if "reading" not in wanted:
            by_column = "lines", "each line is a row of columns"
            wanted["reading"], why = guess(text.head) if arguments.column is None else by_column
        if "vectors" in wanted:
            wanted |= _vector_options(arguments, wanted)
        options = make_options(kind=self.name, **wanted)
        columns = describe_columns(text.head) if options.column is None else None
        return TextMaterial(text, options, text.sources, text.sha256, why, columns)

    def reread(self, arguments: argparse.Namespace, out: Path, config: TextConfig, options: TrainOptions) -> TextMaterial:
        """Read the text of a run again. Raises InputError if it has changed, and as :meth:`read` does."""
        text = _read(arguments, config.sources, options.text_format)
        if text.sha256 != config.sha256:
            raise InputError(f"the text has changed since the run in {out} was started: {', '.join(text.sources)}")
        return TextMaterial(text, options, text.sources, text.sha256, fresh=False)

    def prepare(self, material: TextMaterial, out: Path, overwrite: bool, ranks: Communicator) -> Prepared:
        """Make the trainer, with a progress bar for a long text. The run folder gets the hashes of the training lines."""
        from ...text.run_folder import save_lines
        from ...text.training import READ_TIMES, make_trainer, sample_writer
        from ...training._run.folder import LINES, SAMPLES

        text, options = material.content, material.options
        times = READ_TIMES[self.name, options.reading]
        unit = "characters" if times == 1 else f"characters in {times} passes"
        with reading_progress("reading", times * text.length, unit) as bar:
            whole = text.reporting(bar.advance)
            trainer, model, data = make_trainer(whole, options, out, overwrite=overwrite, communicator=ranks)
        vectors = getattr(options, "vectors", None)
        if vectors is not None and material.fresh:
            self._start_from(Path(vectors), model)
        sampler, items = sample_writer(model, out / SAMPLES, options.seed), data.train_items
        files = {} if items is None else {LINES: lambda path: save_lines(path, items)}
        return Prepared(trainer, data, model.model.recurrent, sampler, files)

    def _start_from(self, path: Path, model: LanguageModel) -> None:
        """Copy the vectors of the vocabulary's words into the embedding, and print how many were found."""
        from ...text.word_vectors import read_vectors

        words, embedding = model.vocabulary.tokens[1:-1], model.model.embedding  # without <EOS> and <UNK>
        assert embedding is not None
        with reading_progress("reading vectors", path.stat().st_size, "bytes") as bar:
            found = read_vectors(path, words, progress=bar.show)
        found.assign(embedding.weight, model.vocabulary.id)
        print(f"vectors:  {path}: {found.summary(len(words))}")

    def introduction(self, material: TextMaterial, data: Data) -> Iterator[str]:
        """Return lines on the text, its reading, its split, and the losses of counting models."""
        from ...training._run.plots import SCALES

        token, options = data.vocabulary.unit, material.options
        guessed = f" (guessed: {material.guessed}; --reading changes it)" if material.guessed else ""
        unit = "lines" if options.reading == "lines" else f"{token}s"
        unknown = f"; {data.unknown:.1%} of the words held out are <UNK>" if token == "word" else ""
        counted = ", ".join(f"{name} {SCALES[token].text(loss)}" for name, loss in data.baselines.items())
        size = f"{material.content.length:,} characters, {len(data.vocabulary):,} in the vocabulary"
        train, held = data.sizes
        if material.columns:
            yield f"columns:  {material.columns}"
        yield f"text:     {shortened(material.sources)}: {size}"
        yield f"reading:  {options.reading}{guessed}"
        yield f"split:    {train:,} {unit} to train on, {held:,} held out; batches of {data.batches.batch}{unknown}"
        yield f"to beat:  {counted} per {token}, held out"


def _vector_options(arguments: argparse.Namespace, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the absolute path of ``--vectors``, and their width as the embedding. Raises UsageError, InputError."""
    from ...text.word_vectors import vector_width

    path = Path(wanted["vectors"]).absolute()
    with reading(arguments):
        width = vector_width(path)
    if wanted.get("embedding", width) != width:
        raise UsageError(f"--embedding must be {width}, the width of the vectors in {path}, got {wanted['embedding']}")
    return {"vectors": str(path), "embedding": width}


def _read(arguments: argparse.Namespace, otherwise: Sequence[str], taken: TextFormat) -> Text:
    """Read the text of the given paths, or of ``otherwise`` if there are none. Raises TextError and InputError."""
    from ...text.reading import find, reread

    with reading(arguments):
        return find(arguments.paths, taken) if arguments.paths else reread(otherwise, taken)
