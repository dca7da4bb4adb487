"""Rules for or against an encoding, from the characters of a decoded text.

chardet learned from prose. It gives half-width katakana no probability at all, though old Japanese MIDI files use them for
most names. It cannot tell a single kanji from two odd symbols either. The rules here follow how such names are built.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_NO_TEXT = ("Co", "Cn", "Cc")  # private use, unassigned, control
_SYLLABLE = "(?:[ｷｼﾁﾆﾋﾐﾘ][ﾞﾟ]?[ｬｭｮ]|[ｼﾁ]ﾞ?ｪ|ﾃﾞ?[ｨｭ]|ﾄﾞ?ｩ|ﾌ[ｧｨｪｫｭ]|ｳﾞ[ｧｨｪｫ]|ｳ[ｨｪｫ]|[ﾂｸ][ｧｨｪｫ]|ｲｪ|[ｳｶ-ﾄﾊ-ﾎ]ﾞ|[ﾊ-ﾎ]ﾟ|[ｦｱ-ﾝ])[ｯｰ]*"
_WORD = re.compile(f"(?!ﾝ){_SYLLABLE}(?:･?{_SYLLABLE})*")
_HALF_WIDTH = re.compile("[｡-ﾟ]{2,}")  # a single one is more often a letter with an accent, such as Ö
_MARKS = {**dict.fromkeys("ﾞﾟｰ", 1.0), **dict.fromkeys("ｧｨｩｪｫｬｭｮｯ", 0.3)}
_SELDOM = re.compile("[ｦｴｹｾｿﾂﾇﾈﾍﾓﾔﾕﾖﾜ](?![ﾞﾟ])")  # in names of instruments and parts
_NAMES = re.compile(  # common names that have no character of _MARKS
    "ｱﾘｱ|ｱﾙﾄ|ｲﾝﾄﾛ|ｳｸﾚﾚ|ｳﾀ|ｴﾚｷ|ｵｶﾘﾅ|ｶﾗｵｹ|ｹﾅ|ｺﾄ|ｻｯｸｽ|ｻﾋ|ｼﾝｾ|ｽﾈｱ|ｿﾛ|ｿﾅﾀ|ﾀｲｺ|ﾀｲﾄﾙ|ﾀﾑ|ﾀﾑﾀﾑ|ﾁｪﾛ|ﾄﾗｲ|ﾄﾚﾓﾛ|ﾊﾓﾆｶ|ﾊﾓﾘ|ﾌｴ|ﾌﾚﾝﾁﾎﾙﾝ|ﾎﾙﾝ|"
    "ﾏﾗｶｽ|ﾒｲﾝ|ﾒﾛ|ﾗﾃﾝ|ﾜﾙﾂ"
)
_TELLING = re.compile(".*[ｦ-ｿ]")  # only these bytes distinguish katakana and Cyrillic capitals
_NAME, _MARK, _PLAIN = 1.0, 0.5, 0.02  # weights: a known name, a character of _MARKS, any other character
_LETTER = rb"[A-Za-z\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xc0-\xff]"  # in Windows-1252, like all patterns below
_SYMBOL = re.compile(rb"[\x80-\x89\x8b\x91-\x99\x9b]")
_WELL_USED = re.compile(
    rb"""
    [\x84\x93] [^\x84\x93\x94]* [\x93\x94]  # double quotation marks, of which the first opens
    | [\x82\x91] [^\x82\x91\x92]* [\x91\x92]  # single ones
    | \x8b [^\x8b\x9b]* \x9b  # angles
    | \x92 (?=LETTER) | (?<=LETTER) [\x92\x99]  # an apostrophe, a trademark
    | [0-9] [ ]? [\x89\x80] | \x80 [ ]? [0-9]  # per mille, euros
    | (?<=LETTER) [\x96\x97] (?=LETTER)  # dashes between letters, or between spaces or digits
    | (?<![^\s0-9]) [\x95-\x97] (?![^\s0-9])
    | \x85
    """.replace(b"LETTER", _LETTER),
    re.VERBOSE,
)
_FOREIGN = re.compile(rb"(?<![A-Za-z])(?=[\xc0-\xff]*[\xa1-\xbf])[\xa1-\xff]{3,}(?![A-Za-z])")


def is_text(text: str) -> bool:
    """Return False if a text has a private-use, unassigned or C1 control character, or begins with a combining accent."""
    return not unicodedata.combining(text[:1] or " ") and not any(
        unicodedata.category(each) in _NO_TEXT for each in text if each > "\x7f"
    )


def katakana(texts: Sequence[str]) -> float:
    """Score how much the half-width katakana of all texts look like words; 0 if one of them cannot be a word."""
    words = [word for text in texts for word in _HALF_WIDTH.findall(text)]
    if not all(_WORD.fullmatch(word) for word in words):
        return 0.0
    return sum(map(_word, words))


def _word(word: str) -> float:
    if _NAMES.fullmatch(word):
        return _NAME
    marks = _MARK * sum(_MARKS.get(each, 0.0) for each in word)
    if seldom := len(_SELDOM.findall(word)):
        return marks * 0.4**seldom
    return marks + (_PLAIN * len(word) if len(word) > 2 and _TELLING.match(word) else 0.0)


def misuses_symbols(text: bytes) -> bool:
    """Return True if a text in Windows-1252 cannot be words, for example because of an open quotation mark or ``½È±``."""
    return bool(_SYMBOL.search(_WELL_USED.sub(b"", text)) or _FOREIGN.search(text))
