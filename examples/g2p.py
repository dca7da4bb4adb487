"""Spell words as phonemes with g2p_en's own checkpoint (Park & Kim, Apache 2.0), on these GRUs, many words at a time.

Run it with ``python examples/g2p.py CHECKPOINT WORDS...``. The checkpoint is ``checkpoint20.npz`` of g2p_en, or the wheel
that has it: ``pip download --no-deps g2p-en``. If g2p_en is installed, its own answers and times are printed for comparison.
"""

from __future__ import annotations

import io
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn import GRU, Embedding, Input, Linear, Model

GRAPHEMES = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
SOUNDS = """
AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH
IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH
"""
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>", *SOUNDS.split()]
START, END, MOST = 2, 3, 20  # the decoder's first and last symbol, and the longest answer
AT_ONCE = 1024  # words in one batch


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the arrays of an npz file, or of the one in a wheel."""
    content = path.read_bytes()
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            content = wheel.read(next(name for name in wheel.namelist() if name.endswith(".npz")))
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)


class Speller:
    """An encoder over letters and a decoder over phonemes, with g2p_en's weights."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        letters = Embedding(*arrays["enc_emb"].shape)
        sounds = Embedding(*arrays["dec_emb"].shape)
        size = arrays["enc_emb"].shape[1]
        encoder, decoder, out = GRU(size, size), GRU(size, size), Linear(size, len(PHONEMES))
        letters.weight.assign(arrays["enc_emb"])
        sounds.weight.assign(arrays["dec_emb"])
        gates = {"weight_ih_l0": "w_ih", "weight_hh_l0": "w_hh", "bias_ih_l0": "b_ih", "bias_hh_l0": "b_hh"}
        for gru, part in ((encoder, "enc"), (decoder, "dec")):
            gru.load_state_dict({name: arrays[f"{part}_{short}"] for name, short in gates.items()})
        out.load_state_dict({"weight": arrays["fc_w"], "bias": arrays["fc_b"]})
        # After an embedding, a GRU looks its input's products up, which halves the arithmetic.
        word = Input(("T", "B"), "int64")
        self.encoder = Model(word, encoder(letters(word))[1])
        last, h = Input(("T", "B"), "int64"), Input((1, "B", size))
        y, h_next = decoder(sounds(last), h)
        self.decoder = Model((last, h), (out(y), h_next))

    def __call__(self, words: list[str]) -> list[list[str]]:
        """Return the phonemes of each word."""
        found = []
        for first in range(0, len(words), AT_ONCE):
            found += self._batch(words[first : first + AT_ONCE])
        return found

    def _batch(self, words: list[str]) -> list[list[str]]:
        index = {letter: i for i, letter in enumerate(GRAPHEMES)}
        ids = [[index.get(letter, 1) for letter in word] + [index["</s>"]] for word in words]
        lengths = np.array([len(each) for each in ids])
        padded = np.zeros((lengths.max(), len(ids)), np.int64)
        for b, each in enumerate(ids):
            padded[: len(each), b] = each
        h, answers = self.encoder(padded, lengths=lengths), [[] for _ in words]
        open_words, last = np.arange(len(words)), np.full(len(words), START)
        for _ in range(MOST):
            logits, h = self.decoder(last[None], h)
            last = logits[0].argmax(-1)
            going = last != END
            open_words, last, h = open_words[going], last[going], h[:, going]
            if not open_words.size:
                break
            for b, phoneme in zip(open_words, last, strict=True):
                answers[b].append(PHONEMES[phoneme])
        return answers


def main(checkpoint: str, words: list[str]) -> None:
    """Print the phonemes of the words, the time, and g2p_en's."""
    speller = Speller(read_checkpoint(Path(checkpoint)))
    speller(words[:1])
    start = time.perf_counter()
    answers = speller(words)
    print(f"fastrnn: {len(words) / (time.perf_counter() - start):.0f} words a second")
    for word, phonemes in zip(words[:20], answers, strict=False):
        print(f"{word:16} {' '.join(phonemes)}")
    try:
        from g2p_en import G2p
    except ImportError:
        return
    predict = G2p().predict
    start = time.perf_counter()
    theirs = [predict(word) for word in words]
    speed = len(words) / (time.perf_counter() - start)
    print(
        f"g2p_en: {speed:.0f} words a second; {sum(map(list.__eq__, answers, theirs))} of {len(words)} answers are the same"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or ["activationist", "fastrnn", "phoneme", "silero"])
