"""Many to many, with two lengths: an encoder-decoder writes dates in ISO form, or adds numbers.

An LSTM reads "the 3rd of may '79" character by character. Its last state is the initial state of a second LSTM, which
writes "1979-05-03". In training the second one reads the correct answer so far (teacher forcing). Afterwards it reads its
own output: the likeliest character each time (greedy), or the likeliest of several sequences (beam search). The held-out
days occur in no training pair. ``--task sums`` does the same with "47+58" and "105".

``python examples/zoo/translate_dates.py`` takes about a minute. With ``--out RUN`` it saves the model, and later translates
texts without training: ``python examples/zoo/translate_dates.py --out RUN --text "the 3rd of may '79"``.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import saving

from fastrnn import LSTM, Embedding, Examples, Input, Linear, Model, fit
from fastrnn.commands.arguments import integer
from fastrnn.text.beam import Hypothesis, beam_search
from fastrnn.text.vocabulary import UnknownCharacters, Vocabulary
from fastrnn.training import ProgressBar

EXAMPLE = "translate_dates"
Pair = tuple[str, str]
END = "\n"  # the decoder's first input, and its last output
# {y}ear, {s}hort year, {m}onth, {d}ay, {M} and {D} of two digits, {th} its ending. Dots: the day first; slashes: the month.
WAYS = """{d} {month} {y}|{d} {mon} {y}|{month} {d}, {y}|{mon} {D} {y}|{y} {month} {d}|{d} {mon} '{s}|{month} {d}{th}, {y}
the {d}{th} of {month} {y}|the {d}{th} of {month} '{s}|{day}, {d} {month} {y}|{day} {mon} {d}{th} {y}
{d}.{m}.{y}|{D}.{M}.{s}|{m}/{d}/{s}|{M}/{D}/{y}""".replace("\n", "|").split("|")


def spell(day: date, way: str) -> str:
    """Write a day as people do."""
    th = "th" if 4 <= day.day <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    parts = {"y": day.year, "m": day.month, "d": day.day, "D": f"{day:%d}", "M": f"{day:%m}", "s": f"{day:%y}", "th": th}
    return way.format(**parts, month=f"{day:%B}".lower(), mon=f"{day:%b}".lower(), day=f"{day:%A}".lower())


def dates(number: int, held_out: int, rng: np.random.Generator) -> tuple[list[Pair], list[Pair]]:
    """Make pairs to train on and held-out pairs, of days between 1950 and 2049 that occur in only one of the two."""
    days = [date(1950, 1, 1) + timedelta(int(n)) for n in rng.permutation(36525)]

    def pairs(days: Sequence[date], number: int) -> list[Pair]:
        chosen = [days[i % len(days)] for i in range(number)]
        return [(spell(day, WAYS[rng.integers(len(WAYS))]), day.isoformat()) for day in chosen]

    return pairs(days[held_out:], number), pairs(days[:held_out], held_out)


def sums(number: int, held_out: int, rng: np.random.Generator) -> tuple[list[Pair], list[Pair]]:
    """Make sums of two numbers below 100; a held-out sum is in neither order among those to train on."""
    terms = rng.permutation([(a, b) for a in range(100) for b in range(a, 100)])
    rest = rng.permutation(np.concatenate([terms[held_out:], terms[held_out:, ::-1]]))
    pairs = [[(f"{a}+{b}", str(a + b)) for a, b in part.tolist()] for part in (rest, rng.permuted(terms[:held_out], axis=1))]
    return [pairs[0][i % len(rest)] for i in range(number)], pairs[1]


def copied_digits(text: str) -> str:
    """Arrange the digits alone as year, month and day, which needs no words; this is the baseline."""
    numbers = re.findall(r"\d+", text)
    *rest, year = sorted(numbers, key=lambda number: len(number) == 4)  # four digits are a year, else the last are
    month, day = [*["01"] * (2 - len(rest)), *rest]
    return f"{year if len(year) == 4 else '19' + year}-{month:0>2}-{day:0>2}"


class Translator:
    """``model`` from ids of the source ``[S,B]`` and of the target so far ``[T,B]`` to logits ``[T,B,V]``."""

    def __init__(
        self, reads: Vocabulary, writes: Vocabulary, hidden: int, rng: np.random.Generator, dtype: str = "float32"
    ) -> None:
        self.reads, self.writes, self.hidden = reads, writes, hidden
        V, size, options = len(self.writes), hidden // 4, {"dtype": dtype, "rng": rng}
        source, target = Input(("S", "B"), dtype="int64"), Input(("T", "B"), dtype="int64")

        embedded = Embedding(len(self.reads), size, **options)(source)
        _, state = LSTM(size, hidden, **options)(embedded)
        self.embedding, self.decoder = Embedding(V, size, **options), LSTM(size, hidden, **options)
        y, _ = self.decoder(self.embedding(target), state)
        self.head = Linear(hidden, V, **options)

        self.model = Model((source, target), self.head(y))
        self.encoder = Model(source, state)

    @classmethod
    def of(cls, pairs: Sequence[Pair], hidden: int, rng: np.random.Generator, dtype: str = "float32") -> "Translator":
        """Make an untrained translator for the characters of these pairs."""
        reads = Vocabulary.from_text("".join(source for source, _ in pairs))
        writes = Vocabulary.from_text("".join(target for _, target in pairs), first=END)
        return cls(reads, writes, hidden, rng, dtype)

    def save(self, out: Path | None, task: str) -> None:
        """Save the translator of this task in a folder, if there is one."""
        vocabularies = {"reads": self.reads.to_json(), "writes": self.writes.to_json()}
        saving.save(out, EXAMPLE, self.model, **vocabularies, hidden=self.hidden, task=task)

    @classmethod
    def load(cls, out: Path, task: str | None = None) -> "Translator":
        """Load the translator that ``--out`` saved. Ends the program if it learned another task."""
        with saving.loading(out, EXAMPLE) as details:
            if task not in (None, details["task"]):
                raise SystemExit(f"{out} holds the task {details['task']}, got --task {task}")
            reads, writes = (Vocabulary.from_json(details[name]) for name in ("reads", "writes"))
            translator = cls(reads, writes, details["hidden"], np.random.default_rng(0))
            translator.model.load(out / saving.MODEL)
        return translator

    def show(self, texts: Sequence[str]) -> None:
        """Print the two likeliest translations of each text, with their probabilities."""
        try:
            beams = self.translate(texts, 5) if texts else []
        except UnknownCharacters as error:
            raise SystemExit(f"a text has characters that the model never read: {error}") from None
        for text, beam in zip(texts, beams, strict=True):
            written = ", ".join(f"{self.writes.decode(h.tokens)} ({np.exp(h.log_probability):.3f})" for h in beam[:2])
            print(f"{text!r}: {written}")

    def examples(self, pairs: Sequence[Pair]) -> Examples:
        """Make examples: the decoder reads END and the target, and writes the target and END."""
        sources = [self.reads.encode(source).astype(np.int64) for source, _ in pairs]
        targets = [self.writes.encode(target).astype(np.int64) for _, target in pairs]
        return Examples((sources, [np.append(0, y) for y in targets]), [np.append(y, 0) for y in targets], axes=("S", "T"))

    def step(self, tokens: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Run the decoder for one character: return the logits ``[N,V]`` after tokens ``[N]``, and the new state."""
        y, state = self.decoder(self.embedding(tokens[None]), state)
        return self.head(y[0]), state

    def translate(self, texts: Sequence[str], width: int) -> list[list[Hypothesis]]:
        """Search translations of each text with a beam of this width, best first."""
        batch = Examples([self.reads.encode(text) for text in texts]).batch(np.arange(len(texts)))
        state = self.encoder(*batch.inputs, lengths=batch.lengths)
        start = np.zeros(len(texts), np.int64)
        return beam_search(self.step, state, start, eos=0, width=width, max_length=12)


def share_right(answers: Sequence[str], pairs: Sequence[Pair]) -> float:
    """Return the share of answers that are right to the last character."""
    return float(np.mean([answer == target for answer, (_, target) in zip(answers, pairs, strict=True)]))


def main(
    task: str = "dates", number: int = 20000, held_out: int = 1000, hidden: int = 128, epochs: int = 6,
    texts: Sequence[str] = (), out: Path | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train; print and return the share of correct held-out answers of each method; save in ``out``."""
    rng = np.random.default_rng(0)
    make: Callable[..., tuple[list[Pair], list[Pair]]] = {"dates": dates, "sums": sums}[task]
    train, test = make(number, held_out, rng)
    translator = Translator.of(train, hidden, rng)
    print(f"encoder-decoder of {hidden}, trained on {len(train):,} pairs; epoch {epochs}, the last, is used")
    options = {"batch_size": 64, "lr": 5e-3, "schedule": "cosine", "clip_norm": 1.0}
    fit(translator.model, translator.examples(train), epochs=epochs, callbacks=[ProgressBar()], **options)

    sources = [source for source, _ in test]
    commonest = Counter(target for _, target in train).most_common(1)[0][0]
    shares = {"the most frequent answer": share_right([commonest] * len(test), test)}
    if task == "dates":
        shares["the digits as they stand"] = share_right([copied_digits(source) for source in sources], test)
    for name, width in (("encoder-decoder, greedy", 1), ("encoder-decoder, beam of 5", 5)):
        found = translator.translate(sources, width)
        shares[name] = share_right([translator.writes.decode(best.tokens) for best, *_ in found], test)
    print("three that were held out, and the likeliest answers of the beam:")
    translator.show(sources[:3])
    print(f"right to the last character, of the {len(test):,} held out:")
    for name, share in shares.items():
        print(f"{share:7.2%}  {name}")
    translator.save(out, task)
    translator.show(texts)
    return shares


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("dates", "sums"), help="default: dates, or what --out holds")
    parser.add_argument("--epochs", type=integer(1), help="passes over the pairs (default: 6 for dates, 16 for sums)")
    saving.add_options(parser, text="a text to translate afterwards")
    arguments = parser.parse_args()
    if not all(arguments.text):
        parser.error("argument --text: must have a character in it")
    task = arguments.task or "dates"
    epochs = arguments.epochs or {"dates": 6, "sums": 16}[task]
    saving.run(
        parser, arguments, None,
        answer=lambda: Translator.load(arguments.out, arguments.task).show(arguments.text),
        train=lambda: main(task, epochs=epochs, texts=arguments.text, out=arguments.out),
    )  # fmt: skip
