"""The part of a chord symbol after its root: every character must be understood, or the symbol is refused.

A symbol is a sequence of parts. ``PARTS`` has a pattern for each kind of part, and the method of that name interprets it
after the parts before it. The method returns None if the part has no meaning there.

Numbers have two meanings. The first one outside parentheses and before any slash is the chord's number: ``9`` stacks a
seventh and a ninth. Any other number adds one tone: ``C/9`` and ``C(9)`` have no seventh. A sign before a number alters it.
A sign after a number alters it too, unless another number follows that it could alter. The chord's number has its own rules:
``7+`` has an augmented fifth; ``9+`` and ``13+`` are refused, because charts use each of them for two chords.
"""

from __future__ import annotations

import re
from typing import NoReturn

from .chord_error import ChordError
from .chord_parts import ALTERED, ASCII, DEGREES, DELTAS, MINUS, OF_KIND, PARTS, PLUS, SIGN, STACKS
from .chord_tones import Tones

_SUSPENDED = {"": 5, "4": 5, "2": 2, "#4": 6, "b2": 1}


def read_quality(text: str, start: int, root: re.Match[str], end: int, bass: re.Pattern[str]) -> tuple[set[int], int]:
    """Read the symbol ``text[start:end]`` from the end of its ``root`` to a slash and a note (``bass``), or to the end.

    Returns the chord's tones in semitones above the root, and the place of that slash or ``end``. Raises ChordError.
    """
    reader = _Reader(text, start, end)
    position = root.end()
    while position < end and not (text[position] == "/" and bass.fullmatch(text, position + 1, end)):
        position = reader.part(position)
    reader.finish(position)
    return reader.intervals(), position


class _Reader(Tones):
    """A parser that takes a symbol part by part."""

    def __init__(self, text: str, start: int, end: int) -> None:
        super().__init__()
        self.text, self.start, self.end = text, start, end
        self.before = ""  # the kind of the previous part, or its character if it is punctuation
        self.opened: int | None = None  # the place of an open parenthesis
        self.plus_at = -1  # the place of a plus
        self.last_number = 0

    def part(self, position: int) -> int:
        """Take the part at ``position``, and return the start of the next one."""
        for kind, pattern in PARTS:
            match = pattern.match(self.text, position, self.end)
            following = getattr(self, kind)(match) if match else None
            if following is not None:
                self.before = kind if kind != "punctuation" else self.text[position]
                if kind != "punctuation":
                    self.kinds.add(kind)
                return int(following)
        if self.before == "/":
            self.fail_at_bass(position)
        self.fail(position)

    def finish(self, position: int) -> None:
        """Apply the rules that need the whole symbol."""
        if self.opened is not None:
            raise ChordError("this parenthesis is not closed", self.text, self.opened)
        if self.before == "/":
            self.fail_at_bass(position)
        if self.major_at >= 0 and self.kinds & {"diminished", "augmented"}:
            raise ChordError("expected a number after this, such as maj7", self.text, self.major_at)
        if self.major_at >= 0 and self.third == 3 and self.seventh is None:
            self.seventh = 11  # Cm(maj)
        if self.plus_at >= 0 and self.third == 3 and self.seventh is not None:
            fault = "a plus in a minor seventh chord has two meanings: write m7#5 or m(maj7)"
            raise ChordError(fault, self.text, self.plus_at)

    def fail_at_bass(self, position: int) -> NoReturn:
        symbol = self.text[self.start : self.end]
        raise ChordError(f"expected the bass note after the slash in {symbol!r}", self.text, position)

    def fail(self, position: int) -> NoReturn:
        fault = f"{self.text[position : self.end]!r} is not a known part of a chord symbol"
        raise ChordError(fault, self.text, position)

    def fail_at_degree(self, match: re.Match[str]) -> NoReturn:
        raise ChordError(f"no chord has {match[0]}", self.text, match.start())

    # Parts: each method takes a match and returns the start of the next part, or None.

    def punctuation(self, match: re.Match[str]) -> int | None:
        sign, waits = match[0], self.before in ("(", ",", "/")
        if waits or (sign == "(" and self.opened is not None) or (sign in ")," and self.opened is None):
            return None
        if sign in "()":
            self.opened = match.start() if sign == "(" else None
        return match.end()

    def minor(self, match: re.Match[str]) -> int | None:
        return self.first(match, 3)

    def diminished(self, match: re.Match[str]) -> int | None:
        self.kind_of_seventh = self.kind_of_seventh if self.before else 9
        return self.first(match, 3, 6)

    def half(self, match: re.Match[str]) -> int | None:
        self.seventh = self.seventh if self.before else 10
        return self.first(match, 3, 6)

    def first(self, match: re.Match[str], third: int, *fifths: int) -> int | None:
        """Set a quality, which must stand right after the root."""
        if self.before:
            return None
        self.third = third
        self.fifths.update(fifths)
        return match.end()

    def major(self, match: re.Match[str]) -> int | None:
        delta = match[0] in DELTAS
        if self.kinds & {"major", "half", "altered", "dominant"}:
            return None
        number = OF_KIND["number"].match(self.text, match.end(), self.end)
        seventh = delta or (number and number[0] in ("7", *STACKS))
        if not seventh and self.kinds - {"minor", "diminished", "augmented"}:
            return None  # nothing here can be major
        if self.number_given:  # Cm6(maj7), Cm9(maj7)
            if seventh and self.before in ("(", ",", "/"):
                self.keep_diminished_seventh()
            if self.seventh_named or not seventh:
                return None
            self.seventh = None
        self.kind_of_seventh = 11
        self.major_at = match.start()
        if delta:  # without a number it means the seventh
            self.seventh, self.major_at = 11, -1
        return match.end()

    def dominant(self, match: re.Match[str]) -> int | None:
        return None if self.before else match.end()

    def augmented(self, match: re.Match[str]) -> int | None:
        if self.kinds & {"augmented", "half", "diminished", "alteration", "omit", "altered"}:
            return None
        if match[0] == PLUS:
            after_number = self.before == "number" and self.number_given in ("7", *STACKS)
            if self.before not in ("", "(", "minor", "major") and not after_number:
                return None
            self.check_plus(match, after_number)
            self.plus_at = match.start()
        self.fifths.add(8)
        return match.end()

    def check_plus(self, match: re.Match[str], after_number: bool) -> None:
        """Raise ChordError for a plus that raises the fifth in some charts and another degree in others."""
        symbol, whole = self.text[self.start : match.start()], self.text[self.start : self.end]
        if after_number and self.third == 4 and symbol.endswith("9"):
            readings = f"{symbol[:-1]}7#9 or {symbol}#5"
        elif after_number and self.third == 4 and symbol.endswith("13"):
            readings = f"{symbol} or {symbol}#5"
        elif degree := re.compile("11|4").match(self.text, match.end(), self.end):
            readings = f"{symbol}(#11) or {symbol}+({degree[0]})"
        else:
            return
        raise ChordError(f"the plus in {whole} has two meanings: write {readings}", self.text, match.start())

    def altered(self, match: re.Match[str]) -> int | None:
        if self.kinds - {"number"} or self.number_given not in ("", "7") or self.seventh not in (None, 10):
            return None
        self.seventh, self.seventh_named, self.fifth_sounds = 10, True, False
        self.added |= {1, 3, 6, 8}
        return match.end()

    def sus(self, match: re.Match[str]) -> int | None:
        interval = _SUSPENDED[(match[1] or "").translate(ASCII)]
        if (
            self.kinds & {"half", "diminished", "altered", "omit"}
            or self.number_given in ("5", "4", "2")
            or interval in self.added
        ):
            return None
        self.third_sounds = False
        self.added.add(interval)
        return match.end()

    def add(self, match: re.Match[str]) -> int | None:
        name = match[1].translate(ASCII) + match[2]
        interval = self.third if name == "3" else DEGREES[name] if not match[1] else ALTERED.get(name)
        if interval is None:
            self.fail_at_degree(match)
        return self.name_tone(interval, match.end())

    def omit(self, match: re.Match[str]) -> int | None:
        if match[1] == "3" and self.third == 4 and self.third_sounds and 5 not in self.stack:
            self.third_sounds = False
        elif match[1] == "5" and self.fifth_sounds and not self.fifths and self.number_given != "5":
            self.fifth_sounds = False
        else:
            return None
        return match.end()

    def alteration(self, match: re.Match[str]) -> int | None:
        name, degree = match[1].translate(ASCII) + match[2], match[2]
        alone = not self.number_given and self.opened is None and self.before != "/"
        if alone and degree != "5" and (match[1] == PLUS or (match[1] in MINUS and not self.before)):
            return None  # in C-9 and C+9 the sign is the quality, because no number precedes it
        if name not in ALTERED:
            self.fail_at_degree(match)
        return None if degree == self.number_given else self.alter(name, match.end())

    def number(self, match: re.Match[str]) -> int | None:
        digits, position = match[0], match.end()
        joined = self.before not in ("(", ")", ",", "/")
        own = self.major_at >= 0 and self.before == "major"
        main = own or (joined and self.opened is None and not self.number_given)
        if not main and joined and not self.may_follow(digits, position):
            return None
        sign = self.sign_after(digits, position, main, joined)
        if sign:
            following = self.signed(digits, sign, position + len(sign), main)
        else:
            following = self.chords_number(digits, position, own) if main else self.tone(digits, position)
        self.last_number = int(digits)
        return following

    # Numbers.

    def may_follow(self, digits: str, position: int) -> bool:
        """Return True if a number may directly follow the previous part, as in C69, C7913, C7M5+ and Csus24."""
        if self.before == "number":
            if digits == "5":
                return self.number_given == "7" and bool(re.fullmatch(SIGN, self.text[position : self.end]))
            return self.number_given in ("6", "7", "9", "11") and int(digits) > max(8, self.last_number)
        return self.before == "sus" and digits in ("2", "4")

    def sign_after(self, digits: str, position: int, main: bool, joined: bool) -> str:
        """Return the sign after a number, or the M of 7M; empty if nothing after it belongs to the number."""
        sign, prefix = self.text[position : self.end][:1], OF_KIND["alteration"].match(self.text, position, self.end)
        major = OF_KIND["major"].match(self.text, position, self.end)
        if major and (digits == "7" or (main and digits in STACKS)):
            before_number = self.text[major.end() : self.end][:1].isdigit()
            if not before_number or (digits == "7" and sign == "M"):
                return major[0]
        name = sign.translate(ASCII) + digits
        if main and sign == PLUS and digits in ("9", "13"):
            return ""
        if name not in ALTERED and (main or name != "#7"):
            return ""
        if digits != "5" and prefix and sign.translate(ASCII) + prefix[2] in ALTERED:
            if joined and not main and self.number_given == "7":  # C79b13: a flat ninth, or a flat thirteenth?
                self.fail(position)
            return ""
        return sign

    def signed(self, digits: str, sign: str, following: int, main: bool) -> int | None:
        """Take a number with the sign or the M after it."""
        if digits == "7" or sign.translate(ASCII) not in ("#", "b"):
            majored = self.major_seventh(following)
            return majored if digits == "7" or majored is None else self.chords_number(digits, following, True)
        name = sign.translate(ASCII) + digits
        if main and digits not in ("5", *STACKS):
            self.fail(following - 1)
        if digits == "5":
            self.kinds.add("alteration")
        elif main and self.chords_number(digits, following, False) is None:
            return None
        return self.alter(name, following)
