"""Coverage-guided fuzzing of the readers: ``python tests/fuzz/fuzz.py [TARGET ...] [--seconds N | --inputs N]``.

``just fuzz`` runs it. Each target runs in a process of its own under atheris. An input that takes more than 2 s of processor
time or 1 GB of memory, or that raises what it must not, is written to build/fuzz/TARGET/. Move it to
tests/fuzz/found/TARGET/ with the repair, and the quick tests replay it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The targets, with the bytes of their longest input: enough for each rule of the format, and few so that an input is quick.
LONGEST = {
    "midi": 1000,
    "chords": 300,
    "model": 3000,
    "safetensors": 6000,
    "run": 6000,
    "vocabulary": 2000,
    "text": 2000,
    "onnx": 3000,
}
SERVE = "--serve"  # what this script calls itself with
SLOWEST = 2.0  # seconds of processor time for one input
MOST_INPUTS = 250_000  # of one process, because atheris keeps 2 KB for each input of some targets
# A description without weights may draw this many values, not a million: a model of 250 arrays shows the fuzzer as much as
# one of 5,000, in a twentieth of the time.
FREE = 50_000
TRIAL = 20_000_000  # values of an array with which a layer is tried: in float64, with its results, half of the memory


def main() -> int:
    """Fuzz each target in turn; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(LONGEST)} (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together (default: 60)")
    parser.add_argument("--inputs", type=int, help="for each target, in any time")
    if sys.argv[1:2] == [SERVE]:
        return serve(sys.argv[2], sys.argv[3:])
    given = parser.parse_args()
    names = given.targets or list(LONGEST)
    limits = [f"-max_total_time={max(1, given.seconds // len(names))}"]
    if given.inputs is not None:
        limits = [f"-runs={min(MOST_INPUTS, given.inputs - done)}" for done in range(0, given.inputs, MOST_INPUTS)]
    failed = [name for name in names if not all(fuzzed(name, limit) for limit in limits)]
    print(f"failed: {', '.join(failed)}" if failed else "no fault found")
    return 1 if failed else 0


def fuzzed(name: str, limit: str) -> bool:
    """Fuzz a target up to the ``limit``, an option of libFuzzer; print the number of inputs; return whether none failed."""
    corpus = ROOT / "build" / "fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    found = HERE / "found" / name
    options = [
        limit,
        "-rss_limit_mb=1024",
        "-timeout=300",  # of a clock on the wall: a machine that is busy or asleep for a minute is no fault
        "-print_final_stats=1",
        f"-max_len={LONGEST[name]}",
        "-len_control=0",
    ]
    folders = [str(corpus), *([str(found)] if found.is_dir() else [])]
    command = [sys.executable, __file__, SERVE, name, *options, f"-artifact_prefix={corpus}/fault-", *folders]
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    said = done.stdout + done.stderr
    count = re.search(r"number_of_executed_units: (\d+)", said)
    taken = time.monotonic() - begin
    print(f"{name}: {int(count[1]) if count else 0:,} inputs in {taken:,.0f} s, exit status {done.returncode}", flush=True)
    if done.returncode:
        print(said[-3000:])
    return done.returncode == 0


def serve(name: str, options: list[str]) -> int:
    """Fuzz one target in this process until a fault."""
    import atheris

    sys.path[:0] = [str(HERE), str(HERE.parent)]
    with atheris.instrument_imports(include=["fastrnn"]):
        import mutators
        import targets

        from fastrnn._core import drawing_limit
    drawing_limit.FREE, drawing_limit.TRIAL = FREE, TRIAL

    def once(data: bytes) -> None:
        begin = time.process_time()
        targets.run(name, data)
        taken = time.process_time() - begin
        assert taken < SLOWEST, f"{taken:.1f} s"

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        changed = mutators.mutated(name, data, seed) if seed % 4 else None
        return atheris.Mutate(data, most) if changed is None or len(changed) > most else changed

    corpus = ROOT / "build" / "fuzz" / name
    for i, data in enumerate(targets.TARGETS[name].seeds()):
        (corpus / f"seed-{i}").write_bytes(data)
    atheris.Setup([sys.argv[0], *options], once, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
