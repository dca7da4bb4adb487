"""Comping and bass by rule, sound, and piano rolls: by value where there is one, and what always holds."""

from __future__ import annotations

import io
import itertools
import sys
import wave
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn.music import accompaniment, changes, roll, synthesis
from fastrnn.music.chords import parse_chord, scale
from fastrnn.music.piece import TICKS, Note, Part, Piece

RATE = 8000


def over(text: str, metre: tuple[int, int] = (4, 4)) -> Piece:
    parsed = changes.parse_changes(text, metre)
    return Piece((), metres=((0, *metre),), chords=parsed.chords, length=parsed.length)


keys = st.sampled_from(["C", "F", "Bb", "Eb", "Ab", "Db", "Gb", "B", "E", "A", "D", "G"])
names = st.sampled_from(changes.progressions())


@settings(max_examples=25)
@given(names, keys, st.integers(0, 1000))
def test_the_bass_walks(name, key, seed):
    piece = over(str(changes.progression(name, key)))
    bass = accompaniment.accompany(piece, comping=False, seed=seed).part("bass")
    assert [note.onset for note in bass.notes] == list(range(0, piece.length, TICKS))
    assert all(accompaniment.BASS_LOW <= note.pitch <= accompaniment.BASS_HIGH for note in bass.notes)
    at = {note.onset: note.pitch for note in bass.notes}
    for tick, chord in piece.chords:
        assert at[tick] % 12 == chord.bass
        if tick:  # led into by a step, wherever there was room for one
            assert (at[tick] - at[tick - TICKS]) % 12 in {1, 2, 10, 11}
    assert all(a.pitch != b.pitch for a, b in itertools.pairwise(bass.notes))


@settings(max_examples=25)
@given(names, keys, st.integers(0, 1000))
def test_comping_plays_the_chords(name, key, seed):
    piece = over(str(changes.progression(name, key)))
    comping = accompaniment.accompany(piece, bass=False, seed=seed).part("comping")
    for note in comping.notes:
        assert accompaniment.COMP_LOW <= note.pitch <= accompaniment.COMP_HIGH
        heard = piece.chord_at(note.onset + (TICKS // 2 if note.onset % TICKS else 0))  # anticipated by half a beat
        assert note.pitch % 12 in scale(piece.chords[heard][1])
        assert note.end <= piece.length
    for pitch in {note.pitch for note in comping.notes}:
        same = [note for note in comping.notes if note.pitch == pitch]
        assert all(a.end <= b.onset for a, b in itertools.pairwise(same))
    assert accompaniment.accompany(piece, bass=False, seed=seed).part("comping") == comping


@pytest.mark.parametrize(
    ("symbol", "classes"),
    [("Dm7", {5, 0, 4, 9}), ("G7", {11, 5, 9, 2}), ("C7alt", {4, 10, 3, 8}), ("Bm7b5", {2, 9, 5, 11}), ("C", {0, 4, 7}),
     ("C13", {4, 10, 9, 2}), ("Co7", {0, 3, 6, 9}), ("E7b9", {8, 2, 5, 11}), ("C6", {4, 9, 2, 7}), ("N.C.", set())],
)  # fmt: skip
def test_voicings(symbol, classes):
    assert {pitch % 12 for pitch in accompaniment.voicing(parse_chord(symbol))} == classes


def test_voicings_lead_from_one_to_the_next():
    before = accompaniment.voicing(parse_chord("Dm7"))
    after = accompaniment.voicing(parse_chord("G7"), before)
    assert sorted(abs(a - b) for a, b in zip(before, after, strict=True)) == [0, 0, 1, 2]


def test_no_chord_is_silence_and_other_metres_work():
    played = accompaniment.accompany(over("C | N.C. | C"), drums=True)
    for name in ("comping", "bass"):
        assert not [note for note in played.part(name).notes if 48 <= note.onset < 90]
    assert played.part("drums").is_drum
    waltz = accompaniment.accompany(over("Dm7 | G7", (3, 4)))
    assert [note.onset for note in waltz.part("bass").notes] == [0, 12, 24, 36, 48, 60]
    assert [part.notes for part in accompaniment.accompany(Piece(length=96)).parts] == [(), ()]


def test_a_line_is_shaped():
    notes = (Note(0, 6, 60), Note(6, 6, 64), Note(12, 6, 68), Note(48, 6, 60), Note(60, 6, 30), Note(72, 6, 127))
    shaped = accompaniment.shaped(Part("melody", 66, notes=notes))
    assert [note.velocity for note in shaped.notes] == [70, 82, 88, 58, 50, 110]
    assert [replace(note, velocity=80) for note in shaped.notes] == list(notes)
    assert accompaniment.shaped(Part()) == Part()


def strongest(samples, rate: int) -> float:
    """The frequency with the most energy, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    return float(spectrum.argmax() * rate / (8 * len(samples)))


@pytest.mark.parametrize("program", [0, 4, 24, 32, 48, 56, 66, 73, 100])
def test_a_note_has_its_pitch(program):
    sound = synthesis.render(Piece((Part(program=program, notes=(Note(0, 24, 69),)),)), rate=RATE)
    assert strongest(sound[: RATE // 5, 0], RATE) == pytest.approx(440, rel=0.01)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.integers(1, 30), st.integers(0, 127), st.integers(1, 127)), min_size=1, max_size=12
    )
)
def test_nothing_clips(events):
    piece = Piece((Part(program=66, notes=tuple(Note(*event) for event in events)),))
    sound = synthesis.render(piece, rate=RATE, swing=0.6)
    assert np.abs(sound).max() == pytest.approx(10 ** (-1 / 20))
    with wave.open(io.BytesIO(synthesis.wav_bytes(sound, RATE))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    np.testing.assert_allclose(data / 32767, sound, atol=0.51 / 32767)
    assert np.abs(data).max() == round(10 ** (-1 / 20) * 32767)


def first_sound(piece: Piece, **options) -> float:
    """When the first note begins, in seconds."""
    sound = synthesis.render(piece, rate=RATE, **options)
    return float(np.flatnonzero(np.abs(sound).sum(1) > 1e-4)[0] / RATE)


def test_notes_begin_when_they_should():
    off_beat = Piece((Part(notes=(Note(6, 6, 72),)),), tempos=((0, 60.0),))
    assert first_sound(off_beat) == pytest.approx(0.5, abs=0.005)
    assert first_sound(off_beat, swing=0.66) == pytest.approx(0.66, abs=0.005)
    triplet = Piece((Part(notes=(Note(8, 4, 72),)),), tempos=((0, 60.0),))
    assert first_sound(triplet, swing=0.75) == pytest.approx(2 / 3, abs=0.005)
    slower = Piece((Part(notes=(Note(24, 12, 72),)),), tempos=((0, 120.0), (12, 60.0)))
    assert first_sound(slower) == pytest.approx(0.5 + 1.0, abs=0.005)


def test_loud_is_louder_and_releases_do_not_click():
    notes = (Note(0, 12, 60, 40), Note(24, 12, 60, 100))
    sound = synthesis.render(Piece((Part(program=66, notes=notes),), tempos=((0, 60.0),)), rate=RATE)
    soft, loud = np.abs(sound[:RATE]).max(), np.abs(sound[2 * RATE : 3 * RATE]).max()
    assert loud / soft == pytest.approx(2.5**1.5, rel=0.05)
    jumps = np.abs(np.diff(sound[:, 0]))
    assert jumps[3 * RATE :].max() < jumps[2 * RATE : 3 * RATE].max()
    assert not sound[-RATE // 10 :].any()


def test_silence_and_bad_arguments():
    assert not synthesis.render(Piece(length=48), rate=RATE).any()
    with pytest.raises(ValueError, match=r"swing must lie in \[0.5, 0.75\], got 0.8"):
        synthesis.render(Piece(length=48), swing=0.8)
    with pytest.raises(ValueError, match="rate must be at least 8000, got 10"):
        synthesis.render(Piece(length=48), rate=10)
    with pytest.raises(ValueError, match="piece must be at most 20 minutes long to be rendered, got 1667"):
        synthesis.render(Piece(length=120 * 1000 * 10 * 2, tempos=((0, 120.0),)))


def test_sound_fonts(tmp_path, monkeypatch):
    piece = Piece((Part(notes=(Note(0, 12, 60),)),))
    with pytest.raises(FileNotFoundError):
        synthesis.write_wav(tmp_path / "out.wav", piece, sound_font=tmp_path / "none.sf2")
    (tmp_path / "font.sf2").write_bytes(b"RIFF")
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(ImportError, match="a sound font needs pretty_midi, pyfluidsynth and the FluidSynth library"):
        synthesis.write_wav(tmp_path / "out.wav", piece, sound_font=tmp_path / "font.sf2")
    assert not (tmp_path / "out.wav").exists()


def test_colours_say_what_a_note_is_to_its_chord():
    notes = (Note(0, 6, 62), Note(12, 6, 64), Note(24, 6, 61), Note(48, 6, 61))
    part = Part("melody", notes=notes)
    piece = Piece((part,), chords=((0, parse_chord("Dm7")), (48, parse_chord("N.C."))))
    assert roll._colours(piece, part) == [roll.CHORD_TONE, roll.SCALE_TONE, roll.OUTSIDE, roll.NO_HARMONY]


def test_symbols_above_the_lines():
    piece = over("Bbmaj7 | % | F#m7b5 B7b9 | Co7")
    assert roll._symbols(piece, 0, 96) == [(0, "B♭∆7")]
    assert roll._symbols(piece, 48, 144) == [(48, "B♭∆7"), (96, "F♯ø7"), (120, "B7♭9")]


def test_a_roll_is_drawn(tmp_path):
    piece = accompaniment.accompany(
        replace(over("Dm7 | G7 | Cmaj7 | % | Dm7"), parts=(Part("melody", notes=(Note(0, 96, 74),)),))
    )
    roll.draw_roll(tmp_path / "roll.png", piece, bars_per_line=2, title="ii-V-I", most_bars=4)
    from matplotlib.image import imread

    pixels = imread(tmp_path / "roll.png")[:, :, :3]

    def share(colour: str) -> float:
        wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        return float((np.abs(pixels - wanted).max(-1) < 0.01).mean())

    assert share(roll.CHORD_TONE) > 3 * share(roll.SCALE_TONE)  # one long note; the legend has a patch of each
    assert share(roll._OTHERS[0]) > share(roll.SCALE_TONE)
    with pytest.raises(ValueError, match="bars_per_line must be at least 1, got 0"):
        roll.draw_roll(tmp_path / "roll.png", piece, bars_per_line=0)
    roll.draw_roll(tmp_path / "empty.png", Piece(length=48))
    assert (tmp_path / "empty.png").stat().st_size > 1000
