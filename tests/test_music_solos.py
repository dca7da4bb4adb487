"""Statistics that compare solos with songs, by value, and the tables that print them."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from command_line import output_of

from fastrnn.commands import solo_table
from fastrnn.commands._screen import music_output
from fastrnn.music._midi import songs
from fastrnn.music._output.solo_statistics import (
    ends_on_chord_tone,
    entropy,
    heard_again,
    is_closed,
    returning_motifs,
    solo_statistics,
)
from fastrnn.music.chords import parse_chord
from fastrnn.music.generation import Form, Solo
from fastrnn.music.piece import Note, Part, Piece
from fastrnn.music.vocabulary import PartVocabulary


def piece_of(*notes, bars=1, chords=("C7",)):
    """Return a piece of (onset, duration, pitch) in 4/4; the chords share the bars evenly."""
    placed = tuple((48 * bars * i // len(chords), parse_chord(symbol)) for i, symbol in enumerate(chords))
    return Piece((Part(notes=tuple(Note(*note) for note in notes)),), chords=placed, length=48 * bars)


def test_entropy_by_value():
    assert entropy([6, 6, 12, 24]) == pytest.approx(1.5)
    assert entropy([6, 6]) == 0


def test_phrases_heard_again_by_value():
    def phrase(bar, pitch, intervals, step=6):
        return [(48 * bar + step * i, step, pitch + interval) for i, interval in enumerate((0, *intervals))]

    first = phrase(0, 60, (4, 7, 2))
    near, other_way, wide = phrase(1, 65, (3, 7, 3)), phrase(2, 60, (4, 2, 7)), phrase(3, 60, (4, 10, 2))
    rhythm, tail = phrase(4, 60, (4, 7, 2), step=9), [*phrase(5, 62, (4, 7, 2)), (48 * 5 + 24, 24, 70), (48 * 6, 6, 60)]
    late = phrase(14, 60, (4, 7, 2))
    assert heard_again(piece_of(*first, *near, bars=2)) == [False, True]
    assert heard_again(piece_of(*first, *other_way, *wide, *rhythm, bars=8)) == [False] * 4
    assert heard_again(piece_of(*first, *late, bars=16)) == [False, False]  # 14 bars before
    assert heard_again(piece_of((0, 6, 60), (6, 6, 62), (48, 6, 60), (54, 6, 62), bars=2)) == []  # two notes
    # A motif ends four quarters after it began: what follows may differ.
    longer = [*phrase(0, 60, (4, 7, 2)), (24, 24, 68), (48, 6, 72)]
    assert heard_again(piece_of(*longer, *tail, bars=8)) == [False, True]
    assert returning_motifs(piece_of(*first, *other_way, *phrase(5, 62, (4, 7, 2)), bars=8)) == [(0, 24), (240, 264)]


def test_ends_by_value():
    chord_tone = piece_of((24, 12, 64), chords=("F7", "C7"))
    assert ends_on_chord_tone(chord_tone)
    assert is_closed(chord_tone)
    assert not ends_on_chord_tone(piece_of((24, 12, 65), chords=("F7", "C7")))  # F is no tone of the last chord
    assert not ends_on_chord_tone(piece_of((30, 12, 64)))
    assert is_closed(piece_of((24, 6, 65)))  # a rest of three eighths follows
    assert not is_closed(piece_of((36, 6, 64)))  # an eighth, and then an eighth rest
    assert is_closed(piece_of((36, 12, 64)))
    assert not is_closed(piece_of((30, 18, 64)))  # off the beat


def test_statistics_are_means_over_pieces():
    one = piece_of((0, 12, 60), (12, 12, 64), (24, 12, 67))  # a phrase of 3 quarters, all chord tones
    other = piece_of((0, 6, 62), (24, 6, 60))  # two phrases of an eighth, one chord tone
    found = solo_statistics([one, other, piece_of()])
    assert found.phrase == pytest.approx((3 + 0.5) / 2)
    assert found.rests == pytest.approx((0.25 + 0.75) / 2)
    assert found.entropy == pytest.approx(entropy([12, 12, 12, 6, 6]))
    assert found.strong == pytest.approx((1 + 0.5) / 2)
    assert (found.last_chord_tone, found.closed) == (1, 1)
    assert found.repeated == 0
    assert math.isnan(solo_statistics([other]).repeated)
    with pytest.raises(ValueError, match="pieces must have notes, got none"):
        solo_statistics([piece_of()])


def test_the_table_of_a_run(jazz_run, capsys, monkeypatch):
    monkeypatch.setattr(solo_table, "ROWS", (("ii-V-I", "C", 1), ("blues", "F", 1)))
    solo_table.main([str(jazz_run), "--solos", "2"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[2:]] == [
        "| the songs trained on", "| the songs held out", "| ii-V-I in C, 1 chorus", "| blues in F, 1 chorus",
        "| all solos",
    ]  # fmt: skip
    assert {len(row) for row in rows if len(row) > 1} == {len(solo_table.HEAD)}
    with pytest.raises(SystemExit):
        solo_table.main([str(jazz_run / "nothing")])
    assert "error" in capsys.readouterr().err


def test_copied_bars_are_those_of_the_form(capsys):
    song = songs.embedded().songs[0]
    found = []
    for metre in ((4, 4), (2, 4)):
        piece = replace(song.piece, metres=((0, *metre),))
        player = SimpleNamespace(songs=SimpleNamespace(train=(song,)), vocabulary=PartVocabulary(54, 82))
        music_output.print_statistics(Solo(song.part, 0, False), Form.of(piece), player)
        found.append(float(re.search(r"copied run +([\d.]+) bars", capsys.readouterr().out)[1]))
    assert found[1] == pytest.approx(2 * found[0], abs=0.02)
    assert found[0] > 10


def test_the_table_of_a_piano_has_no_rows_of_single_lines(rags, jazz_run, tmp_path, capsys):
    def rows(folder):
        table = output_of(capsys, "sample", folder, "--seed", 1, "--out", tmp_path / f"{folder.parent.name}.mid").out
        return [line[:31].strip() for line in table.splitlines()]

    single = rows(jazz_run)
    assert single[1:-1] == [
        "notes", "chord tones on strong beats", "chord tones", "scale tones", "pitch range", "note lengths", "rests",
        "off the beat", "steps", "phrases", "repeated bars", "repeated phrases",
    ]  # fmt: skip
    assert rows(rags) == [row for row in single if row not in ("steps", "phrases", "repeated phrases")]
