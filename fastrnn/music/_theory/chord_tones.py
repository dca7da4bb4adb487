"""The tones of a chord while its symbol is read, and the effect of numbers on them."""

from __future__ import annotations

from .chord_parts import ALTERED, DEGREES, STACKS


class Tones:
    """The tones that the parts of a symbol have named so far.

    Each method that takes a number returns ``following``, the place after it, or None if the number has no meaning there.
    """

    def __init__(self) -> None:
        self.kinds: set[str] = set()  # of the parts so far
        self.third, self.third_sounds = 4, True
        self.fifths: set[int] = set()  # empty: a perfect one
        self.fifth_sounds = True
        self.seventh: int | None = None
        self.seventh_named = False  # True after an explicit 7, not after a 9 or a kind of chord
        self.kind_of_seventh = 10  # the seventh that a number adds
        self.number_given = ""  # the chord's number
        self.stack: set[int] = set()  # tones that the chord's number implies
        self.added: set[int] = set()  # tones that are named
        self.major_at = -1  # the place of a "maj" that still lacks its number

    def intervals(self) -> set[int]:
        """Return the tones in semitones above the root."""
        found = {0} | self.stack | self.added
        if self.third_sounds and not (5 in self.stack and self.third == 4 and self.seventh == 10):  # C11
            found.add(self.third)
        if self.fifth_sounds:
            found |= self.fifths or {7}
        if self.seventh is not None:
            found.add(self.seventh)
        return found

    def major_seventh(self, following: int) -> int | None:
        """Read 7M, 7maj, or a 7+ that adds a tone."""
        self.keep_diminished_seventh()
        if self.seventh_named or self.kinds & {"major", "half", "dominant", "altered"}:
            return None
        self.kinds.add("major")
        self.seventh, self.seventh_named = 11, True
        self.number_given = self.number_given or "7"
        return following

    def keep_diminished_seventh(self) -> None:
        """Turn a diminished seventh into an added tone, so that a major seventh may follow: C°7(maj7) has both."""
        if self.seventh == 9:
            self.added.add(9)
            self.seventh, self.seventh_named = None, False

    def chords_number(self, digits: str, following: int, own: bool) -> int | None:
        """Take the chord's number; ``own`` is True if a "maj" stands before it."""
        odd = self.kinds & {"alteration", "add", "omit", "altered"}
        if (odd and digits != "7" and not own) or (own and digits in ("5", "4")):
            return None
        self.major_at = -1
        if digits == "5":
            if self.kinds - {"diminished", "augmented"}:
                return None
            self.third_sounds = bool(self.kinds)  # C5 has no third, Cdim5 has one
        elif digits in ("7", *STACKS):
            self.seventh = self.kind_of_seventh if self.seventh is None else self.seventh
            self.seventh_named = digits == "7" or own
            self.stack |= STACKS.get(digits, set())
        elif self.tone(digits, following) is None:
            return None
        self.number_given = digits
        return following

    def tone(self, digits: str, following: int) -> int | None:
        """Take a number that adds one tone; a four suspends a major third."""
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
        """Add an altered degree."""
        interval, degree = ALTERED[name], name[1:]
        if degree != "5":
            if degree == "11" == self.number_given:  # C11+ and C11# are C7(#11)
                self.stack.clear()
            elif degree in STACKS:
                self.stack.discard(DEGREES[degree])
            return self.name_tone(interval, following)
        against = {"#5": {"diminished", "half"}, "b5": {"augmented"}}[name]
        if self.kinds & against or not self.fifth_sounds or self.number_given == "5" or interval in self.fifths:
            return None
        self.fifths.add(interval)
        return following

    def name_tone(self, interval: int, following: int) -> int | None:
        """Add a tone, unless it was named before."""
        if interval in self.added:
            return None
        self.added.add(interval)
        return following
