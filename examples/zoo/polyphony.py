"""Sets of piano rolls in one ``.npz`` file: their models, training in every key, and negative log-likelihoods.

The files have arrays ``train_0``, ``train_1``, ..., ``valid_0``, ..., each a roll ``[T, 88]`` of 0 and 1. This is the form
of the sets of Boulanger-Lewandowski et al. 2012, on which recurrent networks have been compared since.
"""

import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import saving
from numpy.typing import NDArray
from roll_features import RollFeatures

import fastrnn
from fastrnn.losses import sigmoid_binary_cross_entropy
from fastrnn.training import EarlyStopping, Examples, History, ProgressBar, schedules

Array = NDArray[Any]

CURVE = "curve.png"
FILES = (saving.MODEL, saving.DETAILS, CURVE)
KEYS = 88
WARMUP = 50  # training steps of the rising learning rate


def read_sets(path: Path) -> dict[str, list[Array]]:
    """Read the rolls of each set, float32 ``[T, 88]``, by the set's name. Raises OSError, ValueError or BadZipFile."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("must be a file of arrays, as numpy.savez writes it")
    sets: dict[str, list[Array]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in sorted(arrays.files, key=_number):
            sets.setdefault(name.rpartition("_")[0], []).append(_roll(name, arrays[name]))
    return sets


def _number(name: str) -> tuple[str, int]:
    part, _, number = name.rpartition("_")
    if not part or not (number.isascii() and number.isdigit()):
        raise ValueError(f"arrays must be named train_0, valid_0 and so on, got {name!r}")
    return part, int(number)


def _roll(name: str, array: Array) -> Array:
    if array.ndim != 2 or array.shape[1] != KEYS or len(array) < 2 or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be a roll [T, {KEYS}] of at least two steps, got {array.dtype} {array.shape}")
    if not ((array == 0) | (array == 1)).all():
        raise ValueError(f"{name} must hold only 0 and 1, got {array[(array != 0) & (array != 1)][0]}")
    return array.astype(np.float32)


class InEveryKey(fastrnn.Layer):
    """A model that is trained on each sequence in a key drawn anew: 6 semitones down to 5 up, the logits moved back.

    Keys that leave the keyboard at one end come in at the other, so nothing is lost. Inference is the model's own.
    """

    takes_lengths = True

    def __init__(self, model: fastrnn.Model) -> None:
        self.model = model
        self.rng = np.random.default_rng(0)

    def __call__(self, *rolls: Array, lengths: Any = None) -> Array:
        """Return the model's logits ``[T, B, 88]``."""
        logits: Array = self.model(*rolls, lengths=lengths)
        return logits

    def forward(self, *rolls: Array, lengths: Any = None) -> tuple[Array, Callable[..., None]]:
        """Return the logits of moved rolls, moved back, and a backward without gradients of the rolls."""
        assert self.rng is not None
        up = self.rng.integers(-6, 6, rolls[0].shape[1])
        logits, backward = self.model.forward(*(moved(roll, up) for roll in rolls), lengths=lengths)

        def backward_in_key(dlogits: Array) -> None:
            backward(moved(dlogits, up), need_dx=False)

        return moved(logits, -up), backward_in_key


def moved(x: Array, up: Array) -> Array:
    """Return ``x [T, B, 88]`` with sequence b moved up by ``up[b]`` keys, around the ends of the keyboard."""
    source = (np.arange(KEYS) - up[:, None]) % KEYS
    return np.take_along_axis(x, source[None], axis=2)


def build(hidden: int, dropout: float, nade: int = 0, seed: int = 0, dtype: str = "float32") -> fastrnn.Model:
    """Build an LSTM over :class:`RollFeatures`, from rolls ``[T, B, 88]`` to logits of the next step's keys ``[T, B, 88]``.

    With ``nade`` hidden units, the model also takes the next step, and each key's logit knows the keys below it: RNN-NADE
    (Boulanger-Lewandowski et al. 2012) with LSTM cells. Without, the keys are independent given the steps so far.
    """
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {"dtype": dtype, "rng": rng}
    roll = fastrnn.Input(("T", "B", KEYS), dtype=dtype, name="roll")
    features = RollFeatures()(roll)
    y, _ = fastrnn.LSTM(features.shape[-1], hidden, **options)(features)
    y = fastrnn.VariationalDropout(dropout, rng=rng)(y)
    b = fastrnn.Linear(hidden, KEYS, **options).named("keys")(y)
    if not nade:
        return fastrnn.Model(roll, b)
    following = fastrnn.Input(("T", "B", KEYS), dtype=dtype, name="following")
    c = fastrnn.Linear(hidden, nade, **options).named("hidden")(y)
    return fastrnn.Model((roll, following), fastrnn.NADE(KEYS, nade, **options)(b, c, following))


def start_from_frequencies(model: fastrnn.Model, rolls: Sequence[Array]) -> None:
    """Set the bias of the keys' logits to the log odds of each key, a half added to both of its counts."""
    down, steps = sum(roll.sum(axis=0, dtype=np.float64) for roll in rolls), sum(map(len, rolls))
    bias = dict(model.named_parameters())["keys.bias"]
    bias.assign(np.log((down + 0.5) / (steps - down + 0.5)).astype(bias.dtype))


def inputs_of(model: fastrnn.Model, roll: Array) -> tuple[Array, ...]:
    """Return what the model reads to predict steps 2 to T: the steps before and, for a NADE, these steps themselves."""
    return (roll[:-1], roll[1:])[: len(model.graph.input_names)]


def examples(model: fastrnn.Model, rolls: Sequence[Array]) -> Examples:
    """Return whole pieces as examples: steps 1 to T-1 to read, steps 2 to T to predict."""
    columns = zip(*(inputs_of(model, roll) for roll in rolls), strict=True)
    return Examples(tuple(map(list, columns)), [roll[1:] for roll in rolls])


def loss(logits: Array, targets: Array, mask: NDArray[np.bool_] | None) -> tuple[float, Array]:
    """Return the negative log-likelihood in nats per step, summed over the keys, and its gradient."""
    value, gradient = sigmoid_binary_cross_entropy(logits, targets, mask=mask)
    return value * logits.shape[-1], gradient * logits.shape[-1]


def train(
    model: fastrnn.Model, rolls: Sequence[Array], held_out: Sequence[Array], steps: int, batch: int, lr: float, seed: int
) -> tuple[History, int]:
    """Train in every key, at a rate that rises, then falls to zero; return the history and the epoch that is used.

    The model gets the weights of the epoch that is best on the held-out rolls.
    """
    start_from_frequencies(model, rolls)
    epochs = -(-steps // -(-len(rolls) // batch))
    stopping = EarlyStopping(patience=epochs, restore_best_weights=True)
    history = fastrnn.fit(
        InEveryKey(model),
        examples(model, rolls),
        loss=loss,
        validation=examples(model, held_out),
        lr=lr,
        schedule=schedules.cosine(epochs * -(-len(rolls) // batch), WARMUP),
        epochs=epochs,
        batch_size=batch,
        clip_norm=1.0,
        callbacks=[ProgressBar(), stopping],
        seed=seed,
    )
    return history, stopping.best_epoch


def nll(model: fastrnn.Model, rolls: Sequence[Array]) -> tuple[float, float]:
    """Return the nats per step, summed over the keys, of whole pieces from a zero state, each from its second step.

    The first value is the mean over all steps of all pieces, the second the mean of the pieces' means.
    """
    sums = [
        sigmoid_binary_cross_entropy(
            model(*(part[:, None] for part in inputs_of(model, roll))), roll[1:, None], reduction="sum"
        )[0]
        for roll in rolls
    ]
    numbers = [len(roll) - 1 for roll in rolls]
    return sum(sums) / sum(numbers), float(np.mean(np.divide(sums, numbers)))


def train_and_save(arguments: Any) -> dict[str, float]:
    """Train on ``--npz``, print the nats per step of each set, save the model; return the nats per step by set."""
    saving.claim(arguments.out, arguments.overwrite, FILES)
    sets = _sets(arguments.npz, ("train", "valid"))
    model = build(arguments.hidden, arguments.dropout, arguments.nade, arguments.seed)
    below = f", then a NADE of {arguments.nade}" if arguments.nade else ""
    print(f"LSTM, 1 x {arguments.hidden}{below}: {sum(p.size for p in model.parameters()):,} parameters")
    print("loss and val_loss in nats per step")
    wall, processor = time.perf_counter(), time.process_time()
    history, epoch = train(
        model, sets["train"], sets["valid"], arguments.steps, arguments.batch, arguments.lr, arguments.seed
    )
    seconds = f"{time.perf_counter() - wall:.0f} seconds, {time.process_time() - processor:.0f} of processor time"
    print(f"trained for {seconds}; epoch {epoch} is used, the best on the validation set")
    saving.save(arguments.out, "piano_roll", model)
    found = _print_nll(model, sets)
    draw_curve(history, arguments.out / CURVE)
    return found


def evaluate(arguments: Any) -> dict[str, float]:
    """Print the nats per step of each set of ``--npz`` under the model of ``--evaluate``; return them by set."""
    sets = _sets(arguments.npz)
    with saving.loading(arguments.evaluate, "piano_roll"):
        model = fastrnn.load_model(arguments.evaluate / saving.MODEL, custom={"RollFeatures": RollFeatures})
    return _print_nll(model, sets)


def _sets(path: Path, wanted: Sequence[str] = ()) -> dict[str, list[Array]]:
    """Read the sets and print their sizes. Ends the program if the file cannot be used or a wanted set is missing."""
    try:
        sets = read_sets(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise SystemExit(str(error) if isinstance(error, OSError) else f"{path}: {error}") from None
    for name in wanted:
        if name not in sets:
            raise SystemExit(f"{path} must have the arrays {name}_0, {name}_1 and so on, got {', '.join(sets) or 'none'}")
    for name, rolls in sets.items():
        print(f"{name}: {len(rolls)} pieces, {sum(map(len, rolls)) - len(rolls):,} steps to predict")
    return sets


def _print_nll(model: fastrnn.Model, sets: dict[str, list[Array]]) -> dict[str, float]:
    print("nats per step, whole pieces from the second step: mean over all steps (mean of the pieces' means)")
    found = {}
    for name, rolls in sets.items():
        found[name], of_pieces = nll(model, rolls)
        print(f"{found[name]:7.3f}  {name} ({of_pieces:.3f})")
    return found


def draw_curve(history: History, path: Path) -> None:
    """Draw the losses of training and validation by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot(history.epoch, history["loss"], color="#9ca3af", label="training, with dropout, in every key")
    axes.plot(history.epoch, history["val_loss"], color="#1d4ed8", label="validation")
    axes.set(xlabel="epoch", ylabel="nats per step", ylim=(0.95 * min(history["val_loss"]), 1.5 * min(history["val_loss"])))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)
