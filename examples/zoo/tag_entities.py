"""Find the names in a text: a bidirectional LSTM over words and their letters, and a CRF over the tags (Lample et al. 2016).

``python examples/zoo/tag_entities.py FOLDER --text "Moved to New York with Anna"`` trains on the folder's files ``*train*``
and ``*dev*`` and tests on ``*test*``, then tags the text. Each line of a file has a token, a tab and its tag: B-x, I-x or O.
With ``--vectors FILE`` the words start from pretrained vectors. With ``--out RUN`` it saves the model, and later tags texts
without training: ``python examples/zoo/tag_entities.py --out RUN --text "Anna lives in Lima"``.

seqeval counts the entities: ``pip install ".[zoo]"`` from the checkout.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import saving

from fastrnn import CRF, LSTM, Concat, Embedding, Input, Layer, Linear, Model, TokenDropout, VariationalDropout
from fastrnn.commands.arguments import integer, seed
from fastrnn.text.tagging import Tagged, decode_bio, read_conll
from fastrnn.text.word_vectors import WordVectors, read_vectors
from fastrnn.text.word_vocabulary import WordVocabulary
from fastrnn.training import Examples, ProgressBar, fit, predict

Data = Sequence[Tagged]
EXAMPLE = "tag_entities"
RARE = 0.5  # a word that occurs n times is dropped with probability RARE / (RARE + n)
LETTERS = 20  # the first letters of a word; the rest is ignored
TOKEN = re.compile(r"https?://\S+|[@#]?\w+(?:[-.'’]\w+)*|[^\w\s]+")  # noqa: RUF001


class Codes:
    """The ids of words, letters and tags. A word has one if the data holds it twice, or if it is among the ``vectors``."""

    def __init__(self, data: Data, vectors: Sequence[str] = ()) -> None:
        words = [word for words, _ in data for word in words]
        self.counts = Counter(map(self.plain, words))
        self.words = WordVocabulary(sorted({word for word, count in self.counts.items() if count > 1} | set(vectors)))
        self.letters = {letter: i for i, letter in enumerate(sorted(set("".join(words))), 2)}  # 0: none, 1: unknown
        self.tags = sorted({tag for _, tags in data for tag in tags})

    def rarity(self, a: float) -> np.ndarray:
        """Return ``a / (a + count)`` for each word's id: the probability of dropping it, largest for rare words."""
        return np.array([a / (a + self.counts[word]) if a else 0.0 for word in self.words.tokens])

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


def make_model(
    codes: Codes, size: int = 64, dropout: float = 0.3, rare: float = 0.0, crf: bool = True,
    vectors: WordVectors | None = None, width: int | None = None, dtype: str = "float32", seed: int = 0,
) -> Model:  # fmt: skip
    """Build a model from ids of words and letters to the scores of tags, for ``crf_nll`` or, without ``crf``, a softmax.

    A word that occurs n times becomes ``<UNK>`` with probability ``rare / (rare + n)`` in training. Words start from
    ``vectors``, or from random values of ``width`` numbers, by default ``size``.
    """
    rng, V, K = np.random.default_rng(seed), len(codes.words), len(codes.tags)
    words, letters = Input(("T", "B"), dtype="int64"), Input(("T", "B", LETTERS), dtype="int64")
    embedding = Embedding(V, vectors.width if vectors else width or size, dtype=dtype, rng=rng)
    # N(0, 1) for rare words would drown their letters. Vectors say more, and training shall change them less.
    embedding.weight.assign(embedding.weight.data * (0.5 if vectors else 0.1))
    if vectors:
        vectors.assign(embedding.weight, codes.words.id)
    known = embedding(TokenDropout(codes.rarity(rare), V - 1)(words) if rare else words)  # the last id is <UNK>
    spelt = Spelling(len(codes.letters) + 2, size // 2, dtype, rng)(letters)
    x = VariationalDropout(dropout)(Concat()(known, spelt))
    y, _ = LSTM(x.shape[-1], size, bidirectional=True, dtype=dtype, rng=rng)(x)
    scores = Linear(2 * size, K, dtype=dtype, rng=rng)(VariationalDropout(dropout)(y))
    return Model((words, letters), CRF(K, dtype=dtype, rng=rng)(scores) if crf else scores)


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


def tagged(scores: Sequence[np.ndarray], codes: Codes) -> list[list[str]]:
    """Return each sentence's likeliest legal tags from the model's scores."""
    return [decode_bio(one, codes.tags) for one in scores]


def tag_texts(model: Model, codes: Codes, texts: Sequence[str]) -> None:
    """Print each text with its tags."""
    for words in map(TOKEN.findall, texts):
        tags = tagged([model(*(x[:, None] for x in codes.inputs(words)))[:, 0]], codes)[0]
        print(" ".join(word if tag == "O" else f"{word}[{tag}]" for word, tag in zip(words, tags, strict=True)))


def tag_by_saved(out: Path, texts: Sequence[str]) -> None:
    """Tag the texts with the model that ``--out`` saved."""
    with saving.loading(out, EXAMPLE) as details:
        codes = Codes.from_json(details["codes"])
        model = make_model(codes, details["size"], crf=details["crf"], width=details["width"])
        model.load(out / saving.MODEL)
    tag_texts(model, codes, texts)


def vectors_of(path: Path, data: Data, texts: Sequence[str]) -> WordVectors:
    """Read the vectors of all words in the data and the texts, and print how many there are."""
    words = {Codes.plain(word) for words in (*(words for words, _ in data), *map(TOKEN.findall, texts)) for word in words}

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(
                f"\rreading {path.name}: {done / total:4.0%}", end="" if done < total else "\n", file=sys.stderr, flush=True
            )

    vectors = read_vectors(path, sorted(words), progress=show)
    print(f"{path}: {vectors.summary(len(words))}")
    return vectors


def main(
    folder: Path, texts: Sequence[str], epochs: int, seed: int = 0, size: int = 64, dropout: float = 0.3, rare: float = RARE,
    lr: float = 5e-3, crf: bool = True, use_dev: bool = True, vectors: Path | None = None, out: Path | None = None,
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
    known = vectors_of(vectors, [*train, *dev, *test], texts) if vectors else None
    data = [*train, *dev] if use_dev else train
    codes = Codes(data, known.words if known else ())
    model = make_model(codes, size, dropout, rare, crf, known, seed=seed)
    files = " and ".join(path.name for path in paths[: 1 + use_dev])
    print(f"BiLSTM of {size}, trained on {files}; epoch {epochs}, the last, is used")
    fit(
        model, codes.examples(data), validation=None if use_dev else codes.examples(dev),
        loss="crf_nll" if crf else "softmax_cross_entropy",
        epochs=epochs, lr=lr, schedule="cosine", clip_norm=5.0, seed=seed, callbacks=[ProgressBar()],
    )  # fmt: skip
    print(f"whole entities in {paths[2].name} again:")
    report("BiLSTM-CRF" if crf else "BiLSTM", tagged(predict(model, codes.examples(test)), codes))
    details = {"codes": codes.to_json(), "size": size, "width": known.width if known else size, "crf": crf}
    saving.save(out, EXAMPLE, model, architecture=False, **details)
    tag_texts(model, codes, texts)
    return f1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="the folder of the three files to train on")
    saving.add_options(parser, text="a text to tag afterwards")
    parser.add_argument(
        "--vectors", type=Path, metavar="FILE", help="word vectors in word2vec's, GloVe's or fastText's text form"
    )
    parser.add_argument("--softmax", action="store_true", help="choose each tag alone, without a CRF")
    parser.add_argument("--keep-rare", action="store_true", help="do not drop rare words in training")
    parser.add_argument("--train-only", action="store_true", help="do not train on *dev* as well")
    parser.add_argument("--epochs", type=integer(1), default=15, help="times over the sentences (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="of all that is random (default: %(default)s)")
    options = parser.parse_args()
    if not all(map(TOKEN.findall, options.text)):
        parser.error("argument --text: must have a word in it")
    settings = {
        "crf": not options.softmax,
        "use_dev": not options.train_only,
        "vectors": options.vectors,
        "rare": 0.0 if options.keep_rare else RARE,
    }
    saving.run(
        parser, options, "folder",
        answer=lambda: tag_by_saved(options.out, options.text),
        train=lambda: main(options.folder, options.text, options.epochs, options.seed, out=options.out, **settings),
    )  # fmt: skip
