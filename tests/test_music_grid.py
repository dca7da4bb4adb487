"""Swing: writing adds it, reading finds and removes it; triplets, sixteenths and noise stay where they are."""

import dataclasses
import io

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smf import marker, metre, midi, off, on, track
from tables import each_row

from fastrnn.music import corpus
from fastrnn.music._midi.grid import heard_swing
from fastrnn.music.chords import parse_chord
from fastrnn.music.midi import parse_midi
from fastrnn.music.midi_writing import RESOLUTION, midi_bytes
from fastrnn.music.piece import HARDEST, TICKS, Note, Part, Piece, separated

SWINGS = (0.5, 0.55, 0.6, 0.62, 0.667, 0.7, HARDEST)
TRIPLETS = ((0, 4, 8), (0, 4), (4, 8), (4,))
SIXTEENTHS = ((0, 3, 6, 9), (0, 3), (0, 9), (3, 9), (6, 9), (0, 3, 6))
SOME = ((0, 6), (6,), (0, 8), *TRIPLETS, *SIXTEENTHS)


def part_of(beats, durations=(TICKS,), **options):
    """Return a part with these places in each beat. Notes last as long as ``durations`` say, or up to the next one."""
    onsets = [TICKS * b + place for b, places in enumerate(beats) for place in places]
    room = np.diff([*onsets, TICKS * len(beats)]).tolist()
    lengths = [min(space, durations[i % len(durations)]) for i, space in enumerate(room)]
    return Part(notes=tuple(Note(*row, 60 + i % 7) for i, row in enumerate(zip(onsets, lengths, strict=True))), **options)


def read(piece, swing):
    return parse_midi(midi_bytes(piece, swing=swing), drums=True, fewest=1)


@st.composite
def pieces(draw, others, share):
    """Draw beats of eighths, at most ``share`` times as many beats of ``others``, and quarters; a rest may be at the end."""
    count = draw(st.integers(6, 16))
    beats = draw(st.lists(st.sampled_from([(0, 6), (6,)]), min_size=count, max_size=count))
    beats += draw(st.lists(st.sampled_from(others), max_size=int(share * count)))
    beats += draw(st.lists(st.sampled_from([(), (0,)]), max_size=count))
    beats = draw(st.permutations(beats))
    line = part_of(beats, draw(st.lists(st.integers(1, 30), min_size=1, max_size=9)), name="line", program=66)
    bass = part_of([(0,)] * len(beats), (11,), name="bass", program=32)
    chords = ((0, parse_chord("C")), (18, parse_chord("F")))
    return Piece((line, bass), chords=chords, length=draw(st.sampled_from([0, TICKS * len(beats)])))


@pytest.mark.parametrize("swing", SWINGS)
@settings(max_examples=10)
@given(data=st.data())
def test_what_is_swung_comes_back_to_the_grid(swing, data):
    # At two thirds of a beat, swung sixteenths look like triplets, so most beats must hold eighths.
    piece = data.draw(pieces(TRIPLETS, 0.5) if swing == 0.667 else pieces(TRIPLETS + SIXTEENTHS, 1))
    found = read(piece, swing)
    assert found == dataclasses.replace(piece, swing=found.swing)
    assert found.swing == pytest.approx(swing, abs=0.002)
    assert midi_bytes(found) == midi_bytes(piece, swing=found.swing)


@each_row("kinds", [SIXTEENTHS, (*TRIPLETS, (0, 8), (8,)), SOME, "any"])
@each_row("seed", range(20))
def test_what_is_straight_stays(seed, kinds):
    rng = np.random.default_rng(seed)
    if kinds == "any":
        onsets = rng.integers(0, 600, 80).tolist()
        piece = Piece((Part(notes=separated(Note(onset, int(rng.integers(1, 20)), 60 + onset % 5) for onset in onsets)),))
    else:
        piece = Piece((part_of([kinds[i] for i in rng.integers(0, len(kinds), 60)]),))
    assert read(piece, 0.5) == piece


@each_row("tune", corpus.tunes()[::4], ids=lambda tune: tune.title)
def test_choruses_come_back_to_the_grid(tune):
    found = parse_midi(midi_bytes(tune.piece))
    assert found.parts == tune.piece.parts
    assert found.swing == pytest.approx(tune.piece.swing, abs=0.002)


def test_beats_are_counted_from_the_end_of_a_pickup():
    """After a pickup of an eighth, the first off-beat of 480 * 0.62 = 298 ticks comes 240 ticks later, at 538."""
    onsets = np.array([58, *(240 + 480 * b + place for b in range(8) for place in (0, 298))])
    notes = [event for delta in np.diff(onsets, prepend=0).tolist() for event in ((delta, on(60)), (0, off(60)))]
    words = (0, metre(1, 3)), (240, metre(4, 2)), (298, marker("C")), (480, marker("F"))  # on the off-beats
    piece = parse_midi(midi(track(*words), track(*notes)))
    assert (piece.swing, piece.metres) == (0.621, ((0, 1, 8), (6, 4, 4)))
    assert [note.onset for note in piece.parts[0].notes] == list(range(0, 6 * 17, 6))
    assert [tick for tick, _ in piece.chords] == [12, 24]
    times, kinds, _ = zip(*events(piece), strict=True)
    assert np.cumsum(times)[np.array(kinds) == "note_on"].tolist() == onsets.tolist()


def test_a_shuffle_written_as_triplets_is_swing():
    shuffle = Piece((part_of([(0, 8), (0, 4, 8), (0, 8), (8,)] * 4),))
    found = read(shuffle, 0.5)
    assert found.swing == 0.667
    assert found.parts[0].notes == part_of([(0, 6), (0, 4, 8), (0, 6), (6,)] * 4).notes
    assert events(found) == events(shuffle)  # both pieces play the same events


def events(piece):
    """Return the events of the first part: (the file's ticks since the last event, kind, pitch)."""
    messages = mido.MidiFile(file=io.BytesIO(midi_bytes(piece))).tracks[1]
    return [(message.time, message.type, message.note) for message in messages if message.type.startswith("note")]


def test_all_swing_that_can_be_asked_for_is_heard():
    """Swing is found up to the largest amount, with the rounding of any file; a dotted eighth is not swing."""
    eighths = Piece((part_of([(0, 6)] * 8),))
    for swing in np.arange(0.532, HARDEST + 0.0005, 0.001).tolist():
        found = read(eighths, min(swing, HARDEST))
        assert found.parts == eighths.parts, swing
        assert found.swing == pytest.approx(swing, abs=0.002)
    assert read(eighths, HARDEST).swing == HARDEST  # its place is 346 of 480, which is a little later
    dotted = Piece((part_of([(0, 9)] * 8),))
    assert read(dotted, 0.5) == dotted
    with pytest.raises(ValueError, match=r"swing must lie in \[0\.5, 0\.72\], got 0\.74"):
        midi_bytes(eighths, swing=0.74)


def test_at_two_thirds_a_first_sixteenth_is_a_triplet():
    piece = Piece((part_of([(0, 6)] * 12 + [(0, 3)]),))
    assert [note.onset for note in read(piece, 2 / 3).parts[0].notes[-2:]] == [144, 148]
    assert read(piece, 0.62) == dataclasses.replace(piece, swing=0.621)


def test_a_few_that_agree_off_the_grid_are_enough():
    lick = Piece((part_of([(0, 6)] * 3),))
    assert read(lick, 0.62) == dataclasses.replace(lick, swing=0.621)  # 298 of 480
    assert [note.onset for note in read(Piece((part_of([(0, 6)] * 2),)), 0.62).parts[0].notes] == [0, 7, 12, 19]
    assert [note.onset for note in read(lick, 2 / 3).parts[0].notes] == [0, 8, 12, 20, 24, 32]  # at the places of triplets
    assert read(lick, 0.52) == lick  # rounding moves it to the grid


def test_off_beats_of_two_kinds_are_no_swing():
    mixed = Piece((part_of([(0, 6), (0, 8)] * 8),))
    assert read(mixed, 0.5) == mixed
    rare = Piece((part_of([(0, 6), (0, 3, 6, 9), (0, 3), (0, 9)] * 8),))  # a third of them are off-beats
    assert read(rare, 0.62).swing == 0.5


def test_triplets_do_not_hide_swing():
    """The exception is a swing of 2/3, at which triplets look like swing; there most beats must be off-beats."""
    piece = Piece((part_of([(0, 6), (0, 4, 8), (4, 8)] * 8),))
    assert read(piece, 0.62) == dataclasses.replace(piece, swing=0.621)
    assert read(piece, 2 / 3).swing == 0.5


def test_drums_do_not_say_what_swing_is():
    ride = part_of([(0,), (0, 8)] * 8, is_drum=True)
    piece = Piece((part_of([(0, 6)] * 16), ride))
    assert read(piece, 0.5) == piece
    assert read(Piece((ride,)), 0.5) == Piece((ride,))
    swung = Piece((part_of([(0, 6)] * 16), part_of([(0,), (0, 6)] * 8, is_drum=True)))
    assert read(swung, 0.62) == dataclasses.replace(swung, swing=0.621)


def test_a_piece_that_ends_on_an_off_beat_is_as_long_as_it_was():
    piece = Piece((part_of([(0, 6)] * 8, (6, 3)),))
    assert (piece.length, read(piece, 0.7).length) == (93, 93)
    silent = Piece((part_of([(0, 6)] * 8), Part("drums", is_drum=True, notes=(Note(0, 200, 36),))))
    assert parse_midi(midi_bytes(silent, swing=0.7)).length == 200


def test_the_timing_of_people():
    """With errors of a hundredth of a beat (6 ms at 100 a minute), all onsets are read at their intended places."""
    rng = np.random.default_rng(0)
    kinds = [(0, 6), (0, 6), (6,), (0, 4, 8), (0,)]
    line = part_of([kinds[i] for i in rng.integers(0, len(kinds), 200)], (5, 11))
    place = {0: 0, 4: 1 / 3, 5: 5 / 12, 6: 0.62, 8: 2 / 3}

    def file_ticks(tick):
        beat, rest = divmod(tick, TICKS)
        return max(0, round(960 * (beat + place.get(rest, rest / TICKS) + 0.01 * rng.standard_normal())))

    ends = [(file_ticks(note.end), off(note.pitch)) for note in line.notes]
    rows = sorted([(file_ticks(note.onset), on(note.pitch)) for note in line.notes] + ends)
    deltas = np.diff([0, *(tick for tick, _ in rows)]).tolist()
    found = parse_midi(midi(track(*zip(deltas, (event for _, event in rows), strict=True)), per_quarter=960))
    assert found.swing == pytest.approx(0.62, abs=0.005)
    assert [(note.onset, note.pitch) for note in found.parts[0].notes] == [(note.onset, note.pitch) for note in line.notes]


def test_straight_runs_in_a_piece_that_swings_stay_straight():
    """Sixteenths that the player did not swing are read as straight, because that is likelier."""
    quarter = 480
    beats = [(0, 298)] * 8 + [(0, 120, 240, 360)] * 4 + [(0, 160, 320)]
    onsets = np.array([quarter * b + place for b, places in enumerate(beats) for place in places])
    assert heard_swing([onsets], quarter)[0] == 0.621
    rows = [event for delta in np.diff(onsets, prepend=0).tolist() for event in ((delta, on(60)), (0, off(60)))]
    found = parse_midi(midi(track(*rows), per_quarter=quarter)).parts[0]
    expected = [(0, 6)] * 8 + [(0, 3, 6, 9)] * 4 + [(0, 4, 8)]
    assert [note.onset for note in found.notes] == [TICKS * b + p for b, places in enumerate(expected) for p in places]


@pytest.mark.parametrize("place", [298, 307, 320])  # ticks of 480: a swing of 0.62, 0.64 and 2/3
def test_chords_that_are_swung_come_to_the_grid_with_the_notes(place):
    beats = [(0, place)] * 8 + [(0, 160, 320), (0,)]
    onsets = [480 * b + at for b, places in enumerate(beats) for at in places]
    notes = [event for delta in np.diff(onsets, prepend=0).tolist() for event in ((delta, on(60)), (0, off(60)))]
    words = {480 * 4 + place: "Dm7", 480 * 5 + 240: "G7", 480 * 8 + 320: "C", 480 * 9 + place: "F"}
    deltas = np.diff(list(words), prepend=0).tolist()
    piece = parse_midi(midi(track(*zip(deltas, map(marker, words.values()), strict=True)), track(*notes)))
    alone = 7 if place == 298 else 8  # no note swings in the last beat, nor in the one of triplets
    expected = [(12 * 4 + 6, "Dm7"), (12 * 5 + 6, "G7"), (12 * 8 + 8, "C"), (12 * 9 + alone, "F")]
    assert [(tick, chord.symbol) for tick, chord in piece.chords] == expected
    assert [note.onset for note in piece.parts[0].notes][9] == 54
    assert piece.chord_at([48, 54, 60, 66]).tolist() == [-1, 0, 0, 1]


def test_swing_is_heard_at_every_resolution():
    for per_quarter in (24, 96, 192, 480, 960, 10080):
        onsets = np.array([b * per_quarter + place for b in range(12) for place in (0, round(0.64 * per_quarter))])
        swing, _ = heard_swing([onsets], per_quarter)
        assert swing == pytest.approx(0.64, abs=0.5 / per_quarter + 0.0005)
    assert heard_swing([], 480) == (0.5, 0.0)
    assert heard_swing([np.empty(0, np.int64)], 480) == (0.5, 0.0)


def test_a_piece_says_how_it_is_played():
    straight = Piece((part_of([(0, 6)] * 4),))
    swung = dataclasses.replace(straight, swing=0.65)
    assert midi_bytes(swung) == midi_bytes(straight, swing=0.65) != midi_bytes(swung, swing=0.5)
    assert midi_bytes(swung, swing=0.5) == midi_bytes(straight)
    assert RESOLUTION % (2 * TICKS) == 0  # half a tick is a whole number of the file's ticks
    with pytest.raises(ValueError, match=r"swing must lie in \[0\.5, 0\.72\], got 0\.4"):
        Piece(swing=0.4)
