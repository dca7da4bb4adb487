"""Words by value: tokens, their vocabulary, the unigram and the bigram model."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tables import each_row

from fastrnn.sampling import Choice
from fastrnn.text._training.batching import StreamBatches, stream_evaluation
from fastrnn.text._training.novelty import copied_share
from fastrnn.text.char_model import CharModel
from fastrnn.text.language_model import LanguageModel
from fastrnn.text.options import WordOptions, make_options
from fastrnn.text.run_folder import make_model
from fastrnn.text.tokens import EOS, UNK, Detokenizer, tokenize
from fastrnn.text.training import make_trainer
from fastrnn.text.vocabulary import EmptyVocabulary
from fastrnn.text.word_vocabulary import WordVocabulary
from fastrnn.training.baselines import baselines, bigram, unigram

# Tokens


@each_row(
    ("text", "tokens"),
    [
        ("The cat, which ate, was full.", "the cat , which ate , was full ."),
        ("Don't! It's o'er; 'tis a sea-coal fire.", "don't ! <EOS> it's o'er ; ' tis a sea-coal fire ."),
        ("At 10:30 it cost $3.14 of 10,000.", "at 10:30 it cost $ 3.14 of 10,000 ."),
        ("Wait... what?! No -- yes", "wait ... <EOS> what ? ! <EOS> no -- yes"),
        ('"Speak." He spoke (twice.) Then', '" speak . " <EOS> he spoke ( twice . ) <EOS> then'),
        ("ALL:\nSpeak\n\nMe", "all : speak <EOS> me"),
        ("L’ÉTÉ Cafe\u0301", "l’été caf\u00e9"),  # noqa: RUF001
        ("हिन्दी में", "हिन्दी में"),
        ("the <unk> and <UNK>", "the <UNK> and <UNK>"),
        ("x_1 2nd a.b", "x_1 2nd a . b"),
        ("  \n ", ""),
    ],
)
def test_tokens(text, tokens):
    assert tokenize(text) == tokens.split()


def test_case_and_sentences_can_be_left_as_they_are():
    assert tokenize("The End. Or Not", keep_case=True) == ["The", "End", ".", EOS, "Or", "Not"]
    assert tokenize("The End. Or Not\n\nat all", sentences=False) == ["the", "end", ".", "or", "not", "at", "all"]


@each_row(
    "text",
    [
        "the cat, which ate (twice!), was full.",
        'he said: "so be it," and "so it was."',
        "'tis 50% of $3.14...",
        "first citizen: “speak, speak.”",
    ],
)
def test_text_from_tokens_is_readable(text):
    assert Detokenizer()(tokenize(text)) == text


def test_each_sentence_has_a_line():
    assert Detokenizer()(tokenize('He "spoke. She did.')) == 'he "spoke.\nshe did.'


@given(st.text())
@example('" " " \' \' ( ( ) ) , , . .')
@example("a . . b")
@example("¿¡ $€ ’’ ‘‘ “ ”")  # noqa: RUF001
def test_the_words_of_the_text_of_words_are_the_same(text):
    tokens = tokenize(text, sentences=False)
    assert tokenize(Detokenizer()(tokens), sentences=False) == tokens


def test_text_comes_in_pieces():
    tokens = tokenize('She said "no (or yes)." Then left.')
    whole, pieces = Detokenizer()(tokens), Detokenizer()
    assert "".join(pieces([token]) for token in tokens) == whole


# Vocabulary


def test_the_most_frequent_words_are_kept():
    tokens = tokenize("b b b a a c c d. <unk> <unk> <unk> e")
    vocabulary = WordVocabulary.most_frequent(tokens, 3)
    assert vocabulary.tokens == (EOS, "b", "a", "c", UNK)
    assert vocabulary.encode("A b z. c").tolist() == [2, 1, 4, 4, 0, 3]
    assert vocabulary.decode([2, 1, 4, 0, 3]) == "a b <UNK>\nc"
    assert vocabulary.id("c") == 3
    assert WordVocabulary.most_frequent(tokens, 99, min_count=2).tokens == (EOS, "b", "a", "c", UNK)
    assert WordVocabulary.most_frequent(tokens, 99, min_count=3).tokens == (EOS, "b", UNK)


def test_a_vocabulary_survives_json():
    vocabulary = WordVocabulary(["The", "the"], keep_case=True, sentences=False)
    again = WordVocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert again.encode("The the. THE").tolist() == [1, 2, 3, 3]


def test_vocabularies_that_are_refused():
    with pytest.raises(EmptyVocabulary, match="min_count must be at most 2, the count of the commonest word, got 3"):
        WordVocabulary.most_frequent(["a", "a", "b"], 10, min_count=3)
    with pytest.raises(ValueError, match="m must be at least 1, got 0"):
        WordVocabulary.most_frequent(["a"], 0)
    with pytest.raises(ValueError, match="distinct, and neither <EOS> nor <UNK>, got 'a' twice"):
        WordVocabulary(["a", "a"])
    with pytest.raises(ValueError, match="got '<UNK>' twice"):
        WordVocabulary([UNK])
    with pytest.raises(ValueError, match="at least one word"):
        WordVocabulary([])
    with pytest.raises(ValueError, match=r"ids must lie in 0\.\.2, got 3"):
        WordVocabulary(["a"]).decode([3])
    for value in ([1], {"words": ["a", 1]}, {"words": "a"}):
        with pytest.raises(ValueError, match="words"):
            WordVocabulary.from_json(value)


# The unigram and the bigram model


def test_unigram_by_hand():
    # Counts of 0, 1 and 2: 3, 2 and 0. With one added to each: 4/8, 3/8, 1/8.
    losses = unigram([np.array([0, 1, 0]), np.array([1, 0])], [np.array([0, 1, 2])], 3)
    np.testing.assert_allclose(np.exp(-losses), [4 / 8, 3 / 8, 1 / 8])


def test_bigram_by_hand():
    # Pairs: ^a ab ba ab bc cc, where a is 0, b 1, c 2 and ^ the beginning. ^a ba bc cc occur once, ab twice. So d = 4 / (4 +
    # 2) = 2/3. Of the 5 different pairs one ends in b, two in a, and two in c.
    train, d = [np.array([0, 1, 0, 1, 2, 2])], 2 / 3
    base = d * 3 / 5 / 4
    q = {0: (2 - d) / 5 + base, 1: (1 - d) / 5 + base, 2: (2 - d) / 5 + base, 3: base}
    held_out = [np.array([1, 0, 3, 3])]  # ^b, ba, a and d (never seen), and d after d
    expected = [d * 1 / 1 * q[1], (1 - d) / 2 + d * 2 / 2 * q[0], d * 1 / 2 * q[3], q[3]]
    np.testing.assert_allclose(np.exp(-bigram(train, held_out, 4)), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_of_what_follows_sum_to_one(seed):
    rng = np.random.default_rng(seed)
    V = 7
    train = [rng.integers(0, V - 1, n) for n in (30, 1, 12)]
    for v in range(V):
        p = [np.exp(-bigram(train, [np.array([v, w])], V)[1]) for w in range(V)]
        assert sum(p) == pytest.approx(1, abs=1e-12)
    assert np.exp(-unigram(train, [np.arange(V)], V)).sum() == pytest.approx(1, abs=1e-12)


def test_the_bigram_model_beside_plain_loops():
    rng = np.random.default_rng(0)
    V = 9
    train, held_out = ([rng.integers(0, V, n) for n in sizes] for sizes in ((40, 25), (10, 8)))
    n = Counter(pair for s in train for pair in zip([V, *s[:-1].tolist()], s.tolist(), strict=True))
    ones, twos = sum(c == 1 for c in n.values()), sum(c == 2 for c in n.values())
    d = ones / (ones + 2 * twos)
    different = Counter(w for _, w in n)

    def q(w):
        return max(different[w] - d, 0) / len(n) + d * len(different) / len(n) / V

    def p(w, v):
        total = sum(c for (a, _), c in n.items() if a == v)
        if not total:
            return q(w)
        return max(n[v, w] - d, 0) / total + d * sum(a == v for a, _ in n) / total * q(w)

    expected = [p(w, v) for s in held_out for v, w in zip([V, *s[:-1].tolist()], s.tolist(), strict=True)]
    np.testing.assert_allclose(np.exp(-bigram(train, held_out, V)), expected, rtol=1e-12)
    assert baselines(train, held_out, V)["bigram"] == pytest.approx(-np.log(expected).mean())


# The model's data

STORY = "The cat ate. The dog ran! A cat saw a dog. " * 30


@each_row(
    ("given", "tied"),
    [
        ({}, True),
        ({"hidden": 100}, True),
        ({"embedding": 100}, False),
        ({"hidden": 64, "embedding": 64}, True),
        ({"tied": False}, False),
    ],
)
def test_a_word_model_is_tied_if_its_sizes_allow(given, tied):
    options = make_options("stream", "words", **given)
    model = make_model(options, WordVocabulary.most_frequent({"cat": 3, "dog": 2}, 10))
    assert (model.output.weight is model.embedding.weight) == options.tied == tied


def test_tied_is_refused_where_the_sizes_differ():
    with pytest.raises(ValueError, match=r"tied must be False unless .* got True with embedding=9, hidden=8"):
        make_options("stream", "words", hidden=8, embedding=9, tied=True)


def test_a_stream_of_words_starts_after_an_end_and_holds_out_its_last():
    options = make_options("stream", "words", hidden=8, embedding=4, val_fraction=0.1, batch=2, seq_length=5)
    assert isinstance(options, WordOptions)
    data = make_trainer(STORY + "zebra zebra.", options)[2]
    tokens = [*tokenize(STORY + "zebra zebra."), EOS]
    held = round(len(tokens) * 0.1)
    assert data.sizes == (len(tokens) - held, held)
    # Held-out words do not enter the vocabulary.
    assert "zebra" not in data.vocabulary.tokens
    assert data.unknown == pytest.approx(2 / held)
    ids = data.vocabulary.ids(tokens)
    batch = data.batches.next()
    assert (batch.inputs[0] == 0).all()
    assert batch.targets.T[0].tolist() in [ids[i : i + 5].tolist() for i in range(len(ids))]
    assert next(iter(data.evaluation())).inputs[0, 0] == 0
    counts = Counter(tokens[:-held])
    V = len(counts) + 1  # and <UNK>
    expected = [-math.log((counts[token] + 1) / (len(tokens) - held + V)) for token in tokens[-held:] if token != "zebra"]
    expected += 2 * [-math.log(1 / (len(tokens) - held + V))]
    assert data.baselines["unigram"] == pytest.approx(np.mean(expected))


def test_lines_of_words_start_from_nothing():
    lines = "the cat ran. the dog ran.\nthe dog ate\na cat ate\n" * 8
    data = make_trainer(lines, make_options("lines", "words", hidden=8, batch=40, seq_length=20))[2]
    batch = data.batches.next()
    assert (batch.inputs[0] == -1).all()
    vocabulary = data.vocabulary
    found = {" ".join(vocabulary.names(row[:n])) for row, n in zip(batch.targets.T, batch.lengths, strict=True)}
    assert found == {"the cat ran . the dog ran . <EOS>", "the dog ate <EOS>", "a cat ate <EOS>"}
    assert set(data.train_items) == {"the cat ran. the dog ran.", "the dog ate", "a cat ate"}


def test_the_first_input_of_a_stream_can_be_chosen():
    batches = StreamBatches(np.arange(12), 2, 3, start=7)
    assert batches.next().inputs.T.tolist() == [[7, 0, 1], [7, 6, 7]]
    assert batches.next().inputs.T.tolist() == [[2, 3, 4], [8, 9, 10]]
    assert next(stream_evaluation(np.arange(5), 1, 3, 7)).inputs.T.tolist() == [[7, 0, 1]]


# Score and sample

WORDS = ("the", "cat", "dog", "ran", ".", ",")


def _language_model(reading="stream", scale=4.0):
    vocabulary = WordVocabulary(WORDS, sentences=reading == "stream")
    net = CharModel(len(vocabulary), "lstm", layers=2, hidden=12, embedding=5, rng=5)
    for _, parameter in net.named_parameters():
        parameter.assign(parameter.data * scale)
    return LanguageModel(net, vocabulary, reading)


def _log_softmax(logits):
    shifted = logits.astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize(("reading", "first"), [("stream", 0), ("lines", -1)])
def test_a_score_is_the_sum_over_words_and_the_end(reading, first):
    model = _language_model(reading)
    score = model.score("The zebra ran.")
    ids = [1, 7, 4, 5, 0]
    assert score.tokens == ("the", UNK, "ran", ".", EOS)
    logits, _ = model.model(np.array([first, *ids[:-1]])[:, None])
    expected = _log_softmax(logits[:, 0])[np.arange(5), ids]
    np.testing.assert_allclose(score.log_probabilities, expected, rtol=0, atol=1e-5)
    assert score.log_probability == pytest.approx(expected.sum(), abs=1e-5)
    assert score.perplexity == pytest.approx(np.prod(np.exp(expected)) ** (-1 / 5), rel=1e-5)
    assert score.bits_per_token == pytest.approx(-expected.mean() / np.log(2), rel=1e-5)


def test_an_evaluation_is_the_score_of_the_held_out_part():
    options = make_options("stream", "words", hidden=8, layers=1, embedding=4, batch=1, val_fraction=0.2)
    trainer, model, data = make_trainer(STORY, options)
    tokens = [*tokenize(STORY), EOS]
    assert data.sizes == (len(tokens) - len(tokens) // 5, len(tokens) // 5)
    ids = model.vocabulary.ids(tokens)[-data.sizes[1] :]
    logits, _ = model.model(np.append(model.eos, ids[:-1])[:, None])
    expected = -_log_softmax(logits[:, 0])[np.arange(len(ids)), ids].mean()
    assert trainer.task.evaluate() == pytest.approx(expected, abs=1e-6)


def test_nothing_has_no_score():
    for reading in ("lines", "stream"):
        with pytest.raises(ValueError, match="text must have at least one word, got none"):
            _language_model(reading).score(" ")


@each_row("choice", [Choice(), Choice(temperature=3.0), Choice(top_k=3), Choice(greedy=True)])
@each_row("reading", ["lines", "stream"])
def test_unk_is_sampled_only_where_it_may_be(reading, choice):
    model = _language_model(reading)
    bias = model.model.output.bias
    changed = bias.data.copy()
    changed[-1] += 3  # <UNK> would be the usual word
    bias.assign(changed)
    allowed = model.sample(20, 40, choice=choice, seed=1, unk=True)
    assert any(UNK in sample.text for sample in allowed)
    assert not any(UNK in sample.text for sample in model.sample(20, 40, choice=choice, seed=1))
    assert UNK not in "".join(model.stream(300, choice=choice, seed=1))


def test_rejection_leaves_the_other_words_their_shares():
    model = _language_model("stream", scale=2.0)
    logits, _ = model.model(np.array([[0]]))
    p = np.exp(_log_softmax(logits[0, 0]))
    p[-1] = 0
    p /= p.sum()
    n = 4000
    ids = [
        0 if not sample.text.strip() else int(model.vocabulary.encode(sample.text)[0])
        for sample in model.sample(n, 1, seed=2)
    ]
    counts = np.bincount(ids, minlength=8)
    assert counts[-1] == 0
    assert ((counts - n * p)[:-1] ** 2 / (n * p[:-1])).sum() < 22.5  # 99.9 % with 6 degrees of freedom


def test_a_stream_goes_on_after_an_end_and_a_sentence_stops():
    model = _language_model("stream")
    (long,) = model.sample(1, 400, seed=3)
    assert long.text.count("\n") > 3
    assert not long.ended
    sentences = model.sample(30, 200, seed=3, sentences=True)
    assert all("\n" not in sample.text for sample in sentences)
    assert sentences[0].text == long.text.split("\n")[0]
    assert sentences[0].ended


def test_a_prefix_is_continued_as_text():
    model = _language_model("stream")
    (sample,) = model.sample(1, 50, prefix="The zebra", seed=3)
    pieces = list(model.stream(50, prefix="The zebra", seed=3))
    assert "The zebra" + "".join(pieces) == sample.text
    # The sampled text is decoded from the ids after the prefix.
    prime = np.array([[0], [1], [7]])
    uniforms = np.random.default_rng(np.random.SeedSequence(3).spawn(1)[0]).random((50, 1))
    ids = model.model.generate(prime, uniforms, banned=7).tokens[:, 0]
    expected = Detokenizer()(["the", UNK, *model.vocabulary.names(ids)])
    assert sample.text == expected.replace("the <UNK>", "The zebra", 1)


def test_shares_of_what_is_copied_count_words_by_their_ids():
    assert copied_share([np.array([1, 2, 3, 9])], np.array([0, 1, 2, 3, 4]), 3) == 1 / 2
