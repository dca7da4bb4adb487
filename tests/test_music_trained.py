"""Music of trained models: solos over changes after the embedded choruses, two hands after piano pieces."""

import csv

import mido
import numpy as np
import pytest
from command_line import execute
from ragtime import rag

from fastrnn.commands._screen.music_output import instrument_for
from fastrnn.music._midi.hands import LEFT, RIGHT
from fastrnn.music._output.statistics import longest_match, melody_statistics
from fastrnn.music._theory.instruments import INSTRUMENTS
from fastrnn.music.midi import read_midi
from fastrnn.music.midi_writing import write_midi
from fastrnn.music.run_folder import load_config, load_player

# A slow, busy machine trains for ten minutes, and the first test's time includes that.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def _losses(run):
    """Return the best held-out loss, and those of the unigram and the bigram model."""
    with open(run / "metrics.csv", newline="") as file:
        return min(float(row["val_loss"]) for row in csv.DictReader(file)), load_config(run).baselines


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """Run ``fastrnn train jazz`` with all defaults; return the run folder."""
    folder = tmp_path_factory.mktemp("jazz") / "run"
    execute("train", "jazz", "--out", folder)
    return folder


@pytest.fixture(scope="module")
def piano(tmp_path_factory):
    """Train on piano pieces in several keys, from files without chord symbols; return the run folder."""
    folder = tmp_path_factory.mktemp("rags")
    (folder / "midi").mkdir()
    for number, key in enumerate((0, 5, 7, 10, 3, 8, 2, 0, 5, 7, 10, 3)):
        write_midi(folder / "midi" / f"{number}.mid", rag(key, number))
    small = ["--hidden", 64, "--layers", 1, "--embedding", 32, "--batch", 8, "--seq-length", 128, "--dropout", 0.1]
    steps = ["--max-steps", 200, "--eval-every", 50, "--lr", 0.01, "--val-fraction", 0.2]
    execute("train", "jazz", folder / "midi", "--voices", "all", *small, *steps, "--out", folder / "run")
    return folder / "run"


def _solo(run, out, *options):
    """Run ``fastrnn improvise``; return the solo without accompaniment, on the grid."""
    execute("improvise", run, *options, "--swing", 0.5, "--no-comping", "--no-bass", "--out", out)
    piece = read_midi(out)
    assert [part.name for part in piece.parts] == ["solo"]
    return piece


def _keystrokes(path):
    """Return (tick, whether it is struck or released, pitch) of all keys, in the order of the file."""
    at, found = 0, []
    for message in mido.merge_tracks(mido.MidiFile(path).tracks):
        at += message.time
        if message.type in ("note_on", "note_off"):
            found.append((at, message.type == "note_on", message.note))
    return sorted(found)


def test_the_embedded_choruses_are_learned_far_better_than_by_a_bigram(embedded):
    loss, counted = _losses(embedded)
    assert loss < counted["bigram"] - 0.5


@pytest.mark.parametrize(("changes", "key", "choruses"), [("blues", "F", 4), ("ii-V-I", "Eb", 8)])
def test_solos_keep_to_the_chords_and_copy_little(embedded, tmp_path, changes, key, choruses):
    """The temperature is 1, as in the command. Chord tones are a mean over twelve solos: one alone varies by 7 points."""
    player = load_player(embedded)
    songs, instrument = player.songs.train, instrument_for(player, None)
    options = ["--changes", changes, "--key", key, "--choruses", choruses, "--temperature", 1]
    solos = [_solo(embedded, tmp_path / f"{seed}.mid", *options, "--seed", seed) for seed in range(12)]
    strong = np.mean([melody_statistics([piece]).chord_tones_strong for piece in solos])
    assert abs(strong - melody_statistics([song.piece for song in songs]).chord_tones_strong) < 0.1
    for piece in solos:
        assert longest_match(piece.parts[0], [song.part for song in songs]).bars < 2  # four choruses take 0.24 s
        assert all(instrument.low <= note.pitch <= instrument.high for note in piece.parts[0].notes)


def test_no_note_is_outside_the_range_of_the_instrument(embedded, tmp_path):
    for name, instrument in INSTRUMENTS.items():
        options = ["--changes", "ii-V-I", "--key", "Eb", "--temperature", 1, "--seed", 0, "--instrument", name]
        (part,) = _solo(embedded, tmp_path / f"{name}.mid", *options).parts
        assert part.program == instrument.program
        assert all(instrument.low <= note.pitch <= instrument.high for note in part.notes), name


def test_piano_pieces_are_learned_better_than_by_a_bigram(piano):
    loss, counted = _losses(piano)
    assert loss < counted["bigram"] / 2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("command", [["improvise", "--changes", "C | A7 | D7 | G7 | C | F | C G7 | C"], ["sample"]])
def test_a_piano_is_played_with_two_hands_and_ten_fingers_at_most(piano, tmp_path, command, seed):
    name, *options = command
    execute(name, piano, *options, "--seed", seed, "--out", tmp_path / "solo.mid")
    hands = {part.name: part.notes for part in read_midi(tmp_path / "solo.mid").parts}
    assert hands.keys() == {RIGHT, LEFT}
    assert min(map(len, hands.values())) > 8
    assert np.mean([note.pitch for note in hands[RIGHT]]) > np.mean([note.pitch for note in hands[LEFT]]) + 12
    down = set()  # keys, whichever hand holds them
    for _, struck, key in _keystrokes(tmp_path / "solo.mid"):
        assert (key in down) != struck
        down ^= {key}
        assert len(down) <= 10
    assert not down
