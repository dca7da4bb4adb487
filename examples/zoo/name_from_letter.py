"""One to many: a GRU writes a name from its first letter and its length.

A vector for the letter plus one for the length are the GRU's initial state. From then on it reads its own output. It is
trained on names, one per line, and tested with the letters and lengths of held-out names.

``python examples/zoo/name_from_letter.py names.txt`` takes about a minute. With ``--out RUN`` it saves the model, and later
writes names without training: ``--out RUN --text Maria`` requests a name of five letters that begins with M.
"""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import saving

from fastrnn import GRU, Activation, Embedding, Examples, Input, Linear, Model, RepeatVector, fit
from fastrnn.commands.arguments import integer, real
from fastrnn.sampling import Choice, choose, log_softmax
from fastrnn.text.reading import read_file
from fastrnn.text.vocabulary import Vocabulary
from fastrnn.training import ProgressBar
from fastrnn.training.baselines import bigram, unigram

EXAMPLE = "name_from_letter"
END = "\n"  # id 0: the first input, and the last output


class NameWriter:
    """``model`` from ids of letters ``[B]``, lengths ``[B]`` and the names so far ``[T,B]`` to logits ``[T,B,V]``."""

    def __init__(
        self, vocabulary: Vocabulary, longest: int, hidden: int, rng: np.random.Generator, dtype: str = "float32"
    ) -> None:
        self.vocabulary, self.longest, self.hidden = vocabulary, longest, hidden
        V, size, options = len(self.vocabulary), hidden // 4, {"dtype": dtype, "rng": rng}
        letter, length = (Input(("B",), dtype="int64", name=name) for name in ("letter", "length"))
        text = Input(("T", "B"), dtype="int64", name="text")

        wish = Embedding(V, hidden, **options)(letter) + Embedding(self.longest + 1, hidden, **options)(length)
        state = RepeatVector(1)(Activation("tanh")(wish))  # [1,B,H]: the state of a single layer
        self.embedding, self.gru = Embedding(V, size, **options), GRU(size, hidden, **options)
        y, _ = self.gru(self.embedding(text), state)
        self.head = Linear(hidden, V, **options)

        self.model = Model((letter, length, text), self.head(y))
        self.beginning = Model((letter, length), state)

    @classmethod
    def of(cls, names: Sequence[str], hidden: int, rng: np.random.Generator, dtype: str = "float32") -> "NameWriter":
        """Make an untrained writer for the letters and lengths of these names."""
        return cls(Vocabulary.from_text("".join(names), first=END), max(map(len, names)), hidden, rng, dtype)

    def save(self, out: Path | None) -> None:
        """Save the model in a folder, if there is one."""
        details = {"vocabulary": self.vocabulary.to_json(), "longest": self.longest, "hidden": self.hidden}
        saving.save(out, EXAMPLE, self.model, **details)

    @classmethod
    def load(cls, out: Path) -> "NameWriter":
        """Load the writer that ``--out`` saved."""
        with saving.loading(out, EXAMPLE) as details:
            vocabulary = Vocabulary.from_json(details["vocabulary"])
            writer = cls(vocabulary, details["longest"], details["hidden"], np.random.default_rng(0))
            writer.model.load(out / saving.MODEL)
        return writer

    def show(self, like: Sequence[str], known: Collection[str], rng: np.random.Generator, choice: Choice) -> None:
        """Print a new name for each of these, and mark the ``known`` ones."""
        wishes = [self._wish(name) for name in like]
        for wish, name in zip(wishes, self.write(wishes, rng, choice) if wishes else (), strict=True):
            print(f"{wish[0]}, {len(wish):2} letters: {name}{' (in the list)' if name in known else ''}")

    def _wish(self, name: str) -> str:
        """Return the first letter of a name, repeated to its length; a capital may stand for a small letter."""
        first = next((letter for letter in (name[0], name[0].lower()) if letter in self.vocabulary.tokens), None)
        if first is None or len(name) > self.longest:
            wanted = f"begin with a letter of the names and have at most {self.longest}"
            raise SystemExit(f"--text must {wanted}, got {name!r}")
        return first * len(name)

    def examples(self, names: Sequence[str]) -> Examples:
        """Make examples: the input is END and the name, the target is the name and END."""
        ids = [self.vocabulary.encode(name).astype(np.int64) for name in names]
        letters, lengths = np.array([row[0] for row in ids]), np.array([len(row) for row in ids])
        inputs = (letters, lengths, [np.append(0, row) for row in ids])
        return Examples(inputs, [np.append(row, 0) for row in ids], axes=(None, None, "T"))

    def losses(self, names: Sequence[str]) -> np.ndarray:
        """Return -log p of each character of the names, ENDs included, in one array."""
        batch = self.examples(names).batch(np.arange(len(names)))
        logp = log_softmax(self.model(*batch.inputs, lengths=batch.lengths))
        of_targets = np.take_along_axis(logp, np.maximum(batch.targets, 0)[:, :, None], axis=2)[:, :, 0]
        return -of_targets.T[batch.mask.T]

    def write(self, like: Sequence[str], rng: np.random.Generator, choice: Choice) -> list[str]:
        """Write a new name for each of these, with its first letter and length."""
        letters, lengths, _ = self.examples(like).batch(np.arange(len(like))).inputs
        state, ids, rows = self.beginning(letters, lengths), np.zeros(len(like), np.int64), []
        for _ in range(self.longest + 1):
            y, state = self.gru(self.embedding(ids[None]), state)
            ids = choose(self.head(y[0]), rng.random(len(like)), choice)
            rows.append(ids)
        return [self.vocabulary.decode(column).split(END)[0] for column in np.stack(rows, axis=1)]


def compare_losses(writer: NameWriter, train: Sequence[str], held_out: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the held-out nats per character of the model and of two counting models.

    Over all characters the model has an advantage, because it knows the first letter and the length. Over "letters after the
    first" all models know that a letter follows: the counting models are normalised without END.
    """
    ids = [[np.append(writer.vocabulary.encode(name), 0) for name in names] for names in (train, held_out)]
    V, targets = len(writer.vocabulary), np.concatenate(ids[1])
    later = targets > 0
    later[np.cumsum([0, *map(len, ids[1][:-1])])] = False
    before = np.roll(targets, 1)[later]
    ends = {"unigram": np.exp(-unigram(ids[0], [np.zeros(1, int)], V))[0]}
    ends["bigram"] = np.exp(-bigram(ids[0], [np.array([v, 0]) for v in range(V)], V)[1::2])[before]  # p(END | v)
    found = {"unigram": unigram(*ids, V), "bigram": bigram(*ids, V), "GRU": writer.losses(held_out)}
    of_letters = {name: losses[later] + np.log1p(-ends.get(name, 0.0)) for name, losses in found.items()}
    places = {"all characters": found, "letters after the first": of_letters}
    return {name: {place: float(losses[name].mean()) for place, losses in places.items()} for name in found}


def obeys(written: Sequence[str], like: Sequence[str]) -> dict[str, float]:
    """Return the shares of names with the requested first letter, length, and both."""
    letter = np.array([a[:1] == b[:1] for a, b in zip(written, like, strict=True)])
    length = np.array([len(a) == len(b) for a, b in zip(written, like, strict=True)])
    return {"letter": float(letter.mean()), "length": float(length.mean()), "both": float((letter & length).mean())}


def main(
    text: str, hidden: int = 128, epochs: int = 8, lr: float = 3e-3, temperature: float = 0.8,
    like: Sequence[str] = (), out: Path | None = None,
) -> tuple[dict, dict]:  # fmt: skip
    """Train on nine of ten names; print and return the held-out losses and the shares that obey; save in ``out``."""
    rng = np.random.default_rng(0)
    names = rng.permutation(sorted({name for name in text.split("\n") if name})).tolist()
    if len(names) < 10:
        raise SystemExit(f"there must be ten different names or more, one a line, got {len(names)}")
    held_out, train = names[: len(names) // 10], names[len(names) // 10 :]
    writer = NameWriter.of(names, hidden, rng)
    print(f"GRU of {hidden}, trained on {len(train):,} names; epoch {epochs}, the last, is used")
    data = writer.examples(train)
    fit(writer.model, data, epochs=epochs, batch_size=64, lr=lr, schedule="cosine", clip_norm=1.0, callbacks=[ProgressBar()])

    losses = compare_losses(writer, train, held_out)
    written = writer.write(held_out, rng, Choice(temperature))
    shares = {
        "any name of the list": obeys(rng.choice(train, len(held_out)).tolist(), held_out),
        "GRU": obeys(written, held_out),
    }
    print("names written for ten that were held out:")
    writer.show(held_out[:10], set(names), rng, Choice(temperature))
    print(f"on the {len(held_out):,} names held out:")
    for name, of_places in losses.items():
        print(f"{name}: " + ", ".join(f"{loss:.3f} nats per character over {place}" for place, loss in of_places.items()))
    for name, of_wishes in shares.items():
        print(f"{name}, what was asked for: " + ", ".join(f"{wish} {share:.1%}" for wish, share in of_wishes.items()))
    known = np.isin(written, names).mean()
    print(f"of {len(written)} names written {known:.1%} are in the list, {len(set(written))} are different")
    writer.save(out)
    writer.show(like, set(names), rng, Choice(temperature))
    return losses, shares


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="names, one a line, to train on")
    parser.add_argument("--epochs", type=integer(1), default=8, help="passes over the names (default: %(default)s)")
    parser.add_argument("--temperature", type=real(0), default=0.8, help="of sampling (default: %(default)s)")
    saving.add_options(parser, text="ask for a name with its first letter and length")
    arguments = parser.parse_args()
    if not all(arguments.text):
        parser.error("argument --text: must have a letter in it")
    options = {"epochs": arguments.epochs, "temperature": arguments.temperature, "like": arguments.text}
    choice, rng = Choice(arguments.temperature), np.random.default_rng(0)
    saving.run(
        parser, arguments, "file",
        answer=lambda: NameWriter.load(arguments.out).show(arguments.text, (), rng, choice),
        train=lambda: main(read_file(arguments.file), **options, out=arguments.out),
    )  # fmt: skip
