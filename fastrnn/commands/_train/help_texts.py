"""What ``fastrnn train chars`` and ``fastrnn train words`` say of themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Help:
    """The texts of one command."""

    short: str
    description: str
    epilog: str


_READINGS = """\
Text is read in one of two ways. As lines: each line is an item of its own, such as a {item}, from a zero state to
the end of the line. As a stream: the whole text is one sequence, cut into chunks between which the state is carried
over (truncated backpropagation through time). Without --reading, lists of short lines are read as lines, all else as
a stream.
"""

_FOLDER = """
A run folder holds config.json, best.safetensors and last.safetensors (checkpoints), metrics.csv (losses in nats per
{unit}), loss.png and samples.txt. Sample from it with `fastrnn sample RUN`.
"""

CHARS = Help(
    short="a character language model",
    description="Train a character language model (RNN, GRU or LSTM) on text, and keep it in a run folder.\n\n"
    + _READINGS.format(item="name"),
    epilog="""\
The text is UTF-8, or what --encoding or a byte order mark says; line ends become \\n, blank lines are no items. The
vocabulary is made of all characters of the text, the held-out part included.
"""
    + _FOLDER.format(unit="character")
    + """
examples:
  fastrnn train chars                                     names of dinosaurs, from the list that comes with fastrnn
  fastrnn train chars names.txt --out runs/names          one item a line
  fastrnn train chars shakespeare.txt --max-seconds 600   one stream, ten minutes
  fastrnn train chars --resume --out runs/names           go on where that run stopped
""",
)

WORDS = Help(
    short="a word language model",
    description="Train a word language model (RNN, GRU or LSTM) on text, and keep it in a run folder.\n\n"
    + _READINGS.format(item="sentence"),
    epilog="""\
The text is UTF-8, or what --encoding or a byte order mark says, with spaces between words. A token is a word (don't,
sea-coal), a number, or a run of one punctuation mark. The most frequent words of the part trained on are the
vocabulary, all others become <UNK>. <EOS> ends each line or, in a stream, each sentence: after . ! ? and at blank
lines.

Held-out perplexity is printed beside that of a unigram model and of a bigram model with Kneser-Ney smoothing.
"""
    + _FOLDER.format(unit="word")
    + """
examples:
  fastrnn train words shakespeare.txt --out runs/play     one stream of sentences
  fastrnn train words reviews.txt --reading lines         one sentence a line
  fastrnn train words labelled.txt --column 1             sentence, tab, label: the sentences alone
  fastrnn score runs/play "the king is dead" "the king is bread"
""",
)
