"""Texts too large for memory: reading and encoding in blocks gives the bits of one piece; evaluation on a sample."""

import os
import re
import tracemalloc

import numpy as np
import pytest
from tables import each_row

from fastrnn.cli import main
from fastrnn.text import reading
from fastrnn.text._reading import encoding, source
from fastrnn.text._reading import token_ids as ids
from fastrnn.text._reading.encoding import WordEncoder
from fastrnn.text._reading.source import FileText, Text
from fastrnn.text._training.batching import IGNORED
from fastrnn.text._training.evaluation import LineEvaluation, StreamEvaluation
from fastrnn.text._training.novelty import copied_share
from fastrnn.text.options import make_options
from fastrnn.text.reading import TextError, TextFormat
from fastrnn.text.tokens import EOS, tokenize
from fastrnn.text.training import make_trainer
from fastrnn.training import baselines, checkpoint
from fastrnn.training._run import pace

pytestmark = pytest.mark.usefixtures("quick_pictures")

ODD = (
    "\n \nÜnïcode… “Ende.” Und\u2003weiter!)\n\n \n\tΣΊΣΥΦΟΣ ΟΔΟΣ. <unk> 3.14 sea-coal ... -- !!\r\n12:30 क़लम। "  # noqa: RUF001
    'e\u0301 n\u0303o\x0b\x0c\u2028 x\rO\'er the 10,000 hills. ("Why?") she\n\n\n said; 東京都。\U0001f600 ends.  \n'
)


@pytest.fixture
def small_blocks(monkeypatch):
    """Make blocks a few characters long, so that they end everywhere, and treat every text as large."""
    for module, size in ((source, 7), (ids, 5), (baselines, 11)):
        monkeypatch.setattr(module, "BLOCK", size)
    for module in (source, ids):
        monkeypatch.setattr(module, "LARGE", 1)
    monkeypatch.setattr(baselines, "TABLE", 100)
    monkeypatch.setattr(encoding, "CACHED", 10)


def _written(tmp_path, *contents):
    paths = [tmp_path / f"{i}.txt" for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content.encode())
    return paths


@pytest.mark.parametrize("contents", [[ODD], [ODD * 3, "end", ODD], ["\ufeffab\r", "\ncd\r\n"]])
def test_files_in_blocks_are_the_files_in_one_piece(tmp_path, monkeypatch, contents):
    paths = _written(tmp_path, *contents)
    whole = reading.read(paths)
    assert type(whole) is Text
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr(source, "BLOCK", size)
        monkeypatch.setattr(source, "LARGE", 1)
        large = reading.read(paths)
        assert type(large) is FileText
        assert large == whole
        assert (large.content, large.length, large.sha256) == (whole.content, len(whole.content), whole.sha256)
        assert large.head == whole.content
        items = [item for some in large.items() for item in some]
        assert items == [item for some in whole.items() for item in some] == reading.items(whole.content)


@pytest.mark.parametrize(
    ("encoding", "taken"),
    [
        ("utf-8-sig", TextFormat(lower=True)),
        ("utf-8", TextFormat(column=2)),
        ("cp1253", TextFormat("cp1253", column=1, lower=True)),
        ("utf-16", TextFormat()),
        ("gb18030", TextFormat("gb18030")),
    ],
)
def test_columns_and_lower_case_are_applied_in_blocks(tmp_path, small_blocks, monkeypatch, encoding, taken):
    content = "ΣΊΣΥΦΟΣ\tΟΔΟΣ\r\n\r\na b\tΣ\n" * 5 + "end\tΣΑΣ"  # noqa: RUF001
    path = tmp_path / "text.txt"
    path.write_bytes(content.encode(encoding))
    large = reading.read([path], taken)
    monkeypatch.setattr(source, "LARGE", 10**6)
    whole = reading.read([path], taken)
    assert (type(large), type(whole)) == (FileText, Text)
    assert large.content == whole.content == taken.convert(content, "text")
    assert large == whole


def test_a_text_without_line_breaks_is_lower_cased_in_little_memory(tmp_path, monkeypatch):
    for name, size in (("BLOCK", 4096), ("HEAD", 4096), ("LONGEST_WORD", 8192), ("LARGE", 10**6)):
        monkeypatch.setattr(source, name, size)
    for words in ("ΟΔΟΣ Ab\u3000", "Ab東"):
        text = words * (3_000_000 // len(words.encode()))
        (path,) = _written(tmp_path, text)
        tracemalloc.start()
        large = reading.read([path], TextFormat(lower=True))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert type(large) is FileText
        assert large.content == text.lower()
        assert peak < 300_000


def test_a_line_without_the_column_is_named_in_a_large_file(tmp_path, small_blocks):
    (path,) = _written(tmp_path, "a\tb\n" * 50 + "c\n" + "a\tb\n")
    with pytest.raises(TextError, match="line 51 must have --column 2, got 1 column"):
        reading.read([path], TextFormat(column=2))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"fine\xe9 line\n" * 9, "is not UTF-8: byte 0xe9 at offset 4"),
        ("wide text\n".encode("utf-16-le") * 9, "it looks like utf-16-le"),
        (b" \n" * 99, "has only white space"),
    ],
)
def test_errors_of_large_files_are_those_of_small_ones(tmp_path, small_blocks, data, message):
    path = tmp_path / "text.txt"
    path.write_bytes(data)
    with pytest.raises(TextError, match=message):
        reading.read([path])


@pytest.mark.parametrize("encoding", ["cp1251", "utf-16"])
def test_a_large_file_is_not_read_in_an_encoding_that_is_certainly_wrong(tmp_path, small_blocks, encoding):
    path = tmp_path / "text.txt"
    path.write_text("за окном дождь\n" * 20)
    with pytest.raises(TextError, match="it looks like utf-8"):
        reading.read([path], TextFormat(encoding=encoding))
    path.write_bytes(("за окном дождь\n" * 20).encode(encoding))
    assert reading.read([path], TextFormat(encoding=encoding)).head == "за окном дождь\n" * 20


def test_a_file_that_changes_is_reported(tmp_path, small_blocks):
    (path,) = _written(tmp_path, "abc\n" * 9)
    text = reading.read([path])
    path.write_text("abc\n" * 8)
    with pytest.raises(TextError, match="changed while it was read"):
        list(text.blocks())


@pytest.mark.parametrize("keep_case", [True, False])
def test_words_in_blocks_are_the_words_in_one_piece(small_blocks, keep_case):
    rng = np.random.default_rng(0)
    pieces = [*"abΣς.!?…)\"'”1,:-<>", " ", " ", "\n", "\n", "\t", "\u0301", "\u2003", "unk", "<unk>", "don't", "3.14"]
    texts = [ODD, "", "x", "\n\n", *("".join(rng.choice(pieces, 60)) for _ in range(300))]
    for text in texts:
        words = WordEncoder(Text(text, ()), lines=False, keep_case=keep_case)
        names = list(words.counts(slice(0, 0)))
        assert [names[i] for i in words._numbers] == [*tokenize(text, keep_case=keep_case), EOS], repr(text)


@pytest.mark.parametrize("reading_", ["lines", "stream"])
@pytest.mark.parametrize("kind", ["chars", "words"])
def test_a_large_text_trains_as_a_small_one(tmp_path, request, kind, reading_):
    (path,) = _written(tmp_path, ODD * 8)
    options = make_options(reading_, kind, hidden=4, layers=1, embedding=3, batch=3, seq_length=9)
    made = []
    for fixture in (None, "small_blocks"):
        if fixture:
            request.getfixturevalue(fixture)
        trainer, _, data = make_trainer(reading.read([path]), options, tmp_path / "runs" / "new")
        batches = [data.batches.next() for _ in range(20)]
        made.append((data, batches, list(data.evaluation()), trainer.task.train_step()))
    (small, *ours), (large, *theirs) = made
    assert large.vocabulary == small.vocabulary
    assert (large.sizes, large.unknown) == (small.sizes, small.unknown)
    assert large.baselines == pytest.approx(small.baselines, rel=1e-12)  # the sum runs in another order
    assert reading_ == "stream" or list(large.train_items) == list(small.train_items)
    assert ours[2] == theirs[2]
    for mine, other in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
        for name in ("inputs", "targets", "lengths", "tokens", "first"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))
    assert list(tmp_path.iterdir()) == [path]  # the file of ids has no name


def test_ids_take_the_smallest_type(tmp_path, monkeypatch):
    monkeypatch.setattr(ids, "LARGE", 10)
    writer = ids.IdWriter(ids.smallest_type(65), 11, tmp_path / "not" / "there")
    writer.add([1, 2])
    writer.add(np.arange(5))
    found = writer.finish()
    assert isinstance(found, np.memmap)
    assert (found.dtype, found.tolist()) == (np.uint8, [1, 2, 0, 1, 2, 3, 4])
    assert [ids.smallest_type(count) for count in (1, 256, 257, 65536, 65537)] == [
        np.uint8, np.uint8, np.uint16, np.uint16, np.uint32,
    ]  # fmt: skip


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
@pytest.mark.parametrize("size", [10, 1_000_000])  # written at the end, and at once
def test_a_full_disk_under_ids_is_named(size, tmp_path, monkeypatch):
    monkeypatch.setattr(ids, "LARGE", 5)
    monkeypatch.setattr(ids.tempfile, "TemporaryFile", lambda dir: open("/dev/full", "wb"))  # noqa: SIM115
    writer = ids.IdWriter(np.uint8, size, tmp_path / "run")
    with pytest.raises(OSError, match=f"No space left on device: 'a file of token ids in {tmp_path}'"):  # noqa: PT012
        writer.add(np.zeros(size))
        writer.finish()


# Samples of held-out data


def test_a_sample_of_a_stream_is_the_beginning_of_all_parts():
    held = np.arange(1000) % 7
    evaluation = StreamEvaluation(held, 4, 10)
    everything = list(evaluation())
    assert sum(batch.tokens for batch in everything) == evaluation.tokens == 1000
    sample = list(evaluation(200))
    # There are 4 parts of 50. In 3 of them, the first 10 tokens only warm up the state.
    assert sum(batch.targets.size for batch in sample) == 200
    assert sum(batch.tokens for batch in sample) == 170
    for mine, other in zip(sample, everything, strict=False):
        np.testing.assert_array_equal(mine.targets, other.targets)
    assert (sample[-1].targets != IGNORED).all()  # all parts end at the same step


@each_row("limit", [1, 7, 10, 79, 80, 85, 300, 1024, 4000])
def test_a_sample_of_a_stream_keeps_to_its_limit(limit):
    evaluation = StreamEvaluation(np.arange(5000) % 7, 64, 10)
    sample = list(evaluation(limit))
    read = sum(batch.targets.size for batch in sample)
    assert 0.5 * limit < read <= limit
    assert 0.5 * read <= sum(batch.tokens for batch in sample) <= read


def test_a_sample_of_lines_has_lines_of_all_lengths():
    lines = [np.full(n % 50 + 1, n % 9) for n in range(500)]
    evaluation = LineEvaluation(lines, 16, 9)
    total = sum(len(line) + 1 for line in lines)
    assert evaluation.tokens == total == sum(batch.tokens for batch in evaluation())
    sample = list(evaluation(total // 10))
    assert sum(batch.tokens for batch in sample) == pytest.approx(total / 10, rel=0.05)
    lengths = np.concatenate([batch.lengths for batch in sample])
    assert set(lengths) == set(range(2, 52))
    assert sum(batch.tokens for batch in evaluation(10 * total)) == total


def test_a_task_evaluates_its_sample_until_it_is_asked_for_all():
    options = make_options("stream", hidden=4, layers=1, embedding=0, batch=4, seq_length=10)
    trainer, _, data = make_trainer(ODD * 40, options)
    task = trainer.task
    in_full = task.evaluate()
    held = data.evaluation.tokens
    task.limit_evaluation(held)  # as many as are held out
    assert (task.evaluated, task.evaluate()) == ((held, held), in_full)
    task.limit_evaluation(held // 4)
    sampled = task.evaluate()
    read = held // 4 // 10 * 10
    assert task.evaluated == (sum(batch.tokens for batch in data.evaluation(held // 4)), held)
    assert 0.5 * read <= task.evaluated[0] <= read
    assert sampled != in_full
    assert task.evaluate() == sampled
    assert task.evaluate_in_full() == in_full
    other = make_trainer(ODD * 40, options)[0].task
    other.load_state_dict(task.state_dict())
    assert (other.evaluate(), other.evaluated) == (sampled, task.evaluated)


SMALL = ["--hidden", "4", "--layers", "1", "--batch", "4", "--seq-length", "8", "--max-steps", "20", "--reading", "stream"]


def test_a_run_prints_the_data_of_its_evaluation(tmp_path, capsys, monkeypatch, small_blocks):
    monkeypatch.setattr(pace, "SAMPLED_LEAST", 30)
    (path,) = _written(tmp_path, ODD * 20)
    run = tmp_path / "run"
    assert main(["train", "chars", str(path), *SMALL, "--out", str(run)]) == 0
    out = capsys.readouterr().out
    held = int(re.search(r" ([\d,]+) held out", out)[1].replace(",", ""))
    line = f"evaluated on 24 of the {held:,} characters held out, always the same ones; on all of them at the end"
    assert out.count(line) == 1
    assert re.search(r"best validation loss \d\.\d{4} nats .*, at step \d+, on the sample of 24 characters", out)
    said = float(re.search(r"validation loss on all that is held out: (\d\.\d{4}) nats per character", out)[1])
    best = checkpoint.load(run / "best.safetensors")
    trainer = make_trainer(reading.read([path]), make_options("stream", hidden=4, layers=1, batch=4, seq_length=8))[0]
    for name, param in trainer.task.named_parameters():
        param.assign(best.model[name])
    assert said == pytest.approx(trainer.task.evaluate_in_full(), abs=6e-5)
    assert best.state["task"]["evaluated"] == 30  # only whole chunks are read
    assert main(["train", "chars", "--resume", "--max-steps", "22", "--out", str(run)]) == 0
    assert "on the sample of 24 characters" in capsys.readouterr().out


# Novelty


def test_copied_text_is_found_in_blocks(small_blocks):
    whole = copied_share(["abcdefghij xyzxyzxyz"], ODD + "abcdefghij" + ODD, 5)
    assert copied_share(["abcdefghij xyzxyzxyz"], Text(ODD + "abcdefghij" + ODD, ()).blocks(), 5) == whole == 6 / 16
    assert copied_share([np.arange(9)], np.arange(3, 30).astype(np.uint8), 4) == 3 / 6
    assert copied_share(["abc"], ODD, 5) is None
