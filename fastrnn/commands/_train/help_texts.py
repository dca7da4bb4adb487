"""The texts of ``fastrnn train KIND --help``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The words of one command.

    ``paths`` describes the arguments, ``data`` names the first group of options. A run is named after its first path, or
    ``embedded`` without a path, or ``unnamed`` if the path has no name. ``afterwards`` says what to type after training.
    """

    short: str
    description: str
    epilog: str
    paths: str
    data: str = "text"
    embedded: str = "dinosaurs"
    unnamed: str = "text"
    afterwards: str = "sample with: fastrnn sample {out}"
    shows_embedding: bool = True  # in the line about the model


_PATHS = "text files, or folders to search at any depth for *.txt files"

_READINGS = """\
--reading lines: each line is an item of its own, such as a {item}, that starts from a zero state.
--reading stream: the whole text is one sequence, cut into chunks that carry the state over (truncated
backpropagation through time). Without --reading, a list of short lines is read as lines, any other text as a stream.
"""

_FOLDER = """
A run folder holds config.json, best.safetensors and last.safetensors (checkpoints), metrics.csv (losses in nats per
{unit}), loss.png and samples.txt. Sample from it with `fastrnn sample RUN`.
"""

CHARS = Words(
    short="a character language model",
    description="Train a character language model (RNN, GRU or LSTM) on text, and save it in a run folder.\n\n"
    + _READINGS.format(item="name"),
    epilog="""\
The text is UTF-8 unless --encoding or a byte order mark says otherwise. Line ends become \\n, blank lines are skipped.
The vocabulary has all characters of the text, also those of the held-out part.
"""
    + _FOLDER.format(unit="character")
    + """
examples:
  fastrnn train chars                                     names of dinosaurs, from the list that comes with fastrnn
  fastrnn train chars names.txt --out runs/names          one item per line
  fastrnn train chars shakespeare.txt --max-seconds 600   one stream, ten minutes
  fastrnn train chars --resume --out runs/names           continue a stopped run
""",
    paths=f"{_PATHS} (default: the embedded dinosaurs)",
)

WORDS = Words(
    short="a word language model",
    description="Train a word language model (RNN, GRU or LSTM) on text, and save it in a run folder.\n\n"
    + _READINGS.format(item="sentence"),
    epilog="""\
The text is UTF-8 unless --encoding or a byte order mark says otherwise, and has spaces between words. A token is a
word (don't, sea-coal), a number, or a run of one punctuation mark. The vocabulary has the most frequent words of the
training part; all others become <UNK>. <EOS> ends each line or, in a stream, each sentence: after . ! ? and at blank
lines.

Held-out perplexity is printed next to that of a unigram model and of a bigram model with Kneser-Ney smoothing.
"""
    + _FOLDER.format(unit="word")
    + """
examples:
  fastrnn train words shakespeare.txt --out runs/play     one stream of sentences
  fastrnn train words reviews.txt --reading lines         one sentence per line
  fastrnn train words labelled.txt --column 1             sentence, tab, label: the sentences alone
  fastrnn train words small.txt --vectors glove.txt       start from pretrained word vectors
  fastrnn score runs/play "the king is dead" "the king is bread"
""",
    paths=_PATHS,
)

JAZZ = Words(
    short="a model that improvises over chords",
    description="""\
Train a recurrent model of melodies over chords (or of a piano's two hands) on MIDI files, and save it in a run folder.
Without files it is trained on choruses that were written for fastrnn: blues, ii-V-I, rhythm changes.
""",
    epilog="""\
The model learns the melody of each file, as a line of single notes. The melody's part is guessed, or named with
--melody. If most files are for piano alone, it learns all notes, also those that sound together (--voices). Drums are
ignored. Chords come from --changes, or from the file's chord symbols (markers, texts or lyrics), or are inferred from
the notes. Notes are rounded to a grid of 12 ticks per quarter, on which swung eighths become straight, and learned in
all twelve keys. A duplicate file is used once.

Several processes read many files. The result is cached in ~/.cache/fastrnn (or $XDG_CACHE_HOME/fastrnn), so the next
training on the same files starts at once.

A run folder holds config.json, songs.safetensors (the music trained on: the files are not needed again),
best.safetensors and last.safetensors (checkpoints), metrics.csv (losses in nats per token), loss.png and samples.txt
(four bars over a ii-V-I at each evaluation, as names of notes).

examples:
  fastrnn train jazz                                      the choruses that come with fastrnn
  fastrnn train jazz solos/ --out runs/solos              a folder of MIDI files; bad ones are skipped
  fastrnn train jazz joplin/*.mid --voices all            two hands
  fastrnn train jazz --resume --out runs/solos            continue a stopped run
  fastrnn improvise runs/solos --changes blues --key F --choruses 4 --out solo.mid
""",
    paths="MIDI files, or folders to search at any depth for *.mid and *.midi files (default: the embedded choruses)",
    data="music",
    embedded="jazz",
    unnamed="jazz",
    afterwards='improvise with: fastrnn improvise {out} --changes "Dm7 | G7 | Cmaj7 | %" --out solo.mid',
    shows_embedding=False,
)
