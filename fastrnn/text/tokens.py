"""Words and sentences of a text, and readable text from words.

A token is

- a number with points, commas or colons inside: ``3.14``, ``10,000``, ``10:30``;
- a word: letters, digits and combining marks of any script, with apostrophes and hyphens inside: ``don't``, ``o'er``,
  ``sea-coal``; scripts that write no spaces between words (Chinese, Thai) are not taken apart;
- a run of one punctuation mark or symbol: ``,``, ``...``, ``--``;
- ``<UNK>``, which a text may hold, in either case, to say that a word was left out.

The text is normalised (NFC) first, and lower-cased unless case is kept. A sentence ends with ``.``, ``!``, ``?`` or ``…``
and what closes after it (quotes, brackets), where white space follows, and at a blank line. Between two sentences stands
``<EOS>``; the end of the last one is left to the caller.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

UNK, EOS = "<UNK>", "<EOS>"

TOKEN = re.compile(r"<unk>|\d+(?:[.,:]\d+)+(?!\w)|\w+(?:['’-]\w+)*|([^\w\s])\1*", re.IGNORECASE)  # noqa: RUF001
SENTENCE_END = re.compile(r"""(?<=[.!?…])["'”’»)\]]*\s+|\s*\n\s*\n\s*""")  # noqa: RUF001

# In the text that is made of tokens no space is written before CLOSING, nor after OPENING; straight quotes take turns.
CLOSING = frozenset([*",.;:!?…)]}”’»%", "..."])  # noqa: RUF001
OPENING = frozenset("([{“‘«'$€£¿¡")  # noqa: RUF001
QUOTE = '"'


def tokenize(text: str, *, keep_case: bool = False, sentences: bool = True) -> list[str]:
    """The tokens of a text, with ``<EOS>`` between its sentences unless these are not to be told apart."""
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
    # Python's \w leaves out combining marks, of which some scripts' words are full: for the search they are letters.
    marks = {ord(c): "x" for c in set(sentence) if unicodedata.category(c).startswith("M")}
    for match in TOKEN.finditer(sentence.translate(marks) if marks else sentence):
        token = sentence[match.start() : match.end()]
        yield UNK if token.upper() == UNK else token


class Detokenizer:
    """Tokens to text, piece by piece: a call gives the text of some more tokens, spaces before them included.

    ``<EOS>`` becomes a line break. Tokenising the text of a text's tokens gives them again, but for the ends of sentences
    that only a blank line had told.
    """

    def __init__(self) -> None:
        self._last = EOS
        self._quoted = False  # whether a straight quote is open

    def __call__(self, tokens: Iterable[str]) -> str:
        """The text of these tokens after those before."""
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
        glued = last == EOS or ((closes or opened) and last[-1] != token[0])  # two marks of one kind would be one token
        return token if glued else " " + token
