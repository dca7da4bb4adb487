"""The table of what comes back from tokens of real MIDI files: python docs/figures/round_trip.py FOLDER

Each file is read, encoded, decoded and written to MIDI again: once a part at a time (a piano's hands apart), once with all
parts merged into one instrument. A note of the file has come back when there is one with its pitch, onset and duration, each
rounded to 12 ticks a quarter. The errors are how far the onsets and ends that come back lie from those in the file, in ms at
its tempo: that is what the grid costs. The file's own notes are taken from mido, and not from the reader that is examined.
"""

import sys
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np

from fastrnn.music.midi import parse_midi, read_midi
from fastrnn.music.midi_folder import midi_files
from fastrnn.music.midi_writing import midi_bytes
from fastrnn.music.piece import TICKS, merged
from fastrnn.music.tokens import decode, encode
from fastrnn.music.vocabulary import PartVocabulary

VOCABULARY = PartVocabulary(polyphonic=True)
HEAD = ("file", "notes", "tokens", "hands apart", "both in one", "onset error", "end error", "a tick")


def raw_notes(path):
    """``[N,4]``: track, pitch, onset, end of a file's notes, in quarters; a release ends the note that was struck first."""
    file, notes = mido.MidiFile(path), []
    for number, track in enumerate(file.tracks):
        at, sounding = 0, {}
        for message in track:
            at += message.time
            if message.type == "note_on" and message.velocity:
                sounding.setdefault((message.channel, message.note), []).append(at)
            elif message.type in ("note_on", "note_off") and sounding.get((message.channel, message.note)):
                onset = sounding[message.channel, message.note].pop(0)
                notes.append((number, message.note, onset / file.ticks_per_beat, at / file.ticks_per_beat))
    return np.array(notes)


def came_back(piece, parts):
    """Return the notes of the parts after they were tokens: the set of (part, pitch, onset, duration)."""
    decoded = tuple(decode(encode(part, VOCABULARY), VOCABULARY) for part in parts)
    back = parse_midi(midi_bytes(replace(piece, parts=decoded)))
    return {(k, note.pitch, note.onset, note.duration) for k, part in enumerate(back.parts) for note in part.notes}


def row(path):
    piece = read_midi(path)
    apart, together = came_back(piece, piece.parts), came_back(piece, [merged(piece.parts)])
    raw = raw_notes(path)
    track = np.unique(raw[:, 0], return_inverse=True)[1]
    grid = np.floor(raw[:, 2:] * TICKS + 0.5).astype(int)
    notes = [(int(pitch), int(on), max(int(off - on), 1)) for pitch, (on, off) in zip(raw[:, 1], grid, strict=True)]
    shares = [
        np.mean([(int(k), *note) in apart for k, note in zip(track, notes, strict=True)]),
        np.mean([(0, *note) in together for note in notes]),
    ]
    ms = 60_000 / piece.tempos[0][1]
    error = np.abs(raw[:, 2:] - grid / TICKS) * ms
    errors = [f"{mean:.1f} ({most:.1f})" for mean, most in zip(error.mean(0), error.max(0), strict=True)]
    tokens = len(encode(merged(piece.parts), VOCABULARY))
    return path.stem, f"{len(raw):,}", f"{tokens:,}", *(f"{share:.2%}" for share in shares), *errors, f"{ms / TICKS:.1f}"


def main(folder):
    for cells in (HEAD, ["---", *["--:"] * (len(HEAD) - 1)], *map(row, midi_files(Path(folder))[0])):
        print("|", " | ".join(cells), "|")
    print("\nErrors in ms: mean (largest).")


if __name__ == "__main__":
    main(sys.argv[1])
