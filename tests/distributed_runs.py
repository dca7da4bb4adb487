"""Models that ranks train in the tests of distributed training: language models, a jazz model, and a classifier."""

import numpy as np
from jazz_song import song
from thread_ranks import weights
from training_task import Recorder

import fastrnn
from fastrnn.music._model import jazz_task
from fastrnn.music._model.options import make_options as jazz_options
from fastrnn.text.options import make_options
from fastrnn.text.training import make_trainer
from fastrnn.training import Examples

STEPS = 50
SMALL = {
    "hidden": 12,
    "layers": 2,
    "embedding": 6,
    "batch": 10,
    "max_steps": STEPS,
    "eval_every": 25,
    "warmup": 0,
    "lr": 0.01,
}
NAMES = ["anna", "hanna", "nan", "a", "hannahannah", "ahna", "nnaa", "hah"] * 12
STREAM = "the cat sat on the mat, and the dog sat on the cat. " * 60


def chars(communicator, out=None, **given):
    """Return a trainer and a character model for one rank; ``given`` has options of the run."""
    reading = given.pop("reading", "lines")
    text = given.pop("text", "\n".join(NAMES) if reading == "lines" else STREAM)
    options = make_options(reading, **{**SMALL, "seq_length": 20, **given})
    trainer, model, _ = make_trainer(text, options, out, communicator=communicator)
    return trainer, model.model


def jazz(communicator, out=None, **given):
    """Return a trainer and a jazz model for one rank; ``given`` has options of the run."""
    parts = jazz_task.split([song(i, title=str(i)) for i in range(6)], 0.2, 0)
    options = jazz_options(**{**SMALL, "seq_length": 24, **given})
    trainer, model, _ = jazz_task.make_trainer(parts, options, False, out, communicator=communicator)
    return trainer, model


def trained(make, communicator, **given):
    """Train, and return the loss of each step, the validation losses, and the final weights."""
    trainer, model = make(communicator, **given)
    recorder = Recorder()
    trainer.callbacks = (recorder,)
    trainer.run()
    steps = [info.train_loss for info in recorder.steps]
    return np.array(steps), np.array([info.val_loss for info in recorder.evaluations]), weights(model)


# The runs by name: the function that makes the trainer, and its options.
RUNS = {
    "lines": (chars, {"dropout": 0.3}),
    "one call of the backend": (chars, {"dropout": 0.0, "embedding": 0}),
    "stream": (chars, {"reading": "stream", "dropout": 0.3}),
    "gru": (chars, {"reading": "stream", "model": "gru", "dropout": 0.0}),
    "jazz": (jazz, {"dropout": 0.3, "max_steps": 20, "eval_every": 10}),
}


def classified():
    """Return a model with dropout that gives two logits for each sequence."""
    x = fastrnn.Input(("T", "B", 3))
    y, _ = fastrnn.LSTM(3, 5, rng=1)(x)
    z = fastrnn.Dropout(0.4, rng=2)(fastrnn.Last()(y))
    return fastrnn.Model(x, fastrnn.Linear(5, 2, rng=3)(z))


def sequences(n=23):
    """Return n sequences of 1 to 8 steps, and whether their sums are positive."""
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((length, 3)).astype(np.float32) for length in rng.integers(1, 9, n)]
    return Examples(x, np.array([int(item.sum() > 0) for item in x]))
