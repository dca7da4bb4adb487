"""Optimisers compared with torch.optim, clipping compared with torch.nn.utils, and gradients that are not finite."""

import json

import numpy as np
import pytest
from tables import each_row

from fastrnn import LSTM, Embedding, GRUCell, backends, optim
from fastrnn._core.parameter import Parameter
from fastrnn.backends import numpy_training
from fastrnn.backends.orthogonal import orthogonalised

SHAPES = {"weight": (5, 3), "bias": (4,), "scalar": (), "long": (2500,), "weight_hh_l0": (6, 2)}
OPTIONS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.2}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-5}),
    ("RMSprop", {"momentum": 0.7}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.7, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4}),
    ("Adam", {"weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "betas": (0.8, 0.95), "weight_decay": 0.3}),
]
EVERY_DTYPE = each_row("dtype", ["float32", "float64"])


def make_params(dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return [Parameter(name, rng.standard_normal(shape).astype(dtype)) for name, shape in SHAPES.items()]


def set_gradients(params, seed):
    rng = np.random.default_rng(seed)
    for param in params:
        param.gradient()[...] = rng.standard_normal(param.shape)


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


PARAMS = r"^params must be an iterable of parameters or \(name, parameter\) pairs, as from model\.parameters\(\),"


@each_row(
    ("error", "message", "make"),
    [
        (ValueError, "lr must lie in", lambda p: optim.SGD(p, lr=-1)),
        (ValueError, "lr must lie in", lambda p: optim.Adam(p, lr=float("nan"))),
        (TypeError, "lr must be a number", lambda p: optim.Adam(p, lr="fast")),
        (ValueError, "momentum must lie in", lambda p: optim.SGD(p, momentum=-0.1)),
        (ValueError, "nesterov needs a momentum", lambda p: optim.SGD(p, nesterov=True)),
        (ValueError, "alpha must lie in", lambda p: optim.RMSprop(p, alpha=1.5)),
        (ValueError, "eps must lie in", lambda p: optim.Adam(p, eps=-1e-8)),
        (ValueError, r"momentum must lie in \[0, 1\), got 1", lambda p: optim.Muon(p, momentum=1)),
        (ValueError, "ns_steps must be", lambda p: optim.Muon(p, ns_steps=0)),
        (ValueError, "weight_decay must lie in", lambda p: optim.AdamW(p, weight_decay=-1)),
        (ValueError, r"betas must be two numbers in \[0, 1\), got \(0.9, 1.0\)", lambda p: optim.Adam(p, betas=(0.9, 1.0))),
        (ValueError, r"betas must be two .*, got \(0\.9,\)", lambda p: optim.Adam(p, betas=(0.9,))),
        (ValueError, r"betas must be two .*, got \(0\.9, nan\)", lambda p: optim.Adam(p, betas=(0.9, float("nan")))),
        (TypeError, r"betas must be two numbers in \[0, 1\), got 'ab'", lambda p: optim.Adam(p, betas="ab")),
        (TypeError, r"betas must be two numbers in \[0, 1\), got 0\.9", lambda p: optim.AdamW(p, betas=0.9)),
        (ValueError, "lr must be finite, got inf", lambda p: optim.SGD(p, lr=float("inf"))),
        (ValueError, "lr must be finite, got an integer of 16610 bits", lambda p: optim.Muon(p, lr=10**5000)),
        (
            ValueError,
            r"alpha must lie in \[0, 1\], got an integer of 1329 bits",
            lambda p: optim.RMSprop(p, alpha=-(10**400)),
        ),
        (
            TypeError,
            r"Adam needs the hyperparameters \['betas', .*\], got \['lr'\]",
            lambda p: optim.Optimizer.__init__(optim.Adam(p), p, lr=1),
        ),
        (TypeError, "centered must be True or False, got 'yes'", lambda p: optim.RMSprop(p, centered="yes")),
        (ValueError, "eps must be finite, got inf", lambda p: optim.RMSprop(p, eps=float("inf"))),
        (ValueError, "weight_decay must be finite, got inf", lambda p: optim.AdamW(p, weight_decay=float("inf"))),
        (ValueError, "momentum must be finite, got inf", lambda p: optim.SGD(p, momentum=float("inf"))),
        (TypeError, rf"{PARAMS} got Parameter\('weight', shape=\(5, 3\), .*\)$", lambda p: optim.SGD(p[0])),
        (TypeError, rf"{PARAMS} got None$", lambda p: optim.SGD(None)),
        (TypeError, rf"{PARAMS} got float64 array of shape \(5, 3\) at index 1", lambda p: optim.SGD([p[0], p[0].data])),
        (TypeError, rf"{PARAMS} got float64 array of shape \(3,\) at index 0", lambda p: optim.SGD(p[0].data)),
        (TypeError, rf"{PARAMS} got \(Parameter\(.*\), 'weight'\) at index 0", lambda p: optim.SGD([(p[1], "weight")])),
        (TypeError, rf"{PARAMS} got 'weight' at index 0", lambda p: optim.clip_grad_norm({"weight": p[0]}, 1.0)),
        (ValueError, "params must hold at least one", lambda p: optim.Adam([])),
        (ValueError, "params must hold each parameter once", lambda p: optim.Adam([p[0], p[0]])),
    ],
)
def test_bad_arguments(error, message, make):
    with pytest.raises(error, match=message):
        make(make_params())


def test_a_learning_rate_that_is_refused_changes_nothing():
    optimizer = optim.SGD(make_params(), lr=0.5)
    for bad in (float("inf"), float("nan"), -1.0):
        with pytest.raises(ValueError, match="lr must"):
            optimizer.lr = bad
    assert optimizer.lr == 0.5


@each_row(
    ("name", "options", "change", "message"),
    [
        ("SGD", {}, {"momentum": 0.9}, "momentum is 0.0 and cannot become 0.9: make a new SGD"),
        ("SGD", {"momentum": 0.9}, {"momentum": 0}, "momentum is 0.9 and cannot become 0: make a new SGD"),
        ("SGD", {}, {"nesterov": True}, "nesterov needs a momentum above 0"),
        ("RMSprop", {}, {"centered": True}, "centered is False and cannot become True: make a new RMSprop"),
        ("Adam", {}, {"betas": (0.9, 2)}, r"betas must be two numbers in \[0, 1\)"),
        ("Muon", {}, {"ns_steps": 0}, "ns_steps must be at least 1"),
    ],
)
def test_a_hyperparameter_that_cannot_be_set_later_is_refused(name, options, change, message):
    optimizer = getattr(optim, name)(make_params(), **options)
    ((key, value),) = change.items()
    before = getattr(optimizer, key)
    with pytest.raises(ValueError, match=message):
        setattr(optimizer, key, value)
    assert getattr(optimizer, key) == before


def test_hyperparameters_that_are_set_later_hold_from_the_next_step_on():
    params, copies = make_params(), make_params()
    optimizer, expected = optim.SGD(params, momentum=0.9), optim.SGD(copies, momentum=0.5, weight_decay=0.1)
    optimizer.momentum, optimizer.weight_decay = 0.5, 0.1
    for one in (optimizer, expected):
        for _, param in one.named_params:
            param.gradient()[...] = 1.0
        one.step()
        one.step()
    for param, other in zip(params, copies, strict=True):
        np.testing.assert_array_equal(param.data, other.data)


def test_a_gradient_that_does_not_fit_is_refused_and_the_one_before_is_used():
    param = Parameter("weight", np.ones((5, 3)))
    param.grad = np.full((5, 3), 2.0)
    for error, bad in ((ValueError, np.ones((3, 5))), (ValueError, np.ones(15)), (TypeError, np.ones((5, 3), np.float32))):
        with pytest.raises(error, match=r"weight's grad must be a float64 array of shape \(5, 3\), got float.. array"):
            param.grad = bad
    optim.SGD([param], lr=0.25).step()
    np.testing.assert_array_equal(param.data, np.full((5, 3), 0.5))


def with_scalars(state, **changes):
    return {**state, "scalars": {**state["scalars"], **changes}}


@each_row(
    ("name", "options", "changes", "message"),
    [
        ("SGD", {"momentum": 0.9}, {"nesterov": 1}, "nesterov must be True or False, got 1"),
        ("SGD", {"momentum": 0.9}, {"momentum": 0}, r"other arrays than this optimiser; the difference is 0\.momentum_buf"),
        ("SGD", {}, {"momentum": 0.9}, r"other arrays than this optimiser; the difference is 0\.momentum_buffer"),
        ("SGD", {}, {"nesterov": True}, "nesterov needs a momentum above 0"),
        ("RMSprop", {}, {"centered": True}, r"other arrays than this optimiser; the difference is 0\.grad_avg"),
        ("RMSprop", {}, {"alpha": 1.5}, "alpha must lie in"),
        ("Muon", {}, {"momentum": "x"}, "momentum must be a number, got 'x'"),
        ("Muon", {}, {"momentum": 1}, r"momentum must lie in \[0, 1\), got 1"),
        ("Muon", {}, {"ns_steps": 0}, "^the optimiser's state: ns_steps must be at least 1, got 0"),
        ("Muon", {}, {"ns_steps": 10**30}, "ns_steps must be at most 100"),
    ],
)
def test_hyperparameters_of_a_state_are_checked_as_those_of_a_constructor(name, options, changes, message):
    optimizer = getattr(optim, name)(make_params(), **options)
    before = optimizer.state_dict()["scalars"]
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer.load_state_dict(with_scalars(optimizer.state_dict(), lr=9.0, **changes))
    assert optimizer.state_dict()["scalars"] == before


@each_row(
    "state", [None, 1, [], b"", {}, {"name": "Adam"}, {"name": "Adam", "scalars": [1], "arrays": {}}, {"name": np.zeros(2)}]
)
def test_what_is_no_state_is_refused(state):
    with pytest.raises(TypeError, match=r"^the optimiser's state must have a name, scalars and arrays, got "):
        optim.Adam(make_params()).load_state_dict(state)


def test_a_state_that_does_not_fit_changes_nothing():
    params = make_params()
    optimizer = optim.Adam(params, lr=0.5)
    set_gradients(params, seed=1)
    optimizer.step()
    before = optimizer.state_dict()
    good = optim.Adam(make_params(), lr=0.1).state_dict()
    wrong_shape = {**good, "arrays": {**good["arrays"], "0.exp_avg": np.zeros((3, 5))}}
    fewer = optim.Adam(make_params()[:2]).state_dict()
    for state, message in (
        (optim.SGD(make_params()).state_dict(), "the optimiser's state is of SGD, expected Adam"),
        (wrong_shape, r"0.exp_avg must be a float64 array of shape \(5, 3\)"),
        (fewer, "the steps of 5 parameters"),
        ({**good, "arrays": {}}, "other arrays than this optimiser"),
        ({**good, "scalars": {"steps": [0] * 5}}, r"the optimiser's state has \[\], expected \['betas'"),
        (with_scalars(good, eps=-1.0), "eps must lie in"),
        (with_scalars(good, betas=[0.9, 1]), r"betas must be two numbers in \[0, 1\), got \[0.9, 1\]"),
        (with_scalars(good, weight_decay=10**400), "weight_decay must be finite"),
        (with_scalars(good, lr="high"), "lr must be a number, got 'high'"),
        (with_scalars(good, steps=[0, 0, -1, 0, 0]), "steps must be at least 0, got -1"),
        (with_scalars(good, steps=[0, 0, 0.5, 0, 0]), "steps must be an integer, got 0.5"),
        (with_scalars(good, steps=[0, 0, 0, 0, 2**63]), "steps must be at most"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["scalars"] == before["scalars"]
    for name, array in before["arrays"].items():
        np.testing.assert_array_equal(after["arrays"][name], array)


@pytest.mark.usefixtures("training_engine")
class TestClipping:
    @each_row("max_norm", [0.5, 1e6])
    @EVERY_DTYPE
    def test_norm_equals_torch(self, torch, dtype, max_norm):
        params = make_params(dtype)
        set_gradients(params, seed=3)
        theirs = [torch.zeros(param.shape, dtype=getattr(torch, dtype), requires_grad=True) for param in params]
        for tensor, param in zip(theirs, params, strict=True):
            tensor.grad = torch.tensor(param.grad)
        expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm).item()
        norm = optim.clip_grad_norm(params, max_norm)
        tolerance = 1e-12 if dtype == "float64" else 2e-6
        assert isinstance(norm, float)
        np.testing.assert_allclose(norm, expected, rtol=tolerance)
        for tensor, param in zip(theirs, params, strict=True):
            np.testing.assert_allclose(param.grad, tensor.grad.numpy(), rtol=tolerance)

    @EVERY_DTYPE
    def test_value_equals_torch(self, torch, dtype):
        params = make_params(dtype)
        set_gradients(params, seed=3)
        params[1].grad[0] = np.nan
        params[1].grad[1] = np.inf
        expected = [np.clip(param.grad, -0.3, 0.3) for param in params]
        optim.clip_grad_value(params, 0.3)
        for param, array in zip(params, expected, strict=True):
            np.testing.assert_array_equal(param.grad, array)
        assert np.isnan(params[1].grad[0])
        assert params[1].grad[1] == np.array(0.3, dtype)

    @EVERY_DTYPE
    def test_large_float32_gradients_do_not_overflow_the_norm(self, dtype):
        param = Parameter("w", np.zeros(4, dtype))
        param.gradient()[...] = 1e30
        np.testing.assert_allclose(optim.grad_norm([param]), 2e30, rtol=1e-6)

    def test_the_largest_float32_gradients_are_clipped(self):
        param = Parameter("w", np.zeros(4, np.float32))
        param.gradient()[...] = 3e38, -1e38, 1e10, 0
        optim.clip_grad_value([param], 1e39)
        norm = optim.clip_grad_norm([param], 0.5)  # 0.5 / norm is below the normal float32 numbers
        np.testing.assert_allclose(norm, 10**38.5, rtol=1e-7)
        np.testing.assert_allclose(param.grad, np.array([1.5, -0.5, 5e-29, 0]) / 10**0.5, rtol=1e-6)

    @EVERY_DTYPE
    def test_without_gradients(self, dtype):
        params = make_params(dtype)
        assert optim.clip_grad_norm(params, 1.0) == 0
        optim.clip_grad_value(params, 1.0)
        assert all(param.grad is None for param in params)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers_are_found_by_name(value):
    params = make_params()
    set_gradients(params, seed=0)
    named = [(f"model.{param.name}", param) for param in params]
    optim.check_finite(named, step=7)
    params[3].grad[2100] = value
    with pytest.raises(optim.NonFiniteGradient, match=r"the gradient of model\.long is not finite at step 7"):
        optim.check_finite(named, step=7)
    assert not np.isfinite(optim.grad_norm(params))
    assert issubclass(optim.NonFiniteGradient, ArithmeticError)
    optim.check_finite_weights(named, step=7)
    params[0].writable()[1, 1] = value
    with pytest.raises(optim.NonFiniteWeight, match=r"model\.weight is not finite after step 7"):
        optim.check_finite_weights(named, step=7)


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
