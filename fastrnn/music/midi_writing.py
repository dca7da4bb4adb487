"""Writing pieces as MIDI files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._core import checks
from ..serialization import write_atomically
from ._midi.grid import RESOLUTION, swung
from ._midi.tracks import DRUMS, MARKED
from .midi import library
from .piece import HARDEST, STRAIGHT, TICKS, Part, Piece, pickup_length, separated

_CHANNELS = [channel for channel in range(16) if channel != DRUMS]


def write_midi(path: str | Path, piece: Piece, *, swing: float | None = None) -> None:
    """Write ``piece`` to a MIDI file of type 1, atomically: a track of metres, tempos and chord symbols, then one per part.

    Parameters
    ----------
    path
        The file.
    piece
        Chord symbols become markers, and a text event says so. More than fifteen pitched parts share channels by program.
        More than fifteen programs share channels too (the sixteenth with the first and so on), so such a file sounds wrong.
    swing
        The place of an off-beat eighth in its beat, 0.5..0.72: 0.5 is straight, 2/3 as in triplets. The notes in between
        are moved along, but a beat in which a part has triplets stays straight. None takes the piece's own swing.

    Raises
    ------
    ValueError
        If ``swing`` is out of range, or MIDI cannot represent a metre or a tempo.
    OSError
        If the file cannot be written.
    """
    write_atomically(path, midi_bytes(piece, swing=swing))


def midi_bytes(piece: Piece, *, swing: float | None = None) -> bytes:
    """Return the bytes of the file that :func:`write_midi` writes. Raises ValueError."""
    swing = piece.swing if swing is None else checks.number("swing", swing, STRAIGHT, HARDEST)
    check_writable(piece)
    mido = library()
    file = mido.MidiFile(type=1, ticks_per_beat=RESOLUTION, charset="utf-8")
    scale = RESOLUTION // TICKS
    end, start = piece.length * scale, pickup_length(piece.metres)
    file.tracks.append(_track(mido, _timing(mido, piece, scale), end))
    for part, channel in zip(piece.parts, _channels(piece.parts), strict=True):
        file.tracks.append(_track(mido, _part(mido, part, channel, swing, start), end))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def check_writable(piece: Piece) -> None:
    """Raise ValueError if MIDI cannot represent a metre or a tempo."""
    for _, numerator, denominator in piece.metres:
        if numerator > 255 or denominator & (denominator - 1) or denominator > 64:
            raise ValueError(f"a metre of {numerator}/{denominator} cannot be written as MIDI")
    for _, bpm in piece.tempos:
        if not 0.5 < 6e7 / bpm < 2**24 - 0.5:  # microseconds a quarter: an integer in 1..2**24 - 1
            raise ValueError(f"a tempo of {bpm:g} quarters a minute cannot be written as MIDI")


def _channels(parts: Sequence[Part]) -> list[int]:
    """Return the channel of each part: its own, or its program's if there are too few channels."""
    pitched = [part.program for part in parts if not part.is_drum]
    sharers = pitched if len(pitched) > len(_CHANNELS) else list(range(len(pitched)))
    numbers = {sharer: number for number, sharer in enumerate(dict.fromkeys(sharers))}
    channels = iter([_CHANNELS[numbers[sharer] % len(_CHANNELS)] for sharer in sharers])
    return [DRUMS if part.is_drum else next(channels) for part in parts]


def _part(mido: Any, part: Part, channel: int, swing: float, start: int) -> list[tuple[int, int, Any]]:
    notes = separated(part.notes)
    events = [(0, 0, mido.MetaMessage("track_name", name=part.name))] if part.name else []
    events.append((0, 1, mido.Message("program_change", channel=channel, program=part.program)))
    straight = np.array([(note.onset, note.end) for note in notes], np.int64).reshape(-1, 2)
    onsets, ends = swung(straight[:, 0], straight[:, 1], swing, start)
    for note, onset, end in zip(notes, onsets.tolist(), ends.tolist(), strict=True):
        strike = mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity)
        release = mido.Message("note_off", channel=channel, note=note.pitch, velocity=0)
        events += [(onset, 3, strike), (end, 2, release)]  # at one tick releases come before strokes
    return events


def _timing(mido: Any, piece: Piece, scale: int) -> list[tuple[int, int, Any]]:
    events = []
    for tick, numerator, denominator in piece.metres:
        message = mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator)
        events.append((tick * scale, 0, message))
    for tick, bpm in piece.tempos:
        events.append((tick * scale, 1, mido.MetaMessage("set_tempo", tempo=round(6e7 / bpm))))
    if piece.chords:
        events.append((0, 2, mido.MetaMessage("text", text=MARKED)))
    for tick, chord in piece.chords:
        events.append((tick * scale, 2, mido.MetaMessage("marker", text=chord.symbol)))
    return events


def _track(mido: Any, events: list[tuple[int, int, Any]], end: int) -> Any:
    """Make a track of events (tick, rank, message); at one tick lower ranks come first."""
    track = mido.MidiTrack()
    before = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        message.time = tick - before
        before = tick
        track.append(message)
    track.append(mido.MetaMessage("end_of_track", time=max(end - before, 0)))
    return track
