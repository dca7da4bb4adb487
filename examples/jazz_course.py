"""The jazz exercise of Coursera's course on sequence models: one LSTM cell, unrolled over 30 slices, improvises.

``python examples/jazz_course.py [--epochs N] [--out solo.mid]`` cuts the embedded choruses into sequences of ``T_x`` = 30
notes, each with one of 78 values, and builds two models that share their layers. The first is trained: one cell and one
dense layer are applied to 30 slices ``X[t]`` of one input. The second takes only the first value and the state. The
likeliest value of each of its outputs, one-hot, is the next input. ``fastrnn train jazz`` is the full version of this.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fastrnn
from fastrnn.commands.errors import InputError, explain
from fastrnn.commands.outputs import add_overwrite_option, check_free, check_place
from fastrnn.losses import IGNORED
from fastrnn.music import corpus
from fastrnn.music.midi_writing import write_midi
from fastrnn.music.piece import Note, Part, Piece

T_X, VALUES, UNITS = 30, 78, 64
WIDEST = 12  # semitones
START = 67

Value = tuple[int, int, int]  # rest before the note, duration, both in ticks; interval from the previous note
Array = NDArray[np.float32]


def read_values(part: Part) -> list[Value]:
    """Convert a melody to values, which are the same in every key."""
    onset, duration, pitch, _ = part.arrays()
    rest = onset[1:] - (onset + duration)[:-1]
    interval = np.clip(np.diff(pitch), -WIDEST, WIDEST)
    return list(zip(rest.tolist(), duration[1:].tolist(), interval.tolist(), strict=True))


def data() -> tuple[list[Value], Array]:
    """Return the 78 most frequent values, and one-hot sequences ``[N, T_x, 78]``; rare values become the nearest."""
    melodies = [read_values(piece.parts[0]) for piece in corpus.pieces()]
    known = [value for value, _ in Counter(value for melody in melodies for value in melody).most_common(VALUES)]
    nearest = {v: min(known, key=lambda k, v=v: np.abs(np.subtract(k, v)).sum()) for m in melodies for v in m}
    number = {value: i for i, value in enumerate(known)}
    ids = [[number[nearest[value]] for value in melody] for melody in melodies]
    sequences = [row[i : i + T_X] for row in ids for i in range(0, len(row) - T_X + 1, T_X // 2)]
    return known, np.eye(VALUES, dtype=np.float32)[np.array(sequences)]


class Course:
    """The layers that both models share: the cell and the dense layer."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.cell = fastrnn.LSTMCell(VALUES, UNITS, rng=rng).named("cell")
        self.densor = fastrnn.Linear(UNITS, VALUES, rng=rng).named("densor")

    def training_model(self) -> fastrnn.Model:
        """Build a model from 30 slices of one input ``[30,B,78]`` to the logits of each next value ``[30,B,78]``."""
        X = fastrnn.Input((T_X, "B", VALUES), name="X")
        state, outputs = None, []
        for t in range(T_X):
            state = self.cell(X[t], state)
            outputs.append(self.densor(state[0]))
        return fastrnn.Model(X, fastrnn.Stack()(*outputs))

    def inference_model(self, T_y: int = 50) -> fastrnn.Model:
        """Build a model from a first value ``[B,78]`` and a state ``h, c [B,64]`` to ``T_y`` outputs, each fed back."""
        first = fastrnn.Input(("B", VALUES), name="x0")
        h, c = (fastrnn.Input(("B", UNITS), name=name) for name in "hc")
        likeliest = fastrnn.Lambda(lambda y: np.eye(VALUES, dtype=y.dtype)[y.argmax(-1)])
        x, state, outputs = first, (h, c), []
        for _ in range(T_y):
            state = self.cell(x, state)
            x = likeliest(self.densor(state[0]))
            outputs.append(x)
        return fastrnn.Model((first, h, c), fastrnn.Stack()(*outputs))


def train(model: fastrnn.Model, X: Array, epochs: int, seed: int = 0, batch: int = 32) -> float:
    """Train with Adam to predict the next value of slices 1..29; return the last epoch's loss in nats per value."""
    follows = X.argmax(-1)
    Y = np.append(follows[:, 1:], np.full((len(X), 1), IGNORED), axis=1)  # the last slice has no target
    losses = model.fit(fastrnn.Examples(X, Y), lr=0.01, epochs=epochs, batch_size=batch, seed=seed)["loss"]
    for epoch in range(10, epochs + 1, 10):
        print(f"epoch {epoch}: {losses[epoch - 1]:.3f} nats per value")
    return float(losses[-1])


def improvise(course: Course, known: list[Value], seed: int = 0, T_y: int = 50) -> Part:
    """Play ``T_y`` notes from a random first value and state; the choice of the likeliest value is deterministic."""
    rng = np.random.default_rng(seed)
    first = np.eye(VALUES, dtype=np.float32)[rng.integers(VALUES, size=1)]
    h, c = rng.standard_normal((2, 1, UNITS), dtype=np.float32)
    outputs = course.inference_model(T_y)(first, np.tanh(h), c)[:, 0]
    notes: list[Note] = []
    at, pitch = 0, START
    for y in outputs:
        rest, duration, interval = known[int(y.argmax())]
        pitch += interval if 50 <= pitch + interval <= 84 else -interval
        notes.append(Note(at + rest, duration, pitch))
        at += rest + duration
    return Part("melody", corpus.TRUMPET, notes=tuple(notes))


def parse() -> argparse.Namespace:
    """Parse the command line. Ends the program if the file cannot be written, or exists and ``--overwrite`` is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("solo.mid"))
    add_overwrite_option(parser)
    arguments = parser.parse_args()
    try:
        check_free([arguments.out], arguments.overwrite)
        check_place("--out", arguments.out)
    except (FileExistsError, InputError) as error:
        parser.error(explain(error) if isinstance(error, OSError) else str(error))
    return arguments


def main() -> None:
    """Train, improvise, and write the solo."""
    arguments = parse()
    known, X = data()
    print(f"{len(X)} sequences of {T_X} notes, {VALUES} values")
    course = Course(arguments.seed)
    train(course.training_model(), X, arguments.epochs, arguments.seed)
    part = improvise(course, known, arguments.seed)
    write_midi(arguments.out, Piece((part,), tempos=((0, 140.0),)), swing=0.62)
    print(f"{len(part.notes)} notes, {len({note.pitch for note in part.notes})} pitches: {arguments.out}")


if __name__ == "__main__":
    main()
