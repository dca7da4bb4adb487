"""Run folders that many tests read and leave as they are: each test process trains them once, when a test asks for them."""

import contextlib
import io

import pytest
from command_line import CHARS, execute, train_chars, train_jazz

from fastrnn.music.corpus import tunes, write_files
from fastrnn.music.midi_writing import write_midi
from fastrnn.music.piece import Note, Part, Piece, transposed

PLAY = "".join(f"Speaker {i}:\nThis is what the number {i} has to say to all of you.\n\n" for i in range(60))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Train on the embedded names and return the run folder."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    small = ["--hidden", "16", "--layers", "1", "--batch", "8", "--eval-every", "5", "--max-steps", "5"]
    execute("train", "chars", *small, "--out", folder)
    return folder


@pytest.fixture(scope="session")
def names_run(tmp_path_factory):
    """Train on the embedded names for longer; return the run folder and the printed output."""
    folder = tmp_path_factory.mktemp("names") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as output:
        train_chars(*CHARS, "--max-steps", 30, "--out", folder)
    return folder, output.getvalue()


@pytest.fixture(scope="session")
def play_run(tmp_path_factory):
    """Train on a stream; the text is next to the run folder."""
    folder = tmp_path_factory.mktemp("play")
    (folder / "play.txt").write_text(PLAY)
    train_chars(folder / "play.txt", *CHARS, "--max-steps", 20, "--seq-length", 32, "--out", folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def choruses(tmp_path_factory):
    """Write 20 of the embedded choruses to files and return the folder: reading all of them takes a second."""
    folder = tmp_path_factory.mktemp("choruses")
    write_files(folder, tunes()[:20])
    return folder


@pytest.fixture(scope="session")
def jazz_run(choruses, tmp_path_factory):
    """Train on some choruses and return the run folder."""
    return train_jazz(tmp_path_factory.mktemp("jazz") / "run", choruses)


@pytest.fixture(scope="session")
def rags(tmp_path_factory):
    """Train on three pieces for piano in 2/4, whose first bar is in 4/4; return the run folder."""
    folder = tmp_path_factory.mktemp("rags")
    above = [Note(6 * i, 6, 72 + step) for i, step in enumerate([0, 4, 7, 12, 11, 7, 5, 2] * 6)]
    below = [Note(12 * i, 12, 40 + step) for i, step in enumerate([0, 12, 7, 12] * 6)]
    for i in range(3):
        hands = (Part(name, 0, notes=tuple(notes)) for name, notes in (("above", above), ("below", below)))
        parts = tuple(transposed(hand, i) for hand in hands)
        write_midi(folder / f"{i}.mid", Piece(parts, metres=((0, 4, 4), (48, 2, 4))))
    return train_jazz(folder / "run", folder)
