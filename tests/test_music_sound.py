"""Comping and bass by rules, sound, and piano rolls: values, and properties that always hold."""

from __future__ import annotations

import io
import itertools
import re
import sys
import wave
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from fastrnn.music import changes
from fastrnn.music._output import accompaniment, roll, synthesis
from fastrnn.music._output.roll_pages import page_paths, pages
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
        if tick:  # the previous note is one step away if there was room for it
            assert (at[tick] - at[tick - TICKS]) % 12 in {1, 2, 10, 11}
    assert all(a.pitch != b.pitch for a, b in itertools.pairwise(bass.notes))


@pytest.mark.parametrize("metre", [(1, 16), (3, 64)])
def test_bars_too_short_for_comping_have_none(metre):
    piece = Piece(metres=((0, *metre),), chords=((0, parse_chord("C")),), length=9)
    played = accompaniment.accompany(piece, drums=True)
    assert played.part("comping").notes == ()
    assert {note.pitch % 12 for note in played.part("bass").notes} <= {0, 2, 4, 5, 7, 9, 11}
    assert [note.onset for note in played.part("drums").notes] == piece.beats().tolist()


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


@settings(max_examples=25)
@given(
    st.sampled_from(["C7 F7 Bb7 Eb7 | Am7 D7 Gm7 A7", "C7 / / / / F7 / Bb7 | Eb7 Ab7 Db7 Gb7 B7 E7 A7 D7"]),
    st.integers(0, 1000),
)
def test_no_stroke_sounds_over_the_next_of_many_chords(text, seed):
    """Chords of a quarter or less are not anticipated, because they would hardly be heard."""
    piece = over(text + " | " + text)
    for note in accompaniment.accompany(piece, bass=False, seed=seed).part("comping").notes:
        heard, last = piece.chord_at([note.onset, note.end - 1]).tolist()
        assert heard == last
        assert note.pitch % 12 in scale(piece.chords[heard][1])


metres = st.sampled_from([(4, 4), (3, 4), (2, 4), (6, 8), (12, 8), (9, 8), (5, 4), (7, 4), (5, 8), (7, 8), (3, 8), (2, 2)])


@settings(max_examples=40)
@given(names, metres, st.integers(0, 1000))
def test_the_rhythm_section_plays_in_any_metre(name, metre, seed):
    parsed = changes.progression(name, "F", metre)
    piece = Piece((), metres=((0, *metre),), chords=parsed.chords, length=parsed.length)
    played = accompaniment.accompany(piece, drums=True, seed=seed)
    bass, comping, beats = played.part("bass"), played.part("comping"), piece.beats().tolist()
    assert [note.onset for note in bass.notes] == sorted({*beats, *(tick for tick, _ in piece.chords)})
    assert all(a.end <= b.onset for a, b in itertools.pairwise(bass.notes))
    ends = [*(tick for tick, _ in piece.chords[1:]), piece.length]
    for note in comping.notes:
        now, soon = piece.chord_at([note.onset, min(note.onset + 6, piece.length - 1)]).tolist()
        heard = now if note.pitch % 12 in scale(piece.chords[now][1]) and note.end <= ends[now] else soon
        assert note.pitch % 12 in scale(piece.chords[heard][1])
        assert note.end <= ends[heard]
    for pitch in {note.pitch for note in comping.notes}:
        same = [note for note in comping.notes if note.pitch == pitch]
        assert all(a.end <= b.onset for a, b in itertools.pairwise(same))
    assert {note.onset for note in played.part("drums").notes} >= set(beats)
    bars = zip(piece.bars().tolist(), piece.bar_ends().tolist(), strict=True)
    assert all(any(start <= note.onset < end for note in comping.notes) for start, end in bars)


def test_two_three_and_six():
    """In each metre, a bar has bass notes on its beats, a ride with skip notes, and a hi-hat on the off-beats."""

    def onsets(metre, part):
        played = accompaniment.accompany(over("C7", metre), drums=True)
        return [(note.onset, note.duration) for note in played.part(part).notes]

    def drums(metre, pitch):
        played = accompaniment.accompany(over("C7", metre), drums=True)
        return [note.onset for note in played.part("drums").notes if note.pitch == pitch]

    assert onsets((2, 4), "bass") == [(0, 11), (12, 11)]
    assert onsets((3, 4), "bass") == [(0, 11), (12, 11), (24, 11)]
    assert onsets((6, 8), "bass") == [(0, 17), (18, 17)]
    assert [drums(metre, accompaniment._RIDE) for metre in ((2, 4), (3, 4), (6, 8))] == [
        [0, 12, 18], [0, 12, 18, 24], [0, 18, 30]
    ]  # fmt: skip
    assert [drums(metre, accompaniment._HI_HAT) for metre in ((2, 4), (3, 4), (6, 8))] == [[12], [12], [18]]


@each_row(("left", "size"), [(4, 4), (6, 6), (8, 8), (10, 6), (12, 8), (14, 8), (5, 4), (7, 4), (3, 4), (1, 4), (16, 8)])
def test_bars_are_filled_with_rhythms(left, size):
    assert accompaniment._size(left, accompaniment._RHYTHMS) == size


def test_rhythms_keep_to_their_length():
    for table in (accompaniment._RHYTHMS, accompaniment._IN_THREES):
        for size, rhythms in table.items():
            for rhythm in rhythms:
                ends = [place + length for place, length in rhythm]
                assert all(end <= begin for end, (begin, _) in zip(ends, [*rhythm[1:], (size, 0)], strict=True))


@each_row(
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
    quarters = np.arange(0, 84, 12)
    shaped = accompaniment.shaped(Part("melody", 66, notes=notes), quarters)
    assert [note.velocity for note in shaped.notes] == [70, 82, 88, 58, 50, 110]
    assert [replace(note, velocity=80) for note in shaped.notes] == list(notes)
    assert accompaniment.shaped(Part(), quarters) == Part()
    steady = Part(notes=tuple(Note(6 * i, 6, 60) for i in range(5)))
    assert [note.velocity for note in accompaniment.shaped(steady, np.array([0, 18])).notes] == [76, 82, 82, 76, 88]


def strongest(samples, rate: int) -> float:
    """Return the frequency with the most energy, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    return float(spectrum.argmax() * rate / (8 * len(samples)))


@each_row("program", [0, 4, 24, 32, 48, 56, 66, 73, 100])
def test_a_note_has_its_pitch(program):
    sound = synthesis.render(Piece((Part(program=program, notes=(Note(0, 24, 69),)),)), rate=RATE)
    assert strongest(sound[: RATE // 5, 0], RATE) == pytest.approx(440, rel=0.01)


@settings(max_examples=10)
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
    """Return when the first note begins, in seconds."""
    sound = synthesis.render(piece, rate=RATE, **options)
    return float(np.flatnonzero(np.abs(sound).sum(1) > 1e-4)[0] / RATE)


def test_notes_begin_when_they_should():
    off_beat = Piece((Part(notes=(Note(6, 6, 72),)),), tempos=((0, 60.0),))
    assert first_sound(off_beat) == pytest.approx(0.5, abs=0.005)
    assert first_sound(off_beat, swing=0.66) == pytest.approx(0.66, abs=0.005)
    triplet = Piece((Part(notes=(Note(8, 4, 72),)),), tempos=((0, 60.0),))
    assert first_sound(triplet, swing=0.72) == pytest.approx(2 / 3, abs=0.005)
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


def test_upper_partials_fade_to_nothing_in_long_notes():
    sound = synthesis.Timbre((1, 0.5), attack=0.01, decay=0.01, sustain=0.0, release=0.1, damping=1.0)
    t = np.arange(8 * RATE) / RATE  # exp(-t / decay) is zero from 7.5 seconds on
    expected = (np.sin(880 * np.pi * t) + 0.5 * np.sin(1760 * np.pi * t) * np.exp(-t / 0.01)) / 1.5
    np.testing.assert_allclose(synthesis._wave(sound, 69, len(t), RATE), expected, rtol=0, atol=1e-9)


def test_silence_and_bad_arguments():
    assert not synthesis.render(Piece(length=48), rate=RATE).any()
    with pytest.raises(ValueError, match=r"swing must lie in \[0.5, 0.72\], got 0.8"):
        synthesis.render(Piece(length=48), swing=0.8)
    with pytest.raises(ValueError, match="rate must be at least 8000, got 10"):
        synthesis.render(Piece(length=48), rate=10)
    with pytest.raises(ValueError, match="piece must be at most 20 minutes long to be rendered, got 1667"):
        synthesis.render(Piece(length=120 * 1000 * 10 * 2, tempos=((0, 120.0),)))
    assert synthesis.length_of(Piece(length=48, tempos=((0, 60.0), (24, 120.0)))) == pytest.approx(3.6)


ONE_NOTE = Piece((Part(notes=(Note(0, 12, 60),)),))  # half a second


class FakeSynth:
    """Stand-in for pyfluidsynth's Synth: it records the loaded font and gives a steady level for each key that is down."""

    def __init__(self, samplerate, font=7, level=1000):
        self.rate, self.font, self.level = samplerate, font, level
        self.down, self.loaded, self.selected, self.deleted = set(), [], [], False

    def get_setting(self, name):
        return {"synth.sample-rate": self.rate}[name]

    def sfload(self, path):
        self.loaded.append(path)
        return self.font

    def program_select(self, channel, font, bank, program):
        self.selected.append((channel, font, bank, program))
        return 0

    def noteon(self, channel, key, velocity):
        self.down.add(key)

    def noteoff(self, channel, key):
        self.down.remove(key)

    def get_samples(self, count):
        return np.full(2 * count, self.level * len(self.down), np.int16)

    def delete(self):
        self.deleted = True


@pytest.fixture
def fluidsynth(monkeypatch):
    """Return a function that replaces FluidSynth by a FakeSynth with given options; it returns the list of those made."""
    pytest.importorskip("pretty_midi")

    def put(**options):
        made = []

        class Synth(FakeSynth):
            def __init__(self, samplerate):
                super().__init__(samplerate, **options)
                made.append(self)

        # pretty_midi searches for FluidSynth when it is imported.
        for name in [name for name in sys.modules if name.split(".")[0] == "pretty_midi"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "fluidsynth", SimpleNamespace(Synth=Synth))
        return made

    return put


@pytest.fixture
def font(tmp_path):
    """Write a file that begins like a sound font."""
    path = tmp_path / "font.sf2"
    path.write_bytes(b"RIFF\x04\x00\x00\x00sfbk")
    return path


def test_a_sound_font_plays(font, fluidsynth):
    made = fluidsynth()
    piece = replace(ONE_NOTE, parts=(replace(ONE_NOTE.parts[0], program=11),))
    sound = synthesis.render_with(font, piece, rate=RATE)
    (synth,) = made
    assert (synth.rate, synth.loaded, synth.selected, synth.deleted) == (RATE, [str(font)], [(0, 7, 0, 11)], True)
    peak = np.float32(10 ** (-1 / 20))
    assert sound.shape == (RATE // 2 + RATE, 2)  # the note and a second after it
    np.testing.assert_allclose(sound[: RATE // 2], peak, rtol=1e-6)
    assert not sound[RATE // 2 :].any()
    with pytest.raises(ValueError, match="piece must be at most 20 minutes long to be rendered, got 1667"):
        synthesis.render_with(font, Piece(length=120 * 1000 * 10 * 2))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"font": -1}, "cannot be read as a sound font: FluidSynth does not take it"),
        ({"level": 0}, "has no sound for any of the notes"),
    ],
)
def test_a_sound_font_without_sound_is_an_error(options, fault, font, fluidsynth, tmp_path):
    made = fluidsynth(**options)
    with pytest.raises(synthesis.SoundFontError, match=f"^{re.escape(str(font))} {fault}$"):
        synthesis.write_wav(tmp_path / "out.wav", ONE_NOTE, sound_font=font)
    assert made[0].deleted
    assert not (tmp_path / "out.wav").exists()


def test_no_notes_are_silence_with_a_sound_font_too(font, fluidsynth):
    fluidsynth(level=0)
    assert not synthesis.render_with(font, Piece((Part(),), length=48), rate=RATE).any()


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\x04\x00\x00\x00WAVE", b"RIFX\x04\x00\x00\x00sfbk"])
def test_a_file_that_is_not_a_sound_font(content, tmp_path):
    (tmp_path / "font.sf2").write_bytes(content)
    with pytest.raises(
        synthesis.SoundFontError, match=r"font\.sf2 is not a sound font: it does not begin as an SF2 file does"
    ):
        synthesis.write_wav(tmp_path / "out.wav", ONE_NOTE, sound_font=tmp_path / "font.sf2")
    assert not (tmp_path / "out.wav").exists()


def test_sound_fonts_without_fluidsynth(font, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        synthesis.write_wav(tmp_path / "out.wav", ONE_NOTE, sound_font=tmp_path / "none.sf2")
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(ImportError, match="a sound font needs pretty_midi, pyfluidsynth and the FluidSynth library"):
        synthesis.write_wav(tmp_path / "out.wav", ONE_NOTE, sound_font=font)
    assert not (tmp_path / "out.wav").exists()


def test_colours_say_what_a_note_is_to_its_chord():
    notes = (Note(0, 6, 62), Note(12, 6, 64), Note(24, 6, 61), Note(48, 6, 61))
    part = Part("melody", notes=notes)
    piece = Piece((part,), chords=((0, parse_chord("Dm7")), (48, parse_chord("N.C."))))
    assert roll._colours(piece, part) == [roll.CHORD_TONE, roll.SCALE_TONE, roll.OUTSIDE, roll.NO_HARMONY]


def test_the_legend_names_the_colour_of_notes_over_no_chord(monkeypatch):
    figure = roll.figure_class()()
    shown: list[list[str]] = []
    monkeypatch.setattr(figure, "legend", lambda handles, **_: shown.append([handle.get_label() for handle in handles]))
    for chords in ("Dm7 | G7", "Dm7 | N.C."):
        piece = replace(over(chords), parts=(Part("solo", notes=(Note(0, 6, 62), Note(48, 6, 62))),))
        roll._legend(figure, roll._Sheet.of(piece, 0, pages(piece)))
    tones = ["solo: chord tone", "scale tone", "outside"]
    assert shown == [tones, [*tones, "no chord"]]


def test_symbols_above_the_lines():
    piece = over("Bbmaj7 | % | F#m7b5 B7b9 | Co7")
    assert roll._symbols(piece, 0, 96) == [(0, "B♭∆7")]
    assert roll._symbols(piece, 48, 144) == [(48, "B♭∆7"), (96, "F♯ø7"), (120, "B7♭9")]


@each_row(("metre", "count"), [((4, 4), 4), ((3, 4), 4), ((2, 4), 8), ((3, 8), 8), ((6, 8), 4)])
def test_lines_have_four_bars_or_eight_short_ones(metre, count):
    piece = over(" | ".join("CDEFGABCDE"), metre)
    (page,) = pages(piece, most_bars=9)
    assert [len(line) for line in page.lines] == ([4, 4, 1] if count == 4 else [8, 1])
    length = piece.length // 10
    assert page.lines[-1] == ((9, 8 * length, 9 * length),)
    assert page.shows == "the first 9 of 10 bars"


@each_row(
    ("bars", "chorus", "sizes", "shows"),
    [
        (12, 12, [12], [""]), (16, None, [16], [""]), (1, None, [1], [""]),
        (48, 12, [12] * 4, [f"chorus {n} of 4" for n in (1, 2, 3, 4)]),
        (64, 32, [16] * 4, [f"bars {16 * n + 1} to {16 * n + 16} of 64" for n in range(4)]),
        (96, 32, [16] * 6, [f"bars {16 * n + 1} to {16 * n + 16} of 96" for n in range(6)]),
        (40, 4, [16, 16, 8], ["bars 1 to 16 of 40", "bars 17 to 32 of 40", "bars 33 to 40 of 40"]),
        (20, None, [12, 8], ["bars 1 to 12 of 20", "bars 13 to 20 of 20"]),
        (40, 20, [12, 8, 12, 8], [f"bars {bars} of 40" for bars in ("1 to 12", "13 to 20", "21 to 32", "33 to 40")]),
        (34, 34, [12, 12, 10], ["bars 1 to 12 of 34", "bars 13 to 24 of 34", "bars 25 to 34 of 34"]),
    ],
)  # fmt: skip
def test_pages_are_choruses_or_sixteen_bars_at_most(bars, chorus, sizes, shows):
    found = pages(Piece(length=48 * bars), chorus=chorus)
    assert [sum(map(len, page.lines)) for page in found] == sizes
    assert [page.shows for page in found] == shows
    numbers = [bar for page in found for line in page.lines for bar in line]
    assert numbers == [(n + 1, 48 * n, 48 * n + 48) for n in range(bars)]
    assert max(len(page.lines) for page in found) <= 4


def test_the_files_of_pages(tmp_path):
    names = [path.name for path in page_paths(tmp_path / "a.b.png", 3)]
    assert names == ["a.b.png", "a.b-2.png", "a.b-3.png"]
    piece = replace(over(" | ".join("CDEFGABCDEFGABCDEF")), parts=(Part("melody", notes=(Note(0, 96, 72),)),))
    assert roll.draw_roll(tmp_path / "x.png", piece) == [tmp_path / "x.png", tmp_path / "x-2.png"]
    coloured = [_share(tmp_path / name, roll.CHORD_TONE) for name in ("x.png", "x-2.png")]
    assert coloured[0] > 3 * coloured[1] > 0  # the note is on the first page, the legend on both


def test_both_hands_are_coloured(tmp_path):
    hands = (Part("right hand", notes=(Note(0, 12, 72),)), Part("left hand", notes=(Note(0, 96, 48),)))
    comping = Part("comping", notes=(Note(0, 12, 60),))
    piece = Piece((*hands, comping), chords=((0, parse_chord("C")),), length=96)
    sheet = roll._Sheet.of(piece, 0, pages(piece))
    assert (sheet.voices, sheet.others) == (hands, (comping,))
    assert roll._Sheet.of(piece, 2, pages(piece)).voices == (comping,)
    pale = replace(piece, parts=(hands[0], replace(hands[1], name="bass"), comping))
    shares = []
    for each in (piece, pale):
        roll.draw_roll(tmp_path / "roll.png", each, melody=0)
        shares.append(_share(tmp_path / "roll.png", roll.CHORD_TONE))
    assert shares[0] > 3 * shares[1]  # the left hand's note is eight times as long as the right one's


def test_the_notes_of_two_hands_are_not_too_thin(tmp_path):
    hands = (Part("right hand", notes=(Note(0, 48, 96),)), Part("left hand", notes=(Note(0, 48, 36),)))
    roll.draw_roll(tmp_path / "roll.png", Piece(hands, chords=((0, parse_chord("C")),), length=48), melody=0)
    is_note = _where(tmp_path / "roll.png", roll.CHORD_TONE)
    amid = np.flatnonzero(is_note[:, is_note.shape[1] // 10])  # in the middle of the first beat, left of the legend
    heights = [len(rows) for rows in np.split(amid, np.flatnonzero(np.diff(amid) > 1) + 1)]
    assert len(heights) == 2
    assert min(heights) >= 6  # coloured points between the edges


def _where(path, colour: str):
    """Return which points of the picture have this colour, bool ``[height,width]``."""
    from matplotlib.image import imread

    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.abs(imread(path)[:, :, :3] - wanted).max(-1) < 0.01


def _share(path, colour: str) -> float:
    """Return the share of the picture's points that have this colour."""
    return float(_where(path, colour).mean())


def test_a_roll_is_drawn(tmp_path):
    piece = accompaniment.accompany(
        replace(over("Dm7 | G7 | Cmaj7 | % | Dm7"), parts=(Part("melody", notes=(Note(0, 96, 74),)),))
    )
    roll.draw_roll(tmp_path / "roll.png", piece, bars_per_line=2, title="ii-V-I", most_bars=4)
    shares = {
        colour: _share(tmp_path / "roll.png", colour) for colour in (roll.CHORD_TONE, roll.SCALE_TONE, roll._OTHERS[0])
    }
    assert shares[roll.CHORD_TONE] > 3 * shares[roll.SCALE_TONE]  # one long note; the legend has a patch of each
    assert shares[roll._OTHERS[0]] > shares[roll.SCALE_TONE]
    with pytest.raises(ValueError, match="bars_per_line must be at least 1, got 0"):
        roll.draw_roll(tmp_path / "roll.png", piece, bars_per_line=0)
    roll.draw_roll(tmp_path / "empty.png", Piece(length=48))
    assert (tmp_path / "empty.png").stat().st_size > 1000
