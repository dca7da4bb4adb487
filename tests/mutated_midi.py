"""Damaged MIDI files for the tests of the reader: ``python tests/mutated_midi.py FOLDER [COUNT]`` writes them to a folder.

A seed determines an undamaged file: tracks of notes with running status over SysEx, meta and system messages. Most files are
then damaged: bits are flipped, tails cut off, lengths wrong, bytes lost or doubled.
"""

import random
import sys
from pathlib import Path

import smf

BETWEEN = (  # events that change no note
    *(b"\xf0\x05\x7e\x7f\x09\x01\xf7", b"\xf0\x00", b"\xf7\x03\x90\x3c\x50", b"\xf8", b"\xf1\x05", b"\xf2\x01\x02", b"\xf6"),
    *(smf.text("Dm7"), smf.lyric("la"), smf.meta(0x59, b""), smf.meta(0x54, bytes([0, 75, 0, 0, 0])), smf.tempo(100)),
    *(smf.metre(3, 2), smf.meta(0x58, b"\x03\x02"), smf.meta(0x7F, b"\x43\x7b"), smf.meta(0x60, b"MTr")),
)


def sound_file(rng):
    """Return an undamaged file, and the notes of each track: sorted (onset, end, channel, pitch, velocity)."""
    drawn = [sound_track(rng) for _ in range(rng.randint(1, 4))]
    return smf.midi(*(chunk for chunk, _ in drawn), per_quarter=rng.choice((24, 96, 480))), [notes for _, notes in drawn]


def short_file(rng):
    """Return an undamaged file of one or two short tracks."""
    return smf.midi(*(sound_track(rng, 12)[0] for _ in range(rng.randint(1, 2))), per_quarter=rng.choice((24, 96, 480)))


def sound_track(rng, most=40):
    """Return a track chunk and its notes. A message omits its status if the last channel message had the same one."""
    out, notes, sounding, tick, last = [], [], [], 0, None
    for _ in range(rng.randint(5, most)):
        delta = rng.choice((0, 0, 10, 48, 120, 500))
        tick += delta
        kind = rng.choice(("on", "on", "off", "off", "between", "other"))
        if kind == "on":
            free = sorted(set(range(40, 80)) - {note[2] for note in sounding})
            note = (tick, rng.randint(0, 2), rng.choice(free), rng.randint(1, 127))
            sounding.append(note)
            message = smf.on(note[2], note[3], note[1])
        elif kind == "off" and sounding:
            note = sounding.pop(rng.randrange(len(sounding)))
            notes.append((note[0], tick, *note[1:]))
            message = smf.on(note[2], 0, note[1]) if rng.random() < 0.7 else smf.off(note[2], note[1])
        elif kind == "other":
            message = rng.choice((b"\xb0\x07\x64", b"\xe1\x00\x40", b"\xc2\x21", b"\xd0\x11", b"\xa0\x3c\x22"))
        else:
            out.append((delta, rng.choice(BETWEEN)))
            continue
        runs = message[0] == last and rng.random() < 0.8
        out.append((delta, message[1:] if runs else message))
        last = message[0]
    notes += [(note[0], tick, *note[1:]) for note in sounding]
    return smf.track(*out), sorted(notes)


def mutated(seed):
    """Return the file of a seed, damaged in the way that the seed determines."""
    rng = random.Random(seed)
    data = bytearray(sound_file(rng)[0])
    damage = DAMAGES[seed % len(DAMAGES)]
    damage(data, rng)
    return bytes(data)


def no_damage(data, rng):
    """Leave the file undamaged."""


def flip_bits(data, rng):
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut_tail(data, rng):
    del data[rng.randrange(4, len(data)) :]


def wrong_lengths(data, rng):
    """Change lengths of chunks as other programs do: 6 or 1,000 too long, too short, or zero."""
    place = 14 if rng.random() < 0.9 else 0
    while 0 <= place < len(data):
        right = int.from_bytes(data[place + 4 : place + 8], "big")
        wrong = rng.choice((right, right + 6, right + 1000, right // 2, right - 1, 0, 0xFFFFFFFF))
        data[place + 4 : place + 8] = max(wrong, 0).to_bytes(4, "big")
        place += 8 + right


def lose_and_double(data, rng):
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(4, len(data))
        if rng.random() < 0.5:
            del data[place : place + rng.randint(1, 4)]
        else:
            data[place:place] = data[place : place + rng.randint(1, 12)]


def odd_bytes(data, rng):
    """Insert bytes that have a meaning in MIDI files, anywhere behind the header."""
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(14, len(data))] = rng.choice((0, 0x2F, 0x7F, 0x80, 0x90, 0xA8, 0xC9, 0xF0, 0xF4, 0xF7, 0xFF))


def all_of_it(data, rng):
    for damage in rng.sample(DAMAGES[1:-1], 3):
        if len(data) > 20:
            damage(data, rng)


DAMAGES = (no_damage, flip_bits, cut_tail, wrong_lengths, lose_and_double, odd_bytes, all_of_it)

if __name__ == "__main__":
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        (folder / f"{seed:05}-{DAMAGES[seed % len(DAMAGES)].__name__}.mid").write_bytes(mutated(seed))
