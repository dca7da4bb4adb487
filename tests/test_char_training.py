"""Training of a character model: PyTorch's losses, rates, the split of a text, evaluation, and going on from a state."""

import numpy as np
import pytest
from training_task import Recorder

from fastrnn import corpora
from fastrnn.text._training.batching import LineBatches
from fastrnn.text._training.evaluation import LineEvaluation
from fastrnn.text.options import make_options
from fastrnn.text.training import char_task, make_trainer

NAMES = "\n".join(corpora.load("dinosaurs").splitlines()[::8])
PROSE = " and ".join(NAMES.split()) * 2


def _torch_model(net, embedding):
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            V, H = net.output.weight.shape
            self.embedding = torch.nn.Embedding(V, embedding) if embedding else None
            kind = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[net.model]
            self.recurrent = kind(embedding or V, H, net.recurrent.num_layers)
            self.output = torch.nn.Linear(H, V)

        def forward(self, ids, state):
            zero = (ids < 0)[..., None]
            if self.embedding is None:
                x = torch.nn.functional.one_hot(ids.clamp(min=0), self.output.out_features).float()
            else:
                x = self.embedding(ids.clamp(min=0))
            y, state = self.recurrent(x.masked_fill(zero, 0), state)
            return self.output(y), state

    model = Model()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in net.state_dict().items()})
    return model


def _torch_losses(net, embedding, batches, steps, lr, clip_norm):
    import torch

    model = _torch_model(net, embedding)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses, state = [], None
    for _ in range(steps):
        batch = batches.next()
        if batch.first:
            state = None
        elif isinstance(state, tuple):
            state = tuple(part.detach() for part in state)
        else:
            state = state.detach()
        optimizer.zero_grad()
        logits, state = model(torch.from_numpy(batch.inputs), state)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("reading", "model", "embedding"),
    [
        ("lines", "lstm", 0),
        *(pytest.param(*row, marks=pytest.mark.slow) for row in (("stream", "lstm", 0), ("stream", "gru", 8))),
    ],
)
def test_50_steps_have_pytorchs_losses(reading, model, embedding):
    pytest.importorskip("torch")
    options = make_options(
        reading, model=model, embedding=embedding, layers=2, hidden=48, batch=8, seq_length=32, dropout=0.0, lr=3e-3,
        optimizer="adam", schedule="constant", warmup=0, clip_norm=0.4, max_steps=50, eval_every=50,
    )  # fmt: skip
    content = NAMES if reading == "lines" else PROSE
    recorder = Recorder()
    trainer, language_model, _ = make_trainer(content, options)
    trainer.callbacks = (recorder,)
    again = make_trainer(content, options)[0]
    reference = _torch_losses(language_model.model, embedding, again.task.batches, 50, options.lr, options.clip_norm)
    trainer.run()
    losses = [info.train_loss for info in recorder.steps]
    assert len(losses) == 50
    assert losses[-1] < losses[0] - 0.4
    np.testing.assert_allclose(losses, reference, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "reading", "optimizer", "lr", "weight_decay"),
    [
        ("chars", "lines", None, 3e-3, 0.01),
        ("chars", "stream", None, 8e-3, 0.1),
        ("chars", "stream", "adamw", 3e-3, 0.01),
        ("words", "stream", "muon", 8e-3, 0.3),
        ("words", "stream", "adamw", 3e-3, 0.01),
    ],
)
@pytest.mark.parametrize("given", [{}, {"lr": 0.02}, {"weight_decay": 0.05}])
def test_rates_are_those_of_the_optimiser_unless_given(kind, reading, optimizer, lr, weight_decay, given):
    options = make_options(reading, kind, **({"optimizer": optimizer} if optimizer else {}), **given)
    assert options.optimizer == (optimizer or {"lines": "adamw", "stream": "muon"}[reading])
    assert (options.lr, options.weight_decay) == (given.get("lr", lr), given.get("weight_decay", weight_decay))


def _task(reading, **options):
    defaults = {"hidden": 16, "batch": 4, "seq_length": 16, "max_steps": 10, "eval_every": 5, "layers": 2}
    trainer, model, _ = make_trainer(
        NAMES if reading == "lines" else PROSE, make_options(reading, **{**defaults, **options})
    )
    return trainer, model


@pytest.mark.parametrize("reading", ["lines", "stream"])
def test_a_task_goes_on_from_its_state_bit_for_bit(reading):
    (one, _), (other, _) = _task(reading, dropout=0.3), _task(reading, dropout=0.3)
    for _ in range(3):
        one.task.train_step()
    state = one.task.state_dict()
    state = {**state, "arrays": {name: array.copy() for name, array in state["arrays"].items()}}
    other.task.load_state_dict(state)
    for _ in range(4):
        assert one.task.train_step() == other.task.train_step()


def test_evaluation_leaves_training_alone():
    (one, _), (other, _) = _task("stream", dropout=0.3), _task("stream", dropout=0.3)
    for _ in range(6):
        other.task.evaluate()
        assert one.task.train_step() == other.task.train_step()


def test_evaluation_of_lines_is_the_score_of_each():
    _, model = _task("lines")
    names = ["Zuul", "Yi", "Abelisaurus"]
    encoded = [model.vocabulary.encode(name) for name in names]
    batches = LineBatches(encoded, 2, model.eos)
    evaluation = LineEvaluation(encoded, 2, model.eos)
    loss = char_task(model.model, batches, evaluation, np.random.default_rng(0)).evaluate()
    scores = [model.score(name) for name in names]
    total = sum(score.log_probability for score in scores)
    assert loss == pytest.approx(-total / sum(len(score.tokens) for score in scores), abs=1e-6)


def test_evaluation_of_a_stream_is_the_score_of_the_whole():
    trainer, model = _task("stream", batch=1, val_fraction=0.1)
    held_out = PROSE[-round(len(PROSE) * 0.1) :]
    score = model.score(held_out)
    assert trainer.task.evaluate() == pytest.approx(-score.log_probability / len(held_out), abs=1e-6)
    # Each of four parallel parts starts without its context, so the loss is only nearly the same.
    beside, _ = _task("stream", batch=4, val_fraction=0.1)
    assert beside.task.evaluate() == pytest.approx(trainer.task.evaluate(), abs=1e-4)


def test_splits_hold_out_the_end_of_a_stream_and_random_lines():
    data = make_trainer(PROSE, make_options("stream", hidden=8, layers=1, val_fraction=0.25))[2]
    assert data.sizes == (len(PROSE) - round(len(PROSE) / 4), round(len(PROSE) / 4))
    names = NAMES.split()
    options = make_options("lines", hidden=8, layers=1, val_fraction=0.25)
    data, same = (make_trainer(NAMES, options)[2] for _ in range(2))
    assert data.sizes == (len(names) - round(len(names) / 4), round(len(names) / 4))
    assert list(data.train_items) == list(same.train_items) == sorted(data.train_items)
    held = [name for name in names if name not in data.train_items]
    assert held != names[-len(held) :]
    other = make_trainer(NAMES, make_options("lines", hidden=8, layers=1, val_fraction=0.25, seed=1))[2]
    assert list(other.train_items) != list(data.train_items)
