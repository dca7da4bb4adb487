"""``python -m bench.compilers NAME=FOLDER ...``: compare builds of the kernels by several compilers, for docs/kernels.md.

Each folder holds an ``_fastrnn.abi3.so`` of this checkout, built by CMake with ``-DCMAKE_C_COMPILER=...``. One process for
each build computes the outputs and gradients of the catalogue of cases (``tests/cases.py``). The first build's are the
reference for the others. Then the processes take turns at each measurement. A time is the shortest CPU time of all turns,
because longer ones contain the work of other processes. The table divides it by the shortest of any build.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn.commands.arguments import integer
from fastrnn.commands.guard import guarded

ROOT = Path(__file__).parents[1]
SERVE = "--serve"  # this program calls itself with it
T = 20
SIZES = [(3, 1, 4, 5), (7, 5, 9, 33), (4, 17, 40, 70)]  # T, B, I, H of the cases whose values are compared
TIMED = list(itertools.product(("LSTM", "GRU"), (64, 256, 512), (1, 32), ("forward", "training")))


class Build:
    """A process that runs the kernels of one build."""

    def __init__(self, name: str, folder: str) -> None:
        (extension,) = Path(folder).resolve().glob("_fastrnn.*so")
        settings = {key: value for key, value in os.environ.items() if not key.startswith("FASTRNN_")}
        command = [sys.executable, "-m", "bench.compilers", SERVE, str(extension)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, env=settings, stdin=pipe, stdout=pipe, text=True)
        self.name = name

    def ask(self, *words: Any) -> Any:
        """Send a request to the process and return its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(words), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def serve(extension: str) -> None:
    """Answer requests about the kernels in this file until the input ends."""
    spec = importlib.util.spec_from_file_location("fastrnn._fastrnn", extension)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.append(str(ROOT / "tests"))
    import fastrnn
    from fastrnn.backends._c import backend as c

    fastrnn.set_num_threads(1)
    calls: dict[tuple[Any, ...], Any] = {}
    for line in sys.stdin:
        request, *words = json.loads(line)
        if request == "compiler":
            answer: Any = c.info()["compiler"]
        elif request == "values":
            np.savez(words[0], **dict(values()))
            answer = None
        else:
            key = tuple(words)
            if key not in calls:
                calls.clear()
                calls[key] = call_of(*key)
            answer = seconds(calls[key])
        print(json.dumps(answer), flush=True)


def values() -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the array of each output and gradient of the catalogue, on every ISA that runs here."""
    import cases

    from fastrnn.backends._c import backend as c

    for isa, dtype, size in itertools.product(c.isa_names(), ("float32", "float64"), SIZES):
        c.set_isa(isa)
        for variant, options in itertools.product(cases.CELLS, cases.OPTIONS):
            found = cases.run("c", cases.make_case(variant, *size, dtype, **options))
            name = f"{isa} {dtype} {size} {cases.name(variant)} {cases.name(options)}"
            yield from ((f"{name} {key}", array) for key, array in found.items())
    c.set_isa(None)


def call_of(cell: str, H: int, B: int, call: str) -> Any:
    """Return a function without arguments that runs inference or a training step."""
    import fastrnn

    layer = getattr(fastrnn, cell)(H, H, rng=0, backend="c")
    x = np.random.default_rng(0).standard_normal((T, B, H), dtype=np.float32)

    def training() -> None:
        _, backward = layer.forward(x)
        backward(x)

    return training if call == "training" else lambda: layer(x)


def seconds(call: Any) -> float:
    """Return the shortest CPU time of calls that take 20 ms together, after one that is not timed."""
    call()
    best, end = np.inf, time.process_time() + 0.02
    while (begin := time.process_time()) < end:
        call()
        best = min(best, time.process_time() - begin)
    return float(best)


def differences(builds: list[Build]) -> None:
    """Print for each build after the first how many arrays have the bits of the first build's, and the largest error."""
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{i}.npz" for i in range(len(builds))]
        for build, file in zip(builds, files, strict=True):
            build.ask("values", file)
        wanted = dict(np.load(files[0]))
        for build, file in zip(builds[1:], files[1:], strict=True):
            got, same, worst = np.load(file), 0, 0.0
            for name, array in wanted.items():
                found = got[name]
                same += found.tobytes() == array.tobytes()
                worst = max(worst, np.abs(found - array).max(initial=0) / (np.abs(array).max(initial=0) or 1))
            print(
                f"{build.name}: {same:,} of {len(wanted):,} arrays equal those of {builds[0].name}, worst error {worst:.1e}"
            )


def table(builds: list[Build], rounds: int) -> None:
    """Print the relative times of all builds, row by row."""
    print("| layer, H | B | call | best, µs |", *(f" {build.name} |" for build in builds), sep="")
    print("|", " --- |" * (4 + len(builds)), sep="")
    for cell, H, B, call in TIMED:
        best = [np.inf] * len(builds)
        for turn in range(rounds):
            for k in range(len(builds)):
                i = (k + turn) % len(builds)
                best[i] = min(best[i], builds[i].ask("time", cell, H, B, call))
        ratios = " | ".join(f"{found / min(best):.2f}" for found in best)
        print(f"| {cell}, {H} | {B} | {call} | {min(best) * 1e6:,.0f} | {ratios} |", flush=True)


def main() -> None:
    """Compare the values, then the speed."""
    if sys.argv[1:2] == [SERVE]:
        return serve(sys.argv[2])
    from .tables import machine_line

    parser = argparse.ArgumentParser(prog="python -m bench.compilers", description=__doc__)
    parser.add_argument("builds", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--rounds", type=integer(1), default=15, help="turns of each build (default: 15)")
    given = parser.parse_args()
    for word in given.builds:
        name, _, folder = word.partition("=")
        if not (name and folder and len(list(Path(folder).glob("_fastrnn.*so"))) == 1):
            parser.error(f"NAME=FOLDER must name a folder with one _fastrnn.*so, got {word}")
    builds = [Build(*word.partition("=")[::2]) for word in given.builds]
    for build in builds:
        print(f"{build.name}: {build.ask('compiler')}")
    differences(builds)
    print(f"\n{machine_line()}; T = {T}, one thread, load {os.getloadavg()[0]:.1f}\n")
    table(builds, given.rounds)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
