"""Files that crashed a reader or took its memory, found by ``tests/fuzz/fuzz.py``: each now gives a promised error."""

from __future__ import annotations

import sys
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fastrnn import Input, Linear, Model, load_model
from fastrnn._core.drawing_limit import FREE, TIMES, TooManyValues, count, limited_to
from fastrnn.serialization import load_arrays, save_arrays

FUZZ = Path(__file__).parent / "fuzz"
sys.path.append(str(FUZZ))

import targets  # noqa: E402

FOUND = sorted(path for path in (FUZZ / "found").rglob("*") if path.is_file())
MOST = 200_000_000  # bytes


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found(path):
    tracemalloc.start()
    try:
        targets.run(path.parent.name, path.read_bytes())
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(  # the cases of ONNX take 9 s to make
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "onnx" else []) for name in targets.TARGETS]
)
def test_fuzzing_begins_with_an_input_that_is_read_to_its_end(name):
    def is_read(data):
        with suppress(*targets.TARGETS[name].errors):
            targets.TARGETS[name].read(data)
            return True

    seeds = list(targets.TARGETS[name].seeds())  # all of them, because the fuzzer does not start without one
    assert any(map(is_read, seeds))


def test_a_description_may_need_sixteen_times_what_its_file_holds():
    stored = np.zeros(1000)
    with limited_to([stored]):
        count((FREE + TIMES * stored.size - 500,))
        count((500,))
        with pytest.raises(TooManyValues, match=r"shape \(1,\) it needs far more values than the file holds"):
            count((1,))
    count((10**12,))  # outside of the block nothing is limited


def test_a_model_that_needs_more_says_which_file(tmp_path):
    path = tmp_path / "small.safetensors"
    x = Input(("B", 4))
    Model(x, Linear(4, 3)(x)).save(path)
    arrays, metadata = load_arrays(path)
    larger = {key: text.replace('"out_features": 3', '"out_features": 3000000') for key, text in metadata.items()}
    save_arrays(path, arrays, larger)
    with pytest.raises(ValueError, match=r"small\.safetensors: .*shape \(3000000, 4\) it needs far more values"):
        load_model(path)
