"""Run Keras' own tests of its recurrent layers on the kernels: ``python -m bench.keras_layer_tests [FOLDER]``.

The folder is a checkout of Keras, or one that holds its package; by default the installed package, which comes with its
tests. The table counts the tests that pass with Keras alone, under ``fastrnn.keras.accelerate()``, and with fastrnn's
classes in the place of Keras'.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

from fastrnn.commands.errors import InputError
from fastrnn.commands.guard import guarded
from fastrnn.info import install_extra

FILES = ("lstm", "gru", "simple_rnn", "bidirectional")
BACKENDS = ("numpy", "torch", "jax", "tensorflow")
MODES = {"keras": "Keras alone", "accelerate": "accelerate()", "layers": "fastrnn.keras' layers"}
CLASSES = ("LSTM", "GRU", "SimpleRNN")


def pytest_addoption(parser: Any) -> None:
    """Add the option that chooses what runs the layers; this module is a plugin in the processes that it starts."""
    parser.addoption("--layers-by", choices=list(MODES), default="keras")


def pytest_configure(config: Any) -> None:
    """Put the kernels under the layers."""
    from keras.src import layers

    import fastrnn.keras

    mode, calls = config.getoption("--layers-by"), None
    if mode == "accelerate":
        calls = fastrnn.keras.accelerate()
    elif mode == "layers":
        from fastrnn.keras import _layers

        calls = _layers.Calls()
        _layers.Calls = lambda: calls  # one count for all layers
        for name in CLASSES:
            setattr(layers, name, getattr(fastrnn.keras, name))
    config.counted_calls = calls


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Skip what Keras' own configuration of pytest skips: tests that train on a backend that cannot."""
    import keras
    import pytest

    for item in items:
        if keras.config.backend() == "numpy" and item.get_closest_marker("requires_trainable_backend"):
            item.add_marker(pytest.mark.skip(reason="the backend does not train"))


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print how many calls the kernels ran."""
    if config.counted_calls is not None:
        terminalreporter.write_line(f"calls: {sum(config.counted_calls.calls.values())} by fastrnn")
        for (name, reason), count in sorted(config.counted_calls.fallbacks.items()):
            terminalreporter.write_line(f"calls: {count} by Keras: {name}: {reason}")


def files_in(folder: Path | None) -> list[Path]:
    """Return Keras' test files. Raises InputError."""
    if folder is None:
        spec = importlib.util.find_spec("keras")
        if spec is None or spec.origin is None:
            raise InputError(f"FOLDER must be given where Keras is not installed: {install_extra('keras')}")
        folder = Path(spec.origin).parents[1]
    found = [folder / "keras" / "src" / "layers" / "rnn" / f"{name}_test.py" for name in FILES]
    for path in found:
        if not path.exists():
            raise InputError(f"FOLDER must hold keras/src/layers/rnn with Keras' tests, but there is no {path}")
    return found


def run(files: list[Path], backend: str, mode: str) -> tuple[Counter[str], list[str]]:
    """Run the tests in a process of its own; returns the counts by outcome, and the lines to show."""
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "results.xml"
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "bench.keras_layer_tests", "--layers-by", mode),
            *("--rootdir", scratch, "-c", os.devnull, "--import-mode=importlib", "-p", "no:cacheprovider"),
            *("--junitxml", str(results), *map(str, files)),
        ]
        environment = os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if not results.exists():
            raise RuntimeError(f"pytest wrote no results:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    outcomes = [(case, next((child.tag for child in case if child.tag != "properties"), "passed")) for case in cases]
    lines = [f"{outcome}: {_name(case)}" for case, outcome in outcomes if outcome in ("failure", "error")]
    counts = Counter(outcome for _, outcome in outcomes)
    return counts, lines + [line for line in done.stdout.splitlines() if line.startswith("calls: ")]


def _name(case: Any) -> str:
    return f"{case.get('classname').rpartition('.')[2]}.{case.get('name')}"


def main() -> None:
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    parser = argparse.ArgumentParser(
        prog="python -m bench.keras_layer_tests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="a checkout of Keras; by default the installed Keras")
    parser.add_argument("--backend", action="append", choices=installed, help="by default all that are installed")
    arguments = parser.parse_args()
    files = files_in(arguments.folder)
    print("| Keras backend | layers | passed | failed | skipped |\n| --- | --- | --- | --- | --- |")
    notes = []
    for backend in arguments.backend or installed:
        for mode, title in MODES.items():
            counts, lines = run(files, backend, mode)
            failed = counts["failure"] + counts["error"]
            print(f"| {backend} | {title} | {counts['passed']} | {failed} | {counts['skipped']} |", flush=True)
            notes += [f"{backend}, {title}: {line}" for line in lines]
    print("", *notes, sep="\n")


if __name__ == "__main__":
    raise SystemExit(guarded(main))
