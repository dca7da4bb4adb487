"""Texts that a character model samples and scores."""

import functools

import numpy as np
import pytest

from fastrnn.losses import softmax_cross_entropy
from fastrnn.sampling import Choice
from fastrnn.text.char_model import CharModel
from fastrnn.text.language_model import LanguageModel
from fastrnn.text.training import sample_writer
from fastrnn.text.vocabulary import UnknownCharacters, Vocabulary
from fastrnn.training import Info
from fastrnn.training._run.samples import cut_samples


@functools.cache
def _language_model(model="lstm", embedding=0, reading="lines"):
    vocabulary = Vocabulary("\nabcdef", unk=True)
    net = CharModel(len(vocabulary), model, layers=2, hidden=12, embedding=embedding, rng=5)
    for _, parameter in net.named_parameters():
        parameter.assign(parameter.data * 3)  # less even distributions
    return LanguageModel(net, vocabulary, reading)


@pytest.mark.parametrize("embedding", [0, 3])
@pytest.mark.parametrize("model", ["rnn", "gru", "lstm"])
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
