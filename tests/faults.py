"""Deliberate faults, each of which the quick tests must catch: ``python tests/faults.py [WORD ...]``.

Each fault is made in a copy of the checkout, and the quick tests run until one fails: first the files that are likely to
catch it, then all. The C sources are compiled again only if the fault is in them. With words, only the faults run whose
names contain one of them. Exits with 1 if a fault is not caught, if its line is no longer in the sources,
or if a test fails without a fault.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Fault(NamedTuple):
    """A line of a file that is replaced by a wrong one, and the tests that are tried first."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


KERNELS = "test_backends test_determinism"
# fmt: off
FAULTS = [
    Fault("LSTM: sign of the output gate's gradient", "csrc/kernels/lstm.c",
          "vec da_o = dh * tanh_c * dsigmoid(o);", "vec da_o = -dh * tanh_c * dsigmoid(o);", KERNELS),
    Fault("LSTM: forget gate's gradient from the new state", "csrc/kernels/lstm.c",
          "da_f = dc * c_prev * dsigmoid(f)", "da_f = dc * load(s->c + p.i) * dsigmoid(f)", KERNELS),
    Fault("LSTM: peephole of the output gate sees the old state", "csrc/kernels/lstm.c",
          "sigmoid_(fma_(load(w + 2 * s->state), c, a_o))", "sigmoid_(fma_(load(w + 2 * s->state), c_prev, a_o))", KERNELS),
    Fault("GRU: order of the gates r and z", "csrc/kernels/gru.c",
          ".slots = 4, .x = {0, 3, {2, 0, 1}}", ".slots = 4, .x = {0, 3, {2, 1, 0}}", KERNELS),
    Fault("GRU: old and new state change places", "csrc/kernels/gru.c",
          "fma_(z, load(s->h_prev + p.i) - n, n)", "fma_(z, n - load(s->h_prev + p.i), load(s->h_prev + p.i))", KERNELS),
    Fault("RNN: relu's gradient everywhere", "csrc/kernels/activations.h",
          "(y > splat(0))", "(y >= splat(0))", KERNELS),
    Fault("reverse direction starts one step late", "csrc/schedule.c",
          "length_of(batch, b) - 1 - step : step", "(length_of(batch, b) - step) % length_of(batch, b) : step", KERNELS),
    Fault("padding of y is not cleared", "csrc/kernels/forward.c",
          "if (!has_padding(batch)) return;", "if (batch) return;", KERNELS),
    Fault("gradient of the final state is ignored", "csrc/kernels/backward.c",
          "dh_n ? dh_n + at * l->Y : 0, l->Y, l->h_row", "0, l->Y, l->h_row", KERNELS),
    Fault("backward pass without a barrier before it", "csrc/kernels/backward.c",
          "load_final_gradients(me, b);\n    pool_barrier(me);", "load_final_gradients(me, b);",
          "test_determinism"),
    Fault("token's gradient goes to the next token", "csrc/kernels/gradients.c",
          "b->dW + (panel * l->I + id) * w;", "b->dW + (panel * l->I + (id + 1) % l->I) * w;", KERNELS),
    Fault("packed columns: a single one repeats its first number", "csrc/kernels/packing.c",
          ".row = K, .step = 1, .tiled = 1", ".row = K, .step = 0, .tiled = 1", KERNELS),
    Fault("second direction's dx is dropped", "csrc/stack.c",
          "if (s->D > 1 && din->dx) kernels->add", "if (s->D > 2 && din->dx) kernels->add", "test_layers_backends"),
    Fault("initial state of the first part for all parts", "csrc/stack.c",
          "on(s, in->h0, i * B * Y), c ?", "on(s, in->h0, 0 * i), c ?", "test_functional_stack test_layers_backends"),
    Fault("cross-entropy counts ignored targets", "csrc/kernels/losses.c",
          "&& k->targets[row] != k->how->ignore_index", "", "test_losses"),
    Fault("Adam without the correction of v", "csrc/kernels/optimise.c",
          "(real)sqrt(1 - pow(how->beta2, (double)p->steps))", "1", "test_optim"),
    Fault("sampling includes a token that top-p leaves out", "csrc/kernels/generate.c",
          "if (cumulative >= how->top_p * total) count = i + 1;", "if (cumulative >= how->top_p * total) count = i + 2;",
          "test_backends"),
    Fault("Numba: sign in GRU's gradient of r", "fastrnn/backends/_numba/cells.py",
          "da_n * q_n * r * (_one(r) - r)", "da_n * q_n * r * (r - _one(r))", KERNELS),
    Fault("Numba: LSTM's cell keeps no old state", "fastrnn/backends/_numba/cells.py",
          "c_new = f * c_old + i * g  # 2", "c_new = i * g  # 2", KERNELS),
    Fault("a changed parameter leaves packed weights as they were", "fastrnn/_core/parameter.py",
          "        self.changed((self,))", "        pass", "test_layers_recurrent test_layers_backends"),
    Fault("dropout is not scaled", "fastrnn/layers/dropout.py",
          "1 / (1 - p)\n    return mask", "1\n    return mask", "test_layers_small test_layers_torch"),
    Fault("Last reads the step after the last", "fastrnn/layers/pooling.py",
          "last = ends[started] - 1, started", "last = np.minimum(ends[started], T - 1), started", "test_layers_small"),
    Fault("MeanPool counts padding", "fastrnn/layers/pooling.py",
          "valid = True if lengths is None else _mask(lengths, x)", "valid = True", "test_layers_small"),
    Fault("batch_first output stays time-major", "fastrnn/layers/_recurrent/axis_order.py",
          "return value.swapaxes(0, 1) if self.batch_first else value", "return value", "test_layers_torch"),
    Fault("accuracy counts what the mask leaves out", "fastrnn/metrics.py",
          "unmasked = values if mask is None else values[check_mask(", "unmasked = values if True else values[check_mask(",
          "test_fit"),
    Fault("cosine schedule forgets its floor", "fastrnn/training/schedules.py",
          "return floor + (1.0 - floor) * 0.5", "return 0.5", "test_schedules"),
    Fault("squared error's gradient without its factor", "fastrnn/losses.py",
          "dtype=np.float64), 2 * difference", "dtype=np.float64), difference", "test_losses"),
    Fault("a gradient that flows twice is counted once", "fastrnn/graph/plan.py",
          "self.totals[number] += gradient", "self.totals[number] = gradient", "test_graph"),
    Fault("a resumed optimiser counts its steps from zero", "fastrnn/_optimisers/base.py",
          "self._steps[:] = steps", "self._steps[:] = 0", "test_optim test_resume"),
    Fault("a major seventh is read as a minor one", "fastrnn/music/_theory/chord_tones.py",
          "self.seventh, self.seventh_named = 11, True", "self.seventh, self.seventh_named = 10, True",
          "test_music_symbols"),
    Fault("tempo of a MIDI file is ignored", "fastrnn/music/_midi/tracks.py",
          "(at, 6e7 / micros)", "(at, 6e7 / 500_000)", "test_music_midi"),
]
# fmt: on


def main(words: list[str]) -> int:
    """Make each chosen fault in a copy of the checkout and print which test caught it."""
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "checkout"
        files = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
        for name in filter(None, files):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
        extensions = list((ROOT / "fastrnn").glob("_fastrnn*.so"))
        if not extensions or any(fault.file.startswith("csrc/") for fault in chosen):
            build(copy)
        else:
            shutil.copy2(extensions[0], copy / "fastrnn")
        if test := failed_test(copy, ["tests"]):
            print(f"without a fault, {test} fails, so it would seem to catch every fault")
            return 1
        missed = [fault.name for fault in chosen if not caught(fault, copy)]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} faults are caught")
    return 1 if missed else 0


def caught(fault: Fault, copy: Path) -> bool:
    """Make one fault, run tests until one fails, undo the fault, and print the result."""
    path = copy / fault.file
    source = path.read_text(encoding="utf-8")
    if source.count(fault.right) != 1:
        print(f"{fault.name}: its line stands {source.count(fault.right)} times in {fault.file}", flush=True)
        return False
    start = time.monotonic()
    path.write_text(source.replace(fault.right, fault.wrong), encoding="utf-8")
    try:
        if path.is_relative_to(copy / "csrc"):
            build(copy)
        likely = [f"tests/{name}.py" for name in fault.tests.split()]
        test = failed_test(copy, likely) or failed_test(copy, ["tests"])
    finally:
        path.write_text(source, encoding="utf-8")
        if path.is_relative_to(copy / "csrc"):
            os.utime(path)
    print(f"{fault.name}: {test or 'NOT CAUGHT'} ({time.monotonic() - start:.0f} s)", flush=True)
    return test is not None


def build(copy: Path) -> None:
    """Compile the C extension of a checkout into its package, on x86-64 for one ISA: all have the same sources."""
    isas = ["-DFASTRNN_ISAS=avx2"] if platform.machine() == "x86_64" else []
    subprocess.run(["just", "build", *isas], cwd=copy, check=True, capture_output=True)


def failed_test(copy: Path, tests: list[str]) -> str | None:
    """Return the name of the first quick test that fails, None if all pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "auto", "-p", "no:cacheprovider", "-m", "not slow", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else f"pytest ended with {done.returncode}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
