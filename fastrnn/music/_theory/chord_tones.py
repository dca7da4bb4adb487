"""The tones of a chord while its symbol is read, and what the numbers in the symbol mean for them."""

from __future__ import annotations

from .chord_parts import ALTERED, DEGREES, STACKS


class Tones:
    """The tones that the parts of a symbol have named so far.

    The methods take what a number says; they return ``following``, the place behind it, or None where it means nothing.
    """

    def __init__(self) -> None:
        self.seen: set[str] = set()  # kinds of parts
        self.third, self.third_sounds = 4, True
        self.fifths: set[int] = set()  # empty: a perfect one
        self.fifth_sounds = True
        self.seventh: int | None = None
        self.seventh_named = False  # by a 7 of its own, not by a 9 or by the kind of chord
        self.kind_of_seventh = 10  # which one a number adds
        self.number_given = ""  # the chord's number
        self.stack: set[int] = set()  # what the chord's number implies
        self.added: set[int] = set()  # what is named
        self.major_at = -1  # where a "maj" stands that no number has followed yet

    def intervals(self) -> set[int]:
        """The tones in semitones above the root."""
        found = {0} | self.stack | self.added
        if self.third_sounds and not (5 in self.stack and self.third == 4 and self.seventh == 10):  # C11
            found.add(self.third)
        if self.fifth_sounds:
            found |= self.fifths or {7}
        if self.seventh is not None:
            found.add(self.seventh)
        return found

    def major_seventh(self, following: int) -> int | None:
        """Read 7M, 7maj, and 7+ where a tone can be added."""
        if self.seventh_named or self.seen & {"major", "half", "dominant", "altered"}:
            return None
        self.seen.add("major")
        self.seventh, self.seventh_named = 11, True
        self.number_given = self.number_given or "7"
        return following

    def chords_number(self, digits: str, following: int, own: bool) -> int | None:
        """The chord's number, or (``own``) the number of a maj."""
        odd = self.seen & {"alteration", "add", "omit", "altered"}
        if (odd and digits != "7" and not own) or (own and digits in ("5", "4")):
            return None
        self.major_at = -1
        if digits == "5":
            if self.seen - {"diminished", "augmented"}:
                return None
            self.third_sounds = bool(self.seen)  # Cdim5 says which fifth it has
        elif digits in ("7", *STACKS):
            self.seventh = self.kind_of_seventh if self.seventh is None else self.seventh
            self.seventh_named = digits == "7" or own
            self.stack |= STACKS.get(digits, set())
        elif self.tone(digits, following) is None:
            return None
        self.number_given = digits
        return following

    def tone(self, digits: str, following: int) -> int | None:
        """A number that adds one tone; a four suspends a major third."""
        if digits == "7":
            if self.seventh is not None:
                return None
            self.seventh, self.seventh_named, self.major_at = self.kind_of_seventh, True, -1
            return following
        if digits == "5":
            return None
        if digits == "4" and self.third == 4:
            self.third_sounds = False
        return self.name_tone(DEGREES[digits], following)

    def alter(self, name: str, following: int) -> int | None:
        """Raise or lower a degree."""
        interval, degree = ALTERED[name], name[1:]
        if degree != "5":
            if degree == "11" == self.number_given:  # C11+ and C11# are C7(#11)
                self.stack.clear()
            elif degree in STACKS:
                self.stack.discard(DEGREES[degree])
            return self.name_tone(interval, following)
        against = {"#5": {"diminished", "half"}, "b5": {"augmented"}}[name]
        if self.seen & against or not self.fifth_sounds or self.number_given == "5" or interval in self.fifths:
            return None
        self.fifths.add(interval)
        return following

    def name_tone(self, interval: int, following: int) -> int | None:
        """Add a tone, unless it was named before."""
        if interval in self.added:
            return None
        self.added.add(interval)
        return following
