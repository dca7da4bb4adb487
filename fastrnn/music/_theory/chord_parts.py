"""The spellings of the parts of a chord symbol in several traditions, and the meaning of its numbers."""

from __future__ import annotations

import re

PLUS, MINUS = "+", "\u2010\u2011\u2012\u2013\u2212-"  # the hyphen is last, because elsewhere it makes a range
SIGN = f"[b♭#♯{PLUS}{MINUS}]"
NUMBER = "13|11|9|7|6|5|4|2"
ASCII = str.maketrans({"♯": "#", "♭": "b", "+": "#", **dict.fromkeys(MINUS, "b")})
DELTAS = "∆Δ△^"
# The order is that of matching: "maj" comes before "m", and "-9" (flat nine) before "-" (minor).
PARTS = [
    (kind, re.compile(pattern))
    for kind, pattern in [
        ("punctuation", r"[(),/]"),
        ("half", r"(?i:half-?dim(?:inished)?|hdim)|[øØ∅⌀h]"),
        ("alteration", rf"({SIGN})(13|11|9|6|5|4)"),
        ("major", rf"(?i:major|maj|ma(?!dd|ug|lt))|(?:mj|M[jJ])(?=\d)|M(?![iI])|[{DELTAS}]|(?<![mM])[jJ](?=\d)"),
        ("minor", rf"(?i:minor|min|mi)|m|[{MINUS}]"),
        ("diminished", r"(?i:diminished|dim)|[°º˚]|o(?!mit)"),
        ("augmented", r"(?i:augmented|aug)|\+"),
        ("dominant", r"(?i:dominant|dom)(?=7|9|11|13)"),
        ("sus", r"(?i:sus)([#♯]?4|[b♭]?2)?"),
        ("add", rf"(?i:add)({SIGN}?)(13|11|9|6|4|3|2)"),
        ("omit", r"(?i:no|omit)(3|5)(?:rd|th)?"),
        ("altered", r"(?i:altered|alt)"),
        ("number", NUMBER),
    ]
]
OF_KIND = dict(PARTS)
DEGREES = {"2": 2, "3": 4, "4": 5, "6": 9, "9": 2, "11": 5, "13": 9}  # semitones above the root
ALTERED = {"#4": 6, "b5": 6, "#5": 8, "b6": 8, "b9": 1, "#9": 3, "#11": 6, "b13": 8}
STACKS = {"9": {2}, "11": {2, 5}, "13": {2, 9}}  # the tones above the seventh
