"""``python -m bench.text_sizes chars FILE...``: measure the memory and the time before the first training step on texts.

Each file has its own process, which does the same as ``fastrnn train chars FILE``. Memory is the largest resident size. It
includes pages mapped from the file of ids, the model and its first step.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

from fastrnn.commands.guard import guarded

from .tables import run_program

CHILD = "--child"


def _measure(kind: str, path: Path) -> None:
    from fastrnn.text import reading
    from fastrnn.text.options import make_options
    from fastrnn.text.training import make_trainer

    text = reading.read([path])
    trainer, _, data = make_trainer(text, make_options(reading.guess(text.head)[0], kind))
    made = time.time()
    trainer.task.train_step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    seconds = made - float(os.environ["BEGUN"])
    print(f"{text.length / 1e6:>14,.0f} {sum(data.sizes) / 1e6:>14.2f} {peak:>8,.0f} {seconds:>8.1f}")


def main() -> None:
    """Print a line for each file."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.text_sizes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("chars", "words"))
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(CHILD, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _measure(arguments.kind, arguments.files[0])
        return
    print(f"{'million chars':>14} {'million tokens':>14} {'MB':>8} {'seconds':>8}", flush=True)
    for path in arguments.files:
        run_program("text_sizes", arguments.kind, str(path), CHILD, env={**os.environ, "BEGUN": str(time.time())})


if __name__ == "__main__":
    raise SystemExit(guarded(main))
