"""Kill random ranks at random times during a training. Compare the final weights with those of an undisturbed training.

``python -m bench.kills --kills 100`` trains the names model on two ranks with ``fastrnn launch``. The death of a rank ends
all of them, and the launcher restarts them from the last checkpoint. The script prints whether all weights and all rows of
metrics.csv are the same as in the undisturbed run.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fastrnn.commands.arguments import integer, seed
from fastrnn.commands.guard import guarded
from fastrnn.training import checkpoint

TIMINGS = ("seconds", "tokens_per_second")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=integer(1), default=100)
    parser.add_argument("--ranks", type=integer(1), default=2)
    parser.add_argument("--steps", type=integer(1), default=8000)
    parser.add_argument("--seed", type=seed, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        quiet, killed = Path(folder, "quiet"), Path(folder, "killed")
        started = time.perf_counter()
        status = launch(quiet, given.ranks, given.steps, 0).wait()
        print(f"undisturbed: exit status {status}, {time.perf_counter() - started:.0f} s", flush=True)
        started = time.perf_counter()
        process = launch(killed, given.ranks, given.steps, given.kills)
        kills = kill_at_random(process, killed, given.kills, given.ranks, random.Random(given.seed))
        print(f"{kills} kills: exit status {process.wait()}, {time.perf_counter() - started:.0f} s")
        print("same weights, bit for bit:", same_weights(quiet, killed))
        print("same rows of metrics.csv:", rows(quiet) == rows(killed))


def launch(out: Path, ranks: int, steps: int, restarts: int) -> subprocess.Popen[bytes]:
    options = ["--hidden", "64", "--max-steps", str(steps), "--eval-every", "50", "--seed", "1", "--out", str(out)]
    words = ["launch", "-n", str(ranks), "--max-restarts", str(restarts), "train", "chars", *options]
    log = open(f"{out}.log", "wb")  # noqa: SIM115
    return subprocess.Popen([sys.executable, "-m", "fastrnn", *words], stdout=log, stderr=log)


def kill_at_random(process: subprocess.Popen[bytes], out: Path, kills: int, ranks: int, rng: random.Random) -> int:
    """Kill a random rank 0 to 4 seconds after all ranks run, again and again; return how many were killed."""
    done, last = 0, set()
    while done < kills and process.poll() is None:
        found = {}
        while len(found) < ranks and process.poll() is None:
            time.sleep(0.05)
            found = {rank: pid for rank, pid in ranks_of(out).items() if pid not in last}
        time.sleep(rng.uniform(0, 4))
        victim = rng.randrange(ranks)
        if found.get(victim) == ranks_of(out).get(victim) is not None:
            os.kill(found[victim], signal.SIGKILL)
            last, done = set(found.values()), done + 1
            print(f"\r{done} killed", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return done


def ranks_of(out: Path) -> dict[int, int]:
    """Return the process of each rank that trains into this folder."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                settings = dict(
                    item.split(b"=", 1) for item in (folder / "environ").read_bytes().split(b"\0") if b"=" in item
                )
            except OSError:
                continue
            parent = any(word.endswith(b"rank_parent.py") for word in words)
            if not parent and b"launch" not in words and str(out).encode() in words and b"PMI_RANK" in settings:
                found[int(settings[b"PMI_RANK"])] = int(folder.name)
    return found


def same_weights(*folders: Path) -> bool:
    first, second = (checkpoint.load(folder / "last.safetensors").model for folder in folders)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return [{name: row[name] for name in row if name not in TIMINGS} for row in csv.DictReader(file)]


if __name__ == "__main__":
    raise SystemExit(guarded(main))
