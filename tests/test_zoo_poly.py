"""The zoo's agreement task and piano rolls with tiny settings: inputs, gradients by value, and that they learn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import smf
from differences import parameter_differences
from example_scripts import example
from tables import each_row

import fastrnn
from fastrnn import optim

pretty_midi = pytest.importorskip("pretty_midi")
Image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")

gradient, piano = example("zoo/see_the_gradient"), example("zoo/piano_roll")


# Agreement of subject and verb


def _words(column):
    return [gradient.WORDS[k] for k in column]


def _is_noun(word):
    return word in gradient.NOUNS or word[:-1] in gradient.NOUNS


@each_row("distance", [6, 9, 10, 12, 14, 30, 48])
@each_row("misleading", [False, True])
def test_the_subject_has_the_number_and_the_clause_has_others(distance, misleading):
    ids, number = gradient.sentences(distance, 50, np.random.default_rng(0), misleading=misleading)
    assert ids.shape == (distance + 2, 50)
    plural_between = []
    for column, plural in zip(ids.T, number, strict=True):
        words = _words(column)
        assert words[1].endswith("s") == plural
        assert words[2:5] == [",", "which", "the"]
        assert words[-2] in gradient.VERBS
        assert words[-1] == ","
        nouns = [word for word in words[2:] if _is_noun(word)]
        assert nouns
        if misleading:
            assert all(noun.endswith("s") != plural for noun in nouns)
        plural_between += [noun.endswith("s") == plural for noun in nouns]
    assert misleading or 0.3 < np.mean(plural_between) < 0.7
    assert 10 < number.sum() < 40


def test_held_out_pairs_of_subject_and_verb_are_never_trained_on():
    def pairs(held_out):
        found = set()
        for seed in range(20):
            ids, _ = gradient.sentences(6, 64, np.random.default_rng(seed), held_out=held_out)
            found |= {(gradient.WORDS[s].removesuffix("s"), gradient.WORDS[v]) for s, v in zip(ids[1], ids[-2], strict=True)}
        return found

    trained, held_out = pairs(False), pairs(True)
    assert not trained & held_out
    assert len(trained) == 80
    assert len(held_out) == 20


def test_distances_that_no_phrases_make():
    assert {sum(gradient.phrases(length, np.random.default_rng(length))) for length in (3, 4, 6, 7, 25)} == {3, 4, 6, 7, 25}
    for distance in (7, 8, 11, 3):
        with pytest.raises(ValueError, match=f"distance must be 6, or more by 3, 4, 6 or above, got {distance}"):
            gradient.sentences(distance, 2, np.random.default_rng(0))


def test_open_gates_let_the_gradient_through_and_large_weights_blow_it_up():
    def reach(network):
        norms = gradient.gradient_norms(network, 42, B=4)
        assert len(norms) == 44
        return norms[1] / norms[-1]

    for cell in ("RNN", "GRU", "LSTM"):
        assert reach(gradient.build(cell)) < 1e-6
    assert reach(gradient.build("GRU", 4.0)) > 0.1
    assert reach(gradient.build("LSTM", 4.0)) > 0.1
    assert reach(gradient.large_rnn(6.0)) > 1e3


def test_the_gradient_at_the_verb_is_that_of_the_loss():
    network, B = gradient.build("GRU"), 8
    ids, number = gradient.sentences(9, B, np.random.default_rng(1), held_out=True)
    logits = network.model(ids).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    dh = (shares - np.eye(2)[number]) / B @ network.head.weight.data
    expected = np.linalg.norm(dh, axis=1).mean()
    assert gradient.gradient_norms(network, 9, B)[-1] == pytest.approx(expected, rel=1e-5)
    assert not any(parameter.grad is not None and parameter.grad.any() for parameter in network.model.parameters())


@pytest.mark.parametrize("clip", [None, 0.01])
def test_clipping_bounds_the_step(clip):
    network = gradient.build("RNN")
    before = [parameter.data.copy() for parameter in network.model.parameters()]
    sgd = optim.SGD(network.model.parameters(), lr=1.0)
    losses, norms = gradient.train(network, (6,), 1, sgd, np.random.default_rng(0), clip)
    moved = [parameter.data - old for parameter, old in zip(network.model.parameters(), before, strict=True)]
    step = np.sqrt(sum(np.square(change).sum() for change in moved))
    assert len(losses) == 1
    assert norms[0] > 0.02
    assert step == pytest.approx(norms[0] if clip is None else clip, rel=1e-3)


def test_the_line_of_clipped_gradients_stays_below_the_bound(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(sys.modules["gradient_pictures"], "save", lambda figure, path: figures.append(figure))
    losses = np.ones(4)
    runs = {"without": [(losses, np.array([0.1, 14.0, 3.0, 0.2]))], "clipped": [(losses, np.array([0.5, 0.1, 14.0, 0.2]))]}
    gradient.draw_explosion({scale: np.ones(3) for scale in gradient.SCALES}, runs, 0.25, tmp_path / "x.png")
    lines = {line.get_label(): line.get_ydata() for line in figures[0].axes[1].get_lines()}
    np.testing.assert_array_equal(lines["without"], [0.1, 14.0, 3.0, 0.2])
    np.testing.assert_array_equal(lines["clipped"], [0.25, 0.1, 0.25, 0.2])


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_agreement_is_learnt_and_training_ends_when_it_is(cell):
    network = gradient.build(cell, 4.0, hidden=16)
    untrained = gradient.accuracy(network, 9)
    adam = optim.Adam(network.model.parameters(), lr=1e-2)
    losses, _ = gradient.train(network, (6, 9), 400, adam, np.random.default_rng(0), enough=0.05)
    assert len(losses) < 400
    assert losses[-25:].mean() < 0.05
    assert untrained < 0.8
    assert gradient.accuracy(network, 9) > 0.95


def test_the_unit_that_stores_the_number_is_found():
    # Unit 3 latches: the first noun sets it, and later inputs are too weak against ten times its own state.
    network = gradient.build("RNN")
    V, nouns = len(gradient.WORDS), len(gradient.NOUNS)
    W, R = network.cell.weight_ih_l0.data.copy(), network.cell.weight_hh_l0.data.copy()
    first = gradient.IDS[gradient.NOUNS[0]]
    W[3], R[3] = np.zeros(V), 0
    W[3, first : first + nouns], W[3, first + nouns : first + 2 * nouns], R[3, 3] = -1, 1, 10
    network.cell.weight_ih_l0.assign(W)
    network.cell.weight_hh_l0.assign(R)
    for bias in (network.cell.bias_ih_l0, network.cell.bias_hh_l0):
        values = bias.data.copy()
        values[3] = 0
        bias.assign(values)
    unit, correlation = gradient.keeper(network, 12)
    assert unit == 3
    assert correlation > 0.99
    panel, words = gradient.gate_panels(gradient.build("LSTM", 4.0), 12)
    assert panel.states.shape == (14, len(panel.number))
    assert np.all(panel.gates["f, keep"] > 0.9)
    assert words[3] == "which"


@pytest.mark.slow
def test_one_command_draws_the_pictures(tmp_path, capsys):
    words = ["--steps", "2", "--mixed-steps", "2", "--seeds", "1", "--distances", "6", "9", "--out"]
    table = gradient.main(gradient.parse([*words, str(tmp_path)]))
    assert list(table) == list(gradient.KINDS)
    assert f"RNN                   {table['RNN'][0, 0]:.2f}  {table['RNN'][0, 1]:.2f}" in capsys.readouterr().out
    for name in ("gradient", "agreement", "exploding", "gates"):
        picture = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        inked = (picture < 250).any(axis=2)  # something is drawn in every quarter
        assert all(half.any() for rows in np.array_split(inked, 2) for half in np.array_split(rows, 2, axis=1)), name


# Piano rolls


def _write(path, notes, drums=()):
    """Write a MIDI file at 120 quarters a minute (a sixteenth takes 1/8 s); notes are (pitch, start, end) in sixteenths."""
    midi = pretty_midi.PrettyMIDI(initial_tempo=120.0)
    for is_drum, of in ((False, notes), (True, drums)):
        instrument = pretty_midi.Instrument(program=0, is_drum=is_drum)
        instrument.notes = [pretty_midi.Note(80, pitch, start / 8, end / 8) for pitch, start, end in of]
        midi.instruments.append(instrument)
    midi.write(str(path))


def test_a_roll_has_the_keys_that_are_down(tmp_path: Path):
    _write(tmp_path / "a.mid", [(60, 1, 3), (60, 3, 4), (64, 2, 2.3), (21, 5, 6), (108, 5.1, 6.9)], drums=[(40, 0, 9)])
    roll = piano.read_roll(tmp_path / "a.mid")
    expected = np.zeros((7, 88), np.float32)
    expected[1:4, 39] = expected[2, 43] = expected[5, 0] = expected[5:7, 87] = 1
    np.testing.assert_array_equal(roll, expected)


def test_a_roll_of_an_odd_file_has_all_notes(tmp_path: Path, capsys):
    # The second note omits its status after a SysEx; the program change is out of range.
    sysex, struck = b"\xf0\x05\x7e\x7f\x09\x01\xf7", bytes([64, 80])
    events = [(0, smf.on(60)), (240, sysex), (0, struck), (240, smf.off(60)), (0, smf.off(64))]
    expected = np.zeros((4, 88), np.float32)
    expected[0:4, 39] = expected[2:4, 43] = 1
    for name, more, said in (
        ("sysex", [], ""),
        ("program", [(0, b"\xc0\xff")], "repaired: 1 program change out of range skipped"),
    ):
        (tmp_path / name).write_bytes(smf.midi(smf.track(*more, *events)))
        np.testing.assert_array_equal(piano.read_roll(tmp_path / name), expected)
        assert capsys.readouterr().err == (f"{tmp_path / name}: {said}\n" if said else "")


def test_rolls_come_back_from_midi(tmp_path: Path):
    rng = np.random.default_rng(0)
    roll = np.repeat((rng.random((20, 88)) < 0.1).astype(np.float32), 2, axis=0)
    roll[-1, 5] = 1
    piano.write_midi(roll, tmp_path / "roll.mid", quarters_per_minute=93.0)
    np.testing.assert_array_equal(piano.read_roll(tmp_path / "roll.mid"), roll)


def test_windows_are_moved_by_semitones_and_say_what_comes_next():
    roll = (np.random.default_rng(0).random((10, 88)) < 0.1).astype(np.float32)
    roll[3, [0, 87]] = 1
    (batch,) = piano.windows([roll], 6, [0, 2, -1]).batches(6)
    x, target = batch.inputs[0], batch.targets
    np.testing.assert_array_equal(batch.lengths, [6, 4] * 3)
    whole = [np.concatenate([target[:6, i], target[:4, i + 1]]) for i in (0, 2, 4)]
    np.testing.assert_array_equal(whole[0], roll)
    np.testing.assert_array_equal(whole[1][:, 2:], roll[:, :-2])
    np.testing.assert_array_equal(whole[2][:, :-1], roll[:, 1:])
    assert not whole[1][:, :2].any()
    assert not whole[2][:, -1].any()
    np.testing.assert_array_equal(x[1:6, 0], roll[:5])
    np.testing.assert_array_equal(x[0, 1], roll[5])
    assert not x[0, 0].any()


def test_baselines_by_counting():
    rng = np.random.default_rng(0)
    train, test = [[(rng.random((T, 88)) < 0.3).astype(np.float32) for T in (7, 5)] for _ in range(2)]
    alone = repeat = 0.0
    for key in range(88):
        now = np.concatenate([roll[:, key] for roll in train])
        before = np.concatenate([[0, *roll[:-1, key]] for roll in train])
        for roll in test:
            for t in range(len(roll)):
                was = roll[t - 1, key] if t else 0
                p = (0.5 + now.sum()) / (1 + len(now))
                q = (0.5 + now[before == was].sum()) / (1 + (before == was).sum())
                alone -= np.log(p if roll[t, key] else 1 - p)
                repeat -= np.log(q if roll[t, key] else 1 - q)
    assert piano.baselines(train, test) == pytest.approx(
        {"each key's frequency": alone / 12, "repeat the step before": repeat / 12}, rel=1e-5
    )


@pytest.mark.parametrize("skip", [True, False])
def test_gradients_of_the_stack(monkeypatch, skip):
    monkeypatch.setattr(piano, "KEYS", 4)
    model = piano.build(3, 3, skip=skip, seed=2, dtype="float64")
    for parameter in model.parameters():
        parameter.assign(parameter.data * 1.5)
    rng = np.random.default_rng(1)
    x, target = ((rng.random((5, 2, 4)) < 0.4).astype(np.float64) for _ in range(2))
    lengths, mask = np.array([5, 3]), np.arange(5)[:, None] < [5, 3]

    def loss():
        return piano.loss(model(x, lengths=lengths), target, mask)[0]

    logits, backward = model.forward(x, lengths=lengths)
    value, dlogits = piano.loss(logits, target, mask)
    p = 1 / (1 + np.exp(-logits))
    nats = -(target * np.log(p) + (1 - target) * np.log(1 - p)).sum(axis=2)
    assert value == pytest.approx(nats[mask].mean(), rel=1e-12)
    backward(dlogits)
    for name, parameter in model.named_parameters():
        assert np.abs(parameter.grad).max() > 1e-6, name
        expected = parameter_differences(loss, parameter)
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-5, atol=1e-9, err_msg=name)


def test_a_sample_at_low_temperature_takes_the_likely_keys():
    model = piano.build(2, 8)
    prompt = (np.random.default_rng(0).random((6, 88)) < 0.2).astype(np.float32)
    roll = piano.sample(model, prompt, 10, np.random.default_rng(1), temperature=1e-6)
    x, _ = piano.inputs_and_targets(roll)
    np.testing.assert_array_equal(roll[:6], prompt)
    np.testing.assert_array_equal(roll[6:], model(x[:, None])[6:, 0] > 0)
    warm = piano.sample(model, prompt, 200, np.random.default_rng(1))[6:]
    assert 0.3 < warm.mean() < 0.7  # an untrained model gives each key nearly 0.5


def test_held_out_pieces_are_learnt_from_others(tmp_path, capsys):
    # A bass note on the beat, then a chord. The next step depends on the last two steps, not only on the last one.
    for number, root in enumerate((48, 50, 53, 55)):
        notes = [(root + 12 * (t % 8 == 4), t, t + 1) for t in range(0, 128, 4)]
        notes += [(root + k, t, t + 1) for t in range(2, 128, 4) for k in (16, 19)]
        _write(tmp_path / f"{number}.mid", notes)
    words = f"{tmp_path} --layers 2 --hidden 24 --dropout 0 --epochs 8 --lr 0.02 --window 16 --out {tmp_path / 'out'}"
    figures = piano.main(piano.parse(words.split()))
    ours = figures.pop("LSTM, 2 x 24")
    assert ours < 0.7 * min(figures.values())
    assert f"{ours:7.3f}  LSTM, 2 x 24" in capsys.readouterr().out
    assert piano.read_roll(tmp_path / "out" / "sample.mid").any()
    model = fastrnn.load_model(tmp_path / "out" / "model.safetensors")
    test = piano.read_roll(tmp_path / "3.mid")
    assert piano.nll(model, [test]) == pytest.approx(ours, rel=1e-6)
    with pytest.raises(SystemExit, match=r"out/model\.safetensors: the file exists already; --overwrite replaces it"):
        piano.main(piano.parse(words.split()))
    assert np.asarray(Image.open(tmp_path / "out" / "roll.png")).std() > 1
    with pytest.raises(SystemExit, match="--held-out must be one of 0, 1, 2, 3"):
        piano.main(piano.parse([str(tmp_path), "--held-out", "rag"]))
