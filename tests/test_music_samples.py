"""The samples that a jazz run plays during training."""

import re
from dataclasses import replace

import numpy as np
import pytest
from training_task import assert_same_checkpoint

from fastrnn.music._midi import songs
from fastrnn.music._model import jazz_task, run_samples
from fastrnn.music._model.batching import range_of
from fastrnn.music._model.options import make_options
from fastrnn.music._model.run_samples import in_names, sample_writer
from fastrnn.music.changes import parse_changes
from fastrnn.music.generation import Form, improvise
from fastrnn.music.piece import Note, Part

OPTIONS = make_options(hidden=8, layers=1, embedding=4, batch=4, seq_length=24, max_steps=4, eval_every=2, dropout=0.3)
SONGS = jazz_task.split(songs.embedded().songs[:6], 0.3, 0)


def _trainer(folder, seed, shown=None):
    """Return a trainer whose training does not depend on the seed, which is only for its samples; None: no samples."""
    trainer, model, data = jazz_task.make_trainer(SONGS, OPTIONS, False, folder)
    if shown is not None:
        trainer.callbacks = (sample_writer(model, SONGS, data, folder / "samples.txt", seed, show=shown.append),)
    return trainer, model, data


def test_notes_by_their_names():
    notes = (Note(0, 6, 57), Note(6, 6, 61), Note(95, 1, 60), Note(96, 12, 60), Note(96, 24, 64), Note(108, 12, 70))
    form = Form.of(parse_changes("Dm7 | G7 | Cmaj7 | %"))
    assert in_names(Part(notes=notes), form) == "A3 Db4 | C4 | C4+E4 Bb4 | -"


def test_samples_follow_from_their_seed_and_leave_training_as_it_is(tmp_path):
    shown = []
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        _trainer(tmp_path / name, seed, shown)[0].run()
    _trainer(tmp_path / "none", 0)[0].run()
    assert len(shown) == 6
    assert shown[:2] == shown[2:4]
    assert len(set(shown)) == 4  # each step has its own
    for name in ("one", "other"):
        assert_same_checkpoint(tmp_path / name / "last.safetensors", tmp_path / "none" / "last.safetensors")
    text = (tmp_path / "one" / "samples.txt").read_text()
    assert re.findall(r"^--- step (\d+), validation loss .* nats per token\n(.*)\n\n", text, re.MULTILINE) == [
        ("2", shown[0].strip()),
        ("4", shown[1].strip()),
    ]
    low, high = range_of(SONGS.train)
    named = [in_names(Part(notes=(Note(0, 1, pitch),)), Form.of(parse_changes("C"))) for pitch in range(low, high + 1)]
    for line in shown:
        assert line.count("|") == 3
        assert set(re.split(r"[ |]+", line.strip())) <= {*named, "-"}


def test_samples_are_in_the_metre_of_most_songs(tmp_path, monkeypatch):
    def in_three(song):
        return songs.Song(song.title, replace(song.piece, metres=((0, 3, 4),)))

    first, *rest = SONGS.train
    waltzes = jazz_task.Split((first, *map(in_three, rest)), SONGS.held_out)
    trainer, model, data = jazz_task.make_trainer(waltzes, OPTIONS, False)
    forms = []

    def heard(model, vocabulary, form, **options):
        forms.append(form)
        return improvise(model, vocabulary, form, **options)

    monkeypatch.setattr(run_samples, "improvise", heard)
    writer = run_samples.sample_writer(model, waltzes, data, tmp_path / "samples.txt", 0, show=lambda line: None)
    writer.on_metrics(trainer._info(1.0, 1.0))
    (form,) = forms
    assert (form.metres, form.length) == (((0, 3, 4),), 4 * 36)


def test_a_run_that_diverges_is_not_ended_by_its_samples(tmp_path):
    shown = []
    trainer, model, _ = _trainer(tmp_path, 0, shown)
    weight = dict(model.named_parameters())["output.weight"]
    weight.assign(np.full_like(weight.data, np.nan))
    (writer,) = trainer.callbacks
    writer.on_metrics(trainer._info(1.0, 1.0))
    writer.on_eval(trainer._info(1.0, 1.0))
    assert shown == ["  nothing can be sampled: a logit is NaN or infinite"]


def test_a_bug_in_fastrnn_is_raised_unchanged(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    trainer, _, _ = _trainer(tmp_path, 0, [])
    monkeypatch.setattr(run_samples, "improvise", broken)
    (writer,) = trainer.callbacks
    with pytest.raises(ValueError, match="a bug"):
        writer.on_metrics(trainer._info(1.0, 1.0))
