"""The twin of the character model in plain PyTorch: from the same weights, both reach the same losses."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

TEXT = "the cat sat on the mat; the dog ran to the cat. " * 60


@pytest.fixture
def twin(torch, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent)
    return importlib.import_module("bench.twin")


LINES = TEXT.replace("; ", "\n").replace(". ", "\n")


@pytest.mark.parametrize(
    ("model", "text", "optimizer"),
    [
        ("lstm", TEXT, "muon"),
        pytest.param("lstm", TEXT, "adamw", marks=pytest.mark.slow),
        pytest.param("rnn", LINES, "adamw", marks=pytest.mark.slow),
        pytest.param("gru", LINES, "muon", marks=pytest.mark.slow),
    ],
    ids=["lstm-stream-muon", "lstm-stream-adamw", "rnn-lines-adamw", "gru-lines-muon"],
)
def test_losses_differ_only_in_rounding(torch, monkeypatch, twin, model, text, optimizer):
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor)  # in which torch's Muon computes products
    options = {"model": model, "hidden": 12, "batch": 4, "max_steps": 25, "dropout": 0.0, "lr": 0.02, "warmup": 5}
    for _, ours, theirs in twin.losses(text, 1, True, optimizer=optimizer, **options):
        assert ours < 2.7  # of a vocabulary of 18 characters, guessing has 2.9
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_training_that_ctrl_c_stops_early_is_not_compared(twin, monkeypatch):
    trainer = SimpleNamespace(run=lambda: SimpleNamespace(stopped="interrupted"))
    monkeypatch.setattr(twin, "make_trainer", lambda *given: (trainer, None, None))
    with pytest.raises(KeyboardInterrupt):
        twin.train_ours(TEXT, None)


def test_the_table(twin, tmp_path, capsys):
    (tmp_path / "text").write_text(TEXT)
    twin.main([str(tmp_path / "text"), "--seeds", "2", "--hidden", "8", "--layers", "2", "--batch", "2", "--max-steps", "3"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows] == ["| seed", "| ---", "| 0", "| 1", "| mean"]
    ours, theirs = ([float(row[i]) for row in rows[2:4]] for i in (1, 2))
    assert rows[4][1].startswith(f"{sum(ours) / 2:.3f}")
    assert all(abs(a - b) < 0.5 for a, b in zip(ours, theirs, strict=True))
