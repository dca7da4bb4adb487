"""A plain reader of MIDI files, slow and short, with which the package's reader is compared.

It is written from the rules of the format and reads only notes. It shares no code with the package, and its only state is
the file and the place in it.
"""

OVER = "it goes over the end"


class Broken(Exception):
    """The next event cannot be found; the message says why."""


def plain_notes(data, longest=20_000):
    """Return each track's notes, sorted (onset, end, channel, pitch, velocity) in ticks; None if the file is not MIDI."""
    start = data.find(b"MThd\0\0\0\6")
    if data[:4] != b"MThd" and 0 < start <= 1024:
        data = data[start:]
    if data[:4] != b"MThd" or len(data) < 14:
        return None
    kind, count, per_quarter = (int.from_bytes(data[place : place + 2], "big") for place in (8, 10, 12))
    if (kind > 1 and (kind, count) != (2, 1)) or not 0 < per_quarter < 0x8000:
        return None
    tracks = []
    place = 8 + size_at(data, 4)
    if size_at(data, 4) < 6 or not chunk_at(data, place):
        place = 14
    while place + 8 <= len(data):
        if data[place : place + 4] == b"MTrk":
            notes, place = plain_track(data, place, longest * per_quarter)
            tracks.append(notes)
        elif chunk_at(data, place):
            place += 8 + size_at(data, place + 4)
        else:
            place = data.find(b"MTrk", place)
            if place < 0:
                break
    return tracks


def size_at(data, place):
    return int.from_bytes(data[place : place + 4], "big")


def chunk_at(data, place):
    name = data[place : place + 4]
    if place == len(data) or name == b"MTrk":
        return True
    return len(name) == 4 and all(32 <= byte < 127 for byte in name) and place + 8 + size_at(data, place + 4) <= len(data)


def plain_track(data, place, latest):
    """Return the notes of the track chunk at a place, and the place of the next chunk."""
    end = place + 8 + size_at(data, place + 4)
    bound = end
    if not chunk_at(data, end):
        bound = data.find(b"MTrk", place + 8)
        bound = len(data) if bound < 0 else bound
    at, tick, status, heard, sure, broken, ended = place + 8, 0, None, [], None, "", False
    while at < bound and not ended:
        try:
            delta, after = number_at(data, at, bound)
            if tick + delta > latest:
                raise Broken("it is too late")
            event, after, status, ended, odd = event_at(data, after, bound, status)
        except Broken as error:
            broken = str(error)
            break
        if odd and sure is None:
            sure = list(heard)
        at, tick = after, tick + delta
        heard.append((tick, *event))
    is_cut = not ended and bound == len(data) < end and broken in ("", OVER)
    if broken and not is_cut and sure is not None:  # the damage may begin at an invalid event
        heard = sure
    whole = not broken and not is_cut  # notes that sound where a track breaks have no end
    return sorted(notes_of(heard, tick if whole else None)), at if ended else bound


def number_at(data, at, bound):
    while at < bound and data[at] == 0x80:
        at += 1
    value, fourth = 0, at + 4
    for byte in data[at : min(fourth, bound)]:
        at += 1
        value = 128 * value + byte % 128
        if byte < 128:
            return value, at
    raise Broken("a number is too long" if at == fourth else OVER)


def event_at(data, at, bound, status):
    """Return an event (kind, ...), the place after it, the running status, whether it ends the track, whether it is odd."""
    if at >= bound:
        raise Broken(OVER)
    first, event, ended = data[at], None, False
    if first >= 0xF0:
        size = {0xF1: 1, 0xF2: 2, 0xF3: 1}.get(first, 0)
        at += 1
        if first == 0xFF:
            kind, at = data[at : at + 1], at + 1
        if first in (0xF0, 0xF7, 0xFF):
            size, at = number_at(data, at, bound)
        ended = first == 0xFF and kind == b"\x2f" and size == 0
        odd = first not in (0xF0, 0xF7, 0xFF)
        at += size
    else:
        if first >= 0x80:
            status, at = first, at + 1
        if status is None:
            raise Broken("it has no status")
        size = 1 if 0xC0 <= status < 0xE0 else 2
        event = channel_event(status, *data[at : at + size])
        odd = any(byte > 127 for byte in data[at : at + size])
        at += size
    if at > bound:
        raise Broken(OVER)
    return event or ("nothing",), at, status, ended, odd


def channel_event(status, *values):
    if len(values) < 2:
        return None
    kind, channel, (first, second) = status // 16, status % 16, values
    if kind == 9 and second and first < 128:
        return "on", channel, first, min(second, 127)
    if kind in (8, 9) and first < 128:
        return "off", channel, first
    if kind == 11 and first in (120, 123):
        return "stop", channel
    return None


def notes_of(heard, last):
    """Return the notes of a track's events (tick, kind, ...); ``last`` is its last tick, None if the track breaks off."""
    for channel, pitch in {event[2:4] for event in heard if event[1] == "on"}:
        stretch = []
        for tick, kind, *of in heard:
            if kind == "stop" and of == [channel]:
                yield from notes_of_key(stretch, channel, pitch, tick, True)
                stretch = []
            elif kind in ("on", "off") and of[:2] == [channel, pitch]:
                stretch.append((tick, *of[2:]))
        yield from notes_of_key(stretch, channel, pitch, last, last is not None)


def notes_of_key(stretch, channel, pitch, last, whole):
    """Return the notes of one key from its strokes (tick, velocity) and releases (tick,), up to the end of all notes."""
    waiting = []
    for place, event in enumerate(stretch):
        if len(event) == 2:
            behind = stretch[place + 1 :]
            if not whole or is_let_go(behind):
                waiting.append(event)
            else:
                ends = [later[0] for later in behind if len(later) == 1]
                yield event[0], (ends or [last])[0], channel, pitch, event[1]
        elif waiting:
            onset, velocity = waiting.pop(0)
            yield onset, event[0], channel, pitch, velocity


def is_let_go(behind):
    """Return whether, at some place after a stroke, more releases than strokes have followed it."""
    balance = 0
    for event in behind:
        balance += 1 if len(event) == 2 else -1
        if balance < 0:
            return True
    return False
