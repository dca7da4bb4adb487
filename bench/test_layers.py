"""Forward and training step of one layer beside PyTorch: ``pytest bench``, or ``just bench``.

Both sides get the same weights, input and number of threads, and must agree before they are timed. pytest-benchmark groups
them by question, so that each table answers one: which is faster here, and by how much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn.interop.torch import to_torch

torch = pytest.importorskip("torch")

T = 100
SIZES = [(32, 1), (128, 8), (512, 32)]  # H, B
CELLS = ["RNN", "GRU", "LSTM"]
Step = Callable[[], Any]


def ours(layer: Any, x: np.ndarray, dy: np.ndarray) -> tuple[Step, Step]:
    """Forward and training step of fastrnn; the latter returns dx."""

    def training() -> np.ndarray:
        _, backward = layer.forward(x)
        dx, _ = backward(dy)
        return dx

    return lambda: layer(x)[0], training


def theirs(layer: Any, x: np.ndarray, dy: np.ndarray) -> tuple[Step, Step]:
    """The same of PyTorch."""
    peer = getattr(torch.nn, type(layer).__name__)(layer.input_size, layer.hidden_size)
    peer.load_state_dict(to_torch(layer.state_dict()))
    input_, gradient = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)

    def forward() -> np.ndarray:
        with torch.no_grad():
            return peer(input_)[0].numpy()

    def training() -> np.ndarray:
        input_.grad = None
        peer(input_)[0].backward(gradient)
        return input_.grad.numpy()

    return forward, training


@pytest.mark.parametrize("side", ["fastrnn", "torch"])
@pytest.mark.parametrize("what", ["forward", "training"])
@pytest.mark.parametrize(("H", "B"), SIZES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("threads", [1, 2])
def test_layer(benchmark: Any, threads: int, cell: str, H: int, B: int, what: str, side: str) -> None:
    fastrnn.set_num_threads(threads)
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    layer = getattr(fastrnn, cell)(H, H, rng=rng)
    x, dy = (rng.standard_normal((T, B, H), dtype=np.float32) for _ in range(2))
    which = what == "training"
    run, peer = ours(layer, x, dy)[which], theirs(layer, x, dy)[which]
    np.testing.assert_allclose(run(), peer(), atol=1e-4)
    benchmark.group = f"{cell} H={H} B={B} {what}, {threads} threads"
    benchmark.extra_info.update(fastrnn_plan=str(layer.plan(T, B)[0]), torch=torch.__version__)
    benchmark(run if side == "fastrnn" else peer)
