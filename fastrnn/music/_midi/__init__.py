"""Reading MIDI files as songs."""
