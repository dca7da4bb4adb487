"""``fastrnn improvise``: metres, primers, instruments, seeds, statistics of a solo, and mistakes of users."""

import os
import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import smf
from command_line import JAZZ, error_of, execute, output_of
from tables import each_row

from fastrnn.commands._screen import music_output
from fastrnn.music import corpus, generation
from fastrnn.music._midi import songs
from fastrnn.music._midi.songs import Song
from fastrnn.music._theory.instruments import INSTRUMENTS
from fastrnn.music.changes import parse_changes
from fastrnn.music.chords import parse_chord
from fastrnn.music.generation import Form, Solo
from fastrnn.music.jazz_model import jazz_model
from fastrnn.music.midi import read_midi
from fastrnn.music.midi_writing import write_midi
from fastrnn.music.piece import Note, Part, Piece, transposed
from fastrnn.music.vocabulary import PartVocabulary

pytestmark = pytest.mark.usefixtures("quick_pictures")

SMALLEST = PartVocabulary(60, 61)
ALONE = ["--no-comping", "--no-bass"]
II_V_I = "Dm7 | G7 | Cmaj7 | Cmaj7"


def _trained(folder, *arguments):
    execute("train", "jazz", *arguments, *JAZZ, "--max-steps", "2", "--out", folder)
    return folder


@pytest.fixture(scope="module")
def rags(tmp_path_factory):
    """Train on three pieces for piano in 2/4, whose first bar is in 4/4."""
    folder = tmp_path_factory.mktemp("rags")
    above = [Note(6 * i, 6, 72 + step) for i, step in enumerate([0, 4, 7, 12, 11, 7, 5, 2] * 6)]
    below = [Note(12 * i, 12, 40 + step) for i, step in enumerate([0, 12, 7, 12] * 6)]
    for i in range(3):
        hands = (Part(name, 0, notes=tuple(notes)) for name, notes in (("above", above), ("below", below)))
        parts = tuple(transposed(hand, i) for hand in hands)
        write_midi(folder / f"{i}.mid", Piece(parts, metres=((0, 4, 4), (48, 2, 4))))
    return _trained(folder / "run", folder)


def _file(tmp_path, *notes, name="lick", **given):
    """Write a MIDI file with one part and return its path."""
    path = tmp_path / f"{name}.mid"
    write_midi(path, Piece((Part(name, 56, notes=notes),), **given))
    return path


def _scales(high, low, count):
    """Write two parts with these names: one starts at C5 and is taken for the melody, the other starts at C4."""
    for name, at in ((high, 72), (low, 60)):
        yield Part(name, 56, notes=tuple(Note(6 * i, 6, at + i % 9) for i in range(count)))


# metres


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


# primers


def _solo(tmp_path, capsys, jazz_run, primer, *arguments):
    """Return the solo over one chorus of ii-V-I, and the printed output."""
    out = tmp_path / "solo.mid"
    command = ["improvise", jazz_run, "--changes", II_V_I, "--choruses", 1, "--primer", primer, "--swing", 0.5]
    said = output_of(capsys, *command, *ALONE, "--seed", 2, "--overwrite", "--out", out, *arguments)
    return read_midi(out, fewest=1).parts[0], said


def test_a_primer_begins_in_the_first_bar_and_keeps_its_place_in_it(jazz_run, tmp_path, capsys):
    lick = [Note(2 * 48 + 36 + 6 * i, 6, 60 + i) for i in range(4)]  # a quarter of pickup after two bars of rest
    solo, said = _solo(tmp_path, capsys, jazz_run, _file(tmp_path, *lick))
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
    waltz = _file(tmp_path, *(Note(36 + 6 * i, 6, 60 + i) for i in range(4)), metres=((0, 3, 4),))
    solo, said = _solo(tmp_path, capsys, jazz_run, waltz)
    assert solo.notes[0].onset == 0  # it stood on a bar line
    assert f"{waltz} is in 3/4 and the form in 4/4: their bars are not the same" in said.err
    assert "their bars" not in _solo(tmp_path, capsys, jazz_run, _file(tmp_path, Note(0, 6, 60), Note(6, 6, 62)))[1].err


def test_a_primer_leaves_something_to_improvise(jazz_run, tmp_path, capsys):
    full = _file(tmp_path, Note(0, 6, 60), Note(6, 4 * 48 - 6, 62))
    command = ["improvise", jazz_run, "--changes", II_V_I, "--choruses", 1, "--primer", full, "--out", tmp_path / "x.mid"]
    assert error_of(capsys, *command) == f"{full}: --primer has 4 bars and the form 4: nothing is left to improvise"
    form, primer = Form.of(parse_changes("C")), Part(notes=(Note(0, 48, 60),))
    with pytest.raises(ValueError, match="primer must be shorter than the form, of 1 bar, got one of 1"):
        generation.improvise(jazz_model(SMALLEST, hidden=4, layers=1, rng=0), SMALLEST, form, primer=primer)


def test_the_primers_part_can_be_named(jazz_run, tmp_path, capsys):
    high, low = (
        Part(name, 56, notes=tuple(Note(6 * i, 6, at + i) for i in range(6))) for name, at in (("a", 72), ("b", 60))
    )
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
    learned = _trained(tmp_path / "run", files, "--melody", "horn")
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


# tempo, swing and accents


def _learned(polyphonic, *songs):
    """Return a player that has learned songs of these tempos and swings; it has only what an arrangement needs."""
    part = Part(notes=(Note(0, 6, 60),))
    train = [Song("", Piece((part,), tempos=((0, tempo),), swing=swing)) for tempo, swing in songs]
    return SimpleNamespace(songs=SimpleNamespace(train=train), vocabulary=PartVocabulary(36, 84, polyphonic))


def test_tempo_and_swing_are_those_of_a_song():
    """For an even number of songs, the median is one of their tempos, because the mean of the middle two is no song's."""
    form, asked = Form.of(parse_changes("C")), SimpleNamespace(tempo=None, swing=None)
    player = _learned(False, (200, 0.66), (100, 0.5), (90, 0.5), (210, 0.66))
    assert music_output.tempo_of(player, asked) == 100
    assert music_output.swing_of(form, player, asked) == 0.5
    player = _learned(False, (100, 0.5), (200, 0.66), (210, 0.7))
    assert music_output.tempo_of(player, asked) == 200
    assert music_output.swing_of(form, player, asked) == 0.66


@pytest.mark.parametrize(
    ("metres", "length", "beats"),
    [
        (((0, 1, 8), (6, 6, 8)), 78, [0, 6, 24, 42, 60]),  # a pickup of an eighth
        (((0, 4, 4), (48, 6, 8)), 84, [0, 12, 24, 36, 48, 66]),
    ],
)
def test_accents_are_off_the_beats_of_each_bar(metres, length, beats):
    asked = SimpleNamespace(tempo=None, comping=False, bass=False, drums=False, seed=0)
    eighths = range(0, length, 6)

    def velocities(polyphonic, pitch):
        notes = tuple(Note(onset, 6, pitch) for onset in eighths)
        solo = Solo(Part(notes=notes), 0, False)
        how = music_output.Manner(INSTRUMENTS["piano"], 0.5)
        piece = music_output.arranged(_learned(polyphonic, (120, 0.5)), solo, Form((), length, metres), how, asked)
        (part,) = [part for part in piece.parts if part.notes]
        return [note.velocity for note in part.notes]

    line = [76 if onset in beats else 82 for onset in eighths]
    line[-1] += 6  # it ends the phrase
    assert velocities(False, 72) == velocities(True, 72) == line
    assert velocities(True, 40) == [70 if onset in beats else 62 for onset in eighths]


# instruments


def _player(*parts):
    """Return a player that has learned these parts (program, pitches); it can only choose an instrument."""
    made = [Part("", program, notes=tuple(Note(6 * i, 6, p) for i, p in enumerate(pitches))) for program, *pitches in parts]
    return SimpleNamespace(songs=SimpleNamespace(train=[Song("", Piece((part,))) for part in made]))


@each_row(
    ("program", "pitches", "expected"),
    [
        (66, (54, 82), (66, 54, 75)),  # the highest notes of a tenor saxophone
        (66, (40, 60), (66, 44, 60)),
        (56, (54, 82), (56, 54, 82)),
        (66, (80, 90), (66, 80, 90)),  # no note is in its range, so the songs' range is used
        (22, (30, 90), (22, 30, 90)),  # a harmonica has no known range
    ],
)
def test_the_songs_instrument_keeps_to_its_range(program, pitches, expected):
    found = music_output.instrument_for(_player((program, *pitches)), None)
    assert (found.program, found.low, found.high) == expected


def test_the_instrument_is_that_of_most_songs():
    assert music_output.instrument_for(_player((66, 60), (56, 62), (56, 61)), None).program == 56


def test_no_note_leaves_the_songs_instrument(jazz_run, tmp_path):
    command = ["improvise", str(jazz_run), "--changes", "blues", "--temperature", "5", "--seed", "1", *ALONE]
    execute(*command, "--out", tmp_path / "solo.mid")
    (part,) = read_midi(tmp_path / "solo.mid").parts
    (horn,) = [known for known in INSTRUMENTS.values() if known.program == part.program]
    assert len(part.notes) > 20
    assert all(horn.low <= note.pitch <= horn.high for note in part.notes)


# seeds


@pytest.mark.parametrize("command", [["improvise", "RUN", "--changes", II_V_I], ["sample", "RUN"]])
def test_a_drawn_seed_is_printed_and_gives_the_same_again(command, jazz_run, tmp_path, capsys):
    command = [jazz_run if word == "RUN" else word for word in command]
    files = [tmp_path / name for name in ("a.mid", "b.mid", "c.mid")]
    seeds = [
        re.search(r"^seed (\d+)$", output_of(capsys, *command, "--out", path).err, re.MULTILINE)[1] for path in files[:2]
    ]
    assert seeds[0] != seeds[1]
    assert f"seed {seeds[0]}\n" in output_of(capsys, *command, "--seed", seeds[0], "--out", files[2]).err
    assert files[0].read_bytes() == files[2].read_bytes() != files[1].read_bytes()


# statistics


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


def test_copied_bars_are_those_of_the_form(capsys):
    song = songs.embedded().songs[0]
    found = []
    for metre in ((4, 4), (2, 4)):
        piece = replace(song.piece, metres=((0, *metre),))
        player = SimpleNamespace(songs=SimpleNamespace(train=(song,)), vocabulary=PartVocabulary(54, 82))
        music_output.print_statistics(Solo(song.part, 0, False), Form.of(piece), player)
        found.append(float(re.search(r"copied run +([\d.]+) bars", capsys.readouterr().out)[1]))
    assert found[1] == pytest.approx(2 * found[0], abs=0.02)
    assert found[0] > 10


# mistakes of users


def test_errors_of_keys_and_changes(jazz_run, tmp_path, capsys):
    def fault(*arguments):
        return error_of(capsys, "improvise", jazz_run, "--out", tmp_path / "x.mid", "--changes", *arguments).split("\n")[0]

    assert fault("rhythm-changes", "--key", "Dm") == "rhythm-changes is in major: expected a key such as D, and not minor"
    for key in ("H", "C##", "bb", ""):
        expected = f"{key!r} is not a key: expected a note such as C, Bb or F#, and m for a minor key"
        assert fault("blues", "--key", key) == fault("C | F", "--key", key) == expected
    assert fault("") == "there are no chords"
    assert fault(" | ".join(["C"] * 10_000)) == "there are more than 1024 bars, repeats included"
    assert fault("C :|x64 D :|x64 " * 9) == "there are more than 1024 bars, repeats included"


@pytest.mark.parametrize(
    ("changes", "key", "title"),
    [
        pytest.param("Dm7 | G7 | Cmaj7 | Cmaj7", None, "Dm7 | G7 | C∆7 | C∆7", marks=pytest.mark.slow),
        ("Dm7 | G7 | Cmaj7 | Cmaj7", "Eb", "Fm7 | B♭7 | E♭∆7 | %"),
        ("|: F#m7b5 / B7b9/D# :|x2", None, "|: F♯ø7 / B7♭9/D♯ :|x2"),
        ("Blues", None, "blues"),
        ("blues", "F# minor", "blues in F♯ minor"),
        pytest.param("rhythm-changes", "Bb major", "rhythm-changes in B♭ major", marks=pytest.mark.slow),
        pytest.param("BLUES", "Dm", "blues in Dm", marks=pytest.mark.slow),
        ("C | F | " * 10, "Eb", "Solo in E♭"),
        pytest.param("C | F | " * 10, None, "Solo", marks=pytest.mark.slow),
    ],
)
def test_the_title_of_a_roll_is_what_is_played(changes, key, title, jazz_run, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr("fastrnn.music._output.roll.draw_roll", lambda *_, title, **__: titles.append(title))
    command = ["improvise", jazz_run, "--changes", changes, "--choruses", 1, "--out", tmp_path / "x.mid"]
    execute(*command, "--roll", tmp_path / "x.png", *(["--key", key] if key else []))
    assert titles == [title]


def test_a_long_solo_has_a_page_a_chorus(jazz_run, tmp_path, capsys, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")
    command = ["improvise", jazz_run, "--changes", "blues", "--key", "Bb", "--choruses", 3, "--seed", 1]
    command += ["--out", tmp_path / "x.mid", "--roll", tmp_path / "x.png"]
    (tmp_path / "x-3.png").write_text("mine")
    assert error_of(capsys, *command) == f"{tmp_path}/x-3.png: the file exists already; --overwrite replaces it"
    assert [path.name for path in tmp_path.iterdir()] == ["x-3.png"]
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, file, **_: file.write(b"\x89PNG"))
    said = output_of(capsys, *command, "--overwrite").err
    assert f"wrote {tmp_path}/x.png and 2 more pages, to {tmp_path}/x-3.png\n" in said
    assert {path.name for path in tmp_path.iterdir()} == {"x.mid", "x.png", "x-2.png", "x-3.png"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in tmp_path.glob("*.png"))


def test_the_table_of_a_piano_has_no_rows_of_single_lines(rags, jazz_run, tmp_path, capsys):
    def rows(folder):
        table = output_of(capsys, "sample", folder, "--seed", 1, "--out", tmp_path / f"{folder.parent.name}.mid").out
        return [line[:31].strip() for line in table.splitlines()]

    single = rows(jazz_run)
    assert single[1:-1] == [
        "notes", "chord tones on strong beats", "chord tones", "scale tones", "pitch range", "note lengths", "rests",
        "off the beat", "steps", "phrases", "repeated bars", "repeated phrases",
    ]  # fmt: skip
    assert rows(rags) == [row for row in single if row not in ("steps", "phrases", "repeated phrases")]


def test_a_notice_says_that_a_flute_plays_no_chords(rags, jazz_run, tmp_path, capsys):
    said = "this model plays several notes at once, which a flute does not"
    for folder, named, told in (
        (rags, ["--instrument", "flute"], True), (rags, ["--instrument", "guitar"], False), (rags, [], False),
        (jazz_run, ["--instrument", "flute"], False),
    ):  # fmt: skip
        command = ["improvise", folder, "--changes", "C", "--metre", "2/4", "--seed", 0, "--out", tmp_path / "x.mid"]
        assert output_of(capsys, *command, "--overwrite", *named).err.splitlines().count(said) == told


def test_options_are_checked_before_anything_is_printed(rags, tmp_path, capsys):
    lick = _file(tmp_path, Note(0, 6, 76), Note(6, 6, 79))  # in 4/4
    command = ["improvise", rags, "--changes", "C | F", "--metre", "6/8", "--out", tmp_path / "x.mid", "--primer", lick]
    said = output_of(capsys, *command, "--swing", 0.6, status=2).err
    assert said == "fastrnn: error: --swing is for beats of a quarter, and those of 6/8 are not\n"
    said = output_of(capsys, *command).err
    assert f"{lick} is in 4/4 and the form in 6/8" in said
    assert "no song trained on is in 6/8: the model knows no such bars" in said
    command = ["sample", rags, "--seed", 0, "--out", tmp_path / "y.mid", "--instrument", "violin"]
    command += ["--wav", tmp_path / "y.wav", "--tempo", 20]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastrnn.music._output.synthesis.LONGEST", 1.0)
        assert error_of(capsys, *command).startswith("--wav is for 0.0166667 minutes at most, and this would be")


def test_as_many_bars_as_are_played(jazz_run, tmp_path, capsys, monkeypatch):
    command = ["improvise", jazz_run, "--out", tmp_path / "x.mid", "--changes", "|: C | F | G7 | C :|x64", "--choruses"]
    assert error_of(capsys, *command, 9) == "--choruses 9 of 256 bars are 2,304 bars: at most 2,048 are played"
    bars = []

    def stopped(*arguments, **_):
        bars.append(arguments[2].bars)
        raise generation.NonFiniteLogits("stopped")

    monkeypatch.setattr(generation, "improvise", stopped)
    assert "bars" not in output_of(capsys, *command, 8, status=1).err
    assert bars == [2049]  # with a closing bar


def test_a_minor_key_has_its_own_blues(jazz_run, tmp_path):
    for name, changes in (("a", "blues"), ("b", "minor-blues")):
        command = ["improvise", str(jazz_run), "--changes", changes, "--key", "Dm", "--seed", "1"]
        execute(*command, "--out", tmp_path / f"{name}.mid")
    assert read_midi(tmp_path / "a.mid") == read_midi(tmp_path / "b.mid")
    assert read_midi(tmp_path / "a.mid").chords[0][1].symbol == "Dm7"


def test_sound_that_is_too_long_is_refused_before_anything_is_written(jazz_run, tmp_path, capsys):
    command = ["improvise", jazz_run, "--changes", "blues", "--choruses", 26, "--tempo", 60, "--out", tmp_path / "x.mid"]
    assert error_of(capsys, *command, "--wav", tmp_path / "x.wav") == (
        "--wav is for 20 minutes at most, and this would be 20.9"
    )
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_a_sound_font_is_refused_before_anything_is_written(jazz_run, tmp_path, capsys):
    command = [
        "improvise",
        jazz_run,
        "--changes",
        "C",
        "--out",
        tmp_path / "x.mid",
        "--wav",
        tmp_path / "x.wav",
        "--sound-font",
    ]
    assert error_of(capsys, *command, tmp_path / "gone.sf2") == f"{tmp_path}/gone.sf2: No such file or directory"
    (tmp_path / "text.sf2").write_text("no sound font")
    assert error_of(capsys, *command, tmp_path / "text.sf2") == (
        f"{tmp_path}/text.sf2 is not a sound font: it does not begin as an SF2 file does"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["text.sf2"]


def _outputs(folder, capsys, jazz_run, **given):
    """Return the error of each refused output, by its option's name; assert that nothing is sampled."""
    options = {"out": folder / "x.mid", **given}
    arguments = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    return error_of(capsys, "improvise", jazz_run, "--changes", "C", *arguments)


def test_no_output_overwrites_a_file_that_is_needed(jazz_run, tmp_path, capsys):
    lick = _file(tmp_path, Note(0, 6, 60), Note(6, 6, 62))
    (tmp_path / "link.mid").symlink_to(lick)
    (tmp_path / "run").symlink_to(jazz_run)
    before = {path: path.read_bytes() for path in (lick, *jazz_run.iterdir())}

    def fault(**given):
        return _outputs(tmp_path, capsys, jazz_run, **given)

    for out in (lick, tmp_path / "link.mid", tmp_path / ".." / tmp_path.name / "lick.mid"):
        assert fault(primer=lick, out=out) == f"--out {out} is the file of --primer, which it would overwrite"
    for name in ("songs.safetensors", "best.safetensors"):
        assert fault(out=jazz_run / name) == f"--out {jazz_run / name} is a file of the run, which it would overwrite"
    curve = tmp_path / "run" / "loss.png"
    assert fault(roll=curve) == f"--roll {curve} is a file of the run, which it would overwrite"
    same, font = tmp_path / "x.mid", tmp_path / "x.wav"
    assert fault(wav=same) == f"--wav {same} is the file of --out, which it would overwrite"
    assert fault(wav=font, roll=font) == f"--roll {font} is the file of --wav, which it would overwrite"
    assert fault(wav=font, sound_font=font) == f"--wav {font} is the file of --sound-font, which it would overwrite"
    assert {path: path.read_bytes() for path in before} == before
    assert not same.exists()
    out = jazz_run / "solo.mid"  # inside the run folder, but not a file of the run
    output_of(capsys, "improvise", jazz_run, "--changes", "C", "--seed", 0, "--out", out)
    assert out.exists()
    out.unlink()


def test_outputs_have_the_suffix_of_their_format(jazz_run, tmp_path, capsys):
    for option, name, expected in (
        ("out", "solo.wav", ".mid or .midi"), ("wav", "sound", ".wav"), ("roll", "roll.txt", ".png")
    ):  # fmt: skip
        fault = _outputs(tmp_path, capsys, jazz_run, **{option: tmp_path / name})
        assert fault == f"--{option} must end in {expected}, got {tmp_path / name}"
    assert not list(tmp_path.iterdir())
    output_of(capsys, "improvise", jazz_run, "--changes", "C", "--seed", 0, "--out", tmp_path / "SOLO.MIDI")


def test_an_output_that_cannot_be_written_is_refused_before_any_is_written(jazz_run, tmp_path, capsys, monkeypatch):
    (tmp_path / "folder.mid").mkdir()
    os.mkfifo(tmp_path / "pipe.mid")
    os.mkfifo(tmp_path / "pipe.sf2")

    def fault(**given):
        return _outputs(tmp_path, capsys, jazz_run, **given)

    assert fault(out="") == "--out . is a folder: expected a file to write"
    for option in ("out", "wav", "roll"):
        folder = tmp_path / "folder.mid"
        assert fault(**{option: folder}) == f"--{option} {folder} is a folder: expected a file to write"
    assert fault(out=tmp_path / "pipe.mid") == f"--out {tmp_path}/pipe.mid is not a regular file"
    sound = fault(wav=tmp_path / "x.wav", sound_font=tmp_path / "pipe.sf2")
    assert sound == f"{tmp_path}/pipe.sf2 is not a sound font: it is not a regular file"
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda folder, mode: not mode & os.W_OK)
        assert fault() == f"--out {tmp_path}/x.mid: the folder {tmp_path} cannot be written to"
    for module, given, what in (
        ("matplotlib.figure", {"roll": tmp_path / "x.png"}, "x.png: a piano roll needs matplotlib"),
        (
            "fluidsynth",
            {"wav": tmp_path / "x.wav", "sound_font": tmp_path / "x.sf2"},
            "x.sf2: a sound font needs pretty_midi",
        ),
        ("mido", {}, "MIDI files need mido"),
    ):
        (tmp_path / "x.sf2").write_bytes(b"RIFF....sfbk")
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            assert what in fault(**given)
    assert {path.name for path in tmp_path.iterdir()} == {"folder.mid", "pipe.mid", "pipe.sf2", "x.sf2"}


def test_a_model_that_diverged_is_reported(jazz_run, tmp_path, capsys, monkeypatch):
    def astray(*_, **__):
        model = jazz_model(SMALLEST, hidden=4, layers=1, rng=0)
        weight = dict(model.named_parameters())["output.weight"]
        weight.assign(np.full_like(weight.data, np.inf))
        return improvise(model, SMALLEST, Form.of(parse_changes("C")), seed=0)

    improvise = generation.improvise
    monkeypatch.setattr(generation, "improvise", astray)
    said = output_of(capsys, "improvise", jazz_run, "--changes", "C", "--out", tmp_path / "x.mid", status=1).err
    assert said.splitlines()[-1] == "fastrnn: error: nothing can be sampled: a logit is NaN or infinite"


def test_a_bug_in_fastrnn_is_raised_unchanged(jazz_run, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr(generation, "improvise", broken)
    with pytest.raises(ValueError, match="a bug"):
        execute("improvise", jazz_run, "--changes", "C", "--out", tmp_path / "x.mid")
    monkeypatch.undo()
    monkeypatch.setattr("fastrnn.music.midi_writing.write_midi", broken)
    with pytest.raises(ValueError, match="a bug"):
        execute("improvise", jazz_run, "--changes", "C", "--out", tmp_path / "x.mid")


def test_the_embedded_choruses_are_for_the_instrument_that_they_name():
    programs = {tune.piece.parts[0].program for tune in corpus.tunes()}
    assert programs == {INSTRUMENTS["trumpet"].program}
