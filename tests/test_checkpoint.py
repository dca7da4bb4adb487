"""Checkpoints: values come back exactly, and errors name whatever else a file contains."""

import errno
import json
import os

import numpy as np
import pytest
from tables import each_row

from fastrnn import optim
from fastrnn._core.parameter import Parameter
from fastrnn.serialization import save_arrays
from fastrnn.training import CheckpointError, checkpoint


def make_params(seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    shapes = {"lstm.weight": (4, 3), "bias": (4,)}
    return [(name, Parameter(name, rng.standard_normal(shape).astype(dtype))) for name, shape in shapes.items()]


def make_optimizer(params):
    optimizer = optim.Adam(params, lr=0.1)
    for _, param in params:
        param.gradient()[...] = 0.5
    optimizer.step()
    return optimizer


def weights(params):
    return {name: param.data for name, param in params}


@pytest.fixture
def saved(tmp_path):
    """Save a valid checkpoint; return its path, parameters, optimiser and state."""
    params = make_params()
    optimizer = make_optimizer(params)
    rng = np.random.default_rng(5)
    state = {
        "trainer": {"step": np.int64(7), "loss": np.float64(0.1) + 0.2, "best": None, "flag": np.True_},
        "task": {"rng": rng.bit_generator.state, "name": "Ünïcode"},
        "arrays": {"h": rng.standard_normal((2, 1, 3)), "ids": np.arange(3), "used": np.array([True, False])},
    }
    path = tmp_path / "run.safetensors"
    checkpoint.save(path, weights(params), optimizer, state)
    return path, params, optimizer, state


def test_round_trip_is_exact(saved):
    path, params, optimizer, state = saved
    loaded = checkpoint.load(path)
    assert loaded.model.keys() == {"lstm.weight", "bias"}
    for name, param in params:
        np.testing.assert_array_equal(loaded.model[name], param.data)
        assert loaded.model[name].dtype == param.dtype
    assert loaded.state["trainer"] == {"step": 7, "loss": 0.1 + 0.2, "best": None, "flag": True}
    assert loaded.state["task"] == state["task"]
    for name, array in state["arrays"].items():
        np.testing.assert_array_equal(loaded.state["arrays"][name], array)
        assert loaded.state["arrays"][name].dtype == array.dtype
    other = optim.Adam(make_params(), lr=9.0)
    other.load_state_dict(loaded.optimizer)
    expected, restored = optimizer.state_dict(), other.state_dict()
    assert restored["scalars"] == expected["scalars"]
    for name, array in expected["arrays"].items():
        np.testing.assert_array_equal(restored["arrays"][name], array)
    continued = np.random.default_rng(0)
    continued.bit_generator.state = loaded.state["task"]["rng"]
    reference = np.random.default_rng(5)
    reference.bit_generator.state = state["task"]["rng"]
    assert continued.random() == reference.random()


def test_every_truncation_is_an_error(saved):
    path, *_ = saved
    data = path.read_bytes()
    for size in (0, 1, 7, 8, 9, 50, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=r"run\.safetensors is (empty|truncated)"):
            checkpoint.load(path)


def test_foreign_files_are_errors(tmp_path):
    path = tmp_path / "other.safetensors"
    for content in (b"To be, or not to be: that is the question.", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(64)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"other\.safetensors is"):
            checkpoint.load(path)
    save_arrays(path, {"weight": np.zeros(3)})
    with pytest.raises(CheckpointError, match=r"other\.safetensors is not a fastrnn checkpoint"):
        checkpoint.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoint.load(tmp_path / "nowhere.safetensors")


HEADER = {"version": 1, "optimizer": {}, "state": {}}


@each_row(
    ("header", "arrays", "message"),
    [
        ({**HEADER, "version": 99}, {}, "has checkpoint version 99, this fastrnn reads 1"),
        ({**HEADER, "state": None}, {}, "is damaged: its header lacks a part"),
        ({"version": 1}, {}, "is damaged: its header lacks a part"),
        ({}, {}, "is damaged: its header has no version"),
        ([1], {}, "is damaged: its header has no version"),
        ("{", {}, "is damaged"),
        (HEADER, {"elsewhere.w": np.zeros(2)}, "is damaged: .*'elsewhere.w'"),
        (HEADER, {"model.w": np.array([0.0, np.nan])}, "is damaged: the weights w hold NaN or infinity"),
        (HEADER, {"model.w": np.array([0.0, -np.inf])}, "is damaged: the weights w hold NaN or infinity"),
    ],
)
def test_damaged_content(tmp_path, header, arrays, message):
    path = tmp_path / "run.safetensors"
    save_arrays(path, arrays, {checkpoint.KEY: header if isinstance(header, str) else json.dumps(header)})
    with pytest.raises(CheckpointError, match=rf"run\.safetensors {message}"):
        checkpoint.load(path)


def test_an_error_lists_all_differences_from_another_architecture(saved):
    path, params, *_ = saved
    loaded = checkpoint.load(path)
    checkpoint.check_fits(path, loaded.model, params)
    others = [
        ("lstm.weight", Parameter("weight", np.zeros((8, 3), np.float32))),
        ("head.weight", Parameter("weight", np.zeros(2, np.float32))),
    ]
    with pytest.raises(CheckpointError, match=r"run\.safetensors is of another model") as caught:
        checkpoint.check_fits(path, loaded.model, others)
    for fault in ("bias is unexpected", "head.weight is missing", "lstm.weight is a float32 array of shape (4, 3)"):
        assert fault in str(caught.value)
    with pytest.raises(CheckpointError, match="expected float64"):
        checkpoint.check_fits(path, loaded.model, make_params(dtype="float64"))


def test_a_state_that_cannot_be_saved_leaves_the_old_file(saved):
    path, params, optimizer, _ = saved
    before = path.read_bytes()
    with pytest.raises(TypeError, match="JSON-able except for its 'arrays', got float64 array"):
        checkpoint.save(path, weights(params), optimizer, {"task": {"h": np.zeros(3)}})
    with pytest.raises(TypeError, match=r"'state\.h' must be of float"):
        checkpoint.save(path, weights(params), optimizer, {"arrays": {"h": np.array(["text"])}})
    assert path.read_bytes() == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_whole(saved, monkeypatch, call):
    path, params, optimizer, state = saved
    before = path.read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    params[0][1].assign(np.ones((4, 3), np.float32))
    with pytest.raises(OSError, match=r"No space left on device: '.*run\.safetensors'"):
        checkpoint.save(path, weights(params), optimizer, state)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
