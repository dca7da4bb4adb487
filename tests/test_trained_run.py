"""``fastrnn.load_run``: a loaded run gives the values that the commands print."""

import re
import shutil

import numpy as np
import pytest
from command_line import execute, output_of

import fastrnn
from fastrnn.music.midi import read_midi
from fastrnn.text.vocabulary import UnknownCharacters
from fastrnn.training import checkpoint

pytestmark = pytest.mark.usefixtures("quick_pictures")

SMALL = ["--hidden", "8", "--layers", "1", "--embedding", "4", "--batch", "4", "--max-steps", "2", "--eval-every", "2"]
STORY = "The cat ate the hay. It ran! The dog saw the cat. It sang.\n" * 12


@pytest.fixture(scope="module")
def runs(choruses, tmp_path_factory):
    """Train a run of each kind; return the folders by kind."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "story.txt").write_text(STORY)
    story = str(folder / "story.txt")
    for name, kind, *options in (
        ("names", "chars"), ("text", "chars", story, "--seq-length", "16"),
        ("words", "words", story), ("sentences", "words", story, "--reading", "lines"),
        ("jazz", "jazz", choruses),
    ):  # fmt: skip
        execute("train", kind, *options, *SMALL, "--out", folder / name)
    return folder


@pytest.mark.parametrize(
    ("name", "kind", "texts"),
    [
        ("names", "chars", ["Zuul", "Tyrannosaurus"]), ("text", "chars", ["The cat"]),
        ("words", "words", ["The cat ate.", "The zebra ate."]), ("sentences", "words", ["the dog ran"]),
    ],
)  # fmt: skip
def test_a_score_is_the_commands(runs, capsys, name, kind, texts):
    run = fastrnn.load_run(runs / name)
    assert (run.kind, run.folder, run.options.hidden) == (kind, runs / name, 8)
    assert [score.log_probability for score in run.score(texts)] == [run.score(text).log_probability for text in texts]
    for text in texts:
        score = run.score(text)
        nats = float(re.search(r"log-probability: +(-[\d.]+) nats", output_of(capsys, "score", runs / name, text).out)[1])
        assert score.log_probability == pytest.approx(nats, abs=5e-5)
        # The score also equals what the model gives step by step.
        start = run.vocabulary.id("<EOS>") if name == "words" else -1
        ids = [run.vocabulary.id(token) for token in score.tokens]
        logits, _ = run.model(np.array([start, *ids[:-1]])[:, None])
        logp = logits[:, 0] - np.log(np.exp(logits[:, 0].astype(np.float64)).sum(axis=1, keepdims=True))
        assert score.log_probability == pytest.approx(logp[np.arange(len(ids)), ids].sum(), abs=1e-4)
    if name == "words":
        assert run.score("The zebra ate.").unknown == ("zebra",)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("names", {}), ("names", {"prefix": "Tri", "temperature": 0.7}), ("names", {"length": 3, "greedy": True}),
        ("sentences", {"no_unk": True}), ("words", {"sentences": True, "top_k": 3}), ("sentences", {"top_p": 0.5}),
    ],
)  # fmt: skip
def test_samples_are_the_commands(runs, capsys, name, options):
    run = fastrnn.load_run(str(runs / name))
    flags = [
        part
        for option, value in options.items()
        for part in (["--" + option.replace("_", "-")] if value is True else ["--" + option.replace("_", "-"), value])
    ]
    printed = output_of(capsys, "sample", runs / name, "--number", 5, "--seed", 7, *flags).out
    assert printed.splitlines() == [sample.text for sample in run.sample(5, seed=7, **options)]


@pytest.mark.parametrize("name", ["text", "words"])
def test_a_stream_comes_in_pieces(runs, capsys, name):
    run = fastrnn.load_run(runs / name)
    printed = output_of(capsys, "sample", runs / name, "--seed", 7, "--prefix", "The cat").out
    assert "The cat" + "".join(run.stream(seed=7, prefix="The cat")) + "\n" == printed
    (sample,) = run.sample(seed=7, prefix="The cat")
    assert sample.text + "\n" == printed


def _notes(piece):
    return [(note.onset, note.duration, note.pitch) for part in piece.parts if part.name == "solo" for note in part.notes]


def test_a_solo_is_the_commands(runs, tmp_path):
    run = fastrnn.load_run(runs / "jazz")
    out = ["--seed", 5, "--out", tmp_path / "a.mid"]
    execute("improvise", runs / "jazz", "--changes", "blues", "--key", "F", *out)
    (piece,) = run.sample(changes="blues", key="F", seed=5)
    written = read_midi(tmp_path / "a.mid")
    assert _notes(piece) == _notes(written)
    assert len(piece.parts[0].notes) > 10
    assert piece.chords[0][1].symbol == "F7"
    execute("sample", runs / "jazz", "--seed", 4, "--out", tmp_path / "b.mid")
    pieces = run.sample(2, seed=3)
    assert _notes(pieces[1]) == _notes(read_midi(tmp_path / "b.mid", fewest=1))


def test_songs_held_out_have_the_loss_of_the_run(runs):
    run = fastrnn.load_run(runs / "jazz")
    scores = run.score(list(run.songs.held_out))
    loss = -sum(score.log_probability for score in scores) / sum(len(score.tokens) for score in scores)
    best = checkpoint.load(runs / "jazz" / "best.safetensors").state["trainer"]["best_val_loss"]
    assert loss == pytest.approx(best, abs=1e-5)
    assert scores[0].tokens[-1] == "end"


def test_methods_that_a_kind_lacks(runs):
    names, jazz = (fastrnn.load_run(runs / name) for name in ("names", "jazz"))
    for call, message in (
        (lambda: names.songs, "songs are for jazz, and .*names holds a run of chars"),
        (lambda: jazz.stream(), "stream is for text, and .*jazz holds a run of jazz"),
        (lambda: jazz.score("la la"), "a run of jazz scores a Song, or a list of them, got 'la la'"),
        (
            lambda: jazz.sample(prefix="x"),
            "prefix is not an option of sample for a run of jazz: the options are changes, choruses, ",
        ),
        (
            lambda: names.sample(key="F"),
            "key is not an option of sample for a run of chars: the options are length, prefix, ",
        ),
        (lambda: jazz.sample(changes="C", metre="3/4"), r"metre must be two integers such as \(3, 4\), got '3/4'"),
        (lambda: jazz.sample(changes="C", key=3), "key must be a str, got 3"),
        (lambda: names.sample(prefix=3), "prefix must be a str, got 3"),
        (lambda: names.score(5), "text must be a str, or a list of them, got 5"),
        (lambda: fastrnn.load_run(5), "path must be a str or a Path, got 5"),
    ):
        with pytest.raises(TypeError, match=f"^{message}"):
            call()
    for call, message in (
        (lambda: jazz.sample(key="D"), "key needs changes, and none are given"),
        (lambda: jazz.sample(instrument="kazoo"), "instrument must be one of 'piano'"),
        (lambda: jazz.sample(changes="C", choruses=0), "choruses must be at least 1, got 0"),
        (lambda: jazz.sample(changes="C", metre=(4, 0)), "the denominator of metre must be at least 1, got 0"),
        (lambda: names.sample(sentences=True), "sentences is for a model of a stream of words"),
        (lambda: names.score("a\nb"), "text must be without line breaks"),
        (lambda: names.sample(0), "number must be at least 1, got 0"),
        (lambda: names.sample(top_p=2), r"top_p must lie in \(0, 1\], got 2"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            call()
    with pytest.raises(UnknownCharacters, match="the vocabulary lacks '€'"):
        names.score("€")


def test_folders_that_are_not_runs(runs, tmp_path):
    with pytest.raises(ValueError, match=r"none is not a run folder: it has no config\.json$"):
        fastrnn.load_run(tmp_path / "none")
    shutil.copytree(runs / "names", tmp_path / "run")
    for name, content, message in (
        ("best.safetensors", b"x", r"best\.safetensors"),
        ("config.json", b"{", r"config\.json is damaged"),
        ("config.json", b"{}", r"config\.json is not the configuration of a character model or a word model"),
    ):
        before = (tmp_path / "run" / name).read_bytes()
        (tmp_path / "run" / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            fastrnn.load_run(tmp_path / "run")
        assert "\n" not in str(caught.value)
        (tmp_path / "run" / name).write_bytes(before)
    for name in ("best.safetensors", "last.safetensors"):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(ValueError, match="has no checkpoint yet"):
        fastrnn.load_run(tmp_path / "run")


def test_import_stays_light(run_python):
    loaded = run_python("import sys, fastrnn; fastrnn.__all__; print(*sys.modules)").stdout.split()
    assert not {name for name in loaded if name.startswith(("fastrnn.text", "fastrnn.music", "fastrnn.trained_run"))}
