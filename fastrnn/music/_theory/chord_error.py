"""The error of a chord symbol or a line of changes that does not parse."""

from __future__ import annotations


class ChordError(ValueError):
    """A chord symbol or a line of changes that does not parse; the message shows where, with a caret below the place."""

    def __init__(self, fault: str, text: str, position: int) -> None:
        """``position`` is the index of the offending character in ``text``; its line, or what is near, is shown."""
        start = text.rfind("\n", 0, position) + 1
        line = text[start:].split("\n", 1)[0]
        first = max(0, min(position - start - _SHOWN_BEFORE, len(line) - _SHOWN))
        shown = "".join(map(_visible, line[first : first + _SHOWN]))
        dots = ("…" if first else "", "…" if first + _SHOWN < len(line) else "")
        before = "".join("\t" if c == "\t" else " " for c in dots[0] + shown[: position - start - first])
        super().__init__(f"{fault}\n  {dots[0]}{shown}{dots[1]}\n  {before}^")
        self.fault, self.text, self.position = fault, text, position


_SHOWN, _SHOWN_BEFORE = 100, 60  # of a long line: the characters that are shown, and those of them before the place


def _visible(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return " " if character.isspace() else "\ufffd"
