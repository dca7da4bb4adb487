"""``fastrnn train words`` and the commands on its runs, from end to end; mistakes of users."""

import functools
import io
import json
import math
import re
import shutil

import numpy as np
import pytest
from command_line import configuration, error_of, execute, output_of
from tables import each_row
from training_task import read_metrics

from fastrnn.commands._screen.verdict import probability, verdict
from fastrnn.text.language_model import Score
from fastrnn.text.run_folder import load_language_model
from fastrnn.training import checkpoint

pytestmark = pytest.mark.usefixtures("quick_pictures")

STORY = "".join(
    f"The {animal} ate the {food}. It {verb}!\n" for animal in ("cat", "dog", "cow") for food in ("hay", "pear", "fish")
    for verb in ("ran", "slept", "was full", "sang")
)  # fmt: skip
SMALL = ["--hidden", "16", "--embedding", "8", "--layers", "1", "--batch", "4", "--eval-every", "10", "--warmup", "0"]
_train = functools.partial(execute, "train", "words")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "story.txt"
    path.write_text(STORY * 3)
    return path


@pytest.fixture(scope="module")
def stream(text):
    """Train on a stream of sentences; return the run folder."""
    _train(text, *SMALL, "--max-steps", 30, "--seq-length", 8, "--out", text.parent / "stream")
    return text.parent / "stream"


@pytest.fixture(scope="module")
def lines(text):
    """Train on lines; return the run folder."""
    _train(text, *SMALL, "--reading", "lines", "--max-steps", 20, "--out", text.parent / "lines")
    return text.parent / "lines"


# Train


def test_a_run_starts_from_vectors(text, tmp_path, capsys):
    vectors, rng = tmp_path / "vectors.txt", np.random.default_rng(0)
    values = {word: rng.standard_normal(6).round(3) for word in ("The", "cat", "hay", "elephant")}
    vectors.write_text("".join(f"{word} {' '.join(map(str, row))}\n" for word, row in values.items()))
    small = [option for option in SMALL if option not in ("--embedding", "8")]
    run = tmp_path / "run"
    # One step with a rate of nearly zero leaves the embedding as it was.
    _train(text, *small, "--max-steps", 1, "--lr", "1e-30", "--vectors", vectors, "--out", run)
    output = capsys.readouterr().out
    model, config = load_language_model(run)
    V = len(config.vocabulary)
    assert f"vectors:  {vectors}: 6 numbers for 3 of {V - 2} words" in output
    assert (config.options.vectors, config.options.embedding) == (str(vectors), 6)
    weight = model.model.embedding.weight.data
    rows = weight[[config.vocabulary.id(word) for word in ("the", "cat", "hay")]]
    expected = np.array([values[word] for word in ("The", "cat", "hay")])
    np.testing.assert_allclose(rows / rows.std(), expected / expected.std(), rtol=1e-5, atol=1e-6)
    # A run that goes on has its own weights and does not need the file.
    vectors.unlink()
    _train("--resume", "--out", run, "--max-steps", 2)
    assert "vectors:" not in capsys.readouterr().out


def test_wrong_vectors(text, tmp_path, capsys):
    vectors = tmp_path / "vectors.txt"
    run = ("train", "words", text, "--vectors", vectors, "--out", tmp_path / "run")
    assert "vectors.txt: No such file or directory" in error_of(capsys, *run)
    vectors.write_text("the 1 2 3\ncat 1 2\ncow 1 2 3\n")
    assert "--embedding must be 3, the width of the vectors in" in error_of(capsys, *run, "--embedding", 8)
    assert "vectors.txt, line 2: expected a word and 3 numbers, got 3 fields" in error_of(capsys, *run)
    assert not (tmp_path / "run").exists()


def test_a_run_prints_the_losses_of_unigrams_and_bigrams(text, tmp_path, capsys):
    _train(text, *SMALL, "--max-steps", 30, "--out", tmp_path)
    output = capsys.readouterr().out
    config = configuration(tmp_path)
    assert config["format"] == "fastrnn-words"
    assert config["vocabulary"]["words"][:2] == ["the", "!"]
    losses = [float(row["val_loss"]) for row in read_metrics(tmp_path)]
    unigram, bigram = (math.exp(config["baselines"][name]) for name in ("unigram", "bigram"))
    assert f"to beat:  unigram perplexity {unigram:.1f}, bigram perplexity {bigram:.1f} per word, held out" in output
    assert re.search(r"split: +[\d,]+ words to train on, [\d,]+ held out; .*\d\.\d% of the words held out are <UNK>", output)
    assert f"val {losses[0]:.3f} nats/word (perplexity {math.exp(losses[0]):.1f})" in output
    best = min(losses)
    assert f"best validation loss {best:.4f} nats per word (perplexity {math.exp(best):.1f}), at step" in output
    assert (tmp_path / "loss.png").exists()
    assert "nats per word" in (tmp_path / "samples.txt").read_text()
    assert checkpoint.load(tmp_path / "last.safetensors").model["embedding.weight"].shape[0] == len(
        load_language_model(tmp_path)[0].vocabulary
    )


def test_every_option_reaches_the_run(text, tmp_path):
    _train(text, *SMALL, "--max-steps", 1, "--vocabulary-size", 5, "--min-count", 3, "--keep-case", "--out", tmp_path)
    saved = configuration(tmp_path)
    assert {name: saved["options"][name] for name in ("vocabulary_size", "min_count", "keep_case", "unk")} == {
        "vocabulary_size": 5, "min_count": 3, "keep_case": True, "unk": True,
    }  # fmt: skip
    assert len(saved["vocabulary"]["words"]) == 5
    assert {"The", "It"} < set(saved["vocabulary"]["words"])


def test_a_word_model_beats_the_bigram_model_if_more_than_one_word_matters(tmp_path):
    # The food decides the verb five words later, which no bigram sees.
    pairs = [("hay", "ran"), ("fish", "sang"), ("pears", "slept"), ("bread", "fell")]
    rng = np.random.default_rng(0)
    sentences = [f"it ate the {food} and then it {verb}." for food, verb in (pairs[i] for i in rng.integers(0, 4, 400))]
    (tmp_path / "text.txt").write_text("\n".join(sentences))
    options = ["--reading", "lines", "--max-steps", 200, "--dropout", 0, "--lr", 0.02]
    _train(tmp_path / "text.txt", *SMALL, *options, "--out", tmp_path / "run")
    config = configuration(tmp_path / "run")
    best = checkpoint.load(tmp_path / "run" / "best.safetensors").state["trainer"]["best_val_loss"]
    # The model predicts one of 10 tokens that the bigram model cannot.
    assert config["baselines"]["bigram"] - best > 0.8 * math.log(4) / 10


# Sample


def test_sampled_stream(stream, capsys):
    arguments = ["sample", stream, "--length", "60", "--seed", "2", "--prefix", "The zebra"]
    captured = output_of(capsys, *arguments)
    assert captured.out.startswith("The zebra ")
    assert re.search(r"^\d+\.\d% of its 5-grams of words occur in the text trained on$", captured.err, re.MULTILINE)
    assert output_of(capsys, *arguments).out == captured.out


def test_sampled_sentences(stream, lines, capsys):
    captured = output_of(capsys, "sample", stream, "--sentences", "--number", "7", "--no-unk")
    assert len(captured.out.splitlines()) == 7
    assert "<UNK>" not in captured.out
    captured = output_of(capsys, "sample", lines, "--number", "5")
    assert len(captured.out.splitlines()) == 5
    assert re.search(r"^\d of 5 are new: not among the \d+ distinct lines trained on$", captured.err, re.MULTILINE)
    assert "--sentences is for a model of a stream of words" in error_of(capsys, "sample", lines, "--sentences")


# Score


def _rows(output):
    head, *rows = output.splitlines()
    return re.split(r"  +", head.strip()), rows


def test_two_sentences_side_by_side(stream, capsys):
    texts = ["The cat ate the pear.", "The cat sang the fish."]
    captured = output_of(capsys, "score", stream, *texts)
    model, _ = load_language_model(str(stream))  # a string is also accepted
    scores = [model.score(text) for text in texts]
    head, (first, second, last) = _rows(captured.out)
    assert head == ["log p (nats)", "probability", "perplexity", "words + end", "text"]
    for line, score, shown in ((first, scores[0], "the cat ate the pear ."), (second, scores[1], "the cat sang the fish .")):
        p = probability(score.log_probability)
        assert line.split(maxsplit=4) == [f"{score.log_probability:.4f}", p, f"{score.perplexity:.2f}", "7", shown]
    times = math.exp(abs(scores[0].log_probability - scores[1].log_probability))
    assert float(re.search(r"is (\S+) times as probable", last)[1]) == pytest.approx(times, rel=0.006)
    assert last.startswith("the first is" if scores[0].log_probability > scores[1].log_probability else "the second is")
    assert captured.err == ""


def test_a_text_with_a_word_is_not_compared_with_one_with_unk(stream, capsys):
    captured = output_of(capsys, "score", stream, "The cat ate the pear.", "The yak ate the pair.")
    head, (first, second, last) = _rows(captured.out)
    assert head[3:] == ["words + end", "<UNK>", "text"]
    assert first.split(maxsplit=5)[3:] == ["7", "0", "the cat ate the pear ."]
    assert second.split(maxsplit=5)[3:] == ["7", "2", "the <UNK> ate the <UNK> ."]
    counts = "the first lost 0 of 6 words to <UNK>, the second 2 of 6 words"
    assert last == f"the two cannot be compared: {counts}, and <UNK> stands for any unknown word"
    assert captured.err == "<UNK> stands for: yak, pair\n"
    _, (*rows, last) = _rows(output_of(capsys, "score", stream, "The cow.", "The yak.", "The pair ran.").out)
    assert [row.split(maxsplit=5)[5] for row in rows] == ["the cow .", "the <UNK> .  [yak]", "the <UNK> ran .  [pair]"]
    assert last == "no two texts lost the same words to <UNK>: none of them can be compared"


def _score(text, *nats):
    """Return a score of these tokens, each with its log-probability; ``word?`` marks a word that became ``<UNK>``."""
    tokens = text.split()
    lost = tuple(token[:-1] for token in tokens if token.endswith("?"))
    return Score(tuple("<UNK>" if token.endswith("?") else token for token in tokens), -np.array(nats, float), lost)


@each_row(
    ("scores", "expected"),
    [
        ([_score("a b", 1, 2), _score("a c", 1, 1)], "the second is 2.72 times as probable as the first"),
        (
            [_score("a b", 1, 1), _score("a b c", 1, 1, 4)],
            "the first is 54.6 times as probable as the second"
            " (their lengths differ: by the word, the perplexities 2.72 and 7.39 compare)",
        ),
        (
            [_score("a x? .", 1, 9, 1), _score("x? a .", 8, 1, 1)],
            "the second is 2.72 times as probable as the first; each lost 1 of 2 words to <UNK>, the same",
        ),
        (
            [_score("a x? b .", 1, 9, 1, 1), _score("a y? c .", 1, 2, 2, 1)],
            "over the 3 words that both have, the end included, the first is 2.72 times as probable as the second;"
            " each lost 1 of 3 words to <UNK>, at the same places",
        ),
        (
            [_score("x? b .", 1, 1, 1), _score("b y? .", 1, 1, 1)],
            "the two cannot be compared: each lost 1 of 2 words to <UNK>, not the same,"
            " and <UNK> stands for any unknown word",
        ),
        (
            [_score("x? .", 1, 1), _score("y? .", 1, 1)],
            "the two cannot be compared: each lost 1 of 1 word to <UNK>, not the same,"
            " and <UNK> stands for any unknown word",
        ),
        (
            [_score("x? x? .", 1, 1, 1), _score("x? .", 1, 1)],
            "the two cannot be compared: the first lost 2 of 2 words to <UNK>, the second 1 of 1 word,"
            " and <UNK> stands for any unknown word",
        ),
        ([_score("a x? .", 1, 1, 1)] * 2, "both are equally probable; each lost 1 of 2 words to <UNK>, the same"),
        ([_score("a b", 1, 1), _score("a c", 1, 1.0001)], "both are equally probable"),
        ([_score("a b", 1, 1), _score("a c", 1, 1.01)], "the first is 1.01 times as probable as the second"),
        (
            [_score(text, 1, 1) for text in ("x? .", "a .", "y? .", "x? .", "b .", "c .")],
            "only texts that lost the same words to <UNK> can be compared: 1 and 4; 2, 5 and 6",
        ),
        (
            [_score(text, 1, 1) for text in ("x? .", "a .") * 15],
            "15 of 30 texts lost words to <UNK>: compare only texts that lost the same ones",
        ),
        ([_score("a .", 1, 1)] * 3, ""),
        ([_score("a x? .", 1, 1, 1)] * 3, "all texts lost the same words to <UNK>: they can be compared"),
    ],
)
def test_the_text_that_compares_scores(scores, expected):
    ends = scores[0].tokens[-1] == "."
    assert verdict(scores, "word", ends) == expected


def test_one_sentence_in_full(lines, capsys):
    output = output_of(capsys, "score", lines, "The cat ate.", "--verbose").out
    nats = float(re.search(r"log-probability: +(-[\d.]+) nats \(5 words, the end of the line included\)", output)[1])
    assert float(re.search(r"^probability: +(\S+)", output, re.MULTILINE)[1]) == pytest.approx(math.exp(nats), rel=0.006)
    assert float(re.search(r"perplexity: +([\d.]+)", output)[1]) == pytest.approx(math.exp(-nats / 5), abs=1e-3)
    table = re.findall(r"^ +(\S+) +([\d.]+) +([\d.]+)$", output, re.MULTILINE)
    assert [token for token, _, _ in table] == ["the", "cat", "ate", ".", "<EOS>"]
    assert math.prod(float(p) for _, p, _ in table) == pytest.approx(math.exp(nats), rel=1e-3)


def test_sentences_of_a_file_and_of_standard_input(stream, tmp_path, capsys, monkeypatch):
    (tmp_path / "sentences.txt").write_text("the cat ran\n\n the dog sang \n")
    by_file = output_of(capsys, "score", stream, "--file", tmp_path / "sentences.txt").out
    assert output_of(capsys, "score", stream, "the cat ran", "the dog sang").out == by_file
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat ran\nthe dog sang\n"))
    assert output_of(capsys, "score", stream, "--file", "-").out == by_file


@each_row(
    ("log_probability", "text"),
    [
        (0.0, "1"),
        (math.log(0.25), "0.25"),
        (-1000.0, "5.08e-435"),
        (math.log(9.9999e-20), "1.00e-19"),
        (math.log(2.5e7), "2.50e+07"),
    ],
)
def test_probabilities_that_a_float_does_not_hold(log_probability, text):
    assert probability(log_probability) == text


# Bad input


def test_bad_options_of_training(capsys, text, tmp_path, stream):
    out = ["--out", tmp_path / "run"]
    for value in ("0", "-3", "many", str(2**40)):
        assert "argument --vocabulary-size: must be" in error_of(
            capsys, "train", "words", text, "--vocabulary-size", value, *out
        )
    assert "FILE is missing" in error_of(capsys, "train", "words", *out)
    assert "unrecognized arguments: --unk" in error_of(capsys, "train", "words", text, "--unk", *out)
    assert "unrecognized arguments: --vocabulary-size" in error_of(capsys, "train", "chars", "--vocabulary-size", "5", *out)
    message = error_of(capsys, "train", "chars", "--resume", "--out", stream)
    assert "holds a run of another kind: go on with fastrnn train words --resume" in message
    message = error_of(capsys, "train", "words", "--resume", "--out", stream, "--vocabulary-size", 3)
    assert "--vocabulary-size cannot change when a run goes on: it is 10000, got 3" in message
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_larger_than_the_text_has_all_of_its_words(text, tmp_path):
    _train(text, *SMALL, "--max-steps", 1, "--vocabulary-size", 2_000_000_000, "--min-count", 1, "--out", tmp_path)
    words = configuration(tmp_path)["vocabulary"]["words"]
    assert set(words) <= set(re.findall(r"\w+|[.!]", STORY.lower()))
    assert len(words) > 10


def test_bad_input_of_scoring(capsys, stream, tmp_path):
    assert "there is nothing to score" in error_of(capsys, "score", stream)
    assert "the text must have at least one word" in error_of(capsys, "score", stream, "the cat", " ")
    assert "none.txt: No such file or directory" in error_of(capsys, "score", stream, "--file", tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n \n")
    assert "empty.txt has no text to score" in error_of(capsys, "score", stream, "--file", tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(b"a\xff")
    assert "binary.txt is not UTF-8" in error_of(capsys, "score", stream, "--file", tmp_path / "binary.txt")


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("options", "vocabulary_size", 0, "vocabulary_size must be at least 1, got 0"),
        ("options", "keep_case", 1, "keep_case must be True or False, got 1"),
        ("options", "unk", False, "unk must be True for words, got False"),
        ("vocabulary", "words", ["a", "a"], "words must be distinct, and neither <EOS> nor <UNK>, got 'a' twice"),
        ("vocabulary", "sentences", "no", "sentences must be True or False, got 'no'"),
        ("baselines", "unigram", "x", "could not convert string to float: 'x'"),
    ],
)
def test_values_in_a_configuration(capsys, stream, tmp_path, part, name, value, message):
    run = shutil.copytree(stream, tmp_path / "run")
    content = configuration(run)
    content[part][name] = value
    (run / "config.json").write_text(json.dumps(content))
    assert error_of(capsys, "sample", run).endswith(f"config.json is damaged: {message}")
