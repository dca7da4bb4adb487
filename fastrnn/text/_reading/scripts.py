"""Scripts that put no spaces between words, and estimates of the number of words from the length of a line."""

from __future__ import annotations

import math
import re

HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
HIRAGANA = "\u3040-\u309f"
KATAKANA = "\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # with the dot and the dash that join the parts of a name
# SYLLABIC holds Thai, Lao, Tibetan, Burmese, Khmer and the Tai scripts.
BURMESE = "\u1000-\u109f"
SYLLABIC = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\uaa60-\uaadf"
SPACELESS = HAN + HIRAGANA + KATAKANA + SYLLABIC

# Characters per word. A name of three words has up to nine characters (the longest name of a Chinese province has eight) or
# 24 letters and signs of Thai. A run of katakana is a word, and so is a piece between spaces in other scripts.
PER_WORD = {HAN + HIRAGANA: 3, SYLLABIC: 8}
CHARACTERS = [(re.compile(f"[{script}]"), size) for script, size in PER_WORD.items()]
WORD = re.compile(f"[{KATAKANA}]+|[^\\W{SPACELESS}][^\\s{SPACELESS}]*")
ANY = re.compile(f"[{SPACELESS}]")
SENTENCE = re.compile("[\u3001\u3002\uff01\uff0c\uff1b\uff1f]")  # the full-width marks 、。！，；？, which no name contains
VERSE = re.compile(f"[{HAN}]{{5}}|[{HAN}]{{7}}")  # a line of regular Chinese verse
# A run that is longer than a word, so no spaces separate its words. The limit is lower for Burmese, which has spaces between
# phrases that are shorter than those of Thai.
UNPARTED = re.compile(f"[{HAN}{HIRAGANA}{KATAKANA}]{{4,}}|[{BURMESE}]{{10,}}|[{SYLLABIC}]{{16,}}")
ALONE_SHARE = 0.9
LOOKED_AT = 1 << 20  # characters


def has_spaceless(text: str) -> bool:
    """Return whether a text has any character of a script without spaces."""
    return not text.isascii() and ANY.search(text) is not None


def words_in(line: str) -> int:
    """Return the number of words of a line: the number of pieces between spaces, or more if its length suggests more."""
    length = sum(len(script.findall(line)) / size for script, size in CHARACTERS) + len(WORD.findall(line))
    return max(len(line.split()), math.ceil(length))


def is_sentence(line: str) -> bool:
    """Return whether a line contains a full-width punctuation mark of a sentence."""
    return SENTENCE.search(line) is not None


def is_verse(line: str) -> bool:
    """Return whether a line is one of Chinese verse: five or seven characters, with or without a mark at the end."""
    return VERSE.fullmatch(SENTENCE.sub("", line)) is not None


def is_unparted(text: str) -> bool:
    """Return whether a text is mostly in a script without spaces, and nothing separates its words.

    Such a text has runs that are longer than words, like Chinese, Japanese, Thai and Burmese prose without added spaces, or
    is a list of names, most of whose lines have no space.
    """
    part = text[:LOOKED_AT]
    letters = sum(map(str.isalnum, part))
    return 2 * sum(len(run) for run in UNPARTED.findall(part)) > letters or _is_list(part, letters)


def _is_list(text: str, letters: int) -> bool:
    """Return whether most lines have no space, unless some have only a punctuation mark, as in text with a word per line."""
    if 2 * len(ANY.findall(text)) <= letters:
        return False
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    alone = sum(len(line.split()) == 1 for line in lines)
    marks = any(not any(map(str.isalnum, line)) for line in lines)
    return not marks and alone >= ALONE_SHARE * len(lines)
