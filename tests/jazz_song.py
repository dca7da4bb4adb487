"""A song for tests of jazz models."""

import numpy as np

from fastrnn.music._midi import songs
from fastrnn.music.changes import parse_changes
from fastrnn.music.piece import Note, Part, Piece


def song(seed=0, bars=4, polyphonic=False, low=60, high=72, title="song"):
    """Return a song of chord tones in eighths with rests, over ii-V-I."""
    rng = np.random.default_rng(seed)
    changes = parse_changes("Dm7 | G7 | Cmaj7 | %").choruses(-(-bars // 4))
    piece = Piece(chords=changes.chords, length=bars * 48)
    notes = []
    for onset in range(0, bars * 48, 6):
        chord = piece.chords[int(piece.chord_at(onset))][1]
        tones = [pitch for pitch in range(low, high + 1) if pitch % 12 in chord.pitch_classes]
        if rng.random() < 0.7:
            count = 2 if polyphonic and rng.random() < 0.3 else 1
            notes += [Note(onset, 6, int(pitch)) for pitch in rng.choice(tones, count, replace=False)]
    return songs.Song(title, Piece((Part("melody", 66, notes=tuple(notes)),), chords=piece.chords, length=piece.length))
