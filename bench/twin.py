"""``python -m bench.twin FILE``: train a character model in fastrnn and in plain PyTorch, and compare the losses.

Both sides have the model, the batches, the optimiser, the schedule and the clipping of ``fastrnn train chars FILE``. Initial
weights and dropout masks come from generators of their own, so the losses differ by about the spread of the seeds. With
``--same-start`` and ``--dropout 0`` the twin starts from fastrnn's weights, and only rounding differs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fastrnn.commands.arguments import integer, real
from fastrnn.commands.guard import guarded
from fastrnn.layers.base import Layer
from fastrnn.losses import IGNORED
from fastrnn.text import reading
from fastrnn.text.options import TrainOptions, make_options
from fastrnn.text.training import Data, make_trainer
from fastrnn.training._run.model_task import Batch
from fastrnn.training._run.options import make_schedule

from .tables import Row, machine_line, show


class Twin(nn.Module):
    """The model of ``fastrnn train chars`` in torch.nn, with the same names of parameters and kinds of initial values."""

    def __init__(self, options: TrainOptions, V: int) -> None:
        super().__init__()
        E, H, L = options.embedding, options.hidden, options.layers
        self.embedding = nn.Embedding(V, E)
        between = options.dropout if L > 1 else 0.0
        self.recurrent = getattr(nn, options.model.upper())(E, H, L, dropout=between)
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(H, V)
        if options.model == "lstm":
            for name, bias in self.recurrent.named_parameters():
                if name.startswith("bias"):  # the forget gate begins open, as in fastrnn
                    nn.init.constant_(bias[H : 2 * H], float(name.startswith("bias_ih")))

    def forward(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the logits ``[T, B, V]`` and the next state; an id of -1 is the zero vector."""
        x = self.embedding(ids.clamp(min=0)) * (ids >= 0)[..., None]
        y, state = self.recurrent(x, state)
        return self.output(self.dropout(y)), state


def _loss(model: Twin, batch: Batch, state: Any, reduction: str) -> tuple[torch.Tensor, Any]:
    logits, state = model(torch.from_numpy(batch.inputs), None if batch.first else state)
    targets = torch.from_numpy(batch.targets).flatten()
    loss = functional.cross_entropy(logits.flatten(0, 1), targets, ignore_index=IGNORED, reduction=reduction)
    return loss, tuple(h.detach() for h in state) if isinstance(state, tuple) else state.detach()


def _optimizers(model: Twin, options: TrainOptions) -> list[torch.optim.Optimizer]:
    """Return AdamW alone, or Muon for the recurrent layers' matrices and AdamW for all else.

    torch's Muon multiplies in bfloat16. Raises ValueError for another optimiser.
    """
    common = {"lr": options.lr, "weight_decay": options.weight_decay}
    if options.optimizer not in ("adamw", "muon"):
        raise ValueError(f"optimizer must be adamw or muon, got {options.optimizer}")
    if options.optimizer == "adamw":
        return [torch.optim.AdamW(model.parameters(), **common)]
    matrices = [array for name, array in model.named_parameters() if name.startswith("recurrent.weight")]
    others = [array for name, array in model.named_parameters() if not name.startswith("recurrent.weight")]
    return [torch.optim.Muon(matrices, **common, adjust_lr_fn="match_rms_adamw"), torch.optim.AdamW(others, **common)]


def train_twin(options: TrainOptions, data: Data, start: Layer | None = None) -> float:
    """Train the twin and return its held-out loss in nats per character, after the last step."""
    torch.manual_seed(options.seed)
    model, state = Twin(options, len(data.vocabulary)), None
    if start is not None:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in start.state_dict().items()})
    optimizers = _optimizers(model, options)
    schedule: Any = make_schedule(options)
    for step in range(options.max_steps or 0):
        loss, state = _loss(model, data.batches.next(), state, "mean")
        model.zero_grad()
        loss.backward()
        if options.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = options.lr * schedule(step)
            optimizer.step()
    model.eval()
    total, state = 0.0, None
    with torch.inference_mode():
        for batch in data.evaluation():
            loss, state = _loss(model, batch, state, "sum")
            total += loss.item()
    return total / data.evaluation.tokens


def train_ours(text: str, options: TrainOptions) -> float:
    """Train fastrnn's model and return its held-out loss, after the last step. Raises KeyboardInterrupt."""
    trainer, _, _ = make_trainer(text, options)
    if trainer.run().stopped == "interrupted":
        raise KeyboardInterrupt  # the loss of a part of the steps would be compared with the twin's after all of them
    task: Any = trainer.task
    return float(task.evaluate_in_full())


def losses(text: str, seeds: int, same_start: bool, **given: Any) -> Iterator[tuple[int, float, float]]:
    """Yield each seed with the losses of fastrnn and of the twin."""
    for seed in range(seeds):
        options = make_options(reading.guess(text)[0], seed=seed, **given)
        _, model, data = make_trainer(text, options)
        yield seed, train_ours(text, options), train_twin(options, data, model.model if same_start else None)


def table(found: Iterator[tuple[int, float, float]]) -> Iterator[Row]:
    """Yield the rows of a table of losses, then their means and standard deviations."""
    yield "seed", "fastrnn", "PyTorch", "difference"
    ours, theirs = [], []
    for seed, a, b in found:
        ours.append(a)
        theirs.append(b)
        yield str(seed), f"{a:.4f}", f"{b:.4f}", f"{a - b:+.4f}"
    if len(ours) > 1:
        spread = [f"{mean(values):.4f} ± {stdev(values):.4f}" for values in (ours, theirs)]
        yield "mean", *spread, f"{mean(ours) - mean(theirs):+.4f}"


def main(typed: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.twin", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=integer(1), default=3, help="number of runs of each side (default: 3)")
    parser.add_argument("--same-start", action="store_true", help="let the twin begin with fastrnn's weights")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), help="default: that of fastrnn train chars")
    parser.add_argument("--model", choices=("rnn", "gru", "lstm"), default="lstm")
    default = "default: that of fastrnn train chars"
    for name in ("layers", "hidden", "batch", "max-steps"):
        parser.add_argument(f"--{name}", type=integer(1), help=default)
    parser.add_argument("--dropout", type=real(0, 1), help=default)
    options = vars(parser.parse_args(typed))
    text = reading.read_file(options.pop("file"))
    given = {name: value for name, value in options.items() if value is not None}
    print(f"{machine_line(torch=torch.__version__)}; held-out loss in nats per character\n")
    show(table(losses(text, **given)))


if __name__ == "__main__":
    raise SystemExit(guarded(main))
