"""MIDI: reading files that are made byte by byte, writing, folders, and arbitrary bytes."""

import dataclasses
import errno
import io
import os
import sys

import mido
import numpy as np
import pretty_midi
import pytest
import smf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from smf import END, lyric, marker, metre, midi, name, off, on, program, tempo, text, track
from tables import each_row

from fastrnn.music import midi as reading
from fastrnn.music._midi.grid import RESOLUTION, heard_swing
from fastrnn.music._midi.tracks import MARKED
from fastrnn.music.chords import parse_chord
from fastrnn.music.midi import MidiError, parse_midi, read_midi
from fastrnn.music.midi_folder import read_collection
from fastrnn.music.midi_writing import midi_bytes, write_midi
from fastrnn.music.piece import STRAIGHT, TICKS, Note, Part, Piece, separated


def notes_of(data, part=0, **options):
    """Return (onset, duration, pitch) of a part's notes."""
    notes = parse_midi(data, **options).parts[part].notes
    return [(note.onset, note.duration, note.pitch) for note in notes]


def test_type_0_with_running_status_and_channels_and_programs():
    events = [
        (0, name("Song")),
        (0, program(56, channel=1)),
        (0, on(60, 100)),
        (240, bytes([60, 0])),  # running status; a velocity of 0 releases
        (0, bytes([62, 90])),
        (240, bytes([62, 0])),
        (0, on(72, 70, channel=1)),
        (480, off(72, channel=1)),
        (0, program(57, channel=1)),
        (0, on(74, 70, channel=1)),
        (480, off(74, channel=1)),
    ]
    piece = parse_midi(midi(track(*events), type=0))
    assert [(part.name, part.program) for part in piece.parts] == [
        ("Song, channel 1", 0),
        ("Song, channel 2", 56),
        ("Song, channel 2", 57),
    ]
    assert piece.parts[0].notes == (Note(0, 6, 60, 100), Note(6, 6, 62, 90))
    assert piece.parts[1].notes == (Note(12, 12, 72, 70),)
    assert piece.parts[2].notes == (Note(24, 12, 74, 70),)


def test_type_1_with_changes_on_any_track():
    conductor = track((0, name("t")), (0, metre(3, 2)), (0, tempo(100)), (1440, metre(6, 3)))
    sax = track(
        (0, name("Sax")), (0, on(70)), (480, off(70)), (0, tempo(200)), (0, metre(3, 2)), (480, on(72)), (480, off(72))
    )
    piece = parse_midi(midi(conductor, sax, track((960, on(50)), (480, off(50)))))
    assert [part.name for part in piece.parts] == ["Sax", ""]
    assert piece.metres == ((0, 3, 4), (36, 6, 8))  # the 3/4 at tick 12 is no change
    assert piece.tempos == ((0, 100.0), (12, 200.0))
    assert notes_of(midi(conductor, sax)) == [(0, 12, 70), (24, 12, 72)]  # times are in beats, so a tempo does not move them
    assert piece.length == 36
    assert piece.bars().tolist() == [0]


@each_row(
    ("events", "expected"),
    [
        # If a key is struck while it sounds, the first release ends the first note, which is cut where the second one
        # begins.
        ([(0, on(60)), (240, on(60)), (240, off(60)), (240, off(60))], [(0, 6, 60), (6, 12, 60)]),
        ([(0, on(60)), (0, off(60)), (480, on(62)), (0, off(62))], [(0, 1, 60), (12, 1, 62)]),  # without length: a tick
        ([(0, on(60)), (480, on(62)), (480, END)], [(0, 24, 60), (12, 12, 62)]),  # never released
        (
            [(0, off(61)), (0, on(60)), (480, off(60)), (0, off(60)), (0, on(62)), (480, off(62))],
            [(0, 12, 60), (12, 12, 62)],
        ),
        ([(0, on(60)), (0, on(62)), (480, bytes([0xB0, 123, 0])), (480, END)], [(0, 12, 60), (0, 12, 62)]),  # all notes off
        # Onset and end are rounded separately, to 40 ticks, halves up. So notes that touch in the file still touch.
        ([(19, on(60)), (40, off(60)), (0, on(62)), (41, off(62))], [(0, 1, 60), (1, 2, 62)]),
        ([(20, on(60)), (200, off(60)), (0, on(62)), (480, off(62))], [(1, 5, 60), (6, 12, 62)]),
        # Two notes of a pitch that are rounded to one tick become one, with the longer duration and the higher velocity.
        ([(0, on(60)), (5, off(60)), (5, on(60)), (110, off(60)), (0, on(62)), (40, off(62))], [(0, 3, 60), (3, 1, 62)]),
    ],
)
def test_notes_that_overlap_have_no_length_or_fall_between_the_lines(events, expected):
    assert notes_of(midi(track(*events))) == expected


def test_drums_are_left_out_unless_asked_for():
    data = midi(
        track((0, on(36, channel=9)), (480, off(36, channel=9)), (0, on(60)), (9, off(60)), (0, on(62)), (9, off(62)))
    )
    assert [part.is_drum for part in parse_midi(data).parts] == [False]
    assert [part.is_drum for part in parse_midi(data, drums=True).parts] == [True, False]


def test_every_resolution_has_the_same_beats():
    for per_quarter in (1, 24, 96, 384, 480, 10080, 32767):
        q = per_quarter
        events = [(0, on(60)), (q, off(60)), (q, on(62)), (2 * q, off(62))]
        assert notes_of(midi(track(*events), per_quarter=q)) == [(0, 12, 60), (24, 24, 62)]


TUNE = track((0, on(60)), (1920, off(60)), (0, on(62)), (480, off(62)))


def chords_of(*words):
    """Return the chords of a file with one word in each half bar."""
    return [(tick, chord.symbol) for tick, chord in parse_midi(midi(track(*((960, word) for word in words)), TUNE)).chords]


@pytest.mark.parametrize("kind", [marker, text, lyric])
def test_words_are_chords_where_most_of_them_are(kind):
    assert chords_of(*map(kind, ("Dm7", "G7", "Cmaj7"))) == [(24, "Dm7"), (48, "G7"), (72, "Cmaj7")]
    assert chords_of(*map(kind, ("C", "F", "G", "C"))) == [(24, "C"), (48, "F"), (72, "G"), (96, "C")]
    assert chords_of(*map(kind, ("Intro", "Dm7", "G7"))) == [(48, "Dm7"), (72, "G7")]
    assert chords_of(*map(kind, ("A", "G"))) == [(24, "A"), (48, "G")]
    assert chords_of(*map(kind, ("B", "A"))) == [(24, "B"), (48, "A")]
    assert chords_of(*map(kind, ("", "Am", " "))) == [(48, "Am")]
    for none in (("Verse", "G"), ("I", "love", "A", "G")):
        assert chords_of(*map(kind, none)) == []
    for sections in (("A",), ("A", "A", "B", "A"), ("Intro", "A", "B", "A"), ("A", "B", "C", "B", "D")):
        assert chords_of(*map(kind, sections)) == []


@each_row("symbols", [("A",), ("A", "B"), ("A", "B", "C"), ("A", "A", "B", "A")])
def test_our_own_letters_are_chords(symbols):
    chords = tuple((24 * i, parse_chord(symbol)) for i, symbol in enumerate(symbols))
    piece = Piece((Part(notes=(Note(0, 96, 60),)),), chords=chords)
    assert parse_midi(midi_bytes(piece), fewest=1).chords == chords
    assert chords_of(text(MARKED), *map(lyric, symbols)) == []  # the text is about markers, so lyrics remain section names
    assert MARKED.encode() not in midi_bytes(dataclasses.replace(piece, chords=()))


def test_chords_are_read_from_the_first_kind_of_words_that_has_any():
    words = (lyric("Am"), marker("Dm7"), text("C"), lyric("Dm"))
    assert chords_of(*words) == [(48, "Dm7")]
    assert chords_of(marker("A"), marker("B"), text("Dm7"), lyric("C")) == [(72, "Dm7")]
    assert chords_of(marker("Verse"), text("by me"), lyric("C"), lyric("G")) == [(72, "C"), (96, "G")]


def test_the_last_of_several_chords_at_one_tick_is_used():
    data = midi(track((0, marker("A")), (0, marker("Dm7")), (960, marker("G7"))), track((1, marker("Am"))), TUNE)
    assert [(tick, chord.symbol) for tick, chord in parse_midi(data).chords] == [(0, "Am"), (24, "G7")]


def programs_of(*tracks):
    """Return the program of each note, by its pitch."""
    return {note.pitch: part.program for part in parse_midi(midi(*tracks), fewest=0).parts for note in part.notes}


def test_programs_that_another_track_sets():
    setup = track((0, program(56, channel=1)), (0, program(33, channel=2)), (960, program(57, channel=1)))
    sax = track((0, on(70, channel=1)), (960, off(70, channel=1)), (0, on(72, channel=1)), (480, off(72, channel=1)))
    bass = track((0, on(40, channel=2)), (480, off(40, channel=2)), (0, on(90, channel=3)), (480, off(90, channel=3)))
    expected = {70: 56, 72: 57, 40: 33, 90: 0}
    assert programs_of(setup, sax, bass) == expected
    assert programs_of(sax, bass, setup) == expected  # wherever the track is in the file
    own = track((0, on(71, channel=1)), (0, program(65, channel=1)), (0, on(70, channel=1)), (960, on(72, channel=1)))
    assert programs_of(setup, own) == {71: 56, 70: 65, 72: 57}


@settings(max_examples=100)
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(1, 127))), max_size=8), max_size=4))
def test_programs_are_those_set_last(tracks):
    """A note's program is the last change before it, by tick, then with its own track last, then by place in the file."""
    changes, notes, files = [], [], []
    for number, events in enumerate(tracks):
        tick, messages = 0, []
        for order, (delta, change) in enumerate(events):
            tick += 480 * delta
            if change is None:
                notes.append((tick, number, order))
                messages += [(480 * delta, on(len(notes))), (0, off(len(notes)))]
            else:
                changes.append((tick, number, order, change))
                messages.append((480 * delta, program(change)))
        files.append(track(*messages))
    expected = {}
    for pitch, (tick, number, order) in enumerate(notes, 1):
        before = [(0, 0, 0, 0, 0)]
        for at, of, place, change in changes:
            if (at <= tick) if of != number else (place < order):
                before.append((at, of == number, of, place, change))
        expected[pitch] = max(before)[-1]
    assert programs_of(*files) == expected


def test_other_chunks_are_skipped_and_riff_is_unwrapped():
    assert parse_midi(WRAPPED) == parse_midi(RICH)
    assert parse_midi(smf.riff(SWUNG)) == parse_midi(SWUNG)
    assert parse_midi(RICH + b"\0") == parse_midi(RICH)


def test_names_are_cut_to_the_length_that_an_error_can_list():
    for length, kept in ((80, 80), (81, 80), (50_000, 80)):
        piece = parse_midi(midi(track((0, name("x" * length)), (0, on(60)), (480, off(60)), (0, on(62)), (480, off(62)))))
        assert piece.parts[0].name == "x" * kept


def test_agrees_with_pretty_midi():
    piece = a_piece(np.random.default_rng(0))
    theirs = pretty_midi.PrettyMIDI(io.BytesIO(midi_bytes(piece)))
    for part, instrument in zip(piece.parts, theirs.instruments, strict=True):
        rows = sorted((note.start, note.end, note.pitch, note.velocity) for note in instrument.notes)
        ours = sorted((note.onset / 24, note.end / 24, note.pitch, note.velocity) for note in part.notes)  # 120 a minute
        np.testing.assert_allclose(rows, ours, atol=1e-9)
        assert (part.name, part.program, part.is_drum) == (instrument.name, instrument.program, instrument.is_drum)


BAD = [
    (b"", "is empty"),
    (b"RIFF....", "is not a MIDI file"),
    (b"RIFF....WAVEdata", "is not a MIDI file"),
    (b"RIFF....RMIDDISP\4\0\0\0name", "is not a MIDI file"),
    (smf.riff(smf.SCALE)[:-9], "is cut off"),
    (smf.SCALE[:14] + smf.chunk(b"XFIH", smf.SCALE[14:]), "is cut off"),
    (b"hello, world", "is not a MIDI file"),
    (b"MThd", "is cut off"),
    (smf.SCALE[:20], "is cut off"),
    (smf.SCALE[:-9], "is cut off"),
    (midi(track((0, on(60)), (1, off(60))), track((0, on(62)), (1, off(62))), type=2), "type 2"),
    (midi(track((0, on(60)), (1, off(60))), per_quarter=0), "has no beats"),
    (midi(track((0, on(60)), (1, off(60))), per_quarter=0xE728), "in frames, not in beats"),
    (midi(track((0, bytes([0x90, 200, 1])))), r"has no notes \(repaired: 1 note of a pitch above 127 skipped\)$"),
    (midi(track((0, smf.meta(0x58, b"")))), r"has no notes \(repaired: 1 impossible time signature skipped\)$"),
    (midi(track((0, b"\x3c\x50"))), "is damaged: an event has no status; before that it has no notes$"),
    (
        midi(track((0, on(60)), (0, smf.meta(1, b"x" * 9)[:-8] + END))),
        "is damaged: an event reaches beyond the end of its track",
    ),
    (midi(track()), "has no notes$"),
    (midi(), "has no notes$"),
    (midi(track((0, on(60)), (1, off(60)))), "has only one note$"),
    (midi(track((0, on(36, channel=9)), (1, off(36, channel=9)))), "has no notes but drums$"),
    (midi(track((0, on(60)), (2**28 - 1, off(60)), (0, on(60)), (2**28 - 1, off(60)))), "more than 20,000 quarters"),
    (smf.SCALE[:14] + smf.chunk(b"MTrk", b"\x81" * 5000), "is damaged: a number has more than four bytes"),
]


@each_row(("data", "message"), BAD)
def test_bad_input_has_one_line_that_names_the_file(tmp_path, data, message):
    path = tmp_path / "bad.mid"
    path.write_bytes(data)
    with pytest.raises(MidiError, match=message) as caught:
        read_midi(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "huge.mid"
    with open(path, "wb") as file:
        file.truncate(100_000_000)
    monkeypatch.setattr(type(path), "open", lambda *_: pytest.fail("it was read"))
    with pytest.raises(MidiError, match=r"has 100\.0 MB: a MIDI file of more than 2\.0 MB is not read"):
        read_midi(path)


def test_of_a_file_that_grows_no_more_is_read_than_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "grows.mid"
    path.write_bytes(b"MThd")
    opened = type(path).open

    def grown(self, mode):
        with open(path, "wb") as file:
            file.write(b"MThd" * 1_000_000)
        return opened(self, mode)

    monkeypatch.setattr(type(path), "open", grown)
    with pytest.raises(MidiError, match=r"has 2\.0 MB: a MIDI file of more than 2\.0 MB is not read"):
        read_midi(path)


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.mid")
    for path, kind in (
        ("/dev/zero", "not a regular file"),
        (tmp_path / "pipe.mid", "not a regular file"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(MidiError) as error:
            read_midi(path)
        assert str(error.value) == f"{path} is {kind}: expected a MIDI file"
    with pytest.raises(MidiError, match=r"^/dev/zero is not a regular file: expected a MIDI file$"):
        read_collection(["/dev/zero"])


def test_where_mido_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mido", None)
    for call in (lambda: read_collection([tmp_path]), lambda: midi_bytes(Piece())):
        with pytest.raises(MidiError, match=r"need mido, which is not installed .*pip install 'fastrnn\[train\]'"):
            call()


def test_folders_skip_and_count_what_is_bad(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.mid").write_bytes(b"no")
    (tmp_path / "a.MID").write_bytes(smf.SCALE)
    (tmp_path / "sub" / "c.midi").write_bytes(smf.SCALE)
    (tmp_path / "notes.txt").write_bytes(b"no")
    lines = []
    collection = read_collection([tmp_path], report=lines.append)
    assert [path.name for path, _ in collection.pieces] == ["a.MID", "c.midi"]
    assert [path.name for path, _ in collection.skipped] == ["b.mid"]
    assert lines == [f"skipped: {tmp_path / 'b.mid'} is not a MIDI file: it does not begin with MThd"]
    with pytest.raises(MidiError, match=r"b\.mid is not a MIDI file"):
        read_collection([tmp_path / "b.mid"])  # a file that is named must be valid
    with pytest.raises(FileNotFoundError):
        read_collection([tmp_path / "none.mid"])


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """Make a folder that cannot be listed, without permissions, because the superuser ignores them."""
    folder = tmp_path / "closed"
    folder.mkdir()
    scandir = os.scandir

    def refused(path):
        if os.fspath(path) == str(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    return folder


def test_folders_report_links_pipes_and_folders_that_cannot_be_read(tmp_path, closed):
    (tmp_path / "a.mid").write_bytes(smf.SCALE)
    (tmp_path / "b.mid").symlink_to(tmp_path / "gone.mid")
    os.mkfifo(tmp_path / "c.mid")
    lines = []
    collection = read_collection([tmp_path, tmp_path], report=lines.append)
    assert [path.name for path, _ in collection.pieces] == ["a.mid"]
    assert lines == [
        f"skipped: {closed}: Permission denied",
        f"skipped: {tmp_path}/b.mid: No such file or directory",
        f"skipped: {tmp_path}/c.mid is not a regular file: expected a MIDI file",
    ]
    assert [path for path, _ in collection.skipped] == [closed, tmp_path / "b.mid", tmp_path / "c.mid"]


def test_a_folder_whose_files_cannot_be_listed(tmp_path, closed):
    for folder in (closed, tmp_path):
        with pytest.raises(PermissionError) as error:
            read_collection([folder])
        assert error.value.filename == str(closed)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not keep the superuser out")
def test_a_folder_without_permission_is_skipped(tmp_path):
    (tmp_path / "a.mid").write_bytes(smf.SCALE)
    (tmp_path / "closed").mkdir(mode=0)
    lines = []
    read_collection([tmp_path], report=lines.append)
    assert lines == [f"skipped: {tmp_path}/closed: Permission denied"]


def test_folders_without_a_valid_file(tmp_path):
    with pytest.raises(MidiError, match=r"is a folder without \.mid or \.midi files"):
        read_collection([tmp_path])
    (tmp_path / "b.mid").write_bytes(b"no")
    with pytest.raises(MidiError, match="has no MIDI file that can be read: 1 skipped"):
        read_collection([tmp_path])


# Writing.


@st.composite
def pieces(draw):
    """Draw pieces that a file can represent: playable notes, and changes that differ from what they replace."""

    def part(index):
        note = st.builds(Note, st.integers(0, 300), st.integers(1, 120), st.integers(0, 127), st.integers(1, 127))
        notes = separated(draw(st.lists(note, min_size=1, max_size=12)))
        is_drum = draw(st.booleans())
        return Part(draw(st.sampled_from(["", "Sax", "Flöte", "∆"])), draw(st.integers(0, 127)), is_drum, notes)

    ticks = draw(st.lists(st.integers(1, 400), max_size=3, unique=True).map(sorted))
    metres = ((0, 4, 4), *((tick, 3 + k % 2, 8) for k, tick in enumerate(ticks)))
    tempos = ((0, 6e7 / 500_000), *((tick, 6e7 / (400_000 + k)) for k, tick in enumerate(ticks)))
    chords = tuple((tick, parse_chord(draw(st.sampled_from(["Dm7", "G7", "C∆", "N.C.", "A", "B", "C"])))) for tick in ticks)
    return Piece(tuple(map(part, range(draw(st.integers(1, 18))))), metres, tempos, chords, draw(st.integers(400, 600)))


@settings(max_examples=40)
@given(pieces())
def test_what_is_written_is_read_again(piece):
    onsets = [part.arrays()[0] * (RESOLUTION // TICKS) for part in piece.parts if not part.is_drum]
    assume(heard_swing(onsets, RESOLUTION)[0] == STRAIGHT)  # random notes may agree on one off-beat, and then count as swung
    assert parse_midi(midi_bytes(piece), drums=True, fewest=1) == piece


def a_piece(rng):
    def part(name, program):
        # Each part is a melody of separate notes, because pretty_midi loses notes of one tick that touch.
        onsets = np.cumsum(rng.integers(2, 12, 20))
        rows = zip(onsets.tolist(), rng.integers(40, 90, 20).tolist(), rng.integers(1, 128, 20).tolist(), strict=True)
        return Part(name, program, False, tuple(Note(onset, 1, pitch, velocity) for onset, pitch, velocity in rows))

    return Piece((part("Sax", 66), part("Bass", 32)))


def onsets_in_file(piece, swing):
    """Return the times of all note events of the first part, in quarters."""
    file = mido.MidiFile(file=io.BytesIO(midi_bytes(piece, swing=swing)))
    assert file.ticks_per_beat == RESOLUTION
    at, places = 0, []
    for message in file.tracks[1]:
        at += message.time
        if message.type in ("note_on", "note_off"):
            places.append(at / RESOLUTION)
    return places


def test_swing_moves_off_beats_and_leaves_triplets():
    eighths = Part(notes=(Note(0, 6, 60), Note(6, 6, 62), Note(12, 12, 64)))
    np.testing.assert_allclose(onsets_in_file(Piece((eighths,)), 0.6), [0, 0.6, 0.6, 1, 1, 2], atol=1 / RESOLUTION)
    assert onsets_in_file(Piece((eighths,)), 0.5) == [0, 0.5, 0.5, 1, 1, 2]
    triplets = Part(notes=(Note(0, 4, 60), Note(4, 4, 62), Note(8, 10, 64)))
    np.testing.assert_allclose(onsets_in_file(Piece((triplets,)), 0.7), [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1.7])
    sixteenths = Part(notes=tuple(Note(tick, 3, 60) for tick in (0, 3, 6, 9)))
    np.testing.assert_allclose(
        onsets_in_file(Piece((sixteenths,)), 0.6), [0, 0.3, 0.3, 0.6, 0.6, 0.8, 0.8, 1], atol=1 / RESOLUTION
    )


@settings(max_examples=20)
@given(pieces(), st.sampled_from([0.5, 0.55, 2 / 3, 0.72]))
def test_swing_keeps_every_note_and_their_order(piece, swing):
    played = parse_midi(midi_bytes(piece, swing=swing), drums=True, fewest=1)
    for part, straight in zip(played.parts, piece.parts, strict=True):
        assert sorted(note.pitch for note in part.notes) == sorted(note.pitch for note in straight.notes)
        assert max(abs(a.onset - b.onset) for a, b in zip(by_pitch(part), by_pitch(straight), strict=True)) <= 3


def by_pitch(part):
    return sorted(part.notes, key=lambda note: (note.pitch, note.onset))


@pytest.mark.parametrize(
    ("piece", "swing", "message"),
    [
        (Piece(), 0.73, r"swing must lie in \[0\.5, 0\.72\], got 0\.73"),
        (Piece(metres=((0, 4, 5),)), 0.5, "a metre of 4/5 cannot be written"),
        (Piece(tempos=((0, 1.0),)), 0.5, "a tempo of 1 quarters a minute cannot be written"),
    ],
)
def test_pieces_that_cannot_be_written(piece, swing, message):
    with pytest.raises(ValueError, match=message):
        midi_bytes(piece, swing=swing)


def channels_of(parts):
    """Return the channel on which each part plays in a file, and that channel's last program."""
    file = mido.MidiFile(file=io.BytesIO(midi_bytes(Piece(tuple(parts)))))
    messages = [message for track in file.tracks for message in track if not message.is_meta]
    programs = {message.channel: message.program for message in messages if message.type == "program_change"}
    struck = [next(message.channel for message in track if message.type == "note_on") for track in file.tracks[1:]]
    return [(channel, programs[channel]) for channel in struck]


def test_parts_share_a_channel_with_their_program_where_there_are_too_many():
    def part(program, is_drum=False):
        return Part("", program, is_drum, (Note(0, 6, 60),))

    hands = [part(0), part(0), part(5, is_drum=True), part(32)]
    assert [channel for channel, _ in channels_of(hands)] == [0, 1, 9, 2]
    programs = [k % 15 for k in range(40)]
    found = channels_of([part(5, is_drum=True), *map(part, programs)])
    assert found[0][0] == 9
    assert [program for _, program in found[1:]] == programs
    assert len({channel for channel, _ in found[1:]}) == 15


def test_written_files_are_whole(tmp_path):
    piece = dataclasses.replace(a_piece(np.random.default_rng(1)), chords=((0, parse_chord("C7")),))
    write_midi(tmp_path / "out.mid", piece)
    assert read_midi(tmp_path / "out.mid") == piece
    assert [path.name for path in tmp_path.iterdir()] == ["out.mid"]


# Arbitrary bytes give a piece or a MidiError.


def survives(data):
    fault, piece = "", Piece()
    try:
        piece = parse_midi(data, "it")
    except MidiError as error:
        fault = str(error)
    assert fault == "" or (fault.startswith("it ") and "\n" not in fault)
    midi_bytes(piece)


RICH = midi_bytes(
    dataclasses.replace(a_piece(np.random.default_rng(2)), metres=((0, 3, 4), (36, 6, 8)), tempos=((0, 90.0), (12, 200.0)))
)
# Swing, words of all kinds, programs that another track sets.
SWUNG = midi(
    track((0, program(66)), (0, text("Dm7")), (0, lyric("C")), (480, marker("A")), (480, program(65)), (0, marker("B"))),
    track(*((delta, event) for place in (298, 182) * 5 for delta, event in ((place, off(60)), (0, on(60))))),
)


# With a chunk of another kind after the header and at the end; and in RIFF, behind a chunk of odd length.
WRAPPED = smf.riff(RICH[:14] + smf.chunk(b"XFIH", b"\xff" * 5000) + RICH[14:] + smf.chunk(b"    ", b"MTrk"))


def test_the_files_that_are_mutated_have_every_kind_of_event():
    piece = parse_midi(SWUNG)
    assert (piece.swing, [part.program for part in piece.parts]) == (0.621, [66, 65])
    assert [chord.symbol for _, chord in piece.chords] == ["Dm7"]


@settings(max_examples=150)
@given(st.binary(max_size=80), st.sampled_from([b"", RICH[:14], RICH[:22], RICH, SWUNG, WRAPPED, WRAPPED[:20]]))
def test_any_bytes(data, before):
    survives(before + data)


@settings(max_examples=200)
@given(st.data())
def test_mutations(data):
    changed = bytearray(data.draw(st.sampled_from([RICH, SWUNG, WRAPPED, smf.SCALE])))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(changed) - 1))
        kind = data.draw(st.integers(0, 3))
        if kind == 0:
            changed[place] = data.draw(st.sampled_from([0, 1, 0x2F, 0x51, 0x58, 0x7F, 0x80, 0x90, 0xC9, 0xF0, 0xF7, 0xFF]))
        elif kind == 1:
            changed[place] = data.draw(st.integers(0, 255))
        elif kind == 2:
            del changed[place : place + data.draw(st.integers(1, 8))]
        else:
            changed[place:place] = changed[place : place + data.draw(st.integers(1, 30))]
        if not changed:
            break
    survives(bytes(changed))


def test_the_limit_of_length_is_in_quarters(monkeypatch):
    monkeypatch.setattr(reading, "LONGEST", 3)
    assert parse_midi(midi(track((0, on(60)), (960, off(60)), (0, on(62)), (480, off(62))))).length == 36
    with pytest.raises(MidiError, match="more than 3 quarters"):
        parse_midi(midi(track((0, on(60)), (960, off(60)), (0, on(62)), (481, off(62)))))
