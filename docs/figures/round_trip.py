"""The table of docs/jazz.md: what of real MIDI files comes back from tokens.  python docs/figures/round_trip.py FOLDER

Each file is read, all of its parts are merged into one (a piano's hands), encoded, decoded and written to MIDI. Notes of the file
are paired with those that come back by pitch and by their order within it. "exact": pitch, onset and duration are those of the
grid, that is of the file rounded to 12 ticks a quarter. The errors are those of the grid itself: how far the onsets and ends in the
file lie from it, in ms at the file's own tempo.
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


def raw_notes(path):
    """(pitch, onset, end) of a file's notes in quarters, as mido has them, a first release ending the first note struck."""
    file, notes = mido.MidiFile(path), []
    for track in file.tracks:
        at, sounding = 0, {}
        for message in track:
            at += message.time
            if message.type == "note_on" and message.velocity:
                sounding.setdefault((message.channel, message.note), []).append(at)
            elif message.type in ("note_on", "note_off") and sounding.get((message.channel, message.note)):
                onset = sounding[message.channel, message.note].pop(0)
                notes.append((message.note, onset / file.ticks_per_beat, at / file.ticks_per_beat))
    return np.array(sorted(notes))


def figures(path):
    """Notes in the file; those struck twice at once in it; share that comes back; mean and largest error of onset, end in ms."""
    piece = read_midi(path)
    part = merged(piece.parts)
    tokens = encode(part, VOCABULARY)
    back = parse_midi(midi_bytes(replace(piece, parts=(decode(tokens, VOCABULARY),)))).parts[0]
    there = {(note.pitch, note.onset, note.duration) for note in back.notes}
    raw = raw_notes(path)
    onset, end = np.floor(raw[:, 1:].T * TICKS + 0.5).astype(int)
    came = [
        (int(p), int(o), int(max(e - o, 1))) in there for p, o, e in zip(raw[:, 0], onset, end, strict=True)
    ]
    struck = {(note.pitch, note.onset) for note in back.notes}
    kept = [(int(p), int(o)) in struck for p, o in zip(raw[:, 0], onset, strict=True)]
    ms = 60_000 / piece.tempos[0][1]
    error = np.abs(raw[:, 1:] * TICKS - np.stack([onset, end], 1)) / TICKS * ms
    return len(raw), len(part.notes), len(tokens), np.mean(kept), np.mean(came), *error.mean(0), *error.max(0), ms / TICKS
    

def main(folder):
    print("| file | notes | after merging | tokens | onset and pitch | and duration | onset error ms mean / max | end error ms | a tick ms |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: |")
    for path in midi_files(Path(folder)):
        n, m, tokens, kept, came, mean_on, mean_end, max_on, max_end, tick = figures(path)
        print(f"| {path.stem} | {n:,} | {m:,} | {tokens:,} | {kept:.2%} | {came:.2%} | {mean_on:.1f} / {max_on:.1f} | {mean_end:.1f} / {max_end:.1f} | {tick:.1f} |")


if __name__ == "__main__":
    main(sys.argv[1])
