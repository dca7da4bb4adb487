"""The evaluations, the schedule and the end of a run fit its number of steps or its time."""

import io

import numpy as np
import pytest
from command_line import configuration, execute, output_of
from tables import each_row
from training_task import StreamTask, make_trainer, read_metrics

from fastrnn.training import LoopConfig, checkpoint, loop, schedules
from fastrnn.training._run import pace

pytestmark = pytest.mark.usefixtures("quick_pictures")

DEFAULTS = {"max_steps": 3000, "eval_every": 250}
SMALL = ["--hidden", "4", "--layers", "1", "--embedding", "3", "--batch", "4", "--seq-length", "8"]


@each_row(
    ("given", "max_steps", "eval_every"),
    [
        ({}, 3000, 250),
        ({"max_steps": 3000}, 3000, 250),
        ({"max_steps": 20}, 20, 2),
        ({"max_steps": 999}, 999, 99),
        ({"max_steps": 5}, 5, 1),
        ({"max_steps": 10**6}, 10**6, 250),
        ({"max_steps": 20, "eval_every": 7}, 20, 7),
        ({"max_seconds": 120.0}, None, None),
        ({"max_seconds": 120.0, "eval_every": 7}, None, 7),
        ({"max_seconds": 120.0, "max_steps": 20}, 20, None),
        ({"max_seconds": 120.0, "max_steps": 20, "eval_every": 7}, 20, 7),
    ],
)
def test_what_is_given_wins_and_the_rest_fits(given, max_steps, eval_every):
    options = pace.paced(DEFAULTS, given)
    assert (options["max_steps"], options["eval_every"]) == (max_steps, eval_every)


class Clock:
    """A clock that advances by ``tick`` seconds whenever it is read."""

    def __init__(self, tick):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


class Learned:
    """A callback that records learning rates by the share of the time that was used, and the steps of evaluations."""

    def __init__(self):
        self.rates, self.evaluated = [], []

    def on_step(self, info):
        self.rates.append(info.lr)

    def on_eval(self, info):
        self.evaluated.append(info.step)


def _timed(monkeypatch, out, tick, seconds, *, max_steps=None, warmup=10, learned=None):
    monkeypatch.setattr(loop.time, "perf_counter", Clock(tick))
    schedule = schedules.make_timed("cosine", warmup=warmup) if max_steps is None else schedules.cosine(max_steps)
    callbacks = [learned] if learned else []
    return make_trainer(
        out, *callbacks, lr=1.0, schedule=schedule, max_steps=max_steps, eval_every=None, max_seconds=seconds, clip_norm=1e-9
    )


@pytest.mark.parametrize("tick", [0.01, 0.1, 0.7])
def test_a_time_limit_shapes_the_schedule_and_spreads_the_evaluations(monkeypatch, tick):
    learned = Learned()
    result = _timed(monkeypatch, None, tick, 30.0, learned=learned).run()
    assert result.stopped == "seconds"
    steps = len(learned.rates)
    # A step reads the clock about four times. If 30 s hold fewer than 12 steps, each step is evaluated.
    assert len(learned.evaluated) >= min(10, steps)
    assert learned.evaluated[-1] == steps
    rates = learned.rates
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    if steps >= 100:
        assert peak <= 0.12 * steps
        assert rates[steps // 2] == pytest.approx(0.5, abs=0.05)
        assert max(rates) > 0.95
        assert rates[-1] < 0.01


def test_the_share_of_the_time_is_used_by_value():
    timed = schedules.make_timed("cosine", warmup=9)
    assert timed(0, 0.0) == pytest.approx(0.1)  # warm-up by steps
    assert timed(4, 0.0) == pytest.approx(0.5)
    assert timed(0, 0.05) == pytest.approx(0.5 * schedules.cosine(20)(1))  # warm-up by time, if steps are slow
    assert timed(1000, 0.5) == pytest.approx(0.5)
    assert timed(1000, 1.0) == pytest.approx(0.0)
    assert schedules.make_timed("constant", warmup=0)(7, 0.9) == 1.0
    assert [schedules.make_timed("step")(1000, share) for share in (0.2, 0.3, 0.6, 0.8)] == [1.0, 0.5, 0.25, 0.125]


def test_steps_that_are_given_shape_the_schedule_and_the_time_spreads_the_evaluations(monkeypatch):
    learned = Learned()
    result = _timed(monkeypatch, None, 0.1, 30.0, max_steps=10**5, learned=learned).run()
    assert result.stopped == "seconds"
    assert learned.rates == pytest.approx([schedules.cosine(10**5)(step) for step in range(result.step)])
    assert len(learned.evaluated) >= 10
    learned = Learned()
    result = _timed(monkeypatch, None, 0.001, 1000.0, max_steps=35, learned=learned).run()
    assert result.stopped == "steps"
    assert learned.evaluated == [*range(3, 34, 3), 35]


def test_a_long_time_is_evaluated_every_minute(monkeypatch):
    learned = Learned()
    _timed(monkeypatch, None, 1.0, 1800.0, learned=learned).run()
    assert len(learned.evaluated) == pytest.approx(30, abs=2)


def test_a_run_by_time_goes_on_where_it_was(monkeypatch, tmp_path):
    first = Learned()
    _timed(monkeypatch, tmp_path, 0.1, 15.0, learned=first).run()
    second = Learned()
    trainer = _timed(monkeypatch, tmp_path, 0.1, 30.0, learned=second)
    trainer.resume()
    seconds = trainer.state.seconds
    trainer.run()
    assert second.rates[0] == pytest.approx(schedules.cosine(10**6)(round(seconds / 30 * 10**6)), abs=1e-6)
    assert second.rates[-1] < 0.01
    assert len(second.evaluated) >= 5


def test_a_run_needs_an_end():
    with pytest.raises(ValueError, match="max_seconds must be given where max_steps is None"):
        LoopConfig(max_steps=None, eval_every=None)


class Sampled(StreamTask):
    """A task with this number of held-out tokens, which records how many an evaluation is to read."""

    def __init__(self, held):
        super().__init__()
        self.evaluated = (held, held)

    def limit_evaluation(self, tokens):
        self.evaluated = (tokens, self.evaluated[1])

    def evaluate_in_full(self, advance=None):
        return 0.0


@each_row(
    ("held", "trained", "expected"),
    [
        (111_539, 250 * 64 * 128, 111_539),  # characters of tinyshakespeare by default
        (512_000, 2_048_000, 512_000),  # a quarter
        (512_001, 2_048_000, 128_000),  # more: a sixteenth
        (250_000, 30 * 64 * 128, 15_360),  # 2.5 MB with --max-steps 300
        (250_000, 64 * 128, 1024),  # and with --max-seconds, one step after the start
        (1024, 1, 1024),  # few tokens: all are evaluated
        (1025, 1, 1024),
    ],
)
def test_an_evaluation_reads_a_small_part_of_the_tokens_trained_on_in_between(held, trained, expected):
    task = Sampled(held)
    pace.limit_evaluation(task, trained)
    assert task.evaluated == (expected, held)


@pytest.mark.parametrize("config", [{"eval_every": 3}, {"eval_every": None}, {"eval_every": None, "max_seconds": 30.0}])
def test_all_runs_choose_before_their_first_evaluation(monkeypatch, config):
    monkeypatch.setattr(loop.time, "perf_counter", Clock(0.3))
    monkeypatch.setattr(pace, "SAMPLED_LEAST", 1)
    task, learned = Sampled(10**6), Learned()
    make_trainer(None, learned, task=task, max_steps=60, **config).run()
    assert task.evaluated[0] == max(1, learned.evaluated[0] * 12 // 16)  # 12 tokens a step


class SlowSamples(Learned):
    """Callback that takes ``seconds`` of a clock at each evaluation."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def on_eval(self, info):
        super().on_eval(info)
        self.clock.now += self.seconds


def test_slow_samples_do_not_make_the_next_evaluation_due(monkeypatch):
    clock = Clock(0.01)
    # An evaluation is due every 10 s. One that takes 9.8 s ends just before the next one is due, or just after that.
    slow = SlowSamples(clock, 9.8)
    monkeypatch.setattr(loop.time, "perf_counter", clock)
    make_trainer(None, slow, task=Sampled(1), max_steps=None, eval_every=None, max_seconds=120.0).run()
    gaps = np.diff([0, *slow.evaluated])
    assert len(slow.evaluated) >= 10
    assert min(gaps[:-1]) >= 3


def test_the_notice_goes_to_the_console(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)  # as under pythonw, which has no console
    task = Sampled(5000)
    task.limit_evaluation(1024)
    notice = pace.SampleNotice("token")
    shown = io.StringIO()
    notice.on_begin(make_trainer(task=task))
    monkeypatch.setattr("sys.stdout", shown)
    notice.on_metrics(None)
    notice.on_metrics(None)
    assert (
        shown.getvalue()
        == "evaluated on 1,024 of the 5,000 tokens held out, always the same ones; on all of them at the end\n"
    )


# The commands


@pytest.mark.parametrize("kind", ["chars", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("words", "jazz"))])
def test_the_curve_of_a_short_run_has_ten_points(kind, tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("The cat ate. It ran!\nThe dog slept. It sang.\n" * 8)
    paths = [str(text)] if kind == "words" else []
    run = ["train", kind, *paths, *SMALL]
    execute(*run, "--max-steps", "20", "--out", tmp_path / "steps")
    assert [row["step"] for row in read_metrics(tmp_path / "steps")] == [str(step) for step in range(2, 21, 2)]
    assert (tmp_path / "steps" / "samples.txt").read_text().count("--- step ") == 10
    monkeypatch.setattr(loop.time, "perf_counter", Clock(0.05))
    execute(*run, "--max-seconds", "30", "--out", tmp_path / "time")
    rows = read_metrics(tmp_path / "time")
    assert len(rows) >= 10
    assert (tmp_path / "time" / "samples.txt").read_text().count("--- step ") == len(rows)
    assert float(rows[-1]["lr"]) < 0.02 * max(float(row["lr"]) for row in rows)
    options = configuration(tmp_path / "time")["options"]
    assert (options["max_steps"], options["eval_every"]) == (None, None)


def test_going_on_with_more_time_says_that_learning_rates_change(tmp_path, capsys):
    run = ["train", "chars", "--out", str(tmp_path)]
    execute(*run, *SMALL, "--max-seconds", "0.2")
    assert output_of(capsys, *run, "--resume").err == ""
    execute(*run, "--resume", "--max-seconds", "0.4")
    warning = "fastrnn: warning: --max-seconds was 0.2 and is 0.4: the learning rates of the cosine schedule change\n"
    assert capsys.readouterr().err == warning
    step = checkpoint.load(tmp_path / "last.safetensors").state["trainer"]["step"]
    execute(*run, "--resume", "--max-steps", step + 1, "--max-seconds", "100")
    warning = f"--max-steps was not given and is {step + 1}: the learning rates of the cosine schedule change"
    assert warning in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "last.safetensors").state["trainer"]["step"] == step + 1
