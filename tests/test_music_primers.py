"""Primers, which a solo continues: their place, their part, their metre, and statistics without them."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import smf
from command_line import ALONE, II_V_I, error_of, output_of, train_jazz
from part_files import part_file

from fastrnn.commands._screen import music_output
from fastrnn.music import generation
from fastrnn.music._midi import songs
from fastrnn.music.changes import parse_changes
from fastrnn.music.generation import Form, Solo
from fastrnn.music.jazz_model import jazz_model
from fastrnn.music.midi import read_midi
from fastrnn.music.midi_writing import write_midi
from fastrnn.music.piece import Note, Part, Piece, transposed
from fastrnn.music.vocabulary import PartVocabulary

pytestmark = pytest.mark.usefixtures("quick_pictures")


def _scales(high, low, count):
    """Yield two parts with these names: one starts at C5 and is taken for the melody, the other starts at C4."""
    for name, at in ((high, 72), (low, 60)):
        yield Part(name, 56, notes=tuple(Note(6 * i, 6, at + i % 9) for i in range(count)))


def _solo(tmp_path, capsys, jazz_run, primer, *arguments):
    """Return the solo over one chorus of ii-V-I, and the printed output."""
    out = tmp_path / "solo.mid"
    command = ["improvise", jazz_run, "--changes", II_V_I, "--choruses", 1, "--primer", primer, "--swing", 0.5]
    said = output_of(capsys, *command, *ALONE, "--seed", 2, "--overwrite", "--out", out, *arguments)
    return read_midi(out, fewest=1).parts[0], said


def test_a_primer_begins_in_the_first_bar_and_keeps_its_place_in_it(jazz_run, tmp_path, capsys):
    lick = [Note(2 * 48 + 36 + 6 * i, 6, 60 + i) for i in range(4)]  # a quarter of pickup after two bars of rest
    solo, said = _solo(tmp_path, capsys, jazz_run, part_file(tmp_path, *lick))
    assert [(note.onset, note.pitch) for note in solo.notes[:4]] == [(36 + 6 * i, 60 + i) for i in range(4)]
    assert "the first 4 notes are the primer's" in said.err


def test_repairs_of_a_primer_are_printed(jazz_run, tmp_path, capsys):
    lick = tmp_path / "odd.mid"
    events = [event for i in range(4) for event in ((0, smf.on(60 + i)), (240, smf.off(60 + i)))]
    for odd, line in (
        ((), ""),
        (((0, b"\xc0\xff"), (0, b"\xc0\xff")), f"{lick}: repaired: 2 program changes out of range skipped\n"),
    ):
        lick.write_bytes(smf.midi(smf.track(*odd, *events)))
        solo, said = _solo(tmp_path, capsys, jazz_run, lick)
        assert [(note.onset, note.pitch) for note in solo.notes[:4]] == [(6 * i, 60 + i) for i in range(4)]
        assert said.err.count("repaired: ") == bool(line)
        assert line in said.err


def test_a_notice_says_that_a_primer_has_another_metre(jazz_run, tmp_path, capsys):
    waltz = part_file(tmp_path, *(Note(36 + 6 * i, 6, 60 + i) for i in range(4)), metres=((0, 3, 4),))
    solo, said = _solo(tmp_path, capsys, jazz_run, waltz)
    assert solo.notes[0].onset == 0  # it stood on a bar line
    assert f"{waltz} is in 3/4 and the form in 4/4: their bars are not the same" in said.err
    assert "their bars" not in _solo(tmp_path, capsys, jazz_run, part_file(tmp_path, Note(0, 6, 60), Note(6, 6, 62)))[1].err


def test_a_primer_leaves_something_to_improvise(jazz_run, tmp_path, capsys):
    full = part_file(tmp_path, Note(0, 6, 60), Note(6, 4 * 48 - 6, 62))
    command = ["improvise", jazz_run, "--changes", II_V_I, "--choruses", 1, "--primer", full, "--out", tmp_path / "x.mid"]
    assert error_of(capsys, *command) == f"{full}: --primer has 4 bars and the form 4: nothing is left to improvise"
    form, primer, vocabulary = Form.of(parse_changes("C")), Part(notes=(Note(0, 48, 60),)), PartVocabulary(60, 61)
    with pytest.raises(ValueError, match="primer must be shorter than the form, of 1 bar, got one of 1"):
        generation.improvise(jazz_model(vocabulary, hidden=4, layers=1, rng=0), vocabulary, form, primer=primer)


def test_the_primers_part_can_be_named(jazz_run, tmp_path, capsys):
    high, low = _scales("a", "b", 6)
    path = tmp_path / "two.mid"
    write_midi(path, Piece((high, low)))
    first = {named: _solo(tmp_path, capsys, jazz_run, path, *named)[0].notes[0].pitch
             for named in ((), ("--primer-part", "b"), ("--primer-part", "1"), ("--primer-part", "a"))}  # fmt: skip
    assert list(first.values()) == [72, 60, 60, 72]
    command = ["improvise", jazz_run, "--changes", II_V_I, "--out", tmp_path / "x.mid"]
    for part, shown in (("c", "'c'"), ("2", "2")):
        fault = f"{path}: --primer-part must be one of the parts 0 'a', 1 'b', got {shown}"
        assert error_of(capsys, *command, "--primer", path, "--primer-part", part) == fault
    assert error_of(capsys, *command, "--primer-part", "2") == "--primer-part is for --primer"


def test_the_melody_that_was_learned_is_the_primers_too(tmp_path, capsys):
    files = tmp_path / "files"
    files.mkdir()
    high, low = _scales("high", "horn", 40)
    for i in range(3):
        write_midi(files / f"{i}.mid", Piece((transposed(high, i), transposed(low, i))))
    learned = train_jazz(tmp_path / "run", files, "--melody", "horn")
    lick, other = (replace(part, notes=part.notes[:6]) for part in (low, high))
    write_midi(tmp_path / "two.mid", Piece((other, lick)))
    assert _solo(tmp_path, capsys, learned, tmp_path / "two.mid")[0].notes[0].pitch == 60
    write_midi(tmp_path / "one.mid", Piece((replace(lick, name="no such name"),)))
    assert _solo(tmp_path, capsys, learned, tmp_path / "one.mid")[0].notes[0].pitch == 60


def test_both_hands_of_a_primer(rags, tmp_path, capsys):
    hands = Piece((Part("r", 0, notes=(Note(30, 6, 76), Note(36, 6, 79))), Part("l", 0, notes=(Note(24, 12, 45),))))
    write_midi(tmp_path / "two.mid", replace(hands, metres=((0, 2, 4),)))
    out = tmp_path / "solo.mid"
    command = ["improvise", rags, "--changes", "C | F", "--primer", tmp_path / "two.mid", "--seed", 0, "--out", out]
    command += ["--overwrite"]
    assert "the first 3 notes are the primer's" in output_of(capsys, *command).err
    begun = sorted((note.onset, note.pitch) for part in read_midi(out).parts for note in part.notes)
    assert {(0, 45), (6, 76), (12, 79)} <= set(begun)
    said = output_of(capsys, *command, "--primer-part", "l").err
    assert "the first note is the primer's, and not in the statistics" in said


def test_the_primers_notes_are_not_counted():
    given = [Note(6 * i, 6, 60 + i) for i in range(10)]  # to tick 60, in the second bar
    own = [Note(66, 6, 70), Note(96, 12, 72)]
    form = Form.of(parse_changes("C | F | G | C"))
    piece = music_output.improvised(Solo(Part(notes=(*given, *own)), 10, False), form)
    assert [(note.onset, note.pitch) for note in piece.parts[0].notes] == [(18, 70), (48, 72)]
    assert (piece.length, [(tick, chord.symbol) for tick, chord in piece.chords]) == (144, [(0, "F"), (48, "G"), (96, "C")])
    whole = music_output.improvised(Solo(Part(notes=tuple(own)), 0, False), form)
    assert (whole.length, whole.parts[0].notes) == (192, tuple(own))


@pytest.mark.parametrize("polyphonic", [False, True])
def test_copied_runs_exclude_the_primer(polyphonic, capsys):
    song = songs.embedded().songs[0]
    form = Form.of(song.piece)
    given = song.part.notes[:12]
    after = given[-1].end
    own = (Note(after + 1, 5, 71), Note(after + 11, 7, 64))
    player = SimpleNamespace(songs=SimpleNamespace(train=(song,)), vocabulary=PartVocabulary(54, 82, polyphonic))
    solo = Part(notes=(*given, *own))
    music_output.print_statistics(Solo(solo, 0, False), form, player)
    assert re.search(r"copied run +[12]\.\d\d bars \(12 notes, in any key, of '" + song.title, capsys.readouterr().out)
    music_output.print_statistics(Solo(solo, 12, False), form, player)
    output = capsys.readouterr().out
    assert re.search(r"copied run +0\.00 bars \(0 notes, in any key\)", output)
    assert re.search(r"notes +2 in \d+ bars", output)
    music_output.print_statistics(Solo(Part(notes=given), 12, False), form, player)
    assert capsys.readouterr().out == "no notes: the solo is all rests\n"
