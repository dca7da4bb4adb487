"""What is heard and seen of a solo: its MIDI file, sound and piano roll, and its figures beside the training set's."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from .arguments import integer, real, seed
from .errors import InputError, UsageError
from .notes import note

if TYPE_CHECKING:
    from ..music.generation import Form, Solo
    from ..music.instruments import Instrument
    from ..music.piece import Part, Piece
    from ..music.run_folder import Player
    from ..text.sampling import Choice

SLOWEST, FASTEST = 20, 400  # quarters a minute
SOLO = "solo"
TOP_P = 0.95  # of music: the last twentieth are the notes that stand out


def add_music_options(parser: argparse.ArgumentParser) -> None:
    """What is written, and how it is played."""
    from ..music.instruments import INSTRUMENTS

    group = parser.add_argument_group("music")
    group.add_argument("--out", type=Path, metavar="FILE.mid", help="the MIDI file to write")
    group.add_argument("--wav", type=Path, metavar="FILE.wav", help="also as sound")
    group.add_argument("--sound-font", type=Path, metavar="FILE.sf2", help="for --wav, where FluidSynth is installed")
    group.add_argument("--roll", type=Path, metavar="FILE.png", help="also as a piano roll: chord tones are coloured")
    group.add_argument(
        "--tempo", type=real(SLOWEST, FASTEST), metavar="BPM", help="quarters a minute (default: that of most songs)"
    )
    group.add_argument(
        "--swing",
        type=real(0.5, 0.75),
        metavar="S",
        help="the share of a beat that the first of two eighths takes: 0.5 straight, 0.67 triplets (default: the songs')",
    )
    group.add_argument(
        "--instrument",
        choices=tuple(INSTRUMENTS),
        metavar="NAME",
        help=f"plays the solo, which keeps to its range: {', '.join(INSTRUMENTS)} (default: the songs', and their range)",
    )
    for name, what in (("comping", "chords on a piano"), ("bass", "a walking bass"), ("drums", "a ride cymbal")):
        default = "" if name == "drums" else " (default: yes, but not beside a piano alone)"
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=f"add {what}{default}")


def add_choice_options(parser: argparse.ArgumentParser, top_p: str = f"{TOP_P:g}") -> None:
    """How a token is chosen; ``top_p`` is what the help says of that option's default."""
    parser.add_argument(
        "--temperature", type=real(0), default=1.0, metavar="T", help="above 1 is bolder, below 1 tamer (default: 1)"
    )
    parser.add_argument(
        "--top-k", type=integer(0), default=0, metavar="K", help="only the K most likely tokens (default: 0, all)"
    )
    parser.add_argument(
        "--top-p",
        type=real(0, 1, above=True),
        metavar="P",
        help=f"only the most likely tokens that make up P of the probability (default: {top_p})",
    )
    parser.add_argument("--greedy", action="store_true", help="always the most likely token")
    parser.add_argument("--seed", type=seed, metavar="N", help="of the random numbers (default: fresh ones)")


def choice_of(arguments: argparse.Namespace, top_p: float = TOP_P) -> Choice:
    """How a token is chosen, from the options above; ``top_p`` where none is given."""
    from ..text.sampling import Choice

    given = top_p if arguments.top_p is None else arguments.top_p
    return Choice(arguments.temperature, arguments.top_k, given, arguments.greedy)


def check_outputs(arguments: argparse.Namespace) -> None:
    """Raise UsageError where no file is asked for, a folder is missing or a sound font has no sound."""
    if arguments.out is None:
        raise UsageError("--out FILE.mid is missing: the MIDI file to write")
    if arguments.sound_font and not arguments.wav:
        raise UsageError("--sound-font is for --wav")
    for path in (arguments.out, arguments.wav, arguments.roll):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder")


def instrument_for(player: Player, name: str | None) -> Instrument:
    """The instrument named, or that of the songs, with the pitches that they have. Raises UsageError."""
    from ..music.batching import range_of
    from ..music.instruments import Instrument, instrument

    low, high = range_of(player.songs.train)
    if name is None:
        return Instrument(player.songs.train[0].part.program, low, high)
    found = instrument(name)
    lowest, highest = player.vocabulary.low, player.vocabulary.high
    if found.high < lowest or found.low > highest:
        raise UsageError(f"--instrument {name} sounds {found.low}..{found.high}, this model's notes are {lowest}..{highest}")
    return found


def arranged(player: Player, solo: Solo, form: Form, program: int, arguments: argparse.Namespace) -> Piece:
    """The solo as a piece, a piano's in two hands, with its dynamics and its rhythm section."""
    from ..music.accompaniment import accompany, shaped
    from ..music.hands import played
    from ..music.instruments import KEYBOARDS
    from ..music.piece import Piece

    alone = player.vocabulary.polyphonic
    part = replace(solo.part, name=SOLO, program=program)
    parts = (shaped(part),) if not alone else played(part) if program in KEYBOARDS else (part,)
    tempo = arguments.tempo or median(song.piece.tempos[0][1] for song in player.songs.train)
    tempo = min(FASTEST, max(SLOWEST, tempo))
    piece = Piece(parts, form.metres, ((0, tempo),), form.chords, form.length)
    comping, bass = (not alone if flag is None else flag for flag in (arguments.comping, arguments.bass))
    return accompany(piece, comping=comping, bass=bass, drums=bool(arguments.drums), seed=arguments.seed or 0)


def write(piece: Piece, player: Player, title: str, arguments: argparse.Namespace) -> None:
    """Write what is asked for, and say so. Raises InputError and OSError."""
    from ..music.midi_writing import write_midi
    from ..music.roll import draw_roll
    from ..music.synthesis import write_wav

    swing = arguments.swing or median(song.swing for song in player.songs.train)
    writers: list[tuple[Path | None, Any]] = [
        (arguments.out, lambda path: write_midi(path, piece, swing=swing)),
        (arguments.wav, lambda path: write_wav(path, piece, swing=swing, sound_font=arguments.sound_font)),
        (arguments.roll, lambda path: draw_roll(path, piece, melody=0, title=title)),
    ]
    for path, writer in writers:
        if path is not None:
            try:
                writer(path)
            except (ImportError, ValueError) as error:
                raise InputError(f"{path}: {error}") from error
            note(f"wrote {path}")


def tell_figures(part: Part, form: Form, player: Player) -> None:
    """Print the figures of a solo over a form beside the training set's, and how much of it was copied."""
    from ..music.figures import figures, longest_match
    from ..music.piece import Piece

    if not part.notes:
        print("no notes: the solo is all rests")
        return
    own = figures([Piece((part,), form.metres, chords=form.chords, length=form.length)]).lines()
    theirs = figures([song.piece for song in player.songs.train]).lines()
    width = max(len(line) for line in own)
    print(f"{'':31}{SOLO:{width - 31}}  trained on")
    for mine, other in zip(own, theirs, strict=True):
        print(f"{mine:{width}}  {other[31:]}")
    match = longest_match(part, [song.part for song in player.songs.train])
    source = "" if match.source < 0 else f", of {player.songs.train[match.source].title!r}"
    print(f"{'longest copied run':31}{match.bars:.2f} bars ({match.notes} notes, in any key{source})")
