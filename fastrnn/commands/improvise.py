"""``fastrnn improvise``: a solo over chord changes, from a trained jazz model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import note
from ._screen.checkpoint_notice import tell_checkpoint
from ._screen.music_output import (
    Manner,
    add_choice_options,
    add_music_options,
    arranged,
    check_pages,
    check_sound,
    choice_of,
    instrument_for,
    settle_seed,
    swing_of,
    tell_figures,
    write,
)
from ._screen.sampling_progress import sampling_progress
from ._train.compiling import prepare_kernels
from .arguments import add_machine_options, apply_machine_options, integer, metre
from .errors import InputError, UsageError, explain
from .music_files import check_outputs

if TYPE_CHECKING:
    from ..music.changes import Changes
    from ..music.generation import Form
    from ..music.piece import Part, Piece
    from ..music.run_folder import Player

MOST_BARS = 2048  # of all choruses: an hour at 136 quarters a minute
LONG_TITLE = 40  # characters

DESCRIPTION = """\
Improvise over chord changes with the best model of a jazz run: a MIDI file of the solo, with chords on a piano and a
walking bass. Every note is sampled under the grammar of the representation, so that all that is sampled can be played.
"""
EPILOG = """\
Changes are bars of chords such as "Dm7 | G7 | Cmaj7 | %", where % repeats a bar, several chords share one, and |: :|
repeat what stands between them; or the name of a progression:
{names}.
In a minor key, such as --key Dm, blues and ii-V-I are minor-blues and minor-ii-V-i. Chords that are given take a bare
note: --key D moves them from C to D.

examples:
  fastrnn improvise runs/jazz --changes "Dm7 | G7 | Cmaj7 | Cmaj7" --choruses 4 --out solo.mid
  fastrnn improvise runs/jazz --changes blues --key Bb --tempo 160 --wav solo.wav --roll solo.png --out solo.mid
  fastrnn improvise runs/jazz --changes blues --primer lick.mid --seed 1 --out solo.mid
  fastrnn improvise runs/rags --changes "C | G7 | G7 | C" --metre 2/4 --choruses 4 --out rag.mid
"""


def add_to(subparsers: Any) -> None:
    """Add the command."""
    from ..music.changes import progressions

    parser = subparsers.add_parser(
        "improvise",
        help="a solo over chord changes, from a jazz model",
        description=DESCRIPTION,
        epilog=EPILOG.format(names=", ".join(progressions())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--changes", required=True, metavar="CHORDS", help="a line of chords, or a progression's name")
    parser.add_argument(
        "--choruses",
        type=integer(1, 64),
        default=2,
        metavar="N",
        help=f"how often (default: 2), in {MOST_BARS:,} bars at most",
    )
    parser.add_argument("--key", help="the changes are in C and are moved to this key (default: as they are written)")
    parser.add_argument("--metre", type=metre, metavar="N/D", help="that of the bars (default: that of most songs)")
    parser.add_argument(
        "--primer", type=Path, metavar="FILE.mid", help="a phrase to go on from: its first bar is that of the form"
    )
    parser.add_argument(
        "--primer-part",
        metavar="PART",
        help="the primer's part to take, by name or number from 0 (default: as the run was trained, or a guess)",
    )
    add_choice_options(parser)
    add_music_options(parser)
    add_machine_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Improvise; 0."""
    from ..music.changes import changes_of
    from ..music.generation import Form
    from ..music.piece import commonest_metre
    from ..music.run_folder import load_player

    apply_machine_options(arguments)
    check_outputs(arguments)
    if arguments.primer_part is not None and arguments.primer is None:
        raise UsageError("--primer-part is for --primer")
    player = load_player(arguments.folder)
    tell_checkpoint(arguments.folder)
    pieces = [song.frame for song in player.songs.train]
    metre = arguments.metre or commonest_metre(pieces)
    changes = changes_of(arguments.changes, arguments.key, metre)
    form = Form.of(_choruses(changes, arguments.choruses))
    how = settled(form, player, arguments, len(changes.bars))
    primer = None if arguments.primer is None else _primer(arguments.primer, arguments.primer_part, form, player)
    if metre not in {other[1:] for piece in pieces for other in piece.metres}:
        note(f"no song trained on is in {metre[0]}/{metre[1]}: the model knows no such bars")
    settle_seed(arguments)
    return play(player, form, _title(arguments.changes, arguments.key, changes), arguments, how, primer=primer)


def settled(form: Form, player: Player, arguments: argparse.Namespace, chorus: int | None = None) -> Manner:
    """Return how the form is to be played. ``chorus`` is a chorus's number of bars, None for a form played once.

    Raises UsageError for options that do not go with the form or the player, FileExistsError for a page of the roll that is
    there already.
    """
    how = Manner(instrument_for(player, arguments.instrument), swing_of(form, player, arguments), chorus)
    check_sound(form, player, arguments)
    check_pages(form, chorus, arguments)
    return how


def play(
    player: Player,
    form: Form,
    title: str,
    arguments: argparse.Namespace,
    how: Manner,
    *,
    primer: Part | None = None,
    whole: bool = True,
) -> int:
    """Sample over the form, ``how`` as :func:`settled` says, write what is asked for, print the figures; 0."""
    from ..music._model.trained import play_over
    from ..music._theory.instruments import CHORDAL

    if player.vocabulary.polyphonic and arguments.instrument not in (None, *CHORDAL):
        note(f"this model plays several notes at once, which a {arguments.instrument} does not")
    note(f"seed {arguments.seed}")
    prepare_kernels()
    with sampling_progress(form.bars, "bars") as progress:
        solo, form = play_over(
            player,
            form,
            how.instrument,
            choice=choice_of(arguments),
            seed=arguments.seed,
            primer=primer,
            to_the_end=whole,
            progress=progress,
        )
    write(arranged(player, solo, form, how, arguments), title, how, arguments)
    if solo.primed:
        which = "note is" if solo.primed == 1 else f"{solo.primed} notes are"
        note(f"the first {which} the primer's, and not in the figures")
    tell_figures(solo, form, player)
    return 0


def _title(given: str, key: str | None, changes: Changes) -> str:
    """What stands above a roll of changes: a progression's name with the key, or the chords as they are played, if few."""
    from ..music._output.roll import spelled, spelled_changes
    from ..music.changes import progression_named

    name = progression_named(given)
    if not name:
        played = given if key is None else str(changes)
        if len(played) < LONG_TITLE:
            return spelled_changes(played)
        name = "Solo"
    return name if key is None else f"{name} in {spelled(key)}"


def _choruses(changes: Changes, number: int) -> Changes:
    """The changes, that often. Raises UsageError for more bars than anybody waits for."""
    bars = number * len(changes.bars)
    if bars > MOST_BARS:
        raise UsageError(
            f"--choruses {number} of {len(changes.bars)} bars are {bars:,} bars: at most {MOST_BARS:,} are played"
        )
    return changes.choruses(number)


def _primer(path: Path, named: str | None, form: Form, player: Player) -> Part:
    """What the file has to play, its first bar in the form's first. Raises MidiError and InputError."""
    from dataclasses import replace

    from ..music.midi import read_midi_with_repairs
    from ..music.midi_repairs import repairs_line
    from ..music.piece import bar_lines, position_in_bar

    try:
        piece, repairs = read_midi_with_repairs(path, fewest=1)
    except OSError as error:
        raise InputError(explain(error)) from error
    if repairs:
        note(f"{path}: {repairs_line(repairs)}")
    try:
        part = _voice(piece, named, player)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    first = part.notes[0].onset
    line = first - int(position_in_bar(piece.metres, first))
    part = replace(part, notes=tuple(replace(each, onset=each.onset - line) for each in part.notes))
    low, high = player.vocabulary.low, player.vocabulary.high
    outside = [each.pitch for each in part.notes if not low <= each.pitch <= high]
    if outside:
        raise InputError(f"{path} has the pitch {outside[0]}, and this model's are {low}..{high}")
    if part.end >= form.length:
        bars = len(bar_lines(form.metres, part.end))
        raise InputError(f"{path}: --primer has {bars} bars and the form {form.bars}: nothing is left to improvise")
    theirs, ours = [metre for metre in piece.metres if metre[0] <= line][-1], form.metres[0]
    if theirs[1:] != ours[1:]:
        note(f"{path} is in {theirs[1]}/{theirs[2]} and the form in {ours[1]}/{ours[2]}: their bars are not the same")
    return part


def _voice(piece: Piece, named: str | None, player: Player) -> Part:
    """The part that is named, else the melody by the name that the run has for it, else a guess; or all parts, as learned.

    Raises ValueError for a part that is not there.
    """
    from ..music._midi.roles import melody_of, skyline
    from ..music._midi.songs import part_for_option
    from ..music.piece import merged

    polyphonic, learned = player.vocabulary.polyphonic, player.config.options.melody
    if named is not None:
        part = part_for_option(piece, named, "--primer-part")
        return merged([part]) if polyphonic else skyline(part)
    if polyphonic:
        return merged(piece.parts)
    try:
        return skyline(part_for_option(piece, learned, "--melody") if learned else melody_of(piece))
    except ValueError:  # it has no such part
        return skyline(melody_of(piece))
