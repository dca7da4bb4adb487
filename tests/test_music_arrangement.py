"""How a solo is played: its tempo, swing, accents and instrument."""

from types import SimpleNamespace

import pytest
from command_line import ALONE, execute, output_of
from tables import each_row

from fastrnn.commands._screen import music_output
from fastrnn.music import corpus
from fastrnn.music._midi.songs import Song
from fastrnn.music._theory.instruments import INSTRUMENTS
from fastrnn.music.changes import parse_changes
from fastrnn.music.generation import Form, Solo
from fastrnn.music.midi import read_midi
from fastrnn.music.piece import Note, Part, Piece
from fastrnn.music.vocabulary import PartVocabulary


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


def test_a_notice_says_that_a_flute_plays_no_chords(rags, jazz_run, tmp_path, capsys):
    said = "this model plays several notes at once, which a flute does not"
    for folder, named, told in (
        (rags, ["--instrument", "flute"], True), (rags, ["--instrument", "guitar"], False), (rags, [], False),
        (jazz_run, ["--instrument", "flute"], False),
    ):  # fmt: skip
        command = ["improvise", folder, "--changes", "C", "--metre", "2/4", "--seed", 0, "--out", tmp_path / "x.mid"]
        assert output_of(capsys, *command, "--overwrite", *named).err.splitlines().count(said) == told


def test_the_embedded_choruses_are_for_the_instrument_that_they_name():
    programs = {tune.piece.parts[0].program for tune in corpus.tunes()}
    assert programs == {INSTRUMENTS["trumpet"].program}
