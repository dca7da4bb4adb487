"""The layers compared with torch.nn by value: outputs, gradients, names, constructors, state dicts in both directions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn.layers as ours

torch = pytest.importorskip("torch")

from safetensors import safe_open  # noqa: E402 - after the check for torch, as the next ones
from safetensors.torch import save_file  # noqa: E402

from fastrnn import load_model  # noqa: E402
from fastrnn.torch import from_torch, to_torch  # noqa: E402

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
VARIANTS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("GRU", {}), ("LSTM", {}), ("LSTM", {"proj_size": 2})]
EVERY_VARIANT = pytest.mark.parametrize(("name", "extra"), VARIANTS, ids=lambda value: str(value))
FLAGS = ("bias", "batch_first", "bidirectional")


def make_pair(name, *args, dtype="float64", **options):
    """Return a layer of fastrnn and one of torch with the same values, copied as a state dict."""
    theirs = getattr(torch.nn, name)(*args, dtype=getattr(torch, dtype), **options)
    layer = getattr(ours, name)(*args, dtype=dtype, **options)
    layer.load_state_dict(theirs.state_dict())
    return layer, theirs


def flat(value):
    """Return the arrays in nested tuples, in order, without None."""
    if isinstance(value, (tuple, list)):
        return [array for item in value for array in flat(item)]
    return [] if value is None else [value]


def leaves(value):
    """Return the nested arrays as tensors that require gradients."""
    if isinstance(value, tuple):
        return tuple(leaves(item) for item in value)
    return None if value is None else torch.tensor(value, requires_grad=value.dtype.kind == "f")


def assert_close(got, wanted, dtype="float64"):
    """Assert that each array is within the tolerance, relative to the largest value of the wanted array."""
    got, wanted = flat(got), flat(wanted)
    assert len(got) == len(wanted)
    for mine, theirs in zip(got, wanted, strict=True):
        theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        assert np.abs(mine - theirs).max(initial=0) <= TOLERANCE[dtype] * max(1.0, np.abs(theirs).max(initial=0))


def upstream(output, rng):
    """Return random gradients for nested arrays."""
    if isinstance(output, tuple):
        return tuple(upstream(item, rng) for item in output)
    return rng.standard_normal(output.shape).astype(output.dtype)


def check_training(layer, theirs, inputs, rng, dtype="float64"):
    """Compare inference, training outputs and all gradients of both, for ``inputs = (x,)`` or ``(x, state)``."""
    tensors = leaves(inputs)
    output_t = theirs(*tensors)
    output, backward = layer.forward(*inputs)
    assert_close(output, output_t, dtype)
    assert_close(layer(*inputs), output_t, dtype)
    gradients = upstream(output, rng)
    torch.autograd.backward(flat(output_t), [torch.tensor(g) for g in flat(gradients)])
    pair = isinstance(output, tuple) and isinstance(layer, ours.LSTM | ours.GRU | ours.RNN)
    got = backward(*gradients) if pair else backward(gradients)
    wanted = [tensor.grad for tensor in flat(tensors) if tensor.requires_grad]
    assert_close(flat(got)[: len(wanted)], wanted, dtype)
    for (name, parameter), (name_t, parameter_t) in zip(layer.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == name_t
        assert_close(parameter.grad, parameter_t.grad, dtype)


def make_inputs(layer, T, B, rng, with_state, batched=True):
    """Return x, and a state if wanted, in the layer's layout."""
    first = (B, T) if layer.batch_first else (T, B)
    x = rng.standard_normal((*first, layer.input_size) if batched else (T, layer.input_size)).astype(layer.dtype)
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    middle = (B,) if batched else ()
    sizes = [getattr(layer, "proj_size", 0) or layer.hidden_size, layer.hidden_size]
    h, c = (rng.standard_normal((rows, *middle, size)).astype(layer.dtype) for size in sizes)
    state = (h, c) if isinstance(layer, ours.LSTM) else h
    return (x, state) if with_state else (x,)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@EVERY_VARIANT
def test_every_option(name, extra, bias, batch_first, bidirectional, num_layers):
    rng = np.random.default_rng(1)
    options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional} | extra
    for with_state, batched in itertools.product((True, False), repeat=2):
        layer, theirs = make_pair(name, 3, 4, num_layers, **options)
        check_training(layer, theirs, make_inputs(layer, 5, 3, rng, with_state, batched), rng)
    assert list(layer.state_dict()) == list(theirs.state_dict())
    assert [[p.name for p in weights] for weights in layer.all_weights] == theirs._all_weights
    drawn = getattr(ours, name)(3, 4, num_layers, **options, rng=0).state_dict()
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in drawn.items()})
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(value.numpy().astype("float32"), drawn[key])


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@settings(max_examples=40)
@given(data=st.data())
def test_any_shape_and_dtype(data):
    name, extra = data.draw(st.sampled_from(VARIANTS))
    size = st.integers(1, 9)
    H = data.draw(st.integers(3, 12))
    options = {flag: data.draw(st.booleans(), flag) for flag in FLAGS} | extra
    dtype = data.draw(st.sampled_from(("float32", "float64")))
    layer, theirs = make_pair(name, data.draw(size, "I"), H, data.draw(st.integers(1, 3), "L"), dtype=dtype, **options)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    inputs = make_inputs(layer, data.draw(size, "T"), data.draw(size, "B"), rng, data.draw(st.booleans()))
    check_training(layer, theirs, inputs, rng, dtype)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@EVERY_VARIANT
def test_lengths_are_packed_sequences(name, extra, batch_first, bidirectional):
    rng = np.random.default_rng(2)
    layer, theirs = make_pair(name, 3, 4, 2, batch_first=batch_first, bidirectional=bidirectional, **extra)
    x, state = make_inputs(layer, 6, 4, rng, with_state=True)
    lengths = np.array([3, 6, 1, 4])
    x_t, state_t = leaves((x, state))
    packed = torch.nn.utils.rnn.pack_padded_sequence(x_t, lengths, batch_first, enforce_sorted=False)
    packed_y, final_t = theirs(packed, state_t)
    y_t, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_y, batch_first)
    (y, final), backward = layer.forward(x, state, lengths)
    assert_close((y, final), (y_t, final_t))
    assert_close(layer(x, state, lengths), (y_t, final_t))
    gradients = upstream((y, final), rng)
    torch.autograd.backward(flat((y_t, final_t)), [torch.tensor(g) for g in flat(gradients)])
    assert_close(backward(*gradients), [x_t.grad, *(s.grad for s in flat(state_t))])
    assert_close([p.grad for p in layer.parameters()], [p.grad for p in theirs.parameters()])


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("name", "extra"), [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("GRUCell", {}), ("LSTMCell", {})]
)
def test_cells(name, extra, bias, batched):
    rng = np.random.default_rng(3)
    shape = (5,) if batched else ()
    for with_state in (True, False):
        cell, theirs = make_pair(name, 3, 4, bias, **extra)
        x, h, c = (rng.standard_normal((*shape, size)) for size in (3, 4, 4))
        state = (h, c) if name == "LSTMCell" else h
        check_training(cell, theirs, (x, state) if with_state else (x,), rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(), (5,), (2, 7), (0,)])
def test_linear(leading, bias, dtype):
    rng = np.random.default_rng(4)
    layer, theirs = make_pair("Linear", 3, 4, bias, dtype=dtype)
    check_training(layer, theirs, (rng.standard_normal((*leading, 3)).astype(dtype),), rng, dtype)


@pytest.mark.parametrize("shape", [(40,), (7, 5), (1, 1)])
def test_embedding(shape):
    rng = np.random.default_rng(5)
    layer, theirs = make_pair("Embedding", 11, 6)
    check_training(layer, theirs, (rng.integers(0, 11, shape),), rng)


def test_a_model_of_several_layers():
    rng = np.random.default_rng(6)
    parts = [ours.Embedding(9, 5, dtype="float64"), ours.LSTM(5, 4, 2, bidirectional=True, dtype="float64")]
    model = ours.Sequential(*parts, ours.Dropout(0.0), ours.Linear(8, 3, dtype="float64"))
    embedding, lstm, linear = (to_torch(model[i]) for i in (0, 1, 3))
    x = rng.integers(0, 9, (6, 4))
    y, backward = model.forward(x)
    y_t = linear(lstm(embedding(torch.tensor(x)))[0])
    assert_close(y, y_t)
    dy = rng.standard_normal(y.shape)
    y_t.backward(torch.tensor(dy))
    assert backward(dy) is None
    wanted = [p.grad for module in (embedding, lstm, linear) for p in module.parameters()]
    assert_close([p.grad for p in model.parameters()], wanted)


def test_positional_arguments_are_torchs():
    cases = [
        ("RNN", (3, 4, 2, "relu", False, True, 0.5, True), ("nonlinearity",)),
        ("GRU", (3, 4, 2, False, True, 0.5, True), ()),
        ("LSTM", (3, 4, 2, False, True, 0.5, True, 2), ("proj_size",)),
    ]
    common = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
    for name, args, extra in cases:
        layer, theirs = getattr(ours, name)(*args), getattr(torch.nn, name)(*args)
        for attribute in common + extra:
            assert getattr(layer, attribute) == getattr(theirs, attribute), (name, attribute)
        if name != "RNN":  # torch's repr omits the nonlinearity
            assert repr(layer) == repr(theirs)
    assert ours.RNNCell(3, 4, False, "relu").nonlinearity == torch.nn.RNNCell(3, 4, False, "relu").nonlinearity
    for name, args in [("Linear", (3, 4, False)), ("Embedding", (3, 4)), ("GRUCell", (3, 4, False))]:
        assert repr(getattr(ours, name)(*args)) == repr(getattr(torch.nn, name)(*args))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
def test_modules_go_both_ways(dtype):
    rng = np.random.default_rng(7)
    layers = [
        ours.RNN(3, 4, 2, "relu", dtype=dtype),
        ours.GRU(3, 4, bias=False, batch_first=True, dtype=dtype),
        ours.LSTM(3, 4, 2, bidirectional=True, proj_size=2, dtype=dtype),
        ours.RNNCell(3, 4, nonlinearity="relu", dtype=dtype),
        ours.GRUCell(3, 4, dtype=dtype),
        ours.LSTMCell(3, 4, bias=False, dtype=dtype),
        ours.Linear(3, 4, dtype=dtype),
        ours.Linear(3, 4, bias=False, dtype=dtype),
    ]
    x = rng.standard_normal((5, 2, 3)).astype(dtype)
    for layer in layers:
        data = x[0] if repr(layer).partition("(")[0].endswith("Cell") else x
        module = to_torch(layer)
        assert_close(layer(data), module(torch.tensor(data)), dtype)
        again = from_torch(module, backend=getattr(layer, "backend", None))
        assert repr(again) == repr(layer)
        assert_close(again(data), flat(layer(data)) if not isinstance(layer, ours.Linear) else layer(data), dtype)
    assert from_torch(torch.nn.Dropout(0.3), rng=1).p == 0.3
    assert to_torch(ours.Dropout(0.3)).p == 0.3
    assert_close(from_torch(to_torch(ours.Embedding(5, 3, rng=1))).weight.data, ours.Embedding(5, 3, rng=1).weight.data)


def test_state_dicts_are_copied():
    state = {"a": np.ones(3)}
    tensors = to_torch(state)
    tensors["a"][0] = 5
    arrays = from_torch(tensors)
    arrays["a"][1] = 7
    assert state["a"].tolist() == [1, 1, 1]
    assert tensors["a"].tolist() == [5, 1, 1]


def test_options_that_the_other_library_lacks_are_refused():
    with pytest.raises(ValueError, match="torch has no peephole: LSTM has peephole=True"):
        to_torch(ours.LSTM(3, 4, peephole=True))
    with pytest.raises(ValueError, match="torch has no reset_after: GRU has reset_after=False"):
        to_torch(ours.GRU(3, 4, reset_after=False))
    with pytest.raises(ValueError, match="fastrnn has no padding_idx: Embedding has padding_idx=0"):
        from_torch(torch.nn.Embedding(3, 4, padding_idx=0))
    with pytest.raises(ValueError, match="must be float16, bfloat16, float32 or float64, got float8_e5m2"):
        from_torch(torch.nn.Linear(3, 4).to(torch.float8_e5m2))
    with pytest.raises(TypeError, match=r"source must be a state dict or a layer of torch\.nn"):
        from_torch(torch.nn.Conv1d(1, 1, 1))
    with pytest.raises(TypeError, match=r"source must be a state dict or a layer of fastrnn\.layers"):
        to_torch(ours.Sequential(ours.Dropout()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_values_arrive_exactly(dtype, tmp_path):
    module = torch.nn.GRU(3, 4, 2, bidirectional=True, dtype=dtype)
    state = module.state_dict()
    wanted = {name: tensor.to(torch.float64).numpy() for name, tensor in state.items()}
    save_file(state, tmp_path / "theirs.safetensors")
    for ours_dtype in ("float32", "float64"):
        by_dict, by_file = (ours.GRU(3, 4, 2, bidirectional=True, dtype=ours_dtype) for _ in range(2))
        by_dict.load_state_dict(state)
        by_file.load(tmp_path / "theirs.safetensors")
        for layer in (by_dict, by_file, from_torch(module)):
            for name, value in layer.state_dict().items():
                np.testing.assert_array_equal(value, wanted[name], err_msg=name)
    assert from_torch(module).dtype == "float32"
    arrays = from_torch(state)
    assert {array.dtype.name for array in arrays.values()} == {"float32" if dtype is torch.bfloat16 else "float16"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, wanted[name])


def test_a_model_file_whose_weights_were_made_bfloat16_is_read(tmp_path):
    model = ours.Sequential(ours.Linear(3, 4, rng=0), ours.GRU(4, 2, rng=1))
    model.save(tmp_path / "ours")
    with safe_open(tmp_path / "ours", framework="pt") as file:
        halves = {name: file.get_tensor(name).to(torch.bfloat16) for name in file.keys()}  # noqa: SIM118 - not a mapping
        save_file(halves, tmp_path / "halved", file.metadata())
    for name, value in load_model(tmp_path / "halved").state_dict().items():
        np.testing.assert_array_equal(value, halves[name].float().numpy())


def test_tensors_of_other_dtypes_are_named():
    layer = ours.Linear(2, 2)
    good = layer.state_dict()
    for tensor, message in (
        (torch.zeros(2).to(torch.float8_e4m3fn), r"bias must be of a dtype that NumPy has, got torch.float8_e4m3fn tensor"),
        (torch.zeros(2, dtype=torch.int8), "bias must be an array of floats .float16, bfloat16, .*, got int8 array"),
        (torch.zeros(2, dtype=torch.complex64), "bias must be an array of floats .*, got complex64 array"),
    ):
        with pytest.raises(TypeError, match=message):
            layer.load_state_dict(good | {"bias": tensor})
    with pytest.raises(
        TypeError, match=r"w must be of a dtype that NumPy has, got torch.float8_e4m3fn tensor of shape \(2,\)"
    ):
        from_torch({"w": torch.zeros(2).to(torch.float8_e4m3fn)})
    with pytest.raises(ValueError, match="must be float16, bfloat16, float32 or float64, got float8_e5m2: convert it"):
        from_torch(torch.nn.GRU(2, 2).to(torch.float8_e5m2))
    np.testing.assert_array_equal(layer.state_dict()["bias"], good["bias"])
