"""MIDI files of one part."""

from fastrnn.music.midi_writing import write_midi
from fastrnn.music.piece import Part, Piece


def part_file(folder, *notes, name="lick", **given):
    """Write a MIDI file of one part with these notes and return its path; ``given`` has further fields of the piece."""
    path = folder / f"{name}.mid"
    write_midi(path, Piece((Part(name, 56, notes=notes),), **given))
    return path
