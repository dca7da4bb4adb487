"""The output of a run: lines, bar and loss curve, with their libraries and without."""

import math
import sys

import numpy as np
import pytest
from tables import each_row
from training_task import make_trainer

from fastrnn.console import note
from fastrnn.training import Info, LoopConfig, LossCurve, Progress
from fastrnn.training._run.metrics_file import Row
from fastrnn.training._run.plots import BITS, PERPLEXITY, draw_losses

ROWS = [
    Row(step, step / 10, 3 - step / 100, 3.1 - step / 150 + (step / 250) ** 4, 1e-3, 1.0, 2e4) for step in range(20, 301, 20)
]


def test_a_line_for_each_evaluation_without_a_terminal(capsys):
    config = LoopConfig(max_steps=10, eval_every=5)
    info = Info(500, 83.4, 1.5, math.log(4), 10**6, 24310.2, 2e-3, 0.25, math.log(4), 500, improved=True)
    progress = Progress(config)
    progress.on_step(info)
    progress.on_eval(info)
    progress.on_end(info)
    line = "step    500   1:23  train 1.500  val 1.386 nats/char (2.000 bits) * 24.3k char/s"
    assert capsys.readouterr().out == line + "\n"


@each_row(
    ("speed", "text"),
    [
        (999.4, "999"),
        (999.6, "1.0k"),
        (99_940, "99.9k"),
        (99_960, "100k"),
        (164_849, "165k"),
        (999_700, "1.0M"),
        (2e8, "200M"),
    ],
)
def test_a_line_of_a_fast_model_fits_80_columns(speed, text):
    info = Info(500, 83.4, 1.5, math.log(4), 10**6, speed, 2e-3, 0.25, math.log(4), 500, improved=True)
    line = Progress(LoopConfig(max_steps=10, eval_every=5))._line(info)
    assert line.endswith(f" * {text} char/s")
    assert len(line) <= 80


def test_a_line_every_ten_seconds_without_a_terminal(capsys, monkeypatch):
    """With a step a second and an evaluation at the 15th step, the evaluation also prints a line."""
    now = 1000.0
    monkeypatch.setattr("fastrnn.training.callbacks.time.perf_counter", lambda: now)
    progress = Progress(LoopConfig(max_steps=40, eval_every=15))
    said = []
    for step in range(1, 41):
        now += 1.0
        info = Info(step, float(step), 2.0, 1.0, 0, 1234.0, 1e-3, 1.0, None, None)
        progress.on_step(info)
        if step == 15:
            progress.on_eval(info)
        said += [(step, line) for line in capsys.readouterr().out.splitlines()]
    assert [step for step, _ in said] == [10, 15, 25, 35]
    assert said[0][1] == "10/40  2.000 nats 2.885 bits/char  1.2k char/s  lr 1.0e-03  0:30 left"


def test_a_bar_on_a_terminal(become_terminal, capsys):
    become_terminal()
    progress = Progress(LoopConfig(max_steps=40, eval_every=10, max_seconds=400))
    for step in (10, 20):
        progress.on_step(Info(step, 6.0 * step, 2.0, None, 0, 1234.0, 1e-3, 1.0, None, None))
    progress.on_end(Info(20, 120.0, 2.0, None, 0, 1234.0, 1e-3, 1.0, None, None))
    out = capsys.readouterr().out
    assert "10/40  2.000 nats 2.885 bits/char  1.2k char/s  lr 1.0e-03" in out
    assert "20/40  2.000 nats 2.885 bits/char  1.2k char/s  lr 1.0e-03  2:00 left" in out


def test_notes_for_a_file_are_not_on_the_terminal_of_the_bar(become_terminal, capsys):
    become_terminal()
    progress = Progress(LoopConfig(max_steps=40, eval_every=10))
    progress.on_step(Info(10, 6.0, 2.0, None, 0, 1234.0, 1e-3, 1.0, None, None))
    note("a note")
    progress.on_end(Info(10, 6.0, 2.0, None, 0, 1234.0, 1e-3, 1.0, None, None))
    captured = capsys.readouterr()
    assert "10/40" in captured.out
    assert "a note" not in captured.out
    assert captured.err == "a note\n"


def test_without_rich_and_matplotlib_a_run_is_the_same_and_says_so_once(tmp_path, capsys, monkeypatch):
    for name in ("rich", "rich.console", "rich.progress", "matplotlib", "matplotlib.figure", "matplotlib.ticker"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("fastrnn.training.callbacks.REDRAW_SECONDS", 0.0)
    curve = LossCurve(tmp_path / "metrics.csv", tmp_path / "loss.png")
    trainer = make_trainer(tmp_path, curve)
    trainer.callbacks = (Progress(trainer.config), curve)
    assert trainer.run().step == 12
    captured = capsys.readouterr()
    assert captured.out.count("nats/char") == 4
    assert captured.err.splitlines() == [
        "fastrnn: no progress bar: rich is not installed (pip install 'fastrnn[train]')",
        "fastrnn: no loss curve: matplotlib is not installed (pip install 'fastrnn[train]')",
    ]
    assert not (tmp_path / "loss.png").exists()


def test_loss_curve_is_drawn(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    make_trainer(tmp_path, LossCurve(tmp_path / "metrics.csv", tmp_path / "loss.png")).run()
    picture = image.imread(tmp_path / "loss.png")
    assert picture.shape == (650, 1040, 4)
    validation = np.all(np.abs(picture[..., :3] - np.array([0xC2, 0x41, 0x0C]) / 255) < 0.02, axis=-1)
    assert validation.sum() > 300  # the validation curve and the star of the best evaluation


def test_loss_curve_bears_one_row_and_broken_numbers(tmp_path):
    pytest.importorskip("matplotlib")
    broken = Row(40, 1.0, math.nan, math.inf, 1e-3, math.nan, 0.0)
    for rows in (ROWS[:1], [*ROWS[:1], broken], [broken]):
        draw_losses(rows, tmp_path / "loss.png")
        assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@each_row(
    ("loss", "bits", "perplexity"),
    [
        (math.log(2), "1.000 bits", "perplexity 2.0"),
        (13.8, "19.909 bits", "perplexity 984609.1"),
        (14.0, "20.198 bits", "perplexity 1.20e+06"),
        (699.0, "1008.444 bits", "perplexity 3.73e+303"),
        (1e9, "1.44e+09 bits", "perplexity over 1.01e+304"),
        (math.inf, "inf bits", "perplexity over 1.01e+304"),
        (math.nan, "nan bits", "perplexity nan"),
    ],
)
def test_losses_in_words_are_short(loss, bits, perplexity):
    assert BITS.text(loss) == bits
    assert PERPLEXITY.text(loss) == perplexity


def test_a_picture_that_cannot_be_written_does_not_stop_the_run(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    curve = LossCurve(tmp_path / "metrics.csv", tmp_path / "missing" / "loss.png")
    assert make_trainer(tmp_path, curve).run().stopped == "steps"
    assert "no loss curve: [Errno 2] No such file or directory" in capsys.readouterr().err
