"""The characters of texts in MIDI files, whose encoding the files do not say.

A text alone is too short to tell, so all texts of a file are judged together: they are UTF-8 if all are valid UTF-8, else in
what chardet finds likeliest among the encodings that most of them are valid in. chardet 7 was chosen because it told 55 of
58 names of instruments in the encodings below, of one to five words; charset-normalizer 3.5 told 17 of the first 30.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from . import midi_repairs as repair

Decoder = Callable[[bytes], str]

_ENCODINGS = ("cp932", "gb18030", "cp1252", "big5", "cp949", "euc-jp", "cp1251")  # cp932 is Shift-JIS as Windows has it
_CYRILLIC = "cp1251"
_LATIN = "cp1252"
_SAMPLE = 20_000  # bytes to judge by
_INVALID = 0.05  # the share of texts that may be invalid in an encoding: cut in a character, or damaged


def decoder_of(texts: Iterable[bytes], repairs: Counter[str]) -> Decoder:
    """Return the function that decodes each of a file's texts; it makes white space, line breaks and NULs single spaces."""
    encoding = _encoding(dict.fromkeys(text for text in texts if not text.isascii()), repairs)

    def decode(text: bytes) -> str:
        try:
            decoded = text.decode("utf-8" if encoding == _LATIN else encoding)  # a Latin text is hardly ever valid UTF-8
        except UnicodeDecodeError:
            decoded = text.decode(encoding, errors="replace")
        return " ".join(decoded.replace("\0", " ").split())

    return decode


def _encoding(texts: Iterable[bytes], repairs: Counter[str]) -> str:
    """The likeliest encoding of texts that are not ASCII."""
    texts = list(texts)
    if _is_valid(texts, "utf-8"):
        return "utf-8"
    try:
        import chardet
    except ImportError:
        repairs[repair.ENCODING] += len(texts)
        return _LATIN
    sample = b"\n".join(texts)[:_SAMPLE].replace(b"\0", b" ")  # some programs fill names up with NULs
    valid = [encoding for encoding in _ENCODINGS if _is_valid(texts, encoding)]
    if sum(byte > 127 for byte in sample) < sum(chr(byte).isalpha() for byte in sample if byte < 128):
        valid = [encoding for encoding in valid if encoding != _CYRILLIC]  # words of Latin letters with a few accents
    if not valid:
        return _LATIN
    unknown = _LATIN if _LATIN in valid else valid[0]
    found = chardet.detect(sample, include_encodings=valid, no_match_encoding=unknown)["encoding"]
    return found or unknown  # None is for what looks like no text


def _is_valid(texts: list[bytes], encoding: str) -> bool:
    """Whether nearly all texts are valid in an encoding."""
    return sum(not _decodes(text, encoding) for text in texts) <= _INVALID * len(texts)


def _decodes(text: bytes, encoding: str) -> bool:
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
