"""Songs from files: duplicates are dropped, changes are laid out over the file's bars, swing is stored."""

import json
import shutil

import pytest
from tables import each_row

from fastrnn.music._midi import songs
from fastrnn.music.changes import progression
from fastrnn.music.chords import ChordError
from fastrnn.music.midi import MidiError
from fastrnn.music.midi_folder import read_collection
from fastrnn.music.midi_writing import write_midi
from fastrnn.music.piece import Note, Part, Piece


def eighths(start=60, count=24, **options):
    """Return a line of eighths."""
    return Piece((Part("lead", 66, notes=tuple(Note(6 * i, 6, start + i % 5) for i in range(count))),), **options)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for i, name in enumerate("ab"):
        write_midi(folder / f"{name}.mid", eighths(60 + i))
    return folder


def titles(*paths):
    """Read files; return the titles of the songs, and the reported lines."""
    lines = []
    return [song.title for song in songs.read(paths, report=lines.append).songs], lines


def test_a_file_is_read_once_by_whatever_path(folder, tmp_path):
    (tmp_path / "link.mid").symlink_to(folder / "b.mid")
    assert titles(folder / "a.mid", folder) == (["a", "b"], [])
    assert titles(folder, folder / "a.mid", folder, folder / ".." / "files" / "b.mid") == (["a", "b"], [])
    assert titles(tmp_path / "link.mid", folder) == (["link", "a"], [])
    (folder / "b.mid").unlink()
    assert titles(folder / "a.mid", folder) == (["a"], [])  # a folder without new files is no error


def test_a_bad_file_is_reported_once_and_is_an_error_if_it_is_named(folder):
    bad = folder / "bad.mid"
    bad.write_bytes(b"no")
    fault = f"{bad} is not a MIDI file: it does not begin with MThd"
    assert titles(folder, folder) == (["a", "b"], [f"skipped: {fault}"])
    with pytest.raises(MidiError, match="it does not begin with MThd"):
        read_collection([folder, bad])


def test_names_of_files_are_shown_in_one_line(folder):
    bad = folder / "a\n\x1b[31m.mid"
    bad.write_bytes(b"hello")
    shutil.copy(folder / "b.mid", folder / "z\r.mid")
    fault = f"{folder}/a\\n\\x1b[31m.mid is not a MIDI file: it does not begin with MThd"
    copy = f"{folder}/z\\r.mid is the same music as {folder}/b.mid"
    assert titles(folder) == (["a", "b"], [f"skipped: {fault}", f"skipped: {copy}"])
    with pytest.raises(MidiError) as caught:
        titles(bad)
    assert str(caught.value) == fault


def test_a_copy_is_the_same_music(folder):
    copy = folder / "copy.mid"
    shutil.copy(folder / "a.mid", copy)
    line = f"skipped: {copy} is the same music as {folder / 'a.mid'}"
    assert titles(folder) == (["a", "b"], [line])
    assert titles(folder / "b.mid", folder / "a.mid", copy) == (["b", "a"], [line])  # also if it is named
    write_midi(copy, eighths(60, 24, tempos=((0, 90.0),)))  # played slower
    assert titles(folder) == (["a", "b"], [line])
    write_midi(copy, eighths(60, 23))
    assert titles(folder) == (["a", "b", "copy"], [])


@each_row(
    ("metres", "count", "expected"),
    [
        (((0, 4, 4),), 24, [(0, "C"), (48, "F"), (72, "G"), (96, "C")]),
        (((0, 3, 4),), 24, [(0, "C"), (36, "F"), (60, "G"), (72, "C"), (108, "F"), (132, "G")]),
        (((0, 5, 8),), 15, [(0, "C"), (30, "F"), (48, "G"), (60, "C")]),  # three eighths and two
        (((0, 6, 8),), 12, [(0, "C"), (36, "F"), (54, "G")]),
        (((0, 2, 4),), 12, [(0, "C"), (24, "F"), (36, "G"), (48, "C")]),
        (((0, 3, 4), (72, 4, 4)), 20, [(0, "C"), (36, "F"), (60, "G"), (72, "C")]),
        (((0, 1, 4), (12, 3, 4)), 14, [(0, "C"), (48, "F"), (72, "G")]),  # a pickup has the first chord
        (((0, 4, 4), (12, 3, 4)), 14, [(0, "C"), (48, "F"), (72, "G")]),
        (((0, 1, 8), (6, 3, 4)), 13, [(0, "C"), (42, "F"), (66, "G")]),  # although its metre could not hold two chords
        (((0, 4, 4), (72, 3, 4)), 16, [(0, "C"), (48, "F"), (72, "C")]),  # the second bar is cut short before G
        (((0, 3, 4), (36, 2, 4)), 14, [(0, "C"), (36, "F"), (48, "G"), (60, "C")]),  # a longer first bar is no pickup
        (((0, 3, 4),), 8, [(0, "C"), (36, "F")]),  # the piece ends before G
    ],
)
def test_changes_are_laid_out_in_the_bars_of_the_file(tmp_path, metres, count, expected):
    write_midi(tmp_path / "a.mid", eighths(count=count, metres=metres))
    (song,) = songs.read([tmp_path / "a.mid"], changes="C | F G").songs
    assert [(tick, chord.symbol) for tick, chord in song.piece.chords] == expected


def test_changes_may_be_a_progression_by_its_name(tmp_path):
    write_midi(tmp_path / "a.mid", eighths(count=12 * 6, metres=((0, 3, 4),)))
    (song,) = songs.read([tmp_path / "a.mid"], changes="blues").songs
    assert song.piece.chords == progression("blues", "C", (3, 4)).chords
    assert (3 * 36 + 24, "C7") in [(tick, chord.symbol) for tick, chord in song.piece.chords]  # Gm7 has two beats


def test_changes_that_a_file_cannot_hold(folder):
    short = folder / "short.mid"
    write_midi(short, eighths(count=8, metres=((0, 1, 8),)))
    fault = f"{short}: a bar of 1/8 cannot hold 2 chords"
    lines = []
    library = songs.read([folder], changes="C | F G", report=lines.append)
    assert ([song.title for song in library.songs], lines) == (["a", "b"], [f"skipped: {fault}"])
    assert library.skipped == ((short, fault),)
    with pytest.raises(MidiError) as caught:
        songs.read([short], changes="C | F G")
    assert str(caught.value) == fault
    with pytest.raises(ChordError, match="expected a chord"):
        songs.read([folder / "gone.mid"], changes="C | H")  # before any file is read


def test_swing_is_the_songs(tmp_path):
    write_midi(tmp_path / "a.mid", eighths(), swing=0.62)
    (song,) = songs.read([tmp_path / "a.mid"]).songs
    assert song.swing == pytest.approx(0.62, abs=0.002)
    assert song.part.notes == eighths().parts[0].notes
    assert songs.Song.from_json(json.loads(json.dumps(song.to_json()))).swing == song.swing
    assert songs.cut(song, 48, 96).swing == song.swing
    with pytest.raises(ValueError, match="swing must lie in"):
        songs.Song.from_json({**song.to_json(), "swing": 0.9})
