"""Many to one, with variable lengths: a GRU reads a sentence word by word and decides if it is friendly.

``python examples/zoo/classify_sentiment.py FOLDER --text "What a waste of money"`` trains on the folder's ``*.txt`` files
(each line has a sentence, a tab, and 0 or 1). It tests on a held-out fifth, compares with two baselines, and then judges the
text. With ``--out RUN`` it saves the model, and later judges texts without training:
``python examples/zoo/classify_sentiment.py --out RUN --text "Works like a charm"``.
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from math import log
from pathlib import Path

import numpy as np
import saving

from fastrnn import GRU, Dropout, Embedding, Input, Last, Linear, MaxPool, Model, TokenDropout
from fastrnn.commands.arguments import integer
from fastrnn.text.reading import read_file
from fastrnn.text.tokens import tokenize
from fastrnn.text.word_vocabulary import WordVocabulary
from fastrnn.training import Examples, ProgressBar, fit, predict

EXAMPLE = "classify_sentiment"
Words = tuple[str, ...]
Data = list[tuple[Words, int]]  # sentences and their labels, 1 for a friendly one


def words_of(sentence: str) -> Words:
    """Split a sentence into lower-case words and marks."""
    return tuple(tokenize(sentence, sentences=False))


def read(folder: Path) -> Data:
    """Read the sentences in the folder's files, each once."""
    found = {}
    for path in sorted(folder.glob("*.txt")):
        for number, line in enumerate(read_file(path).split("\n"), 1):  # splitlines() would also split at U+0085
            sentence, _, label = line.rpartition("\t")
            if label in ("0", "1") and words_of(sentence):
                found[words_of(sentence)] = int(label)
            elif line.strip():
                raise SystemExit(f"{path}, line {number}: expected a sentence, a tab and 0 or 1, got {line!r}")
    if not found:
        raise SystemExit(f"{folder} holds no *.txt file with labelled sentences")
    return list(found.items())


def split(data: Data, fold: int = 0) -> tuple[Data, Data, Data]:
    """Split into 7/10 to train on, 1/10 to watch, 2/10 to test on, by a hash of the words and thus independent of order."""
    parts: tuple[Data, Data, Data] = [], [], []
    for words, label in data:
        tenth = (int(hashlib.sha256(" ".join(words).encode()).hexdigest(), 16) - 2 * fold) % 10
        parts[2 if tenth < 2 else 1 if tenth == 2 else 0].append((words, label))
    return parts


def naive_bayes(train: Data, sentences: Iterable[Words]) -> list[int]:
    """Predict labels from bags of words: ``p(label)`` times the product of ``p(word | label)``, with add-one counts."""
    counts = [Counter(word for words, label in train if label == wanted for word in words) for wanted in (0, 1)]
    known = counts[0].keys() | counts[1].keys()
    totals = [len(known) + count.total() for count in counts]
    prior = [log(sum(label == wanted for _, label in train)) for wanted in (0, 1)]

    def score(words: Words, label: int) -> float:
        return prior[label] + sum(log((counts[label][word] + 1) / totals[label]) for word in words if word in known)

    return [int(score(words, 1) > score(words, 0)) for words in sentences]


def accuracy(predicted: Iterable[int], data: Data) -> float:
    """Return the share of correct labels."""
    return sum(guess == label for guess, (_, label) in zip(predicted, data, strict=True)) / len(data)


def make_model(V: int, size: int, dropout: float, last: bool = False, dtype: str = "float32", seed: int = 0) -> Model:
    """Build a model from word ids ``[T, B]`` to the logit of a friendly sentence ``[B, 1]``."""
    rng = np.random.default_rng(seed)
    words, embedding = Input(("T", "B"), dtype="int64"), Embedding(V, size, dtype=dtype, rng=rng)
    embedding.weight.assign(embedding.weight.data * 0.1)  # N(0, 1) for rare words would drown what is learnt
    x = Dropout(dropout)(embedding(TokenDropout(dropout / 3, V - 1)(words)))  # the last id is <UNK>
    y, _ = GRU(size, size, bidirectional=not last, dtype=dtype, rng=rng)(x)
    summary = Last()(y) if last else MaxPool()(y)
    return Model(words, Linear(summary.shape[-1], 1, dtype=dtype, rng=rng)(Dropout(dropout)(summary)))


def examples(data: Data, vocabulary: WordVocabulary) -> Examples:
    """Convert the data to examples for ``fit``."""
    labels = np.array([[label] for _, label in data], np.float32)
    return Examples([vocabulary.ids(words) for words, _ in data], labels)


def judge(model: Model, vocabulary: WordVocabulary, texts: Sequence[str]) -> None:
    """Print how friendly the model finds each text."""
    for text in texts:
        logit = model(vocabulary.ids(words_of(text))[:, None].astype(np.int64))[0, 0]
        print(f"{1 / (1 + np.exp(-logit)):4.0%} friendly: {text}")


def judge_by_saved(out: Path, texts: Sequence[str]) -> None:
    """Judge the texts with the model that ``--out`` saved."""
    with saving.loading(out, EXAMPLE) as details:
        vocabulary = WordVocabulary.from_json(details["vocabulary"])
        model = make_model(len(vocabulary), details["size"], 0.0, details["last"])
        model.load(out / saving.MODEL)
    judge(model, vocabulary, texts)


def main(
    folder: Path, texts: Sequence[str], fold: int, epochs: int, size: int = 64, last: bool = False,
    dropout: float = 0.6, lr: float = 2e-3, seed: int = 0, out: Path | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train; return the test accuracies of the model and the baselines; save the model in ``out``."""
    train, validation, test = split(read(folder), fold)
    if not (validation and test) or len({label for _, label in train}) < 2:
        raise SystemExit(f"{folder} must hold more sentences, of both labels")
    print(f"{len(train)} sentences to train on, {len(validation)} to watch, {len(test)} to test on")
    vocabulary = WordVocabulary.most_frequent([word for words, _ in train for word in words], 10_000)
    model = make_model(len(vocabulary), size, dropout, last, seed=seed)
    name = f"GRU of {size}, {'one direction, last state' if last else 'both directions, maximum over time'}"
    print(f"{name}; epoch {epochs}, the last, is used; val_: on the {len(validation)} sentences to watch")
    fit(
        model, examples(train, vocabulary), validation=examples(validation, vocabulary), metrics="binary_accuracy",
        loss="sigmoid_binary_cross_entropy", epochs=epochs, lr=lr, schedule="cosine", clip_norm=1.0, seed=seed,
        callbacks=[ProgressBar()],
    )  # fmt: skip
    majority = Counter(label for _, label in train).most_common(1)[0][0]
    results = {
        "majority class": accuracy([majority] * len(test), test),
        "naive Bayes": accuracy(naive_bayes(train, [words for words, _ in test]), test),
        "GRU": accuracy((predict(model, examples(test, vocabulary))[:, 0] > 0).tolist(), test),
    }
    print(f"right, of the {len(test)} sentences to test on:")
    for name, value in results.items():
        print(f"{value:6.1%}  {name}")
    saving.save(out, EXAMPLE, model, vocabulary=vocabulary.to_json(), size=size, last=last)
    judge(model, vocabulary, texts)
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="the folder of labelled sentences to train on")
    saving.add_options(parser, text="a sentence to judge afterwards")
    parser.add_argument("--fold", type=integer(0, 4), default=0, help="which fifth to hold out, 0 to 4 (%(default)s)")
    parser.add_argument("--last", action="store_true", help="use one direction and its last state, no maximum over time")
    parser.add_argument("--size", type=integer(1), default=64, help="of the embedding and the state (default: %(default)s)")
    parser.add_argument("--epochs", type=integer(1), default=15, help="times over the sentences (default: %(default)s)")
    options = parser.parse_args()
    if not all(map(words_of, options.text)):
        parser.error("argument --text: must have a word in it")
    sizes = {"epochs": options.epochs, "size": options.size, "last": options.last}
    saving.run(
        parser, options, "folder",
        answer=lambda: judge_by_saved(options.out, options.text),
        train=lambda: main(options.folder, options.text, options.fold, **sizes, out=options.out),
    )  # fmt: skip
