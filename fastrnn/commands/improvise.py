"""``fastrnn improvise``: a solo over chord changes, from a trained jazz model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_machine_options, apply_machine_options, integer
from .errors import InputError, explain
from .music_output import (
    add_choice_options,
    add_music_options,
    arranged,
    check_outputs,
    choice_of,
    instrument_for,
    tell_figures,
    write,
)
from .notes import note

if TYPE_CHECKING:
    from ..music.changes import Changes
    from ..music.generation import Form
    from ..music.piece import Part
    from ..music.run_folder import Player

DESCRIPTION = """\
Improvise over chord changes with the best model of a jazz run: a MIDI file of the solo, with chords on a piano and a
walking bass. Every note is sampled under the grammar of the representation, so that all that is sampled can be played.
"""
EPILOG = """\
Changes are bars of chords such as "Dm7 | G7 | Cmaj7 | %", where % repeats a bar, several chords share one, and |: :|
repeat what stands between them; or the name of a progression:
{names}.

examples:
  fastrnn improvise runs/jazz --changes "Dm7 | G7 | Cmaj7 | Cmaj7" --choruses 4 --out solo.mid
  fastrnn improvise runs/jazz --changes blues --key Bb --tempo 160 --wav solo.wav --roll solo.png --out solo.mid
  fastrnn improvise runs/jazz --changes blues --primer lick.mid --seed 1 --out solo.mid
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
    parser.add_argument("--choruses", type=integer(1, 64), default=2, metavar="N", help="how often (default: 2)")
    parser.add_argument("--key", help="the changes are in C and are moved to this key (default: as they are written)")
    parser.add_argument("--primer", type=Path, metavar="FILE.mid", help="a phrase to go on from, at the first bar")
    add_choice_options(parser)
    add_music_options(parser)
    add_machine_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Improvise; 0."""
    from ..music.generation import Form
    from ..music.run_folder import load_player

    apply_machine_options(arguments)
    check_outputs(arguments)
    form = Form.of(_changes(arguments.changes, arguments.key).choruses(arguments.choruses))
    player = load_player(arguments.folder)
    title = (
        f"{arguments.changes if len(arguments.changes) < 40 else 'Solo'}{f' in {arguments.key}' if arguments.key else ''}"
    )
    return play(player, form, title, arguments, primer=_primer(arguments.primer, player))


def play(
    player: Player, form: Form, title: str, arguments: argparse.Namespace, *, primer: Part | None = None, whole: bool = True
) -> int:
    """Sample over the form, write what is asked for, print the figures; 0."""
    from dataclasses import replace

    from ..music.batching import lines
    from ..music.generation import improvise, places_of
    from ..music.piece import bar_lines

    instrument = instrument_for(player, arguments.instrument)
    places = places_of(lines(player.songs.train, player.vocabulary), player.vocabulary)
    options: dict[str, Any] = {"low": instrument.low, "high": instrument.high, "to_the_end": whole, "primer": primer}
    options["places"] = places
    try:
        solo = improvise(player.model, player.vocabulary, form, choice=choice_of(arguments), seed=arguments.seed, **options)
    except ValueError as error:
        raise InputError(str(error)) from error
    if solo.ended:  # the model's own end: up to the bar in which it stopped
        bars = bar_lines(form.metres, form.length + 1)
        later = bars[bars >= max(solo.part.end, 1)]
        length = int(later[0]) if len(later) else form.length
        form = replace(form, length=length, chords=tuple(chord for chord in form.chords if chord[0] < length))
    piece = arranged(player, solo, form, instrument.program, arguments)
    write(piece, player, title, arguments)
    if solo.primed:
        note(f"the first {solo.primed} notes are the primer's")
    tell_figures(solo.part, form, player)
    return 0


def _changes(text: str, key: str | None) -> Changes:
    """The changes of --changes and --key. Raises ChordError."""
    from ..music.changes import flats_in, parse_changes, parse_key, progression, progressions

    if text in progressions():
        return progression(text, key or "C")
    changes = parse_changes(text)
    return changes if key is None else changes.transposed(parse_key(key), flats=flats_in(key))


def _primer(path: Path | None, player: Player) -> Part | None:
    """The melody of a file, or all its parts, as the model has learned them. Raises MidiError and InputError."""
    from ..music.midi import read_midi
    from ..music.piece import merged
    from ..music.roles import melody_of, skyline

    if path is None:
        return None
    try:
        piece = read_midi(path, fewest=1)
    except OSError as error:
        raise InputError(explain(error)) from error
    part = merged(piece.parts) if player.vocabulary.polyphonic else skyline(melody_of(piece))
    low, high = player.vocabulary.low, player.vocabulary.high
    outside = [pitch for pitch in (note.pitch for note in part.notes) if not low <= pitch <= high]
    if outside:
        raise InputError(f"{path} has the pitch {outside[0]}, and this model's are {low}..{high}")
    return part
