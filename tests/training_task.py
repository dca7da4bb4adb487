"""A small LSTM to train, and callbacks that the tests of the training loop share."""

import csv
import os
import signal

import numpy as np

from fastrnn import optim
from fastrnn.layers import LSTM, Dropout, Layer, Linear
from fastrnn.losses import softmax_cross_entropy
from fastrnn.training import LoopConfig, Trainer, checkpoint, schedules

V, H, T, B = 5, 6, 4, 3
TIMINGS = ("seconds", "tokens_per_second")


class Model(Layer):
    """Model from ids to logits, with dropout between the layers and before the output."""

    def __init__(self, hidden=H, dtype="float32"):
        rng = np.random.default_rng(1)
        self.lstm = LSTM(V, hidden, 2, dropout=0.2, rng=rng, dtype=dtype)
        self.dropout = Dropout(0.2, rng=rng)
        self.head = Linear(hidden, V, rng=rng, dtype=dtype)

    def __call__(self, ids):
        return self.head(self.lstm(ids)[0])

    def forward(self, ids, state):
        (y, state), lstm_backward = self.lstm.forward(ids, state)
        dropped, dropout_backward = self.dropout.forward(y)
        logits, head_backward = self.head.forward(dropped)
        return (logits, state), lambda dlogits: lstm_backward(dropout_backward(head_backward(dlogits)))


class StreamTask:
    """Next-token prediction, with all the state that a task can have: position, randomness, carried h and c."""

    def __init__(self, hidden=H, dtype="float32"):
        self.model = Model(hidden, dtype)
        self.rng = np.random.default_rng(2)
        self.model.set_rng(self.rng)
        self.ids = np.random.default_rng(3).integers(0, V, (200, B)).cumsum(axis=0) % V
        self.position, self.state = 0, None
        self.before_backward = lambda: None

    def named_parameters(self):
        return self.model.named_parameters()

    def train_step(self):
        ids = self.ids[self.position : self.position + T + 1]
        self.position = (self.position + T) % 150
        (logits, self.state), backward = self.model.forward(ids[:-1], self.state)
        loss, dlogits = softmax_cross_entropy(logits, ids[1:])
        self.before_backward()
        backward(dlogits)
        return loss, T * B

    def evaluate(self):
        held_out = self.ids[160:]
        return softmax_cross_entropy(self.model(held_out[:-1]), held_out[1:])[0]

    def state_dict(self):
        arrays = {} if self.state is None else dict(zip("hc", self.state, strict=True))
        return {"position": self.position, "rng": self.rng.bit_generator.state, "arrays": arrays}

    def load_state_dict(self, state):
        self.position = state["position"]
        self.rng.bit_generator.state = state["rng"]
        self.state = tuple(state["arrays"][name] for name in "hc") if state["arrays"] else None


class At:
    """A callback that does something once, at one step or at an evaluation of that step."""

    def __init__(self, step, action, event="on_step"):
        self.step, self.action = step, action
        setattr(self, event, self._call)

    def _call(self, info):
        if info.step == self.step:
            self.action()


class Recorder:
    """A callback that records what it receives."""

    def __init__(self):
        self.steps, self.evaluations, self.ends = [], [], []
        self.on_step, self.on_eval, self.on_end = self.steps.append, self.evaluations.append, self.ends.append


class Killed(Exception):
    """Exception that stands for the end of the process."""


def kill():
    raise Killed


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def make_trainer(out=None, *callbacks, optimizer="Adam", lr=0.01, task=None, schedule=None, max_steps=12, **config):
    task = task or StreamTask()
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    made = getattr(optim, optimizer)(task.named_parameters(), lr=lr, **options)
    schedule = schedule or schedules.cosine(12, warmup=3, floor=0.1)
    config = LoopConfig(**{"max_steps": max_steps, "eval_every": 3, "clip_norm": 0.5, **config})
    return Trainer(task, made, schedule, config, out, callbacks)


def read_metrics(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{name: row[name] for name in row if name not in TIMINGS} for row in csv.DictReader(file)]


def assert_same_checkpoint(path, expected_path):
    """Assert that two checkpoints are equal bit for bit, except for timings."""
    loaded, expected = checkpoint.load(path), checkpoint.load(expected_path)
    for state in (loaded.state, expected.state):
        del state["trainer"]["seconds"], state["trainer"]["window"]["seconds"]
    for mine, theirs in (
        (loaded.model, expected.model),
        (loaded.optimizer.pop("arrays"), expected.optimizer.pop("arrays")),
        (loaded.state.pop("arrays"), expected.state.pop("arrays")),
    ):
        assert mine.keys() == theirs.keys()
        for name, array in mine.items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert loaded.optimizer == expected.optimizer
    assert loaded.state == expected.state


def assert_same_run(folder, expected):
    assert_same_checkpoint(folder / "last.safetensors", expected / "last.safetensors")
    assert_same_checkpoint(folder / "best.safetensors", expected / "best.safetensors")
    assert read_metrics(folder) == read_metrics(expected)
