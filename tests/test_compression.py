"""Layers whose weights are bfloat16 or int8: their values, rounding, files, errors."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compressed_layers import assert_close, expanded, needs_c, normal

import fastrnn
from fastrnn._core.conversion import from_bfloat16, to_bfloat16
from fastrnn.backends import available
from fastrnn.serialization import load_arrays

FORMS = ("bfloat16", "int8")
BYTES = {"bfloat16": 2, "int8": 1}
MATRICES = ("weight_ih", "weight_hh", "weight_hr")
CELLS = {
    "rnn": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
    "gru": ("GRU", {}),
    "gru_reset_before": ("GRU", {"reset_after": False}),
    "gru_no_reset": ("GRU", {"reset_gate": False}),
    "lstm": ("LSTM", {}),
    "lstm_peephole": ("LSTM", {"peephole": True}),
    "lstm_projection": ("LSTM", {"proj_size": 6}),
    "lstm_both": ("LSTM", {"proj_size": 5, "peephole": True, "bias": False}),
}


def layer_of(name: str, input_size: int = 9, hidden_size: int = 21, **options: object) -> fastrnn.LSTM:
    kind, own = CELLS[name]
    return getattr(fastrnn, kind)(input_size, hidden_size, rng=1, **own, **options)


def all_outputs(result: tuple) -> np.ndarray:
    y, state = result
    return np.concatenate([a.ravel() for a in (y, *(state if isinstance(state, tuple) else (state,)))])


@needs_c
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CELLS)
def test_c_equals_the_reference_on_expanded_weights(name: str, form: str, c: Any) -> None:
    # 131 rows of W make two blocks of a product, and are no multiple of the 2 or 4 rows that share a word
    for sizes, bidirectional in itertools.product([(9, 21), (131, 70)], [False, True]):
        layer = layer_of(name, *sizes, num_layers=2, bidirectional=bidirectional)
        calls = [(normal(4, B, sizes[0]), lengths) for B in (1, 3, 40) for lengths in (None, np.arange(B) % 5)]
        with fastrnn.use_backend("reference"):
            plain = expanded(layer.compress(form))
            expected = [all_outputs(plain(x, None, lengths)) for x, lengths in calls]
        for isa in c.isa_names():
            c.set_isa(isa)
            compressed = layer.compress(form)
            for (x, lengths), values in zip(calls, expected, strict=True):
                found = all_outputs(compressed(x, None, lengths))
                assert_close(found, values, form, isa)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("backend", available())
def test_every_backend_runs_the_expanded_weights(backend: str, form: str) -> None:
    compressed = layer_of("lstm_both", num_layers=2, bidirectional=True, merge="sum").compress(form)
    x, ids = normal(4, 3, 9), np.array([[0, 8, -1], [3, 3, 3]])
    with fastrnn.use_backend("reference"):
        expected = [all_outputs(expanded(compressed)(given)) for given in (x, ids)]
    with fastrnn.use_backend(backend):
        for given, values in zip((x, ids), expected, strict=True):
            assert_close(all_outputs(compressed(given)), values, form)


@needs_c
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("B", [1, 2, 5, 64])
def test_bits_do_not_depend_on_threads(form: str, B: int) -> None:
    threads = fastrnn.get_num_threads()
    try:
        for name, hidden in itertools.product(("gru_reset_before", "lstm_projection"), (21, 300)):
            compressed, x = layer_of(name, 40, hidden, bidirectional=True).compress(form), normal(6, B, 40)
            found = []
            for count in (1, 2, 3):
                fastrnn.set_num_threads(count)
                found.append(all_outputs(compressed(x)))
            assert np.array_equal(found[0], found[1])
            assert np.array_equal(found[0], found[2])
    finally:
        fastrnn.set_num_threads(threads)


@needs_c
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["gru_reset_before", "lstm_both"])
def test_bits_do_not_depend_on_the_batch(name: str, form: str, isa: str) -> None:
    """One row, a few rows and many rows are three kinds of products; 150 states are two blocks of each."""
    compressed, x = layer_of(name, 150, 150, num_layers=2).compress(form), normal(3, 40, 150)
    y, _ = compressed(x)
    assert_close(y, expanded(compressed)(x)[0], form, isa)
    for B in (1, 2, 5, 23, 24, 25):
        assert np.array_equal(compressed(x[:, :B])[0], y[:, :B])


@pytest.mark.parametrize("form", FORMS)
def test_steps_streams_and_states_equal_one_call(form: str) -> None:
    compressed, x = layer_of("lstm_peephole", num_layers=2).compress(form), normal(6, 1, 9)
    y, (h, c) = compressed(x)
    stepper = compressed.stepper()
    steps = np.stack([stepper(x_t) for x_t in x[:, 0]])
    np.testing.assert_allclose(steps, y[:, 0], rtol=1e-5, atol=1e-6)
    (first, _), state = compressed.stream(x[:2])
    (second, (h_n, c_n)), _ = compressed.stream(x[2:], state)
    np.testing.assert_allclose(np.concatenate([first, second]), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.stack([h_n, c_n]), np.stack([h, c]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_infinity_and_nan_in_x_reach_only_their_own_sequence(form: str) -> None:
    compressed, x = layer_of("lstm", 7).compress(form), normal(3, 4, 7)
    clean, _ = compressed(x)
    x[1, 2, 3], x[1, 3, 6] = np.nan, np.inf
    for y, _ in (compressed(x), (np.concatenate([compressed(x[:, b : b + 1])[0] for b in range(4)], axis=1), None)):
        assert np.isnan(y[1:, 2]).all()
        np.testing.assert_allclose(y[:, :2], clean[:, :2], rtol=1e-5, atol=1e-6)


def test_bfloat16_rounds_to_nearest_even() -> None:
    values = [
        (1.0, 0x3F80),
        (1.00390625, 0x3F80),  # 1 + 2^-8, a tie: down to even
        (1.01171875, 0x3F82),  # 1 + 3 * 2^-8, a tie: up to even
        (1.00390637, 0x3F81),  # just above the tie
        (-1.00390625, 0xBF80),
        (0.0, 0x0000),
        (-0.0, 0x8000),
        (3.4e38, 0x7F80),  # above the largest bfloat16, 3.39e38, by more than half a unit
        (np.inf, 0x7F80),
        (-np.inf, 0xFF80),
        (1e-45, 0x0000),
        (9.2e-41, 0x0001),  # the smallest bfloat16 is 9.18e-41
    ]
    found = to_bfloat16(np.array([value for value, _ in values], np.float32))
    assert [hex(bits) for bits in found] == [hex(bits) for _, bits in values]
    nans = np.array([0x7FC00000, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(from_bfloat16(to_bfloat16(nans))).all()


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_the_rounded_ones_and_take_less_memory(form: str) -> None:
    layer = layer_of("lstm_projection", bidirectional=True)
    compressed = layer.compress(form)
    for name, parameter in layer.named_parameters():
        own, values = getattr(compressed, name), np.array(parameter)
        if name.startswith(MATRICES):
            assert own.nbytes == BYTES[form] * parameter.size
            assert own.dtype == np.float32
            half_unit = 2.0**-8 * np.abs(values) if form == "bfloat16" else np.abs(values).max(axis=1, keepdims=True) / 253.9
            assert (np.abs(np.array(own) - values) <= half_unit).all()
            assert (np.array(own) != values).any()
        else:
            np.testing.assert_array_equal(np.array(own), values)
    if form == "int8":
        scales = np.array(compressed.weight_hh_scales_l0_reverse)
        expected = np.abs(np.array(layer.weight_hh_l0_reverse)).max(axis=1) / np.float32(127)
        np.testing.assert_array_equal(scales, expected)


@pytest.mark.parametrize("form", FORMS)
def test_files_hold_the_compressed_numbers(form: str, tmp_path: Path) -> None:
    compressed = layer_of("lstm_both", num_layers=2).compress(form)
    compressed.save(tmp_path / "layer.safetensors")
    data = (tmp_path / "layer.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["weight_hh_l1"]["dtype"] == {"bfloat16": "BF16", "int8": "I8"}[form]
    assert header["weight_ch_l1"]["dtype"] == "F32"
    assert ("weight_hr_scales_l0" in header) == (form == "int8")
    other = fastrnn.LSTM(**compressed.config(), rng=5)
    other.load(tmp_path / "layer.safetensors")
    assert_same(other, compressed)
    stored, _ = load_arrays(tmp_path / "layer.safetensors")
    if form == "bfloat16":
        np.testing.assert_array_equal(stored["weight_hh_l0"], np.array(compressed.weight_hh_l0))


def assert_same(found: fastrnn.LSTM, expected: fastrnn.LSTM) -> None:
    assert [n for n, _ in found.named_parameters()] == [n for n, _ in expected.named_parameters()]
    for name, parameter in expected.named_parameters():
        np.testing.assert_array_equal(np.array(getattr(found, name)), np.array(parameter))
    x = normal(3, 2, 9)
    np.testing.assert_array_equal(all_outputs(found(x)), all_outputs(expected(x)))


@pytest.mark.parametrize("form", FORMS)
def test_copies_state_dicts_and_models(form: str, tmp_path: Path) -> None:
    compressed = layer_of("lstm_peephole").compress(form)
    other = layer_of("lstm_peephole").compress(form)
    for parameter in other.parameters():
        if not parameter.name.startswith("weight_ih") and not parameter.name.startswith("weight_hh"):
            parameter.assign(np.zeros(parameter.shape, np.float32))
    other.load_state_dict(compressed.state_dict())
    assert_same(other, compressed)
    assert_same(copy.deepcopy(compressed), compressed)
    x = fastrnn.Input(("T", "B", 9))
    model = fastrnn.Model(x, compressed(x)[0])
    model.save(tmp_path / "model.safetensors")
    given = normal(3, 2, 9)
    np.testing.assert_array_equal(fastrnn.load_model(tmp_path / "model.safetensors")(given), model(given))


@pytest.mark.parametrize("form", FORMS)
def test_a_constructed_layer_has_zeros_until_it_loads(form: str) -> None:
    layer = layer_of("lstm_both", num_layers=2)
    blank = type(layer)(**layer.config() | {"compression": form}, rng=0)
    compressed = layer.compress(form)
    assert [(n, p.shape) for n, p in blank.named_parameters()] == [(n, p.shape) for n, p in compressed.named_parameters()]
    assert not any(np.array(parameter).any() for parameter in blank.parameters())
    assert not blank(normal(3, 2, 9))[0].any()
    blank.load_state_dict(compressed.state_dict())
    assert_same(blank, compressed)


@pytest.mark.parametrize("form", FORMS)
def test_onnx_files_have_the_expanded_weights(form: str, tmp_path: Path) -> None:
    runtime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("fastrnn.onnx")
    x, compressed = fastrnn.Input(("T", "B", 9)), layer_of("lstm", num_layers=2, bidirectional=True).compress(form)
    model = fastrnn.Model(x, compressed(x)[0])
    onnx.save(model, tmp_path / "model.onnx")
    session, given = runtime.InferenceSession(tmp_path / "model.onnx"), normal(5, 3, 9)
    (y,) = session.run(None, {session.get_inputs()[0].name: given})
    if form == "int8":
        assert_close(y, model(given), form)
    else:
        np.testing.assert_allclose(y, model(given), rtol=1e-5, atol=1e-6)


def test_loading_changes_what_runs() -> None:
    layer, other = layer_of("gru"), layer_of("gru")
    other.weight_hh_l0.assign(-np.array(other.weight_hh_l0))
    for form in FORMS:
        compressed, x = layer.compress(form), normal(3, 2, 9)
        before, _ = compressed(x)
        compressed.load_state_dict(other.compress(form).state_dict())
        after, _ = compressed(x)
        np.testing.assert_array_equal(after, other.compress(form)(x)[0])
        assert np.abs(after - before).max() > 0.01


def test_an_embedding_before_a_compressed_layer() -> None:
    embedding, compressed = fastrnn.Embedding(5, 9, rng=0), layer_of("gru").compress("int8")
    symbol = fastrnn.Input(("T", "B"), "int64")
    model = fastrnn.Model(symbol, compressed(embedding(symbol))[0])
    ids = np.random.default_rng(0).integers(0, 5, (20, 4))
    assert_close(model(ids), expanded(compressed)(embedding(ids))[0], "int8")


@pytest.mark.parametrize("form", FORMS)
def test_sampling_equals_that_of_the_expanded_weights(form: str) -> None:
    from fastrnn.text.char_model import CharModel

    model = CharModel(11, "lstm", hidden=40, rng=3)
    prime, uniforms = np.array([[-1], [4]]), np.random.default_rng(0).random((50, 1))
    model.recurrent = model.recurrent.compress(form)
    found = model.generate(prime, uniforms).tokens
    model.recurrent = expanded(model.recurrent)
    assert found.tolist() == model.generate(prime, uniforms).tokens.tolist()
    assert len(set(found.ravel().tolist())) > 3


def test_error_on_data() -> None:
    layer, x = layer_of("lstm", 9, 64), normal(20, 3, 9)
    errors = {}
    for form in FORMS:
        compressed = layer.compress(form)
        found = errors[form] = fastrnn.compression_error(layer, compressed, x)
        difference = compressed(x)[0].astype(np.float64) - layer(x)[0]
        assert found.max == np.abs(difference).max()
        assert found.rms == pytest.approx(np.sqrt(np.mean(difference**2)), rel=1e-12)
        assert found.relative == pytest.approx(found.rms / np.sqrt(np.mean(layer(x)[0].astype(np.float64) ** 2)), rel=1e-12)
    assert 1e-5 < errors["bfloat16"].relative < 1e-2
    assert 1e-4 < errors["int8"].relative < 3e-2
    assert fastrnn.compression_error(layer, layer, x) == (0, 0, 0)


def test_errors_say_what_to_do() -> None:
    layer = layer_of("gru")
    compressed = layer.compress("int8")
    x = normal(2, 1, 9)
    with pytest.raises(ValueError, match=r"compression must be one of 'bfloat16', 'int8', got 'int4'"):
        layer.compress("int4")
    with pytest.raises(ValueError, match=r"^compression needs dtype float32, got a layer of float64$"):
        fastrnn.GRU(3, 4, dtype="float64").compress("int8")
    with pytest.raises(ValueError, match=r"^the layer is compressed already, as int8: compress the original$"):
        compressed.compress("bfloat16")
    with pytest.raises(RuntimeError, match=r"^a layer compressed to int8 runs inference only: train the original layer$"):
        compressed.forward(x)
    with pytest.raises(RuntimeError, match=r"^weight_hh_l0 is compressed: change the original layer"):
        compressed.weight_hh_l0.writable()
    with pytest.raises(RuntimeError, match=r"^weight_hh_l0 is compressed, for inference only"):
        compressed.weight_hh_l0.gradient()
    with pytest.raises(TypeError, match=r"^weight_hh_l0 must be an int8 array, because the layer is compressed"):
        compressed.load_state_dict(compressed.state_dict() | {"weight_hh_l0": np.array(layer.weight_hh_l0)})
    state = compressed.state_dict()
    del state["weight_ih_scales_l0"]
    with pytest.raises(ValueError, match=r"missing: weight_ih_scales_l0"):
        compressed.load_state_dict(state)
    for name in ("weight_hh_l0", "weight_hh_scales_l0"):
        with pytest.raises(TypeError, match=f"^{name} of a compressed layer cannot be replaced"):
            setattr(compressed, name, getattr(layer.compress("int8"), name))
    values = np.array(layer.weight_ih_l0)
    values[7, 2] = np.nan
    layer.weight_ih_l0.assign(values)
    with pytest.raises(ValueError, match=r"^weight_ih_l0 must be finite to become int8: row 7 holds NaN or infinity$"):
        layer.compress("int8")
    assert np.isnan(np.array(layer.compress("bfloat16").weight_ih_l0)[7, 2])
