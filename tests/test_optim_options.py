"""Options and states of optimisers: when they hold, and which are refused."""

import numpy as np
import pytest
from optimised_params import make_params, set_gradients
from tables import each_row

from fastrnn import optim
from fastrnn._core.parameter import Parameter

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
