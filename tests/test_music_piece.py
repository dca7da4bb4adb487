"""Pieces: bars, positions, notes that can be played, and which part is the melody."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from fastrnn.music._midi.harmony import half_bars
from fastrnn.music._midi.roles import chord_part_of, melody_of, melody_score, part_named, skyline
from fastrnn.music.chords import parse_chord
from fastrnn.music.piece import (
    Note,
    Part,
    Piece,
    bar_lines,
    beat_length,
    commonest_metre,
    merged,
    position_in_bar,
    separated,
    transposed,
)

TICKS = st.integers(1, 20)


def line(pitches, name="", program=0, length=6):
    return Part(name, program, notes=tuple(Note(length * k, length, pitch) for k, pitch in enumerate(pitches)))


def blocks(roots, name=""):
    return Part(name, notes=tuple(Note(24 * k, 24, root + step) for k, root in enumerate(roots) for step in (0, 4, 7, 10)))


def test_bars_follow_the_metres():
    metres = ((0, 3, 4), (72, 4, 4))
    assert bar_lines(metres, 150).tolist() == [0, 36, 72, 120]
    assert bar_lines(metres, 50).tolist() == [0, 36]
    assert bar_lines(((0, 4, 4), (60, 6, 8)), 100).tolist() == [0, 48, 60, 96]  # a change within a bar begins one
    assert bar_lines(((0, 5, 32),), 30).tolist() == [0, 7, 15, 22]  # 7.5 ticks, rounded down
    assert position_in_bar(metres, [[0, 35], [36, 130]]).tolist() == [[0, 35], [0, 10]]
    assert position_in_bar(metres, np.empty(0, np.int64)).tolist() == []
    assert Piece((line([60] * 9),), metres).bars().tolist() == [0, 36]


def test_the_last_bar_is_as_long_as_its_metre_says():
    two, changing = Piece(length=100), Piece(metres=((0, 3, 4), (72, 4, 4)), length=121)
    assert (two.bars().tolist(), two.bar_ends().tolist()) == ([0, 48, 96], [48, 96, 144])
    assert (changing.bars().tolist(), changing.bar_ends().tolist()) == ([0, 36, 72, 120], [36, 72, 120, 168])
    amid = Piece(metres=((0, 4, 4), (60, 6, 8)), length=61)
    assert (amid.bars().tolist(), amid.bar_ends().tolist()) == ([0, 48, 60], [48, 60, 96])
    assert Piece(metres=((0, 5, 32),), length=30).bar_ends().tolist() == [7, 15, 22, 30]
    assert Piece(metres=((0, 4, 4), (60, 3, 4))).bar_ends().tolist() == [48]
    assert Piece(metres=((0, 1, 64),), length=3).bar_ends().tolist() == [1, 2, 3]


def test_beats():
    metres = {(4, 4): 12, (3, 4): 12, (2, 2): 12, (6, 4): 12, (6, 8): 18, (12, 8): 18, (3, 8): 6, (5, 8): 6, (9, 16): 9}
    assert {metre: beat_length(*metre) for metre in metres} == metres
    assert Piece(metres=((0, 2, 4), (24, 6, 8)), length=50).beats().tolist() == [0, 12, 24, 42]
    assert Piece(metres=((0, 5, 8),), length=30).beats().tolist() == [0, 6, 12, 18, 24]
    assert Piece(metres=((0, 5, 32),), length=15).beats().tolist() == [0, 3, 6, 7, 10, 13]  # bars of 7.5 ticks


def test_the_commonest_metre_is_that_of_most_ticks():
    rag = Piece(metres=((0, 4, 4), (48, 2, 4)), length=120)
    assert commonest_metre([rag]) == (2, 4)
    assert commonest_metre([rag, Piece(length=48)]) == (4, 4)
    assert commonest_metre([rag, Piece(metres=((0, 5, 32),), length=900)]) == (2, 4)  # it does not fit the grid
    assert commonest_metre([Piece(metres=((0, 3, 4), (900, 4, 4)), length=36)]) == (3, 4)
    assert commonest_metre([]) == (4, 4)


def test_chords_count_until_the_next():
    piece = Piece(chords=((24, parse_chord("G7")), (12, parse_chord("Dm7"))))
    assert piece.chords[0][1].symbol == "Dm7"
    assert piece.chord_at([0, 12, 23, 24, 999]).tolist() == [-1, 0, 0, 1, 1]
    assert Piece().chord_at([0, 5]).tolist() == [-1, -1]


def test_a_piece_sorts_its_events():
    part = Part(notes=(Note(6, 6, 50), Note(0, 9, 64), Note(0, 3, 60)))
    assert [note.pitch for note in part.notes] == [60, 64, 50]
    piece = Piece((part,), metres=((12, 3, 4),), tempos=((12, 90.0), (0, 60.0)))
    assert piece.metres == ((0, 4, 4), (12, 3, 4))
    assert piece.tempos == ((0, 60.0), (12, 90.0))
    assert piece.length == 12
    assert [column.tolist() for column in part.arrays()] == [[0, 0, 6], [3, 9, 6], [60, 64, 50], [80] * 3]
    assert [column.shape for column in Part().arrays()] == [(0,)] * 4


TWO = Piece((line([60], "Sax"), line([50])))


@each_row(
    ("call", "message"),
    [
        (lambda: Note(-1, 1, 60), "onset must be at least 0, got -1"),
        (lambda: Note(0, 0, 60), "duration must be at least 1, got 0"),
        (lambda: Note(0, 1, 128), "pitch must be at most 127, got 128"),
        (lambda: Note(0, 1, 60, 0), "velocity must be at least 1, got 0"),
        (lambda: Part(program=128), "program must be at most 127, got 128"),
        (lambda: Piece(metres=((0, 4, 0),)), "the denominator of a metre must be at least 1, got 0"),
        (lambda: Piece(tempos=((0, 0.0),)), "a tempo must lie in"),
        (lambda: transposed(line([120]), 8), "pitch must be at most 127, got 128"),
        (lambda: Piece((line([60], "Sax"),)).part("Bass"), "name must be one of 'Sax', got 'Bass'"),
        (lambda: melody_of(Piece((line([60], "Sax"),)), 1), "named must be one of the parts 0 'Sax', got 1"),
        (lambda: part_named(TWO, "Tuba", "--melody"), "--melody must be one of the parts 0 'Sax', 1 '', got 'Tuba'"),
        (lambda: part_named(TWO, -1), "named must be one of the parts 0 'Sax', 1 '', got -1"),
        (lambda: part_named(Piece((Part("x"),) * 18), 18), "14 'x', 15 'x' and 2 more, got 18"),
        (lambda: melody_of(Piece((Part("Sax"),))), "piece must have a part with notes"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_transposed_leaves_drums():
    assert [note.pitch for note in transposed(line([60, 62]), -5).notes] == [55, 57]
    drums = Part("kit", is_drum=True, notes=(Note(0, 1, 36),))
    assert transposed(drums, 3) == drums


@settings(max_examples=100)
@given(
    st.lists(st.builds(Note, st.integers(0, 20), st.integers(1, 20), st.integers(60, 62), st.integers(1, 127)), max_size=10)
)
def test_separated_is_what_one_keyboard_plays(notes):
    """Compared with a keyboard tick by tick: a key is down while any note holds it, and every onset strikes it."""
    result = separated(notes)
    assert result == separated(result)
    strikes = {(note.onset, note.pitch) for note in notes}
    assert {(note.onset, note.pitch) for note in result} == strikes
    assert len(result) == len(strikes)
    sounding = [(tick, note.pitch) for note in result for tick in range(note.onset, note.end)]
    assert len(set(sounding)) == len(sounding)
    for note in result:
        struck_together = [other for other in notes if (other.onset, other.pitch) == (note.onset, note.pitch)]
        later = [other.onset for other in notes if other.pitch == note.pitch and other.onset > note.onset]
        assert note.end == min([max(other.end for other in struck_together), *later])
        assert note.velocity == max(other.velocity for other in struck_together)


def test_merged_hands():
    piano = merged((line([72, 74], "right", 3), line([48, 72], "left")), "piano")
    assert (piano.name, piano.program) == ("piano", 3)
    assert [(note.onset, note.pitch) for note in piano.notes] == [(0, 48), (0, 72), (6, 72), (6, 74)]


def test_the_melody_is_guessed_and_can_be_named():
    bass, chords, tune = line([40, 43, 45, 47] * 8, "b"), blocks([60, 65] * 4, "c"), line([67, 70, 72, 74, 75] * 4, "t")
    drums = Part("d", is_drum=True, notes=line([80] * 99).notes)
    piece = Piece((drums, bass, chords, tune))
    assert melody_of(piece) is tune
    assert melody_of(piece, "C ") is chords
    assert melody_of(piece, 1) is bass
    assert chord_part_of(piece) is chords
    assert part_named(piece, "t") is tune
    assert chord_part_of(Piece((bass, tune))) is None
    lead = line([67, 70, 72, 74, 75] * 4, "Lead guitar")
    assert melody_of(Piece((tune, lead))) is lead


def test_the_melody_score_follows_its_formula():
    part = Part("x", notes=(Note(0, 1, 50), Note(0, 1, 60), Note(3, 1, 55), Note(6, 1, 55)))
    assert melody_score(part, 16) == pytest.approx((55 - 40) / 30 * 3 / 4 * (4 / 16) ** 0.5)
    assert melody_score(line([30], "Vocals"), 1) == pytest.approx(0.05 * 2)
    assert melody_score(line([100]), 1) == 1


def test_the_skyline_holds_the_highest_note():
    part = Part(notes=(Note(0, 24, 48), Note(0, 24, 60), Note(6, 3, 50), Note(12, 9, 72)))
    assert skyline(part).notes == (Note(0, 12, 60), Note(12, 9, 72))  # 50 is struck below 60, which still sounds
    cut = Part(notes=(Note(0, 48, 70), Note(12, 6, 76), Note(24, 6, 50), Note(48, 6, 50)))
    assert skyline(cut).notes == (Note(0, 12, 70), Note(12, 6, 76), Note(48, 6, 50))  # 70 is still held at 24
    assert skyline(Part()).notes == ()


@pytest.mark.parametrize(("overlap", "notes"), [(6, (Note(0, 12, 72), Note(12, 12, 67))), (7, (Note(0, 19, 72),))])
def test_legato_downwards_loses_no_note(overlap, notes):
    """An overlap of up to an eighth is legato."""
    assert skyline(Part(notes=(Note(0, 12 + overlap, 72), Note(12, 12, 67)))).notes == notes


NOTES = st.lists(st.builds(Note, st.integers(0, 60), st.integers(1, 30), st.integers(60, 70)), max_size=16)


@settings(max_examples=200)
@given(NOTES)
def test_the_skyline_is_what_its_rule_says(notes):
    """A note of the skyline is the highest of its onset, and no higher note sounds on for more than an eighth."""
    played = separated(notes)
    kept = [
        note
        for note in played
        if all(other.pitch <= note.pitch for other in played if other.onset == note.onset)
        and all(other.pitch < note.pitch or other.end <= note.onset + 6 for other in played if other.onset < note.onset)
    ]
    ends = [*(note.onset for note in kept[1:]), 1000]
    expected = tuple(Note(n.onset, min(n.end, end) - n.onset, n.pitch) for n, end in zip(kept, ends, strict=False))
    assert skyline(Part(notes=tuple(notes))).notes == expected


def test_halves_of_a_bar_that_is_cut_short():
    assert half_bars(Piece(length=36)).tolist() == [0, 24]  # halves of 4/4, although it ends on the third beat
