"""The examples with ONNX models and with g2p_en's checkpoint, on small weights made here."""

from __future__ import annotations

import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_scripts import example
from onnx_models import model_of, onnx

node = onnx.helper.make_node


def loudness_model() -> bytes:
    """Return a model with silero's inputs and outputs: loud windows are speech, and the state counts windows."""
    x, state, sr = np.zeros((1, 576), np.float32), np.zeros((2, 1, 128), np.float32), np.array(16000)
    nodes = [
        node("Slice", ["input", "first", "last", "axis"], ["new"]),  # without the context
        node("Abs", ["new"], ["loud"]),
        node("ReduceMean", ["loud"], ["mean"], axes=[1], keepdims=1),
        node("Mul", ["mean", "scale"], ["scaled"]),
        node("Sub", ["scaled", "three"], ["shifted"]),
        node("Sigmoid", ["shifted"], ["output"]),
        node("Cast", ["sr"], ["rate"], to=1),
        node("Div", ["rate", "rate"], ["one"]),
        node("Add", ["state", "one"], ["stateN"]),
    ]
    constants = {"first": np.array([64]), "last": np.array([4096]), "axis": np.array([1])}
    constants |= {"scale": np.array(60, np.float32), "three": np.array(3, np.float32)}
    model = model_of(nodes, {"input": x, "state": state, "sr": sr}, ["output", "stateN"], constants)
    shape = onnx.helper.make_tensor_value_info("", 1, (2, None, 128)).type.tensor_type.shape
    model.graph.input[1].type.tensor_type.shape.CopyFrom(shape)
    return bytes(model.SerializeToString())


def test_vad_finds_the_loud_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rate, rng = 16000, np.random.default_rng(0)
    signal = 0.01 * rng.standard_normal(4 * rate)
    signal[rate : 2 * rate] += 0.3 * rng.standard_normal(rate)
    signal[3 * rate :] += 0.3 * rng.standard_normal(rate)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat((signal.clip(-1, 1) * 32767).astype("<i2"), 2).tobytes())
    (tmp_path / "model.onnx").write_bytes(loudness_model())
    vad = example("onnx_vad")
    model = vad.read_model(tmp_path / "model.onnx")
    read, found_rate = vad.read_wave(tmp_path / "sound.wav")
    assert found_rate == rate
    np.testing.assert_allclose(read, signal.clip(-1, 1), rtol=0, atol=1e-4)
    speech = list(vad.probabilities(model, read, rate))
    assert len(speech) == 125
    assert (model._states["state"] == 125).all()
    found = vad.segments(speech, 0.032)
    np.testing.assert_allclose(found, [[1, 2], [3, 4]], rtol=0, atol=0.04)
    vad.main(str(tmp_path / "model.onnx"), str(tmp_path / "sound.wav"))
    assert capsys.readouterr().out.splitlines()[0].split() == ["0.99", "s", "to", "2.02", "s"]


def test_short_pauses_belong_to_speech() -> None:
    segments = example("onnx_vad").segments
    assert segments([0, 0.6, 0.4, 0.1, 0.9, 0.2, 0.2, 0.2, 0.7], 0.1) == [(0.1, 0.5), (0.8, pytest.approx(0.9))]


def plain_speller(arrays: dict[str, Any], word: str, graphemes: list[str]) -> list[int]:
    """Spell one word with the two networks in float64, by their equations."""

    def step(x: Any, h: Any, part: str) -> Any:
        p = arrays[f"{part}_w_ih"] @ x + arrays[f"{part}_b_ih"]
        q = arrays[f"{part}_w_hh"] @ h + arrays[f"{part}_b_hh"]
        (pr, pz, pn), (qr, qz, qn) = np.split(p, 3), np.split(q, 3)
        r, z = 1 / (1 + np.exp(-pr - qr)), 1 / (1 + np.exp(-pz - qz))
        return (1 - z) * np.tanh(pn + r * qn) + z * h

    h, answer, last = np.zeros(arrays["fc_w"].shape[1]), [], 2
    for letter in [*word, "</s>"]:
        h = step(arrays["enc_emb"][graphemes.index(letter)].astype(float), h, "enc")
    for _ in range(20):
        h = step(arrays["dec_emb"][last].astype(float), h, "dec")
        last = int((arrays["fc_w"] @ h + arrays["fc_b"]).argmax())
        if last == 3:
            break
        answer.append(last)
    return answer


def test_g2p_spells_many_words_as_one_at_a_time(tmp_path: Path) -> None:
    g2p, rng, size = example("g2p"), np.random.default_rng(1), 8
    shapes = {"enc_emb": (29, size), "dec_emb": (74, size), "fc_w": (74, size), "fc_b": (74,)}
    for part in ("enc", "dec"):
        shapes |= {f"{part}_w_ih": (24, size), f"{part}_w_hh": (24, size), f"{part}_b_ih": (24,), f"{part}_b_hh": (24,)}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["fc_b"][3] += 4  # some words end early
    np.savez(tmp_path / "weights.npz", **arrays)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choice(list(letters), rng.integers(1, 9))) for _ in range(300)]
    got = g2p.Speller(g2p.read_checkpoint(tmp_path / "weights.npz"))(words)
    wanted = [[g2p.PHONEMES[i] for i in plain_speller(arrays, word, g2p.GRAPHEMES)] for word in words]
    assert got == wanted
    assert len({len(each) for each in got}) > 3


@pytest.mark.slow
def test_g2p_with_the_real_checkpoint() -> None:
    folder = os.environ.get("FASTRNN_ONNX_MODELS")
    wheels = list(Path(folder).glob("g2p_en-*.whl")) if folder else []
    if not wheels:
        pytest.skip("no wheel of g2p_en in FASTRNN_ONNX_MODELS: pip download --no-deps -d FOLDER g2p-en")
    g2p, rng = example("g2p"), np.random.default_rng(2)
    arrays = g2p.read_checkpoint(wheels[0])
    parts = ["b", "c", "d", "f", "g", "h", "l", "m", "n", "pr", "st", "t", "w"], list("aeiou"), ["", "n", "r", "st", "ck"]
    words = ["".join(rng.choice(part) for _ in range(rng.integers(1, 4)) for part in parts) for _ in range(1000)]
    got = g2p.Speller(arrays)(words)
    assert got == [[g2p.PHONEMES[i] for i in plain_speller(arrays, word, g2p.GRAPHEMES)] for word in words]
