"""The zoo's taggers and classifiers with tiny settings: inputs, gradients by value, and that they learn."""

import builtins
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from differences import assert_model_gradients
from example_scripts import example

from fastrnn.losses import crf_nll, sigmoid_binary_cross_entropy, softmax_cross_entropy
from fastrnn.text.tagging import Tagged, read_conll

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

ner, sentiment = example("zoo/tag_entities"), example("zoo/classify_sentiment")

# Named entities

PLACES = [
    "Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Quito", "Sofia", "Tunis", "Hanoi", "Minsk", "Accra", "Seoul",
    "Tokyo",
]  # fmt: skip
FRAMES = ["we live in {} now", "{} is far", "a train to {} and to {}", "it was late", "rain over {} again", "we sing now"]


def sentences(places, rng, number):
    """Return sentences with and without capitalised places, which have one or two words."""
    data = []
    for _ in range(number):
        words, tags = [], []
        for word in FRAMES[rng.integers(len(FRAMES))].split():
            place = [word] if word != "{}" else [*["New"] * rng.integers(2), places[rng.integers(len(places))]]
            words += place
            tags += ["O"] if word != "{}" else ["B-place", *["I-place"] * (len(place) - 1)]
        data.append(Tagged(words, tags))
    return data


@pytest.fixture
def folder(tmp_path):
    """Write three files; two of the nine places in the test file also occur in the training file."""
    rng = np.random.default_rng(0)
    for name, places, number in (
        ("train.txt", PLACES[:9], 100),
        ("dev.txt", PLACES[9:12], 20),
        ("test.txt", PLACES[7:], 30),
    ):
        data = sentences(places, rng, number)
        text = "\n".join("".join(f"{word}\t{tag}\n" for word, tag in zip(*sentence, strict=True)) for sentence in data)
        (tmp_path / name).write_text(text)
    return tmp_path


TEXT, ANSWER = "we live in New Seoul now", "we live in New[B-place] Seoul[I-place] now"


@pytest.mark.parametrize("crf", [True, False], ids=["crf", "softmax"])
def test_places_that_are_not_in_the_training_set_are_found(crf, folder, capsys):
    f1 = ner.main(folder, [TEXT], size=16, dropout=0.1, lr=2e-2, epochs=15, crf=crf, out=folder)
    assert f1["all O"] == 0
    assert f1["most frequent tag"] < 0.6
    assert f1["BiLSTM-CRF" if crf else "BiLSTM"] > 0.8
    output = capsys.readouterr().out
    assert "trained on train.txt and dev.txt" in output
    assert ANSWER in output
    ner.tag_by_saved(folder, [TEXT])
    assert ANSWER in capsys.readouterr().out


def test_vectors_tell_the_places(folder, capsys):
    # Names without capitals, of which vectors alone say what they are; "atlantis" is in no file but the vectors'.
    for path in folder.glob("*.txt"):
        path.write_text(
            path.read_text().replace("New", "new").lower().replace("b-", "B-").replace("i-", "I-").replace("\to", "\tO")
        )
    words = {word for path in folder.glob("*.txt") for word, _ in pairs_of(path)} | {"atlantis"}
    names = {place.lower() for place in PLACES} | {"atlantis"}
    rng = np.random.default_rng(0)
    rows = [f"{word} {' '.join(map(str, 4 * (word in names) + 0.5 * rng.normal(size=8)))}" for word in sorted(words)]
    (folder / "vectors").write_text("\n".join(rows))
    text = "rain over atlantis again"
    options = {"size": 16, "dropout": 0.1, "lr": 2e-2, "epochs": 10, "use_dev": False, "out": folder}
    f1 = ner.main(folder, [text], vectors=folder / "vectors", **options)
    assert f1["BiLSTM-CRF"] > 0.9
    output = capsys.readouterr().out
    assert f"8 numbers for {len(words)} of {len(words)} words (100.0%)" in output
    assert "trained on train.txt; " in output
    assert "rain over atlantis[B-place] again" in output
    ner.tag_by_saved(folder, [text])
    assert "rain over atlantis[B-place] again" in capsys.readouterr().out


def pairs_of(path):
    return [line.split("\t") for line in path.read_text().splitlines() if line]


@pytest.mark.parametrize("crf", [True, False], ids=["crf", "softmax"])
def test_tagger_gradients(crf):
    data = sentences(PLACES[:3], np.random.default_rng(1), 3)
    codes = ner.Codes(data)
    model = ner.make_model(codes, 2, dropout=0, crf=crf, dtype="float64")
    assert_model_gradients(model, codes.examples(data).batch(np.arange(3)), crf_nll if crf else softmax_cross_entropy)


def test_spelling_does_not_depend_on_the_neighbouring_words():
    layer = ner.Spelling(9, 3, "float64", np.random.default_rng(2))
    x = np.zeros((3, 2, 5), np.int64)
    x[:, :, :3] = np.random.default_rng(3).integers(1, 9, (3, 2, 3))
    x[2, 1] = x[0, 0]  # a word twice
    y = layer(x)
    np.testing.assert_array_equal(y[2, 1], y[0, 0])
    np.testing.assert_allclose(layer(x[1:2, :1])[0, 0], y[1, 0], rtol=1e-12)
    shorter = np.ascontiguousarray(x[:, :, :3])  # columns of padding change nothing
    np.testing.assert_allclose(layer(shorter), y, rtol=1e-12)


def test_codes():
    codes = ner.Codes([Tagged(["Ab1", "ab2", "@me", "@you", "http://a", "https://b", "once"], ["O", "B-x", *["O"] * 5])])
    assert codes.words.tokens == ("<EOS>", "@", "ab0", "http", "<UNK>")
    words, letters = codes.inputs(["AB7", "never", "@", "a" * 30])
    assert words.tolist() == [2, 4, 1, 4]
    a, b, one = (codes.letters[letter] for letter in "ab1")
    assert letters[0].tolist() == [codes.letters["A"], 1, 1, *[0] * 17]
    assert letters[3].tolist() == [a] * 20
    assert len({0, 1, a, b, one}) == 5
    assert codes.tags == ["B-x", "O"]
    np.testing.assert_allclose(codes.rarity(0.5), [1, 0.2, 0.2, 0.2, 1])  # each word twice; the ends never
    assert not codes.rarity(0).any()
    assert ner.Codes([Tagged(["a", "b", "b"], ["O"] * 3)], ["c", "a"]).words.tokens == ("<EOS>", "a", "b", "c", "<UNK>")


def test_a_folder_without_the_files_is_refused(folder):
    (folder / "dev.txt").unlink()
    with pytest.raises(SystemExit, match=r"must hold one file \*train\*, one \*dev\* and one \*test\*"):
        ner.main(folder, [], size=4, epochs=1)


def test_most_frequent_tags():
    train = [Tagged(["a", "b", "a", "a"], ["B-x", "I-x", "O", "B-x"])]
    assert ner.most_frequent_tags(train, [Tagged(["b", "c", "a"], ["O", "O", "O"])]) == [["I-x", "O", "B-x"]]


def test_entities_count_whole():
    data = [Tagged(["a", "b", "c", "d"], ["B-x", "I-x", "O", "B-y"])]
    assert ner.entity_scores(data, [["B-x", "O", "O", "B-y"]]) == (0.5, 0.5, 0.5)
    precision, recall, f1 = ner.entity_scores(data, [["O", "O", "B-x", "B-y"]])
    assert (precision, recall, f1) == (0.5, 0.5, 0.5)
    assert ner.entity_scores(data, [["O"] * 4]) == (0, 0, 0)


def test_without_seqeval_it_is_said(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("seqeval"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(SystemExit, match="pip install seqeval"):
        ner.entity_scores([], [])


@pytest.mark.skipif(not (DATA / "wnut17").exists(), reason="the data folder is missing")
def test_real_tweets():
    data = {path.name: read_conll(path) for path in (DATA / "wnut17").iterdir()}
    assert {name: len(found) for name, found in data.items()} == {
        "wnut17train.conll": 3394,
        "emerging.dev.conll": 1009,
        "emerging.test.annotated": 1287,
    }
    assert sum(len(words) for words, _ in data["wnut17train.conll"]) == 62730
    assert sum(tag[0] == "B" for _, tags in data["wnut17train.conll"] for tag in tags) == 1975


# Sentiment

GOOD, BAD = ["lovely", "great", "fine", "superb", "charming"], ["awful", "poor", "dull", "dreadful", "boring"]
REST = ["the", "film", "plot", "cast", "place", "food", "phone", "was", "is", "so", "and"]


def written(folder, number, seed):
    """Write files in which the last opinion decides: a bag of words cannot tell "not good but bad" from its reverse."""
    rng = np.random.default_rng(seed)
    for part in range(2):
        lines = []
        for _ in range(number // 2):
            label = rng.integers(2)
            first, last = (GOOD, BAD) if label == 0 else (BAD, GOOD)
            rest = [list(rng.choice(REST, rng.integers(1, 4))) for _ in range(3)]
            words = [*rest[0], rng.choice(first), *rest[1], "but", rng.choice(last), *rest[2]]
            lines.append(f"{' '.join(words).capitalize()}!\t{label}\n")
        (folder / f"{part}.txt").write_text("".join(lines))


@pytest.mark.parametrize("last", [False, True], ids=["maximum over both directions", "last state"])
def test_the_order_of_words_is_learnt(last, tmp_path, capsys):
    written(tmp_path, 300, seed=0)
    options = {"size": 16, "last": last, "dropout": 0.1, "lr": 1e-2}
    (tmp_path / "run").mkdir()
    results = sentiment.main(
        tmp_path,
        ["The film was dull so but lovely and!", "The film was lovely so but dull and!"],
        fold=0,
        epochs=12,
        **options,
        out=tmp_path / "run",
    )
    assert results["majority class"] < 0.7
    assert results["naive Bayes"] < 0.75
    assert results["GRU"] > 0.9
    friendly = [line for line in capsys.readouterr().out.splitlines() if "friendly:" in line]
    good, bad = (float(line.split("%")[0]) for line in friendly)
    assert good > 50 > bad
    sentiment.judge_by_saved(tmp_path / "run", [line.split(": ")[1] for line in friendly])
    assert capsys.readouterr().out.splitlines()[1:] == friendly


@pytest.mark.parametrize("last", [False, True], ids=["maximum over both directions", "last state"])
def test_classifier_gradients(last):
    rng = np.random.default_rng(4)
    data = [(tuple(rng.choice(REST, n)), label) for n, label in ((1, 0), (4, 1), (3, 0))]
    grams = sentiment.Grams(data)
    model = sentiment.make_model(grams, 4, dropout=0, last=last, dtype="float64")
    batch = sentiment.examples(data, grams).batch(np.arange(3))
    assert_model_gradients(
        model, dataclasses.replace(batch, targets=batch.targets.astype("float64")), sigmoid_binary_cross_entropy
    )


def test_n_grams():
    assert sentiment.grams_of(("not", "bad"))[1] == ["bad", "not bad", " <ba", " bad", " ad>", " <bad", " bad>", " <bad>"]
    assert sentiment.grams_of((".",)) == [[".", "< .", " <.>"]]
    assert len(sentiment.grams_of(("a" * 99, "incomprehensibilities"))[1]) == sentiment.MOST
    train = [(("good", "good"), 1), (("good",), 1), (("bad",), 0)]
    grams = sentiment.Grams(train)
    again = sentiment.Grams.from_json(json.loads(json.dumps(grams.to_json())))
    for made in (grams, again):
        # In friendly sentences: good 2, its 9 runs of letters 2, "< good" 2, "good good" 1; in the others: bad and 7 others.
        p, q = 3 / (11 * 3 + 2 + 8), 1 / (12 + 8 * 2)
        assert made.ratios[made.ids["good"]] == pytest.approx(np.log(p / q))
        assert made.ratios[made.ids[" bad>"]] == pytest.approx(np.log((1 / (11 * 3 + 2 + 8)) / (2 / (12 + 8 * 2))))
        ids = made.inputs(("good", "new"))
        assert ids.shape == (2, sentiment.MOST)
        assert {made.names[i] for i in ids[0] if i >= 0} == set(sentiment.grams_of(("good",))[0])
        assert (ids[1] < 0).all()
    assert sentiment.Grams(train, words_only=True).inputs(("bad", "new")).tolist() == [[0], [-1]]


def test_vectors_are_weighted_sums_of_which_training_drops_some():
    rng = np.random.default_rng(5)
    layer = sentiment.GramVectors(rng.standard_normal(9), 3, 0.4, "float64", np.random.default_rng(6))
    x = rng.integers(-1, 9, (40, 30, 7))
    rows = layer.ratios[:, None] * layer.weight.data
    expected = np.where(x[..., None] < 0, 0, rows[x]).sum(axis=2)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12, atol=1e-12)
    single = x[..., :1]
    ratio = layer.forward(single)[0] / np.where(single < 0, np.nan, rows[single[..., 0]])
    assert set(np.unique(ratio[np.isfinite(ratio)].round(9))) == {0, round(1 / 0.6, 9)}
    assert abs(np.nanmean(ratio[..., 0] > 0) * (x.shape[0] * x.shape[1]) / (single >= 0).sum() - 0.6) < 0.06


def test_naive_bayes_by_hand():
    train = [(("a", "a", "b"), 1), (("b", "c"), 0), (("c",), 0)]
    # p(1) = 1/3, p(0) = 2/3; with one added, of 3 words: p(a|1) = 3/6, p(b|1) = 2/6, p(c|1) = 1/6; 0: 1/6, 2/6, 3/6.
    words = [("a",), ("b",), ("c",), ("a", "c"), ("new", "a")]
    # 3/18 > 2/18; 2/18 < 4/18; 1/18 < 6/18; 3/108 < 6/108; a new word has no effect.
    assert sentiment.naive_bayes(train, words) == [1, 0, 0, 0, 1]


def test_every_fold_holds_out_others_and_nothing_twice():
    data = [((f"word{i}",), i % 2) for i in range(500)]
    held_out = []
    for fold in range(5):
        parts = sentiment.split(data, fold)
        assert sorted([*parts[0], *parts[1], *parts[2]]) == sorted(data)
        assert 320 < len(parts[0]) < 380
        assert 35 < len(parts[1]) < 65
        held_out += parts[2]
    assert sorted(held_out) == sorted(data)
    assert sentiment.split(data[::-1])[2] == sentiment.split(data)[2][::-1]  # whatever the order


def test_labelled_lines(tmp_path):
    (tmp_path / "a.txt").write_bytes("Good\x85 it is.  \t1\r\n\r\nBad!\t0\nbad!\t0\nA\ttab\t1\n".encode())
    assert sentiment.read(tmp_path) == [(("good", "it", "is", "."), 1), (("bad", "!"), 0), (("a", "tab"), 1)]
    (tmp_path / "b.txt").write_text("Good.\t1\nno label\n")
    with pytest.raises(SystemExit, match=r"b\.txt, line 2: expected a sentence, a tab and 0 or 1, got 'no label'"):
        sentiment.read(tmp_path)
    with pytest.raises(SystemExit, match="holds no"):
        sentiment.read(tmp_path / "nowhere")


@pytest.mark.skipif(not (DATA / "sentiment").exists(), reason="the data folder is missing")
def test_real_sentences():
    data = sentiment.read(DATA / "sentiment")
    train, validation, test = sentiment.split(data)
    assert len(train) + len(validation) + len(test) == len(data) == 2821
    found = sentiment.naive_bayes(train + validation, [words for words, _ in test])
    assert sentiment.accuracy(found, test) > 0.78
