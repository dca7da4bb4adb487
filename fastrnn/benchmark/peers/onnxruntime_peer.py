"""The adapter of ONNX Runtime."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import onnxruntime

from ..problem import Problem
from .onnx_model import model
from .protocol import Peer, Side, as_arrays, require_threads


class OnnxRuntime(Peer):
    """ONNX Runtime's RNN, GRU and LSTM operators on the CPU; making the session packs the weights."""

    name = "onnxruntime"
    library = onnxruntime
    questions = ("forward", "step")

    def session(self, content: bytes) -> Any:
        """Return a session whose workers spin during a call and not after it."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        require_threads(self.threads, session.get_session_options().intra_op_num_threads, self.name)
        return session

    def forward(self, problem: Problem) -> Side:
        """Build inference; input and output are bound to arrays beforehand, so nothing is copied."""
        case, session = problem.case, self.session(model(problem))
        y = np.empty((case.T, 1, case.B, case.H), np.float32)
        binding = bound(session, {"x": problem.x}, {"y": y})

        def run() -> Any:
            session.run_with_iobinding(binding)
            return y

        return Side(run, lambda y: as_arrays(y=y[:, 0]))

    def step(self, problem: Problem) -> Side:
        """Build one step; two sets of bound arrays alternate as its state."""
        case, session = problem.case, self.session(model(problem, states=True))
        names = "hc" if case.cell == "LSTM" else "h"
        now, after = ({name: np.zeros((1, case.B, case.H), np.float32) for name in names} for _ in range(2))
        y = np.empty((1, 1, case.B, case.H), np.float32)
        ways = cycle(
            bound(session, {"x": problem.x} | before, {"y": y} | {f"{name}_n": a for name, a in then.items()})
            for before, then in ((now, after), (after, now))
        )

        def run() -> Any:
            session.run_with_iobinding(next(ways))
            return y

        return Side(run, lambda y: as_arrays(y=y[0, 0]))


def bound(session: Any, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    """Return a binding of arrays to the session's inputs and outputs."""
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    return binding


PEER = OnnxRuntime()
