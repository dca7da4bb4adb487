"""Music: MIDI files, pieces on a grid, tokens for models, chords.

Nothing is imported here, so that ``import fastrnn`` stays light.
"""
