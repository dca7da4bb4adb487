"""Decoding of text from bytes, in UTF-8 or a given encoding, with a guess of the encoding if that fails.

This module guesses with charset-normalizer. The short texts of MIDI files are guessed with chardet, which is better there
(see :mod:`fastrnn.music._midi.text`). tests/test_text_files.py has 21 texts in known encodings. Charset-normalizer 3.5 with
the weights below recognises all 21, and chardet 7.7 recognises 20. Chardet does not recognise Chinese or Japanese in UTF-16
without a byte order mark as text.
"""

from __future__ import annotations

import codecs
from typing import Any

from ..._core.checks import describe
from ...console import quantity

# UTF-32 comes before UTF-16, because its little-endian mark begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Common encodings. Of two that decode a text equally well, the first is chosen, so the commoner one comes first. Text
# in cp1250 shows control characters when read as ISO 8859-2, so on a tie the text is in ISO 8859-2, which comes first.
COMMON = (
    "utf_16_le", "utf_16_be", "cp1252", "iso8859_2", "cp1250", "cp1251", "koi8_r", "gb18030", "big5", "cp932", "euc_jp",
    "iso2022_jp", "cp949", "cp1253", "cp1254", "cp1255", "cp1256", "cp874", "cp1258", "cp1257", "iso8859_5", "iso8859_7",
    "koi8_u", "big5hkscs", "cp866", "cp850", "mac_cyrillic", "mac_roman",
)  # fmt: skip
# The languages of encodings of Latin letters that charset-normalizer confuses, by its names.
LANGUAGES = {
    "cp1250": ("Czech", "Hungarian", "Polish", "Romanian", "Slovak", "Slovene", "Croatian"),
    "iso8859_2": ("Czech", "Hungarian", "Polish", "Romanian", "Slovak", "Slovene", "Croatian"),
    "cp1252": ("Danish", "Dutch", "English", "Finnish", "French", "German", "Italian", "Norwegian", "Portuguese", "Spanish",
               "Swedish"),
    "cp1254": ("Turkish",),
    "cp1257": ("Estonian", "Latvian", "Lithuanian"),
    "cp1258": ("Vietnamese",),
}  # fmt: skip
OWN = 0.05  # added to charset-normalizer's coherence if the language is one of the encoding's
EQUAL = 0.005  # two coherences that differ by less are equal
SAMPLE = 1 << 17  # bytes that the encoding is guessed from
CONTROLS = bytes([*range(9), *range(14, 32)])  # control characters that no text contains
ESCAPES = ((b"\x1b$B", "iso2022_jp"), (b"\x1b$@", "iso2022_jp"), (b"\x1b$)C", "iso2022_kr"))  # of ISO 2022
CONTROL_SHARE = 0.8  # least share of control characters in the high bytes of UTF-16: 0 for Latin, 4 for Cyrillic
CERTAIN = 10  # sequences of several bytes; hardly any text in another encoding has as many and is valid UTF-8
BLANK_SHARE = 0.05  # share of the bytes of space and line break in text of letters; UTF-16 without zero bytes has less
STRAY = 0.5  # largest ratio of invalid to valid sequences in damaged UTF-8


class TextError(ValueError):
    """Error for a text that is empty, too short or not in its encoding; the message names the file and the fault."""


class EncodingError(TextError):
    """Error for a text that is not in the expected encoding; ``likeliest`` is the one that it seems to be in, or None."""

    def __init__(self, message: str, likeliest: str | None) -> None:
        super().__init__(message)
        self.likeliest = likeliest


def text_encoding(name: object) -> str:
    """Return the canonical name of a text encoding. Raises ValueError for anything else."""
    try:
        if isinstance(name, str):
            "a".encode(name)  # raises LookupError for codecs that are not text encodings, such as zlib
            return codecs.lookup(name).name
    except (LookupError, ValueError):
        pass
    raise ValueError(f"encoding must be the name of a text encoding, such as cp1252, got {describe(name)}")


def decode(data: bytes, what: str, encoding: str | None = None) -> str:
    """Return the text of ``data``, in UTF-8 or in ``encoding``.

    A byte order mark at the beginning is dropped and overrides ``encoding``. ``what`` is the name of the data in errors.
    Raises EncodingError if the bytes are invalid, look like UTF-16 or ISO 2022 that was not declared, or are certainly not
    in ``encoding``.
    """
    mark, marked = next((pair for pair in MARKS if data.startswith(pair[0])), (b"", None))
    expected = marked or encoding or "utf-8"
    if marked is None and (reason := mistaken(data, expected)):
        raise _error(f"{what} is not {_shown(expected)}: {reason}", data, 0, expected)
    try:
        text = data[len(mark) :].decode(expected)
    except UnicodeError as error:
        place = len(mark) + (error.start if isinstance(error, UnicodeDecodeError) else 0)
        fault = f"{what} is not {_shown(expected)}: {_explain(error, data, place)}"
        raise EncodingError(fault, None) if marked else _error(fault, data, place, expected) from None
    if encoding is None and marked is None and (found := _disguised(data)):
        raise EncodingError(f"{what} is not UTF-8, although all of its bytes could be; it looks like {found}", found)
    return text


def mistaken(data: bytes, encoding: str | None) -> str:
    """Return the reason if the beginning of ``data`` is certainly not in the given encoding, else an empty text.

    Most encodings accept nearly any bytes, so a text in UTF-8 would be read as other characters without an error.
    """
    if encoding is None or encoding.startswith("utf-8"):
        return ""
    sample = data[:SAMPLE]
    blanks = sample.count(b" ") + sample.count(b"\n")
    if encoding.startswith(("utf-16", "utf-32")) and 0 not in sample and blanks > BLANK_SHARE * len(sample):
        return "its spaces and line breaks have one byte each"
    return f"it has {CERTAIN} or more valid sequences of UTF-8" if _utf8_sequences(data) >= CERTAIN else ""


def _utf8_sequences(data: bytes) -> int:
    """Return the number of characters of several bytes at the beginning of a text in UTF-8; 0 for any other text."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:SAMPLE], final=len(data) <= SAMPLE)
    except UnicodeDecodeError:
        return 0
    return sum(character > "\x7f" for character in text)


def _explain(error: UnicodeError, data: bytes, place: int) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte 0x{data[place]:02x} at offset {place} ({error.reason})"
    return str(error)  # a plain UnicodeError of Python's codecs such as utf-16 or punycode


def _shown(name: str) -> str:
    return name.upper() if name.startswith("utf") else name


def _error(fault: str, data: bytes, place: int, expected: str) -> EncodingError:
    damaged = _damaged(data) if expected == "utf-8" else 0
    if damaged:
        return EncodingError(f"{fault}; all else is UTF-8, so it is damaged in {quantity(damaged, 'place')}", None)
    try:
        found = likeliest(data, place)
    except ImportError:
        return EncodingError(
            f"{fault}; --encoding NAME reads another (pip install charset-normalizer to have it guessed)", None
        )
    if found in (None, expected):
        return EncodingError(f"{fault}, and it does not look like text in another encoding", None)
    return EncodingError(f"{fault}; it looks like {found}", found)


def _damaged(data: bytes) -> int:
    """Return the number of invalid sequences in a text that is otherwise UTF-8; 0 for any other text."""
    text = data[: 8 * SAMPLE].decode("utf-8", "replace")
    invalid = text.count("\ufffd")
    valid = sum(character > "\x7f" for character in text) - invalid
    return invalid if invalid <= STRAY * valid else 0


def likeliest(data: bytes, place: int = 0) -> str | None:
    """Return the encoding that ``data`` seems to be in, by the lines from the byte at ``place`` on; None if none fits.

    Raises ImportError without charset-normalizer.
    """
    from charset_normalizer import from_bytes

    if found := _disguised(data):
        return found
    if _is_utf8(data):
        return "utf-8"
    # First a sample of whole lines. In UTF-16 half a unit can look like a line break, so then a sample of whole units.
    for sample in (_lines(data, place), data[place - place % 4 :][:SAMPLE]):
        matches = list(from_bytes(sample, cp_isolation=list(COMMON)))
        if matches:
            return codecs.lookup(_best(matches)).name
    return None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _best(matches: list[Any]) -> str:
    """Return the name of the likeliest of charset-normalizer's matches, the commonest among equals."""
    least = min(match.chaos for match in matches)
    measures = {
        name: match.coherence + (OWN if match.language in LANGUAGES.get(name, ()) else 0)
        for match in matches
        if match.chaos <= least + EQUAL
        for name in match.could_be_from_charset
    }
    most = max(measures.values())
    equals = [name for name, measure in measures.items() if measure >= most - EQUAL]
    return next((name for name in COMMON if name in equals), equals[0])


def _lines(data: bytes, place: int) -> bytes:
    """Return a sample of whole lines, because a cut within a line might split a character."""
    start = data.rfind(b"\n", 0, place) + 1
    if len(data) - start <= SAMPLE:
        return data[start:]
    end = data.rfind(b"\n", start, start + SAMPLE)
    return data[start : end + 1 if end > place else len(data)]


def _disguised(data: bytes) -> str | None:
    """Return the encoding of a text in another encoding whose bytes may be valid UTF-8, else None.

    In UTF-16 every other byte is a control character; ISO 2022 has escape sequences.
    """
    shares = []
    for first in (0, 1):
        half = data[first:SAMPLE:2]
        shares.append(1 - len(half.translate(None, CONTROLS)) / max(1, len(half)))
    if len(data) % 2 == 0 and min(shares) < CONTROL_SHARE / 2 < CONTROL_SHARE < max(shares):
        return "utf-16-be" if shares[0] > shares[1] else "utf-16-le"
    return next((name for start, name in ESCAPES if start in data[:SAMPLE]), None)
