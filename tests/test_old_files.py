"""Files in ``tests/old``, written by version 0.1.0: a run of each kind, a run of ``fit``, a model and a state dict."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import configuration

import fastrnn
from fastrnn import GRU, LSTM, Embedding, Input, Linear, Model
from fastrnn.cli import main
from fastrnn.music.run_folder import load_player
from fastrnn.training import Examples, checkpoint, fit

OLD = Path(__file__).parent / "old"
EXPECTED = json.loads((OLD / "expected.json").read_text())
NAMES = "ant\nbee\ncat\ncow\ndog\neel\nelk\nemu\nfox\ngnu\nhen\nowl\n"
STORY = "The cat ate the hay. It ran! The dog saw the cat. It sang.\n" * 12
TEXTS = {"chars": NAMES, "words": STORY}


def classifier():
    """Return a graph from sequences ``[T,B,2]`` to logits ``[B,2]``."""
    x = Input(("T", "B", 2), name="x")
    _, h = GRU(2, 3, rng=5)(x)
    return Model(x, Linear(3, 2, rng=6)(h[0]))


def tagger():
    """Return a graph from ids ``[T,B]`` to logits ``[T,B,3]``."""
    ids = Input(("T", "B"), dtype="int64", name="ids")
    y, _ = LSTM(3, 2, 2, bidirectional=True, proj_size=1, rng=0)(Embedding(5, 3, rng=1)(ids))
    return Model(ids, Linear(2, 3, rng=2)(y))


def stack(rng=4):
    """Return two layers in two directions, with peepholes."""
    return LSTM(2, 3, 2, bidirectional=True, peephole=True, rng=rng)


def examples():
    """Return ten sequences of one to five steps, and their classes."""
    rng = np.random.default_rng(7)
    sequences = [rng.standard_normal((1 + i % 5, 2)).astype(np.float32) for i in range(10)]
    return Examples(sequences, np.arange(10) % 2)


def losses(model, out, epochs, **options):
    """Train for some epochs in a folder; return the loss of each epoch."""
    history = fit(model, examples(), epochs=epochs, batch_size=4, lr=0.01, seed=3, out=out, **options)
    return history["loss"]


def scores(run):
    """Return the log-probabilities of three texts, or of the songs trained on."""
    items = {"chars": ["ant", "owl", "toad"], "words": ["The cat ran.", "It sang!", "The hay."]}
    texts = items.get(run.kind) or list(run.songs.train)
    return [score.log_probability for score in run.score(texts)]


def samples(run):
    """Return two samples: texts, or the notes of two pieces."""
    if run.kind == "jazz":
        pieces = run.sample(2, changes="Dm7 | G7", choruses=1, ending=False, seed=5)
        return [[[note.onset, note.pitch, note.duration] for note in piece.parts[0].notes] for piece in pieces]
    return [sample.text for sample in run.sample(2, length=12, seed=5)]


def resumed(kind, folder):
    """Resume a run for two steps; return the losses of all evaluations, and the sum of the magnitudes of all weights."""
    shutil.copytree(OLD / kind, folder / kind)
    paths = []
    if kind in TEXTS:
        (folder / f"{kind}.txt").write_text(TEXTS[kind])
        paths = [str(folder / f"{kind}.txt")]
    assert main(["train", kind, *paths, "--resume", "--max-steps", "6", "--out", str(folder / kind)]) == 0
    rows = (folder / kind / "metrics.csv").read_text().splitlines()
    place = rows[0].split(",").index("val_loss")
    weights = checkpoint.load(folder / kind / "last.safetensors").model.values()
    return [float(row.split(",")[place]) for row in rows[1:]], float(sum(np.abs(array).sum() for array in weights))


@pytest.mark.parametrize("kind", ["chars", "words", "jazz"])
def test_a_run_scores_and_samples_as_it_did(kind):
    run = fastrnn.load_run(OLD / kind)
    assert run.kind == kind
    assert scores(run) == pytest.approx(EXPECTED[kind]["scores"], rel=1e-5)
    assert samples(run) == EXPECTED[kind]["samples"]


@pytest.mark.parametrize("kind", ["chars", "words", "jazz"])
def test_a_run_goes_on_and_writes_its_configuration_as_it_did(kind, tmp_path, capsys):
    found, weights = resumed(kind, tmp_path)
    assert found == pytest.approx(EXPECTED[kind]["losses"], rel=1e-5)
    assert weights == pytest.approx(EXPECTED[kind]["weights"], rel=1e-4)
    assert "going on from step 4" in capsys.readouterr().out
    before, after = (configuration(folder / kind) for folder in (OLD, tmp_path))
    for content in (before, after):
        del content["versions"], content["kernels"], content["options"]["max_steps"], content["data"]["sources"]
    for name in after["options"].keys() - before["options"].keys():
        unused = {"tied": False}.get(name)  # an option that the old run did not have yet, and does not use
        assert after["options"].pop(name) is unused
    assert after == before
    assert list(after) == list(before)


def test_a_player_knows_its_songs():
    player = load_player(OLD / "jazz")
    assert [len(player.songs.train), len(player.songs.held_out)] == [2, 1]
    assert player.config.options.model == "rnn"


def test_fit_goes_on_as_it_did(tmp_path):
    shutil.copytree(OLD / "fit", tmp_path / "fit")
    assert losses(classifier(), tmp_path / "fit", 3, resume=True)[-1] == pytest.approx(EXPECTED["fit"], rel=1e-5)


def test_a_saved_model_gives_the_same_values():
    ids = np.array([[0, 4], [3, 1], [2, 2]])
    np.testing.assert_allclose(fastrnn.load_model(OLD / "model.safetensors")(ids), EXPECTED["model"], rtol=1e-5, atol=1e-7)


def test_a_state_dict_loads_into_the_layer():
    layer = stack(rng=0)
    layer.load(OLD / "lstm.safetensors")
    y, _ = layer(np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 1, 2))
    np.testing.assert_allclose(y, EXPECTED["lstm"], rtol=1e-5, atol=1e-7)
