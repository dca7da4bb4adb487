"""fastrnn.torch's modules and cells have the values, gradients and errors of torch's own, which they replace."""

import copy
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

import fastrnn

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import PackedSequence, pack_sequence  # noqa: E402
from torch.testing._internal.two_tensor import TwoTensor  # noqa: E402

import fastrnn.torch as ft  # noqa: E402 - only where torch is installed

TOLERANCE = {torch.float32: {"rtol": 1e-5, "atol": 1e-5}, torch.float64: {"rtol": 1e-11, "atol": 1e-11}}


@pytest.fixture(autouse=True)
def torchs_first_kernels():
    """Compare with torch's native kernels, because oneDNN's round float32 differently and have no second derivative."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield


def _pair(name, *args, **options):
    """Return torch's module and ours with equal parameters, which both draw from the same seed."""
    both = []
    for package in (nn, ft):
        torch.manual_seed(3)
        both.append(getattr(package, name)(*args, **options))
    theirs, ours = both
    assert [n for n, _ in theirs.named_parameters()] == [n for n, _ in ours.named_parameters()]
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=0)
    return theirs, ours


def _tensors(value):
    if isinstance(value, PackedSequence):
        return [value.data]
    if isinstance(value, (tuple, list)):
        return [t for one in value for t in _tensors(one)]
    return [value] if isinstance(value, torch.Tensor) else []


def _results(module, args):
    """Return the outputs of a call, and the gradients of a random sum of them for all inputs and parameters."""
    torch.manual_seed(4)
    outputs = _tensors(module(*args))
    loss = sum((y * torch.randn(y.shape, dtype=y.dtype)).sum() for y in outputs)
    leaves = [t for t in _tensors(args) if t.requires_grad] + list(module.parameters())
    return outputs + list(torch.autograd.grad(loss, leaves, allow_unused=True))


def _assert_same_results(theirs, ours, args):
    dtype = next(ours.parameters()).dtype
    for a, b in zip(_results(theirs, args), _results(ours, args), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(b, a, **TOLERANCE[dtype])


def _modules():
    from torch.testing._internal.common_modules import module_db

    return [info for info in module_db if info.module_cls.__module__ == "torch.nn.modules.rnn"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "training"),
    [
        (torch.float32, True),
        (torch.float64, False),
        (torch.float32, False),
        (torch.float64, True),
    ],
)
def test_every_input_of_torchs_own_module_tests(dtype, training):
    pytest.importorskip("expecttest", reason="torch's tests need it")
    tried = set()
    for info in _modules():
        name = info.module_cls.__name__
        for sample in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training):
            made, called = sample.constructor_input, sample.forward_input
            theirs, ours = _pair(name, *made.args, **made.kwargs)
            theirs.to(dtype).train(training), ours.to(dtype).train(training)
            _assert_same_results(theirs, ours, [*called.args, *called.kwargs.values()])
            tried.add(name)
    assert tried == {"RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"}


@st.composite
def _calls(draw):
    """Draw a module's options, and the sizes and the form of one call."""
    name = draw(st.sampled_from(["RNN", "GRU", "LSTM"]))
    options = {option: draw(st.booleans()) for option in ("bias", "batch_first", "bidirectional")}
    options |= {"num_layers": draw(st.integers(1, 3)), "dtype": draw(st.sampled_from([torch.float32, torch.float64]))}
    if name == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if name == "LSTM":
        options["proj_size"] = draw(st.integers(0, 4))
    sizes = draw(st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 5), st.integers(5, 20)))
    form = draw(st.sampled_from(["padded", "one", "transposed", "strided", "packed", "packed unsorted"]))
    return name, options, sizes, form, draw(st.booleans())


def _call(module, sizes, form, with_state):
    """Return the arguments of a call of this form."""
    T, B, I, H = sizes  # noqa: E741 - the field's letters
    dtype = next(module.parameters()).dtype
    if form.startswith("packed"):
        lengths = np.random.default_rng(1).integers(1, T + 1, B)
        lengths = lengths if "unsorted" in form else -np.sort(-lengths)
        x = pack_sequence([torch.randn(n, I, dtype=dtype) for n in lengths], enforce_sorted="unsorted" not in form)
        x = x._replace(data=x.data.requires_grad_())
    elif form == "one":
        x = torch.randn(T, I, dtype=dtype, requires_grad=True)
    else:
        shape = (B, T) if module.batch_first else (T, B)
        x = torch.randn(*shape, I, dtype=dtype, requires_grad=True)
        if form == "transposed":
            x = torch.randn(*shape[::-1], I, dtype=dtype, requires_grad=True).transpose(0, 1)
        if form == "strided":
            x = torch.randn(*shape, 2 * I, dtype=dtype, requires_grad=True)[:, :, ::2]
    if not with_state:
        return [x]
    parts = module.num_layers * (1 + module.bidirectional)
    axes = (parts,) if form == "one" else (parts, B)
    state = [torch.randn(*axes, n, dtype=dtype, requires_grad=True) for n in (module.proj_size or H, H)]
    return [x, tuple(state) if module.mode == "LSTM" else state[0]]


@given(_calls())
def test_any_call_gives_torchs_values_and_gradients(call):
    name, options, sizes, form, with_state = call
    theirs, ours = _pair(name, sizes[2], sizes[3], **options)
    torch.manual_seed(5)
    args = _call(ours, sizes, form, with_state)
    leaves = [t if t.is_leaf else t.detach().requires_grad_() for t in _tensors(args)]
    assert leaves
    for t in _tensors(args):
        if not t.is_leaf:
            t.retain_grad()
    _assert_same_results(theirs, ours, args)
    with torch.no_grad():
        for a, b in zip(_tensors(theirs(*args)), _tensors(ours(*args)), strict=True):
            torch.testing.assert_close(b, a, **TOLERANCE[options["dtype"]])
            if min(a.shape) > 1:  # the order in memory must agree, because dropout draws in that order
                assert b.stride() == a.stride()


@each_row("batch_first", [False, True])
@each_row("packed", [False, True])
def test_dropout_draws_torchs_masks(packed, batch_first):
    theirs, ours = _pair("LSTM", 4, 6, 3, dropout=0.4, batch_first=batch_first, bidirectional=True)
    form = "packed" if packed else "padded"
    args = _call(ours, (7, 5, 4, 6), form, False)
    _assert_same_results(theirs, ours, args)
    evaluated = _tensors(ours.eval()(*args))[0]
    torch.testing.assert_close(evaluated, _tensors(theirs.eval()(*args))[0], rtol=1e-5, atol=1e-6)


@each_row("name", ["RNN", "GRU", "LSTM"])
def test_lengths_give_what_packing_gives(name):
    module = getattr(ft, name)(4, 6, 2, bidirectional=True, batch_first=True)
    lengths = [3, 7, 1, 5]
    x = torch.randn(4, 7, 4)
    sequences = [one[:n] for one, n in zip(x, lengths, strict=True)]
    packed_y, packed_state = module(pack_sequence(sequences, enforce_sorted=False))
    wanted, _ = nn.utils.rnn.pad_packed_sequence(packed_y, batch_first=True)
    for given_lengths in (lengths, np.array(lengths), torch.tensor(lengths)):
        y, state = module(x, lengths=given_lengths)
        torch.testing.assert_close(y, wanted, rtol=0, atol=0)
        for a, b in zip(_tensors(state), _tensors(packed_state), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


OPTIONS = [
    ("LSTM", {"peephole": True}),
    ("LSTM", {"peephole": True, "proj_size": 3}),
    ("GRU", {"reset_after": False}),
    ("GRU", {"reset_gate": False}),
]


@pytest.mark.parametrize("batch_first", [False, True])
@each_row(("name", "options"), OPTIONS)
def test_options_that_torch_lacks_are_those_of_our_layers(name, options, batch_first):
    module = getattr(ft, name)(4, 5, 2, bidirectional=True, batch_first=batch_first, dtype=torch.float64, **options)
    layer = getattr(fastrnn, name)(4, 5, 2, bidirectional=True, batch_first=batch_first, dtype="float64", **options)
    layer.load_state_dict(module.state_dict())
    x = torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True)
    lengths = [4, 6, 2] if batch_first else [1, 0, 3, 2, 3, 3]
    y, _ = module(x, lengths=lengths)
    dy = torch.randn_like(y)
    y.backward(dy)
    (wanted, _), backward = layer.forward(x.detach().numpy(), lengths=lengths)
    dx, _ = backward(dy.numpy())
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=0, atol=1e-13)
    np.testing.assert_allclose(x.grad.numpy(), dx, rtol=0, atol=1e-12)
    for key, parameter in layer.named_parameters():
        np.testing.assert_allclose(getattr(module, key).grad.numpy(), parameter.grad, rtol=0, atol=1e-12, err_msg=key)


@each_row(
    ("name", "options"),
    [("LSTMCell", {"peephole": True}), ("GRUCell", {"reset_after": False}), ("GRUCell", {"reset_gate": False})],
)
def test_cells_have_the_options_of_their_layers(name, options):
    cell = getattr(ft, name)(4, 5, **options)
    layer = getattr(ft, name.removesuffix("Cell"))(4, 5, **options)
    layer.load_state_dict({f"{key}_l0": value for key, value in cell.state_dict().items()})
    x = torch.randn(3, 4)
    h = _tensors(cell(x))[0]
    torch.testing.assert_close(h, layer(x[None])[0][0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("GRU", {}),
        ("LSTM", {"proj_size": 2}),
        *(pytest.param(*row, marks=pytest.mark.slow) for row in (("RNN", {}), *OPTIONS[:1], *OPTIONS[2:])),
    ],
)
def test_first_and_second_derivatives_pass_gradcheck(name, options):
    torch.manual_seed(0)
    module = getattr(ft, name)(2, 3, 2, bidirectional=True, dtype=torch.float64, **options)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)

    def call(x, *weights):
        for key, value in zip(module._flat_weights_names, weights, strict=True):
            module._parameters[key] = value
        return tuple(_tensors(module(x)))

    weights = [p.detach().clone().requires_grad_() for p in module._in_order()]
    assert torch.autograd.gradcheck(call, (x, *weights), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, (x, *weights), fast_mode=True)


def test_the_second_derivative_of_packed_and_padded_sequences():
    module = ft.LSTM(2, 3, dtype=torch.float64)
    packed = pack_sequence([torch.randn(n, 2, dtype=torch.float64) for n in (3, 1)])
    sequence = packed.data.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda data: module(packed._replace(data=data))[0].data, sequence)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: module(x, lengths=[2, 3])[0], x)


@each_row("name", ["RNN", "GRU", "LSTM"])
def test_what_lies_past_a_length_reaches_no_gradient(name):
    module, lengths = getattr(ft, name)(2, 3, 2, bidirectional=True), [4, 1, 0]
    x = torch.randn(4, 3, 2)
    filled = x.clone()
    for b, length in enumerate(lengths):
        filled[length:, b] = float("nan")

    def gradients(x, create_graph=False):
        x = x.clone().requires_grad_()
        y = module(x, lengths=lengths)[0].square().sum()
        return torch.autograd.grad(y, [x, *module.parameters()], create_graph=create_graph)

    wanted = gradients(x)
    for found in (gradients(filled), gradients(filled, create_graph=True)):
        for a, b in zip(wanted, found, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)
    penalty = sum(d.square().sum() for d in gradients(filled, create_graph=True))
    assert all(g.isfinite().all() for g in torch.autograd.grad(penalty, list(module.parameters())))


def test_backward_twice_through_one_graph():
    module = ft.GRU(3, 4)
    y = module(torch.randn(5, 2, 3))[0].pow(2).sum()
    first = torch.autograd.grad(y, list(module.parameters()), retain_graph=True)
    again = torch.autograd.grad(y, list(module.parameters()))
    for a, b in zip(first, again, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y, list(module.parameters()))


def test_a_parameter_changed_between_forward_and_backward_is_an_error():
    module = ft.GRU(3, 4)
    y = module(torch.randn(5, 2, 3))[0].sum()
    with torch.no_grad():
        module.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def _in_place(p):
    with torch.no_grad():
        p.mul_(1.5)


CHANGES = {
    "in place": _in_place,
    "through .data": lambda p: p.data.mul_(1.5),
    "one number through .data": lambda p: p.data.view(-1)[-1].add_(0.5),
    "by an array": lambda p: np.multiply(p.detach().numpy(), 1.5, out=p.detach().numpy()),
    "another array": lambda p: setattr(p, "data", p.data * 1.5),
}


@pytest.mark.parametrize("steps", [1, 20])
@each_row("change", list(CHANGES))
def test_packed_weights_follow_every_change_of_a_parameter(change, steps):
    theirs, ours = _pair("LSTM", 30, 70)  # 115 KB
    x = torch.randn(steps, 1, 30)
    for training in (False, True, False):
        for module in (theirs, ours):
            CHANGES[change](module.weight_hh_l0)
        with torch.set_grad_enabled(training):
            wanted = theirs(x)[0]
            # Calls of few rows hash one part of the parameters each, so they may notice a single number late. Here are 4
            # parts.
            calls = 4 if steps == 1 and not training and change == "one number through .data" else 1
            for _ in range(calls):
                y = ours(x)[0]
            torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-6)


def test_weights_at_the_address_of_freed_ones_are_read_anew():
    theirs, ours = _pair("LSTM", 30, 70)  # 115 KB: a call of one row hashes a quarter
    values = {name: p.detach().numpy().copy() for name, p in theirs.named_parameters()}
    x = torch.randn(1, 1, 30)
    for i in range(8):
        values["weight_ih_l0"][30 * i, 3] += 2.0
        weights = {name: torch.from_numpy(value) for name, value in values.items()}  # new tensors in the same memory
        for _ in range(3):
            got = torch.func.functional_call(ours, weights, (x,))[0]
            # torch's module would hold on to the tensors, so it gets copies.
            wanted = torch.func.functional_call(theirs, {name: w.clone() for name, w in weights.items()}, (x,))[0]
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


def test_parameters_that_are_exchanged_shared_or_frozen():
    theirs, ours = _pair("GRU", 3, 4, 2)
    other = nn.Parameter(torch.randn(12, 4))
    for module in (theirs, ours):
        module.weight_hh_l1 = other
        module.weight_hh_l0 = other
        module.bias_ih_l0.requires_grad_(False)
    x = torch.randn(5, 2, 3)
    for module in (theirs, ours):
        module(x)[0].pow(2).sum().backward()
    torch.testing.assert_close(ours.weight_hh_l0.grad, theirs.weight_hh_l0.grad)
    assert ours.bias_ih_l0.grad is None
    swapped = {name: torch.randn_like(p) for name, p in ours.named_parameters()}
    call = torch.func.functional_call
    torch.testing.assert_close(call(ours, swapped, x)[0], call(theirs, swapped, x)[0], rtol=1e-5, atol=1e-6)


def test_weights_that_are_not_parameters_or_not_contiguous():
    theirs, ours = _pair("LSTM", 3, 4)
    x = torch.randn(5, 2, 3)
    for module in (theirs, ours):
        nn.utils.weight_norm(module, "weight_hh_l0")
    _assert_same_results(theirs, ours, [x])
    transposed = nn.Parameter(torch.randn(4, 16).T)
    theirs, ours = _pair("LSTM", 3, 4)
    for module in (theirs, ours):
        module.weight_hh_l0 = transposed
    _assert_same_results(theirs, ours, [x])


@each_row("view", [torch._neg_view, torch.t, lambda w: w[:1].expand(4, 4)])
def test_views_that_begin_where_packed_weights_do(view):
    theirs, ours = _pair("RNN", 4, 4)
    x = torch.randn(5, 2, 4)
    _assert_same_results(theirs, ours, [x])
    theirs.weight_hh_l0 = ours.weight_hh_l0 = nn.Parameter(view(ours.weight_hh_l0.detach()))
    _assert_same_results(theirs, ours, [x])


@each_row("name", ["LSTM", "GRUCell"])
def test_weights_and_states_of_another_class_of_tensors(name):
    theirs, ours = _pair(name, 3, 4)
    x, h = torch.randn(2, 3), torch.randn(1, 4) if name == "LSTM" else torch.randn(2, 4)
    twice = TwoTensor(h, 2 * h)
    args = [x, (twice, twice)] if name == "LSTM" else [x, twice]
    _assert_same_tensors(_tensors(theirs(*args)), _tensors(ours(*args)))
    for module in (theirs, ours):  # such parameters have no memory of their own: the kernels read at address 0
        for key, p in list(module.named_parameters()):
            setattr(module, key, nn.Parameter(TwoTensor(p.detach(), 2 * p.detach())))
    _assert_same_tensors(_tensors(theirs(x)), _tensors(ours(x)))


def _assert_same_tensors(wanted, got):
    for a, b in zip(wanted, got, strict=True):
        assert type(a) is type(b) is TwoTensor
        for part in ("a", "b"):
            torch.testing.assert_close(getattr(b, part), getattr(a, part), rtol=1e-5, atol=1e-6)


def test_negated_views_and_gradients():
    theirs, ours = _pair("GRU", 3, 4)
    spectrum = torch.randn(5, 2, 3, dtype=torch.complex64)
    x = spectrum.conj().imag  # torch negates it only when it is read
    dy = torch.randn(5, 2, 4, dtype=torch.complex64).conj().imag
    assert x.is_neg()
    assert dy.is_neg()
    for module in (theirs, ours):
        module(x, x[:1, :, :1].expand(1, 2, 4))[0].backward(dy)
    torch.testing.assert_close(ours.weight_hh_l0.grad, theirs.weight_hh_l0.grad, rtol=1e-5, atol=1e-5)


def test_tensors_of_zeros_that_have_no_memory():
    """torch makes them for gradients that are zero; the kernels would read at address 0."""
    theirs, ours = _pair("GRU", 3, 4)
    zeros = torch._efficientzerotensor
    with torch.no_grad():
        torch.testing.assert_close(ours(zeros((5, 2, 3)))[0], theirs(zeros((5, 2, 3)))[0])
        x, h0 = torch.randn(5, 2, 3), torch.randn(1, 2, 4)
        torch.testing.assert_close(ours(x, zeros((1, 2, 4)))[0], theirs(x)[0])
        for module in (theirs, ours):
            module.weight_ih_l0 = nn.Parameter(zeros((12, 3)))
        torch.testing.assert_close(ours(x, h0)[0], theirs(x, h0)[0])
    found = ours(x, h0)[0]
    found.backward(zeros((5, 2, 4)))
    assert not ours.weight_hh_l0.grad.any()


def test_copies_and_files_keep_the_module_and_its_values():
    module = ft.LSTM(3, 4, 2, peephole=True, bidirectional=True, dropout=0.1).eval()
    x = torch.randn(5, 2, 3)
    wanted = module(x)[0]
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (copy.deepcopy(module), loaded):
        assert type(other) is ft.LSTM
        torch.testing.assert_close(other(x)[0], wanted, rtol=0, atol=0)
        with torch.no_grad():
            other.weight_ch_l1_reverse.zero_()
        assert not torch.equal(other(x)[0], wanted)
    torch.testing.assert_close(module(x)[0], wanted, rtol=0, atol=0)
    fresh = ft.LSTM(3, 4, 2, peephole=True, bidirectional=True)
    fresh.load_state_dict(module.state_dict())
    torch.testing.assert_close(fresh(x)[0], wanted, rtol=0, atol=0)
    assert repr(module) == "LSTM(3, 4, num_layers=2, dropout=0.1, bidirectional=True, peephole=True)"


def test_packed_weights_are_freed_with_their_parameters():
    from fastrnn.torch._packed_weights import _cache

    module = ft.GRU(3, 4)
    module(torch.randn(5, 2, 3))
    before = len(_cache)
    del module
    ft.GRU(4, 3)(torch.randn(5, 2, 4))
    assert len(_cache) <= before


def test_an_empty_batch_and_sequences_of_length_zero():
    module = ft.LSTM(3, 4)
    y, (h, c) = module(torch.zeros(5, 0, 3))
    assert (y.shape, h.shape, c.shape) == ((5, 0, 4), (1, 0, 4), (1, 0, 4))
    h0, c0 = torch.randn(1, 2, 4), torch.randn(1, 2, 4)
    y, (h, c) = module(torch.randn(5, 2, 3), (h0, c0), lengths=[0, 5])
    assert not y[:, 0].any()
    torch.testing.assert_close((h[:, 0], c[:, 0]), (h0[:, 0], c0[:, 0]), rtol=0, atol=0)


def test_every_engine_serves(engine):
    theirs, ours = _pair("LSTM", 3, 4, 2, bidirectional=True, batch_first=True)
    with fastrnn.use_backend(engine):
        _assert_same_results(theirs, ours, _call(ours, (5, 3, 3, 4), "padded", True))
        _assert_same_results(theirs, ours, _call(ours, (5, 3, 3, 4), "packed", True))


def test_threads_follow_torch_until_told_otherwise(set_threads):
    before = torch.get_num_threads()
    module, x = ft.GRU(3, 4), torch.randn(5, 2, 3)
    try:
        torch.set_num_threads(1)
        module(x)
        assert fastrnn.get_num_threads() == 1
        set_threads(3)
        module(x)
        assert fastrnn.get_num_threads() == 3
        torch.set_num_threads(2)
        module(x)
        assert fastrnn.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


THREADS = """
import torch
torch.set_num_threads(3)
import fastrnn, fastrnn.torch
SETTING
fastrnn.torch.GRU(3, 4)(torch.randn(5, 2, 3))
print(fastrnn.get_num_threads())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "environment"),
    [("fastrnn.set_num_threads(2)", {}), ("", {"FASTRNN_NUM_THREADS": "2"})],
)
def test_a_number_of_threads_that_was_set_before_the_first_call_holds(run_python, setting, environment):
    assert run_python(THREADS.replace("SETTING", setting), **environment).stdout == "2\n"


@each_row("module", [ft.LSTM(3, 4), ft.LSTM(3, 4, batch_first=True), ft.GRU(3, 4)], ids=repr)
def test_gradients_batched_by_vmap(module):
    x = torch.randn(3, 2, 3)
    by_one = torch.autograd.functional.jacobian(lambda x: module(x)[0], x)
    at_once = torch.autograd.functional.jacobian(lambda x: module(x)[0], x, vectorize=True)
    torch.testing.assert_close(at_once, by_one, rtol=1e-5, atol=1e-6)
    y = module(x)[0].sum()
    batch = torch.tensor([1.0, -2.0])
    ((first, second),) = torch.autograd.grad(y, module.weight_hh_l0, batch, is_grads_batched=True)
    torch.testing.assert_close(second, -2 * first, rtol=1e-5, atol=1e-6)


def test_parameters_made_in_inference_mode():
    theirs, _ = _pair("LSTM", 30, 70)
    with torch.inference_mode():
        ours = ft.LSTM(30, 70)
        ours.load_state_dict(theirs.state_dict())
        for steps in (1, 20):
            x = torch.randn(steps, 1, 30)
            for _ in range(3):
                torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-5, atol=1e-6)
            for module in (ours, theirs):
                module.weight_hh_l0[0, 0] += 0.5  # no version counts this change
            torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-5, atol=1e-6)


def test_errors_name_the_argument():
    meta = ft.LSTM(3, 4, device="meta")
    lstm, gru, x = ft.LSTM(3, 4), ft.GRU(3, 4, batch_first=True), torch.randn(5, 2, 3)
    zeros = torch.zeros
    for error, words, call in [
        (RuntimeError, "input.size\\(-1\\) must be equal to input_size. Expected 3, got 2", lambda: lstm(x[:, :, :2])),
        (ValueError, "input must have 2 or 3 dimensions, got 4", lambda: lstm(x[None])),
        (ValueError, "RNN input dtype", lambda: lstm(x.double())),
        (RuntimeError, "at least one time step", lambda: lstm(x[:0])),
        (TypeError, "hx must be a pair of tensors \\(h_0, c_0\\), got Tensor", lambda: lstm(x, zeros(1, 2, 4))),
        (RuntimeError, "Expected hidden\\[1\\] size", lambda: lstm(x, (zeros(1, 2, 4), zeros(1, 2, 3)))),
        (RuntimeError, "hx must have the dtype of the input", lambda: gru(x, zeros(1, 5, 4).double())),
        (TypeError, "hx must be a tensor, got int", lambda: gru(x, 3)),
        (ValueError, "lengths must each lie in 0..T = 0..2, got 3", lambda: gru(x, lengths=[1, 2, 2, 2, 3])),
        (ValueError, "lengths must have shape", lambda: gru(x, lengths=[1])),
        (TypeError, "lengths must hold integers", lambda: gru(x, lengths=[0.5] * 5)),
        (ValueError, "lengths must be left out", lambda: gru(pack_sequence([x[0]]), lengths=[1])),
        (TypeError, "peephole must be True or False", lambda: ft.LSTM(3, 4, peephole=1)),
        (ValueError, "nonlinearity must be", lambda: ft.RNN(3, 4, nonlinearity="sigmoid")),
        (RuntimeError, "input must be", lambda: ft.GRUCell(3, 4)(zeros(2, 4))),
        (RuntimeError, "hx must be", lambda: ft.GRUCell(3, 4)(zeros(2, 3), zeros(3, 4))),
        (TypeError, "hx must hold tensors, got int", lambda: ft.GRUCell(3, 4)(zeros(2, 3), 3)),
        (TypeError, "hx must be a pair", lambda: ft.LSTMCell(3, 4)(zeros(2, 3), zeros(2, 4))),
        (TypeError, "hx must be a pair of tensors \\(h_0, c_0\\), got NoneType", lambda: lstm(x, (zeros(1, 2, 4), None))),
        (TypeError, "hx must be a tensor, got ndarray", lambda: gru(x, np.zeros((1, 5, 4), "f4"))),
        (
            RuntimeError,
            "hx must be on the device of the input, cpu, got meta",
            lambda: gru(x, zeros(1, 5, 4, device="meta")),
        ),
        (RuntimeError, "hx must have 2 dimensions", lambda: lstm(x[0], (zeros(1, 2, 4), zeros(1, 2, 4)))),
        (TypeError, "input must be a Tensor or a PackedSequence, got list", lambda: lstm([1.0])),
        (TypeError, "input must be a Tensor, got list", lambda: ft.GRUCell(3, 4)([1.0])),
        (RuntimeError, "weight_ih_l0 must be .* on the device of the input, cpu, got .* on meta", lambda: meta(x)),
        (RuntimeError, "weight_ih_l0 must be .* got .* on meta", lambda: ft.GRUCell(3, 4, device="meta")(x[0])),
        (RuntimeError, "input must be on the device of the parameters, cpu, got meta", lambda: lstm(x.to("meta"))),
        (RuntimeError, "input must be on the device of the parameters", lambda: ft.GRUCell(3, 4)(x[0].to("meta"))),
        (TypeError, "bidirectional must be True or False", lambda: ft.LSTM(3, 4, bidirectional="no")),
        (ValueError, "hidden_size must be", lambda: ft.LSTMCell(3, 0)),
    ]:
        with pytest.raises(error, match=words):
            call()
    lstm.weight_hh_l0 = nn.Parameter(zeros(16, 3))
    with pytest.raises(RuntimeError, match="weight_hh_l0 must be \\(16, 4\\)"):
        lstm(x)


@each_row("batch_sizes", [[3, 3], [1, 2, 2], [300, 200], [4, -2, 4], [5, 1], [2000], [5, 0]])
def test_a_packed_sequence_that_contradicts_itself_is_refused(batch_sizes):
    packed = PackedSequence(torch.ones(5, 3), torch.tensor(batch_sizes))
    for module in (ft.GRU(3, 4), ft.LSTM(3, 4, bidirectional=True)):
        with pytest.raises(ValueError, match="batch_sizes must"):
            module(packed)
