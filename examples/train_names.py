"""Train a character model on names, one per line, and invent new ones, as ``fastrnn train chars`` does.

``python examples/train_names.py`` uses the embedded dinosaurs; ``--file names.txt`` uses your own list.
"""

import argparse
from pathlib import Path

from fastrnn import corpora
from fastrnn.sampling import Choice
from fastrnn.text.options import make_options
from fastrnn.text.training import make_trainer
from fastrnn.training import Progress


def main(text: str, steps: int) -> list[str]:
    """Train a GRU for this number of steps; print and return ten new names."""
    options = make_options("lines", model="gru", layers=1, hidden=128, max_steps=steps, eval_every=max(1, steps // 5))
    trainer, model, data = make_trainer(text, options)
    trainer.callbacks = (Progress(trainer.config),)
    result = trainer.run()
    print(f"held-out loss {result.best_val_loss:.3f} nats per character at step {result.best_step}")
    samples = model.sample(10, length=30, choice=Choice(temperature=0.8), seed=1)
    known = set(data.train_items)
    for sample in samples:
        print(sample.text, "(in the training set)" if sample.text in known else "")
    return [sample.text for sample in samples]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="names, one a line (default: the embedded dinosaurs)")
    parser.add_argument("--steps", type=int, default=800, help="batches to train on (default: %(default)s)")
    arguments = parser.parse_args()
    content = arguments.file.read_text(encoding="utf-8") if arguments.file else corpora.load("dinosaurs")
    main(content, arguments.steps)
