"""Improvising over given chords: tokens are sampled one by one from the model, under the grammar's mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import Model
from ..sampling import PLAIN, Choice, choose
from ._model.batching import NOTHING, Line
from ._model.grammar import Grammar
from .changes import Changes
from .chords import Chord, chord_table
from .jazz_model import in_bar
from .piece import TICKS, Metre, Part, Piece, after_line, bar_lines, separated
from .tokens import clock, decode, encode
from .vocabulary import END, PITCH, PartVocabulary

LONGEST = 4  # consecutive LONG tokens: four bars of rest, or of one note


class NonFiniteLogits(ArithmeticError):
    """NaN or infinity among a model's logits: nothing can be sampled."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a solo: chords by tick, metres, and the length in ticks."""

    chords: tuple[tuple[int, Chord], ...]
    length: int
    metres: tuple[Metre, ...] = ((0, 4, 4),)

    @classmethod
    def of(cls, changes: Changes | Piece) -> Form:
        """Return the form of changes or of a piece, up to the end of the last bar."""
        if isinstance(changes, Changes):
            return cls(changes.chords, changes.length, ((0, *changes.metre),))
        return cls(changes.chords, changes.length, changes.metres)._cut(int(changes.bar_ends()[-1]))

    @property
    def bars(self) -> int:
        """The number of bars."""
        return len(bar_lines(self.metres, self.length))

    def until(self, tick: int) -> Form:
        """Return the form cut at the first bar line at or after ``tick``, at least one bar long."""
        lines = bar_lines(self.metres, self.length)
        return self._cut(next((line for line in lines.tolist() if line >= max(tick, 1)), self.length))

    def _cut(self, length: int) -> Form:
        """Return the form with another length, without the chords and metres from there on."""
        chords = tuple(chord for chord in self.chords if chord[0] < length)
        return Form(chords, length, tuple(metre for metre in self.metres if metre[0] < length))


@dataclass(frozen=True, slots=True)
class Solo:
    """An improvised part."""

    part: Part
    primed: int  # the number of first notes that come from the primer
    ended: bool  # True if the model ended the solo itself


def improvise(
    model: Model,
    vocabulary: PartVocabulary,
    form: Form,
    *,
    choice: Choice = PLAIN,
    seed: int | None = None,
    primer: Part | None = None,
    low: int = 0,
    high: int = 127,
    places: NDArray[np.bool_] | None = None,
    to_the_end: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Solo:
    """Sample a part over the whole ``form``.

    Parameters
    ----------
    model
        A model of :func:`fastrnn.music.jazz_model.jazz_model`, trained on tokens of ``vocabulary``.
    form
        The chords, metres and length to play over.
    choice
        The temperature and cut-offs of sampling.
    seed
        The same seed gives the same part; None draws a new one each time.
    primer
        Notes to continue from; its tick 0 is that of the form.
    low, high
        The instrument's range. It limits the sampled notes, not the primer.
    places
        The tokens that may be sampled at each place in a beat, see :func:`places_of`; None allows all.
    to_the_end
        If False, the model may end before the form does.
    progress
        Called after each token with the current tick.

    Raises
    ------
    ValueError
        If the primer is not shorter than the form or has notes outside the vocabulary, or if the range leaves no pitch.
    NonFiniteLogits
        If a logit is NaN or infinite.
    """
    player = _Player(model, vocabulary, form, Grammar(vocabulary, low, high), places, to_the_end)
    given = () if primer is None else encode(primer, vocabulary, end=False).tolist()
    if primer is not None and primer.end >= form.length:
        bars = len(bar_lines(form.metres, primer.end))
        raise ValueError(f"primer must be shorter than the form, of {form.bars} bars, got one of {bars}")
    player.follow(given)
    player.play(choice, np.random.default_rng(seed), progress)
    part = decode(np.array(player.ids, np.int64), vocabulary)
    notes = tuple(
        replace(note, duration=min(note.duration, form.length - note.onset))
        for note in part.notes
        if note.onset < form.length
    )
    primed = 0 if primer is None else len(separated(primer.notes))
    return Solo(replace(part, notes=notes), primed, player.ids[-1:] == [vocabulary.end])


class _Player:
    """A model in the middle of a solo: its state, the grammar's, and the tokens so far."""

    def __init__(
        self,
        model: Model,
        vocabulary: PartVocabulary,
        form: Form,
        grammar: Grammar,
        places: NDArray[np.bool_] | None,
        to_the_end: bool,
    ) -> None:
        self.model, self.vocabulary, self.form, self.grammar = model, vocabulary, form, grammar
        self.places = places
        self.to_the_end = to_the_end
        self.ids: list[int] = []
        self._said = [NOTHING, NOTHING]  # pitches, see fastrnn.music.jazz_model.last_pitches
        self._kinds = vocabulary.kinds()
        self._state: Any = None
        self._bars = bar_lines(form.metres, form.length + 1)
        self._ticks = np.array([tick for tick, _ in form.chords], np.int64)
        self._chords = chord_table(chord for _, chord in form.chords)
        self._long = (vocabulary.long_shift, vocabulary.long_duration)

    def follow(self, ids: Sequence[int]) -> None:
        """Take given tokens, and run the model over all but the last."""
        grammar = Grammar(self.vocabulary)  # without the instrument's range, which does not bind a primer
        for token in ids:
            self._logits(grammar.time)
            grammar.advance(token)
            self._take(token)
        self.grammar.take_over(grammar)

    def play(self, choice: Choice, rng: np.random.Generator, progress: Callable[[int], None] | None) -> None:
        """Sample up to the end of the form, or up to an end token."""
        while self.grammar.time < self.form.length:
            logits = self._logits(self.grammar.time)
            logits[~self._allowed()] = -np.inf
            token = int(choose(logits[None], rng.random(1), choice)[0])
            self.grammar.advance(token)
            self._take(token)
            if progress is not None:
                progress(min(self.grammar.time, self.form.length))
            if token == self.vocabulary.end:
                return
        if self.ids[-1:] == [self.vocabulary.long_duration]:  # the last note lasts beyond the form
            self.ids.append(self.vocabulary.first_duration)

    def _logits(self, time: int) -> NDArray[Any]:
        """Compute the logits ``[V]`` of the next token, which stands at ``time``."""
        token = self.ids[-1] if self.ids else NOTHING
        place = np.array([min(time, self.form.length)])
        position = in_bar(after_line(self._bars, place))
        chord = self._chords[np.searchsorted(self._ticks, place, side="right")]
        before, last = np.array(self._said[-2:])[:, None]
        logits, self._state = self.model.step(np.array([token]), chord, position, last, before, state=self._state)
        row: NDArray[Any] = logits[0]
        if not np.isfinite(row).all():
            raise NonFiniteLogits("nothing can be sampled: a logit is NaN or infinite")
        return row

    def _take(self, token: int) -> None:
        self.ids.append(token)
        if self._kinds[token] == PITCH:
            self._said.append(token - self.vocabulary.first_pitch)

    def _allowed(self) -> NDArray[np.bool_]:
        """Return a mask of the ids that may come next, bool ``[V]``."""
        allowed = self.grammar.mask()
        if self.to_the_end:
            allowed[self.vocabulary.end] = False
        for long in self._long:
            if self.ids[-LONGEST:] == [long] * LONGEST:
                allowed[long] = False
        if self.places is None:
            return allowed
        usual = allowed & self.places[self.grammar.time % TICKS]
        return usual if usual.any() else allowed


def places_of(lines: Iterable[Line], vocabulary: PartVocabulary) -> NDArray[np.bool_]:
    """Return the tokens that occur at each place in a beat in the ``lines``, bool ``[12,V]``.

    Pitches and the end are allowed everywhere. Without this mask one wrong token of a triplet moves all later notes to
    places where no song has any, and the model has not learned to return from there.
    """
    places = np.zeros((TICKS, len(vocabulary)), np.bool_)
    for line in lines:
        places[clock(line.ids, vocabulary)[:-1] % TICKS, line.ids] = True
    places[:, np.isin(vocabulary.kinds(), (PITCH, END))] = True
    return places
