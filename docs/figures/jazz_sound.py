"""Draws how a chorus sounds, and prints its level: ``python docs/figures/jazz_sound.py RUN``, where RUN is a jazz run.

Above the sound, analysed in thirds of a semitone, below the notes that it was made from, on the same axes of time and pitch.
The level is that of the samples in the WAV file. A note of the solo is found in the sound where there is more at its pitch
than a semitone above and below: its sixth of a second or less of sound is analysed around the middle of the note.
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import mido
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from shapes import INK, LINE, PAPER, save

from fastrnn.cli import main as fastrnn

CHORUS = ("--changes", "blues", "--key", "F", "--choruses", "1", "--seed", "14")
LOW, HIGH, PER_SEMITONE = 28, 104, 3  # pitches, from the lowest string of a bass
CYCLES, LONGEST = 34, 0.17  # of a window, but at most so many seconds: enough to tell semitones apart above G3
RATE = 11025  # to which the sound is reduced before it is analysed, in Hz
HOP = 110  # samples between two columns: 10 ms
FLOOR = -60  # dB below the loudest, where the picture is white
COLOURS = ("#d23c1e", "#a09c92", "#5b9bd5")  # of the solo, the piano, the bass


def samples(path: Path) -> np.ndarray:
    """``[n,2]`` int16."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 44100)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


def notes(path: Path) -> list[tuple[int, int, float, float]]:
    """Channel, pitch, onset and end in seconds, as they stand in the MIDI file."""
    found, sounding, at = [], {}, 0.0
    for message in mido.MidiFile(path):
        at += message.time
        if message.type == "note_on":
            sounding[message.channel, message.note] = at
        elif message.type == "note_off":
            found.append((message.channel, message.note, sounding.pop((message.channel, message.note)), at))
    return found


def reduced(sound: np.ndarray) -> np.ndarray:
    """Mono at RATE, -1..1, by leaving out what lies above half of it."""
    mono = sound.mean(1) / 32768
    count = round(len(mono) * RATE / 44100)
    return np.fft.irfft(np.fft.rfft(mono)[: count // 2 + 1], count) * count / len(mono)


def analysed(sound: np.ndarray, pitches: np.ndarray) -> np.ndarray:
    """The amplitude at each pitch, every HOP samples ``[len(pitches), n]``: a constant-Q transform, window by window."""
    size = len(sound) + int(LONGEST * RATE) + 1
    spectrum = np.fft.fft(sound, size)
    rows = []
    for frequency in 440 * 2 ** ((pitches - 69) / 12):
        count = int(RATE * min(LONGEST, CYCLES / frequency))
        window = np.hanning(count)
        kernel = window / window.sum() * np.exp(2j * np.pi * frequency / RATE * np.arange(count))
        row = np.fft.ifft(spectrum * np.fft.fft(kernel, size))
        rows.append(2 * np.abs(row[count // 2 : count // 2 + len(sound) : HOP]))
    return np.array(rows)


def level(sound: np.ndarray) -> str:
    """The level in words."""
    full = np.abs(sound.astype(np.int64))
    peak, rms = 20 * np.log10(full.max() / 32768), 10 * np.log10(np.mean((full / 32768.0) ** 2))
    clipped = int((full >= 32767).sum())
    return f"peak {peak:.1f} dBFS, RMS {rms:.1f} dBFS, {clipped} of {sound.size:,} samples at full scale"


def found(amplitude: np.ndarray, pitches: np.ndarray, solo: list[tuple[int, int, float, float]]) -> float:
    """The share of the solo's notes that are found in the sound."""
    hits = []
    for _, pitch, onset, end in solo:
        column = amplitude[:, int((onset + end) / 2 * RATE / HOP)]
        below, at, above = (column[np.searchsorted(pitches, pitch + step)] for step in (-1, 0, 1))
        hits.append(at > max(below, above))
    return float(np.mean(hits))


def labelled(axis: Axes, text: str) -> None:
    """Octaves at the left, what is shown above."""
    axis.set_yticks(range(36, HIGH, 12), [f"C{pitch // 12 - 1}" for pitch in range(36, HIGH, 12)])
    axis.set_ylim(LOW, HIGH)
    axis.set_title(text, loc="left", fontsize=9, color=INK)
    axis.spines[:].set_color(LINE)


def draw(amplitude: np.ndarray, pitches: np.ndarray, played: list[tuple[int, int, float, float]], seconds: float) -> None:
    """The picture."""
    _, (above, below) = plt.subplots(2, 1, figsize=(11, 7), dpi=110, facecolor=PAPER, sharex=True, layout="constrained")
    decibels = 20 * np.log10(amplitude / amplitude.max() + 1e-9)
    extent = (0, amplitude.shape[1] * HOP / RATE, pitches[0], pitches[-1])
    greys = plt.get_cmap("Greys", 4)  # with more of them the file is a third larger
    above.imshow(decibels, vmin=FLOOR, vmax=0, cmap=greys, origin="lower", aspect="auto", extent=extent)
    labelled(above, f"sound: {-FLOOR} dB from white to black")
    channels = sorted({channel for channel, *_ in played})
    for channel, pitch, onset, end in sorted(played, reverse=True):  # the solo comes last, on top
        colour = COLOURS[channels.index(channel) % len(COLOURS)]
        below.add_patch(Rectangle((onset, pitch - 0.5), end - onset, 1, fc=colour, ec="white", lw=0.3))
    labelled(below, "notes: the solo (red), the piano, the bass")
    below.set_xlim(0, seconds)
    below.set_xlabel("seconds")
    save(below, "jazz_sound", colours=12)


def main(run: str) -> None:
    """Improvise, analyse, print, draw."""
    with TemporaryDirectory() as folder:
        midi, sound = Path(folder) / "solo.mid", Path(folder) / "solo.wav"
        if fastrnn(["improvise", run, *CHORUS, "--out", str(midi), "--wav", str(sound)]):
            raise SystemExit(1)
        heard, played = samples(sound), notes(midi)
    pitches = np.arange(LOW * PER_SEMITONE, HIGH * PER_SEMITONE + 1) / PER_SEMITONE
    amplitude = analysed(reduced(heard), pitches)
    first = min(channel for channel, *_ in played)
    print(level(heard))
    share = found(amplitude, pitches, [note for note in played if note[0] == first])
    print(f"{share:.0%} of the solo's notes are found in the sound")
    draw(amplitude, pitches, played, len(heard) / 44100)


if __name__ == "__main__":
    main(sys.argv[1])
