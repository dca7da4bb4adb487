"""The error of a chord symbol or a line of changes that does not parse."""

from __future__ import annotations


class ChordError(ValueError):
    """A chord symbol or a line of changes that does not parse; a caret in the message marks the place."""

    def __init__(self, fault: str, text: str, position: int) -> None:
        """Build the message from the fault and the line (or part of it) with the character ``text[position]``."""
        start = text.rfind("\n", 0, position) + 1
        line = text[start:].split("\n", 1)[0]
        first = max(0, min(position - start - _SHOWN_BEFORE, len(line) - _SHOWN))
        shown = "".join(map(_visible, line[first : first + _SHOWN]))
        dots = ("…" if first else "", "…" if first + _SHOWN < len(line) else "")
        before = "".join("\t" if c == "\t" else " " for c in dots[0] + shown[: position - start - first])
        super().__init__(f"{fault}\n  {dots[0]}{shown}{dots[1]}\n  {before}^")
        self.fault, self.text, self.position = fault, text, position


_SHOWN, _SHOWN_BEFORE = 100, 60  # the characters shown of a long line, and how many of them precede the place


def _visible(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return " " if character.isspace() else "\ufffd"
