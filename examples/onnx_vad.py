"""Find speech in a WAV file with silero VAD (MIT), window by window as in a stream, on this package's kernels.

Run it with ``python examples/onnx_vad.py MODEL FILE.wav``. The model is ``silero_vad.onnx`` (version 5 or 6) of silero-vad,
or the wheel that has it: ``pip download --no-deps silero-vad``. The file is 16-bit, at 8 or 16 kHz; channels are averaged.
"""

from __future__ import annotations

import sys
import time
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastrnn.onnx

WINDOW = {8000: 256, 16000: 512}  # new values in a window of 32 ms
CONTEXT = {8000: 32, 16000: 64}  # values of the window before that the model reads again
SPEECH, SILENCE = 0.5, 0.35  # speech begins above the one and ends below the other
SHORTEST_SILENCE = 0.2  # seconds; shorter ones are part of speech


def read_model(path: Path) -> fastrnn.onnx.OnnxModel:
    """Load the model from an ONNX file, or from a wheel."""
    if path.suffix != ".whl":
        return fastrnn.onnx.load(path)
    with zipfile.ZipFile(path) as wheel:
        return fastrnn.onnx.load(wheel.read(next(name for name in wheel.namelist() if name.endswith("/silero_vad.onnx"))))


def read_wave(path: Path) -> tuple[Any, int]:
    """Return the signal in -1..1 and the rate."""
    with wave.open(str(path)) as file:
        rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
        if rate not in WINDOW or width != 2:
            raise SystemExit(f"{path} must have 16 bits at 8000 or 16000 Hz, got {8 * width} bits at {rate} Hz")
        values = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, channels)
    return (values.mean(axis=1) / 32768).astype(np.float32), rate


def probabilities(model: fastrnn.onnx.OnnxModel, signal: Any, rate: int) -> Iterator[float]:
    """Yield the probability of speech in each window; the model keeps its state from window to window."""
    model.reset()
    window, context = WINDOW[rate], CONTEXT[rate]
    padded = np.concatenate([np.zeros(context, np.float32), signal, np.zeros(-len(signal) % window, np.float32)])
    rate_input = np.array(rate)
    for start in range(0, len(padded) - context, window):
        (p,) = model.step({"input": padded[None, start : start + context + window], "sr": rate_input})
        yield float(p.item())


def segments(speech: list[float], seconds: float) -> list[tuple[float, float]]:
    """Return the beginnings and ends of speech in seconds, for windows of ``seconds``."""
    found: list[list[float]] = []
    on = False
    for i, p in enumerate(speech):
        if not on and p >= SPEECH:
            on = True
            if found and i * seconds - found[-1][1] < SHORTEST_SILENCE:
                found[-1][1] = (i + 1) * seconds
            else:
                found.append([i * seconds, (i + 1) * seconds])
        elif on and p >= SILENCE:
            found[-1][1] = (i + 1) * seconds
        else:
            on = False
    return [(begin, end) for begin, end in found]


def main(model_path: str, wave_path: str) -> None:
    """Print the stretches of speech, and the time for a window."""
    signal, rate = read_wave(Path(wave_path))
    model = read_model(Path(model_path))
    fastrnn.set_num_threads(1)  # a window is too little work for two
    start = time.perf_counter()
    speech = list(probabilities(model, signal, rate))
    spent = time.perf_counter() - start
    for begin, end in segments(speech, WINDOW[rate] / rate):
        print(f"{begin:8.2f} s to {end:8.2f} s")
    print(f"{len(signal) / rate:.1f} s of sound in {spent:.2f} s: {1e6 * spent / max(len(speech), 1):.0f} us a window")


if __name__ == "__main__":
    main(*sys.argv[1:3])
