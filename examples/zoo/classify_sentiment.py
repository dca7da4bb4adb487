"""Many to one, with variable lengths: a GRU reads a sentence word by word and decides if it is friendly.

A word's vector is the sum of those of its n-grams: the word, the word with the one before it, and its runs of letters. Each
is weighted by what naive Bayes knows of it (Wang & Manning 2012), so few sentences suffice.

``python examples/zoo/classify_sentiment.py FOLDER --text "What a waste of money"`` trains on the folder's ``*.txt`` files
(each line has a sentence, a tab, and 0 or 1). It tests on a held-out fifth, compares with two baselines, and then judges the
text. With ``--out RUN`` it saves the model, and later judges texts without training:
``python examples/zoo/classify_sentiment.py --out RUN --text "Works like a charm"``.
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import saving

from fastrnn import GRU, Dropout, Input, Last, Layer, Linear, MaxPool, Model, Parameter
from fastrnn.commands.arguments import integer
from fastrnn.text.reading import read_file
from fastrnn.text.tokens import tokenize
from fastrnn.training import Examples, ProgressBar, fit, predict

EXAMPLE = "classify_sentiment"
Words = tuple[str, ...]
Data = list[tuple[Words, int]]  # sentences and their labels, 1 for a friendly one
LETTERS = (3, 4, 5)  # the lengths of runs of letters
MOST = 40  # n-grams of a word; the rest is ignored


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


def grams_of(words: Words) -> list[list[str]]:
    """Return the n-grams of each word: itself, with the word before it, and its runs of letters after a space."""
    found = []
    for before, word in zip(("<", *words), words, strict=False):
        bounded = f"<{word}>"
        runs = (f" {bounded[i : i + n]}" for n in LETTERS for i in range(len(bounded) - n + 1))
        found.append(list(dict.fromkeys((word, f"{before} {word}", *runs)))[:MOST])
    return found


class Grams:
    """The n-grams of the training sentences, and for each the log of how much more often it is in friendly ones.

    ``r = log(p / sum(p)) - log(q / sum(q))``, where p and q count the friendly and the other sentences with it, plus one.
    With ``words_only`` there are only the words themselves, with r = 1.
    """

    def __init__(self, train: Data, words_only: bool = False) -> None:
        self.words_only = words_only
        counts = [Counter[str](), Counter[str]()]
        for words, label in train:
            counts[label].update({gram for grams in self._of(words) for gram in grams})
        self.names = sorted(counts[0].keys() | counts[1].keys())
        q, p = (np.array([count[name] + 1 for name in self.names]) for count in counts)
        self.ratios = np.ones(len(p)) if words_only else np.log(p / p.sum()) - np.log(q / q.sum())
        self.ids = {name: i for i, name in enumerate(self.names)}

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary for :meth:`from_json`."""
        return {"names": self.names, "ratios": self.ratios.tolist(), "words_only": self.words_only}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Grams":
        """Make the n-grams from a dictionary of :meth:`to_json`."""
        grams = cls([], value["words_only"])
        grams.names, grams.ratios = value["names"], np.array(value["ratios"])
        grams.ids = {name: i for i, name in enumerate(grams.names)}
        return grams

    def _of(self, words: Words) -> list[list[str]]:
        return [[word] for word in words] if self.words_only else grams_of(words)

    def inputs(self, words: Words) -> np.ndarray:
        """Return the ids of each word's known n-grams, int64 ``[T, MOST]``, -1 after the last."""
        rows = np.full((len(words), 1 if self.words_only else MOST), -1)
        for row, grams in zip(rows, self._of(words), strict=True):
            known = [self.ids[gram] for gram in grams if gram in self.ids]
            row[: len(known)] = known
        return rows


class GramVectors(Layer):
    """Sums ``y[t, b] = sum over f of r[id] W[id]`` over ids ``x [T, B, F]``; training leaves some of them out."""

    pointwise = True

    def __init__(self, ratios: np.ndarray, size: int, dropout: float, dtype: str, rng: np.random.Generator) -> None:
        self.weight = Parameter("weight", (0.1 * rng.standard_normal((len(ratios), size))).astype(dtype))
        self.ratios, self.dropout, self.rng = ratios.astype(dtype), dropout, rng

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the sums ``[T, B, size]``."""
        return self._sum(x, self._scales(x))

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], None]]:
        """Return the sums and a backward function, which gives no gradient for ids."""
        kept = self.rng.random(x.shape) >= self.dropout
        scales = self._scales(x) * kept / (1 - self.dropout)
        scales = scales.astype(self.weight.dtype)

        def backward(dy: np.ndarray) -> None:
            t, b, f = np.nonzero(scales)
            np.add.at(self.weight.gradient(), x[t, b, f], scales[t, b, f, None] * dy[t, b])

        return self._sum(x, scales), backward

    def _scales(self, x: np.ndarray) -> np.ndarray:
        return np.where(x >= 0, self.ratios[x], self.ratios.dtype.type(0))

    def _sum(self, x: np.ndarray, scales: np.ndarray) -> np.ndarray:
        return np.einsum("tbf,tbfi->tbi", scales, self.weight.values[x])


def make_model(grams: Grams, size: int, dropout: float, last: bool = False, dtype: str = "float32", seed: int = 0) -> Model:
    """Build a model from ids of n-grams ``[T, B, F]`` to the logit of a friendly sentence ``[B, 1]``."""
    rng = np.random.default_rng(seed)
    words = Input(("T", "B", 1 if grams.words_only else MOST), dtype="int64")
    left_out = dropout / 3 if grams.words_only else dropout  # of many n-grams more can be spared
    x = Dropout(dropout)(GramVectors(grams.ratios, size // 2, left_out, dtype, rng)(words))
    y, _ = GRU(size // 2, size, bidirectional=not last, dtype=dtype, rng=rng)(x)
    summary = Last()(y) if last else MaxPool()(y)
    return Model(words, Linear(summary.shape[-1], 1, dtype=dtype, rng=rng)(Dropout(dropout)(summary)))


def examples(data: Data, grams: Grams) -> Examples:
    """Convert the data to examples for ``fit``."""
    labels = np.array([[label] for _, label in data], np.float32)
    return Examples([grams.inputs(words) for words, _ in data], labels)


def judge(model: Model, grams: Grams, texts: Sequence[str]) -> None:
    """Print how friendly the model finds each text."""
    for text in texts:
        logit = model(grams.inputs(words_of(text))[:, None])[0, 0]
        print(f"{1 / (1 + np.exp(-logit)):4.0%} friendly: {text}")


def judge_by_saved(out: Path, texts: Sequence[str]) -> None:
    """Judge the texts with the model that ``--out`` saved."""
    with saving.loading(out, EXAMPLE) as details:
        grams = Grams.from_json(details["grams"])
        model = make_model(grams, details["size"], 0.0, details["last"])
        model.load(out / saving.MODEL)
    judge(model, grams, texts)


def main(
    folder: Path, texts: Sequence[str], fold: int, epochs: int, size: int = 32, last: bool = False, words_only: bool = False,
    dropout: float = 0.6, lr: float = 2e-3, seed: int = 0, out: Path | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train; return the test accuracies of the model and the baselines; save the model in ``out``."""
    train, validation, test = split(read(folder), fold)
    if not (validation and test) or len({label for _, label in train}) < 2:
        raise SystemExit(f"{folder} must hold more sentences, of both labels")
    print(f"{len(train)} sentences to train on, {len(validation)} to watch, {len(test)} to test on")
    grams = Grams(train, words_only)
    model = make_model(grams, size, dropout, last, seed=seed)
    name = f"GRU of {size}, {'one direction, last state' if last else 'both directions, maximum over time'}"
    print(f"{name}; epoch {epochs}, the last, is used; val_: on the {len(validation)} sentences to watch")
    fit(
        model, examples(train, grams), validation=examples(validation, grams), metrics="binary_accuracy",
        loss="sigmoid_binary_cross_entropy", epochs=epochs, lr=lr, schedule="cosine", clip_norm=1.0, seed=seed,
        callbacks=[ProgressBar()],
    )  # fmt: skip
    majority = Counter(label for _, label in train).most_common(1)[0][0]
    results = {
        "majority class": accuracy([majority] * len(test), test),
        "naive Bayes": accuracy(naive_bayes(train, [words for words, _ in test]), test),
        "GRU": accuracy((predict(model, examples(test, grams))[:, 0] > 0).tolist(), test),
    }
    print(f"right, of the {len(test)} sentences to test on:")
    for name, value in results.items():
        print(f"{value:6.1%}  {name}")
    saving.save(out, EXAMPLE, model, architecture=False, grams=grams.to_json(), size=size, last=last)
    judge(model, grams, texts)
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="the folder of labelled sentences to train on")
    saving.add_options(parser, text="a sentence to judge afterwards")
    parser.add_argument("--fold", type=integer(0, 4), default=0, help="which fifth to hold out, 0 to 4 (%(default)s)")
    parser.add_argument("--last", action="store_true", help="use one direction and its last state, no maximum over time")
    parser.add_argument("--words-only", action="store_true", help="give each word a vector of its own, without n-grams")
    parser.add_argument("--size", type=integer(2), default=32, help="of the state; vectors have half (default: %(default)s)")
    parser.add_argument("--epochs", type=integer(1), default=15, help="times over the sentences (default: %(default)s)")
    options = parser.parse_args()
    if not all(map(words_of, options.text)):
        parser.error("argument --text: must have a word in it")
    sizes = {"epochs": options.epochs, "size": options.size, "last": options.last, "words_only": options.words_only}
    saving.run(
        parser, options, "folder",
        answer=lambda: judge_by_saved(options.out, options.text),
        train=lambda: main(options.folder, options.text, options.fold, **sizes, out=options.out),
    )  # fmt: skip
