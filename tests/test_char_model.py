"""The character model: gradients, sampling, and training compared with PyTorch's."""

import copy
import functools

import numpy as np
import pytest
from differences import parameter_differences

from fastrnn import corpora, optim
from fastrnn.losses import softmax_cross_entropy
from fastrnn.sampling import Choice
from fastrnn.text._training.batching import IGNORED, LineBatches
from fastrnn.text._training.evaluation import LineEvaluation
from fastrnn.text.char_model import CharModel
from fastrnn.text.language_model import LanguageModel
from fastrnn.text.options import make_options
from fastrnn.text.run_folder import make_model, parameter_count
from fastrnn.text.training import char_task, make_trainer, sample_writer
from fastrnn.text.vocabulary import UnknownCharacters, Vocabulary
from fastrnn.training import Info
from fastrnn.training._run.samples import cut_samples

MODELS = ("rnn", "gru", "lstm")
NAMES = "\n".join(corpora.load("dinosaurs").splitlines()[::8])
PROSE = " and ".join(NAMES.split()) * 2


class Losses:
    """A callback that records the training loss of every step."""

    def __init__(self):
        self.values = []

    def on_step(self, info):
        self.values.append(info.train_loss)


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


# Forward and backward


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


# Compared with PyTorch


def _torch_model(net, embedding):
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            V, H = net.output.weight.shape
            self.embedding = torch.nn.Embedding(V, embedding) if embedding else None
            kind = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[net.model]
            self.recurrent = kind(embedding or V, H, net.recurrent.num_layers)
            self.output = torch.nn.Linear(H, V)

        def forward(self, ids, state):
            zero = (ids < 0)[..., None]
            if self.embedding is None:
                x = torch.nn.functional.one_hot(ids.clamp(min=0), self.output.out_features).float()
            else:
                x = self.embedding(ids.clamp(min=0))
            y, state = self.recurrent(x.masked_fill(zero, 0), state)
            return self.output(y), state

    model = Model()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in net.state_dict().items()})
    return model


def _torch_losses(net, embedding, batches, steps, lr, clip_norm):
    import torch

    model = _torch_model(net, embedding)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses, state = [], None
    for _ in range(steps):
        batch = batches.next()
        if batch.first:
            state = None
        elif isinstance(state, tuple):
            state = tuple(part.detach() for part in state)
        else:
            state = state.detach()
        optimizer.zero_grad()
        logits, state = model(torch.from_numpy(batch.inputs), state)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("reading", "model", "embedding"),
    [
        ("lines", "lstm", 0),
        *(pytest.param(*row, marks=pytest.mark.slow) for row in (("stream", "lstm", 0), ("stream", "gru", 8))),
    ],
)
def test_50_steps_have_pytorchs_losses(reading, model, embedding):
    pytest.importorskip("torch")
    options = make_options(
        reading, model=model, embedding=embedding, layers=2, hidden=48, batch=8, seq_length=32, dropout=0.0, lr=3e-3,
        optimizer="adam", schedule="constant", warmup=0, clip_norm=0.4, max_steps=50, eval_every=50,
    )  # fmt: skip
    content = NAMES if reading == "lines" else PROSE
    losses = Losses()
    trainer, language_model, _ = make_trainer(content, options)
    trainer.callbacks = (losses,)
    again = make_trainer(content, options)[0]
    reference = _torch_losses(language_model.model, embedding, again.task.batches, 50, options.lr, options.clip_norm)
    trainer.run()
    assert len(losses.values) == 50
    assert losses.values[-1] < losses.values[0] - 0.4
    np.testing.assert_allclose(losses.values, reference, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "reading", "optimizer", "lr", "weight_decay"),
    [
        ("chars", "lines", None, 3e-3, 0.01),
        ("chars", "stream", None, 8e-3, 0.1),
        ("chars", "stream", "adamw", 3e-3, 0.01),
        ("words", "stream", "muon", 8e-3, 0.3),
        ("words", "stream", "adamw", 3e-3, 0.01),
    ],
)
@pytest.mark.parametrize("given", [{}, {"lr": 0.02}, {"weight_decay": 0.05}])
def test_rates_are_those_of_the_optimiser_unless_given(kind, reading, optimizer, lr, weight_decay, given):
    options = make_options(reading, kind, **({"optimizer": optimizer} if optimizer else {}), **given)
    assert options.optimizer == (optimizer or {"lines": "adamw", "stream": "muon"}[reading])
    assert (options.lr, options.weight_decay) == (given.get("lr", lr), given.get("weight_decay", weight_decay))


def _task(reading, **options):
    defaults = {"hidden": 16, "batch": 4, "seq_length": 16, "max_steps": 10, "eval_every": 5, "layers": 2}
    trainer, model, _ = make_trainer(
        NAMES if reading == "lines" else PROSE, make_options(reading, **{**defaults, **options})
    )
    return trainer, model


@pytest.mark.parametrize("reading", ["lines", "stream"])
def test_a_task_goes_on_from_its_state_bit_for_bit(reading):
    (one, _), (other, _) = _task(reading, dropout=0.3), _task(reading, dropout=0.3)
    for _ in range(3):
        one.task.train_step()
    state = one.task.state_dict()
    state = {**state, "arrays": {name: array.copy() for name, array in state["arrays"].items()}}
    other.task.load_state_dict(state)
    for _ in range(4):
        assert one.task.train_step() == other.task.train_step()


def test_evaluation_leaves_training_alone():
    (one, _), (other, _) = _task("stream", dropout=0.3), _task("stream", dropout=0.3)
    for _ in range(6):
        other.task.evaluate()
        assert one.task.train_step() == other.task.train_step()


def test_evaluation_of_lines_is_the_score_of_each():
    _, model = _task("lines")
    names = ["Zuul", "Yi", "Abelisaurus"]
    encoded = [model.vocabulary.encode(name) for name in names]
    batches = LineBatches(encoded, 2, model.eos)
    evaluation = LineEvaluation(encoded, 2, model.eos)
    loss = char_task(model.model, batches, evaluation, np.random.default_rng(0)).evaluate()
    scores = [model.score(name) for name in names]
    total = sum(score.log_probability for score in scores)
    assert loss == pytest.approx(-total / sum(len(score.tokens) for score in scores), abs=1e-6)


def test_evaluation_of_a_stream_is_the_score_of_the_whole():
    trainer, model = _task("stream", batch=1, val_fraction=0.1)
    held_out = PROSE[-round(len(PROSE) * 0.1) :]
    score = model.score(held_out)
    assert trainer.task.evaluate() == pytest.approx(-score.log_probability / len(held_out), abs=1e-6)
    # Each of four parallel parts starts without its context, so the loss is only nearly the same.
    beside, _ = _task("stream", batch=4, val_fraction=0.1)
    assert beside.task.evaluate() == pytest.approx(trainer.task.evaluate(), abs=1e-4)


def test_splits_hold_out_the_end_of_a_stream_and_random_lines():
    data = make_trainer(PROSE, make_options("stream", hidden=8, layers=1, val_fraction=0.25))[2]
    assert data.sizes == (len(PROSE) - round(len(PROSE) / 4), round(len(PROSE) / 4))
    names = NAMES.split()
    options = make_options("lines", hidden=8, layers=1, val_fraction=0.25)
    data, same = (make_trainer(NAMES, options)[2] for _ in range(2))
    assert data.sizes == (len(names) - round(len(names) / 4), round(len(names) / 4))
    assert list(data.train_items) == list(same.train_items) == sorted(data.train_items)
    held = [name for name in names if name not in data.train_items]
    assert held != names[-len(held) :]
    other = make_trainer(NAMES, make_options("lines", hidden=8, layers=1, val_fraction=0.25, seed=1))[2]
    assert list(other.train_items) != list(data.train_items)


# Sampling


@functools.cache
def _language_model(model="lstm", embedding=0, reading="lines"):
    vocabulary = Vocabulary("\nabcdef", unk=True)
    net = CharModel(len(vocabulary), model, layers=2, hidden=12, embedding=embedding, rng=5)
    for _, parameter in net.named_parameters():
        parameter.assign(parameter.data * 3)  # less even distributions
    return LanguageModel(net, vocabulary, reading)


@pytest.mark.parametrize("embedding", [0, 3])
@pytest.mark.parametrize("model", MODELS)
def test_greedy_tokens_are_the_likeliest_of_teacher_forcing(model, embedding):
    net = _language_model(model, embedding).model
    prime = np.array([[-1, -1], [2, 4], [3, 5]])
    answer = net.generate(prime, np.zeros((12, 2)), choice=Choice(greedy=True))
    ids = np.concatenate([prime, answer.tokens])
    logits, _ = net(ids)
    assert (logits.argmax(axis=2)[2:-1] == answer.tokens).all()


def test_going_on_from_an_answer_is_the_same_as_one_request():
    net = _language_model().model
    uniforms = np.random.default_rng(0).random((30, 3))
    prime = np.full((1, 3), -1)
    whole = net.generate(prime, uniforms)
    first = net.generate(prime, uniforms[:11])
    second = net.generate(first.tokens[-1:], uniforms[11:], (first.h_n, first.c_n))
    assert (np.concatenate([first.tokens, second.tokens]) == whole.tokens).all()
    for mine, its in ((second.h_n, whole.h_n), (second.c_n, whole.c_n)):
        np.testing.assert_allclose(mine, its, rtol=0, atol=1e-6)


def test_samples_have_the_models_distribution():
    model = _language_model()
    n = 4000
    logits, _ = model.model(np.array([[-1]]))
    p = np.exp(logits[0, 0].astype(np.float64))
    p[model.vocabulary.unk_id] = 0
    p /= p.sum()
    samples = model.sample(n, 1, seed=2)
    ids = [0 if sample.ended else int(model.vocabulary.encode(sample.text)[0]) for sample in samples]
    counts = np.bincount(ids, minlength=len(p))
    assert counts[model.vocabulary.unk_id] == 0
    kept = p > 0
    assert ((counts[kept] - n * p[kept]) ** 2 / (n * p[kept])).sum() < 22.5  # 99.9 % with 6 degrees of freedom


@pytest.mark.parametrize("reading", ["lines", "stream"])
def test_long_samples_are_the_same_in_parts(monkeypatch, reading):
    model = _language_model(reading=reading)
    whole = model.sample(5, 100, seed=3)
    monkeypatch.setattr("fastrnn.text.language_model.CHUNK", 7)
    monkeypatch.setattr("fastrnn.text.language_model.SIDE_BY_SIDE", 2)
    assert model.sample(5, 100, seed=3) == whole
    assert max(len(sample.text) for sample in whole) > 7


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


def test_samples_follow_from_their_seed_and_their_number():
    model = _language_model()
    many = model.sample(70, 40, seed=3)
    assert model.sample(70, 40, seed=3) == many
    assert model.sample(5, 40, seed=3) == many[:5]
    assert model.sample(5, 40, seed=4) != many[:5]
    assert model.sample(5, 40) != model.sample(5, 40)


def test_lines_end_and_begin_with_the_prefix():
    model = _language_model()
    samples = model.sample(100, 30, prefix="fab", seed=1)
    assert all(sample.text.startswith("fab") and "\n" not in sample.text for sample in samples)
    assert all(len(sample.text) == 33 or sample.ended for sample in samples)
    assert any(sample.ended for sample in samples)
    with pytest.raises(ValueError, match="prefix must be without line breaks"):
        model.sample(1, prefix="a\n")


def test_a_stream_in_pieces_is_one_sample():
    model = _language_model(reading="stream")
    (sample,) = model.sample(1, 600, prefix="abc", seed=7)
    pieces = list(model.stream(600, prefix="abc", seed=7))
    assert len(pieces) == 3
    assert "abc" + "".join(pieces) == sample.text
    assert len(sample.text) == 603
    assert not sample.ended
    lines = _language_model()
    for seed in range(20):
        assert "".join(lines.stream(600, seed=seed)) == lines.sample(1, 600, seed=seed)[0].text


def test_a_bad_prefix_is_found_before_the_first_piece():
    model = LanguageModel(CharModel(2, hidden=2, layers=1), Vocabulary("\na"), "lines")
    with pytest.raises(UnknownCharacters, match="'x'"):
        model.stream(prefix="x")


def test_score_by_value():
    model = _language_model()
    ids = [-1, *model.vocabulary.encode("abc").tolist()]
    logits, _ = model.model(np.array(ids)[:, None])
    p = np.exp(logits[:, 0].astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    expected = np.log([p[0, 1], p[1, 2], p[2, 3], p[3, 0]])
    score = model.score("abc")
    assert score.tokens == ("a", "b", "c", "\n")
    np.testing.assert_allclose(score.log_probabilities, expected, rtol=0, atol=1e-6)
    assert score.log_probability == pytest.approx(expected.sum(), abs=1e-6)
    assert score.bits_per_token == pytest.approx(-expected.mean() / np.log(2), abs=1e-6)
    assert score.perplexity == pytest.approx(np.exp(-expected.mean()), abs=1e-5)


def test_probabilities_of_all_texts_sum_to_one():
    model = _language_model()
    characters = "abcdef?"  # the last is <UNK>
    short = sum(np.exp(model.score(text).log_probability) for text in ["", *characters])
    longer = sum(np.exp(model.score(a + b).log_probabilities[:2].sum()) for a in characters for b in characters)
    assert short + longer == pytest.approx(1, abs=1e-6)


def test_long_scores_are_computed_in_parts():
    model = _language_model(reading="stream")
    text = "".join(np.random.default_rng(0).choice(list("abcdef"), 700))
    ids = model.vocabulary.encode(text).astype(np.int64)
    logits, _ = model.model(np.append(-1, ids[:-1])[:, None])
    loss, _ = softmax_cross_entropy(logits[:, 0], ids, reduction="sum")
    score = model.score(text)
    assert len(score.tokens) == 700
    assert score.log_probability == pytest.approx(-loss, rel=1e-6)
    with pytest.raises(ValueError, match="at least one character"):
        model.score("")


# Samples while training


def _info(step):
    return Info(
        step=step, seconds=1.0, train_loss=2.0, val_loss=1.5, tokens=1, tokens_per_second=1.0, lr=0.1, grad_norm=1.0,
        best_val_loss=None, best_step=None,
    )  # fmt: skip


def _evaluated(writer, step):
    """Call a sample writer as the training loop does at an evaluation."""
    writer.on_metrics(_info(step))
    writer.on_eval(_info(step))


def test_samples_are_written_and_cut_back(tmp_path):
    path = tmp_path / "samples.txt"
    shown = []
    writer = sample_writer(_language_model(), path, 0, show=shown.append)
    _evaluated(writer, 10)
    first = path.read_text()
    _evaluated(writer, 20)
    both = path.read_text()
    assert first.startswith("--- step 10, validation loss 1.5000 nats per character\n")
    assert both.startswith(first)
    assert len(shown) == 2
    cut_samples(path, 20)
    assert path.read_text() == both
    cut_samples(path, 19)
    assert path.read_text() == first
    for _ in range(2):  # an evaluation that is made again replaces its samples
        _evaluated(writer, 20)
        assert path.read_text() == both
    cut_samples(tmp_path / "missing.txt", 1)
