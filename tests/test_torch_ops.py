"""The ops of fastrnn.torch: torch's own checks, traced graphs, autocast, and calls that fall back to torch."""

import itertools
import warnings

import pytest
from tables import each_row

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_sequence  # noqa: E402

import fastrnn.torch as ft  # noqa: E402 - only where torch is installed
from fastrnn.torch import _fallback  # noqa: E402

GRU, PROJECTED = ("GRU", {"reset_after": False}), ("LSTM", {"peephole": True, "proj_size": 2})
MODULES = [("RNN", {}), GRU, ("LSTM", {}), PROJECTED]


@pytest.fixture(autouse=True)
def fresh_reports():
    _fallback._reported.clear()


def _op_arguments(name, options, rows="time_major"):
    """Return arguments of ``fastrnn::stack``, all with gradients, for a module of two layers in two directions."""
    torch.manual_seed(0)
    module = getattr(ft, name)(3, 5, 2, bidirectional=True, **options)
    x = torch.randn(4, 2, 3, requires_grad=True)
    h0 = torch.randn(4, 2, options.get("proj_size", 5), requires_grad=True)
    c0 = torch.randn(4, 2, 5, requires_grad=True) if module.has_c else None
    lengths = None
    if rows == "packed":
        x, lengths = torch.randn(6, 3, requires_grad=True), torch.tensor([4, 2])
    if rows == "batch_major":
        x, lengths = torch.randn(2, 4, 3, requires_grad=True), torch.tensor([2, 4])
    return x, h0, c0, lengths, module._in_order(), module.cell, 2, 2, rows, True


@pytest.mark.parametrize(
    ("name", "options", "rows"),
    [
        pytest.param(name, options, rows, marks=() if i == j == 2 else pytest.mark.slow)
        for i, (name, options) in enumerate(MODULES)
        for j, rows in enumerate(("time_major", "batch_major", "packed"))
    ],
)
def test_opcheck_passes(name, options, rows):
    arguments = _op_arguments(name, options, rows)
    checked = torch.library.opcheck(torch.ops.fastrnn.stack.default, arguments)
    assert set(checked.values()) == {"SUCCESS"}
    y, h_n, c_n, tape = torch.ops.fastrnn.stack(*arguments)
    gradients = [torch.randn_like(y), torch.randn_like(h_n), torch.randn_like(c_n)]
    x, h0, c0, lengths, weights, *cell, _ = arguments
    inputs = [None if t is None else t.detach() for t in (x, h0, c0, lengths)]
    arguments = (*gradients, tape.detach(), *inputs, [w.detach() for w in weights], *cell)
    checked = torch.library.opcheck(torch.ops.fastrnn.stack_backward.default, arguments)
    assert set(checked.values()) == {"SUCCESS"}


def test_the_op_validates_arguments_that_a_traced_call_did_not():
    x, h0, c0, _, *rest = _op_arguments("GRU", {}, "packed")
    for lengths, words in [
        ([2, 4], "lengths must not increase"),
        ([4, 1], "must add up to the N = 6 rows"),
        ([9, -3], "lengths must each lie in"),
    ]:
        with pytest.raises(ValueError, match=words):
            torch.ops.fastrnn.stack(x, h0, c0, torch.tensor(lengths), *rest)


class Tagger(nn.Module):
    """An embedding, a recurrent layer and a linear layer."""

    def __init__(self, name="LSTM", **options):
        super().__init__()
        self.embed = nn.Embedding(10, 3)
        self.rnn = getattr(ft, name)(3, 5, 2, batch_first=True, bidirectional=True, **options)
        self.out = nn.Linear(2 * (options.get("proj_size") or 5), 4)

    def forward(self, ids, lengths=None):
        y, _ = self.rnn(self.embed(ids), lengths=lengths)
        return self.out(y)


def _loss_and_gradients(model, call, *args):
    loss = call(*args).pow(2).sum()
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


COMPILED = [(GRU, True, True)]  # module, with lengths, dynamic


@pytest.mark.parametrize(
    ("module", "with_lengths", "dynamic"),
    [
        *COMPILED,
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in itertools.product(MODULES, (False, True), (False, True))
            if row not in COMPILED
        ),
    ],
)
def test_compile_makes_one_graph_with_the_same_results(module, with_lengths, dynamic):
    name, options = module
    torch._dynamo.reset()
    torch.manual_seed(1)
    model = Tagger(name, **options)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for T, lengths in [(6, [2, 6, 4]), (7, [1, 7, 3])]:
        args = [torch.randint(10, (3, T))] + ([torch.tensor(lengths)] if with_lengths else [])
        for got, wanted in zip(
            _loss_and_gradients(model, compiled, *args), _loss_and_gradients(model, model, *args), strict=True
        ):
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(compiled(*args), model(*args), rtol=1e-5, atol=1e-6)


def test_compile_checks_packed_sequences_between_two_graphs():
    from torch._dynamo.testing import CompileCounter  # which takes a second

    torch._dynamo.reset()
    gru, counter = ft.GRU(3, 5), CompileCounter()
    packed = pack_sequence([torch.randn(n, 3) for n in (2, 5, 1)], enforce_sorted=False)
    wanted = gru(packed)[0].data
    with torch.device("cpu"):  # the default device is a mode of torch, which dynamo cannot trace on NumPy's arrays
        got = torch.compile(gru, backend=counter)(packed)[0].data
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    assert counter.frame_count == 2


def test_compile_calls_torchs_own_layer_between_graphs():
    torch._dynamo.reset()
    lstm, x = ft.LSTM(3, 5, dtype=torch.bfloat16), torch.randn(4, 2, 3, dtype=torch.bfloat16)
    compiled = torch.compile(lstm, backend="aot_eager")
    with pytest.warns(UserWarning, match="runs PyTorch's own operators for dtype bfloat16"):
        y, _ = compiled(x)
    got, wanted = (torch.autograd.grad(out.float().sum(), list(lstm.parameters())) for out in (y, lstm(x)[0]))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.slow  # runs a C++ compiler
def test_inductor_compiles_a_training_step():
    torch._dynamo.reset()
    model, ids = Tagger(), torch.randint(10, (3, 6))
    compiled = torch.compile(model, fullgraph=True)
    for got, wanted in zip(_loss_and_gradients(model, compiled, ids), _loss_and_gradients(model, model, ids), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_export_contains_the_stack_as_one_op():
    model, ids = Tagger().eval(), torch.randint(10, (3, 6))
    batch, steps = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("steps", min=2, max=64)
    program = torch.export.export(model, (ids,), dynamic_shapes={"ids": {0: batch, 1: steps}})
    ops = [str(node.target) for node in program.graph.nodes if "fastrnn" in str(node.target)]
    assert ops == ["fastrnn.stack.default"]
    other = torch.randint(10, (5, 9))
    torch.testing.assert_close(program.module()(other), model(other), rtol=1e-5, atol=1e-6)


@each_row("lengths", [[2.7, 1.9], torch.tensor([2.0, 1.0]), torch.tensor([True, True])], ids=str)
def test_lengths_are_integers_on_every_route(lengths):
    gru, x = ft.GRU(3, 5), torch.randn(4, 2, 3)
    with pytest.raises(TypeError, match="lengths must hold integers"):
        gru(x, lengths=lengths)
    with torch.autocast("cpu"), pytest.raises(TypeError, match="lengths must hold integers"):
        gru(x, lengths=lengths)


def test_autocast_computes_in_float32():
    lstm = ft.LSTM(3, 5)
    x, state = torch.randn(4, 2, 3), (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = lstm(x.bfloat16(), state)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, lstm(x.bfloat16().float(), state)[0], rtol=0, atol=0)


def test_watchers_of_ops_learn_about_the_call():
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    module, x = ft.GRU(3, 5), torch.randn(4, 2, 3)
    wanted = module(x)[0]
    with Watch():
        y, _ = module(x)
    assert "fastrnn.stack.default" in seen
    torch.testing.assert_close(y, wanted, rtol=0, atol=0)
    shape = ft.GRU(3, 5, device="meta")(torch.empty(4, 2, 3, device="meta"))[0].shape
    assert shape == (4, 2, 5)


class Wrapped(nn.Module):
    """A model of one recurrent layer, because torch.jit.script fails for torch's layers alone."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


def _half(module, x):
    return module.bfloat16()(x.bfloat16())[0].float()


def _vmapped(module, x):
    return torch.vmap(lambda one: module(one)[0])(x[None])[0]


def _jvp(module, x):
    return torch.func.jvp(lambda x: module(x)[0], (x,), (torch.ones_like(x),))[1]


def _dual(module, x):
    import torch.autograd.forward_ad as fwd

    with fwd.dual_level():
        return fwd.unpack_dual(module(fwd.make_dual(x, torch.ones_like(x)))[0]).tangent


def _func_grad(module, x):
    return torch.func.grad(lambda x: module(x)[0].sum())(x)


def _penalty(module, x):
    (dx,) = torch.autograd.grad(module(x.requires_grad_())[0].sin().sum(), x, create_graph=True)
    return torch.autograd.grad(dx.square().sum(), x)[0]


def _batched_gradients(module, x):
    y = module(x.requires_grad_())[0]
    return torch.autograd.grad(y, x, torch.eye(y.numel()).view(-1, *y.shape), is_grads_batched=True)[0]


def _traced(module, x):
    return torch.jit.trace(module, (x,), check_trace=False)(x)[0]


def _scripted(module, x):
    return torch.jit.script(Wrapped(module))(x)


@each_row("name", ["RNNCell", "GRUCell", "LSTMCell"])
def test_scripted_cells_are_torchs(name):
    cell, x = getattr(ft, name)(3, 5), torch.randn(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(cell))
    for got, wanted in zip(
        torch.utils._pytree.tree_leaves(scripted(x)), torch.utils._pytree.tree_leaves(cell(x)), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


FALL_BACKS = {
    _half: "dtype bfloat16",
    _vmapped: "a transform of torch.func",
    _jvp: "a transform of torch.func",
    _func_grad: "a transform of torch.func",
    _dual: "forward-mode differentiation",
    _penalty: "second derivatives (create_graph=True)",
    _batched_gradients: "gradients batched by vmap",
    _traced: "torch.jit.trace",
    _scripted: "torch.jit.script",
}


@each_row("call", list(FALL_BACKS), ids=lambda call: call.__name__)
@pytest.mark.parametrize("name", ["LSTM", *(pytest.param(name, marks=pytest.mark.slow) for name in ("RNN", "GRU"))])
def test_unsupported_calls_fall_back_to_torch_with_one_warning(name, call):
    _fallback._reported.clear()
    torch.manual_seed(2)
    theirs = getattr(nn, name)(3, 5)
    torch.manual_seed(2)
    ours = getattr(ft, name)(3, 5)
    x = torch.randn(4, 2, 3)
    with torch.backends.mkldnn.flags(enabled=False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*deprecated.*|.*TracerWarning.*|.*allow_tf32.*")
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            got = call(ours, x)
            call(ours, x)
        wanted = theirs(x)[0] if call is _vmapped else call(theirs, x)  # torch's own layers have no rule for vmap
    said = [str(w.message) for w in caught if "fastrnn" in str(w.message)]
    assert said == [f"fastrnn.torch.{name} runs PyTorch's own operators for {FALL_BACKS[call]}"]
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


def test_transforms_take_lengths_and_packed_sequences():
    gru, x, lengths = ft.GRU(3, 5, 2, bidirectional=True), torch.randn(4, 3, 3), torch.tensor([1, 4, 0])
    weights = dict(gru.named_parameters())

    def loss(weights, one, length):
        return torch.func.functional_call(gru, weights, (one[:, None],), {"lengths": length[None]})[0].square().sum()

    by_example = torch.vmap(torch.func.grad(loss), in_dims=(None, 1, 0))(weights, x, lengths)
    for i, length in enumerate(lengths.tolist()):
        y = gru(x[:, i : i + 1], lengths=[length])[0].square().sum()
        for name, wanted in zip(weights, torch.autograd.grad(y, list(weights.values())), strict=True):
            torch.testing.assert_close(by_example[name][i], wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"lengths must each lie in 0..T = 0..4, got 5"):
        torch.vmap(loss, in_dims=(None, 1, 0))(weights, x, lengths + 1)
    packed = pack_sequence([x[:, 0], x[:2, 1]])
    dx = torch.func.grad(lambda data: gru(packed._replace(data=data))[0].data.square().sum())(packed.data)
    data = packed.data.clone().requires_grad_()
    gru(packed._replace(data=data))[0].data.square().sum().backward()
    torch.testing.assert_close(dx, data.grad, rtol=1e-5, atol=1e-5)


@each_row(
    ("name", "options"), [("LSTM", {"peephole": True}), ("GRU", {"reset_after": False}), ("GRU", {"reset_gate": False})]
)
def test_options_that_torch_lacks_fall_back_to_its_operators(name, options):
    module = getattr(ft, name)(3, 5, 2, bidirectional=True, **options)
    x = torch.randn(4, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tangent = _jvp(module, x)
        with pytest.raises(ValueError, match=r"torch.jit.script has no"):
            torch.jit.script(module)
    eps = 1e-3
    wanted = (module.double()((x + eps).double())[0] - module((x - eps).double())[0]) / (2 * eps)
    torch.testing.assert_close(tangent.double(), wanted, rtol=1e-3, atol=1e-4)
