"""A piano's two hands: the division compared with an exhaustive search, what it preserves, and the dynamics."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.music._midi import hands as module
from fastrnn.music._midi.hands import CLEAR, FAR, LEFT, MIDDLE, OCTAVE, RIGHT, SLOW, hands, longest_match_of_hands, played
from fastrnn.music._output.statistics import longest_match
from fastrnn.music.piece import Note, Part, separated

QUARTERS = np.arange(0, 96, 12)  # the beats of 4/4
PITCHES = st.lists(st.integers(21, 108), min_size=1, max_size=6, unique=True).map(sorted)


def _part(*chords, step=6):
    return Part("piano", 0, notes=tuple(Note(step * i, step, pitch) for i, chord in enumerate(chords) for pitch in chord))


def _cost(pitches, s, before):
    """Compute the module's formula, a term at a time."""
    left, right = [p for p in pitches if p < s], [p for p in pitches if p >= s]
    spans = sum(max(0, max(hand) - min(hand) - OCTAVE) for hand in (left, right) if hand)
    near = max(0, CLEAR - min(abs(p + 0.5 - s) for p in pitches))
    return spans + near + abs(s - MIDDLE) / FAR + (0 if before is None else abs(s - before) / SLOW)


@given(chords=st.lists(PITCHES, min_size=1, max_size=4))
def test_the_division_is_the_cheapest_of_all(chords):
    choices = np.array([50, 57, 64, 71])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DIVISIONS", choices)
        found = module._divisions([np.array(chord) for chord in chords]).tolist()

    def total(path):
        return sum(_cost(*step) for step in zip(chords, path, [None, *path], strict=False))

    best = min(map(total, itertools.product(choices.tolist(), repeat=len(chords))))
    assert total(found) == pytest.approx(best, abs=1e-9)


NOTES = st.lists(st.builds(Note, st.integers(0, 60), st.integers(1, 30), st.integers(0, 127)), max_size=40)


@given(NOTES)
def test_every_note_is_in_one_hand_and_the_right_one_is_above(notes):
    right, left = hands(Part("piano", 5, notes=tuple(notes)))
    assert (right.name, left.name, right.program, left.program) == (RIGHT, LEFT, 5, 5)
    assert sorted([*right.notes, *left.notes], key=lambda n: (n.onset, n.pitch)) == list(separated(notes))
    for low in left.notes:
        assert all(high.pitch > low.pitch for high in right.notes if high.onset == low.onset)


def test_a_rag_falls_into_its_two_hands():
    # The left hand plays a bass octave, a chord, a bass octave and a chord; the melody in octaves comes down to them.
    below = [(36, 48), (52, 55, 60), (31, 43), (53, 55, 59)]
    above = [(76, 88), (72, 84), (67, 79), (64, 76)]
    right, left = hands(_part(*(low + high for low, high in zip(below, above, strict=True))))
    assert [note.pitch for note in left.notes] == [pitch for chord in below for pitch in chord]
    assert [note.pitch for note in right.notes] == [pitch for chord in above for pitch in chord]


def test_a_copied_hand_is_found_over_another():
    melody = [76, 79, 74, 77, 72, 81]
    theirs = _part(*((40 + i % 3, pitch) for i, pitch in enumerate(melody)))
    mine = _part((45, 90), *((52 - 2 * i, pitch + 2) for i, pitch in enumerate(melody)), (45, 90))
    other = _part(*((38 + i, 70 + i * i) for i in range(6)))
    assert longest_match(mine, [other, theirs]).notes < 6
    match, hand = longest_match_of_hands(mine, [other, theirs])
    assert (match.notes, match.bars, match.start, match.source, match.source_start, hand) == (6, 36 / 48, 1, 1, 0, RIGHT)
    assert longest_match_of_hands(mine, [other, theirs], metre=(2, 4))[0].bars == 36 / 24
    match, hand = longest_match_of_hands(theirs, [other, theirs])
    assert (match.notes, match.source, hand) == (12, 1, "")


def test_no_notes_are_two_empty_hands():
    assert hands(Part()) == (Part(RIGHT), Part(LEFT))


def test_the_melody_is_heard_over_the_rest():
    right, left = played(_part((36, 48, 72, 76, 84), (52, 55, 60, 86), (43, 88)), QUARTERS)
    by_place = {(note.onset, note.pitch): note.velocity for note in right.notes}
    assert by_place[0, 72] == by_place[0, 76] == by_place[0, 84] - 12
    assert by_place[0, 84] < by_place[12, 88]  # it rises
    assert [note.velocity for note in left.notes] == [70, 70, 62, 62, 62, 70]  # on the beat, off it, on the next


def test_an_inner_voice_is_softer_than_what_is_held_over_it():
    right, _ = played(Part(notes=(Note(0, 48, 84), Note(12, 6, 79), Note(24, 6, 77), Note(72, 12, 84))), QUARTERS)
    assert [note.velocity for note in right.notes] == [82, 70, 70, 82]


@given(NOTES)
def test_any_notes_can_be_played(notes):
    part = Part(notes=tuple(notes))
    silent = [{(n.onset, n.duration, n.pitch) for n in hand.notes} for hand in played(part, QUARTERS)]
    assert silent == [{(n.onset, n.duration, n.pitch) for n in hand.notes} for hand in map(module.rolled, hands(part))]


def test_accents_follow_the_beat():
    chords = [(48, 72)] * 7
    assert [note.velocity for note in played(_part(*chords), QUARTERS)[1].notes] == [70, 62, 70, 62, 70, 62, 70]
    dotted = np.arange(0, 96, 18)
    assert [note.velocity for note in played(_part(*chords), dotted)[1].notes] == [70, 62, 62, 70, 62, 62, 70]
    assert [note.velocity for note in played(_part(*chords), dotted)[0].notes] == [76, 82, 82, 76, 82, 82, 82]


@given(st.lists(PITCHES, max_size=12))
def test_velocities_can_be_written(chords):
    for part in played(_part(*chords), QUARTERS):
        assert all(1 <= note.velocity <= 127 for note in part.notes)


def test_a_chord_wider_than_a_tenth_is_rolled():
    tenth, wider = (Note(0, 12, 40), Note(0, 12, 47), Note(0, 12, 56)), (Note(12, 6, 40), Note(12, 2, 50), Note(12, 6, 57))
    short = (Note(24, 1, 40), Note(24, 12, 60))
    rolled = module.rolled(Part(notes=(*tenth, *wider, *short)))
    spread = (Note(12, 6, 40), Note(13, 1, 50), Note(14, 4, 57), Note(24, 1, 40), Note(25, 11, 60))
    assert rolled.notes == (*tenth, *spread)
