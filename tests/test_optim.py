"""Optimisers compared with torch.optim."""

import json

import numpy as np
import pytest
from optimised_params import EVERY_DTYPE, OPTIONS, make_params, set_gradients
from tables import each_row

from fastrnn import LSTM, Embedding, GRUCell, backends, optim
from fastrnn._core.parameter import Parameter
from fastrnn.backends import numpy_training
from fastrnn.backends.orthogonal import orthogonalised


@pytest.mark.usefixtures("training_engine")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_twenty_steps_equal_torch(torch, monkeypatch, dtype, name, options):
    monkeypatch.setattr(numpy_training, "CHUNK", 1000)
    params = make_params(dtype)
    theirs = [torch.tensor(param.data, requires_grad=True) for param in params]
    mine, reference = getattr(optim, name)(params, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(20):
        set_gradients(params, seed=step)
        for tensor, param in zip(theirs, params, strict=True):
            tensor.grad = torch.tensor(param.grad)
        for optimizer, lr in ((mine, mine.lr), (reference, reference.param_groups[0]["lr"])):
            lr *= 0.95  # as a schedule does
            if optimizer is mine:
                mine.lr = lr
            else:
                reference.param_groups[0]["lr"] = lr
        gradients_before = [param.grad.copy() for param in params]
        mine.step()
        reference.step()
        for param, before in zip(params, gradients_before, strict=True):
            np.testing.assert_array_equal(param.grad, before)
    tolerance = {"rtol": 1e-12, "atol": 1e-14} if dtype == "float64" else {"rtol": 2e-5, "atol": 2e-6}
    for tensor, param in zip(theirs, params, strict=True):
        assert param.dtype == dtype
        np.testing.assert_allclose(param.data, tensor.detach().numpy(), **tolerance)


@pytest.mark.usefixtures("training_engine")
@EVERY_DTYPE
@each_row("matrix", ["weight_ih_l0", "weight_hh_l1", "weight_hr_l0_reverse"])
@each_row("shape", [(12, 3), (3, 5), (1, 4)])
@each_row("options", [{}, {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.3, "ns_steps": 3, "betas": (0.8, 0.9)}])
def test_muon_equals_torch_in_full_precision(torch, monkeypatch, dtype, matrix, shape, options):
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor)  # in which torch computes the orthogonal factor
    rng = np.random.default_rng(0)
    params = [Parameter(matrix, rng.standard_normal(shape).astype(dtype)), *make_params(dtype)[:2]]
    theirs = [torch.tensor(param.data, requires_grad=True) for param in params]
    own = {"momentum": 0.95, "ns_steps": 5, **{name: value for name, value in options.items() if name != "betas"}}
    rest = {name: value for name, value in options.items() if name not in ("momentum", "ns_steps")}
    references = [
        torch.optim.Muon(theirs[:1], **own, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(theirs[1:], **{"weight_decay": 0.1, **rest}),
    ]
    mine = optim.Muon(params, **options)
    for step in range(8):
        set_gradients(params, seed=step)
        for tensor, param in zip(theirs, params, strict=True):
            tensor.grad = torch.tensor(param.grad)
        for optimizer in (mine, *references):
            optimizer.step()
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-4}
    for tensor, param in zip(theirs, params, strict=True):
        np.testing.assert_allclose(param.data, tensor.detach().numpy(), **tolerance)


@pytest.mark.usefixtures("training_engine")
@each_row("steps", [1, 3, 5])
@each_row("shape", [(64, 16), (16, 64), (40, 40)])
@each_row("singular", [np.linspace(1, 0.1, 16), np.logspace(0, -6, 16), [1] * 4 + [0] * 12, [1e25] * 16, [1e-25] * 16])
def test_the_orthogonal_factor_moves_only_the_singular_values(steps, shape, singular):
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((n, 16)))[0] for n in shape)
    expected = np.asarray(singular, np.float64) / max(np.linalg.norm(singular), 1e-7)
    for _ in range(steps):
        expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5
    found = orthogonalised(backends.current(), ((U * singular) @ V.T).astype(np.float32), steps)
    np.testing.assert_allclose(found, (U * expected) @ V.T, atol=3e-4)
    many = orthogonalised(backends.current(), ((U * singular) @ V.T).astype(np.float32), 12)
    assert np.linalg.norm(many, 2) < 1.3  # rounding errors do not grow without end


@EVERY_DTYPE
def test_the_orthogonal_factor_has_the_same_bits_on_any_number_of_threads(set_threads, dtype):
    matrix = np.random.default_rng(0).standard_normal((600, 150)).astype(dtype)
    found = []
    for threads in (1, 2, 3):
        set_threads(threads)
        found.append(orthogonalised(backends.load("c"), matrix))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@each_row(
    ("layer", "matrices"),
    [
        (lambda: LSTM(3, 4, 2, bidirectional=True, proj_size=2, peephole=True, rng=0), 12),
        (lambda: GRUCell(3, 4, rng=0), 2),
        (lambda: LSTM(3, 4, rng=0).compress("int8"), 2),
        (lambda: Embedding(3, 4, rng=0), 0),
    ],
)
def test_muon_has_a_rule_for_every_parameter(layer, matrices):
    params = layer().named_parameters()
    state = optim.Muon(params).state_dict()["arrays"]
    names = {name: {key.partition(".")[2] for key in state if key.startswith(f"{i}.")} for i, (name, _) in enumerate(params)}
    found = [name for name, arrays in names.items() if arrays == {"momentum_buffer"}]
    assert len(found) == matrices
    assert all(name.startswith("weight_") and "scales" not in name for name in found)
    assert all(names[name] == {"exp_avg", "exp_avg_sq"} for name in names.keys() - set(found))


def test_an_error_in_the_middle_of_an_update_makes_packed_weights_invalid(monkeypatch):
    layer = LSTM(3, 4, rng=0)
    x = np.ones((2, 1, 3), np.float32)
    layer.forward(x)[1](np.ones((2, 1, 4), np.float32))
    layer(x)
    monkeypatch.setattr("fastrnn._optimisers.muon.orthogonalised", lambda *_: np.ones(7, np.float32))
    with pytest.raises(ValueError, match="broadcast"):
        optim.Muon(layer.parameters(), lr=0.5, weight_decay=1.0).step()
    fresh = LSTM(3, 4)
    fresh.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(layer(x)[0], fresh(x)[0])


def test_muon_gives_a_gradient_of_zeros_and_one_that_is_missing_no_update():
    params = [Parameter(f"weight_hh_l{i}", np.ones((4, 2))) for i in range(2)]
    params[0].gradient()[...] = 0
    optim.Muon(params, weight_decay=0).step()
    for param in params:
        np.testing.assert_array_equal(param.data, 1)


@pytest.mark.usefixtures("training_engine")
@each_row(("name", "options"), [*OPTIONS, ("Muon", {}), ("Muon", {"momentum": 0.8, "ns_steps": 2})])
def test_goes_on_bit_for_bit_from_its_state(name, options):
    params, copies = make_params("float32"), make_params("float32")
    whole, first = getattr(optim, name)(params, **options), getattr(optim, name)(copies, **options)
    for step in range(3):
        for optimizer, its in ((whole, params), (first, copies)):
            set_gradients(its, seed=step)
            optimizer.step()
    whole.lr = first.lr = 0.3
    state = first.state_dict()
    assert state["name"] == name
    state["scalars"] = json.loads(json.dumps(state["scalars"]))
    second = getattr(optim, name)(copies, **{**options, "lr": 7.0})
    second.load_state_dict(state)
    assert second.lr == 0.3
    for step in range(3, 6):
        for optimizer, its in ((whole, params), (second, copies)):
            set_gradients(its, seed=step)
            optimizer.step()
    for param, copy in zip(params, copies, strict=True):
        np.testing.assert_array_equal(param.data, copy.data)


@pytest.mark.usefixtures("training_engine")
def test_a_parameter_without_gradient_is_left_alone(torch):
    params = make_params()
    theirs = [torch.tensor(param.data, requires_grad=True) for param in params]
    mine, reference = optim.AdamW(params), torch.optim.AdamW(theirs)
    for step in range(4):
        rng = np.random.default_rng(step)
        for i, (param, tensor) in enumerate(zip(params, theirs, strict=True)):
            present = i != 1 or step >= 2  # the second parameter joins late: its bias correction starts then
            param.grad = rng.standard_normal(param.shape) if present else None
            tensor.grad = torch.tensor(param.grad) if present else None
        mine.step()
        reference.step()
    for param, tensor in zip(params, theirs, strict=True):
        np.testing.assert_allclose(param.data, tensor.detach().numpy(), rtol=1e-12)


def test_step_tells_layers_that_the_weights_changed_and_zero_grad_keeps_memory():
    params = make_params()
    optimizer = optim.SGD(params, lr=0.1)
    optimizer.zero_grad()
    assert all(param.grad is None for param in params)
    set_gradients(params, seed=0)
    versions, memory = [param.version for param in params], [param.grad for param in params]
    optimizer.step()
    assert all(param.version > version for param, version in zip(params, versions, strict=True))
    optimizer.zero_grad()
    for param, array in zip(params, memory, strict=True):
        assert param.grad is array
        np.testing.assert_array_equal(array, 0)


@pytest.mark.usefixtures("training_engine")
def test_centered_rmsprop_survives_a_constant_gradient():
    param = Parameter("w", np.ones(1000, np.float32))
    optimizer = optim.RMSprop([param], centered=True)
    for _ in range(200):
        param.gradient()[...] = np.linspace(0.1, 3, 1000)
        optimizer.step()
    assert np.isfinite(param.data).all()


@each_row(("name", "options"), [("SGD", {"momentum": 0.9}), ("RMSprop", {}), ("Adam", {}), ("AdamW", {})])
def test_a_step_makes_no_page_faults(name, options):
    resource = pytest.importorskip("resource")
    params = [Parameter("w", np.ones((1024, 512), np.float32))]
    optimizer = getattr(optim, name)(params, **options)
    params[0].gradient().fill(0.1)

    def faults_of_a_step():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        optim.clip_grad_norm(params, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert min(faults_of_a_step() for _ in range(5)) <= 2  # 2 MiB of new memory would cause 512 faults
