"""``python -m bench.torch_packages``: train models of three packages, unchanged, on PyTorch and after accelerate.

sb3             sb3-contrib's RecurrentPPO with its defaults, on CartPole without velocities
gluonts         GluonTS's DeepAR with its defaults, on hourly series, cache_data=True
neuralforecast  neuralforecast's LSTM with its defaults and dropout, on hourly series

Both sides train a few steps from the same seed, and their losses are compared. Then whole training runs take turns, from the
construction of the model to the last step. For one thread, the ratio of CPU times is also valid on a busy machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from fastrnn.benchmark.measure import Effort, alternate
from fastrnn.commands.arguments import integer
from fastrnn.commands.guard import guarded
from fastrnn.torch import accelerate
from fastrnn.torch.switch import Report

from .tables import machine_line


@dataclass
class Training:
    """One training of a package's model: a whole run, or a short one that records the loss of each step."""

    accelerated: bool
    steps: int
    whole: bool = False
    losses: list[float] = field(default_factory=list)
    report: Report = field(default_factory=Report)

    def start(self, model: nn.Module) -> None:
        """Switch the model before its first step."""
        if self.accelerated:
            self.report = accelerate(model)


@dataclass(frozen=True)
class Package:
    """A package: its name on PyPI, the modules that it needs, its pins, and the steps of a whole training run."""

    name: str
    modules: tuple[str, ...]
    pins: str
    steps: int
    train: Callable[[Training], None]

    def is_installed(self) -> bool:
        return all(importlib.util.find_spec(module) for module in self.modules)


def sb3(training: Training) -> None:
    """Train RecurrentPPO. Its log has one loss per rollout, so a short training runs one step per rollout."""
    from gymnasium.spaces import Box
    from gymnasium.wrappers import TransformObservation
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    class Losses(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if "train/loss" in self.logger.name_to_value:
                training.losses.append(float(self.logger.name_to_value["train/loss"]))

        _on_training_end = _on_rollout_start

    def positions_only(env: Any) -> Any:
        return TransformObservation(env, lambda seen: seen[[0, 2]], Box(-np.inf, np.inf, (2,), np.float32))

    envs = make_vec_env("CartPole-v1", n_envs=8, seed=0, wrapper_class=positions_only)
    rollout, updates = 8 * 128, 80 if training.whole else 1  # 128 steps of 8 environments; 10 epochs of 8 batches
    options = {} if training.whole else {"n_epochs": 1, "batch_size": rollout}
    model = RecurrentPPO("MlpLstmPolicy", envs, seed=0, device="cpu", **options)
    training.start(model.policy)
    model.learn(rollout * (training.steps // updates), callback=Losses(), log_interval=1)


def lightning_callback(base: type, training: Training) -> Any:
    """Return a callback of Lightning that switches the model at the start and keeps each step's loss."""

    class Callback(base):  # type: ignore[misc]
        def on_fit_start(self, trainer: Any, pl_module: nn.Module) -> None:
            training.start(pl_module)

        def on_train_batch_end(self, trainer: Any, pl_module: nn.Module, outputs: Any, *_: Any) -> None:
            training.losses.append(float(outputs["loss"]))

    return Callback()


QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def hourly_series(count: int = 20, length: int = 1200) -> Iterable[np.ndarray]:
    """Return noisy series with a daily period."""
    rng, hours = np.random.default_rng(0), np.arange(length)
    return [np.sin(2 * np.pi * hours / 24 + i) + 2 + 0.1 * rng.standard_normal(length) for i in range(count)]


def gluonts(training: Training) -> None:
    import pandas as pd
    from gluonts.dataset.common import ListDataset
    from gluonts.torch import DeepAREstimator
    from lightning.pytorch import Callback, seed_everything

    start = pd.Period("2026-01-01", "h")
    data = ListDataset([{"start": start, "target": series} for series in hourly_series()], freq="h")
    seed_everything(0)
    with tempfile.TemporaryDirectory() as folder:
        options = {"max_epochs": 1, "default_root_dir": folder, "callbacks": [lightning_callback(Callback, training)]}
        estimator = DeepAREstimator("h", 24, num_batches_per_epoch=training.steps, trainer_kwargs=QUIET | options)
        estimator.train(data, cache_data=True)


def neuralforecast(training: Training) -> None:
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.models import LSTM
    from pytorch_lightning import Callback

    times = pd.date_range("2026-01-01", periods=1200, freq="h")
    series = [pd.DataFrame({"unique_id": i, "ds": times, "y": y}) for i, y in enumerate(hourly_series())]
    options = QUIET | {"max_steps": training.steps, "callbacks": [lightning_callback(Callback, training)]}
    model = LSTM(h=24, input_size=96, encoder_dropout=0.1, random_seed=0, **options)
    NeuralForecast([model], freq="h").fit(pd.concat(series))


PACKAGES = {
    "sb3": Package("sb3-contrib", ("sb3_contrib",), "sb3-contrib==2.9.2", 160, sb3),
    "gluonts": Package("gluonts", ("gluonts", "lightning"), "gluonts==0.17.0 lightning==2.6.6", 200, gluonts),
    "neuralforecast": Package("neuralforecast", ("neuralforecast",), "neuralforecast==3.3.0", 20, neuralforecast),
}
INSTALL = "pip install torch==2.13.0"


def measure(package: Package, steps: int, rounds: int) -> tuple[list[str], Report]:
    """Return the row of the table, and the report of accelerate."""
    plain, ours = (Training(accelerated, steps) for accelerated in (False, True))
    for training in (plain, ours):
        package.train(training)
        assert len(training.losses) == steps, f"{package.name} made {len(training.losses)} steps"
    difference = max(abs(a - b) / abs(a) for a, b in zip(plain.losses, ours.losses, strict=True))

    cpu: dict[bool, list[float]] = {False: [], True: []}

    def run(accelerated: bool) -> None:
        begin = time.process_time()
        package.train(Training(accelerated, package.steps, whole=True))
        cpu[accelerated].append(time.process_time() - begin)

    sides = [partial(run, accelerated) for accelerated in cpu]
    slow, fast = (timing.median for timing in alternate(sides, Effort(0, rounds, slow_rounds=rounds)))
    runs = ", ".join(f"{n} {what}: {who}" for (what, who), n in Counter(row[1:] for row in ours.report.rows).items())
    times = f"{slow:.2f}", f"{fast:.2f}", f"{slow / fast:.2f}", f"{median(cpu[False]) / median(cpu[True]):.2f}"
    return [f"{package.name} {metadata.version(package.name)}", runs, f"{difference:.1e}", *times], ours.report


def installed(names: Sequence[str]) -> list[Package]:
    """Return the packages of these names that are installed. Print a line for each of the others."""
    packages = [PACKAGES[name] for name in names]
    for package in packages:
        if not package.is_installed():
            print(f"{package.name} is not installed: {INSTALL} {package.pins}")
    return [package for package in packages if package.is_installed()]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table with a row for each package and number of threads, and the reports of accelerate."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.torch_packages",
        description=__doc__,
        epilog=f"These versions install together: {INSTALL} {' '.join(package.pins for package in PACKAGES.values())}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("packages", nargs="*", help="default: all", metavar="PACKAGE")
    parser.add_argument("--steps", type=integer(1), default=20, help="steps whose losses are compared (default: 20)")
    parser.add_argument("--rounds", type=integer(1), default=5, help="timed training runs of each side (default: 5)")
    parser.add_argument("--threads", nargs="+", type=integer(1, 256), default=[1, 2])
    arguments = parser.parse_args(argv)
    if unknown := sorted(set(arguments.packages) - set(PACKAGES)):
        parser.error(f"PACKAGE must be one of {', '.join(PACKAGES)}, got {', '.join(unknown)}")
    if not (packages := installed(arguments.packages or list(PACKAGES))):
        return
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(machine_line(pytorch=torch.__version__))
    print(
        "\n| package | threads | what runs | losses differ by | PyTorch s | fastrnn s | times | times, CPU |\n|"
        + " --- |" * 8
    )
    reports = {}
    for package in packages:
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            (name, *rest), reports[package.name] = measure(package, arguments.steps, arguments.rounds)
            print(f"| {' | '.join([name, str(threads), *rest])} |", flush=True)
    for title, report in reports.items():
        print(f"\n{title}\n\n{report}")


if __name__ == "__main__":
    raise SystemExit(guarded(main))
