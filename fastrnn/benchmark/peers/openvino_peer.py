"""OpenVINO."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino

from ..problem import Problem
from .onnx_model import model
from .protocol import Peer, Side, as_arrays, require_threads


class OpenVino(Peer):
    """Its CPU plugin, from the same ONNX model as ONNX Runtime; float32 also where the processor has faster types."""

    name = "openvino"
    questions = ("forward", "step")

    def version(self) -> str:
        """The package's."""
        return str(openvino.__version__).split("-")[0]

    def request(self, content: bytes) -> Any:
        """An infer request of the compiled model."""
        core = openvino.Core()
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self.threads}
        compiled = core.compile_model(core.read_model(content), "CPU", hints)
        require_threads(self.threads, int(compiled.get_property("INFERENCE_NUM_THREADS")), self.name)
        return compiled.create_infer_request()

    def forward(self, problem: Problem) -> Side:
        """With input and output in shared memory, so that nothing is copied."""
        case, request = problem.case, self.request(model(problem))
        y = np.empty((case.T, 1, case.B, case.H), np.float32)
        request.set_tensor("x", openvino.Tensor(problem.x, shared_memory=True))
        request.set_tensor("y", openvino.Tensor(y, shared_memory=True))

        def run() -> Any:
            request.infer()
            return y

        return Side(run, lambda y: as_arrays(y=y[:, 0]))

    def step(self, problem: Problem) -> Side:
        """One step; the states are in two sets of tensors that take turns."""
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
