"""Chord symbols of many traditions and their tones; no part of a symbol is dropped."""

import itertools

import pytest
from tables import each_row

from fastrnn.music.changes import parse_changes
from fastrnn.music.chords import ChordError, parse_chord, parse_note
from fastrnn.music.midi import _chords_among

MAJOR, MINOR, DIMINISHED, AUGMENTED = {0, 4, 7}, {0, 3, 7}, {0, 3, 6}, {0, 4, 8}
SEVENTH, MAJOR_SEVENTH, MINOR_SEVENTH, HALF = MAJOR | {10}, MAJOR | {11}, MINOR | {10}, DIMINISHED | {10}
SUS, MINOR_MAJOR = {0, 5, 7}, MINOR | {11}
NINTH = SEVENTH | {2}
# Tones in semitones above the root, and the symbols on C of a chord with these tones.
TRADITIONS = {
    "Brazilian": [
        (MAJOR_SEVENTH, "C7M C(7M)"), (MINOR_MAJOR, "Cm7M Cm(7M) Cm/7M"), (AUGMENTED, "C5+ C(5+) C(#5)"),
        ({0, 4, 6}, "C5- C(5-) C(b5) C5b"), (DIMINISHED, "Cm5- Cm(5-) Cm(b5)"), ({0, 3, 8}, "Cm5+"),
        (SUS | {10}, "C4/7 C7/4 C7(4)"), (SUS | {2, 10}, "C7(4/9) C7/4/9"), (SUS, "C4 C(4)"), (SUS | {11}, "C4/7M"),
        (MINOR_SEVENTH | {5}, "Cm7(11) Cm7/11 Cm7(4)"), (NINTH, "C7(9) C7/9"), (MAJOR | {2}, "C(9) C/9"),
        (SEVENTH | {1}, "C7/9- C7(9-) C7(b9) C9- C7/b9"), (SEVENTH | {3}, "C7/9+ C7(9+) C7(#9)"),
        (SEVENTH | {6}, "C7(11+) C7/11+ C11+ C11#"), (MAJOR_SEVENTH | {6}, "C7M/11+ Cmaj11+"),
        (MAJOR_SEVENTH | {2}, "C9M C9maj"), (MAJOR_SEVENTH | {2, 9}, "C13M"), (MAJOR_SEVENTH | {2, 6}, "C9M#11 C9M(11+)"),
        (MINOR_MAJOR | {2}, "Cm9M"), (MINOR_SEVENTH | {6}, "Cm11+ Cm7(11+)"), (SEVENTH | {8}, "C7(13-) C7/13- C7(b13)"),
        (SEVENTH | {9}, "C7(13) C7/13 C7/6"), (AUGMENTED | {10}, "C7/5+ C7(5+) C5+7 C5+/7"),
        ({0, 4, 6, 10}, "C7/5- C7(5-)"), (HALF, "Cm7(b5) Cm7/5- Cm7(5-)"),
        (AUGMENTED | {11}, "C7M(5+) C7M(#5) C7M/5+ C7M5+ C5+/7M"), (MAJOR_SEVENTH | {2}, "C7M(9) C7M/9 C7M9"),
        (MAJOR_SEVENTH | {2, 6}, "C7M(9,#11) C7M(9/#11)"), (MAJOR_SEVENTH | {6}, "C7M(#11) C7M(11+) C7M(4+)"),
        (MINOR_MAJOR | {2}, "Cm7M(9) Cm(7M,9) Cm(7M/9)"), (MAJOR | {2, 9}, "C6/9 C6(9) C69"),
        (MAJOR | {9, 11}, "C6(7M) C6/7M"), (MINOR_MAJOR | {9}, "Cm6(7M)"),
        (SEVENTH | {1, 8}, "C7(b9/b13) C7(b9,b13) C7/9-/13-"), (DIMINISHED | {9}, "Cº7"),
        (DIMINISHED | {11}, "C°(7M)"), (MINOR_SEVENTH | {2, 5}, "Cm7/9/11 Cm7(9/11)"),
    ],
    "iReal Pro": [
        (HALF, "Ch Ch7"), (HALF | {2}, "Ch9"), (MAJOR_SEVENTH, "C^ C^7"), (MAJOR_SEVENTH | {2}, "C^9"),
        (MAJOR_SEVENTH | {2, 9}, "C^13"), (MAJOR_SEVENTH | {6}, "C^7#11"), (MAJOR_SEVENTH | {2, 6}, "C^9#11"),
        (AUGMENTED | {11}, "C^7#5"), (MINOR, "C-"), (MINOR | {9}, "C-6"), (MINOR | {2, 9}, "C-69"),
        (MINOR_MAJOR, "C-^7 C-^"), (MINOR_MAJOR | {2}, "C-^9"), (MINOR_SEVENTH, "C-7"), (MINOR_SEVENTH | {2}, "C-9"),
        (MINOR_SEVENTH | {2, 5}, "C-11"), (HALF, "C-7b5"), (MINOR | {8}, "C-b6"), ({0, 3, 8}, "C-#5"),
        (DIMINISHED, "Co"), (DIMINISHED | {9}, "Co7"), (AUGMENTED, "C+"), (SUS, "Csus"), ({0, 7}, "C5"),
        (MAJOR | {2}, "C2 Cadd9"), (MINOR | {2}, "C-add9"), (SEVENTH | {1, 3}, "C7b9#9"),
        (AUGMENTED | {3, 10}, "C7#9#5"), ({0, 3, 4, 6, 10}, "C7#9b5"), (SEVENTH | {3, 6}, "C7#9#11"),
        (AUGMENTED | {1, 10}, "C7b9#5"), (SEVENTH | {1, 6}, "C7b9#11"), (SEVENTH | {1, 8}, "C7b9b13"),
        (SEVENTH | {8}, "C7b13"), (NINTH | {9}, "C13"), (NINTH | {6, 9}, "C13#11"), (SEVENTH | {1, 9}, "C13b9"),
        (SEVENTH | {3, 9}, "C13#9"), (SUS | {10}, "C7sus"), (SUS | {1, 10}, "C7b9sus"), (SUS | {2, 10}, "C9sus C11"),
        (SUS | {2, 9, 10}, "C13sus"), (SUS | {8, 10}, "C7b13sus"), (SUS | {4, 10}, "C7susadd3"),
        ({0, 1, 3, 4, 6, 8, 10}, "C7alt"), ({0, 2, 4, 6, 10}, "C9b5"), (AUGMENTED | {2, 10}, "C9#5"),
    ],
    "Real Book and Band-in-a-Box": [
        (MAJOR_SEVENTH, "Cmaj7 CMaj7 CMAJ7 Cma7 CMa7 CMA7 CM7 C7maj CMajor7 Cj7 CJ7 Cmj7 CMj7"), (MAJOR, "CM Cmaj"),
        (SEVENTH, "C7 Cdom7"), (MINOR, "Cm Cmi Cmin CMI CMin Cminor"),
        (MINOR_SEVENTH, "Cmi7 CMi7 CMI7 Cmin7 CMin7 Cminor7"), (DIMINISHED, "Cdim C° C˚ Cdim5"),
        (DIMINISHED | {9}, "Cdim7 C°7 CDIM7"),
        (DIMINISHED | {9, 11}, "C°7(maj7) Co7(ma7) Cdim7(M7) C°7(Δ) C°7/maj7 C°7(7M)"),
        (HALF, "Cø Cø7 CØ7 Cm7-5 C-7-5 Chdim7"), (HALF | {2}, "Cø9"),
        (HALF | {2, 5}, "Cø11"), (AUGMENTED, "Caug C+5 C(+5)"), (AUGMENTED | {10}, "C7aug Caug7 C+7 C7+ C7+5 C7#5"),
        (AUGMENTED | {2, 10}, "C9#5 C+9 Caug9"), (AUGMENTED | {2, 9, 10}, "C13#5"),
        (AUGMENTED | {11}, "C+M7 CM7+5 Cmaj7+ C+maj7"), ({0, 3, 8}, "Cmaug Cm#5 Cm+"), (SEVENTH | {1}, "C7-9 C7(-9)"),
        (SEVENTH | {3}, "C7+9 C7(+9)"), (SEVENTH | {6}, "C7+11"), (SEVENTH | {8}, "C7-13"),
        ({0, 4, 6, 10}, "C7-5 C7b5"), ({0, 4, 6}, "C-5"), (MINOR | {1}, "Cm(b9)"),
        (MINOR_MAJOR, "CmMaj7 CmM7 Cm(maj7) Cm/maj7 C-Δ C-maj7 C-j7 Cmin(maj7) CmMA7 Cm(maj)"),
        (MINOR_MAJOR | {2}, "Cm9(maj7)"), (MINOR_MAJOR | {2}, "Cm(maj9) CmMaj9"), (MINOR_MAJOR | {9}, "Cm6(maj7)"),
        (MAJOR_SEVENTH, "C∆ CΔ C△7 CΔ7"), (MAJOR_SEVENTH | {2}, "CΔ9 CM9 Cmaj9 Cmj9 CJ9"), (SUS, "Csus4 CSUS4"),
        ({0, 2, 7}, "Csus2"), ({0, 2, 5, 7}, "Csus24 Csus2sus4"), ({0, 6, 7}, "Csus#4"),
        (SUS | {1, 10}, "C7susb9 C7sus4(b9)"), (MAJOR | {5}, "Cadd4 Cadd11"), (MAJOR | {6}, "Cadd#11"),
        (MAJOR | {2, 5}, "C(add9,11)"), ({0, 4}, "Cno5 C(omit5)"), ({0, 7, 10}, "C7no3 C7(omit3)"),
        (MINOR_SEVENTH, "C\u20137 C\u20117 C\u22127"), (NINTH | {6, 9}, "C13(#11)"), (MAJOR | {2, 6, 9}, "C69#11 C6/9#11"),
        (MAJOR_SEVENTH | {2, 5}, "Cmaj11"), (NINTH, "C79"), (SEVENTH | {1}, "C79b"), (NINTH | {6}, "C7911# C9#11"),
        (NINTH | {9}, "C7913"), (SUS | {10}, "Csus7 Cm7sus4"),
    ],
}  # fmt: skip
UNDERSTOOD = {
    symbol: frozenset(tones) for rows in TRADITIONS.values() for tones, symbols in rows for symbol in symbols.split()
}


def tones(symbol):
    """Return the tones above the root, None if the symbol is refused."""
    try:
        return parse_chord(symbol).intervals
    except ChordError:
        return None


@pytest.mark.parametrize("tradition", TRADITIONS)
def test_symbols_of(tradition):
    rows = [(set(expected), symbol) for expected, symbols in TRADITIONS[tradition] for symbol in symbols.split()]
    for root in ("C", "Eb", "F♯", "B"):
        found = [(tones(root + symbol[1:]), symbol) for _, symbol in rows]
        assert found == rows
        assert {parse_chord(root + symbol[1:]).root for _, symbol in rows} == {parse_note(root)}


REFUSED = """
    C7- C6M C7m Cm7m C7min C7dim C7° C7ø C7b C7# C6+ C6- C4+ C11- C13# C7#13 C7b11 C7M7 C7maj7 C7(maj7)
    C7(7M) C6b C2+ Cm5 Cmaj5 Cmaj4 C77 C97 C96 C47 C67 CMm CmM° CMdim Cdim#5 C+b5 Cø7M Cmaj7alt C9alt Cmalt Csusmaj
    Cadd9maj C9b9 C9#9 C11#11 C13b13 C7b9b9 C7(b9 C7b9) C7((b9)) C() C7() C7(,b9) C7(b9,) C7(b9/E) C7//9 C7/ C/ C/D7
    C/3 C/5 C7/5 C,9 C7,b9 Cm7+ Cm+7 C+11 C7b9+ C79b13 C5+9 C5b9 C5sus C++ Csussus Cno3no3 Cm(no3) C7b5no5 CmJ7 C7M#
    C°7maj7 C°7M7 C°7(maj7)(7M)
    C7? C7* C7.9 C⁷ C+M C°maj Bbb5 Ebb9 F##11 A♭♭13 C♭♯ Cs7 C7x Cx C7sus5 C7add C7no7 C7omit H7 Sol7 Re La Fa7 Si
    Dom7 C9+ C13+ Cmaj9+ C9+/E C+4
"""


def test_symbols_that_are_refused():
    for symbol in REFUSED.split():
        with pytest.raises(ChordError) as error:
            print(parse_chord(symbol))
        assert error.value.text == symbol
        assert 0 <= error.value.position <= len(symbol)


def test_two_accidentals_before_a_number_are_asked_about():
    """Bbb7 is a chord on B double flat. In Bbb5 and Ebb9, the second flat may lower the root or the number."""
    assert parse_chord("Bbb7").root == parse_chord("A7").root
    assert parse_chord("Bbb7").intervals == SEVENTH
    fault = "Bbb5 has two meanings: write Bb(b5), or B\U0001d12b5"
    with pytest.raises(ChordError) as error:
        parse_chord("Bbb5")
    assert str(error.value) == f"{fault}\n  Bbb5\n    ^"
    assert (parse_chord("Bb(b5)").root, parse_chord("Bb(b5)").intervals) == (10, {0, 4, 6})
    assert (parse_chord("B\U0001d12b9").root, parse_chord("B\U0001d12b9").intervals) == (9, NINTH)


@each_row(
    ("symbol", "first", "its", "second", "tones_of_second"),
    [
        ("C9+", "C7#9", SEVENTH | {3}, "C9#5", AUGMENTED | {2, 10}),
        ("Eb9+", "Eb7#9", SEVENTH | {3}, "Eb9#5", AUGMENTED | {2, 10}),
        ("Cmaj9+", "Cmaj7#9", MAJOR_SEVENTH | {3}, "Cmaj9#5", AUGMENTED | {2, 11}),
        ("C13+", "C13", NINTH | {9}, "C13#5", AUGMENTED | {2, 9, 10}),
        ("C+4", "C(#11)", MAJOR | {6}, "C+(4)", {0, 5, 8}),
        ("F#+4", "F#(#11)", MAJOR | {6}, "F#+(4)", {0, 5, 8}),
        ("Cm+4", "Cm(#11)", MINOR | {6}, "Cm+(4)", {0, 3, 5, 8}),
        ("C+11", "C(#11)", MAJOR | {6}, "C+(11)", AUGMENTED | {5}),
    ],
)
def test_a_plus_that_charts_read_in_two_ways_is_asked_about(symbol, first, its, second, tones_of_second):
    with pytest.raises(ChordError) as error:
        parse_chord(symbol)
    assert error.value.fault == f"the plus in {symbol} has two meanings: write {first} or {second}"
    assert symbol[error.value.position] == "+"
    assert (tones(first), tones(second)) == (its, tones_of_second)


@each_row(
    ("symbol", "root", "expected"),
    [
        ("Bb#11", 10, MAJOR | {6}), ("Eb#5", 3, AUGMENTED), ("Ab#9", 8, MAJOR | {3}), ("C#b9", 1, MAJOR | {1}),
        ("F♯b5", 6, {0, 4, 6}), ("B♭b5", 10, {0, 4, 6}), ("G#b13", 8, MAJOR | {8}),
    ],
)  # fmt: skip
def test_a_flat_after_a_sharp_is_not_the_roots(symbol, root, expected):
    chord = parse_chord(symbol)
    assert (chord.root, chord.intervals) == (root, expected)
    for semitones, flats in itertools.product(range(1, 12), (True, False)):
        moved = chord.transposed(semitones, flats=flats)
        again = parse_chord(moved.symbol)
        assert (again.root, again.pitch_classes) == (moved.root, moved.pitch_classes)


# An independent reading: symbols are put together from spellings of known meaning, each with its effect on the tones.
TRIADS = {"": MAJOR, "m": MINOR, "-": MINOR, "min": MINOR, "Mi": MINOR}
NUMBERS = {  # tones that a number adds to a triad, and the degrees that it names, which an ending must not alter
    "": ((), ""), "6": ((9,), "6"), "7": ((10,), ""), "9": ((2, 10), "9"), "13": ((2, 9, 10), "13"), "maj7": ((11,), ""),
    "M7": ((11,), ""), "maj9": ((2, 11), "9"), "7M": ((11,), ""), "(maj7)": ((11,), ""), "Δ": ((11,), ""), "^7": ((11,), ""),
    "(7M)": ((11,), ""), "69": ((2, 9), "6 9"), "6/9": ((2, 9), "6 9"), "/7M": ((11,), ""), "add9": ((2,), "9"),
    "(add9)": ((2,), "9"), "7/13": ((9, 10), "13"), "79": ((2, 10), "9"),
}  # fmt: skip
ENDINGS = {  # what each adds, and the degrees that it alters or names
    "": ((), ""), "b5": ((6,), "5"), "(b5)": ((6,), "5"), "(5-)": ((6,), "5"), "/5-": ((6,), "5"), "#5": ((8,), "5"),
    "(5+)": ((8,), "5"), "(+5)": ((8,), "5"), "#11": ((6,), "11"), "(#11)": ((6,), "11"), "(11+)": ((6,), "11"),
    "/11+": ((6,), "11"), "b13": ((8,), "13 6"), "(b13)": ((8,), "13 6"), "(-13)": ((8,), "13 6"), "/13-": ((8,), "13 6"),
    "b9": ((1,), "9"), "(b9)": ((1,), "9"), "(9-)": ((1,), "9"), "/9-": ((1,), "9"), "(b9,#11)": ((1, 6), "9 11"),
    "(b9/b13)": ((1, 8), "9 13 6"), "(b9)(#11)": ((1, 6), "9 11"), "b9#11": ((1, 6), "9 11"), "/13": ((9,), "13 6"),
    "(11)": ((5,), "11"), "/9/E": ((2, 4), "9"), "(#9)/E": ((3, 4), "9"),
}  # fmt: skip
COMBINED = [
    (triad, number, ending)
    for triad, number, ending in itertools.product(TRIADS, NUMBERS, ENDINGS)
    if not set(NUMBERS[number][1].split()) & set(ENDINGS[ending][1].split())
    and not (ending[:1] in ("b", "#") and not triad + number)  # the accidental would belong to the root
    and not (number == "79" and ending[:1] in ("b", "#"))  # C79b13: is the ninth flat, or the thirteenth?
]


def test_symbols_are_read_by_all_their_parts():
    for triad, number, ending in COMBINED:
        expected = TRIADS[triad] | set(NUMBERS[number][0])
        if "5" in ENDINGS[ending][1].split():
            expected -= {7}
        if "9" in ENDINGS[ending][1].split() and number == "13":  # which implies a ninth
            expected -= {2}
        symbol = f"C{triad}{number}{ending}"
        assert (tones(symbol), symbol) == (expected | set(ENDINGS[ending][0]), symbol)
    assert len(COMBINED) > 1500


@each_row("added", ["+", "-", "#", "b", "M", "m", "+5", "-9", "maj", "o", "h", "alt"])
def test_nothing_that_is_added_is_dropped(added):
    """A sign that follows a symbol changes its tones, or the symbol is refused."""
    assert not {symbol for symbol, intervals in UNDERSTOOD.items() if tones(symbol + added) == intervals}


def test_no_sign_is_without_effect():
    """If a sign is removed from a symbol of up to four parts, the tones change or the rest is refused."""
    rows = itertools.chain.from_iterable(
        itertools.product(("m", "7", "9", "13", "5", "+", "-", "#", "b", "(", ")", "/", "M"), repeat=n) for n in range(1, 5)
    )
    read = 0
    for row in rows:
        found = None if row[0] in "#b" else tones("C" + "".join(row))
        if found is None:
            continue
        read += 1
        for i, part in enumerate(row):
            left = row[:i] + row[i + 1 :]
            if part in "+-#b" and left[:1] not in (("#",), ("b",)):
                assert tones("C" + "".join(left)) != found, row
    assert read > 500


def test_syllables_in_lyrics_are_not_chords():
    def found(*words):
        return [chord.symbol for _, chord in _chords_among(list(enumerate(words)), may_be_sections=True)]

    assert found("Ah", "Ah", "Eh", "Ah") == found("Do", "do", "Do") == []
    assert found("Ah", "D7", "Gm") == ["Ah", "D7", "Gm"]


@pytest.mark.parametrize("text", ["C7M | Cm7M | Bm(7M) | C5+ | F#h7", "C4/7 C7/9- | C7(b9/b13)/E"])
def test_changes_in_these_symbols_are_written_as_they_are_read(text):
    assert str(parse_changes(text)) == text
    assert parse_changes(str(parse_changes(text).transposed(3))) == parse_changes(text).transposed(3)
