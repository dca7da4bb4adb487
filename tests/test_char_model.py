"""The character model: tied weights, gradients, states, dropout, and bad arguments."""

import copy

import numpy as np
import pytest
from differences import parameter_differences

from fastrnn import optim
from fastrnn.losses import softmax_cross_entropy
from fastrnn.text._training.batching import IGNORED
from fastrnn.text.char_model import CharModel
from fastrnn.text.language_model import LanguageModel
from fastrnn.text.options import make_options
from fastrnn.text.run_folder import make_model, parameter_count
from fastrnn.text.vocabulary import Vocabulary

MODELS = ("rnn", "gru", "lstm")


def _ids(rng, T, B, V):
    ids = rng.integers(0, V, (T, B))
    ids[0] = -1
    return ids


def test_tied_weights_need_equal_sizes():
    for embedding in (0, 5):
        with pytest.raises(ValueError, match=f"tied must be False unless .* got True with embedding={embedding}, hidden=6"):
            CharModel(5, hidden=6, embedding=embedding, tied=True)


def test_a_tied_model_is_one_with_two_equal_matrices():
    tied = CharModel(5, hidden=6, embedding=6, tied=True, rng=1)
    free = CharModel(5, hidden=6, embedding=6, rng=2)
    free.load_state_dict(tied.state_dict())
    for twin in (copy.deepcopy(tied), free):
        ids = np.random.default_rng(0).integers(0, 5, (7, 2))
        np.testing.assert_array_equal(twin(ids)[0], tied(ids)[0])
        samples = [LanguageModel(model, Vocabulary("\nabcd"), "lines").sample(4, 9, seed=3) for model in (twin, tied)]
        assert samples[0] == samples[1]
    learner = copy.deepcopy(tied)
    learner.learn(ids, ids)
    optim.SGD(learner.parameters(), lr=1).step()
    assert learner.output.weight is learner.embedding.weight
    assert (learner.output.weight.data != tied.output.weight.data).any()


def test_a_second_backward_is_refused_before_it_adds_anything():
    net = CharModel(5, hidden=6, dropout=0.5, embedding=3, rng=1)
    (logits, _), backward = net.forward(np.zeros((4, 2), int))
    backward(np.ones_like(logits))
    before = {name: p.grad.copy() for name, p in net.named_parameters()}
    with pytest.raises(RuntimeError, match="run forward again for another backward"):
        backward(np.ones_like(logits))
    for name, parameter in net.named_parameters():
        np.testing.assert_array_equal(parameter.grad, before[name])


@pytest.mark.parametrize(("embedding", "tied"), [(0, False), (3, False), (6, True)])
@pytest.mark.parametrize("model", MODELS)
def test_gradients_by_finite_differences(model, embedding, tied):
    rng = np.random.default_rng(0)
    V, T, B = 5, 4, 3
    net = CharModel(V, model, layers=2, hidden=6, embedding=embedding, tied=tied, dtype="float64", rng=1)
    assert ("output.weight" in dict(net.named_parameters())) == (not tied)
    ids, targets, lengths = _ids(rng, T, B, V), rng.integers(0, V, (T, B)), np.array([4, 2, 3])
    targets[np.arange(T)[:, None] >= lengths] = IGNORED

    def loss():
        return softmax_cross_entropy(net(ids, None, lengths)[0], targets)[0]

    (logits, _), backward = net.forward(ids, None, lengths)
    backward(softmax_cross_entropy(logits, targets)[1])
    for name, parameter in net.named_parameters():
        wanted = parameter_differences(loss, parameter, step=1e-5)
        np.testing.assert_allclose(parameter.grad, wanted, rtol=0, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_in_chunks_is_the_stream_at_once(model):
    rng = np.random.default_rng(0)
    net = CharModel(7, model, layers=2, hidden=8, embedding=4, dtype="float64", rng=1)
    ids = _ids(rng, 9, 2, 7)
    whole, last = net(ids)
    parts, state = [], None
    for start in range(0, 9, 4):
        logits, state = net(ids[start : start + 4], state)
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-13)
    np.testing.assert_allclose(np.asarray(state), np.asarray(last), rtol=0, atol=1e-13)


def test_dropout_is_of_training_only():
    net = CharModel(5, layers=2, hidden=16, dropout=0.5, rng=1)
    ids = _ids(np.random.default_rng(0), 4, 2, 5)
    (one, _), _ = net.forward(ids)
    (two, _), _ = net.forward(ids)
    assert abs(one - two).max() > 1e-3
    assert (net(ids)[0] == net(ids)[0]).all()


def test_the_forget_gate_starts_open():
    net = CharModel(5, "lstm", layers=2, hidden=3, rng=1)
    assert net.recurrent.bias_ih_l1.data[3:6].tolist() == [1, 1, 1]


def test_bad_arguments():
    for options, message in [
        ({"model": "gpt"}, "model must be one of 'rnn', 'gru', 'lstm', got 'gpt'"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"hidden": 0}, "hidden must be at least 1"),
        ({"embedding": -1}, "embedding must be at least 0"),
        ({"vocabulary_size": 0}, "vocabulary_size must be at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            CharModel(**{"vocabulary_size": 5, **options})


def test_a_parameter_count_is_that_of_the_model():
    for options in (
        {"model": "lstm"},
        {"model": "gru", "embedding": 0, "layers": 1},
        {"model": "rnn", "layers": 4},
        {"embedding": 10, "tied": True},
    ):
        made = make_options("lines", **{"hidden": 10, "embedding": 3, **options})
        model = make_model(made, Vocabulary("\nabcd"))
        assert parameter_count(made, 5) == sum(parameter.size for parameter in model.parameters())
