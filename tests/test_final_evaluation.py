"""The final evaluation keeps to the run's time limit, or prints the expected time before it begins."""

import re
import signal

import pytest
from training_task import StreamTask, make_trainer

from fastrnn.cli import main
from fastrnn.commands._train import final_evaluation as module
from fastrnn.training._run import pace
from fastrnn.training._run.plots import BITS

pytestmark = pytest.mark.usefixtures("quick_pictures")

HELD = 3_000_000
SPEED = 10_000  # tokens a second


class TimedTask(StreamTask):
    """A task whose evaluation takes ``tokens / SPEED`` seconds of a clock, plus half a millisecond."""

    def __init__(self, sample, clock):
        super().__init__()
        self.evaluated, self.clock, self.in_full = (sample, HELD), clock, 0

    def limit_evaluation(self, tokens):
        self.evaluated = (min(tokens, HELD), HELD)

    def evaluate(self, advance=lambda tokens: None):
        self.clock[0] += self.evaluated[0] / SPEED + 0.0005
        advance(self.evaluated[0])
        return 1.5

    def evaluate_in_full(self, advance=lambda tokens: None):
        self.in_full += 1
        self.clock[0] += HELD / SPEED
        return 1.25


def _evaluated(tmp_path, monkeypatch, sample=1024, **limit):
    """Evaluate; return the task and the seconds that the evaluation took."""
    clock = [0.0]
    task = TimedTask(sample, clock)
    make_trainer(tmp_path, task=task, max_steps=1, eval_every=1).run()
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    before = clock[0]
    module.evaluate_best(task, tmp_path / "best.safetensors", "character", BITS, **limit)
    return task, clock[0] - before


@pytest.mark.parametrize(("max_seconds", "used", "share"), [(20, 21, 2), (600, 601, 60), (600, 500, 100)])
def test_with_a_time_limit_it_takes_a_tenth_or_what_is_left(tmp_path, monkeypatch, capsys, max_seconds, used, share):
    task, seconds = _evaluated(tmp_path, monkeypatch, max_seconds=max_seconds, used=used)
    assert 0.9 * share < seconds < 1.05 * share
    assert task.in_full == 0
    out = capsys.readouterr().out
    tokens = task.evaluated[0]
    assert 0.7 * share * SPEED < tokens <= share * SPEED  # measuring the speed takes the rest of the time
    assert f"on {tokens:,} of the 3,000,000 characters held out: --max-seconds leaves no time for all" in out
    assert f"validation loss on these {tokens:,} characters: 1.5000 nats per character" in out


def test_it_is_in_full_where_the_time_suffices(tmp_path, monkeypatch, capsys):
    task, _ = _evaluated(tmp_path, monkeypatch, max_seconds=3600, used=3600)
    assert task.in_full == 1
    assert "validation loss on all that is held out: 1.2500 nats" in capsys.readouterr().out


def test_it_is_left_out_where_the_sample_took_as_long(tmp_path, monkeypatch, capsys):
    task, seconds = _evaluated(tmp_path, monkeypatch, sample=1024, max_seconds=0.9, used=1.0)
    assert (task.in_full, task.evaluated[0]) == (0, 1024)
    assert seconds < 0.2
    line = "evaluated on 1,024 of the 3,000,000 characters held out: --max-seconds leaves no time for more\n"
    assert capsys.readouterr().out == line


def test_without_a_limit_the_time_is_printed_before(tmp_path, monkeypatch, capsys):
    task, _ = _evaluated(tmp_path, monkeypatch)
    assert task.in_full == 1
    first = capsys.readouterr().out.splitlines()[0]
    line = r"evaluating the best weights on all 3,000,000 characters held out: about (\d+) s \(Ctrl-C leaves it out\)"
    assert int(re.fullmatch(line, first)[1]) == pytest.approx(300, abs=1)


def test_ctrl_c_leaves_it_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(TimedTask, "evaluate_in_full", lambda self, advance: signal.raise_signal(signal.SIGINT))
    _evaluated(tmp_path, monkeypatch)
    assert capsys.readouterr().out.endswith("the evaluation is left out\n")


SMALL = ["--hidden", "4", "--layers", "1", "--embedding", "3", "--batch", "4", "--seq-length", "8"]


@pytest.mark.parametrize("kind", ["words", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("chars", "jazz"))])
def test_all_commands_keep_to_their_time(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pace, "SAMPLED_LEAST", 8)
    monkeypatch.setattr(module, "measured_speed", lambda task, seconds: 800 / seconds * module.MEASURED_SHARE)
    text = tmp_path / "text.txt"
    text.write_text("The cat ate. It ran!\nThe dog slept. It sang.\n" * 2000)
    paths = [] if kind == "jazz" else [str(text), "--reading", "stream"]
    run = ["train", kind, *paths, *SMALL, "--max-seconds", "0.3", "--val-fraction", "0.5"]
    assert main([*run, "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "always the same ones; on as many as the time allows at the end" in out
    said = re.search(r"on ([\d,]+) of the ([\d,]+) \w+ held out: --max-seconds leaves no time for all", out)
    tokens, held = (int(number.replace(",", "")) for number in said.groups())
    assert 400 <= tokens <= 800 < held
    assert re.search(rf"validation loss on these {tokens} \w+s: \d\.\d{{4}} nats", out)
