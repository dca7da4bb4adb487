"""Splitting of text into words and sentences, and readable text from words.

A token is

- a number with points, commas or colons inside: ``3.14``, ``10,000``, ``10:30``;
- a word: letters, digits and combining marks of any script, with apostrophes and hyphens inside: ``don't``, ``o'er``,
  ``sea-coal``; scripts without spaces between words (Chinese, Thai) are not split;
- a run of one punctuation mark or symbol: ``,``, ``...``, ``--``;
- ``<UNK>`` in upper or lower case, which marks an omitted word in a text.

The text is first normalised (NFC), and lower-cased unless ``keep_case``. A sentence ends at a blank line, or with ``.``,
``!``, ``?`` or ``…`` and any closing quotes and brackets, if white space follows. ``<EOS>`` separates two sentences; the
caller adds the end of the last one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

UNK, EOS = "<UNK>", "<EOS>"

TOKEN = re.compile(r"<unk>|\d+(?:[.,:]\d+)+(?!\w)|\w+(?:['’-]\w+)*|([^\w\s])\1*", re.IGNORECASE)  # noqa: RUF001
SENTENCE_END = re.compile(r"""(?<=[.!?…])["'”’»)\]]*\s+|\s*\n\s*\n\s*""")  # noqa: RUF001

# Text made of tokens has no space before CLOSING and after OPENING; straight quotes open and close in turn.
CLOSING = frozenset([*",.;:!?…)]}”’»%", "..."])  # noqa: RUF001
OPENING = frozenset("([{“‘«'$€£¿¡")  # noqa: RUF001
QUOTE = '"'


def tokenize(text: str, *, keep_case: bool = False, sentences: bool = True) -> list[str]:
    """Return the tokens of a text, with ``<EOS>`` between its sentences if ``sentences``."""
    text = unicodedata.normalize("NFC", text)
    text = text if keep_case else text.lower()
    tokens: list[str] = []
    for sentence in _sentences(text) if sentences else [text]:
        found = list(_tokens(sentence))
        if tokens and found:
            tokens.append(EOS)
        tokens += found
    return tokens


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for end in SENTENCE_END.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    yield text[start:]


def _tokens(sentence: str) -> Iterator[str]:
    # Python's \w excludes combining marks, which are part of words in some scripts, so the search sees them as letters.
    marks = {ord(c): "x" for c in set(sentence) if unicodedata.category(c).startswith("M")}
    for match in TOKEN.finditer(sentence.translate(marks) if marks else sentence):
        token = sentence[match.start() : match.end()]
        yield UNK if token.upper() == UNK else token


class Detokenizer:
    """Converter from tokens to text, piece by piece: each call returns the text of more tokens, with the spaces before them.

    ``<EOS>`` becomes a line break. Tokenising the result gives the same tokens, except for sentence ends that were marked
    only by a blank line.
    """

    def __init__(self) -> None:
        self._last = EOS
        self._quoted = False  # whether a straight quote is open

    def __call__(self, tokens: Iterable[str]) -> str:
        """Return the text of these tokens, which follow those of earlier calls."""
        return "".join(self._piece(token) for token in tokens)

    def _piece(self, token: str) -> str:
        last, self._last = self._last, token
        if token == EOS:
            self._quoted = False
            return "\n"
        closes = token in CLOSING or (token == QUOTE and self._quoted)
        opened = last in OPENING or (last == QUOTE and self._quoted)
        if token == QUOTE:
            self._quoted = not self._quoted
        # Two equal marks keep the space between them, because together they would be one token.
        glued = last == EOS or ((closes or opened) and last[-1] != token[0])
        return token if glued else " " + token
