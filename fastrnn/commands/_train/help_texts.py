"""The texts of ``fastrnn train KIND --help``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The words of one command.

    ``paths`` describes its arguments, ``data`` names its first group of options. A run is called after its first path;
    ``embedded`` and ``unnamed`` are names where there is none. ``afterwards`` says what to type after training.
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


_PATHS = "text files, and folders whose *.txt files are read, at any depth"

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

CHARS = Words(
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
    paths=f"{_PATHS} (default: the embedded dinosaurs)",
)

WORDS = Words(
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
    paths=_PATHS,
)

JAZZ = Words(
    short="a model that improvises over chords",
    description="""\
Train a recurrent model of melodies over chords (or of a piano's two hands) on MIDI files, and keep it in a run folder.
Without files it learns from choruses that were written for fastrnn: blues, ii-V-I, rhythm changes.
""",
    epilog="""\
Of each file the melody is learned, as a line of single notes (which part that is, is guessed; --melody names it), or,
where most files are for piano alone, all that is played, notes that sound together included (--voices). Drums are never
learned. Chords are the file's own (markers, texts or lyrics that are chord symbols), or are inferred from what sounds,
or are given with --changes. Files are read onto a grid of 12 ticks a quarter, where swung eighths become straight ones,
and learned in all twelve keys. A file that comes twice is learned from once.

Many files are read by several processes. What was read is kept in ~/.cache/fastrnn (or $XDG_CACHE_HOME/fastrnn), so
that the next training on the same files starts at once.

A run folder holds config.json, songs.safetensors (what was learned from: the files are not needed again),
best.safetensors and last.safetensors (checkpoints), metrics.csv (losses in nats per token), loss.png and samples.txt
(four bars over a ii-V-I at each evaluation, in the names of the notes).

examples:
  fastrnn train jazz                                      the choruses that come with fastrnn
  fastrnn train jazz solos/ --out runs/solos              a folder of MIDI files; bad ones are skipped
  fastrnn train jazz joplin/*.mid --voices all            two hands
  fastrnn train jazz --resume --out runs/solos            go on where that run stopped
  fastrnn improvise runs/solos --changes blues --key F --choruses 4 --out solo.mid
""",
    paths="MIDI files, and folders whose *.mid and *.midi files are read, at any depth (default: the embedded choruses)",
    data="music",
    embedded="jazz",
    unnamed="jazz",
    afterwards='improvise with: fastrnn improvise {out} --changes "Dm7 | G7 | Cmaj7 | %" --out solo.mid',
    shows_embedding=False,
)
