"""The embedded choruses: their promised properties, how their text is read, and statistics of melodies, by value."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from fastrnn.commands import corpus_files
from fastrnn.music import corpus
from fastrnn.music._midi import songs
from fastrnn.music._output import statistics
from fastrnn.music._output.solo_statistics import solo_statistics
from fastrnn.music._theory import composer
from fastrnn.music._theory.instruments import INSTRUMENTS
from fastrnn.music.chords import parse_chord
from fastrnn.music.midi import read_midi
from fastrnn.music.piece import HARDEST, Note, Part, Piece

HEAD = "title: T\nstyle: blues\nkey: F\ntempo: 120\nswing: 0.6\n"


def test_there_is_enough_of_it():
    tunes = corpus.tunes()
    assert len(tunes) >= 150
    assert sum(len(tune.changes.bars) for tune in tunes) >= 2000
    written = {"blues", "minor blues", "ii-V-I", "rhythm changes"}
    assert {tune.style for tune in tunes} == written | composer.STYLES.keys()
    assert len({tune.title for tune in tunes}) == len(tunes)
    assert corpus.pieces() == tuple(tune.piece for tune in tunes)


def test_every_tune_is_a_line_in_the_range_of_a_horn():
    for tune in corpus.tunes():
        part = tune.piece.part("melody")
        notes = part.notes
        (horn,) = [known for known in INSTRUMENTS.values() if known.program == part.program]
        assert all(horn.low <= note.pitch <= horn.high for note in notes), tune.title
        assert all(a.end <= b.onset for a, b in itertools.pairwise(notes)), tune.title
        assert tune.piece.length == tune.changes.length >= notes[-1].end
        assert 0.5 <= tune.piece.swing < HARDEST
        assert 60 <= tune.piece.tempos[0][1] <= 300


def test_it_is_jazz_in_numbers():
    found = statistics.melody_statistics(corpus.pieces(), "melody")
    assert 0.7 < found.chord_tones_strong < 0.95
    assert found.scale_tones > 0.85
    assert 0.1 < found.rests < 0.4
    assert 0.5 < found.durations[6] < 0.9
    assert found.repeated_bars < 0.2


def test_composed_choruses_breathe_repeat_and_end():
    pieces = [tune.piece for tune in corpus.tunes()[-len(composer.SEEDS) :]]
    found = solo_statistics(pieces)
    assert (found.last_chord_tone, found.closed) == (1, 1)
    assert found.repeated > 0.2
    assert 3 < found.phrase < 8
    assert found.entropy > 1.5
    assert {len(piece.bars()) % 4 for piece in pieces} == {1}  # a closing bar
    again = composer.composed(3)
    assert again == composer.composed(3)
    assert again.notes == pieces[3].parts[0].notes


def test_rhythms_of_the_composer_by_value():
    assert composer.places("x _.x x.x.x -") == ((0, 18), (18, 6), (24, 4), (28, 4), (32, 4))
    assert composer.places("-.x _ | x - - -") == ((6, 18), (24, 12))


@pytest.mark.slow
def test_no_tune_borrows_two_bars_from_another():
    parts = [piece.parts[0] for piece in corpus.pieces()]
    for i in range(1, len(parts)):
        match = statistics.longest_match(parts[i], parts[:i])
        assert match.bars < 2, (corpus.tunes()[i].title, corpus.tunes()[match.source].title)


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_the_files_written_are_the_choruses(every, tmp_path, capsys, monkeypatch):
    some = corpus.tunes()[::every]
    monkeypatch.setattr(corpus, "tunes", lambda: some)
    corpus_files.main([str(tmp_path / "midi")])
    assert capsys.readouterr().out == f"wrote {len(corpus.tunes())} MIDI files to {tmp_path}/midi\n"
    paths = sorted((tmp_path / "midi").iterdir())
    assert paths[0].name == f"{1:0{len(str(len(some)))}}-corner-table.mid"
    for path, tune in zip(paths, corpus.tunes(), strict=True):
        piece = read_midi(path)
        assert piece.parts == tune.piece.parts, tune.title
        assert piece.chords == tune.piece.chords, tune.title
        assert piece.length == tune.piece.length, tune.title
        assert piece.swing == pytest.approx(tune.piece.swing, abs=0.002), tune.title
        assert piece.tempos[0][1] == pytest.approx(tune.piece.tempos[0][1], rel=1e-5)
    learned = songs.read([tmp_path / "midi"])
    assert not learned.polyphonic
    for mine, theirs in zip(learned.songs, songs.embedded().songs, strict=True):
        assert (mine.part.notes, mine.piece.chords) == (theirs.part.notes, theirs.piece.chords)


def test_files_of_a_users_own_text(tmp_path, capsys):
    def error(*arguments):
        with pytest.raises(SystemExit) as end:
            corpus_files.main(list(map(str, arguments)))
        assert end.value.code == 2
        return capsys.readouterr().err.removeprefix("python -m fastrnn.music.corpus: error: ")

    text, folder = tmp_path / "own.txt", tmp_path / "new" / "folder"
    text.write_text(HEAD.replace("T", "What's  it?") + "chords: F7\nmelody: C4 D4 E4 F4\n")
    corpus_files.main(["--text", str(text), str(folder)])
    assert [path.name for path in folder.iterdir()] == ["1-what-s-it.mid"]
    before = (folder / "1-what-s-it.mid").read_bytes()
    text.write_text(text.read_text().replace("F4", "G4"))
    assert error(folder, "--text", text) == (f"{folder}/1-what-s-it.mid: the file exists already; --overwrite replaces it\n")
    assert (folder / "1-what-s-it.mid").read_bytes() == before
    corpus_files.main(["--text", str(text), str(folder), "--overwrite"])
    assert [note.pitch for note in read_midi(folder / "1-what-s-it.mid").parts[0].notes] == [60, 62, 64, 67]
    text.write_text(HEAD + "chords: F7\nmelody: C4 D4 E4\n")
    assert error(folder, "--text", text) == f"{text}: line 7: a bar has 4 beats, 'C4 D4 E4' has 3\n"
    text.write_bytes(b"\xff")
    assert (
        error(folder, "--text", text)
        == f"{text} is not UTF-8: byte 0xff at offset 0 (invalid start byte); it looks like cp1252\n"
    )
    assert error(folder, "--text", tmp_path / "gone.txt") == f"{tmp_path}/gone.txt: No such file or directory\n"
    for nothing in ("", "\n# a comment\n"):
        text.write_text(nothing)
        assert error(tmp_path / "nowhere", "--text", text) == f"{text}: there is no chorus in it\n"
    assert not (tmp_path / "nowhere").exists()
    assert error(text) == f"{text}: it is a file, not a folder\n"
    assert error("").endswith("argument FOLDER: must be a folder, got ''\n")
    assert error(text / "folder") == f"{text}/folder: Not a directory\n"


def test_beats_are_cut_into_equal_parts():
    text = HEAD + "chords: F7 | Bb7 C7\nmelody: -.C5 _.Eb4 A4.C5.E5 C#4 | _ - Cb5._.-.B#3 -\n\n"
    (tune,) = corpus.read("# a comment\n\n" + text)
    assert tune.piece.parts[0].notes == (
        Note(6, 12, 72), Note(18, 6, 63), Note(24, 4, 69), Note(28, 4, 72), Note(32, 4, 76), Note(36, 24, 61),
        Note(72, 6, 71), Note(81, 3, 60),
    )  # fmt: skip
    assert (tune.title, tune.style, tune.key, tune.piece.swing) == ("T", "blues", "F", 0.6)
    assert tune.piece.tempos == ((0, 120.0),)
    assert [(t, c.symbol) for t, c in tune.piece.chords] == [(0, "F7"), (48, "Bb7"), (72, "C7")]


@each_row(
    ("lines", "message"),
    [
        ("tune: x\n", "line 6: expected one of title, style, key, tempo, swing, chords, melody and a colon, got 'tune: x'"),
        ("chords: F7\nmelody: C4 C4 C4\n", "line 7: a bar has 4 beats, 'C4 C4 C4' has 3"),
        ("chords: F7\nmelody: C4 C4 H4 C4\n", "line 7: expected a note such as Eb4, _ after a note, or -, got 'H4'"),
        ("chords: F7\nmelody: C4 - _ C4\n", "line 7: expected a note such as Eb4, _ after a note, or -, got '_'"),
        ("chords: F7\nmelody: C4 C4 C4.C4.C4.C4.C4 -\n", "line 7: a beat cannot be cut into 5 parts"),
        ("chords: F7 | H\nmelody: C4 C4 C4 -\n", "line 6: expected a chord"),
        ("chords: F7 | Bb7\nmelody: C4 C4 C4 -\n", "line 8: the piece that ends here has 2 bars of chords and 1 of melody"),
        ("key: Q\nchords: F7\nmelody: C4 C4 C4 -\n", "line 9: the piece that ends here: 'Q' is not a key"),
        ("swing: 0.9\nchords: F7\nmelody: C4 C4 C4 -\n", "line 9: the piece that ends here: swing must lie in [0.5, 0.72]"),
        ("tempo: fast\nchords: F7\nmelody: C4 C4 C4 -\n", "line 9: the piece that ends here: could not convert"),
    ],
)
def test_faults_name_the_line(lines, message):
    with pytest.raises(corpus.CorpusError) as error:
        corpus.read(HEAD + lines)
    assert str(error.value).startswith(message)


@given(st.text(alphabet="C4Eb_-. |\n", max_size=40), st.text(alphabet="C7|% ", max_size=10))
def test_any_text_is_a_melody_or_names_the_line(melody, chords):
    try:
        tunes = corpus.read(f"{HEAD}chords: {chords}\nmelody: {melody}\n")
    except corpus.CorpusError as error:
        tunes = ()
        found = str(error)
    else:
        found = "line 0"
    assert found.startswith("line ")
    assert all(len(tune.changes.bars) * 48 == tune.piece.length for tune in tunes)


def test_a_missing_field():
    with pytest.raises(corpus.CorpusError, match="line 4: the piece that ends here has no style"):
        corpus.read("title: T\nchords: F7\nmelody: - - - -\n")


def small_piece() -> Piece:
    """Return bars of C7 and F7. Strong beats: C, E (chord tones), B (none); weak: D (in the scale), C sharp (outside)."""
    notes = (Note(0, 6, 60), Note(12, 6, 62), Note(24, 12, 64), Note(48, 12, 71), Note(60, 6, 61), Note(66, 6, 65))
    chords = ((0, parse_chord("C7")), (48, parse_chord("F7")))
    return Piece((Part("melody", notes=notes),), chords=chords, length=96)


def test_statistics_by_value():
    found = statistics.melody_statistics([small_piece()], "melody")
    assert (found.notes, found.bars, found.lowest, found.highest) == (6, 2, 60, 71)
    assert found.chord_tones_strong == pytest.approx(2 / 3)
    assert found.chord_tones == pytest.approx(3 / 6)
    assert found.scale_tones == pytest.approx(4 / 6)
    assert found.durations == pytest.approx({6: 4 / 6, 12: 2 / 6})
    assert found.rests == pytest.approx(1 - 48 / 96)
    assert found.off_beat == pytest.approx(1 / 6)
    assert found.steps == pytest.approx(2 / 5)
    assert found.phrase == pytest.approx((36 + 24) / 2 / 12)
    assert found.repeated_bars == found.repeated_phrases == 0
    assert "chord tones on strong beats    66.7%" in found.lines()


@pytest.mark.parametrize(
    ("metres", "onsets", "off"),
    [
        (((0, 6, 8),), (0, 12, 18, 54), 1 / 4),  # the beat is a dotted quarter
        (((0, 1, 8), (6, 4, 4)), (0, 6, 18, 24), 1 / 4),  # a pickup of an eighth
        (((0, 7, 8),), (6, 42, 54, 57), 1 / 4),
    ],
)
def test_off_the_beat_follows_the_metre(metres, onsets, off):
    melody = Part(notes=tuple(Note(onset, 3, 60) for onset in onsets))
    assert statistics.melody_statistics([Piece((melody,), metres=metres)]).off_beat == off


def test_statistics_of_repeats_and_of_unknown_chords():
    bar = [Note(0, 6, 60), Note(6, 6, 64)]
    moved = [Note(n.onset + 48 * b, n.duration, n.pitch + 5 * b) for b in range(3) for n in bar]
    found = statistics.melody_statistics([Piece((Part(notes=tuple(moved)),))])
    assert found.repeated_bars == found.repeated_phrases == pytest.approx(2 / 3)
    assert math.isnan(found.chord_tones)
    with pytest.raises(ValueError, match="pieces must have notes in that part, got none"):
        statistics.melody_statistics([Piece((Part(),))])
    with pytest.raises(ValueError, match="part must be the number of one of 1 parts, got 1"):
        statistics.melody_statistics([small_piece()], 1)


def test_undefined_statistics_have_no_number():
    melody = Part(notes=(Note(0, 9, 60), Note(9, 3, 62), Note(12, 12, 64)))
    lines = statistics.melody_statistics([Piece((melody,), chords=((0, parse_chord("N.C.")),))]).lines()
    assert "chord tones                    -" in lines
    assert "phrases                        not divided by rests" in lines
    assert "note lengths                   sixteenth 33%, dotted eighth 33%, quarter 33%" in lines
    assert not [line for line in lines if "nan" in line]


def test_durations_have_names():
    names = {
        1: "triplet thirty-second", 3: "sixteenth", 4: "triplet", 5: "5/12 of a quarter", 6: "eighth", 8: "triplet quarter",
        9: "dotted eighth", 10: "5/6 of a quarter", 12: "quarter", 15: "quarter + sixteenth", 18: "dotted quarter",
        20: "1 2/3 quarters", 27: "half + sixteenth", 30: "half + eighth", 36: "dotted half", 48: "whole",
        60: "whole + quarter", 100: "8 1/3 quarters", 240: "20 quarters",
    }  # fmt: skip
    assert {duration: statistics.duration_name(duration) for duration in names} == names
    assert not [duration for duration in range(1, 500) if "/12 quarters" in statistics.duration_name(duration)[:6]]


def test_a_phrase_is_repeated_wherever_it_begins():
    def phrase(onset, pitch, *intervals, last=6):
        notes = [Note(onset + 6 * i, 6, pitch + interval) for i, interval in enumerate((0, *intervals[:-1]))]
        return [*notes, Note(onset + 6 * len(notes), last, pitch + intervals[-1])]

    first = phrase(0, 60, 4, 7)
    again = phrase(36, 65, 4, 7)  # over the bar line
    moved = phrase(90, 62, 4, 7)
    higher, longer = phrase(126, 60, 4, 8), phrase(162, 60, 4, 7, last=12)
    alone = [Note(tick, 6, 60) for tick in (204, 228)]
    found = statistics.melody_statistics([Piece((Part(notes=(*first, *again, *moved, *higher, *longer, *alone)),))])
    assert found.repeated_phrases == pytest.approx(2 / 5)  # single notes are no phrases
    assert found.repeated_bars == 0
    assert "repeated phrases               40.0%" in found.lines()
    both = statistics.melody_statistics([Piece((Part(notes=tuple(notes)),)) for notes in (first, again)])
    assert both.repeated_phrases == 0  # they are in two pieces
    assert math.isnan(statistics.melody_statistics([Piece((Part(notes=tuple(alone)),))]).repeated_phrases)


def test_phrases():
    found = statistics.phrases(small_piece().parts[0])
    assert [[note.onset for note in phrase] for phrase in found] == [[0, 12, 24], [48, 60, 66]]


def line(seed: int, count: int) -> list[tuple[int, int]]:
    """Draw a random line: (duration, pitch) of each note."""
    rng = np.random.default_rng(seed)
    return list(zip(rng.choice([4, 6, 12], count).tolist(), rng.integers(40, 90, count).tolist(), strict=True))


def as_part(events: list[tuple[int, int]]) -> Part:
    notes, onset = [], 0
    for duration, pitch in events:
        notes.append(Note(onset, duration, pitch))
        onset += duration
    return Part(notes=tuple(notes))


@given(st.integers(0, 10**6), st.integers(0, 20), st.integers(8, 16), st.integers(-12, 12))
def test_a_planted_copy_is_found(seed, start, count, shift):
    training = [as_part(line(seed + 1, 40)), as_part(line(seed + 2, 40))]
    copied = line(seed + 2, 40)[start : start + count]
    new = line(seed + 3, 10) + [(d, p + shift) for d, p in copied] + line(seed + 4, 10)
    match = statistics.longest_match(as_part(new), training)
    assert match.notes >= count
    assert match.source == 1
    assert match.bars >= sum(d for d, _ in copied) / 48
    assert match.start - match.source_start == 10 - start
    exact = statistics.longest_match(as_part(new), training, transposed=False)
    assert (exact.notes >= count) == (shift == 0)


def test_a_copy_that_is_cut_short_and_no_copy():
    training = as_part([(6, 60), (6, 62), (6, 64), (12, 65)])
    short = as_part([(6, 70), (6, 72), (6, 74), (6, 75)])
    match = statistics.longest_match(short, [training])
    assert (match.notes, match.bars, match.start, match.source) == (3, 18 / 48, 0, 0)  # its last note has another duration
    assert statistics.longest_match(as_part([(6, 60), (6, 61)]), [as_part([(6, 60), (6, 65)])]).source == -1
    assert statistics.longest_match(Part(), [training]) == statistics.Match(0, 0.0, 0, -1, 0)
    assert statistics.longest_match(training, [training]).bars == 30 / 48
    assert statistics.longest_match(training, [training], metre=(2, 4)).bars == 30 / 24
    assert statistics.longest_match(training, [training], metre=(5, 32)).bars == 4


@each_row(("metre", "places"), [((3, 4), [0]), ((6, 8), [0, 3]), ((2, 4), [0, 2, 4]), ((4, 4), [0, 4])])
def test_strong_beats_follow_the_metre(metre, places):
    def share(k):
        """Return the share of chord tones on strong beats if only the k-th eighth is a chord tone."""
        notes = tuple(Note(6 * i, 6, 60 if i == k else 61) for i in range(6))
        return statistics.melody_statistics(
            [Piece((Part(notes=notes),), ((0, *metre),), chords=((0, parse_chord("C")),))]
        ).chord_tones_strong

    assert [k for k in range(6) if share(k) > 0] == places
