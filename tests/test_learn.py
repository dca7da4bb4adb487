"""A language model's training step in one call gives the bits of the layers one by one on every engine; its errors."""

import copy
from functools import partial

import numpy as np
import pytest
from at_once import at_once
from tables import each_row

import fastrnn
from fastrnn import backends, optim
from fastrnn.losses import softmax_cross_entropy
from fastrnn.text._training.batching import IGNORED
from fastrnn.text.char_model import CharModel

MODELS = ("rnn", "gru", "lstm")
V, T = 7, 6


def _model(model, layers=1, hidden=10, **options):
    return CharModel(V, model, layers, hidden, rng=1, **options)


def _batch(B=3, lengths=True, seed=0):
    rng = np.random.default_rng(seed)
    ids, targets = rng.integers(-1, V, (T, B)), rng.integers(0, V, (T, B))
    lengths = rng.integers(1, T + 1, B) if lengths else None
    if lengths is not None:
        targets[np.arange(T)[:, None] >= lengths] = IGNORED
    return ids, targets, lengths


def _states(net, B, seed=5):
    rng, recurrent = np.random.default_rng(seed), net.recurrent
    shape = recurrent.num_layers, B, recurrent.hidden_size
    h, c = (rng.standard_normal(shape).astype(recurrent.dtype) for _ in range(2))
    return (h, c) if net.model == "lstm" else h


def _one_by_one(net, ids, targets, state, lengths):
    (logits, state), backward = net.forward(ids, state, lengths)
    loss, dlogits = softmax_cross_entropy(logits, targets)
    backward(dlogits)
    return loss, state


def _gradients(net):
    return {name: parameter.grad.copy() for name, parameter in net.named_parameters()}


def _assert_same(got, wanted):
    """Assert that losses, states and gradients are equal bit for bit."""
    (loss, state), gradients = got
    (wanted_loss, wanted_state), wanted_gradients = wanted
    assert loss == wanted_loss
    for half, wanted_half in zip(np.atleast_1d(state), np.atleast_1d(wanted_state), strict=True):
        np.testing.assert_array_equal(half, wanted_half, strict=True)
    assert gradients.keys() == wanted_gradients.keys()
    for name in gradients:
        np.testing.assert_array_equal(gradients[name], wanted_gradients[name], err_msg=name, strict=True)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_the_bits_of_the_layers_one_by_one(engine, model, layers, dtype, lengths):
    ids, targets, lengths = _batch(lengths=lengths)
    results = []
    for step in (CharModel.learn, _one_by_one):
        net = _model(model, layers, dtype=dtype, backend=engine)
        state = _states(net, ids.shape[1])
        with backends.use_backend(engine):  # for the loss, which has no backend of its own
            first = step(net, ids, targets, None, lengths)
            second = step(net, ids, targets, state, lengths)  # adds to the gradients of the first
        results.append([(first, _gradients(net)), (second, _gradients(net))])
    for got, wanted in zip(*results, strict=True):
        _assert_same(got, wanted)


@each_row("model", MODELS)
def test_the_same_bits_on_any_number_of_threads(isa, set_threads, model):
    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, V, (20, 16)), rng.integers(0, V, (20, 16))
    wanted = None
    for threads in (1, 2, 3):
        set_threads(threads)
        net = _model(model, 2, 96)
        got = net.learn(ids, targets), _gradients(net)
        wanted = wanted or got
        _assert_same(got, wanted)


def test_a_single_sequence_without_its_batch_axis():
    ids, targets, _ = _batch(1, lengths=False)
    with_axis, without = _model("lstm"), _model("lstm")
    loss, (h, c) = with_axis.learn(ids, targets)
    flat_loss, flat_state = without.learn(ids[:, 0], targets[:, 0])
    _assert_same(((flat_loss, flat_state), _gradients(without)), ((loss, (h[:, 0], c[:, 0])), _gradients(with_axis)))


@pytest.mark.parametrize("options", [{"embedding": 4}, {"dropout": 0.5}, {"embedding": 4, "dropout": 0.3}])
def test_embedding_and_dropout_go_by_layers(options):
    ids, targets, lengths = _batch()
    one, other = _model("gru", 2, **options), _model("gru", 2, **options)
    got = one.learn(ids, targets, None, lengths), _gradients(one)
    _assert_same(got, (_one_by_one(other, ids, targets, None, lengths), _gradients(other)))


def test_changes_between_two_steps_are_used():
    ids, targets, _ = _batch()
    net, fresh = _model("gru"), _model("gru")
    net.learn(ids, targets)
    for parameter in net.parameters():
        parameter.grad = np.ones_like(parameter.data)  # other arrays
    state = _model("gru").state_dict()
    state["output.bias"] = np.arange(V, dtype=np.float32)
    for each in (net, fresh):
        each.load_state_dict(state)
    for parameter in fresh.parameters():
        parameter.gradient().fill(1)
    _assert_same((net.learn(ids, targets), _gradients(net)), (fresh.learn(ids, targets), _gradients(fresh)))
    net.output.bias = fastrnn.Parameter("bias", np.zeros(V, np.float32))
    net.learn(ids, targets)
    assert net.output.bias.grad.any()


def test_another_backend_in_between():
    ids, targets, _ = _batch()
    net = _model("lstm", dtype="float64")
    losses = [net.learn(ids, targets)[0]]
    with fastrnn.use_backend("reference"):
        losses.append(net.learn(ids, targets)[0])
    losses.append(net.learn(ids, targets)[0])
    assert losses[0] == losses[2]
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)


def test_a_copy_learns_for_itself():
    ids, targets, _ = _batch()
    net = _model("rnn")
    parameters = list(net.parameters())
    net.learn(ids, targets)
    optim.clip_grad_value(parameters, 1.0)
    twin = copy.deepcopy(net)
    before = _gradients(net)
    twin.learn(ids, targets)
    optim.clip_grad_norm(twin.parameters(), 1e-3)
    for name, parameter in net.named_parameters():
        np.testing.assert_array_equal(parameter.grad, before[name])
    assert optim.grad_norm(twin.parameters()) < 1.1e-3 < optim.grad_norm(parameters)


@each_row(
    ("change", "error", "words"),
    [
        ({"targets": np.full((T, 3), V)}, ValueError, f"targets must hold class ids in 0..{V - 1}"),
        ({"targets": np.zeros((T, 2), int)}, ValueError, "targets must have the shape"),
        ({"targets": np.zeros((T, 3))}, TypeError, "targets must hold integer class ids"),
        ({"ids": np.full((T, 3), V)}, ValueError, f"x must hold token ids in -1..{V - 1}"),
        ({"ids": np.zeros((T, 3, V), np.float32)}, TypeError, "ids must be an array of integer token ids"),
        ({"lengths": np.array([1, 2, T + 1])}, ValueError, "lengths"),
        ({"state": np.zeros((1, 3, 11), np.float32)}, ValueError, "state"),
    ],
)
def test_bad_input_changes_nothing(change, error, words):
    ids, targets, _ = _batch()
    net = _model("gru")
    net.learn(ids, targets)
    before = _gradients(net)
    with pytest.raises(error, match=words):
        net.learn(**{"ids": ids, "targets": np.maximum(targets, 0), **change})
    for name, parameter in net.named_parameters():
        np.testing.assert_array_equal(parameter.grad, before[name])


def test_clipping_sees_other_gradients_and_other_lists():
    a, b = (fastrnn.Parameter(name, np.zeros(3, np.float32)) for name in "ab")
    a.grad, b.grad = np.full(3, 3, np.float32), np.full(3, 4, np.float32)
    assert optim.grad_norm([a]) == pytest.approx(3 * 3**0.5)
    assert optim.grad_norm([a, b]) == pytest.approx(5 * 3**0.5)
    assert optim.grad_norm([("a", a), ("b", b)]) == pytest.approx(5 * 3**0.5)
    a.grad = np.zeros(3, np.float32)
    assert optim.grad_norm([a, b]) == pytest.approx(4 * 3**0.5)
    b.grad = None
    assert optim.grad_norm([a, b]) == 0
    with pytest.raises(ValueError, match="once"):
        optim.grad_norm([a, a])


def test_another_layer_in_an_old_ones_place():
    ids, targets, _ = _batch()
    net, twin = _model("rnn"), _model("rnn")
    net.learn(ids, targets)
    for each in (net, twin):
        each.output = fastrnn.Linear(10, V, rng=8)
        each.recurrent = fastrnn.RNN(V, 10, rng=9)
    got, wanted = net.learn(ids, targets), _one_by_one(twin, ids, targets, None, None)
    _assert_same((got, _gradients(net)), (wanted, _gradients(twin)))
    bias = net.output.bias
    for each in (net, twin):
        each.output.bias = None
    assert net.learn(ids, targets)[0] == _one_by_one(twin, ids, targets, None, None)[0]
    for each in (net, twin):
        each.output.bias = fastrnn.Parameter("bias", bias.data + 1)
    assert net.learn(ids, targets)[0] == _one_by_one(twin, ids, targets, None, None)[0]


def test_threads_that_share_a_model_lose_no_gradient():
    ids, targets, _ = _batch()
    alone = _model("gru", dtype="float64")
    for _ in range(3):
        alone.learn(ids, targets)
    for _ in range(20):
        net = _model("gru", dtype="float64")
        at_once([partial(net.learn, ids, targets)] * 3)
        for mine, its in zip(net.parameters(), alone.parameters(), strict=True):
            np.testing.assert_allclose(mine.grad, its.grad, rtol=1e-12, atol=1e-15)


def test_clipping_refuses_what_is_not_a_parameter():
    a = fastrnn.Parameter("a", np.zeros(3, np.float32))
    a.grad = np.ones(3, np.float32)
    optim.grad_norm([a, a][:1])
    with pytest.raises(TypeError, match="params must be an iterable of parameters"):
        optim.grad_norm([a, np.zeros(3)])
    optim.grad_norm([a])
    with pytest.raises(TypeError, match="params must be an iterable of parameters"):
        optim.grad_norm([a, np.zeros(3)])
