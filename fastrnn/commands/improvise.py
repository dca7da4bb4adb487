"""``fastrnn improvise``: play a solo over chord changes with a trained jazz model."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import note, quantity
from ._screen.checkpoint_notice import note_checkpoint
from ._screen.music_output import (
    Manner,
    add_choice_options,
    add_music_options,
    arranged,
    check_pages,
    check_sound,
    choice_of,
    instrument_for,
    print_statistics,
    settle_seed,
    swing_of,
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

MOST_BARS = 2048  # of all choruses together: an hour of 4/4 at 136 quarters a minute
LONG_TITLE = 40  # characters

DESCRIPTION = """\
Improvise over chord changes with the best model of a jazz run, and write a MIDI file: the solo, chords on a piano
and a walking bass. Notes are sampled under the grammar of the representation, so every sample can be played.
"""
EPILOG = """\
Changes are bars of chords, such as "Dm7 | G7 | Cmaj7 | %". A bar may have several chords, % repeats the last bar, and
|: :| repeat the bars between them. Changes may also be the name of a progression:
{names}.
In a minor key, such as --key Dm, blues and ii-V-I mean minor-blues and minor-ii-V-i. For bars of chords the key is a
bare note: --key D moves them from C to D.

examples:
  fastrnn improvise runs/jazz --changes "Dm7 | G7 | Cmaj7 | Cmaj7" --choruses 4 --out solo.mid
  fastrnn improvise runs/jazz --changes blues --key Bb --tempo 160 --wav solo.wav --roll solo.png --out solo.mid
  fastrnn improvise runs/jazz --changes blues --primer lick.mid --seed 1 --out solo.mid
  fastrnn improvise runs/rags --changes "C | G7 | G7 | C" --metre 2/4 --choruses 4 --out rag.mid
"""


def add_to(subparsers: Any) -> None:
    """Add the command to the parser."""
    from ..music.changes import progressions

    parser = subparsers.add_parser(
        "improvise",
        help="improvise over chord changes with a jazz model",
        description=DESCRIPTION,
        epilog=EPILOG.format(names=textwrap.fill(", ".join(progressions()), 100)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--changes", required=True, metavar="CHORDS", help="a line of chords, or a progression's name")
    parser.add_argument(
        "--choruses",
        type=integer(1, 64),
        default=2,
        metavar="N",
        help=f"number of choruses (default: 2), in {MOST_BARS:,} bars at most",
    )
    parser.add_argument("--key", help="move the changes from C to this key (default: as they are written)")
    parser.add_argument("--metre", type=metre, metavar="N/D", help="metre of the bars (default: the metre of most songs)")
    parser.add_argument(
        "--primer", type=Path, metavar="FILE.mid", help="a phrase to continue: its first bar is the form's first bar"
    )
    parser.add_argument(
        "--primer-part",
        metavar="PART",
        help="the primer's part to play, by name or number from 0 (default: as in training, or a guess)",
    )
    parser.add_argument(
        "--ending",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="add a closing bar, in which the solo ends on a chord tone (default: yes)",
    )
    add_choice_options(parser)
    add_music_options(parser)
    add_machine_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Improvise, write the files and return 0."""
    from ..music.changes import changes_of
    from ..music.generation import Form
    from ..music.piece import commonest_metre
    from ..music.run_folder import load_player

    apply_machine_options(arguments)
    check_outputs(arguments)
    if arguments.primer_part is not None and arguments.primer is None:
        raise UsageError("--primer-part is for --primer")
    player = load_player(arguments.folder)
    note_checkpoint(arguments.folder)
    pieces = [song.frame for song in player.songs.train]
    metre = arguments.metre or commonest_metre(pieces)
    changes = changes_of(arguments.changes, arguments.key, metre)
    choruses = Form.of(_choruses(changes, arguments.choruses))
    form = choruses.with_closing_bar() if arguments.ending else choruses
    how = settled(form, player, arguments, len(changes.bars))
    primer = None if arguments.primer is None else _primer(arguments.primer, arguments.primer_part, choruses, player)
    if metre not in {other[1:] for piece in pieces for other in piece.metres}:
        note(f"no song trained on is in {metre[0]}/{metre[1]}: the model knows no such bars")
    settle_seed(arguments)
    return play(player, form, _title(arguments.changes, arguments.key, changes), arguments, how, primer=primer)


def settled(form: Form, player: Player, arguments: argparse.Namespace, chorus: int | None = None) -> Manner:
    """Return the manner of playing that the options ask for.

    ``chorus`` is the number of bars in a chorus, None for a form played once. Raises UsageError for options that do not fit
    the form or the player, FileExistsError for a page of the roll that exists already.
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
    """Sample a solo over the form, write the files, print the statistics and return 0.

    ``how`` comes from :func:`settled`. ``whole`` plays to the end of the form.
    """
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
        note(f"the first {which} the primer's, and not in the statistics")
    print_statistics(solo, form, player)
    return 0


def _title(given: str, key: str | None, changes: Changes) -> str:
    """Return the title of a roll: the progression's name and key, or the chords as they are played if they are few."""
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
    """Return the changes repeated ``number`` times. Raises UsageError for more than :data:`MOST_BARS` bars."""
    bars = number * len(changes.bars)
    if bars > MOST_BARS:
        form = quantity(len(changes.bars), "bar")
        raise UsageError(f"--choruses {number} of {form} are {bars:,} bars: at most {MOST_BARS:,} are played")
    return changes.choruses(number)


def _primer(path: Path, named: str | None, form: Form, player: Player) -> Part:
    """Return the part of a file, moved so that its first bar is the form's. Raises MidiError and InputError."""
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
        bars = quantity(len(bar_lines(form.metres, part.end)), "bar")
        raise InputError(f"{path}: --primer has {bars} and the form {form.bars}: nothing is left to improvise")
    theirs, ours = [metre for metre in piece.metres if metre[0] <= line][-1], form.metres[0]
    if theirs[1:] != ours[1:]:
        note(f"{path} is in {theirs[1]}/{theirs[2]} and the form in {ours[1]}/{ours[2]}: their bars are not the same")
    return part


def _voice(piece: Piece, named: str | None, player: Player) -> Part:
    """Return the part of a piece that begins the solo.

    That is the named part, else the part with the run's name for the melody, else a guess. A polyphonic model takes all
    parts unless one is named. Raises ValueError if the piece lacks the named part.
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
    except ValueError:  # no part has that name
        return skyline(melody_of(piece))
