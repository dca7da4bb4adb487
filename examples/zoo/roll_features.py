"""What an LSTM reads of a piano roll: the keys that are down, and what follows from the steps so far by plain rules.

The strongest rule is the longest match: tunes repeat themselves, so what followed the last steps when they were played
before is likely to follow again. Compressors predict text in this way (PPM*, Cleary & Teahan 1997), and so does the
"short-term model" of melodies (Conklin & Witten 1995).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastrnn

Array = NDArray[Any]

OCTAVE = 12
BARS = (16, 12)  # steps, of which a bar's length is a divisor or a multiple in 4/4, and in 3/4 or 6/8
LONGEST = 16  # steps, after which a key that is still down counts as down for that long
LENGTHS = (1, 2, 4, 8, 16, 32)  # a match is described by which of these it reaches


class Past(NamedTuple):
    """State of a stream after t steps: ``rolls [t, B, K]``, ``held [B, K]`` and ``suffixes [t, B]`` (see the functions)."""

    rolls: Array
    held: Array
    suffixes: NDArray[np.int64]


class RollFeatures(fastrnn.Layer):
    """Features of a roll ``x [T, B, K]`` of 0 and 1 as ``y [T, B, 3 K + 46]``, each step from the steps up to it.

    ======= ==================================================================
    K       x itself
    K       the step that followed the longest match (:func:`longest_match`), or zeros
    6       1 for each of the lengths 1, 2, 4, 8, 16 and 32 that the match reaches
    K       the steps for which each key has been down, at most 16, divided by 8
    12      1 for each pitch class that sounds
    28      one-hot: the step's number modulo 16, and modulo 12
    ======= ==================================================================

    There is no gradient, because x is data.
    """

    takes_lengths = True  # no step depends on later ones, so the lengths do not matter

    def __call__(self, x: Array, lengths: Any = None) -> Array:
        """Return y."""
        return self.stream(x)[0]

    def forward(self, x: Array, lengths: Any = None) -> tuple[Array, Callable[[Array], None]]:
        """Return y and a backward that returns None."""
        return self(x), lambda dy: None

    def not_streaming(self) -> str | None:
        """Return None: a stream's state is all of its past."""
        return None

    def stream(self, x: Array, state: Any = None, lengths: Any = None) -> tuple[Array, Past]:
        """Return y of the next steps, and the state after them."""
        T, B, K = x.shape
        past = Past(np.empty((0, B, K), x.dtype), np.zeros((B, K), x.dtype), np.empty((0, B), np.int64))
        past = past if state is None else Past(*state)
        before = len(past.rolls)
        rolls = np.concatenate([past.rolls, x])
        following, reached, suffixes = longest_match(rolls, past.suffixes)
        held = steps_held(x, past.held)
        octaves = np.pad(x, ((0, 0), (0, 0), (0, -K % OCTAVE))).reshape(T, B, -(-K // OCTAVE), OCTAVE)
        parts = [x, following, reached, np.minimum(held, LONGEST) / 8, octaves.max(axis=2)]
        for bar in BARS:
            place = np.eye(bar, dtype=x.dtype)[(before + np.arange(T)) % bar]
            parts.append(np.broadcast_to(place[:, None], (T, B, bar)))
        return np.concatenate(parts, axis=2, dtype=x.dtype), Past(rolls, held[-1] if T else past.held, suffixes)


def steps_held(x: Array, before: Array) -> Array:
    """Return for how many steps each key has been down, ``[T, B, K]``; ``before [B, K]`` is that of the step before."""
    held, run = np.empty_like(x), before
    for t, down in enumerate(x):
        held[t] = run = (run + 1) * down
    return held


def longest_match(rolls: Array, suffixes: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Find for each new step the earlier place whose last steps are the same for the longest time; the latest of several.

    ::

        s_t[j] = s_(t-1)[j-1] + 1 if x_j = x_t, else 0      the common suffix of x_0 .. x_j and x_0 .. x_t, for j < t
        j*     = argmax_j s_t[j]                            x_(j* + 1) followed it

    Parameters
    ----------
    rolls
        ``[n + T, B, K]``, of which the last T steps are new.
    suffixes
        ``[n, B]``, the s of step n - 1; its last row, for j = t, is not used.

    Returns
    -------
    following, reached, suffixes
        ``x_(j* + 1) [T, B, K]``, zeros without a match; 1 where ``s[j*]`` reaches each of ``LENGTHS``, ``[T, B, 6]``; the s
        of the last step, ``[n + T, B]``.
    """
    n, (total, B, K) = len(suffixes), rolls.shape
    bits = np.packbits(rolls > 0, axis=2)
    ids = np.unique(bits.reshape(-1, bits.shape[2]), axis=0, return_inverse=True)[1].reshape(total, B)
    following = np.zeros((total - n, B, K), rolls.dtype)
    length = np.zeros((total - n, B), np.int64)
    columns, nothing = np.arange(B), np.zeros((1, B), np.int64)
    for t in range(n, total):
        longer = np.concatenate([nothing, suffixes])[:t] + 1
        suffixes = np.concatenate([longer * (ids[:t] == ids[t]), nothing])
        if t:
            j = t - 1 - np.argmax(suffixes[t - 1 :: -1], axis=0)
            length[t - n] = suffixes[j, columns]
            following[t - n] = rolls[j + 1, columns] * (length[t - n] > 0)[:, None]
    reached = (length[..., None] >= np.array(LENGTHS)).astype(rolls.dtype)
    return following, reached, suffixes
