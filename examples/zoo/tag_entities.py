"""Find the names in a text: a bidirectional LSTM over words and their letters tags every word.

``python examples/zoo/tag_entities.py FOLDER --text "Moved to New York with Anna"`` trains on the folder's file ``*train*``,
watches ``*dev*`` and tests on ``*test*``, then tags the text. Each line of a file has a token, a tab and its tag: B-x, I-x
or O. With ``--out RUN`` it saves the model, and later tags texts without training:
``python examples/zoo/tag_entities.py --out RUN --text "Anna lives in Lima"``.

seqeval counts the entities: ``pip install ".[zoo]"`` from the checkout.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import saving

from fastrnn import LSTM, Concat, Dropout, Embedding, Input, Layer, Linear, Model, TokenDropout
from fastrnn.commands.arguments import integer, seed
from fastrnn.text.tagging import Tagged, decode_bio, read_conll
from fastrnn.text.word_vocabulary import WordVocabulary
from fastrnn.training import Examples, ProgressBar, fit, predict

Data = Sequence[Tagged]
EXAMPLE = "tag_entities"
LETTERS = 20  # the first letters of a word; the rest is ignored
TOKEN = re.compile(r"https?://\S+|[@#]?\w+(?:[-.'’]\w+)*|[^\w\s]+")  # noqa: RUF001


class Codes:
    """The ids of words, letters and tags."""

    def __init__(self, data: Data) -> None:
        words = [word for words, _ in data for word in words]
        self.words = WordVocabulary.most_frequent(map(self.plain, words), len(words), min_count=2)
        self.letters = {letter: i for i, letter in enumerate(sorted(set("".join(words))), 2)}  # 0: none, 1: unknown
        self.tags = sorted({tag for _, tags in data for tag in tags})

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary for :meth:`from_json`."""
        return {"words": self.words.to_json(), "letters": "".join(self.letters), "tags": self.tags}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Codes":
        """Make the codes from a dictionary of :meth:`to_json`."""
        codes = cls.__new__(cls)
        codes.words = WordVocabulary.from_json(value["words"])
        codes.letters = {letter: i for i, letter in enumerate(value["letters"], 2)}
        codes.tags = value["tags"]
        return codes

    @staticmethod
    def plain(word: str) -> str:
        """Reduce a word to the form that has an id: lower case, digits as 0, links and mentions as one word each."""
        return "http" if word.startswith("http") else "@" if word[0] == "@" else re.sub(r"\d", "0", word.lower())

    def inputs(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of words ``[T]`` and of their letters ``[T, LETTERS]``."""
        letters = np.zeros((len(words), LETTERS), np.int64)
        for row, word in zip(letters, words, strict=True):
            row[: len(word)] = [self.letters.get(letter, 1) for letter in word[:LETTERS]]
        return self.words.ids(map(self.plain, words)), letters

    def examples(self, data: Data) -> Examples:
        """Convert the data to examples for ``fit``."""
        words, letters = zip(*(self.inputs(words) for words, _ in data), strict=True)
        return Examples((list(words), list(letters)), [[self.tags.index(tag) for tag in tags] for _, tags in data])


class Spelling(Layer):
    """A BiLSTM over letters: ids ``[T, B, LETTERS]`` to last states ``[T, B, 2*size]``; each distinct word is read once."""

    pointwise = True  # a word's output does not depend on its neighbours

    def __init__(self, letters: int, size: int, dtype: str, rng: np.random.Generator) -> None:
        self.embedding = Embedding(letters, size, dtype=dtype, rng=rng)
        self.lstm = LSTM(size, size, bidirectional=True, dtype=dtype, rng=rng)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the last states."""
        return self.forward(x)[0]

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], None]]:
        """Return the last states and a backward function, which gives no gradient for ids."""
        words, place = np.unique(x.reshape(-1, x.shape[-1]), axis=0, return_inverse=True)
        lengths = np.maximum(1, np.count_nonzero(words > 0, axis=1))
        e, embedding_backward = self.embedding.forward(np.ascontiguousarray(words.T))
        (_, (h_n, _)), lstm_backward = self.lstm.forward(e, lengths=lengths)
        y = np.concatenate(h_n, axis=-1)  # [distinct words, 2*size]
        rows = place.reshape(-1)

        def backward(dy: np.ndarray) -> None:
            d = np.zeros_like(y)
            np.add.at(d, rows, dy.reshape(len(rows), -1))
            embedding_backward(lstm_backward(None, (np.stack(np.split(d, 2, axis=1)), None))[0])

        return y[rows].reshape(*x.shape[:2], -1), backward


def make_model(codes: Codes, size: int = 64, dropout: float = 0.5, dtype: str = "float32", seed: int = 0) -> Model:
    """Build a model from ids of words and letters to logits ``[T, B, tags]``."""
    rng, V = np.random.default_rng(seed), len(codes.words)
    words, letters = Input(("T", "B"), dtype="int64"), Input(("T", "B", LETTERS), dtype="int64")
    embedding = Embedding(V, size, dtype=dtype, rng=rng)
    embedding.weight.assign(embedding.weight.data * 0.1)  # N(0, 1) for rare words would drown their letters
    known = embedding(TokenDropout(dropout / 5, V - 1)(words))  # the last id is <UNK>
    spelt = Spelling(len(codes.letters) + 2, size // 2, dtype, rng)(letters)
    y, _ = LSTM(2 * size, size, bidirectional=True, dtype=dtype, rng=rng)(Dropout(dropout)(Concat()(known, spelt)))
    return Model((words, letters), Linear(2 * size, len(codes.tags), dtype=dtype, rng=rng)(Dropout(dropout)(y)))


def entity_scores(data: Data, predicted: list[list[str]]) -> tuple[float, ...]:
    """Compute precision, recall and F1 of whole entities."""
    try:
        from seqeval.metrics import f1_score, precision_score, recall_score
    except ImportError:
        raise SystemExit("seqeval, which counts the entities, is not installed: pip install seqeval") from None
    scores, gold = (precision_score, recall_score, f1_score), [tags for _, tags in data]
    return tuple(float(score(gold, predicted, zero_division=0)) for score in scores)


def most_frequent_tags(train: Data, data: Data) -> list[list[str]]:
    """Tag each word with its most frequent tag in training, O if it is unknown; this is the baseline."""
    pairs = Counter(pair for words, tags in train for pair in zip(words, tags, strict=True))
    usual = dict(pair for pair, _ in reversed(pairs.most_common()))  # the commonest tag of a word comes last and wins
    return [[usual.get(word, "O") for word in words] for words, _ in data]


def tagged(logits: Sequence[np.ndarray], codes: Codes, bias: float) -> list[list[str]]:
    """Return each sentence's likeliest legal tags from logits ``[T, tags]``; ``bias`` is added to all tags but O."""
    return [decode_bio(one + bias * (np.array(codes.tags) != "O"), codes.tags) for one in logits]


def tag_texts(model: Model, codes: Codes, bias: float, texts: Sequence[str]) -> None:
    """Print each text with its tags."""
    for words in map(TOKEN.findall, texts):
        tags = tagged([model(*(x[:, None] for x in codes.inputs(words)))[:, 0]], codes, bias)[0]
        print(" ".join(word if tag == "O" else f"{word}[{tag}]" for word, tag in zip(words, tags, strict=True)))


def tag_by_saved(out: Path, texts: Sequence[str]) -> None:
    """Tag the texts with the model that ``--out`` saved."""
    with saving.loading(out, EXAMPLE) as details:
        codes, bias = Codes.from_json(details["codes"]), float(details["bias"])
        model = make_model(codes, details["size"], 0.0)
        model.load(out / saving.MODEL)
    tag_texts(model, codes, bias, texts)


def main(
    folder: Path, texts: Sequence[str], epochs: int, seed: int = 0, size: int = 64, dropout: float = 0.5, lr: float = 5e-3,
    out: Path | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train; return the test F1 of the model and the baselines; save the model in ``out``."""
    paths = [path for part in ("train", "dev", "test") for path in folder.glob(f"*{part}*")]
    if len(paths) != 3:
        raise SystemExit(f"{folder} must hold one file *train*, one *dev* and one *test*, got {paths}")
    train, dev, test = map(read_conll, paths)
    f1 = {}

    def report(name: str, guess: list[list[str]]) -> None:
        precision, recall, f1[name] = entity_scores(test, guess)
        print(f"{name:18} precision {precision:6.1%}  recall {recall:6.1%}  F1 {f1[name]:6.1%}")

    print(f"whole entities in {paths[2].name}, {len(test):,} sentences:")
    report("all O", [["O"] * len(words) for words, _ in test])
    report("most frequent tag", most_frequent_tags([*train, *dev], test))
    codes = Codes(train)
    model = make_model(codes, size, dropout, seed=seed)
    print(f"BiLSTM of {size}, trained on {paths[0].name}; epoch {epochs}, the last, is used; val_: on {paths[1].name}")
    fit(
        model, codes.examples(train), validation=codes.examples(dev), metrics="accuracy",
        epochs=epochs, lr=lr, schedule="cosine", clip_norm=5.0, seed=seed, callbacks=[ProgressBar()],
    )  # fmt: skip
    # The loss counts words, most of them O, but F1 counts names. So names get the bias that is best on dev.
    logits = predict(model, codes.examples(dev))
    bias = max(np.arange(0, 4.5, 0.5), key=lambda bias: entity_scores(dev, tagged(logits, codes, bias))[2])
    print(f"whole entities in {paths[2].name} again:")
    report("BiLSTM", tagged(predict(model, codes.examples(test)), codes, bias))
    saving.save(out, EXAMPLE, model, architecture=False, codes=codes.to_json(), size=size, bias=float(bias))
    tag_texts(model, codes, bias, texts)
    return f1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="the folder of the three files to train on")
    saving.add_options(parser, text="a text to tag afterwards")
    parser.add_argument("--epochs", type=integer(1), default=20, help="times over the sentences (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="of all that is random (default: %(default)s)")
    options = parser.parse_args()
    if not all(map(TOKEN.findall, options.text)):
        parser.error("argument --text: must have a word in it")
    saving.run(
        parser, options, "folder",
        answer=lambda: tag_by_saved(options.out, options.text),
        train=lambda: main(options.folder, options.text, options.epochs, options.seed, out=options.out),
    )  # fmt: skip
