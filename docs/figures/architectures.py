"""Draws architectures of sequence models, unrolled in time, into this folder: ``python docs/figures/architectures.py``.

From below to above: what goes in, the layers, what comes out. The pictures are of docs/zoo.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes
from shapes import GATES, HOT, MARK, SOFT, arrow, box, picture, save, say

INPUT, LAYER, OUTPUT, STATE = GATES["g"], GATES["i"], HOT, GATES["o"]
W, H = 7.0, 5.0  # of a box
TOP, MIDDLE, BOTTOM = 9.0, 20.0, 31.0


def column(a: Axes, x: float, read: str, layer: str, written: str = "") -> None:
    """One time step, its left edge at x."""
    box(a, x, MIDDLE, W, H, LAYER, layer, size=8)
    if read:
        box(a, x, BOTTOM, W, H, INPUT, read)
        arrow(a, (x + W / 2, BOTTOM), (x + W / 2, MIDDLE + H))
    if written:
        box(a, x, TOP, W, H, OUTPUT, written)
        arrow(a, (x + W / 2, MIDDLE), (x + W / 2, TOP + H))


def onward(a: Axes, x: float, gap: float) -> None:
    """The state goes from the column at x to the next."""
    arrow(a, (x + W, MIDDLE + H / 2), (x + W + gap, MIDDLE + H / 2))


def feed_back(a: Axes, x: float, gap: float) -> None:
    """Draw that the next column reads what was written in the one at x."""
    middle = x + W + gap / 2
    a.plot([x + W, middle, middle], [TOP + H / 2, TOP + H / 2, BOTTOM + H / 2], color=MARK, lw=1, ls=(0, (3, 2)))
    arrow(a, (middle, BOTTOM + H / 2), (x + W + gap, BOTTOM + H / 2), color=MARK)


def columns(a: Axes, x: float, gap: float, layer: str, steps: Iterable[tuple[str, str]], fed_back: int = 0) -> None:
    """Time steps of what is read and written, from x on; the first ``fed_back`` of them write what the next one reads."""
    steps = list(steps)
    for n, (read, written) in enumerate(steps):
        left = x + (W + gap) * n
        column(a, left, read, layer, written)
        if n < len(steps) - 1:
            onward(a, left, gap)
        if n < fed_back:
            feed_back(a, left, gap)


@picture(25, "One to one: a feed-forward network")
def one_to_one(a: Axes) -> None:
    """The plain network."""
    parts = [("x [B, 2]", INPUT), ("Linear, tanh", LAYER), ("Linear, tanh", LAYER), ("Linear", LAYER), ("2 logits", OUTPUT)]
    for n, (text, colour) in enumerate(parts):
        x = 6 + 18 * n
        box(a, x, 10, 13, 6, colour, text)
        if n:
            arrow(a, (x - 5, 13), (x, 13))
    say(a, 6, 20.5, "no time, no state: what is left of a sequence model at a single step", color=SOFT, size=8)


@picture(43, "One to many: a first letter and a length make the state, the name follows")
def one_to_many(a: Axes) -> None:
    """A letter and a length to a name."""
    box(a, 4, BOTTOM - 3, 11, H, INPUT, "letter  e")
    box(a, 4, BOTTOM + 3.5, 11, H, INPUT, "length  4")
    box(a, 4, MIDDLE, 11, H, STATE, "tanh of sum")
    arrow(a, (9.5, BOTTOM - 3), (9.5, MIDDLE + H))
    a.plot([15, 17, 17, 12.5], [BOTTOM + 6, BOTTOM + 6, BOTTOM - 4.5, BOTTOM - 4.5], color=SOFT, lw=1)
    arrow(a, (12.5, BOTTOM - 4.5), (12.5, MIDDLE + H), color=SOFT)
    arrow(a, (15, MIDDLE + H / 2), (22, MIDDLE + H / 2))
    say(a, 18.3, MIDDLE + 0.6, "$h_0$", ha="center")
    columns(a, 22, 8, "GRU", zip("⏎emma", "emma⏎", strict=True), fed_back=4)
    say(a, 22, 39.5, "read: what was written a step before (in training the name itself)", color=MARK, size=8)


@picture(43, "Language model: how likely is each word to be the next one")
def language_model(a: Axes) -> None:
    """The next word, of all words so far."""
    read = ("<EOS>", "the", "apple", "and", "pear")
    columns(a, 6, 8, "LSTM", zip(read, (*read[1:], "<EOS>"), strict=True), fed_back=4)
    say(a, 76, TOP + H / 2, "softmax over\nthe vocabulary", size=8)
    say(a, 6, 39.5, "read: the word before (writing: the one that was drawn)", color=MARK, size=8)


@picture(43, "Many to many, of two lengths: an encoder reads, a decoder starts from its last state and writes")
def encoder_decoder(a: Axes) -> None:
    """A date as people write it to one of the ISO form."""
    columns(a, 3, 1.2, "LSTM", [(read, "") for read in "3␣m…79"])
    arrow(a, (51, MIDDLE + H / 2), (57, MIDDLE + H / 2))
    say(a, 54, MIDDLE + 0.4, "$h, c$", ha="center")
    columns(a, 57, 3.6, "LSTM", zip("⏎193", "19…⏎", strict=True), fed_back=2)
    say(a, 3, 39.5, "encoder: S steps, none of which writes", color=SOFT, size=8)
    say(a, 57, 39.5, "decoder: T steps; in training it reads the right answer", color=MARK, size=8)


@picture(43, "Many to one: a GRU reads a sentence, its last state answers")
def many_to_one(a: Axes) -> None:
    """A sentence to one number."""
    columns(a, 6, 7, "GRU", [(read, "") for read in ("not", "a", "bad", "<UNK>", "!")])
    box(a, 62, TOP, W, H, OUTPUT, "81 %")
    arrow(a, (65.5, MIDDLE), (65.5, TOP + H))
    say(a, 70.5, TOP + H / 2, "friendly: Linear, sigmoid", size=8)
    for n in range(2):  # a shorter sentence of the batch
        box(a, 79 + 9 * n, MIDDLE, W, H, "none", "", ls=(0, (3, 2)))
        box(a, 79 + 9 * n, BOTTOM, W, H, "none", "pad", ls=(0, (3, 2)))
    say(a, 79, 39.5, "never read: lengths", color=SOFT, size=8)
    say(a, 6, 39.5, "words by their embedding; a word that training did not show is <UNK>", color=SOFT, size=8)


@picture(62, "Many to many, of one length: a tag for every word, by what stands before and after it and how it is written")
def tagging(a: Axes) -> None:
    """A tag for every word, from both sides of it."""
    forward, backward, read = 27.0, 19.0, 38.0
    for n, (word, tag) in enumerate((("moved", "O"), ("to", "O"), ("New", "B-location"), ("Yorkk", "I-location"))):
        x = 5 + 14.5 * n
        box(a, x, 9, 10, H, OUTPUT, tag, size=8)
        box(a, x + 3, backward, W, H, LAYER, "LSTM", size=8)
        box(a, x, forward, W, H, LAYER, "LSTM", size=8)
        box(a, x, read, 10, H, INPUT, word if word != "Yorkk" else "<UNK>", size=8)
        arrow(a, (x + 1.5, read), (x + 1.5, forward + H))
        arrow(a, (x + 8.5, read), (x + 8.5, backward + H))
        arrow(a, (x + 8.5, backward), (x + 8.5, 9 + H))
        arrow(a, (x + 1.5, forward), (x + 1.5, 9 + H))
        box(a, x, 48, 10, H, STATE, word, size=8)
        arrow(a, (x + 5, 48), (x + 5, read + H))
        if n < 3:
            arrow(a, (x + W, forward + H / 2), (x + 14.5, forward + H / 2))
            arrow(a, (x + 17.5, backward + H / 2), (x + 10, backward + H / 2))
    say(a, 5, 57.5, "words by their embedding (rare ones are <UNK>), and beside it their letters", color=SOFT, size=8)
    say(a, 65.5, 50.5, "=", weight="bold")
    for n, letter in enumerate("Yorkk"):
        x = 68.5 + 6.2 * n
        box(a, x, 48, 4.4, H, INPUT, letter)
        box(a, x, 38, 4.4, H, LAYER)
        arrow(a, (x + 2.2, 48), (x + 2.2, 38 + H))
        if n < 4:
            arrow(a, (x + 4.4, 39.7), (x + 6.2, 39.7))
            arrow(a, (x + 6.2, 41.3), (x + 4.4, 41.3))
    box(a, 68.5, 29, 4.4, H, STATE)
    box(a, 93.3, 29, 4.4, H, STATE)
    arrow(a, (70.7, 38), (70.7, 29 + H))
    arrow(a, (95.5, 38), (95.5, 29 + H))
    say(a, 83.1, 31.5, "the last state\nof each direction", ha="center", size=8)


def main() -> None:
    """All of them."""
    for draw in (one_to_one, one_to_many, many_to_one, tagging, encoder_decoder, language_model):
        save(draw(), draw.__name__)


if __name__ == "__main__":
    main()
