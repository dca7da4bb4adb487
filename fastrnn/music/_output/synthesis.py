"""Pieces as sound in WAV files: additive synthesis, or a sound font if FluidSynth is installed."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._core import checks
from ...serialization import write_atomically
from .._midi.grid import RESOLUTION, swung
from ..midi_writing import midi_bytes
from ..piece import HARDEST, STRAIGHT, TICKS, Part, Piece, pickup_length

Floats = NDArray[np.float64]
Samples = NDArray[np.float32]

RATE = 44100
PEAK = 10 ** (-1 / 20)  # -1 dB full scale
TAIL = 0.6  # seconds after the last note
LONGEST = 1200.0  # seconds: twenty minutes are 420 MB in memory, and half of that in a file


class SoundFontError(ValueError):
    """A file that is not a sound font, or a sound font in which no note sounds; the message names it."""


@dataclass(frozen=True, slots=True)
class Timbre:
    """A sound: the amplitudes of its partials (the first is the fundamental) and its envelope, times in seconds.

    The envelope rises for ``attack``, falls to ``sustain`` with the time constant ``decay``, and ends within ``release``.
    ``damping`` makes upper partials decay faster; it is a factor on each one's rate of decay. ``vibrato`` is in cents.
    """

    partials: tuple[float, ...]
    attack: float
    decay: float
    sustain: float
    release: float
    damping: float = 0.0
    vibrato: float = 0.0
    gain: float = 1.0
    pan: float = 0.0  # -1 left .. 1 right


PIANO = Timbre((1, 0.5, 0.28, 0.16, 0.1, 0.06, 0.04), 0.004, 0.9, 0.0, 0.09, damping=0.5, gain=0.45, pan=-0.3)
ELECTRIC_PIANO = Timbre((1, 0.12, 0.03, 0.22, 0.02, 0.01, 0.05), 0.005, 1.2, 0.05, 0.1, damping=0.7, gain=0.45, pan=-0.3)
PLUCKED_BASS = Timbre((1, 0.6, 0.32, 0.2, 0.1, 0.05), 0.006, 0.55, 0.0, 0.06, damping=0.8, gain=0.95, pan=0.1)
GUITAR = Timbre((1, 0.7, 0.4, 0.25, 0.15, 0.08, 0.05), 0.004, 0.6, 0.0, 0.06, damping=0.6, gain=0.6, pan=0.25)
REED = Timbre((1, 0.62, 0.45, 0.3, 0.2, 0.12, 0.07, 0.04), 0.025, 0.15, 0.75, 0.05, vibrato=14, gain=0.8)
BRASS = Timbre((1, 0.8, 0.65, 0.5, 0.35, 0.25, 0.15, 0.1), 0.035, 0.12, 0.7, 0.05, vibrato=8, gain=0.7)
FLUTE = Timbre((1, 0.25, 0.08, 0.03), 0.04, 0.2, 0.8, 0.06, vibrato=16, gain=0.8)
PAD = Timbre((1, 0.4, 0.25, 0.12, 0.06), 0.09, 0.3, 0.8, 0.2, vibrato=5, gain=0.4)

_FAMILIES = (PIANO, ELECTRIC_PIANO, PAD, GUITAR, PLUCKED_BASS, PAD, PAD, BRASS, REED, FLUTE)  # one for each eight programs


def timbre(program: int) -> Timbre:
    """Return the timbre for a General MIDI program 0..127."""
    if program in (4, 5):
        return ELECTRIC_PIANO
    family = program // 8
    return _FAMILIES[family] if family < len(_FAMILIES) else PAD


def write_wav(
    path: str | Path, piece: Piece, *, swing: float | None = None, rate: int = RATE, sound_font: str | Path | None = None
) -> None:
    """Write ``piece`` as a stereo WAV file of 16 bits, atomically, with its peak at -1 dB full scale.

    Parameters
    ----------
    path, piece
        The file and the piece.
    swing
        As in :func:`fastrnn.music.midi_writing.write_midi`.
    rate
        Samples per second.
    sound_font
        The path of an SF2 file for FluidSynth; None: additive synthesis.

    Raises
    ------
    ValueError
        If swing or rate is out of range, or the piece is longer than twenty minutes.
    SoundFontError
        If the file is not a sound font, or no note sounds in it.
    ImportError
        If FluidSynth is needed and missing.
    OSError
        If a file cannot be read or written.
    """
    if sound_font is None:
        samples = render(piece, swing=swing, rate=rate)
    else:
        samples = render_with(sound_font, piece, swing=swing, rate=rate)
    write_atomically(path, wav_bytes(samples, rate))


def wav_bytes(samples: Samples, rate: int = RATE) -> bytes:
    """Return the bytes of a WAV file of samples ``[n, channels]`` in -1..1, 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def render(piece: Piece, *, swing: float | None = None, rate: int = RATE) -> Samples:
    """Synthesise ``piece`` as float32 ``[samples, 2]``, with its peak at -1 dB full scale; zeros if it has no notes.

    Raises ValueError for swing or rate out of range, and for a piece longer than twenty minutes.
    """
    swing = piece.swing if swing is None else checks.number("swing", swing, STRAIGHT, HARDEST)
    mix = np.zeros((int(_checked_length(piece, rate) * rate) + 1, 2), np.float32)
    for part in piece.parts:
        _add(mix, part, piece, swing, rate)
    return _normalised(mix)


def length_of(piece: Piece) -> float:
    """Return the length of the sound of ``piece`` in seconds."""
    return float(_seconds(piece, np.array([piece.length * (RESOLUTION // TICKS)]))[0]) + TAIL


def _checked_length(piece: Piece, rate: int) -> float:
    """Return the length in seconds. Raises ValueError if the rate is too low or the piece too long."""
    checks.positive_int("rate", rate, 8000)
    seconds = length_of(piece)
    if seconds > LONGEST:
        raise ValueError(f"piece must be at most {LONGEST / 60:g} minutes long to be rendered, got {seconds / 60:.0f}")
    return seconds


def check_sound_font(path: str | Path) -> None:
    """Raise SoundFontError for an irregular file or one without an SF2 header; OSError if it cannot be read."""
    if Path(path).exists() and not Path(path).is_file():  # reading a pipe may block
        raise SoundFontError(f"{path} is not a sound font: it is not a regular file")
    with Path(path).open("rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise SoundFontError(f"{path} is not a sound font: it does not begin as an SF2 file does")


def fluidsynth_libraries() -> tuple[Any, Any]:
    """Import fluidsynth and pretty_midi. Raises ImportError."""
    try:
        import fluidsynth
        import pretty_midi
    except ImportError as error:
        raise ImportError(
            "a sound font needs pretty_midi, pyfluidsynth and the FluidSynth library; without one none is needed"
        ) from error
    return fluidsynth, pretty_midi


def render_with(sound_font: str | Path, piece: Piece, *, swing: float | None = None, rate: int = RATE) -> Samples:
    """Render as :func:`render` does, but by FluidSynth with a sound font, and with two equal channels.

    Raises ImportError without FluidSynth, OSError without the file, and SoundFontError.
    """
    _checked_length(piece, rate)
    check_sound_font(sound_font)
    fluidsynth, pretty_midi = fluidsynth_libraries()
    written = pretty_midi.PrettyMIDI(io.BytesIO(midi_bytes(piece, swing=swing)))
    synth = fluidsynth.Synth(samplerate=rate)
    try:
        font = synth.sfload(str(sound_font))
        if font < 0:
            raise SoundFontError(f"{sound_font} cannot be read as a sound font: FluidSynth does not take it")
        mono = np.asarray(written.fluidsynth(synthesizer=synth, sfid=font, normalize=False), np.float32)
    finally:
        synth.delete()
    if not mono.any() and any(part.notes for part in piece.parts):
        raise SoundFontError(f"{sound_font} has no sound for any of the notes")
    return _normalised(np.repeat(mono[:, None], 2, axis=1))


def _normalised(mix: Samples) -> Samples:
    peak = float(np.abs(mix).max(initial=0.0))
    if peak > 0:
        mix *= np.float32(PEAK / peak)
    return mix


def _seconds(piece: Piece, file_ticks: NDArray[np.int64]) -> Floats:
    """Convert ticks of a file (RESOLUTION a quarter) to seconds, by the piece's tempos."""
    starts = np.array([tick for tick, _ in piece.tempos]) * (RESOLUTION // TICKS)
    pace = 60 / (RESOLUTION * np.array([bpm for _, bpm in piece.tempos]))
    at_start = np.concatenate([[0.0], np.cumsum(np.diff(starts) * pace[:-1])])
    i = np.searchsorted(starts, file_ticks, side="right") - 1
    result: Floats = at_start[i] + (file_ticks - starts[i]) * pace[i]
    return result


def _add(mix: Samples, part: Part, piece: Piece, swing: float, rate: int) -> None:
    """Add a part's sound to ``mix`` [samples, 2]."""
    onset, duration, pitch, velocity = part.arrays()
    played = swung(onset, onset + duration, swing, pickup_length(piece.metres))
    starts, ends = (np.rint(_seconds(piece, ticks) * rate).astype(int) for ticks in played)
    sound = timbre(part.program)
    pan = 0.2 if part.is_drum else sound.pan
    sides = np.sqrt([0.5 * (1 - pan), 0.5 * (1 + pan)])
    waves: dict[int, Floats] = {}  # by pitch: the longest sound so far, without its envelope
    for start, end, p, v in zip(starts.tolist(), ends.tolist(), pitch.tolist(), velocity.tolist(), strict=True):
        note = _hit(p, rate) if part.is_drum else _note(sound, p, max(1, end - start), rate, waves)
        note = note[: len(mix) - start]
        mix[start : start + len(note)] += note[:, None] * (sides * (v / 100) ** 1.5)


def _note(sound: Timbre, pitch: int, held: int, rate: int, waves: dict[int, Floats]) -> Floats:
    """Synthesise a note that is held for ``held`` samples, with its release [held + release]."""
    release = max(1, int(sound.release * rate))
    count = held + release
    if pitch not in waves or len(waves[pitch]) < count:
        waves[pitch] = _wave(sound, pitch, count, rate)
    t = np.arange(count) / rate
    envelope = np.minimum(t / sound.attack, 1) * (sound.sustain + (1 - sound.sustain) * np.exp(-t / sound.decay))
    envelope[held:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(release) / release)
    faded: Floats = waves[pitch][:count] * envelope * sound.gain
    return faded


def _wave(sound: Timbre, pitch: int, count: int, rate: int) -> Floats:
    """Sum a sound's partials [count] as a polynomial in exp(i phase), which needs only one sine and cosine."""
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    t = np.arange(count) / rate
    phase = 2 * np.pi * frequency * t
    if sound.vibrato:  # it sets in after a fifth of a second
        depth = 2 ** (sound.vibrato / 1200) - 1
        phase += depth * frequency / 5.2 * np.clip((t - 0.2) / 0.3, 0, 1) * np.sin(2 * np.pi * 5.2 * t)
    turn = np.exp(1j * phase)
    fade = np.exp(-t * sound.damping / sound.decay) if sound.damping else 1.0
    highest = max(1, int(0.45 * rate / frequency))  # higher partials would alias
    step = turn * fade
    total: Any = np.zeros(count, complex)
    for amplitude in reversed(sound.partials[:highest]):
        total = total * step + amplitude
    # The envelope already has the fundamental's decay, so the last factor is without the fade.
    result: Floats = (total * turn).imag / sum(sound.partials[:highest])
    return result


def _hit(pitch: int, rate: int) -> Floats:
    """Synthesise a drum or a cymbal: a decaying burst of noise, bright for cymbals (General MIDI's 42 and above)."""
    noise = np.random.default_rng(pitch).standard_normal(int(0.25 * rate))
    bright = pitch >= 42
    if bright:
        noise = np.diff(np.diff(noise, prepend=0.0), prepend=0.0) / 2.5
    t = np.arange(len(noise)) / rate
    length = 0.03 if pitch in (42, 44) else 0.07
    body: Floats = noise * np.exp(-t / length) * (0.16 if bright else 0.3)
    return body
