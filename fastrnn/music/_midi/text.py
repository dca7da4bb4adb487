"""Decoding of texts in MIDI files, which do not name their encoding.

A single text is short, so all texts of a file are judged together. They are UTF-8 if nearly all are valid UTF-8. Otherwise
chardet estimates the likelihood of a few encodings. Three of them are far more frequent in MIDI files than the others, so
they count five times. chardet does not know half-width katakana, but :mod:`.scripts` does. An encoding that gives unassigned
characters is excluded. Of instrument names in these three encodings, one to eight together, 99 of 100 are read correctly.

charset-normalizer 3.5 recognised 9 of 30 single names, chardet 7.7 recognised 26. For whole texts
:mod:`fastrnn.text._reading.decoding` uses charset-normalizer, because chardet recognised 20 of 21 of them and no Chinese in
UTF-16.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .. import midi_repairs as repair
from .scripts import is_text, katakana, misuses_symbols

Decoder = Callable[[bytes], str]

_LATIN, _CYRILLIC, _JAPANESE = "cp1252", "cp1251", "cp932"
_ENCODINGS = {_JAPANESE: 5, _LATIN: 5, "gb18030": 5, "big5": 1, "cp949": 1, "euc-jp": 1, _CYRILLIC: 1}  # and their weights
_INVALID = 0.05  # the share of texts that may be invalid in an encoding: cut within a character, or damaged
_SAMPLE = 4000  # bytes to judge by
_WINDOW = 15  # bytes above 127 for chardet at a time; with more, it expects as many distinct characters as in prose
_COMMON_JAPANESE = re.compile(rb"(?:[\0-\x7f]|[\x82\x83\x88-\x97][\x40-\xfc])*")
_SINGLE = 0.005  # added to the score of common Japanese, because chardet gives 0 to a single kanji
_ASTRAL = re.compile("[\U00010000-\U0010ffff]+")
_HIGH = re.compile(rb"[\x80-\xff]")


def decoder_of(texts: Iterable[bytes], repairs: Counter[str]) -> Decoder:
    """Return a function that decodes a file's texts, and turns white space, line breaks and NULs into single spaces."""
    encoding = _encoding(list(dict.fromkeys(text for text in texts if not text.isascii())), repairs)

    def decode(text: bytes) -> str:
        is_utf8 = encoding == _LATIN and _decodes(text, "utf-8")  # a Latin text is hardly ever valid UTF-8
        decoded = text.decode("utf-8" if is_utf8 else encoding, errors="replace")
        return " ".join(decoded.replace("\0", " ").split())

    return decode


def _encoding(texts: list[bytes], repairs: Counter[str]) -> str:
    """Return the likeliest encoding of texts that are not ASCII."""
    if _is_valid(texts, "utf-8"):
        return "utf-8"
    try:
        import chardet
    except ImportError:
        repairs[repair.ENCODING] += len(texts)
        return _LATIN
    texts = [text for text in texts if not _decodes(text, "utf-8")]
    valid = [encoding for encoding in _ENCODINGS if _is_valid(texts, encoding)]
    whole = [text for text in texts if all(_decodes(text, encoding) for encoding in valid)]
    sample = b"\n".join(whole)[:_SAMPLE].replace(b"\0", b" ")  # some programs pad names with NULs
    if len(_HIGH.findall(sample)) < len(re.findall(rb"[A-Za-z]", sample)):  # Latin words with a few accents
        valid = [encoding for encoding in valid if encoding != _CYRILLIC]
    if len(valid) > 1 and sum(misuses_symbols(text) for text in texts) > _INVALID * len(texts):
        valid = [encoding for encoding in valid if encoding != _LATIN]
    if not valid:
        return _LATIN
    likely = _likely(sample, valid, chardet)
    if _JAPANESE in likely:
        likely[_JAPANESE] += katakana([text.decode(_JAPANESE) for text in whole]) + _is_common(sample) * _SINGLE
    return max(likely, key=lambda encoding: likely[encoding])


def _likely(sample: bytes, valid: list[str], chardet: Any) -> dict[str, float]:
    """Score each of these encodings; the sample is valid in all of them."""
    likely = dict.fromkeys(valid, 0.0)
    by_codec = {codecs.lookup(encoding).name: encoding for encoding in valid}  # chardet has other names for them
    unknown = _LATIN if _LATIN in valid else valid[0]
    options = {"ignore_threshold": True, "prefer_superset": True, "no_match_encoding": unknown}
    for window in _windows(sample, valid):
        for row in chardet.detect_all(window, include_encodings=valid, **options):
            encoding = by_codec.get(codecs.lookup(row["encoding"]).name) if row["encoding"] else None
            if encoding:
                likely[encoding] += row["confidence"] * _ENCODINGS[encoding]
    return likely


def _windows(sample: bytes, valid: list[str]) -> Iterator[bytes]:
    """Yield parts with at most _WINDOW bytes above 127, cut at a line, else at a space, else between characters."""
    start = 0
    while start < len(sample):
        high = [match.start() for _, match in zip(range(_WINDOW + 1), _HIGH.finditer(sample, start), strict=False)]
        end = high[_WINDOW] if len(high) > _WINDOW else len(sample)
        if end < len(sample):
            whole = (cut for cut in range(end, start, -1) if all(_decodes(sample[start:cut], each) for each in valid))
            cuts = (sample.rfind(b"\n", start + 1, end), sample.rfind(b" ", start + 1, end), next(whole, end))
            end = next(cut for cut in cuts if cut > 0)
        if high:
            yield sample[start:end]
        start = end


def _is_valid(texts: list[bytes], encoding: str) -> bool:
    """Return True if nearly all texts are valid in an encoding."""
    return sum(not _decodes(text, encoding) for text in texts) <= _INVALID * len(texts)


def _decodes(text: bytes, encoding: str) -> bool:
    """Return True if a text is valid and all its characters are assigned; in UTF-8 newer emoji are allowed."""
    try:
        decoded = text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return is_text(_ASTRAL.sub("", decoded) if encoding == "utf-8" else decoded)


def _is_common(sample: bytes) -> bool:
    """Return True if a sample has only ASCII and the kana and more frequent kanji of Shift-JIS."""
    return bool(_COMMON_JAPANESE.fullmatch(sample))
