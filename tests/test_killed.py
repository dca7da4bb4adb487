"""A training that is killed between any two writes resumes as if it had never stopped; every file is the same."""

import contextlib
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from command_line import exit_code, forked
from training_task import assert_same_checkpoint, read_metrics

from fastrnn.cli import main
from fastrnn.music import corpus
from fastrnn.training import checkpoint
from fastrnn.training._run.folder import CONFIG

pytestmark = [pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"), pytest.mark.usefixtures("quick_pictures")]

KILLED = 77
SMALL = ["--hidden", "4", "--layers", "1", "--embedding", "3", "--batch", "4", "--max-steps", "4", "--eval-every", "2"]
STORY = "".join(f"The {animal} ate. It {verb}!\n" for animal in ("cat", "dog", "cow") for verb in ("ran", "slept", "sang"))
KINDS = {
    "chars": ["--reading", "lines", "--seq-length", "20"],
    "words": ["--reading", "stream", "--seq-length", "5", "--min-count", "1"],
    "jazz": ["--seq-length", "24"],
}


@pytest.fixture(autouse=True)
def _six_choruses(monkeypatch):
    """Embed only six choruses, which are read in a moment."""
    six = corpus.tunes()[:6]
    monkeypatch.setattr(corpus, "tunes", lambda: six)


@contextlib.contextmanager
def counted(act):
    """Call ``act(n)`` before the n-th call, from 0, of a function that writes, renames or removes files."""
    calls = 0
    patch = pytest.MonkeyPatch()
    for owner, name in ((os, "fsync"), (os, "replace"), (Path, "replace"), (Path, "unlink")):
        original = getattr(owner, name)

        def heard(*arguments, original=original, **options):
            nonlocal calls
            act(calls)
            calls += 1
            return original(*arguments, **options)

        patch.setattr(owner, name, heard)
    try:
        yield lambda: calls
    finally:
        patch.undo()


def _started(kind, tmp_path, folder, *more):
    text = tmp_path / "story.txt"
    text.write_text(STORY)
    paths = [] if kind == "jazz" else [str(text)]
    return ["train", kind, *paths, *KINDS[kind], *SMALL, *more, "--out", str(folder)]


def _killed_at(n, command):
    """Run a command in a process that ends before its n-th write, without any cleaning up, as after kill -9."""
    return exit_code(forked(*command, around=lambda: counted(lambda calls: os._exit(KILLED) if calls == n else None)))


def assert_same_folder(folder, expected):
    """Assert that all files are equal bit for bit, except for timings."""
    assert sorted(os.listdir(folder)) == sorted(os.listdir(expected))
    for name in os.listdir(expected):
        if name == "metrics.csv":
            assert read_metrics(folder) == read_metrics(expected)
        elif name in ("last.safetensors", "best.safetensors"):
            assert_same_checkpoint(folder / name, expected / name)
        else:
            assert (folder / name).read_bytes() == (expected / name).read_bytes(), name


# The quick set has every fifth write.
@pytest.mark.parametrize(
    ("kind", "stride"), [("chars", 5), *(pytest.param(kind, 1, marks=pytest.mark.slow) for kind in KINDS)]
)
def test_between_any_two_writes(kind, stride, tmp_path):
    whole = tmp_path / "whole"
    with counted(lambda calls: None) as calls:
        assert main(_started(kind, tmp_path, whole)) == 0
    assert {"samples.txt", "loss.png", "metrics.csv", CONFIG} <= set(os.listdir(whole))
    resumed = 0
    for n in range(0, calls(), stride):
        folder = tmp_path / f"killed-{n}"
        assert _killed_at(n, _started(kind, tmp_path, folder)) == KILLED
        if (folder / CONFIG).exists():
            assert main(["train", kind, "--resume", "--out", str(folder)]) == 0
            resumed += 1
        else:  # nothing has been trained
            assert main(_started(kind, tmp_path, folder, "--overwrite")) == 0
        assert_same_folder(folder, whole)
    assert resumed > 20 // stride


@pytest.mark.parametrize("kind", ["words", pytest.param("jazz", marks=pytest.mark.slow)])
def test_just_before_the_checkpoint_of_an_evaluation(kind, tmp_path, monkeypatch):
    """The samples are already written; they are neither lost nor written twice."""
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    renamed = []
    original = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *paths: (renamed.append(Path(paths[1]).name), original(*paths)))
        with counted(lambda n: renamed.append(n)):
            assert main(_started(kind, tmp_path, whole)) == 0
    second = [i for i, name in enumerate(renamed) if name == "last.safetensors"][1]  # the first: a fresh run's
    n = next(n for n in reversed(renamed[:second]) if isinstance(n, int))
    assert _killed_at(n, _started(kind, tmp_path, folder)) == KILLED
    assert "--- step 2, " in (folder / "samples.txt").read_text()
    assert main(["train", kind, "--resume", "--out", str(folder)]) == 0
    assert_same_folder(folder, whole)


@pytest.mark.slow
def test_a_new_run_in_the_place_of_another(tmp_path):
    """A run killed while it replaces another one leaves the old run, the new one, or no run, but no mixture."""
    old, new = tmp_path / "old", tmp_path / "new"
    assert main(_started("chars", tmp_path, old, "--seed", "1")) == main(_started("chars", tmp_path, new)) == 0
    seeds = set()
    for n in range(40):
        folder = Path(shutil.copytree(old, tmp_path / f"replaced-{n}"))
        assert _killed_at(n, _started("chars", tmp_path, folder, "--overwrite")) == KILLED
        if (folder / CONFIG).exists():
            seed = json.loads((folder / CONFIG).read_text())["options"]["seed"]
            assert main(["train", "chars", "--resume", "--out", str(folder)]) == 0
            assert_same_folder(folder, old if seed else new)
            seeds.add(seed)
            if not seed:
                break
        else:
            seeds.add(None)
    assert seeds == {0, 1, None}


def test_a_new_run_that_cannot_be_written_leaves_the_old_one(tmp_path, capsys):
    old = tmp_path / "old"
    assert main(_started("chars", tmp_path, old, "--seed", "1")) == 0
    for n in range(8):  # up to the first checkpoint, the first file that replaces an old one
        folder = Path(shutil.copytree(old, tmp_path / f"full-{n}"))

        def full(calls, n=n):
            if calls == n:
                raise OSError(28, "No space left on device")

        with counted(full):
            assert main(_started("chars", tmp_path, folder, "--overwrite")) != 0
        assert "No space left on device" in capsys.readouterr().err
        assert_same_folder(folder, old)


NAMES = ["train", "chars", "--hidden", "8", "--layers", "1", "--embedding", "3", "--batch", "4", "--threads", "1",
         "--max-steps", "100", "--eval-every", "5"]  # fmt: skip


def _killed_after(seconds, folder):
    """Start or resume a training of the names, kill it after some seconds, and return its exit code (0: it had ended)."""
    begun = (folder / CONFIG).exists()
    options = ["train", "chars", "--resume"] if begun else [*NAMES, "--overwrite"]
    child = forked(*options, "--out", folder)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # an ended process keeps its number until exit_code
    return exit_code(child)


def _checkpoint_step(folder):
    path = folder / "last.safetensors"
    return checkpoint.load(path).state["trainer"]["step"] if path.exists() else 0


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_at_random_times(tmp_path, pytestconfig, capsys):
    """A training of the names with a checkpoint every 5 steps, killed again and again until it is done, many times over."""
    wanted, rng = pytestconfig.getoption("kills"), random.Random(0)
    whole = tmp_path / "whole"
    assert main([*NAMES, "--out", str(whole)]) == 0
    longest, kills, runs, moved, steps = 1.0, 0, 0, 0, set()
    while kills < wanted:
        folder, step = tmp_path / f"killed-{runs}", 0
        while (code := _killed_after(rng.uniform(0, longest) if kills < wanted else None, folder)) != 0:
            assert code == -signal.SIGKILL
            before, step = step, _checkpoint_step(folder)
            longest *= 1.05 if step == before else 0.96  # so about half the kills come after a checkpoint, on any machine
            kills, moved = kills + 1, moved + (step > before)
            steps.add(step)
        assert_same_folder(folder, whole)
        shutil.rmtree(folder)
        runs += 1
    assert moved
    with capsys.disabled():
        print(f"{kills} kills in {runs} trainings, {moved} after a new checkpoint, {len(steps)} different ones: same files")
