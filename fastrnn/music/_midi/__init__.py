"""MIDI files into songs."""
