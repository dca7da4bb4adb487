"""What the model knows besides the last notes: its place in the form, the phrase, bars ago; and how a solo ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from differences import central_differences, normal
from jazz_song import song

from fastrnn.music import generation
from fastrnn.music._midi import songs
from fastrnn.music._model.batching import Line
from fastrnn.music._model.ending import Ending
from fastrnn.music._model.form import BAR, GROUP, GROUPS, LEFT, bar_features, bars_of, chorus_of, phrase_features
from fastrnn.music._model.habits import Plan, habits_of
from fastrnn.music._model.memory import LAGS, K, Memory, form_features, moments, recalled, repeats, runs
from fastrnn.music._output.solo_statistics import ends_on_chord_tone, is_closed
from fastrnn.music._theory.cadence import closing_chord
from fastrnn.music._theory.repetition import Remembered, RepeatLogits
from fastrnn.music.changes import parse_changes, progression
from fastrnn.music.chords import parse_chord
from fastrnn.music.generation import Form, improvise
from fastrnn.music.jazz_model import jazz_model
from fastrnn.music.piece import Note, Part, Piece
from fastrnn.music.tokens import clock, encode
from fastrnn.music.vocabulary import DURATION, PITCH, SHIFT, PartVocabulary
from fastrnn.sampling import Choice, choose

SMALL = PartVocabulary(58, 75)
WORDS = {SHIFT: "shift", PITCH: "pitch", DURATION: "duration"}


def encoded(*notes, vocabulary=SMALL):
    return encode(Part(notes=tuple(Note(*note) for note in notes)), vocabulary, end=False)


def named(found, vocabulary=SMALL):
    """Return the names of recalled tokens, ``-`` for none."""
    names = [*vocabulary.names(), "-"]
    return [names[token] for token in found]


# the place in the form


def test_the_chorus_is_found_from_the_chords():
    four = ["Dm7", "G7", "C", "C"]
    assert chorus_of(four) == (4, False)
    assert chorus_of(four * 3) == (4, False)
    assert chorus_of([*four * 3, "C"]) == (4, True)
    assert chorus_of(list("abcdefghijkl")) == (12, False)
    assert chorus_of([*"abcdefghijkl" * 2, "x"]) == (12, True)
    assert chorus_of(list("abcdefg")) == (7, False)
    assert chorus_of(["C"]) == (1, False)
    assert chorus_of(["C"] * 16) == (4, False)


def test_bars_have_the_chords_that_sound_in_them():
    ticks, symbols = np.array([12, 48, 72, 144]), ["Dm7", "G7", "C", "F"]
    found = bars_of(np.array([0, 48, 96, 144]), ticks, symbols)
    assert found == [("", (12, "Dm7")), ("G7", (24, "C")), ("C",), ("F",)]


def test_places_in_the_form_by_value():
    features = bar_features([*"abcdefghijkl" * 2, "x"])
    assert features.shape == (25, BAR)
    groups, left, choruses = GROUP, GROUP + GROUPS, GROUP + GROUPS + LEFT + 1
    for bar in range(24):
        within, remaining = bar % 12, 24 - bar
        expected = {within % 4, groups + within // 4, left + min(remaining, 8), choruses + (bar < 12)}
        assert set(np.flatnonzero(features[bar])) == expected
    assert set(np.flatnonzero(features[24])) == {left, choruses}  # the closing bar
    assert not bar_features(list("abcd" * 3))[:, left:].any()  # without one, the music may go on


def test_the_age_of_a_phrase_by_value():
    onset, duration = np.array([0, 12, 60, 66]), np.array([12, 24, 6, 6])  # a rest of two quarters before tick 60
    at, done = np.array([0, 12, 36, 47, 48, 60, 66, 72]), np.array([0, 1, 2, 2, 2, 2, 3, 4])
    found = phrase_features(at, done, onset, duration)
    ages = [np.flatnonzero(row[:-1]).tolist() for row in found]
    # Two quarters each; before the first note, and in a silence of a quarter, there is no phrase.
    assert ages == [[], [0], [1], [1], [], [], [0], [0]]
    np.testing.assert_allclose(found[:, -1] * 4 * 12, [0, 0, 0, 11, 12, 24, 0, 0], rtol=1e-6)


# the memory of bars ago


def expected_tokens(ids, bars, vocabulary):
    """Compute the recalled tokens again, token by token, from the definition."""
    kinds, values, complete = vocabulary.kinds(), vocabulary.values(), vocabulary.complete()
    notes, rows, due, held, pitch = [], [], SHIFT, 0, None
    for n, token in enumerate(ids):
        time = int(clock(ids[:n], vocabulary)[-1])
        at = onset if due == DURATION else time  # noqa: F821 - it is set at each pitch
        bar = max(b for b, tick in enumerate(bars) if tick <= at)
        struck = sum(note[0] == at for note in notes)
        rows.append([])
        for lag in LAGS:
            pair = [-1, -1]
            if bar >= lag:
                then = bars[bar - lag] + at - bars[bar]
                here = [j for j, note in enumerate(notes) if note[0] == then][struck:]
                later = [j for j, note in enumerate(notes) if note[0] > then]
                if due == SHIFT and (here or later):
                    pair[0] = min(notes[(here or later)[0]][0] - then, 48)
                elif due == PITCH and here:
                    j = here[0]
                    pair[1] = vocabulary.first_pitch + notes[j][2] - vocabulary.low
                    moved = pitch + notes[j][2] - notes[j - 1][2] if j else -1
                    if vocabulary.low <= moved <= vocabulary.high:
                        pair[0] = vocabulary.first_pitch + moved - vocabulary.low
                elif due == DURATION and here and notes[here[0]][1] > held:
                    pair[0] = vocabulary.first_duration + min(notes[here[0]][1] - held, 49) - 1
            rows[-1] += pair
        if kinds[token] == PITCH:
            onset, pitch, held = time, int(values[token]), 0
        elif kinds[token] == DURATION:
            held += int(values[token])
        if complete[token]:
            if due == DURATION:
                notes.append((onset, held, pitch))
            due = (due + 1) % 3
    return np.array(rows)


@pytest.mark.parametrize("polyphonic", [False, True])
def test_recalled_tokens_are_those_of_the_definition(polyphonic):
    vocabulary = PartVocabulary(55, 76, polyphonic)
    played = song(4, 12, polyphonic).part.notes
    held = tuple(replace(note, onset=note.onset + 12 * 48, duration=60 if i % 5 == 0 else note.duration)
                 for i, note in enumerate(played) if i % 5 < 2 and note.onset % 48 < 6)  # fmt: skip
    part = Part(notes=(*played, *(note for note in held if polyphonic or note.onset % 96 < 6)))
    ids = encode(part, vocabulary, end=False)
    bars = np.arange(0, 26 * 48, 48)
    found = recalled(*moments(ids, vocabulary), bars, vocabulary)
    np.testing.assert_array_equal(found, expected_tokens(ids, bars, vocabulary))
    assert (found >= 0).mean(0).min() > 0.005


def test_a_motif_moved_by_a_fourth_is_recalled():
    ids = encoded((0, 6, 60), (6, 12, 64), (48, 6, 65), (54, 12, 69))
    found = recalled(*moments(ids, SMALL), np.array([0, 48, 96]), SMALL)[:, :2]  # one bar ago
    rows = [named(row) for row in found]
    assert rows[6:] == [["-", "-"], ["-", "pitch 60"], ["duration 6", "-"], ["shift 0", "-"],
                        ["pitch 69", "pitch 64"], ["duration 12", "-"]]  # fmt: skip
    flags = repeats(ids, recalled(*moments(ids, SMALL), np.array([0, 48, 96]), SMALL))[:, 0]
    assert flags.tolist() == [False] * 8 + [True] * 4
    np.testing.assert_allclose(runs(flags[:, None].repeat(len(LAGS), 1))[:, 0] * 12, [0] * 9 + [1, 2, 3])


@pytest.mark.parametrize("polyphonic", [False, True])
def test_step_by_step_the_memory_is_that_of_the_whole_part(polyphonic):
    vocabulary = PartVocabulary(50, 80, polyphonic)
    one = song(2, 40, polyphonic)
    line = Line.of(one, vocabulary)
    *_, form, recall, run, ids = line.steps(line.ids, vocabulary)
    memory = Memory(vocabulary, line.bars.astype(np.int64), line.places)
    for n, token in enumerate(ids.tolist()):
        for mine, theirs in zip(memory.inputs(), (form, recall, run), strict=True):
            np.testing.assert_array_equal(mine[0], theirs[n])
        memory.take(token)
    moment, notes = moments(ids, vocabulary)
    np.testing.assert_array_equal(form, form_features(moment, notes, line.bars, line.places))


def test_a_window_of_steps_is_part_of_all_steps():
    one = song(6, 30, polyphonic=True)
    vocabulary = PartVocabulary(50, 80, polyphonic=True)
    line = Line.of(one, vocabulary)
    every = line.steps(line.ids, vocabulary)
    assert (every[7] > 0).any()
    for start, count in ((0, 5), (7, 20), (100, 40), (len(line.ids) - 3, 10)):
        for mine, theirs in zip(line.steps(line.ids, vocabulary, start, count), every, strict=True):
            np.testing.assert_array_equal(mine, theirs[start : start + count])


# the layers


def test_what_is_remembered_by_value():
    chord = np.stack([parse_chord("C7").features(), parse_chord("F").features()]).astype(np.float64)
    first, duration = SMALL.first_pitch, SMALL.first_duration
    found = np.full((2, 2 * len(LAGS)), -1)
    found[0, :4] = first + 64 - 58, first + 62 - 58, duration + 17, -1  # E and D; 18 ticks
    found[1, 2] = 0
    y = Remembered(SMALL)(found, chord, np.array([60 - 58, -1]))
    K = len(LAGS)
    expected = np.zeros((2, 7, K))  # known, shift 0, quarters, interval and chord tone of both pitches
    expected[0, :, 0] = [1, 0, 0, 4 / 12, 1, 2 / 12, 0]
    expected[0, :, 1] = [1, 0, 1.5, 0, 0, 0, 0]
    expected[1, :, 1] = [1, 1, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(y, expected.reshape(2, -1))


def test_repeat_logits_by_value_and_gradient():
    logits, gates, dy = normal(3, 5), normal(3, 4, seed=1), normal(3, 5, seed=2)
    found = np.array([[0, 4, -1, 2], [1, 1, -1, -1], [-1, -1, -1, -1]])
    expected = logits.copy()
    for n, j in np.ndindex(3, 4):
        if found[n, j] >= 0:
            expected[n, found[n, j]] += gates[n, j]
    layer = RepeatLogits()
    y, backward = layer.forward(logits, gates, found)
    np.testing.assert_allclose(y, expected)
    dlogits, dgates, _ = backward(dy)
    np.testing.assert_array_equal(dlogits, dy)
    wanted = central_differences(lambda: float((layer(logits, gates, found) * dy).sum()), gates)
    np.testing.assert_allclose(dgates, wanted, rtol=1e-7, atol=1e-8)


# the ending


@pytest.mark.parametrize(
    ("changes", "closing"),
    [
        ("C7 | F7 | C7 | Dm7 G7", "C7"), ("Dm7 | G7 | Cmaj7 | %", "Cmaj7"), ("Dm7 | G7", "C6"), ("C | G7 | C", "C"),
        ("C7", "C7"), ("Am7 | D7 | Gmaj7 | D7", "Gmaj7"),
        ("N.C. | Fmaj7 | Gm7 | C7", "Fmaj7"), ("N.C. | C7 | F7 | C7", "C7"), ("C | N.C.", "N.C."), ("N.C.", "N.C."),
        ("D#m7 | G#7", "C#6"), ("Abm7 | Db7#9", "Gb6"), ("Em7b5 | A7#9", "D6"),
    ],
)  # fmt: skip
def test_the_closing_chord(changes, closing):
    assert closing_chord([chord for _, chord in parse_changes(changes).chords]).symbol == closing


def test_the_mask_of_an_ending_by_value():
    ending = Ending(SMALL, 96, 144, [96, 108, 120, 132], parse_chord("C").pitch_classes)
    names = SMALL.names()

    def allowed(due, time, held=0):
        return [names[i] for i in np.flatnonzero(ending.mask(due, time, held)) if names[i].startswith(WORDS[due])]

    shifts = [int(name.split()[1]) for name in allowed(SHIFT, 90) if "long" not in name]
    assert shifts == [*range(6), 6, 18, 30, 42]  # within the bar before, or to a beat of the closing bar
    assert "shift long" not in allowed(SHIFT, 90)
    assert "shift long" in allowed(SHIFT, 80)
    assert len(allowed(PITCH, 95)) == SMALL.pitches
    assert [int(name.split()[1]) % 12 for name in allowed(PITCH, 96)] == [0, 4, 7, 0]
    assert allowed(DURATION, 90) == [f"duration {n}" for n in range(1, 7)]  # up to the closing bar
    assert allowed(DURATION, 90, held=48) == [f"duration {n}" for n in range(1, 7)]  # in a line the time includes it
    assert allowed(DURATION, 120) == [f"duration {n}" for n in range(12, 25)]


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("polyphonic", [False, True])
@pytest.mark.parametrize(
    ("changes", "metre"), [("blues", (4, 4)), ("Dm7 | G7", (3, 4)), ("C | F | G7", (6, 8)), ("C", (2, 4))]
)
def test_whatever_is_sampled_has_an_ending(changes, metre, polyphonic, memory):
    vocabulary = PartVocabulary(55, 80, polyphonic)
    model = jazz_model(vocabulary, hidden=8, layers=1, embedding=4, memory=memory, rng=0)
    played = progression(changes, "C", metre) if changes == "blues" else parse_changes(changes, metre)
    form = Form.of(played).with_closing_bar()
    assert form.length == played.length + played.bar == form.closing + played.bar
    for seed in range(3):
        solo = improvise(model, vocabulary, form, choice=Choice(3.0), seed=seed)
        piece = Piece((solo.part,), form.metres, chords=form.chords, length=form.length)
        assert ends_on_chord_tone(piece)
        assert is_closed(piece)
        last = [note for note in solo.part.notes if note.onset >= form.closing]
        assert len({note.onset for note in last}) == 1
        assert all(note.end <= form.closing for note in solo.part.notes if note not in last)
        encode(solo.part, vocabulary)


@pytest.mark.parametrize(("polyphonic", "planned", "rhythm"), [(False, True, 0.9), (False, False, 0.5), (True, True, 0.5)])
def test_a_lines_rhythm_loses_a_fifth_of_the_tail_that_pitches_lose(polyphonic, planned, rhythm, monkeypatch):
    vocabulary = PartVocabulary(55, 80, polyphonic)
    model = jazz_model(vocabulary, hidden=8, layers=1, embedding=4, rng=0)
    kinds, found = vocabulary.kinds(), set()

    def chosen(logits, uniforms, rule):
        token = choose(logits, uniforms, rule)
        found.add((kinds[token[0]] == PITCH, rule.top_p))
        return token

    monkeypatch.setattr(generation, "choose", chosen)
    habits = np.full((2, K), 0.5) if planned else None
    improvise(model, vocabulary, Form.of(parse_changes("C | G7")), choice=Choice(top_p=0.5), seed=0, habits=habits)
    assert found == {(True, 0.5), (False, rhythm)}


def test_no_bar_is_added_to_a_form_that_is_not_to_end():
    form = Form.of(parse_changes("C | G7"))
    assert form.closing is None
    closed = form.with_closing_bar()
    assert closed.until(96) == form
    assert [chord.symbol for _, chord in closed.chords] == ["C", "G7", "C"]
    assert closed.places().shape == (4, BAR)


# habits and plans


def test_habits_by_value():
    bar, other = ((0, 12, 60), (12, 12, 64), (24, 12, 62)), ((0, 6, 72), (12, 6, 60), (30, 6, 67))

    def piece(*bars):
        notes = tuple(Note(48 * b + onset, d, p) for b, notes in enumerate(bars) for onset, d, p in notes)
        return Line.of(songs.Song("", Piece((Part(notes=notes),), length=48 * len(bars))), SMALL)

    # All bars but the first begin after a rest. The second repeats the first, and the fourth the one two bars ago.
    found = habits_of([piece(bar, bar, other, bar)], SMALL)
    assert found[0].tolist() == [0] * len(LAGS)
    np.testing.assert_allclose(found[1][:2], [1 / 3, 1 / 2])


def test_a_plan_favours_what_repeats():
    vocabulary = PartVocabulary(48, 84)
    roots = np.array([5, 10, 5])  # F, Bb, F
    plan = Plan(np.array([[0.0] * 5, [1.0] * 5]), np.array([0, 48, 96]), roots, vocabulary, np.random.default_rng(0))
    first = vocabulary.first_pitch - vocabulary.low
    found = np.full(10, -1)
    found[0], found[1] = first + 70, first + 65  # one bar ago: as the melody moved, and the same key

    def favoured(due, at, after_rest=True):
        logits = np.zeros(len(vocabulary))
        plan.favour(logits, due, at, found, after_rest)
        return np.flatnonzero(logits).tolist()

    assert favoured(PITCH, 0, after_rest=False) == []  # no bar without a rest before it repeats
    assert favoured(PITCH, 48) == [first + 70]  # F, moved up a fourth as the root
    assert favoured(PITCH, 54) == [first + 70]  # later ones move as the melody did
    found[0] = 6
    assert favoured(SHIFT, 60) == [6]
    found[:2] = -1
    assert favoured(DURATION, 60) == []
    assert favoured(PITCH, 96) == []  # nothing to repeat


def test_strong_beats_by_value():
    assert Piece(length=96).strong_beats().tolist() == [0, 24, 48, 72]
    assert Piece(length=72, metres=((0, 3, 4),)).strong_beats().tolist() == [0, 36]
    assert Piece(length=36, metres=((0, 6, 8),)).strong_beats().tolist() == [0, 18]


def test_two_hands_repeat_a_bar_only_over_the_same_root():
    vocabulary = PartVocabulary(48, 84, polyphonic=True)
    plan = Plan(np.ones((2, 5)), np.array([0, 48, 96]), np.array([5, 10, 5]), vocabulary, np.random.default_rng(0))
    found = np.full(10, -1)
    found[0], found[2] = 6, 9  # one and two bars ago
    logits = np.zeros(len(vocabulary))
    plan.favour(logits, SHIFT, 48, found, False)
    assert not logits.any()
    plan.favour(logits, SHIFT, 96, found, False)
    assert np.flatnonzero(logits).tolist() == [9]
