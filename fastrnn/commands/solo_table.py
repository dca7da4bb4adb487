"""``python -m fastrnn.commands.solo_table RUN``: compare the statistics of a jazz run's solos with its songs'."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..console import say
from .arguments import add_machine_options, apply_machine_options, integer, real
from .errors import explain
from .guard import guarded

if TYPE_CHECKING:
    from ..music.piece import Part, Piece
    from ..music.run_folder import Player

# The changes, the key and the number of choruses of each row of solos.
ROWS = (("blues", "F", 4), ("ii-V-I", "Eb", 8), ("minor-blues", "A", 4), ("rhythm-changes", "Bb", 2))
HEAD = (
    "", "phrase, quarters", "rests", "entropy of durations, bits", "phrases heard again", "chord tones on strong beats",
    "chord tone on a beat at the end", "closed", "longest copied run, bars",
)  # fmt: skip
HEAD_OF_HANDS = (
    "", "notes a bar", "bars heard again", "chord tones on strong beats", "chords of a hand wider than a tenth",
    "longest copied run of a hand, bars",
)  # fmt: skip


def command() -> int:
    """Run the command under the guard of all commands and return the exit status."""
    return guarded(main)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table. Exits with status 2 and one line if the run cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m fastrnn.commands.solo_table", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--solos", type=integer(1), default=24, metavar="N", help="solos of each row (default: 24)")
    parser.add_argument("--temperature", type=real(0), default=1.0, metavar="T", help="default: 1")
    parser.add_argument("--top-p", type=real(0, 1, above=True), metavar="P", help="default: that of fastrnn improvise")
    parser.add_argument(
        "--ending", action=argparse.BooleanOptionalAction, default=True, help="add a closing bar (default: yes)"
    )
    add_machine_options(parser)
    arguments = parser.parse_args(argv)
    apply_machine_options(arguments)
    from ..music.run_folder import load_player
    from ..training._run.folder import RunError

    try:
        player = load_player(arguments.folder)
    except RunError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: error: {explain(error)}\n")
    say("| " + " | ".join(HEAD_OF_HANDS if player.vocabulary.polyphonic else HEAD) + " |")
    if player.vocabulary.polyphonic:
        _hands(player, arguments)
    else:
        _lines(player, arguments)


def _lines(player: Player, arguments: argparse.Namespace) -> None:
    """Print the table of a model of single lines."""
    say("|".join(["", " --- ", *[" --: "] * (len(HEAD) - 1), ""]))
    for name, split in (("the songs trained on", player.songs.train), ("the songs held out", player.songs.held_out)):
        _say_row(name, [song.piece for song in split])
    everything: list[Piece] = []
    for name, pieces in _solos(player, arguments):
        everything += pieces
        _say_row(name, pieces, player)
    _say_row("all solos", everything, player)


def _say_row(name: str, pieces: Sequence[Piece], player: Player | None = None) -> None:
    """Print the row of pieces; with a player, also the longest run that one of them copies from its songs."""
    from ..music._output.solo_statistics import solo_statistics
    from ..music._output.statistics import longest_match

    found = solo_statistics(pieces)
    copied = ""
    if player is not None:
        songs = [song.part for song in player.songs.train]
        copied = f"{max(longest_match(piece.parts[0], songs).bars for piece in pieces):.2f}"
    shares = (found.repeated, found.strong, found.last_chord_tone, found.closed)
    cells = (
        name,
        f"{found.phrase:.1f}",
        f"{found.rests:.0%}",
        f"{found.entropy:.2f}",
        *(f"{s:.0%}" for s in shares),
        copied,
    )
    say("| " + " | ".join(cells) + " |")


def _solos(player: Player, arguments: argparse.Namespace) -> Iterator[tuple[str, list[Piece]]]:
    """Yield the name and the solos of each of :data:`ROWS`, with the seeds 0, 1, ..."""
    from ..music._model.options import TOP_P
    from ..music._model.trained import instrument_for, play_over
    from ..music.changes import changes_of
    from ..music.generation import Form
    from ..music.piece import Piece
    from ..sampling import Choice

    choice, who = Choice(arguments.temperature, top_p=arguments.top_p or TOP_P), instrument_for(player, None)
    for changes, key, choruses in ROWS:
        form = Form.of(changes_of(changes, key).choruses(choruses))
        form = form.with_closing_bar() if arguments.ending else form
        pieces = []
        for seed in range(arguments.solos):
            solo, _ = play_over(player, form, who, choice=choice, seed=seed)
            part = replace(solo.part, program=who.program)
            pieces.append(Piece((part,), form.metres, chords=form.chords, length=form.length))
        yield f"{changes} in {key}, {choruses} chorus{'' if choruses == 1 else 'es'}", pieces


def _hands(player: Player, arguments: argparse.Namespace) -> None:
    """Print the table of a model of a piano's two hands: pieces over the chords of songs trained on."""
    from ..music._midi.hands import hands, longest_match_of_hands, played
    from ..music._model.options import TOP_P
    from ..music._model.trained import instrument_for, play_over, song_to_play_over
    from ..music.piece import Piece, commonest_metre
    from ..sampling import Choice

    say("|".join(["", " --- ", *[" --: "] * (len(HEAD_OF_HANDS) - 1), ""]))
    for name, split in (("the songs trained on", player.songs.train), ("the songs held out", player.songs.held_out)):
        pieces = [song.piece for song in split]
        _say_hands(name, pieces, [hands(piece.parts[0]) for piece in pieces])
    choice, who = Choice(arguments.temperature, top_p=arguments.top_p or TOP_P), instrument_for(player, None)
    solos = []
    for seed in range(arguments.solos):
        solo, over = play_over(player, song_to_play_over(player, seed)[1], who, choice=choice, seed=seed, to_the_end=False)
        solos.append(Piece((solo.part,), over.metres, chords=over.chords, length=over.length))
    songs = [song.part for song in player.songs.train]
    copied = max(longest_match_of_hands(each.parts[0], songs, metre=commonest_metre([each]))[0].bars for each in solos)
    _say_hands("solos", solos, [played(piece.parts[0], piece.beats()) for piece in solos], f"{copied:.2f}")


def _say_hands(name: str, pieces: Sequence[Piece], both: Sequence[tuple[Part, Part]], copied: str = "") -> None:
    """Print the row of pieces with their hands."""
    from ..music._midi.hands import chords_of, is_wide
    from ..music._output.statistics import melody_statistics

    found = melody_statistics(pieces)
    chords = [chord for hand in chain.from_iterable(both) for chord in chords_of(hand)]
    wide = sum(map(is_wide, chords)) / max(1, len(chords))
    cells = (name, f"{found.notes / found.bars:.1f}", f"{found.repeated_bars:.0%}", f"{found.chord_tones_strong:.0%}")
    say("| " + " | ".join((*cells, f"{wide:.1%}", copied)) + " |")


if __name__ == "__main__":
    raise SystemExit(command())
