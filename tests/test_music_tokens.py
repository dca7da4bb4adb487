"""Tokens: what they mean, that they lose nothing, and that every sequence under the grammar's mask is music."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tables import each_row

from fastrnn.music._midi.roles import skyline
from fastrnn.music._model.grammar import Grammar
from fastrnn.music.midi import parse_midi
from fastrnn.music.midi_writing import midi_bytes
from fastrnn.music.piece import Note, Part, Piece, merged, separated
from fastrnn.music.tokens import clock, decode, encode, keys, transposed
from fastrnn.music.vocabulary import PITCH, SHIFT, PartVocabulary

LINE = PartVocabulary(40, 80)
PIANO = PartVocabulary(21, 108, polyphonic=True)
VOCABULARIES = [
    LINE,
    PIANO,
    PartVocabulary(60, 60, polyphonic=True),
    PartVocabulary(60, 61, polyphonic=True),
    PartVocabulary(5, 5),
]


def words(ids, vocabulary):
    names = vocabulary.names()
    return [names[token] for token in ids]


def parts(vocabulary, most=20):
    """Draw parts that the vocabulary can express, also with onsets and durations that need several tokens."""
    ticks = st.one_of(st.integers(0, 100), st.integers(0, 1000))
    note = st.builds(Note, ticks, ticks.map(lambda d: d + 1), st.integers(vocabulary.low, vocabulary.high))
    played = st.lists(note, max_size=most).map(lambda notes: Part(notes=separated(notes)))
    return played if vocabulary.polyphonic else played.map(skyline)


def test_a_line_in_words():
    part = Part(notes=(Note(6, 6, 60), Note(12, 100, 62), Note(212, 48, 59)))
    ids = encode(part, LINE)
    assert words(ids, LINE) == [
        *("shift 6", "pitch 60", "duration 6"),
        *("shift 0", "pitch 62", "duration long", "duration long", "duration 4"),
        *("shift long", "shift long", "shift 4", "pitch 59", "duration 48"),
        "end",
    ]
    assert clock(ids, LINE).tolist() == [0, 6, 6, 12, 12, 12, 60, 108, 112, 160, 208, 212, 212, 260, 260]
    assert decode(ids, LINE, velocity=80) == part


def test_two_hands_in_words():
    right = Part("right", notes=(Note(0, 12, 72), Note(12, 12, 74)))
    left = Part("left", notes=(Note(0, 24, 48), Note(0, 24, 55)))
    part = merged((right, left), "piano")
    ids = encode(part, PIANO, end=False)
    assert words(ids, PIANO) == [
        *("shift 0", "pitch 48", "duration 24"),
        *("shift 0", "pitch 55", "duration 24"),
        *("shift 0", "pitch 72", "duration 12"),
        *("shift 12", "pitch 74", "duration 12"),
    ]
    assert clock(ids, PIANO).tolist() == [0] * 10 + [12] * 3
    assert decode(ids, PIANO, name="piano") == part


def test_the_vocabulary_follows_its_table():
    assert (len(LINE), len(PIANO)) == (48 + 1 + 41 + 48 + 1 + 1, 187)
    assert len(LINE.kinds()) == len(LINE.values()) == len(LINE.complete()) == len(LINE.names()) == len(LINE)
    assert len(set(LINE.names())) == len(LINE)
    named = {name: token for token, name in enumerate(LINE.names())}
    assert named["shift 0"] == 0
    assert named["shift long"] == LINE.long_shift == 48
    assert named["pitch 40"] == LINE.first_pitch == 49
    assert named["duration 1"] == LINE.first_duration == 90
    assert named["duration long"] == LINE.long_duration == 138
    assert named["end"] == LINE.end == 139
    assert PartVocabulary(**dataclasses.asdict(PIANO)) == PIANO


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=str)
@settings(max_examples=40)
@given(st.data())
def test_parts_come_back_from_their_tokens_which_the_grammar_takes(vocabulary, data):
    part = data.draw(parts(vocabulary))
    ids = encode(part, vocabulary)
    assert decode(ids, vocabulary) == part
    grammar, times = Grammar(vocabulary), []
    for token in ids.tolist():
        times.append(grammar.time)
        grammar.advance(token)
    assert [*times, grammar.time] == clock(ids, vocabulary).tolist()
    assert np.flatnonzero(grammar.mask()).tolist() == [vocabulary.end]  # nothing else follows an end


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=str)
@settings(max_examples=30)
@given(st.randoms(use_true_random=False), st.integers(0, 60))
def test_every_sequence_under_the_mask_is_music_with_one_spelling(vocabulary, random, length):
    grammar, ids = Grammar(vocabulary), []
    for _ in range(length):
        allowed = np.flatnonzero(grammar.mask()).tolist()
        assert allowed
        # The end is rare, because samples would be too short; small shifts and high notes are frequent, so that keys run
        # out.
        token = random.choice([allowed[0], random.choice(allowed), max(allowed[:-1], default=allowed[0])])
        ids.append(token)
        grammar.advance(token)
    part = decode(ids, vocabulary)
    assert part.notes == separated(part.notes)
    assert all(vocabulary.low <= note.pitch <= vocabulary.high for note in part.notes)
    if not vocabulary.polyphonic:
        assert part.notes == skyline(part).notes
    again = encode(part, vocabulary, end=False).tolist()
    assert again == ids[: len(again)]  # the rest is the end, or an incomplete note


@pytest.mark.parametrize("vocabulary", [LINE, PartVocabulary(58, 62, polyphonic=True)], ids=str)
@settings(max_examples=40)
@given(st.data())
def test_the_mask_forbids_only_what_does_not_decode(vocabulary, data):
    """If one token is replaced by another, the grammar and the decoder agree on whether the result is music."""
    ids = encode(data.draw(parts(vocabulary, 5)), vocabulary)
    place = data.draw(st.integers(0, len(ids) - 1))
    token = data.draw(st.integers(0, len(vocabulary) - 1))
    grammar = Grammar(vocabulary)
    for before in ids[:place].tolist():
        grammar.advance(before)
    changed = [*ids[:place].tolist(), token]
    if grammar.mask()[token]:
        decode(changed, vocabulary)
    else:
        with pytest.raises(ValueError, match="token must be one that may follow"):
            grammar.advance(token)
        # The decoder checks a pitch when its note is complete. A shift is forbidden if no key can be struck after it.
        tick, first = vocabulary.first_duration, vocabulary.first_pitch
        completions = {PITCH: [[tick]], SHIFT: [[first + key, tick] for key in range(vocabulary.pitches)]}
        for rest in completions.get(int(vocabulary.kinds()[token]), [[]]):
            with pytest.raises(ValueError, match="ids must"):
                decode([*changed, *rest], vocabulary)


@settings(max_examples=40)
@given(st.lists(parts(PIANO), min_size=1, max_size=3).filter(lambda drawn: any(part.notes for part in drawn)))
def test_midi_to_tokens_to_midi_loses_nothing(drawn):
    first = parse_midi(midi_bytes(Piece(tuple(drawn))), fewest=1)
    part = merged(first.parts)
    ids = encode(part, PIANO)
    again = parse_midi(midi_bytes(dataclasses.replace(first, parts=(decode(ids, PIANO, name=part.name),))), fewest=1)
    assume(first.swing == again.swing)  # swing is guessed from each part's notes, so merged parts may give another guess
    assert again.parts == (part,)
    assert (again.metres, again.tempos, again.length) == (first.metres, first.tempos, first.length)


@settings(max_examples=40)
@given(parts(LINE).filter(lambda part: part.notes))
def test_transposed_to_all_keys_within_the_range(part):
    ids = encode(part, LINE)
    moves = keys(ids, LINE)
    pitches = [note.pitch for note in part.notes]
    for key in range(12):
        fitting = [move for move in range(-60, 61) if move % 12 == key]
        fitting = [move for move in fitting if min(pitches) + move >= LINE.low and max(pitches) + move <= LINE.high]
        assert (key in moves) == bool(fitting)
        if fitting:
            assert abs(moves[key]) == min(map(abs, fitting))
            moved = decode(transposed(ids, LINE, moves[key]), LINE)
            assert moved == Part(notes=tuple(dataclasses.replace(n, pitch=n.pitch + moves[key]) for n in part.notes))
    with pytest.raises(ValueError, match=r"semitones must keep all notes in 40\.\.80, got 41"):
        transposed(ids, LINE, 41)


def test_keys_of_parts_without_notes_or_without_room():
    assert keys(encode(Part(), LINE), LINE) == {key: key if key < 6 else key - 12 for key in range(12)}
    wide = encode(Part(notes=(Note(0, 1, 40), Note(1, 1, 80))), LINE)
    assert keys(wide, LINE) == {0: 0}


NOW, LOWEST, HALF = 0, LINE.first_pitch, LINE.first_duration + 23  # tokens of LINE


@each_row(
    ("call", "error", "message"),
    [
        (lambda: PartVocabulary(60, 59), ValueError, "high must be at least 60, got 59"),
        (lambda: PartVocabulary(0, 128), ValueError, "high must be at most 127, got 128"),
        (lambda: PartVocabulary(0, 12, 1), TypeError, "polyphonic must be True or False, got 1"),
        (lambda: encode(Part(notes=(Note(3, 1, 81),)), LINE), ValueError, r"pitches in 40\.\.80, got 81 at tick 3"),
        (
            lambda: encode(Part(notes=(Note(0, 3, 50), Note(2, 1, 52))), LINE),
            ValueError,
            "got several at tick 2: take its skyline",
        ),
        (lambda: decode([0.5], LINE), TypeError, r"ids must be integers of shape \[N\]"),
        (lambda: decode([[0]], LINE), TypeError, r"ids must be integers of shape \[N\], got"),
        (lambda: decode([0, 140], LINE), ValueError, r"ids must be in 0\.\.139, got 140"),
        (lambda: decode([0, -1], LINE), ValueError, r"ids must be in 0\.\.139, got -1"),
        (lambda: decode([NOW, LOWEST, NOW], LINE), ValueError, "got shift 0 at 2, where a duration was due"),
        (lambda: decode([NOW, LINE.end], LINE), ValueError, "got an end at 1, within a note"),
        (lambda: Grammar(LINE).advance(LINE.first_pitch), ValueError, "a shift or end, got 49: pitch 40"),
        (lambda: Grammar(LINE).advance(999), ValueError, "a shift or end, got 999: no token"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_tokens_after_the_end_and_an_incomplete_note_are_ignored():
    whole = [NOW, LOWEST, HALF]
    part = Part(notes=(Note(0, 24, 40),))
    ended, begun = ([], [LINE.end], [LINE.end, LOWEST, 5]), ([NOW], [LINE.long_shift], [NOW, LOWEST])
    for rest in (*ended, *begun, [NOW, LOWEST, LINE.long_duration]):
        assert decode([*whole, *rest], LINE) == part
    assert decode([], LINE) == Part()
