"""``fastrnn sample``: sample text or music from a trained model."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import note
from ..music._model.options import TOP_P
from ._screen.checkpoint_notice import note_checkpoint
from ._screen.music_output import add_choice_options, add_music_options, choice_of, settle_seed
from ._screen.sampling_progress import sampling_progress
from ._train.compiling import prepare_kernels
from .arguments import add_machine_options, apply_machine_options, integer
from .errors import UsageError
from .music_files import check_outputs

if TYPE_CHECKING:
    from ..text.language_model import Sample
    from ..trained_run import TrainedRun

DESCRIPTION = """\
Sample from the best model of a run. Text goes to standard output; notes on it, such as how many of the samples are new,
go to standard error. A jazz run plays one piece over the chords of a song that it was trained on, and writes it to --out;
fastrnn improvise plays over other chords.
"""
# Options for text alone or for music alone, each with the alternative for the other kind.
TEXT_ONLY = {
    "prefix": "for a jazz run, fastrnn improvise --primer begins with given notes",
    "number": "a jazz run plays one piece, and another one with another --seed",
    "length": "for a jazz run, fastrnn improvise --choruses sets the length",
    "sentences": "",
    "no_unk": "",
}
MUSIC_ONLY = {
    **dict.fromkeys(("wav", "sound_font", "roll", "tempo", "swing", "instrument", "comping", "bass", "drums"), ""),
    **dict.fromkeys(("out", "overwrite"), "text goes to standard output, and > FILE writes it to a file"),
}

LINES_NUMBER = 10


def add_to(subparsers: Any) -> None:
    """Add the command to the parser."""
    from ..text.language_model import LINES_LENGTH, STREAM_LENGTH

    parser = subparsers.add_parser("sample", help="sample text or music from a trained model", description=DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--prefix", default="", metavar="TEXT", help="text that each sample begins with")
    parser.add_argument(
        "--number",
        type=integer(1),
        metavar="N",
        help=f"number of samples (default: {LINES_NUMBER} lines or sentences, 1 stream)",
    )
    parser.add_argument(
        "--length",
        type=integer(1),
        metavar="N",
        help=f"maximum of characters or words after the prefix (default: {LINES_LENGTH} in lines and sentences, in a stream "
        f"{STREAM_LENGTH['character']} characters or {STREAM_LENGTH['word']} words)",
    )
    parser.add_argument("--sentences", action="store_true", help="for a stream of words: end each sample with a sentence")
    parser.add_argument("--no-unk", action="store_true", help="for words: reject <UNK>; characters always reject it")
    add_choice_options(parser, f"1, all, for text; {TOP_P:g} for music")
    add_music_options(parser)
    add_machine_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print samples or write music, and return 0."""
    from ..trained_run import load_run
    from ..training._run.folder import kind_of

    apply_machine_options(arguments)
    if kind_of(arguments.folder) == "jazz":
        _refuse(arguments, TEXT_ONLY, "text")
        return _play(arguments)
    _refuse(arguments, MUSIC_ONLY, "a jazz run")
    trained = load_run(arguments.folder)
    choice = choice_of(arguments, top_p=1.0)
    note_checkpoint(arguments.folder)
    options = {"prefix": arguments.prefix, "no_unk": arguments.no_unk, "seed": arguments.seed, **asdict(choice)}
    lines = trained.options.reading == "lines"
    if arguments.sentences and (lines or trained.kind != "words"):
        raise UsageError("--sentences is for a model of a stream of words")
    if lines and "\n" in arguments.prefix:
        raise UsageError("--prefix must be without line breaks: this model's texts are single lines")
    prepare_kernels()
    if lines or arguments.sentences:
        _print_lines(trained, arguments, options)
    else:
        _print_stream(trained, arguments, options)
    return 0


def _refuse(arguments: argparse.Namespace, options: Mapping[str, str], what: str) -> None:
    """Raise UsageError for an option that is for ``what``, with the alternative for this run."""
    for name, instead in options.items():
        if getattr(arguments, name) not in (None, False, ""):
            raise UsageError(f"--{name.replace('_', '-')} is for {what}{f': {instead}' if instead else ''}")


def _play(arguments: argparse.Namespace) -> int:
    """Play a piece over the chords of one of the songs trained on."""
    from ..music._model.trained import song_to_play_over
    from ..music.run_folder import load_player
    from .improvise import play, settled

    check_outputs(arguments)
    player = load_player(arguments.folder)
    note_checkpoint(arguments.folder)
    settle_seed(arguments)
    song, form = song_to_play_over(player, arguments.seed)
    how = settled(form, player, arguments)
    note(f"over the chords of {song.title!r}")
    return play(player, form, f"Over the chords of {song.title}", arguments, how, whole=False)


def _print_lines(trained: TrainedRun, arguments: argparse.Namespace, options: dict[str, Any]) -> None:
    from ..text.language_model import LINES_LENGTH

    number = arguments.number or LINES_NUMBER
    with sampling_progress(number, "samples") as progress:
        samples = trained.sample(
            number, length=arguments.length, sentences=arguments.sentences, progress=progress, **options
        )
    for sample in samples:
        print(sample.text)
    if not arguments.sentences:
        _note_new(samples, arguments.folder)
    cut = sum(not sample.ended for sample in samples)
    if cut:
        note(f"{cut} of {number} had not ended after {arguments.length or LINES_LENGTH} {trained.vocabulary.unit}s")


def _note_new(samples: list[Sample], folder: Path) -> None:
    from ..text._training.novelty import known_lines
    from ..text.run_folder import load_lines

    known = load_lines(folder)
    if known is None:
        note("how many are new is not known: the run folder lacks the hashes of the training lines")
    else:
        new = sum(not copied for copied in known_lines([sample.text for sample in samples if sample.text], known))
        note(f"{new} of {len(samples)} are new: not among the {len(known):,} distinct lines trained on")


def _print_stream(trained: TrainedRun, arguments: argparse.Namespace, options: dict[str, Any]) -> None:
    from ..text.language_model import STREAM_LENGTH

    number, length = arguments.number or 1, arguments.length
    if number == 1:
        whole = length or STREAM_LENGTH[trained.vocabulary.unit]
        with sampling_progress(whole, f"{trained.vocabulary.unit}s") as progress:
            texts = [_print_as_it_comes(trained.stream(length, **options), arguments.prefix, progress)]
    else:
        with sampling_progress(number, "samples") as progress:
            texts = [sample.text for sample in trained.sample(number, length=length, progress=progress, **options)]
        print("\n\n".join(texts))
    note(_copied(texts, arguments.prefix, trained))


def _print_as_it_comes(pieces: Iterator[str], prefix: str, progress: Callable[[float], None]) -> str:
    """Print the prefix and the pieces, and return the whole text. ``progress`` is called if the output is redirected."""
    from ..text.language_model import CHUNK

    whole: list[str] = []
    visible = sys.stdout is not None and sys.stdout.isatty()
    for piece in itertools.chain([prefix], pieces):
        print(piece, end="", flush=True)
        if not visible:
            progress(len(whole) * CHUNK)
        whole.append(piece)
    print()
    return "".join(whole)


def _copied(texts: list[str], prefix: str, trained: TrainedRun) -> str:
    """Return a line on how much of sampled streams was copied from the training text, if that still exists."""
    from ..text._reading.encoding import words_of
    from ..text._training.novelty import NGRAM, copied_share
    from ..text.reading import CORPUS, TextError, reread
    from ..text.run_folder import load_config
    from ..text.training import held_out
    from ..text.word_vocabulary import WordVocabulary

    vocabulary, config = trained.vocabulary, load_config(trained.folder)
    unit, n = vocabulary.unit, NGRAM[vocabulary.unit]
    grams = f"{n}-grams of words" if unit == "word" else f"{n}-grams"
    unknown = f"how many of its {grams} are copied is not known: "
    gone = unknown + "the text trained on is not there any more"
    if not all(source.startswith(CORPUS) or Path(source).is_file() for source in config.sources):
        return gone  # reading a pipe or a terminal, such as /dev/stdin, may wait for ever
    try:
        training = reread(config.sources, config.options.text_format)
    except (OSError, TextError):
        return gone
    if training.sha256 != config.sha256:
        return unknown + "the text trained on has changed"
    learned = words_of(training, vocabulary) if isinstance(vocabulary, WordVocabulary) else None
    total = training.length if learned is None else len(learned)
    end = total - held_out(total, config.options.val_fraction, f"{unit}s")
    if learned is None:
        share = copied_share(texts, training.until(end), n, len(prefix))
    else:
        ids = [vocabulary.encode(text) for text in texts]
        share = copied_share(ids, learned[:end], n, len(vocabulary.encode(prefix)))
    if share is None:
        return unknown + f"it is shorter than {n} {unit}s"
    return f"{share:.1%} of its {grams} occur in the text trained on"
