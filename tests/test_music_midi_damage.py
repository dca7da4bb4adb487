"""Damaged and odd MIDI files: what is skipped, repaired and reported; the notes are those of the file and no others."""

import io
import pickle
import random
from collections import Counter

import mido
import pretty_midi
import pytest
import smf
from mutated_midi import mutated, sound_file
from plain_midi import plain_notes
from smf import END, marker, metre, midi, off, on, program, tempo, track
from tables import each_row

from fastrnn.music import midi as reading
from fastrnn.music import midi_repairs as repair
from fastrnn.music._midi.chunks import NoMidi, read_chunks
from fastrnn.music._midi.tracks import read_tracks
from fastrnn.music.midi import LONGEST, MidiError, parse_midi, read_midi_with_repairs
from fastrnn.music.midi_repairs import repairs_line

SCALE = ((0, on(60)), (480, off(60)), (0, on(64)), (480, off(64)))
NOTES = [(0, 12, 60, 80), (12, 12, 64, 80)]


@pytest.fixture
def read(tmp_path):
    """Read a file of these bytes; return (onset, duration, pitch, velocity) of all notes in order, and the repairs."""

    def call(data, **options):
        (tmp_path / "it.mid").write_bytes(data)
        piece, repairs = read_midi_with_repairs(tmp_path / "it.mid", **options)
        rows = [(note.onset, note.duration, note.pitch, note.velocity) for part in piece.parts for note in part.notes]
        return sorted(rows), dict(repairs)

    return call


def read_ticks(data):
    """Read with the package's reader; return each track's notes like :func:`plain_notes`, None if it is not MIDI."""
    repairs = Counter()
    try:
        tracks = read_tracks(read_chunks(data, LONGEST, repairs).tracks, repairs)
    except NoMidi:
        return None
    return [
        sorted((onset, end, channel, *rest) for (channel, _), rows in track.notes.items() for onset, end, *rest in rows)
        for track in tracks
    ]


# Running status.


@each_row(
    "between",
    [
        b"\xf0\x05\x7e\x7f\x09\x01\xf7",
        b"\xf0\x00",
        b"\xf7\x02\x01\xf7",
        smf.text("x"),
        tempo(90),
        b"\xf8",
        b"\xf2\1\2",
        b"\xf4",
    ],
)
def test_the_last_channel_status_holds_over_events_of_other_kinds(read, between):
    data = midi(track((0, on(60)), (0, between), (480, bytes([60, 0])), (0, between), (0, bytes([64, 80])), (480, off(64))))
    assert read(data)[0] == NOTES


def test_files_with_running_status_are_read_as_they_were_made():
    for seed in range(300):
        data, notes = sound_file(random.Random(f"sound {seed}"))
        assert read_ticks(data) == notes
        assert plain_notes(data) == notes


# Invalid events.


@each_row(
    ("event", "phrase"),
    [
        (bytes([0xC0, 255]), repair.PROGRAM),
        (bytes([0xB0, 7, 168]), repair.CONTROL),
        (bytes([0xB0, 200, 1]), repair.CONTROL),
        (bytes([0xE0, 0, 128]), repair.BEND),
        (bytes([0xD0, 200]), repair.AFTERTOUCH),
        (bytes([0xA0, 60, 168]), repair.AFTERTOUCH),
        (on(168), repair.PITCH),
        (off(168), repair.RELEASE),
        (b"\xf9", repair.SYSTEM),
        (b"\xf3\x01", repair.SYSTEM),
        (smf.meta(0x59, b""), repair.KEY),
        (smf.meta(0x59, bytes([100, 7])), repair.KEY),
        (smf.meta(0x59, bytes([0, 0, 0])), repair.KEY),
        (smf.meta(0x54, bytes([0, 75, 0, 0, 0])), repair.SMPTE),
        (smf.meta(0x54, b""), repair.SMPTE),
        (smf.meta(0x51, b""), repair.TEMPO),
        (smf.meta(0x51, b"\0\0\0"), repair.TEMPO),
        (tempo(3000), repair.TEMPO),
        (tempo(3.9), repair.TEMPO),
        (smf.meta(0x58, b""), repair.METRE),
        (smf.meta(0x58, b"\x03"), repair.METRE),
        (metre(0, 2), repair.METRE),
        (metre(4, 7), repair.METRE),
        (metre(4, 255), repair.METRE),
    ],
)
def test_an_event_that_cannot_be_is_skipped_and_counted(read, tmp_path, event, phrase):
    assert read(midi(track((0, event), *SCALE))) == (NOTES, {phrase: 1})
    piece = parse_midi(midi(track((0, event), *SCALE)))
    assert (piece.parts[0].program, piece.metres, piece.tempos) == (0, ((0, 4, 4),), ((0, 120.0),))


@pytest.mark.parametrize("event", [smf.meta(0x59, b"\xfd\1"), smf.meta(0x54, b"\x61\x3b\x3b\x1d\x63"), smf.meta(0x60, b"?")])
def test_an_event_that_can_be_is_not_counted(read, event):
    assert read(midi(track((0, event), *SCALE))) == (NOTES, {})


def test_an_invalid_change_leaves_the_previous_value():
    before = ((0, program(56)), (0, metre(3, 2)), (0, tempo(100)))
    wrong = ((0, bytes([0xC0, 128])), (0, metre(0, 2)), (0, tempo(5000)))
    piece = parse_midi(midi(track(*before, *wrong, *SCALE)))
    assert (piece.parts[0].program, piece.metres, piece.tempos) == (56, ((0, 3, 4),), ((0, 100.0),))


@pytest.mark.parametrize("content", [b"\x03\x02", b"\x03\x02\x18"])
def test_a_time_signature_needs_two_bytes(read, content):
    data = midi(track((0, smf.meta(0x58, content)), *SCALE))
    assert parse_midi(data).metres == ((0, 3, 4),)
    assert read(data) == (NOTES, {repair.SHORT_METRE: 1})


def test_a_velocity_above_127_becomes_127(read):
    data = midi(track((0, bytes([0x90, 60, 168])), (480, bytes([0x80, 60, 200])), (0, bytes([64, 255])), *SCALE[2:]))
    rows, repairs = read(data)
    assert rows == [(0, 12, 60, 127), (12, 12, 64, 80)]  # the release with 255 ends no sounding note
    assert repairs == {repair.VELOCITY: 1}


def test_all_notes_off_counts_whatever_its_value(read):
    data = midi(track((0, on(60)), (0, on(64)), (480, bytes([0xB0, 123, 255])), (480, END)))
    assert read(data)[0] == [(0, 12, 60, 80), (0, 12, 64, 80)]


# Keys that are struck more often than they are released.

ALL_OFF = bytes([0xB0, 123, 0])
LATER = ((0, on(67)), (480, off(67)))  # notes of another key, which end a quarter later
UNEQUAL = {  # events, notes in ticks of the file, and repairs
    "struck again": (
        [(0, on(60)), (240, on(60)), (240, off(60)), *LATER],
        [(0, 480, 60), (240, 480, 60), (480, 960, 67)],
        {repair.SHARED_END: 1},
    ),
    "at one tick": (
        [(0, on(60)), (0, on(60)), (480, off(60)), *LATER],
        [(0, 480, 60), (0, 480, 60), (480, 960, 67)],
        {repair.SHARED_END: 1},
    ),
    "three and two": (
        [(0, on(60)), (240, on(60)), (240, on(60)), (240, off(60)), (240, off(60)), *LATER],
        [(0, 720, 60), (240, 720, 60), (480, 960, 60), (960, 1440, 67)],
        {repair.SHARED_END: 1},
    ),
    "those after it keep their ends": (
        [(0, on(60)), (240, on(60)), (240, off(60)), *[(480, on(60)), (120, off(60))] * 2],
        [(0, 480, 60), (240, 480, 60), (960, 1080, 60), (1560, 1680, 60)],
        {repair.SHARED_END: 1},
    ),
    "never let go": ([(0, on(60)), (480, on(67)), (480, off(67))], [(0, 960, 60), (480, 960, 67)], {repair.HELD: 1}),
    "let go, then never": (
        [(0, on(60)), (480, off(60)), (0, on(60)), *LATER],
        [(0, 480, 60), (480, 960, 60), (480, 960, 67)],
        {repair.HELD: 1},
    ),
    "both": (
        [(0, on(60)), (0, on(60)), (480, off(60)), (0, on(60)), *LATER],
        [(0, 480, 60), (0, 480, 60), (480, 960, 60), (480, 960, 67)],
        {repair.SHARED_END: 1, repair.HELD: 1},
    ),
    "before all notes are off": (
        [(0, on(60)), (240, on(60)), (240, off(60)), *LATER, (0, ALL_OFF)],
        [(0, 480, 60), (240, 480, 60), (480, 960, 67)],
        {repair.SHARED_END: 1},
    ),
    "ended by all notes off": ([(0, on(60)), *LATER, (480, ALL_OFF)], [(0, 960, 60), (0, 480, 67)], {}),
    "on another channel": (
        [(0, on(60)), (0, on(60, channel=1)), (480, off(60, channel=1)), (480, smf.text("x"))],
        [(0, 480, 60), (0, 960, 60)],
        {repair.HELD: 1},
    ),
    "as often as struck": (
        [(0, on(60)), (240, on(60)), (240, off(60)), (240, off(60)), (0, off(60)), *LATER],
        [(0, 480, 60), (240, 720, 60), (720, 1200, 67)],
        {},
    ),
}


@each_row("case", UNEQUAL)
def test_a_stroke_without_a_release_of_its_own(read, case):
    events, expected, repairs = UNEQUAL[case]
    data = midi(track(*events))
    for notes in (read_ticks(data)[0], plain_notes(data)[0]):
        assert sorted((onset, end, pitch) for onset, end, _, pitch, _ in notes) == sorted(expected)
    assert read(data)[1] == repairs


@pytest.mark.parametrize("case", ["struck again", "at one tick", "those after it keep their ends"])
def test_keys_that_are_struck_again_end_as_pretty_midi_ends_them(case):
    heard = pretty_midi.PrettyMIDI(io.BytesIO(midi(track(*UNEQUAL[case][0]))))
    notes = [(round(note.start * 960), round(note.end * 960), note.pitch) for note in heard.instruments[0].notes]
    assert sorted(notes) == sorted(UNEQUAL[case][1])


def test_velocities_stay_with_their_strokes():
    data = midi(track((0, on(60, 30)), (240, on(60, 50)), (240, off(60)), (480, on(60, 70)), (240, off(60))))
    assert read_ticks(data) == plain_notes(data) == [[(0, 480, 0, 60, 30), (240, 480, 0, 60, 50), (960, 1200, 0, 60, 70)]]


def test_keys_at_random_have_the_notes_that_a_plain_reader_finds():
    rng = random.Random(7)
    for _ in range(500):
        strokes = [rng.choice((on, on, off))(rng.choice((60, 62)), channel=rng.randint(0, 1)) for _ in range(20)]
        data = midi(track(*((rng.choice((0, 60)), rng.choice([stroke] * 9 + [ALL_OFF])) for stroke in strokes)))
        assert read_ticks(data) == plain_notes(data)


# Chunks and their ends.


def with_length(chunk, length):
    return chunk[:4] + (length % 2**32).to_bytes(4, "big") + chunk[8:]


FIRST, SECOND, THIRD = (track((0, on(pitch)), (480, off(pitch))) for pitch in (60, 64, 67))
ALL = [(0, 12, 60, 80), (0, 12, 64, 80), (0, 12, 67, 80)]


@pytest.mark.parametrize("error", [6, 1000, 1, -1, -6, 8 + len(SECOND) - 8, len(SECOND + THIRD), 2**31, -(len(FIRST) - 8)])
def test_end_of_track_and_the_next_track_count_and_not_the_length(read, error):
    wrong = with_length(FIRST, len(FIRST) - 8 + error)
    assert read(midi(wrong, SECOND, THIRD)) == (ALL, {repair.TRACK_LENGTH: 1})
    every = (with_length(chunk, len(chunk) - 8 + error) for chunk in (FIRST, SECOND, THIRD))
    assert read(midi(*every)) == (ALL, {repair.TRACK_LENGTH: 3})
    assert read(midi(SECOND, THIRD, wrong)) == (ALL, {repair.TRACK_LENGTH: 1})


def test_a_track_without_end_of_track_ends_where_its_length_or_the_next_track_says(read):
    open_ended = with_length(FIRST[:-4], len(FIRST) - 12)
    assert read(midi(open_ended, SECOND, THIRD)) == (ALL, {repair.NO_END: 1})
    assert read(midi(SECOND, THIRD, open_ended)) == (ALL, {repair.NO_END: 1})
    too_long = with_length(open_ended, 900)
    assert read(midi(too_long, SECOND, THIRD)) == (ALL, {repair.NO_END: 1, repair.TRACK_LENGTH: 1})


def test_events_after_end_of_track_are_not_read(read):
    padded = with_length(FIRST + b"\0" * 6, len(FIRST) - 2)
    assert read(midi(padded, SECOND, THIRD)) == (ALL, {repair.TRACK_LENGTH: 1})
    not_the_end = track((0, smf.meta(0x2F, b"?")), *SCALE)  # with content, it is an unknown event
    assert read(midi(not_the_end)) == (NOTES, {})


def test_a_header_may_be_longer_and_its_numbers_wrong(read):
    def header(length, count, more=b""):
        return b"MThd" + length.to_bytes(4, "big") + bytes([0, 1, 0, count]) + (480).to_bytes(2, "big") + more

    tracks = FIRST + SECOND + THIRD
    assert read(header(8, 3, b"\0\0") + tracks) == (ALL, {})
    assert read(header(1006, 3) + tracks) == (ALL, {repair.HEADER_LENGTH: 1})
    assert read(header(0, 3) + tracks) == (ALL, {repair.HEADER_LENGTH: 1})
    assert read(header(6, 1) + tracks) == (ALL, {repair.TRACK_COUNT: 1})
    assert read(header(6, 5) + tracks) == (ALL, {repair.MISSING: 2})


def test_a_file_of_type_2_with_one_track_is_read(read):
    assert read(midi(track(*SCALE), type=2)) == (NOTES, {})


@pytest.mark.parametrize("size", [1, 128, 1024])
def test_bytes_before_the_header_are_skipped(read, size):
    """Old files of the Macintosh have 128 bytes before the header; files saved with a mail's or a server's header more."""
    assert read(b"M" * size + midi(FIRST, SECOND, THIRD)) == (ALL, {repair.PREAMBLE: 1})


def test_bytes_before_the_header_have_a_limit(read):
    with pytest.raises(MidiError, match="is not a MIDI file"):
        read(b"M" * 1025 + midi(FIRST, SECOND, THIRD))


@pytest.mark.parametrize("zeros", [b"\x80" * 3, b"\x80" * 4, b"\x80" * 200])
def test_numbers_with_leading_zeros(read, zeros):
    """mido, which writes the same file without them, reads them as well."""
    name = b"\xff\x03" + zeros + b"\x01a"
    events = (b"\0" + name, b"\0" + on(60), b"\x83\x60" + off(60), b"\0" + on(64), b"\x83\x60" + off(64))
    body = b"".join(zeros + event for event in events)
    data = midi(smf.chunk(b"MTrk", body + b"\0" + smf.END))
    assert read(data) == (NOTES, {repair.LONG_NUMBER: 6 if len(zeros) > 3 else 2})
    assert parse_midi(data).parts[0].name == "a"
    assert plain_notes(data) == [[(0, 480, 0, 60, 80), (480, 960, 0, 64, 80)]]
    heard = [message.time for message in mido.MidiFile(file=io.BytesIO(data)).tracks[0]]
    assert heard == [0, 0, 480, 0, 480, 0]


def test_a_length_in_riff_that_is_wrong_does_no_harm(read):
    data = midi(FIRST, SECOND, THIRD)
    sound = smf.riff(data)
    place = sound.index(b"data") + 4
    for length in (len(data), len(data) + 2, len(data) + 1000, 20, 0, 2**32 - 1):
        wrong = sound[:place] + length.to_bytes(4, "little") + sound[place + 4 :]
        assert read(wrong) == (ALL, {})
    more = sound + b"\0" * (len(data) % 2) + smf.chunk(b"LIST", b"MTrk" * 4, "little")  # a sound bank, say
    assert read(more) == (ALL, {})


# Damage.


def test_a_cut_off_file_is_read_up_to_the_cut_without_the_notes_that_sound_there(read):
    data = midi(track(*SCALE, (0, on(67)), (480, off(67)), (0, on(72)), (480, off(72))))
    assert read(data[:-4]) == ([*NOTES, (24, 12, 67, 80), (36, 12, 72, 80)], {repair.CUT: 1})
    assert read(data[:-5]) == ([*NOTES, (24, 12, 67, 80)], {repair.CUT: 1, repair.UNENDED: 1})
    two = midi(track(*SCALE), SECOND)
    assert read(two[: -len(SECOND)]) == (NOTES, {repair.MISSING: 1})
    with pytest.raises(MidiError, match=r"is cut off: it ends within a track; before that it has only one note$"):
        read(midi(track(*SCALE))[:-9])


def test_a_damaged_track_is_read_up_to_the_damage_and_the_others_whole(read):
    lost = smf.meta(1, b"x" * 120)[:4]  # a text that is longer than what is left of its track
    damaged = track((0, on(40)), (480, off(40)), (0, on(41)), (0, lost), (480, off(41)))
    rows, repairs = read(midi(damaged, track(*SCALE)))
    assert rows == [(0, 12, 40, 80), *NOTES]
    assert repairs == {repair.DAMAGED: 1, repair.UNENDED: 1}
    doubtful = track((0, on(40)), (480, off(40)), (0, on(168)), (0, on(41)), (480, off(41)), (0, lost), (480, off(41)))
    assert read(midi(doubtful, track(*SCALE))) == ([(0, 12, 40, 80), *NOTES], {repair.DAMAGED: 1})  # up to the invalid event
    no_status = track((0, bytes([60, 80])), (480, off(60)))
    assert read(midi(no_status, track(*SCALE))) == (NOTES, {repair.DAMAGED: 1})


def test_the_limit_of_length_is_in_quarters(read, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST", 3)
    assert read(midi(track((0, on(60)), (960, off(60)), (0, on(62)), (480, off(62)))))[0][1] == (24, 12, 62, 80)
    with pytest.raises(MidiError, match=r"claims to last more than 3 quarters, .*; before that it has only one note$"):
        read(midi(track((0, on(60)), (960, off(60)), (0, on(62)), (481, off(62)))))
    assert read(midi(track(*SCALE, (9999, END)))) == (NOTES, {repair.DAMAGED: 1})


def test_repairs_have_one_line_and_can_be_pickled_and_added(tmp_path):
    wrong = ((0, bytes([0xC0, 255])),) * 3
    (tmp_path / "it.mid").write_bytes(midi(with_length(track(*wrong, *SCALE), 999), track((0, marker("A")))))
    result = read_midi_with_repairs(tmp_path / "it.mid")
    assert pickle.loads(pickle.dumps(result)) == result
    repairs = result[1]
    assert repairs_line(repairs) == "repaired: 3 program changes out of range skipped, 1 track length corrected"
    assert repairs_line(repairs + repairs).endswith("6 program changes out of range skipped, 2 track lengths corrected")
    assert repairs_line(Counter()) == ""
    many = Counter({repair.PITCH: 2000, repair.NO_END: 2, repair.UNENDED: 1})
    assert repairs_line(many) == (
        "repaired: 2,000 notes of a pitch above 127 skipped, 2 tracks without an End of Track read, "
        "1 note whose end is lost left out"
    )


def piece_or_line(data):
    """Read a file; return the piece, or the line of the error."""
    try:
        return parse_midi(data, "it", drums=True)
    except MidiError as error:
        return str(error)


@pytest.mark.parametrize("seeds", [range(300), pytest.param(range(300, 1000), marks=pytest.mark.slow)], ids=str)
def test_mutated_files_have_the_notes_that_a_plain_reader_finds(seeds):
    read_files = 0
    for seed in seeds:
        data = mutated(seed)
        expected = plain_notes(data)
        assert read_ticks(data) == expected, seed
        trusted = [note for notes in expected or () for note in notes]
        found = piece_or_line(data)
        if isinstance(found, str):
            assert found.startswith("it ")
            assert "\n" not in found
            assert len(trusted) < 2, (seed, found)
        else:
            read_files += 1
            assert {note.pitch for part in found.parts for note in part.notes} == {note[3] for note in trusted}, seed
    assert read_files > 0.8 * len(seeds)
