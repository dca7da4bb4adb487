"""Chord symbols, changes, progressions, and chords inferred from notes: values, and properties that hold in every key."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from fastrnn.music import changes as ch
from fastrnn.music._midi import harmony
from fastrnn.music.chords import NO_CHORD, SCALES, ChordError, note_name, parse_chord, parse_note, scale, scales
from fastrnn.music.piece import Note, Part, Piece

MAJOR, MINOR, SEVENTH = {0, 4, 7}, {0, 3, 7}, {0, 4, 7, 10}
SYMBOLS = {
    "C": MAJOR, "Cmaj": MAJOR, "CM": MAJOR, "Cm": MINOR, "Cmin": MINOR, "C-": MINOR, "Cmi": MINOR,
    "Cmaj7": {0, 4, 7, 11}, "CM7": {0, 4, 7, 11}, "C∆": {0, 4, 7, 11}, "CΔ7": {0, 4, 7, 11}, "Cma7": {0, 4, 7, 11},
    "CMA7": {0, 4, 7, 11}, "CMI7": {0, 3, 7, 10}, "CMin7": {0, 3, 7, 10}, "C\u22127": {0, 3, 7, 10},
    "C7(b9,#11)": SEVENTH | {1, 6},
    "C-7": {0, 3, 7, 10}, "Cm7": {0, 3, 7, 10}, "Cmin7": {0, 3, 7, 10}, "Cm7b5": {0, 3, 6, 10}, "Cø": {0, 3, 6, 10},
    "Cø7": {0, 3, 6, 10},
    "C-7♭5": {0, 3, 6, 10}, "Cdim": {0, 3, 6}, "C°": {0, 3, 6}, "Cdim7": {0, 3, 6, 9}, "Co7": {0, 3, 6, 9},
    "C°7": {0, 3, 6, 9}, "C7": SEVENTH, "C9": SEVENTH | {2}, "C11": {0, 2, 5, 7, 10}, "C13": SEVENTH | {2, 9},
    "C7b9": SEVENTH | {1}, "C7-9": SEVENTH | {1}, "C7(b9)": SEVENTH | {1}, "C7#9": SEVENTH | {3}, "C7+9": SEVENTH | {3},
    "C7alt": {0, 4, 10, 1, 3, 6, 8}, "C7#11": SEVENTH | {6}, "C7b9b13": SEVENTH | {1, 8}, "C13b9": SEVENTH | {1, 9},
    "C7b5": {0, 4, 6, 10}, "C7#5": {0, 4, 8, 10}, "C7+": {0, 4, 8, 10}, "C+7": {0, 4, 8, 10}, "C6": MAJOR | {9},
    "C6/9": MAJOR | {9, 2}, "C69": MAJOR | {9, 2}, "Cm6": MINOR | {9}, "CmMaj7": MINOR | {11}, "Cm(maj7)": MINOR | {11},
    "C-∆7": MINOR | {11}, "Cmaj9": {0, 2, 4, 7, 11}, "Cm9": {0, 2, 3, 7, 10}, "C-9": {0, 2, 3, 7, 10},
    "Cm11": {0, 2, 3, 5, 7, 10},
    "Csus": {0, 5, 7}, "Csus4": {0, 5, 7}, "Csus2": {0, 2, 7}, "C7sus4": {0, 5, 7, 10}, "C9sus4": {0, 2, 5, 7, 10},
    "Caug": {0, 4, 8}, "C+": {0, 4, 8}, "C5": {0, 7}, "Cadd9": MAJOR | {2}, "Cmadd9": MINOR | {2}, "C7no5": {0, 4, 10},
    "Cmaj7#11": {0, 4, 6, 7, 11}, "Cmaj7#5": {0, 4, 8, 11}, "C(#9)": MAJOR | {3},
    "C7(b9,#5)": {0, 1, 4, 8, 10}, "C7(-5)": {0, 4, 6, 10}, "Cm7(b5)": {0, 3, 6, 10}, "C7b9#9": SEVENTH | {1, 3},
    "C7sus": {0, 5, 7, 10}, "C7susb9": {0, 1, 5, 7, 10}, "C9#11": SEVENTH | {2, 6}, "C7(13)": SEVENTH | {9},
    "C7(9,13)": SEVENTH | {2, 9}, "Cm7(11)": {0, 3, 5, 7, 10}, "Cmaj7(9)": {0, 2, 4, 7, 11}, "C6(9)": MAJOR | {2, 9},
    "Cm6/9": MINOR | {2, 9}, "Cmaj13": {0, 2, 4, 7, 9, 11},
}  # fmt: skip


@each_row("symbol", SYMBOLS)
def test_symbols(symbol):
    for root in ("C", "Eb", "F#", "B♭", "G♯"):
        chord = parse_chord(root + symbol[1:])
        assert chord.intervals == SYMBOLS[symbol]
        assert chord.root == chord.bass == parse_note(root)
        assert chord.symbol == root + symbol[1:]


@each_row(
    ("symbol", "classes"),
    [
        ("Bbmaj7#11", {10, 2, 5, 9, 4}), ("F#m7b5/C", {6, 9, 0, 4}), ("N.C.", set()), ("C6/9", {0, 4, 7, 9, 2}),
        ("CΔ7", {0, 4, 7, 11}), ("Cø", {0, 3, 6, 10}), ("C-7", {0, 3, 7, 10}), ("Csus", {0, 5, 7}),
        ("C7alt", {0, 4, 10, 1, 3, 6, 8}), ("Cm(maj7)", {0, 3, 7, 11}), ("C7(b9,#5)", {0, 4, 8, 10, 1}),
        ("A♭7", {8, 0, 3, 6}), ("Eb7(9,#11)/Bb", {3, 7, 10, 1, 5, 9}), ("B♭-∆7", {10, 1, 5, 9}), ("F♯°7", {6, 9, 0, 3}),
    ],
)  # fmt: skip
def test_symbols_by_their_notes(symbol, classes):
    assert parse_chord(symbol).pitch_classes == classes


def test_the_accidental_after_the_letter_is_the_roots():
    assert parse_chord("C#9").root == 1
    assert parse_chord("C#9").intervals == SEVENTH | {2}
    assert [parse_note(name) for name in ("C", "Cb", "B#", "F##", "E♭", "Bbb")] == [0, 11, 0, 7, 3, 9]


def test_slash_chords():
    assert (parse_chord("C/E").root, parse_chord("C/E").bass, parse_chord("C/E").pitch_classes) == (0, 4, {0, 4, 7})
    assert parse_chord("C/D").pitch_classes == {0, 2, 4, 7}
    assert parse_chord("C7/B♭").bass == 10
    assert parse_chord("C6/9/E").bass == 4


@pytest.mark.parametrize("symbol", ["N.C.", "NC", "N.C"])
def test_no_chord(symbol):
    assert parse_chord(symbol) is NO_CHORD
    assert not NO_CHORD.features().any()
    assert NO_CHORD.transposed(5) is NO_CHORD


@each_row(
    ("symbol", "fault", "column"),
    [
        ("H7", "expected a chord: a root from A to G, or N.C.", 0),
        ("", "expected a chord: a root from A to G, or N.C.", 0),
        ("c7", "expected a chord: a root from A to G, or N.C.", 0),
        ("C7b11", "no chord has b11", 2),
        ("Cm7/H", "expected the bass note after the slash in 'Cm7/H'", 4),
        ("C7(b9", "this parenthesis is not closed", 2),
        ("C/", "expected the bass note after the slash in 'C/'", 2),
        *(
            (before + part, f"{part!r} is not a known part of a chord symbol", len(before))
            for before, part in (("C7", "x"), ("Cm", "m"), ("C7", "7"), ("C7b9", ")"), ("C7", ",b9"))
        ),
    ],
)
def test_a_fault_is_shown_with_a_caret(symbol, fault, column):
    with pytest.raises(ChordError) as error:
        parse_chord(symbol)
    assert str(error.value) == f"{fault}\n  {symbol}\n  {' ' * column}^"


def parsed_or_shown(parse, text: str):
    """Return the chord that ``parse`` reads, or None if its error points at one of the text's characters."""
    position = 0
    try:
        return parse(text)
    except ChordError as error:
        position = error.position
    assert 0 <= position <= len(text)
    return None


@settings(max_examples=60)
@given(st.text(max_size=12) | st.text(alphabet="CmMaj79b#5/G13-+∆øsu4o() ", max_size=8).map("C".__add__))
def test_any_text_parses_or_says_where_it_does_not(text):
    chord = parsed_or_shown(parse_chord, text)
    if chord is not None:
        assert chord is NO_CHORD or (chord.root in range(12) and chord.bass in chord.pitch_classes)


def test_a_bass_is_moved_where_the_symbol_has_one():
    moved = {symbol: parse_chord(symbol).transposed(2).symbol for symbol in ("C/C", "C6/9", "C6/9/C", "C7/Bb", "Bb/Bb")}
    assert moved == {"C/C": "D/D", "C6/9": "D6/9", "C6/9/C": "D6/9/D", "C7/Bb": "D7/C", "Bb/Bb": "C/C"}


@given(st.sampled_from(sorted(SYMBOLS)), st.sampled_from(["", "/E", "/C"]), st.integers(-24, 24), st.booleans())
def test_a_transposed_chord_is_the_one_that_its_symbol_says(symbol, bass, semitones, flats):
    chord = parse_chord(symbol + bass)
    moved = chord.transposed(semitones, flats=flats)
    again = parse_chord(moved.symbol)
    assert (moved.root, moved.bass, moved.pitch_classes) == (again.root, again.bass, again.pitch_classes)
    assert moved.pitch_classes == {(p + semitones) % 12 for p in chord.pitch_classes}


@given(st.sampled_from(sorted(SYMBOLS)), st.integers(0, 11))
def test_scales_hold_their_chord(symbol, root):
    chord = parse_chord(symbol).transposed(root)
    assert chord.pitch_classes <= scale(chord)
    for name in scales(chord):
        assert chord.intervals <= set(SCALES[name])


def test_the_scales_that_musicians_take():
    usual = {
        "Dm7": "dorian", "G7": "mixolydian", "Cmaj7": "major", "Cmaj7#11": "lydian", "Cø": "locrian", "C7alt": "altered",
        "Co7": "whole-half diminished",
        "C7#11": "lydian dominant", "C7b9": "phrygian dominant", "C13b9": "half-whole diminished",
        "C+7": "whole tone", "CmMaj7": "melodic minor",
    }  # fmt: skip
    assert {symbol: scales(parse_chord(symbol))[0] for symbol in usual} == usual
    assert scale(parse_chord("Dm7")) == {0, 2, 4, 5, 7, 9, 11}
    assert scale(NO_CHORD) == frozenset()


def test_features():
    features = parse_chord("Dm7").features()
    assert features.shape == (24,)
    assert features.nonzero()[0].tolist() == [0, 2, 5, 9, 14]


def test_changes():
    changes = ch.parse_changes("Dm7 | G7 | Cmaj7 | % | Am7 D7 | C F G | Em7 / / A7 | / Dm")
    symbols = [[(tick, chord.symbol) for tick, chord in bar] for bar in changes.bars]
    assert symbols == [
        [(0, "Dm7")], [(0, "G7")], [(0, "Cmaj7")], [(0, "Cmaj7")], [(0, "Am7"), (24, "D7")],
        [(0, "C"), (24, "F"), (36, "G")], [(0, "Em7"), (36, "A7")], [(0, "A7"), (24, "Dm")],
    ]  # fmt: skip
    assert changes.length == 8 * 48
    assert [(t, c.symbol) for t, c in changes.chords][:4] == [(0, "Dm7"), (48, "G7"), (96, "Cmaj7"), (192, "Am7")]
    assert str(changes).startswith("Dm7 | G7 | Cmaj7 | % | Am7 D7 | C F G | Em7 / / A7")


@each_row(
    ("text", "bars"),
    [
        ("|: C | F :|", "C F C F"),
        ("||: C | F :||x3 G |", "C F C F C F G"),
        ("C | F :| G", "C F C F G"),
        ("A |: C :| B", "A C C B"),
        ("C :| F | G :|x3 A", "C C F G F G F G A"),
        ("A |: C :| B :|", "A C C B B"),
        ("| C | F |\n| G | C |", "C F G C"),
        ("C\nF\n\nG ||", "C F G"),
    ],
)
def test_repeats_and_lines(text, bars):
    assert [bar[0][1].symbol for bar in ch.parse_changes(text).bars] == bars.split()


def test_metres():
    waltz = ch.parse_changes("C G7 | F Am Dm", (3, 4))
    assert [[tick for tick, _ in bar] for bar in waltz.bars] == [[0, 24], [0, 12, 24]]
    assert waltz.length == 72
    begins = {
        ((2, 4), "C F"): [0, 12], ((2, 4), "C / / F"): [0, 18], ((6, 8), "C F"): [0, 18], ((6, 8), "C F G"): [0, 12, 24],
        ((12, 8), "C F G C"): [0, 18, 36, 54], ((9, 8), "C F"): [0, 36], ((5, 8), "C F"): [0, 18], ((3, 8), "C F"): [0, 12],
        ((2, 2), "C F G"): [0, 24, 36], ((5, 4), "C F"): [0, 36], ((3, 16), "C F"): [0, 6],
    }  # fmt: skip
    found = {case: [tick for tick, _ in ch.parse_changes(case[1], case[0]).bars[0]] for case in begins}
    assert found == begins
    with pytest.raises(ValueError, match="metre must have bars of whole ticks, got 5/32"):
        ch.parse_changes("C", (5, 32))


@each_row(
    ("text", "fault", "line", "column"),
    [
        ("Dm7 | H7 | Cmaj7", "expected a chord", "Dm7 | H7 | Cmaj7", 6),
        ("C\nF | Q\nG", "expected a chord", "F | Q", 4),
        ("C | | G", "this bar is empty: repeat the bar before with %", "C | | G", 4),
        ("% | C", "% repeats the bar before, and this is the first", "% | C", 0),
        ("/ C", "/ holds the chord before it, and there is none", "/ C", 0),
        ("C |: D", "this repeat has no end", "C |: D", 2),
        ("|: C |: D :|", "a repeat begins within another", "|: C |: D :|", 5),
        ("|: C :|x99", "a repeat is played 1 to 64 times", "|: C :|x99", 8),
        ("C : D", "a repeat begins with", "C : D", 2),
        ("A B C D E F G A B", "a bar of 4/4 cannot hold 9 chords", "A B C D E F G A B", 0),
        ("", "there are no chords", "", 0),
        (" \t", "there are no chords", " \t", 0),
        ("|", "there are no chords", "|", 0),
        ("| |", "this bar is empty", "| |", 2),
        (":| C", "there are no bars to repeat", ":| C", 0),
        ("C :|x64 :|x64 :|x64", "there are no bars to repeat", "C :|x64 :|x64 :|x64", 8),
        ("|: C :| |: :|", "there are no bars to repeat", "|: C :| |: :|", 11),
        (
            "A|B|C|D|E|F|G|A|B|C|D|E|F|G|A|B|C:|x64",
            "there are more than 1024 bars, repeats included",
            "A|B|C|D|E|F|G|A|B|C|D|E|F|G|A|B|C:|x64",
            33,
        ),
        ("C | \x1b[31mred", "expected a chord", "C | \ufffd[31mred", 4),
        ("C |\u3000\uff277", "expected a chord", "C | \uff277", 4),
        ("C\r\n𝄞 | C", "expected a chord", "𝄞 | C", 0),
    ],
)
def test_faults_in_changes_are_shown(text, fault, line, column):
    with pytest.raises(ChordError) as error:
        ch.parse_changes(text)
    first, shown, caret = str(error.value).split("\n")
    assert first.startswith(fault)
    assert (shown, caret) == (f"  {line}", f"  {' ' * column}^")


@each_row("bar", ["Dm7", "x"])
@each_row("ending", ["", " | H"])
def test_of_a_long_line_the_place_is_shown(bar, ending):
    text = "C | " * 7 + " | ".join([bar] * 10_000) + ending
    with pytest.raises(ChordError) as error:
        ch.parse_changes(text)
    fault, shown, caret = str(error.value).split("\n")
    assert fault.startswith("expected a chord" if bar == "x" else "there are more than 1024 bars")
    assert shown[caret.index("^") :].startswith(bar)
    assert len(shown) < 110
    assert shown.endswith("…")


def test_as_many_bars_as_there_may_be():
    assert len(ch.parse_changes(" | ".join("ABCDEFGABCDEFGAB") + " :|x64").bars) == 1024


chords = st.sampled_from(["C", "Dm7", "G7", "Bb6/9", "F#m7b5", "C/E", "N.C."])


@given(
    st.lists(st.lists(chords, min_size=1, max_size=8), min_size=1, max_size=8),
    st.sampled_from([(4, 4), (3, 4), (2, 4), (6, 8), (5, 4), (12, 8), (5, 8), (3, 8), (2, 2)]),
)
def test_changes_are_written_as_they_are_read(bars, metre):
    most = int(8 * metre[0] / metre[1])
    changes = ch.parse_changes(" | ".join(" ".join(bar[:most]) for bar in bars), metre)
    assert ch.parse_changes(str(changes), metre) == changes


@given(st.text(alphabet="CDm7G|:%/ \nx3", max_size=30))
def test_any_text_is_changes_or_says_where_it_is_not(text):
    changes = parsed_or_shown(ch.parse_changes, text)
    if changes is not None:
        assert changes.bars
        assert all(bar[0][0] == 0 and [t for t, _ in bar] == sorted({t for t, _ in bar}) for bar in changes.bars)


def test_progressions():
    assert str(ch.progression("ii-V-I", "Bb")) == "Cm7 | F7 | Bbmaj7 | %"
    assert str(ch.progression("ii-V-I", "E")) == "F#m7 | B7 | Emaj7 | %"
    minor, blues = ch.progression("minor-blues", "Am"), ch.progression("blues", "F")
    assert str(minor).startswith("Am7 | % | % | % | Dm7 | % | Am7 | % | F7 | E7")
    assert str(blues) == "F7 | Bb7 | F7 | Cm7 F7 | Bb7 | Bdim7 | F7 | Am7b5 D7b9 | Gm7 | C7 | F7 D7 | Gm7 C7"
    assert [len(ch.progression(name).bars) for name in ("blues", "minor-blues", "rhythm-changes")] == [12, 12, 32]
    rhythm = ch.progression("rhythm-changes", "Bb")
    assert str(rhythm.choruses(2)).count("D7") == 2 * str(rhythm).count("D7") > 0


def test_in_a_minor_key_the_minor_form_is_played():
    assert str(ch.progression("ii-V-I", "Dm")) == "Em7b5 | A7b9 | Dm6 | %"
    assert ch.progression("blues", "F# minor") == ch.progression("minor-blues", "F#m") == ch.progression("minor-blues", "F#")
    assert ch.progression("blues", "D major") == ch.progression("blues", "D")
    assert str(ch.progression("minor-blues", "D")).endswith("Bb7 | A7 | Dm7 | Em7b5 A7")  # spelled as in D minor
    assert [ch.mode_of(key) for key in ("C", "C-", "Cmin", "B minor", "Bb", "Fmaj", "G major")] == [
        "", "minor", "minor", "minor", "", "major", "major"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "key", "fault"),
    [
        ("rhythm-changes", "Bbm", "rhythm-changes is in major: expected a key such as Bb, and not minor"),
        ("simple-blues", "C minor", "simple-blues is in major: expected a key such as C, and not minor"),
        ("minor-blues", "C major", "minor-blues is in minor: expected a key such as Cm, and not major"),
    ],
)
def test_progressions_without_a_form_in_that_mode(name, key, fault):
    with pytest.raises(ChordError) as error:
        ch.progression(name, key)
    assert str(error.value).split("\n")[0] == fault


@each_row("key", ["H", "C##", "bb", "", "c", "C7", "Cm7", "Bbb", "C#b", "Am major"])
def test_invalid_keys(key):
    with pytest.raises(ChordError) as error:
        ch.parse_key(key)
    assert str(error.value).split("\n")[0] == (
        f"{key!r} is not a key: expected a note such as C, Bb or F#, and m for a minor key"
    )


def test_progressions_in_another_metre():
    waltz = ch.progression("blues", "F", (3, 4))
    assert waltz.metre == (3, 4)
    assert (waltz.bar, waltz.length) == (36, 12 * 36)
    assert [(tick, chord.symbol) for tick, chord in waltz.bars[3]] == [(0, "Cm7"), (24, "F7")]
    assert [tick for tick, _ in ch.progression("blues", "F", (6, 8)).bars[3]] == [0, 18]


@each_row("name", ch.progressions())
def test_a_progression_in_any_key_is_the_one_in_c_moved(name):
    for semitones in range(12):
        moved = ch.progression(name, note_name(semitones))
        expected = ch.progression(name).transposed(semitones)
        assert [(t, c.root, c.pitch_classes) for t, c in moved.chords] == [
            (t, c.root, c.pitch_classes) for t, c in expected.chords
        ]


@each_row(
    ("key", "tonic", "flats"), [("C", 0, True), ("F#m", 6, False), ("C minor", 0, True), ("Gm", 7, True), ("E", 4, False)]
)
def test_keys(key, tonic, flats):
    assert (ch.parse_key(key), ch.flats_in(key)) == (tonic, flats)


def test_names_of_progressions_in_capitals_or_not():
    for text, name in (("Blues", "blues"), (" MINOR-BLUES ", "minor-blues"), ("ii-v-i", "ii-V-I")):
        assert ch.progression_named(text) == name
        assert ch.changes_of(text, metre=(3, 4)) == ch.progression(name, metre=(3, 4))
    assert ch.progression_named("C7 | F7") == ch.progression_named("") == ""
    assert str(ch.changes_of("II-V-I", "Dm")) == "Em7b5 | A7b9 | Dm6 | %"


@each_row(
    ("text", "name"), [("bluse", "blues"), ("Cblues", "blues"), ("Rythm Changes", "rhythm-changes"), ("II-V-II", "ii-V-I")]
)
def test_a_name_that_is_nearly_right_is_asked_about(text, name):
    for key in (None, "Dm"):
        with pytest.raises(ChordError) as error:
            ch.changes_of(text, key)
        assert str(error.value).split("\n") == [
            f"did you mean {name!r}? Progressions: {', '.join(ch.progressions())}", f"  {text}", "  ^"
        ]  # fmt: skip
    with pytest.raises(ChordError, match="root from A to G"):
        ch.changes_of("H7")


def test_chords_are_not_moved_to_a_minor_key():
    assert str(ch.changes_of("Cm7 | G7", "D")) == str(ch.changes_of("Cm7 | G7", "D major")) == "Dm7 | A7"
    for key, tonic in (("Dm", "D"), ("F# minor", "F#")):
        with pytest.raises(ChordError) as error:
            ch.changes_of("C | G7", key)
        assert str(error.value).split("\n")[0] == (
            f"given chords are moved from C: expected a key such as {tonic}, and not minor"
        )


def test_unknown_progressions_and_keys():
    with pytest.raises(ValueError, match="name must be one of 'blues'"):
        ch.progression("polka")
    with pytest.raises(ChordError, match="'H' is not a key"):
        ch.progression("blues", "H")


@each_row("suffix", [suffix for suffix in harmony.TEMPLATES if suffix != "dim7"])  # any tone of a dim7 may be its root
@each_row("root", [0, 3, 7, 10])
def test_block_chords_are_inferred(suffix, root):
    first, second = parse_chord(note_name(root) + suffix), parse_chord(note_name(root + 5) + "7")
    notes = [Note(0, 24, 36 + root)] + [Note(0, 48, 60 + p) for p in first.pitch_classes]
    notes += [Note(48, 24, 36 + second.root)] + [Note(48, 48, 60 + p) for p in second.pitch_classes]
    drums = Part("drums", is_drum=True, notes=tuple(Note(t, 3, 37) for t in range(0, 96, 12)))
    found = harmony.infer_chords(Piece((Part(notes=tuple(notes)), drums)))
    assert found == ((0, first), (48, second))


def test_an_arpeggio_is_one_chord_and_silence_is_none():
    notes = tuple(Note(6 * i, 6, p) for i, p in enumerate([36, 64, 67, 72, 36, 64, 67, 72]))
    assert [(t, c.symbol) for t, c in harmony.infer_chords(Piece((Part(notes=notes),)))] == [(0, "C")]
    assert harmony.infer_chords(Piece(length=96)) == ()


def test_half_bars():
    assert harmony.half_bars(Piece(length=96)).tolist() == [0, 24, 48, 72]
    assert harmony.half_bars(Piece(metres=((0, 3, 4),), length=72)).tolist() == [0, 36]
    assert harmony.half_bars(Piece(metres=((0, 2, 4), (24, 4, 4)), length=72)).tolist() == [0, 24, 48]
