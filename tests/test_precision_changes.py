"""Another thread changes the precision while a layer or model prepares its weights."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tables import each_row

import fastrnn
from fastrnn._core.cache import SETTINGS
from fastrnn.backends import available, load
from fastrnn.text.char_model import CharModel

pytestmark = [
    pytest.mark.skipif("c" not in available(), reason="needs the C backend"),
    pytest.mark.usefixtures("medium_everywhere"),
]

X = np.random.default_rng(0).standard_normal((20, 20, 40), dtype=np.float32)


def lstm(_: Path) -> Callable[[], Any]:
    layer = fastrnn.LSTM(40, 64, rng=0)
    return lambda: layer(X)[0]


def linear(_: Path) -> Callable[[], Any]:
    layer = fastrnn.Linear(40, 33, rng=1)
    return lambda: layer(X)


def learning(_: Path) -> Callable[[], Any]:
    model, ids = CharModel(40, "lstm", hidden=64, rng=3), np.arange(800).reshape(20, 40) % 31
    model.learn(ids, ids)  # makes the gradients, and the first form without them
    return lambda: model.learn(ids, ids)[0]


def torch_module(_: Path) -> Callable[[], Any]:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer, x = pytest.importorskip("fastrnn.torch").LSTM(40, 64), torch.from_numpy(X)
    return lambda: layer(x)[0].detach().numpy()


def onnx_model(path: Path) -> Callable[[], Any]:
    onnx = pytest.importorskip("fastrnn.onnx")
    x = fastrnn.Input(("T", "B", 40), name="x")
    onnx.save(fastrnn.Model(x, fastrnn.LSTM(40, 64, rng=0)(x)[0]), path)
    model = onnx.load(path)
    return lambda: model.run({"x": X})[0]


@each_row("new", [lstm, linear, learning, torch_module, onnx_model])
def test_a_precision_set_for_a_moment_is_not_cached_for_another(new, tmp_path: Path, monkeypatch) -> None:
    backend, path = load("c"), tmp_path / "model.onnx"
    wanted, run, settings = new(path)(), new(path), backend.settings

    def settings_before_a_change() -> Any:
        found = settings()
        fastrnn.set_float32_matmul_precision("medium")  # as another thread does
        return found

    with fastrnn.use_precision("highest"):
        with monkeypatch.context() as during:
            during.setattr(backend, "settings", settings_before_a_change)
            assert not np.array_equal(run(), wanted)
        fastrnn.set_float32_matmul_precision("highest")
        assert np.array_equal(run(), wanted)


@each_row("new", [lstm, onnx_model])
def test_a_precision_whose_change_is_not_complete_is_not_cached(new, tmp_path: Path, monkeypatch) -> None:
    backend, path, increment = load("c"), tmp_path / "model.onnx", type(SETTINGS).increment
    wanted, run, settings = new(path)(), new(path), backend.settings
    changing = threading.Thread(target=fastrnn.set_float32_matmul_precision, args=("medium",))

    def late(version: Any) -> None:
        time.sleep(0.2)  # longer than a value is made
        increment(version)

    def settings_during_a_change() -> Any:
        found = settings()
        if not changing.ident:
            changing.start()
            while fastrnn.get_float32_matmul_precision() == "highest":
                time.sleep(0.001)
        return found

    with fastrnn.use_precision("highest"):
        with monkeypatch.context() as during:
            during.setattr(type(SETTINGS), "increment", late)
            during.setattr(backend, "settings", settings_during_a_change)
            assert not np.array_equal(run(), wanted)
            changing.join()
        fastrnn.set_float32_matmul_precision("highest")
        assert np.array_equal(run(), wanted)


@each_row("cell", ["RNN", "GRU", "LSTM"])
def test_a_backward_in_torch_after_a_change_of_settings(cell: str, c: Any) -> None:
    """Its tape is of no use to the kernels of other settings, so forward runs again."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = getattr(pytest.importorskip("fastrnn.torch"), cell)(40, 33)
    x = torch.from_numpy(X).requires_grad_()

    def gradients(*settings: tuple[str | None, str]) -> list[np.ndarray]:
        x.grad = None
        layer.zero_grad()
        y = None
        for isa, precision in settings:
            c.set_isa(isa)
            with fastrnn.use_precision(precision):
                if y is None:
                    y = layer(x)[0].square().sum()
                else:
                    y.backward()
        return [x.grad.numpy().copy(), *(p.grad.numpy().copy() for p in layer.parameters())]

    wanted = gradients((None, "highest"), (None, "highest"))
    ways = [(isa, precision) for isa in c.isa_names() for precision in ("highest", "medium")]
    for before, after in itertools.permutations(ways, 2):
        tolerance = 1e-4 if before[1] == after[1] == "highest" else 0.1
        for found, expected in zip(gradients(before, after), wanted, strict=True):
            np.testing.assert_allclose(
                found, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=f"{before} {after}"
            )


def test_weights_of_few_rows_are_read_once_they_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a matrix unit few rows run in float32, for which weights are packed later; two threads may do so at once."""
    from fastrnn.backends._c import linear, precision

    monkeypatch.setattr(precision, "has_matrix_unit", lambda isa: True)
    monkeypatch.setattr(precision, "SMALLEST_BATCH", 16)
    layer, x = fastrnn.Linear(40, 33, rng=1, backend="c"), np.random.default_rng(0).standard_normal((20, 40), np.float32)
    wanted, found, library = layer(x[:4]), [], linear.lib

    class Library:
        def __getattr__(self, name: str) -> Any:
            return getattr(library, name)

        def fastrnn_linear_pack(self, *arguments: Any) -> None:
            monkeypatch.setattr(linear, "lib", library)
            found.append(layer(x[:4]))  # as another thread does, before the weights are packed
            library.fastrnn_linear_pack(*arguments)

    with fastrnn.use_precision("medium"):
        assert not np.array_equal(layer(x)[:4], wanted)
        monkeypatch.setattr(linear, "lib", Library())
        found.append(layer(x[:4]))
    assert np.array_equal(found, [wanted, wanted])


def test_a_precision_that_changes_while_a_linear_layer_is_prepared_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastrnn.layers import dense

    layer, x = fastrnn.Linear(40, 33, rng=1, backend="c"), np.random.default_rng(0).standard_normal((20, 40), np.float32)
    with fastrnn.use_precision("medium"):
        wanted = fastrnn.Linear(40, 33, rng=1, backend="c")(x)

    def late(*arguments: Any) -> Any:
        fastrnn.set_float32_matmul_precision("medium")  # as another thread does
        return prepared(*arguments)

    prepared = dense.prepared
    with fastrnn.use_precision("highest"):
        with monkeypatch.context() as during:
            during.setattr(dense, "prepared", late)
            layer(x)
        assert np.array_equal(layer(x), wanted)


def test_a_small_batch_of_a_language_model_keeps_the_precision_of_its_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few sequences run in float32 on a matrix unit, by a model that is prepared when they first come."""
    from fastrnn.backends._c import precision, train_step

    monkeypatch.setattr(precision, "has_matrix_unit", lambda isa: True)
    monkeypatch.setattr(precision, "SMALLEST_BATCH", 16)
    ids = np.random.default_rng(2).integers(0, 40, (10, 20))
    models = [CharModel(40, "lstm", hidden=64, rng=3) for _ in range(2)]
    with fastrnn.use_precision("medium"):
        for model in models:  # makes the gradients, and then prepares the model for them
            model.learn(ids[:-1], ids[1:])
        models[0].learn(ids[:-1], ids[1:])
        with monkeypatch.context() as during:  # as if another thread changed the setting for a moment
            during.setattr(train_step, "get_float32_matmul_precision", lambda: "highest")
            models[0].learn(ids[:-1, :4], ids[1:, :4])
        found, wanted = (model.learn(ids[:-1, :4], ids[1:, :4])[0] for model in models)
    assert found == wanted
