"""The adapter of OpenVINO."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino

from ..problem import Problem
from .onnx_model import model
from .protocol import Peer, Side, as_arrays, require_threads


class OpenVino(Peer):
    """OpenVINO's CPU plugin on the ONNX model of ONNX Runtime; float32 even if the processor has faster types."""

    name = "openvino"
    questions = ("forward", "step")

    def version(self) -> str:
        """Return the package's version."""
        return str(openvino.__version__).split("-")[0]

    def request(self, content: bytes) -> Any:
        """Compile the model and return an infer request."""
        core = openvino.Core()
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self.threads}
        compiled = core.compile_model(core.read_model(content), "CPU", hints)
        require_threads(self.threads, int(compiled.get_property("INFERENCE_NUM_THREADS")), self.name)
        return compiled.create_infer_request()

    def forward(self, problem: Problem) -> Side:
        """Build inference; input and output are in shared memory, so nothing is copied."""
        case, request = problem.case, self.request(model(problem))
        y = np.empty((case.T, 1, case.B, case.H), np.float32)
        request.set_tensor("x", openvino.Tensor(problem.x, shared_memory=True))
        request.set_tensor("y", openvino.Tensor(y, shared_memory=True))

        def run() -> Any:
            request.infer()
            return y

        return Side(run, lambda y: as_arrays(y=y[:, 0]))

    def step(self, problem: Problem) -> Side:
        """Build one step; two sets of tensors alternate as its state."""
        case, request = problem.case, self.request(model(problem, states=True))
        names = "hc" if case.cell == "LSTM" else "h"
        sets = [{name: openvino.Tensor(np.zeros((1, case.B, case.H), np.float32)) for name in names} for _ in range(2)]
        y = np.empty((1, 1, case.B, case.H), np.float32)
        request.set_tensor("x", openvino.Tensor(problem.x, shared_memory=True))
        request.set_tensor("y", openvino.Tensor(y, shared_memory=True))

        def run() -> Any:
            now, after = sets
            for name in names:
                request.set_tensor(name, now[name])
                request.set_tensor(f"{name}_n", after[name])
            request.infer()
            sets.reverse()
            return y

        return Side(run, lambda y: as_arrays(y=y[0, 0]))


PEER = OpenVino()
