"""Sets of piano rolls: features, keys and likelihoods by value, and one command that trains, saves and measures."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from differences import directional_difference
from example_scripts import example
from tables import each_row

import fastrnn

pytest.importorskip("pretty_midi")
pytest.importorskip("matplotlib")

piano = example("zoo/piano_roll")
sets, features = sys.modules["polyphony"], sys.modules["roll_features"]


def repeating(T, B, K=88, chords=4, seed=0):
    """Rolls of a few chords at random, so that matches of all lengths occur."""
    rng = np.random.default_rng(seed)
    return (rng.random((chords, K)) < 0.1).astype(np.float32)[rng.integers(0, chords, (T, B))]


def test_features_follow_their_definitions():
    x = repeating(80, 3)
    x[40:75, 1] = x[:35, 1]
    y = features.RollFeatures()(x)
    assert y.shape == (80, 3, 3 * 88 + 46)
    assert y.dtype == np.float32
    longest = 0
    for t, b in np.ndindex(80, 3):
        length, place = 0, None
        for j in range(t):
            same = 0
            while same <= j and np.array_equal(x[j - same, b], x[t - same, b]):
                same += 1
            if same and same >= length:
                length, place = same, j
        longest = max(longest, length)
        held = np.array([next((n for n in range(t + 1) if not x[t - n, b, k]), t + 1) for k in range(88)])
        classes = [x[t, b, pitch::12].max() for pitch in range(12)]
        expected = [x[t, b], np.zeros(88) if place is None else x[place + 1, b], np.array([1, 2, 4, 8, 16, 32]) <= length]
        expected += [np.minimum(held, 16) / 8, classes, np.arange(16) == t % 16, np.arange(12) == t % 12]
        np.testing.assert_array_equal(y[t, b], np.concatenate(expected))
    assert longest >= 32


def test_features_of_chunks_are_those_of_the_whole():
    x, state, start = repeating(40, 2, K=5), None, 0
    whole = features.RollFeatures()(x)
    for size in (1, 5, 0, 2, 32):
        y, state = features.RollFeatures().stream(x[start : start + size], state=state)
        np.testing.assert_array_equal(y, whole[start : start + size])
        start += size


@pytest.mark.parametrize("nade", [0, 3])
def test_a_model_in_every_key_is_the_model_on_moved_rolls(nade):
    model = sets.build(4, 0.0, nade, dtype="float64", seed=1)
    for parameter in model.parameters():
        parameter.assign(parameter.data * 2)
    x, v = repeating(7, 3).astype(np.float64), repeating(7, 3, seed=1).astype(np.float64)
    rolls, lengths, mask = (x, v)[: 1 + (nade > 0)], np.array([7, 4, 5]), np.arange(7)[:, None] < [7, 4, 5]
    trained = sets.InEveryKey(model)

    def forward():
        trained.set_rng(np.random.default_rng(5))
        return trained.forward(*rolls, lengths=lengths)

    def loss():
        return sets.loss(forward()[0], v, mask)[0]

    logits, backward = forward()
    np.testing.assert_array_equal(trained(*rolls, lengths=lengths), model(*rolls, lengths=lengths))
    ups = np.random.default_rng(5).integers(-6, 6, 3)
    assert len(set(ups)) == 3
    for b, (up, length) in enumerate(zip(ups, lengths, strict=True)):
        alone = model(*(np.roll(roll[:length, b : b + 1], up, axis=2) for roll in rolls))
        np.testing.assert_allclose(logits[:length, b], np.roll(alone[:, 0], -up, axis=1), rtol=1e-12)
    backward(sets.loss(logits, v, mask)[1])
    for name, parameter in model.named_parameters():
        direction = np.random.default_rng(6).standard_normal(parameter.data.shape)
        expected = directional_difference(loss, parameter, direction)
        np.testing.assert_allclose((parameter.grad * direction).sum(), expected, rtol=1e-5, atol=1e-9, err_msg=name)
        assert np.abs(parameter.grad).max() > 1e-6, name


@pytest.mark.parametrize("nade", [0, 3])
def test_likelihoods_are_means_over_steps_from_the_second(nade):
    model = sets.build(4, 0.5, nade, seed=1)
    rolls = [repeating(T, 1, seed=T)[:, 0] for T in (9, 4)]
    sums = []
    for roll in rolls:
        logits = model(roll[:-1, None], roll[1:, None]) if nade else model(roll[:-1, None])
        p = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
        sums.append(-np.log(np.where(roll[1:] == 1, p, 1 - p)).sum())
    over_steps, over_pieces = sets.nll(model, rolls)
    assert over_steps == pytest.approx(sum(sums) / 11, rel=1e-6)
    assert over_pieces == pytest.approx((sums[0] / 8 + sums[1] / 3) / 2, rel=1e-6)


def test_the_bias_starts_at_the_log_odds_of_each_key():
    model, rolls = sets.build(4, 0.0), [repeating(T, 1, seed=T)[:, 0] for T in (9, 4)]
    sets.start_from_frequencies(model, rolls)
    down = np.concatenate(rolls).sum(axis=0)
    bias = dict(model.named_parameters())["keys.bias"].data
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), (down + 0.5) / 14, rtol=1e-5)


def _write(path, **pieces):
    np.savez(path, **{f"{name}_{i}": roll for name, rolls in pieces.items() for i, roll in enumerate(rolls)})
    return str(path)


@pytest.mark.parametrize("nade", [[], pytest.param(["--nade", "8"], marks=pytest.mark.slow)])
def test_one_command_trains_saves_and_measures(tmp_path, capsys, nade):
    pieces = [np.tile(np.roll(np.eye(88, dtype=np.uint8)[30:70:8], i, axis=1), (5, 1)) for i in range(20)]
    data = _write(tmp_path / "data.npz", train=pieces[:12], valid=pieces[12:16])
    other = _write(tmp_path / "other.npz", test=pieces[16:])
    words = f"--npz {data} --out {tmp_path / 'run'} --hidden 24 --dropout 0 --steps 90 --batch 4 --lr 0.02".split()
    found = piano.main(piano.parse(words + nade))
    assert set(found) == {"train", "valid"}
    assert found["valid"] < 0.5 * min(piano.baselines(pieces[:12], pieces[12:16]).values())
    said = capsys.readouterr().out
    assert f"{found['valid']:7.3f}  valid" in said
    assert "train: 12 pieces, 288 steps to predict" in said
    assert (tmp_path / "run" / "curve.png").stat().st_size > 1000
    measured = piano.main(piano.parse(["--evaluate", str(tmp_path / "run"), "--npz", other]))
    model = fastrnn.load_model(tmp_path / "run" / "model.safetensors", custom={"RollFeatures": features.RollFeatures})
    assert measured == {"test": sets.nll(model, [roll.astype(np.float32) for roll in pieces[16:]])[0]}
    assert f"{measured['test']:7.3f}  test" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"run/model\.safetensors: the file exists already; --overwrite replaces it"):
        piano.main(piano.parse(words))


ROLL = np.zeros((3, 88), np.uint8)


@each_row(
    ("arrays", "message"),
    [
        ({"train_0": ROLL}, r"data\.npz must have the arrays valid_0, valid_1 and so on, got train"),
        ({"chords": ROLL}, r"data\.npz: arrays must be named train_0, valid_0 and so on, got 'chords'"),
        ({"train_0": ROLL[:, :12]}, r"npz: train_0 must be a roll \[T, 88\] of at least two steps, got uint8 \(3, 12\)"),
        ({"train_0": ROLL[:1]}, r"of at least two steps, got uint8 \(1, 88\)"),
        ({"train_0": ROLL + 2}, r"data\.npz: train_0 must hold only 0 and 1, got 2"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(arrays, message, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    np.savez(folder / "data.npz", **arrays)
    with pytest.raises(SystemExit, match=message):
        piano.main(piano.parse(["--npz", str(folder / "data.npz"), "--out", str(folder / "run")]))


def test_what_is_no_file_of_arrays_is_named(tmp_path):
    (tmp_path / "data.npz").write_text("chords")
    for path, message in (("data.npz", "must be a file of arrays"), ("none.npz", "No such file")):
        with pytest.raises(SystemExit, match=message):
            piano.main(piano.parse(["--npz", str(tmp_path / path), "--evaluate", str(tmp_path)]))


@each_row(
    ("words", "message"),
    [
        ([], "exactly one of FOLDER and --npz FILE must be given"),
        (["x", "--npz", "y"], "exactly one of FOLDER and --npz FILE must be given"),
        (["x", "--evaluate", "y"], "--evaluate needs --npz FILE"),
    ],
)
def test_words_that_do_not_fit(words, message, capsys):
    with pytest.raises(SystemExit):
        piano.parse(words)
    assert message in capsys.readouterr().err
