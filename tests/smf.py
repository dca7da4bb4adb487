"""MIDI files made byte by byte, so that the tests of the reader do not depend on the library that it uses."""

import struct


def number(value):
    """Return a number in MIDI's encoding of variable length."""
    out = [value & 127]
    while value := value >> 7:
        out.append(value & 127 | 128)
    return bytes(reversed(out))


def track(*events):
    """Return a track chunk of events (ticks since the last one, bytes); End of Track is added if it is missing."""
    data = b"".join(number(delta) + body for delta, body in events)
    if not events or events[-1][1] != END:
        data += number(0) + END
    return b"MTrk" + struct.pack(">L", len(data)) + data


def midi(*tracks, type=1, per_quarter=480):
    return b"MThd" + struct.pack(">LHHH", 6, type, len(tracks), per_quarter) + b"".join(tracks)


def chunk(name, content, order="big"):
    """Return a chunk of any kind; ``name`` has four bytes."""
    return name + len(content).to_bytes(4, order) + content


def riff(data):
    """Return a RIFF file with ``data`` behind a chunk of odd length."""
    title = chunk(b"DISP", b"a name!", "little") + b"\0"
    return chunk(b"RIFF", b"RMID" + title + chunk(b"data", data, "little"), "little")


def on(pitch, velocity=80, channel=0):
    return bytes([0x90 | channel, pitch, velocity])


def off(pitch, channel=0):
    return bytes([0x80 | channel, pitch, 64])


def program(number, channel=0):
    return bytes([0xC0 | channel, number])


def meta(kind, data):
    return b"\xff" + bytes([kind]) + number(len(data)) + data


def name(text):
    return meta(3, text.encode())


def marker(text):
    return meta(6, text.encode())


def text(text):
    return meta(1, text.encode())


def lyric(text):
    return meta(5, text.encode())


def tempo(bpm):
    return meta(0x51, round(6e7 / bpm).to_bytes(3, "big"))


def metre(numerator, power):
    return meta(0x58, bytes([numerator, power, 24, 8]))


END = meta(0x2F, b"")
# Two quarters, middle C and E, on one track.
SCALE = midi(track((0, on(60)), (480, off(60)), (0, on(64)), (480, off(64))))
