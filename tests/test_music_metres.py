"""Metres of solos and forms: those of the songs, and others on request."""

from dataclasses import replace

from command_line import error_of, output_of
from tables import each_row

from fastrnn.music.changes import parse_changes
from fastrnn.music.chords import parse_chord
from fastrnn.music.generation import Form
from fastrnn.music.midi import read_midi
from fastrnn.music.piece import Piece


def test_the_metre_is_that_of_most_songs(rags, tmp_path, capsys):
    out = tmp_path / "rag.mid"
    command = ["improvise", rags, "--changes", "C F | G7 | C", "--choruses", 2, "--seed", 1, "--out", out]
    said = output_of(capsys, *command, "--comping", "--bass", "--roll", tmp_path / "rag.png")
    piece = read_midi(out, drums=True)
    assert [metre[1:] for metre in piece.metres] == [(2, 4)]
    assert piece.length == (2 * 3 + 1) * 24  # with a closing bar
    assert [tick for tick, _ in piece.chords] == [0, 12, 24, 48, 84, 96, 120]  # the last bar's C chord goes on in the first
    assert [note.onset for note in piece.part("bass").notes] == list(range(0, 156, 12))  # one in the closing bar
    assert {part.name for part in piece.parts} <= {"right hand", "left hand", "comping", "bass"}
    assert piece.part("comping").notes
    assert "no song" not in said.err


def test_a_metre_can_be_asked_for(jazz_run, tmp_path, capsys):
    out = tmp_path / "waltz.mid"
    command = ["improvise", jazz_run, "--choruses", 1, "--seed", 1, "--overwrite", "--out", out]
    said = output_of(capsys, *command, "--changes", "blues", "--metre", "6/8")
    piece = read_midi(out)
    assert [metre[1:] for metre in piece.metres] == [(6, 8)]
    assert piece.length == 13 * 36  # with a closing bar
    assert (3 * 36 + 18, "C7") in [(tick, chord.symbol) for tick, chord in piece.chords]
    # Its eighths are straight, because the file's ticks would not restore the place of a swung one.
    assert {note.onset % 18 for note in piece.part("bass").notes} == {0}
    assert {note.onset % 6 for note in piece.part("comping").notes} == {0}
    assert "no song trained on is in 6/8: the model knows no such bars" in said.err
    assert "no song" not in output_of(capsys, *command, "--changes", "C", "--metre", "4/4").err


@each_row("metre", ["4", "0/4", "3/5", "33/4", "3/4/4", "-3/4", "x"])
def test_invalid_metres(metre, jazz_run, tmp_path, capsys):
    command = ["improvise", jazz_run, "--changes", "C", f"--metre={metre}", "--out", tmp_path / "x.mid"]
    assert error_of(capsys, *command) == (
        "argument --metre: must be a metre such as 3/4 or 6/8, of 1 to 32 halves (2), quarters (4), eighths (8) or "
        f"sixteenths (16), got {metre!r}"
    )


def test_swing_is_for_beats_of_a_quarter(jazz_run, tmp_path, capsys):
    command = ["improvise", jazz_run, "--changes", "C", "--metre", "6/8", "--out", tmp_path / "x.mid", "--swing"]
    assert (
        error_of(capsys, *command, 0.6)
        .splitlines()[-1]
        .endswith("--swing is for beats of a quarter, and those of 6/8 are not")
    )
    assert not (tmp_path / "x.mid").exists()
    assert "wrote" in output_of(capsys, *command, 0.5).err


def test_forms():
    form = Form.of(Piece(metres=((0, 3, 4),), chords=((0, parse_chord("C")), (36, parse_chord("G7"))), length=50))
    assert (form.length, form.bars) == (72, 2)  # whole bars
    assert form.until(0) == form.until(36) == replace(form, length=36, chords=form.chords[:1])
    assert form.until(37) == form.until(99) == form
    assert Form.of(parse_changes("C | F")).bars == 2
    changing = Form((), 96, ((0, 4, 4), (48, 3, 4), (84, 2, 4)))
    assert changing.until(40) == Form((), 48, ((0, 4, 4),))  # a metre that begins at the end is dropped
    assert changing.until(49) == Form((), 84, ((0, 4, 4), (48, 3, 4)))
    late = Piece(metres=((0, 4, 4), (48, 3, 4)), chords=((0, parse_chord("C")), (48, parse_chord("G7"))), length=40)
    assert Form.of(late) == Form(late.chords[:1], 48, ((0, 4, 4),))
