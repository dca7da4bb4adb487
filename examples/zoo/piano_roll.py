"""Ragtime as piano rolls: 88 sigmoid outputs per step predict the keys that are down next, given all previous steps.

``python examples/zoo/piano_roll.py FOLDER`` reads every MIDI file of a folder. It holds one out for testing, and uses the
last of the others to stop the training. It trains stacked LSTM layers with feed-forward layers on top, and prints the
negative log-likelihood per step, compared with two baselines. Then it continues the first bars of the held-out piece in
``sample.mid`` and ``roll.png``. It saves the model as ``model.safetensors``, which :func:`fastrnn.load_model` reads, and
draws it as ``model.png``.

``--npz FILE --out RUN`` trains on sets of rolls in one file instead (``polyphony.py``), and ``--evaluate RUN --npz OTHER``
prints the negative log-likelihood of another such file.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polyphony
import pretty_midi
import saving
from numpy.typing import NDArray
from polyphony import KEYS, loss

import fastrnn
from fastrnn.commands.arguments import integer, real, seed
from fastrnn.console import note
from fastrnn.losses import sigmoid_binary_cross_entropy
from fastrnn.music.midi import MidiError, read_midi_with_repairs
from fastrnn.music.midi_repairs import repairs_line
from fastrnn.music.piece import TICKS
from fastrnn.training import EarlyStopping, Examples, ProgressBar, fit

Array = NDArray[np.float32]

FILES = (saving.MODEL, saving.DETAILS, "sample.mid", "roll.png", "model.png")
LOWEST = 21  # MIDI's number of a piano's lowest key, A0
DEFAULTS = {"hidden": (128, 256), "dropout": (0.3, 0.4), "lr": (3e-3, 8e-3), "batch": (8, 16)}  # for a folder, for --npz
STEPS, NADE = 2000, 128
NADE_HELP = f"let each key know the keys below it, by a NADE of so many hidden units ({NADE} without a number)"
STEPS_PER_QUARTER = 4  # a step is a sixteenth note


def read_roll(path: Path) -> Array:
    """Read a roll ``[T, 88]``, 1 if a key is down during a sixteenth note; notes of a key without a rest become one.

    Swing is removed, and repairs of damaged files are printed. Ends the program if the file cannot be used.
    """
    with saving.short_errors(MidiError):
        piece, repairs = read_midi_with_repairs(path, fewest=1)
    if repairs:
        note(f"{path}: {repairs_line(repairs)}")
    ticks = TICKS // STEPS_PER_QUARTER
    notes = [
        (n.pitch - LOWEST, round(n.onset / ticks), round(n.end / ticks))
        for part in piece.parts
        for n in part.notes
        if 0 <= n.pitch - LOWEST < KEYS
    ]
    if not notes:
        raise SystemExit(f"{path} has no notes for a piano")
    roll = np.zeros((max(end for _, _, end in notes) + 1, KEYS), np.float32)
    for key, start, end in notes:
        roll[start : max(end, start + 1), key] = 1
    return roll[:-1] if not roll[-1].any() else roll


def write_midi(roll: Array, path: Path, quarters_per_minute: float = 80.0) -> None:
    """Write a roll as piano notes; consecutive steps with a key down are one note."""
    seconds = 60 / quarters_per_minute / STEPS_PER_QUARTER
    midi = pretty_midi.PrettyMIDI(initial_tempo=quarters_per_minute)
    piano = pretty_midi.Instrument(program=0)
    changes = np.diff(np.pad(roll > 0, ((1, 1), (0, 0))).astype(np.int8), axis=0).T
    for key, change in enumerate(changes):
        for start, end in zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1), strict=True):
            piano.notes.append(pretty_midi.Note(80, key + LOWEST, start * seconds, end * seconds))
    midi.instruments.append(piano)
    midi.write(str(path))


def inputs_and_targets(roll: Array) -> tuple[Array, Array]:
    """Return the inputs, which are the roll delayed by a step of silence, and the targets, which are the roll."""
    return np.concatenate([np.zeros_like(roll[:1]), roll[:-1]]), roll


def transposed(roll: Array, semitones: int) -> Array:
    """Transpose a roll up by ``semitones``; notes that leave the keyboard are lost."""
    moved = np.zeros_like(roll)
    keys = np.arange(max(0, semitones), min(KEYS, KEYS + semitones))
    moved[:, keys] = roll[:, keys - semitones]
    return moved


def windows(rolls: Sequence[Array], length: int, shifts: Sequence[int]) -> Examples:
    """Cut every roll, transposed by each of ``shifts`` semitones, into windows."""
    inputs, targets = [], []
    for roll in rolls:
        for shift in shifts:
            x, target = inputs_and_targets(transposed(roll, shift))
            for start in range(0, len(x), length):
                inputs.append(x[start : start + length])
                targets.append(target[start : start + length])
    return Examples(inputs, targets)


def build(
    layers: int, hidden: int, dropout: float = 0.0, skip: bool = True, seed: int = 0, dtype: str = "float32"
) -> fastrnn.Model:
    """Build stacked LSTM layers with feed-forward layers on top, from rolls ``[T, B, 88]`` to logits ``[T, B, 88]``.

    With ``skip`` the roll goes to every layer, and every layer to the top (Graves 2013, figure 1).
    """
    rng = np.random.default_rng(seed)
    roll = fastrnn.Input(("T", "B", KEYS), dtype=dtype)
    below, outputs = roll, []
    for _ in range(layers):
        y, _ = fastrnn.LSTM(below.shape[-1], hidden, dtype=dtype, rng=rng)(below)
        outputs.append(fastrnn.Dropout(dropout, rng=rng)(y))
        below = fastrnn.Concat()(roll, outputs[-1]) if skip else outputs[-1]
    top = fastrnn.Concat()(*outputs) if skip and layers > 1 else outputs[-1]
    top = fastrnn.Activation("relu")(fastrnn.Linear(top.shape[-1], hidden, dtype=dtype, rng=rng)(top))
    return fastrnn.Model(roll, fastrnn.Linear(hidden, KEYS, dtype=dtype, rng=rng)(top))


def sigmoid(x: Array) -> Array:
    """Compute ``1 / (1 + exp(-x))`` without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def nll(model: fastrnn.Model, rolls: Sequence[Array]) -> float:
    """Return the nats per step over whole pieces, each read from its beginning."""
    total = 0.0
    for roll in rolls:
        x, target = inputs_and_targets(roll)
        value, _ = sigmoid_binary_cross_entropy(model(x[:, None]), target[:, None], reduction="sum")
        total += value
    return total / sum(map(len, rolls))


def baselines(train: Sequence[Array], test: Sequence[Array]) -> dict[str, float]:
    """Return the nats per step of two baselines: each key's frequency, alone and given its previous state."""
    pairs = [inputs_and_targets(roll) for roll in train]
    before, now = (np.concatenate(part) for part in zip(*pairs, strict=True))

    def frequency(counted: Array) -> Array:
        """Add one half to both counts, so that no key is impossible (Krichevsky & Trofimov 1981)."""
        return (0.5 + (now * counted).sum(0)) / (1 + counted.sum(0))

    alone, after_up, after_down = frequency(np.ones_like(now)), frequency(1 - before), frequency(before)
    totals = np.zeros(2)
    for x, target in map(inputs_and_targets, test):
        for i, p in enumerate((alone, np.where(x > 0, after_down, after_up))):
            totals[i] -= (target * np.log(p) + (1 - target) * np.log(1 - p)).sum()
    each = totals / sum(map(len, test))
    return {"each key's frequency": float(each[0]), "repeat the step before": float(each[1])}


def sample(model: fastrnn.Model, prompt: Array, steps: int, rng: np.random.Generator, temperature: float = 1.0) -> Array:
    """Continue a roll by sampling so many steps: ``[len(prompt) + steps, 88]``."""
    roll, state = [*prompt], None
    x = np.zeros((1, KEYS), np.float32)
    for t in range(len(prompt) + steps):
        logits, state = model.step(x, state)
        if t >= len(prompt):
            roll.append((rng.random(KEYS) < sigmoid(logits[0] / temperature)).astype(np.float32))
        x = roll[t][None]
    return np.stack(roll)


def draw(roll: Array, prompt: int, true: Array, probability: Array, path: Path) -> None:
    """Draw the held-out piece with the model's probabilities of the keys, and below it a sample with its prompt."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    upper, lower = figure.subplots(2, 1)
    shown = {"aspect": "auto", "origin": "lower", "interpolation": "nearest", "vmin": 0, "vmax": 1}
    blue = LinearSegmentedColormap.from_list("blue", ["white", "#1d4ed8"])
    upper.imshow(probability.T, cmap=blue, extent=(0, len(true), LOWEST, LOWEST + KEYS), **shown)
    steps, keys = np.nonzero(true)
    upper.plot(steps + 0.5, keys + LOWEST + 0.5, "o", markersize=1.3, color="#c2410c")
    upper.set_title("held out: played (dots), and the probability given to each key before (blue)", fontsize=10)
    lower.imshow(roll.T, cmap=blue, extent=(0, len(roll), LOWEST, LOWEST + KEYS), **shown)
    lower.axvline(prompt, color="#c2410c")
    lower.set_title("a sample: up to the line the held-out piece, then the model's own", fontsize=10)
    for axes, length in ((upper, len(true)), (lower, len(roll))):
        axes.set_ylim(28, 96)
        axes.set_yticks(range(36, 97, 12), [f"C{octave}" for octave in range(2, 8)])
        axes.set_xticks(range(0, length + 1, 16), [str(bar) for bar in range(0, length // 8 + 1, 2)])
        axes.set_xlabel("bar")
        axes.grid(alpha=0.3)
    figure.savefig(path)


def main(arguments: argparse.Namespace) -> dict[str, float]:
    """Train, print held-out nats per step, write the sample; return the nats per step by model, or by set of ``--npz``."""
    if arguments.npz:
        return polyphony.evaluate(arguments) if arguments.evaluate else polyphony.train_and_save(arguments)
    paths = sorted(p for p in arguments.folder.glob("*") if p.suffix.lower() in (".mid", ".midi"))
    names = [p.stem for p in paths]
    if len(names) < 3:
        raise SystemExit(f"{arguments.folder} must hold three MIDI files or more, got {len(names)}")
    held_out = arguments.held_out or names[-1]
    if held_out not in names:
        raise SystemExit(f"--held-out must be one of {', '.join(names)}")
    saving.claim(arguments.out, arguments.overwrite, FILES)
    rolls = {path.stem: read_roll(path) for path in paths}
    test = [rolls.pop(held_out)]
    watched, validation_roll = rolls.popitem()
    train, validation = list(rolls.values()), [validation_roll]
    name = f"LSTM, {arguments.layers} x {arguments.hidden}{', plain' if arguments.plain else ''}"
    print(f"trained on:  {len(train)} pieces in twelve keys, {sum(map(len, train)):,} steps in one")
    print(f"stopped by:  {watched}, {len(validation_roll):,} steps (val_loss below)")
    print(f"measured on: {held_out}, {len(test[0]):,} steps (the losses at the end)")
    print(f"{name}: loss and val_loss in nats per step")

    stopping = EarlyStopping(patience=2, restore_best_weights=True)
    model = build(arguments.layers, arguments.hidden, arguments.dropout, not arguments.plain, arguments.seed)
    started = time.perf_counter()
    fit(
        model,
        windows(train, arguments.window, range(-6, 6)),
        loss=loss,
        validation=windows(validation, 2000, [0]),
        lr=arguments.lr,
        epochs=arguments.epochs,
        batch_size=arguments.batch,
        clip_norm=5.0,
        callbacks=[ProgressBar(), stopping],
        seed=arguments.seed,
    )
    print(f"trained for {time.perf_counter() - started:.0f} seconds; epoch {stopping.best_epoch} is used, {watched}'s best")
    losses = {**baselines(train + validation, test), name: nll(model, test)}
    print(f"{held_out}, nats per step:")
    for name, value in losses.items():
        print(f"{value:7.3f}  {name}")

    prompt, shown = test[0][:64], test[0][:192]
    probability = sigmoid(model(inputs_and_targets(shown)[0][:, None])[:, 0])
    roll = sample(model, prompt, 128, np.random.default_rng(arguments.seed), arguments.temperature)
    write_midi(roll, arguments.out / "sample.mid")
    draw(roll, len(prompt), shown, probability, arguments.out / "roll.png")
    model.plot(arguments.out / "model.png")
    saving.save(arguments.out, "piano_roll", model, held_out=held_out)
    print(f"wrote sample.mid, roll.png and model.png into {arguments.out}")
    return losses


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, nargs="?", help="MIDI files")
    add("--npz", type=Path, metavar="FILE", help="train on arrays train_0, ..., valid_0, ... [T, 88] instead")
    add("--evaluate", type=Path, metavar="RUN", help="measure the model in RUN on --npz, without training")
    add("--hidden", type=integer(1), help=_default("hidden", "units of an LSTM layer"))
    add("--dropout", type=real(0, 1, below=True), help=_default("dropout", "after each layer"))
    add("--lr", type=real(0, above=True), help=_default("lr", "Adam's learning rate"))
    add("--batch", type=integer(1), help=_default("batch", "sequences in a batch"))
    add("--seed", type=seed, default=0, help="of weights, order and sample (%(default)s)")
    group = parser.add_argument_group("only for a folder")
    add = group.add_argument
    add("--held-out", help="the piece to test on, a file name without its suffix (default: the last)")
    add("--layers", type=integer(1), default=3, help="stacked LSTM layers (%(default)s)")
    add("--plain", action="store_true", help="no connections past layers")
    add("--window", type=integer(1), default=64, help="steps of a training sequence (%(default)s)")
    add("--epochs", type=integer(1), default=10, help="most passes over all pieces in twelve keys (%(default)s)")
    add("--temperature", type=real(0, above=True), default=1.0, help="of the sample: below 1 is more cautious (%(default)s)")
    group = parser.add_argument_group("only for --npz")
    add = group.add_argument
    add("--steps", type=integer(1), default=STEPS, help="training steps, rounded up to whole epochs (%(default)s)")
    add("--nade", type=integer(0), nargs="?", default=0, const=NADE, metavar="UNITS", help=NADE_HELP)
    saving.add_options(parser, Path("runs/piano-roll"))
    arguments = parser.parse_args(words)
    if (arguments.folder is None) == (arguments.npz is None):
        parser.error("exactly one of FOLDER and --npz FILE must be given")
    if arguments.evaluate and not arguments.npz:
        parser.error("--evaluate needs --npz FILE, the rolls to measure")
    for name, values in DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, values[arguments.npz is not None])
    return arguments


def _default(name: str, text: str) -> str:
    folder, npz = DEFAULTS[name]
    return f"{text} ({folder}; with --npz {npz})"


if __name__ == "__main__":
    with saving.short_errors():
        main(parse())
