"""The verdict of ``fastrnn score``: which of several texts is more probable, or why they cannot be compared."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from ...console import quantity
from ...text.tokens import UNK

if TYPE_CHECKING:
    from ...text.language_model import Score

NAMED = 20  # most texts that a line names by number


def verdict(scores: list[Score], unit: str, ends: bool) -> str:
    """Return a line that compares two texts or more; it is empty if there is nothing to say.

    ``<UNK>`` has the probability of all unknown words together. So two texts are compared if the same words became ``<UNK>``
    in both. Otherwise they are compared over their known words, if ``<UNK>`` is at the same places.

    Parameters
    ----------
    scores
        The scores of at least two texts.
    unit
        ``"word"`` or ``"character"``.
    ends
        Whether the last token of each score is the end of the text, which is never unknown.
    """
    if len(scores) > 2:
        return _of_many(scores, unit)
    first, second = scores
    if Counter(first.unknown) == Counter(second.unknown):
        lost = f"; {_lost(scores, unit, ends)}, the same" if first.unknown else ""
        return _ratio(first.log_probability, second.log_probability) + _lengths(first, second, unit) + lost
    places = [[token == UNK for token in score.tokens] for score in scores]
    if places[0] == places[1] and not all(places[0][: len(places[0]) - ends]):
        known = [score.log_probabilities[[not lost for lost in places[0]]] for score in scores]
        over = f"over the {len(known[0])} {unit}s that both have{', the end included' if ends else ''}, "
        return f"{over}{_ratio(*(part.sum() for part in known))}; {_lost(scores, unit, ends)}, at the same places"
    other = ", not the same" if len(first.unknown) == len(second.unknown) else ""
    return f"the two cannot be compared: {_lost(scores, unit, ends)}{other}, and {UNK} stands for any unknown {unit}"


def lost(score: Score, unit: str, ends: bool) -> str:
    """Return how many words of a text became ``<UNK>``, such as ``"2 of 7 words"``."""
    total = len(score.tokens) - ends
    return f"{len(score.unknown)} of {quantity(total, unit)}"


def probability(log_probability: float) -> str:
    """Return the probability with three digits, even if it underflows or overflows a float."""
    exponent = log_probability / math.log(10)
    if -5 < exponent < 5:
        return f"{math.exp(log_probability):.3g}"
    whole = math.floor(exponent)
    mantissa = f"{10 ** (exponent - whole):.2f}"
    return f"{mantissa}e{whole:+03d}" if mantissa != "10.00" else f"1.00e{whole + 1:+03d}"


def _ratio(first: float, second: float) -> str:
    if probability(abs(first - second)) == "1":
        return "both are equally probable"
    more, less = ("first", "second") if first >= second else ("second", "first")
    return f"the {more} is {probability(abs(first - second))} times as probable as the {less}"


def _lengths(first: Score, second: Score, unit: str) -> str:
    """Return the perplexities of texts of different lengths, because every added word makes a text less probable."""
    if len(first.tokens) == len(second.tokens):
        return ""
    perplexities = f"{first.perplexity:.2f} and {second.perplexity:.2f}"
    return f" (their lengths differ: by the {unit}, the perplexities {perplexities} compare)"


def _lost(scores: list[Score], unit: str, ends: bool) -> str:
    first, second = (lost(score, unit, ends) for score in scores)
    return f"each lost {first} to {UNK}" if first == second else f"the first lost {first} to {UNK}, the second {second}"


def _of_many(scores: list[Score], unit: str) -> str:
    losers = sum(bool(score.unknown) for score in scores)
    if not losers:
        return ""
    alike: dict[frozenset[tuple[str, int]], list[int]] = {}  # numbers of texts, by the tokens that they lost
    for number, score in enumerate(scores, 1):
        alike.setdefault(frozenset(Counter(score.unknown).items()), []).append(number)
    if len(alike) == 1:
        return f"all texts lost the same {unit}s to {UNK}: they can be compared"
    groups = [numbers for numbers in alike.values() if len(numbers) > 1]
    if sum(map(len, groups)) > NAMED:
        return f"{losers} of {len(scores)} texts lost {unit}s to {UNK}: compare only texts that lost the same ones"
    if not groups:
        return f"no two texts lost the same {unit}s to {UNK}: none of them can be compared"
    named = "; ".join(f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}" for numbers in groups)
    return f"only texts that lost the same {unit}s to {UNK} can be compared: {named}"
