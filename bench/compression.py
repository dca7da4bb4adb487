"""``python -m bench.compression``: time compressed layers next to the original ones, as tables for docs/precision.md."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastrnn
import fastrnn.onnx
from fastrnn.benchmark.measure import Effort, alternate
from fastrnn.commands.arguments import integer
from fastrnn.commands.guard import guarded

from .tables import Row, add_effort, machine_line, show

FORMS = ("bfloat16", "int8")


def calls(layer: fastrnn.LSTM, x: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return the calls to time: a step of a stepper, and calls of the layer on two lengths."""
    return {"stepper": partial(layer.stepper(), x[0, 0]), "T = 1": partial(layer, x[:1]), "T = 100": partial(layer, x)}


def rows(cells: list[str], sizes: list[int], B: int, effort: Effort) -> Iterator[Row]:
    """Yield the head of the table, then a row for each cell, size and call."""
    yield "layer, H", "call", "float32 us", *(f"{form}, times as fast" for form in FORMS)
    for cell in cells:
        for H in sizes:
            layer = getattr(fastrnn, cell)(H, H, rng=0)
            x = np.random.default_rng(0).standard_normal((100, B, H), dtype=np.float32)
            sides = [calls(each, x) for each in (layer, *map(layer.compress, FORMS))]
            for name in sides[0] if B == 1 else ("T = 1", "T = 100"):
                full, *compressed = alternate([side[name] for side in sides], effort)
                yield (
                    f"{cell}, {H}",
                    name,
                    f"{full.median * 1e6:.0f}",
                    *(f"{full.median / t.median:.2f}" for t in compressed),
                )


def in_onnxruntime(layer: fastrnn.LSTM, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the layer as a session of ONNX Runtime, whose weights and activations are int8 (DynamicQuantizeLSTM)."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        full, small = Path(folder, "full.onnx"), Path(folder, "int8.onnx")
        fastrnn.onnx.save(fastrnn.Sequential(layer), full)
        quantize_dynamic(full, small, weight_type=QuantType.QInt8, per_channel=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(small.read_bytes(), options, providers=["CPUExecutionProvider"])
    (argument,) = session.get_inputs()
    return lambda x: session.run(None, {argument.name: x})[0]


def rows_beside_onnxruntime(sizes: list[int], threads: int, effort: Effort) -> Iterator[Row]:
    """Yield the head of a table, then a row for each size: an LSTM on one sequence, T = 100, and errors of y."""
    yield "LSTM, H", "float32 us", "int8 us", "ONNX Runtime us", "relative rms error: int8", "ONNX Runtime"
    for H in sizes:
        layer, exact = fastrnn.LSTM(H, H, rng=0), fastrnn.LSTM(H, H, dtype="float64")
        exact.load_state_dict({name: value.astype(np.float64) for name, value in layer.state_dict().items()})
        x = np.random.default_rng(0).standard_normal((100, 1, H), dtype=np.float32)
        y, small, peer = exact(x.astype(np.float64))[0], layer.compress("int8"), in_onnxruntime(layer, threads)
        times = alternate([partial(layer, x), partial(small, x), partial(peer, x)], effort)
        errors = (np.sqrt(np.mean((found - y) ** 2) / np.mean(y**2)) for found in (small(x)[0], peer(x).reshape(y.shape)))
        yield str(H), *(f"{t.median * 1e6:.0f}" for t in times), *(f"{error:.1e}" for error in errors)


def main() -> None:
    """Print a table for each number of threads, row by row."""
    parser = argparse.ArgumentParser(prog="python -m bench.compression", description=__doc__)
    parser.add_argument("--cells", nargs="+", default=["LSTM", "GRU"], choices=["RNN", "GRU", "LSTM"])
    parser.add_argument(
        "--sizes", nargs="+", type=integer(1), default=[128, 256, 512, 1024], help="I = H (default: 128 to 1024)"
    )
    parser.add_argument("--batch", type=integer(1), default=1)
    add_effort(parser)
    parser.add_argument("--onnxruntime", action="store_true", help="an LSTM's int8 beside that of ONNX Runtime instead")
    arguments = parser.parse_args()
    print(machine_line())
    for threads in arguments.threads:
        fastrnn.set_num_threads(threads)
        print(f"\nthreads: {threads}, B = {arguments.batch}, load {os.getloadavg()[0]:.1f}\n")
        effort = Effort(arguments.seconds)
        if arguments.onnxruntime:
            show(rows_beside_onnxruntime(arguments.sizes, threads, effort))
        else:
            show(rows(arguments.cells, arguments.sizes, arguments.batch, effort))


if __name__ == "__main__":
    raise SystemExit(guarded(main))
