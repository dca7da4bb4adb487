"""Many MIDI files: several processes read them, a cache stores them, and training on them takes little memory."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fastrnn.cli import main
from fastrnn.music._midi import processes, reading_cache, song_files, songs
from fastrnn.music._model import jazz_task
from fastrnn.music._model.batching import SongBatches, evaluation, lines, vocabulary_for
from fastrnn.music._model.key_counts import pairs_in_keys
from fastrnn.music._model.options import make_options
from fastrnn.music._model.song import Song
from fastrnn.music.jazz_model import jazz_model
from fastrnn.music.midi import MidiError
from fastrnn.music.midi_folder import collect
from fastrnn.music.midi_writing import write_midi
from fastrnn.music.piece import Note, Part, Piece
from fastrnn.music.run_folder import load_player
from fastrnn.music.tokens import transposed
from fastrnn.training._run.pace import SampledTask
from fastrnn.training.baselines import baselines

pytestmark = pytest.mark.usefixtures("quick_pictures")


def _scale(start, program=66, length=12):
    return Part("lead", program, notes=tuple(Note(6 * i, 6, start + i % 12) for i in range(length)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write forty files: most are lines, some are for piano, one is a copy of another, and two cannot be read."""
    folder = tmp_path_factory.mktemp("many")
    for i in range(36):
        program = 0 if i % 6 == 0 else 66
        parts = (_scale(40 + i, program), Part("chords", program, notes=(Note(0, 24, 40), Note(0, 24, 44 + i % 3))))
        write_midi(folder / f"{i:02}.mid", Piece(parts))
    shutil.copy(folder / "07.mid", folder / "08b.mid")
    (folder / "03b.mid").write_bytes(b"no")
    (folder / "20.mid").write_bytes(b"")
    write_midi(folder / "99.mid", Piece((_scale(70, length=30),)))
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Return a cache folder that only this test uses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fastrnn"


def _read(folder, **options):
    """Read a folder; return the songs, the reported lines, and the reported progress."""
    reported, told = [], []
    library = songs.read([folder], report=reported.append, progress=lambda *counts: told.append(counts), **options)
    return library, reported, told


@pytest.fixture
def one_cpu(monkeypatch):
    """Make ``processes=None`` mean one process, with the cache."""
    monkeypatch.setattr(processes, "_cpus", lambda: 1)


@pytest.mark.parametrize(
    "options", [pytest.param({}, marks=pytest.mark.slow), {"melody": "lead", "changes": "C | F G"}], ids=["plain", "options"]
)
def test_several_processes_read_the_same_as_one(folder, options):
    one, one_reported, told = _read(folder, **options)
    several, reported, _ = _read(folder, processes=2, **options)
    assert (several.songs, several.sha256, several.skipped) == (one.songs, one.sha256, one.skipped)
    assert reported == one_reported
    assert len(one.songs) == 36
    assert [line.split(" is ")[0] for line in reported] == [f"skipped: {folder}/{n}.mid" for n in ("03b", "20", "08b")]
    assert (39, 39) in told  # 36 songs, the copy, and two unreadable files


def test_files_read_before_are_not_read_again(one_cpu, folder, monkeypatch):
    first, first_reported, _ = _read(folder, processes=None)
    read = []

    def reading(path, **options):
        read.append(Path(path).name)
        return original(path, **options)

    original = songs.read_midi_with_repairs
    monkeypatch.setattr(songs, "read_midi_with_repairs", reading)
    second, reported, _ = _read(folder, processes=None)
    assert (second.songs, second.skipped, reported) == (first.songs, first.skipped, first_reported)
    assert sorted(read) == ["03b.mid", "20.mid"]  # unreadable files are not cached
    read.clear()
    third, _, _ = _read(folder, processes=None, voices="line")  # like the first reading, where most files were not for piano
    assert third.songs == first.songs
    assert len(read) == 39


def test_a_changed_file_is_read_again_though_its_size_and_time_are_the_same(one_cpu, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "files")
    changed = tmp_path / "files" / "11.mid"
    before, _, _ = _read(tmp_path / "files", processes=None)
    status, content = changed.stat(), changed.read_bytes()
    changed.write_bytes(content.replace(bytes([0x90, 51]), bytes([0x90, 99])).replace(bytes([0x80, 51]), bytes([0x80, 99])))
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    after, _, _ = _read(tmp_path / "files", processes=None)
    pitches = {song.title: [note.pitch for note in song.part.notes] for song in after.songs}
    assert pitches["11"] == [99, *range(52, 63)]
    differing = [song.title for song, old in zip(after.songs, before.songs, strict=True) if song != old]
    assert differing == ["11"]


@pytest.mark.parametrize("damage", [b"", b"nothing", None])
def test_a_damaged_cache_is_written_anew(one_cpu, folder, cache, damage):
    first, _, _ = _read(folder, processes=None)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-10] if damage is None else damage)
    second, _, _ = _read(folder, processes=None)
    assert second.songs == first.songs
    assert file.read_bytes() == whole
    assert {song.title for song in song_files.load(file)[0]} >= {song.title for song in first.songs}


def test_a_cache_that_cannot_be_written_is_done_without(one_cpu, folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _read(folder, processes=None)[0].songs == _read(folder)[0].songs


def test_caches_of_other_code_and_those_that_nobody_uses_go(one_cpu, folder, cache, monkeypatch):
    _read(folder, processes=None)
    (old,) = cache.iterdir()
    month_ago = time.time() - 86_400 * (reading_cache.MOST_DAYS + 1)
    os.utime(old, (month_ago, month_ago))
    monkeypatch.setattr(reading_cache, "code_hash", lambda: "another version")
    _read(folder, processes=None)
    (new,) = cache.iterdir()
    assert new != old


def test_few_files_leave_no_cache(one_cpu, folder, tmp_path, cache):
    for i in range(5):
        shutil.copy(folder / f"{i:02}.mid", tmp_path)
    assert len(_read(tmp_path, processes=None)[0].songs) == 5
    assert not cache.exists()


def test_repairs_are_summed_up_and_kept(one_cpu, folder, monkeypatch):
    def repaired(path, **options):
        repairs = Counter({"thing": 2}) if path.stem in ("01", "02") else Counter()
        return original(path, **options)[0], repairs

    original = songs.read_midi_with_repairs
    monkeypatch.setattr(songs, "read_midi_with_repairs", repaired)
    for _ in range(2):
        library, _, _ = _read(folder, processes=None)
        assert (library.repairs, library.repaired) == (Counter({"thing": 4}), 2)


# several processes


def _dies_elsewhere(number):
    if processes.multiprocessing.parent_process() is not None and number == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def _fails(number):
    if number == 30:
        raise MidiError(f"{number} is wrong")
    return number


@pytest.mark.slow
def test_results_come_in_order_also_where_a_process_is_killed():
    assert list(processes.map_in_order(_dies_elsewhere, range(100), 2)) == [n * n for n in range(100)]


@pytest.mark.slow
def test_errors_of_processes_are_raised():
    with pytest.raises(MidiError, match="30 is wrong"):
        list(processes.map_in_order(_fails, range(64), 2))


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_parent(tmp_path, sent):
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from fastrnn.music._midi.processes import map_in_order\n"
        "if __name__ == '__main__':\n"
        "    for _ in map_in_order(time.sleep, [0.05] * 2000, 2):\n"
        "        print('going', flush=True)\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(script)], start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == "going\n"
        os.killpg(process.pid, sent) if sent == signal.SIGINT else process.kill()  # Ctrl-C goes to all of them
        _, error = process.communicate(timeout=60)
    assert error.count("KeyboardInterrupt") == (sent == signal.SIGINT)
    deadline = time.monotonic() + 20
    while _group_exists(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _group_exists(process.pid)


def _group_exists(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_named_file_must_be_valid_even_if_a_folder_has_reported_it(folder):
    def reader(path):
        if path.stem == "03b":
            raise MidiError(f"{path} is bad")
        return path.stem, Counter()

    with pytest.raises(MidiError, match=r"many\d*/\.\./many\d*/03b.mid is bad"):
        collect([folder, folder / ".." / folder.name / "03b.mid"], reader, processes=1)


# memory


def _long_songs(count, notes, rng):
    for i in range(count):
        onsets = np.cumsum(rng.integers(1, 12, notes))
        rows = zip(onsets.tolist(), rng.integers(1, 12, notes).tolist(), rng.integers(50, 75, notes).tolist(), strict=True)
        chords = [(48 * bar, songs.corpus.parse_changes(symbol).chords[0][1]) for bar, symbol in enumerate(["Dm7", "G7"])]
        yield Song(str(i), Piece((Part("melody", notes=tuple(Note(*row) for row in rows)),), chords=tuple(chords)))


def test_songs_in_all_keys_take_some_bytes_a_token():
    """Songs and the peak while they are made take few bytes per token."""
    some = list(_long_songs(40, 1000, np.random.default_rng(0)))
    parts, options = jazz_task.split(some, 0.1, 0), make_options()
    kept = sum(column.nbytes for song in some for column in song.columns.values())
    tracemalloc.start()
    try:
        data = jazz_task.prepare(parts, options, True)
        prepared, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    tokens = sum(data.sizes)
    assert tokens > 120_000
    assert {line.ids.dtype for line in (*data.train, *data.held_out)} == {np.dtype(np.uint8)}
    assert {len(line.moves) for line in data.train} == {12}
    assert kept / tokens < 4
    assert prepared / tokens < 15
    assert peak / tokens < 50  # it was 360 with a copy of the ids in each key


@pytest.mark.parametrize("polyphonic", [False, True])
def test_baselines_are_those_of_the_songs_in_all_keys(polyphonic):
    some = songs.embedded().songs[:20]
    vocabulary = vocabulary_for(some, polyphonic, True)
    train, held = lines(some[:15], vocabulary, transpose=True), lines(some[15:], vocabulary)
    moved = [np.append(transposed(line.ids, vocabulary, move), vocabulary.end) for line in train for move in line.moves]
    assert len(moved) > 150
    asked = [np.append(line.ids, vocabulary.end) for line in held]
    pairs, counts = pairs_in_keys(train, vocabulary)
    V = len(vocabulary)
    expected = Counter((int(v), int(w)) for ids in moved for v, w in zip([V, *ids[:-1]], ids, strict=True))
    assert {divmod(int(pair), V): int(count) for pair, count in zip(pairs, counts, strict=True)} == expected
    found = jazz_task.baselines_of_pairs(pairs, counts, asked, V)
    assert found == baselines(moved, asked, V)


def _old_sequence(some, vocabulary, seed, length, number):
    """Return a training sequence by a plain form of the rule: all windows are listed, and each sequence has a new order."""
    windows = [(i, start) for i, line in enumerate(some) for start in range(0, max(1, len(line.ids)), length)]
    epoch, place = divmod(number, len(windows))
    i, start = windows[np.random.default_rng([seed, epoch]).permutation(len(windows))[place]]
    rng = np.random.default_rng([seed, epoch, place])

    def in_a_key(line):
        return line.moved(line.moves[rng.integers(len(line.moves))], vocabulary)

    line = in_a_key(some[i])
    ending = rng.random() < 0.2
    spare = max(0, len(line.ids) + 1 - length)
    start = int(np.clip(start + rng.integers(-length // 2, length // 2 + 1), 0, spare))
    while len(line.ids) < start + length and not ending:
        line = line.then(in_a_key(some[int(rng.integers(len(some)))]), vocabulary)
    return [array[start : start + length] for array in line.steps(np.append(line.ids, vocabulary.end), vocabulary)]


@pytest.mark.parametrize("transpose", [False, True])
def test_batches_are_those_of_the_plain_rule(transpose):
    some = songs.embedded().songs[:12]
    vocabulary = vocabulary_for(some, False, transpose)
    made = lines(some, vocabulary, transpose=transpose)
    batches = SongBatches(made, vocabulary, 4, 50, seed=3)
    for n in range(30):  # enough batches for several epochs
        batch = batches.next()
        for b in range(4):
            expected = _old_sequence(made, vocabulary, 3, 50, 4 * n + b)
            assert batch.lengths[b] == len(expected[0])
            for array, values in zip((*batch.inputs, batch.targets), expected, strict=True):
                np.testing.assert_array_equal(array[: len(values), b], values)
    values = (np.float32, np.int64)  # form, recalled, run, target: in turn
    assert [array.dtype for array in (*batch.inputs, batch.targets)] == [np.int64, np.float32, *[np.int64] * 3, *values * 2]


# evaluation


def _task(count, hidden=16):
    """Return a task with the first choruses held out, and their lines."""
    some = songs.embedded().songs[:count]
    vocabulary = vocabulary_for(some, False, False)
    made = lines(some, vocabulary)
    model = jazz_model(vocabulary, hidden=hidden, embedding=8, rng=0)
    rng = np.random.default_rng(0)
    evaluation = jazz_task.SongEvaluation(made, vocabulary)
    return jazz_task.jazz_task(model, SongBatches(made, vocabulary, 2, 20), evaluation, rng), made, vocabulary


def test_evaluation_in_chunks_is_that_of_whole_songs(monkeypatch):
    task, made, vocabulary = _task(9)
    total = tokens = 0
    for line in made:
        (batch,) = evaluation([line], vocabulary, 1)
        logits = task.model(*batch.inputs).astype(np.float64)[:, 0]
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        total -= np.log(p[np.arange(len(p)), batch.targets[:, 0]]).sum()
        tokens += len(p)
    monkeypatch.setattr(jazz_task, "CHUNK", 7)
    monkeypatch.setattr(jazz_task, "EVALUATED", 4)
    counted = []
    assert task.evaluate_in_full(counted.append) == pytest.approx(total / tokens, rel=1e-6)
    assert task.evaluate() == task.evaluate_in_full()
    assert sum(counted) == tokens
    assert task.evaluated == (tokens, tokens)


def test_batches_for_evaluation_are_bounded(monkeypatch):
    _, made, vocabulary = _task(68, hidden=1)
    whole = list(evaluation(made, vocabulary, 16))
    assert [len(batch.lengths) for batch in whole] == [16, 16, 16, 16, 4]
    monkeypatch.setattr("fastrnn.music._model.batching.MOST_STEPS", 1000)
    small = list(evaluation(made, vocabulary, 16))
    assert all(batch.targets.size <= 1000 or len(batch.lengths) == 1 for batch in small)
    assert sorted(n for batch in small for n in batch.lengths) == sorted(len(line.ids) + 1 for line in made)


def test_a_sample_of_the_songs_is_evaluated_and_saved():
    task, made, _ = _task(30)
    whole = task.evaluate()
    task.limit_evaluation(10**5)  # fewer tokens are held out, so all are evaluated
    assert task.evaluate() == whole
    assert isinstance(task, SampledTask)
    task.limit_evaluation(1000)
    taken, held = task.evaluated
    assert 800 < taken <= 1000 < held == sum(len(line.ids) + 1 for line in made)
    sampled = task.evaluate()
    assert sampled != whole
    assert task.evaluate_in_full() == whole
    other = _task(30)[0]
    other.load_state_dict(task.state_dict())
    assert (other.evaluated, other.evaluate()) == (task.evaluated, sampled)
    older = task.state_dict()
    del older["evaluated"]
    other.load_state_dict(older)
    assert other.evaluate() == whole
    task.limit_evaluation(1)
    assert task.evaluated[0] in {len(line.ids) + 1 for line in made}  # at least one song


def test_a_run_says_that_it_is_evaluated_on_a_sample_and_in_full_at_the_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fastrnn.training._run.pace.SAMPLED_LEAST", 300)
    small = ["--hidden", "8", "--layers", "1", "--embedding", "4", "--batch", "4", "--seq-length", "40", "--max-steps", "4"]
    assert main(["train", "jazz", *small, "--eval-every", "2", "--out", str(tmp_path / "run")]) == 0
    output = capsys.readouterr().out
    sample, held = map(int, re.search(r"evaluated on (\d+) of the ([\d,]+) tokens", output.replace(",", "")).groups())
    assert 0 < sample <= 300 < held
    assert output.count("always the same ones") == 1
    told = float(re.search(r"validation loss on all that is held out: (\d\.\d{4}) nats per token", output)[1])
    player = load_player(tmp_path / "run")
    held_out = jazz_task.SongEvaluation(lines(player.songs.held_out, player.vocabulary), player.vocabulary)
    task = jazz_task.jazz_task(player.model, None, held_out, None)
    assert told == pytest.approx(task.evaluate(), abs=6e-5)
