"""The output of a solo: MIDI file, sound, piano roll, and its statistics next to those of the training set."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...console import note, quantity
from ...music._model.options import TOP_P
from ..arguments import integer, real, seed
from ..errors import UsageError
from ..outputs import add_overwrite_option, check_free

if TYPE_CHECKING:
    from ...music._theory.instruments import Instrument
    from ...music.generation import Form, Solo
    from ...music.piece import Piece
    from ...music.run_folder import Player
    from ...sampling import Choice

SLOWEST, FASTEST = 20, 400  # quarters a minute
FRESH_SEEDS = 10_000_000  # seven digits are quick to type again


@dataclass(frozen=True, slots=True)
class Manner:
    """The manner of playing a form: instrument, swing, and the number of bars in a chorus (None without choruses)."""

    instrument: Instrument
    swing: float
    chorus: int | None = None


def add_music_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the files to write and for the manner of playing."""
    from ...music._theory.instruments import INSTRUMENTS
    from ...music.piece import HARDEST, STRAIGHT

    group = parser.add_argument_group("music")
    group.add_argument("--out", type=Path, metavar="FILE.mid", help="the MIDI file to write")
    group.add_argument("--wav", type=Path, metavar="FILE.wav", help="also write sound, of at most twenty minutes")
    group.add_argument("--sound-font", type=Path, metavar="FILE.sf2", help="sound font for --wav; needs FluidSynth")
    group.add_argument(
        "--roll",
        type=Path,
        metavar="FILE.png",
        help="also write a piano roll with coloured chord tones; its second page is FILE-2.png",
    )
    add_overwrite_option(group)
    group.add_argument(
        "--tempo", type=real(SLOWEST, FASTEST), metavar="BPM", help="quarters per minute (default: the tempo of most songs)"
    )
    group.add_argument(
        "--swing",
        type=real(STRAIGHT, HARDEST),
        metavar="S",
        help="share of a beat that the first of two eighths takes: 0.5 is straight, 0.67 triplets (default: the songs' "
        "swing; metres such as 6/8 are straight)",
    )
    group.add_argument(
        "--instrument",
        choices=tuple(INSTRUMENTS),
        metavar="NAME",
        help=f"instrument, whose range the solo keeps to: {', '.join(INSTRUMENTS)} (default: that of the songs)",
    )
    for name, what in (("comping", "chords on a piano"), ("bass", "a walking bass"), ("drums", "a ride cymbal")):
        default = "" if name == "drums" else " (default: yes, except for a solo piano)"
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=f"add {what}{default}")


def add_choice_options(parser: argparse.ArgumentParser, top_p: str = f"{TOP_P:g}") -> None:
    """Add the options for choosing a token. ``top_p`` is that option's default in the help."""
    parser.add_argument(
        "--temperature", type=real(0), default=1.0, metavar="T", help="above 1 is bolder, below 1 tamer (default: 1)"
    )
    parser.add_argument(
        "--top-k", type=integer(0), default=0, metavar="K", help="choose among the K most likely tokens (default: 0, all)"
    )
    parser.add_argument(
        "--top-p",
        type=real(0, 1, above=True),
        metavar="P",
        help=f"choose among the most likely tokens that make up P of the probability (default: {top_p})",
    )
    parser.add_argument("--greedy", action="store_true", help="always choose the most likely token")
    parser.add_argument("--seed", type=seed, metavar="N", help="seed of the random numbers (default: a fresh one)")


def choice_of(arguments: argparse.Namespace, top_p: float = TOP_P) -> Choice:
    """Return the choice of tokens that the options ask for. ``top_p`` is the default of ``--top-p``."""
    from ...sampling import Choice

    given = top_p if arguments.top_p is None else arguments.top_p
    return Choice(arguments.temperature, arguments.top_k, given, arguments.greedy)


def settle_seed(arguments: argparse.Namespace) -> None:
    """Draw a fresh seed if none was given. All randomness follows from the seed."""
    import numpy as np

    if arguments.seed is None:
        arguments.seed = int(np.random.default_rng().integers(FRESH_SEEDS))  # by NumPy, whose fresh seeds tests can replace


def instrument_for(player: Player, name: str | None) -> Instrument:
    """Return the instrument of a solo, as :func:`fastrnn.music._model.trained.instrument_for`. Raises UsageError."""
    from ...music._model import trained

    try:
        return trained.instrument_for(player, name)
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def tempo_of(player: Player, arguments: argparse.Namespace) -> float:
    """Return the tempo in quarters per minute: the given one, or the usual tempo of the songs."""
    from ...music._model.trained import usual_tempo

    tempo: float = arguments.tempo or usual_tempo(player)
    return min(FASTEST, max(SLOWEST, tempo))


def swing_of(form: Form, player: Player, arguments: argparse.Namespace) -> float:
    """Return the given swing, or that of one of the songs.

    Raises UsageError for a swing in metres whose beats are not quarters.
    """
    from ...music._model.trained import usual_swing
    from ...music.piece import STRAIGHT, TICKS, beat_length

    others = [f"{above}/{below}" for _, above, below in form.metres if beat_length(above, below) != TICKS]
    if others and arguments.swing not in (None, STRAIGHT):
        raise UsageError(f"--swing is for beats of a quarter, and those of {others[0]} are not")
    return float(arguments.swing or usual_swing(player, form))


def check_sound(form: Form, player: Player, arguments: argparse.Namespace) -> None:
    """Raise UsageError if the sound would be too long."""
    from ...music._output.synthesis import LONGEST, length_of
    from ...music.piece import Piece

    minutes = length_of(Piece(tempos=((0, tempo_of(player, arguments)),), length=form.length)) / 60
    if arguments.wav and minutes > LONGEST / 60:
        raise UsageError(f"--wav is for {LONGEST / 60:g} minutes at most, and this would be {minutes:.1f}")


def check_pages(form: Form, chorus: int | None, arguments: argparse.Namespace) -> None:
    """Raise FileExistsError for a page of the roll that exists already, unless ``--overwrite`` was given."""
    from ...music._output.roll_pages import page_paths, pages
    from ...music.piece import Piece

    if arguments.roll is not None:
        number = len(pages(Piece(metres=form.metres, length=form.length), chorus=chorus))
        check_free(page_paths(arguments.roll, number), arguments.overwrite)


def arranged(player: Player, solo: Solo, form: Form, how: Manner, arguments: argparse.Namespace) -> Piece:
    """Return the solo as a piece with dynamics and a rhythm section; a piano solo has two hands."""
    from ...music._midi.hands import played
    from ...music._model.trained import SOLO
    from ...music._output.accompaniment import accompany, shaped
    from ...music._theory.instruments import KEYBOARDS
    from ...music.piece import Piece

    alone = player.vocabulary.polyphonic
    part = replace(solo.part, name=SOLO, program=how.instrument.program)
    piece = Piece((part,), form.metres, ((0, tempo_of(player, arguments)),), form.chords, form.length, how.swing)
    if not alone:
        piece = replace(piece, parts=(shaped(part, piece.beats()),))
    elif how.instrument.program in KEYBOARDS:
        piece = replace(piece, parts=played(part, piece.beats()))
    comping, bass = (not alone if flag is None else flag for flag in (arguments.comping, arguments.bass))
    drums, seed = bool(arguments.drums), arguments.seed
    return accompany(piece, comping=comping, bass=bass, drums=drums, seed=seed, closing=form.closing)


def write(piece: Piece, title: str, how: Manner, arguments: argparse.Namespace) -> None:
    """Write the files that the options ask for, and print their names. Raises OSError."""
    from ...music._model.trained import SOLO
    from ...music._output.roll import draw_roll
    from ...music._output.solo_statistics import returning_motifs
    from ...music._output.synthesis import write_wav
    from ...music.midi_writing import write_midi

    motifs = returning_motifs(piece) if piece.parts[0].name == SOLO else []  # not of a piano's hands
    writers: list[tuple[Path | None, Any]] = [
        (arguments.out, lambda path: write_midi(path, piece)),
        (arguments.wav, lambda path: write_wav(path, piece, sound_font=arguments.sound_font)),
        (arguments.roll, lambda path: draw_roll(path, piece, melody=0, title=title, chorus=how.chorus, motifs=motifs)),
    ]
    for path, writer in writers:
        if path is not None:
            more = (writer(path) or [])[1:]  # pages
            note(f"wrote {path}" + (f" and {quantity(len(more), 'more page')}, to {more[-1]}" if more else ""))


def print_statistics(solo: Solo, form: Form, player: Player) -> None:
    """Print the statistics of the solo next to those of the training set, and its longest copied run."""
    from ...music._midi.hands import longest_match_of_hands
    from ...music._model.trained import SOLO
    from ...music._output.statistics import longest_match, melody_statistics
    from ...music.piece import commonest_metre

    piece = improvised(solo, form)
    part, others = piece.parts[0], [song.part for song in player.songs.train]
    if not part.notes:
        print("no notes: the solo is all rests")
        return
    chords = player.vocabulary.polyphonic
    own = melody_statistics([piece]).lines(chords=chords)
    theirs = melody_statistics([song.piece for song in player.songs.train]).lines(chords=chords)
    width = max(len(line) for line in own)
    print(f"{'':31}{SOLO:{width - 31}}  trained on")
    for mine, other in zip(own, theirs, strict=True):
        print(f"{mine:{width}}  {other[31:]}")
    metre, hand = commonest_metre([piece]), ""
    if chords:
        match, hand = longest_match_of_hands(part, others, metre=metre)
    else:
        match = longest_match(part, others, metre=metre)
    which = f" of the {hand}" if hand else ""
    source = "" if match.source < 0 else f", of {player.songs.train[match.source].title!r}"
    print(f"{'longest copied run':31}{match.bars:.2f} bars ({quantity(match.notes, 'note')}{which}, in any key{source})")


def improvised(solo: Solo, form: Form) -> Piece:
    """Return the solo's own notes over the form, from the bar in which the primer ends."""
    from ...music._midi.songs import Song, cut
    from ...music.piece import Piece, position_in_bar

    given, own = solo.part.notes[: solo.primed], solo.part.notes[solo.primed :]
    piece = Piece((replace(solo.part, notes=own),), form.metres, chords=form.chords, length=form.length)
    begun = min([max((note.end for note in given), default=0), *(note.onset for note in own[:1])])
    return cut(Song("", piece), begun - int(position_in_bar(form.metres, begun)), form.length).piece
