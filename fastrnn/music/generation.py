"""Improvising: token after token from the model, under the grammar's mask, over chords that are given."""

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

LONGEST = 4  # LONG tokens one after the other: four bars of rest, or of one note


class NonFiniteLogits(ArithmeticError):
    """A model gives NaN or infinity for a logit: nothing can be sampled from it."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is played over: chords by tick, metres, and the length in ticks."""

    chords: tuple[tuple[int, Chord], ...]
    length: int
    metres: tuple[Metre, ...] = ((0, 4, 4),)

    @classmethod
    def of(cls, changes: Changes | Piece) -> Form:
        """The form of changes, or of a piece, up to the end of its last bar."""
        if isinstance(changes, Changes):
            return cls(changes.chords, changes.length, ((0, *changes.metre),))
        return cls(changes.chords, changes.length, changes.metres)._cut(int(changes.bar_ends()[-1]))

    @property
    def bars(self) -> int:
        """How many there are."""
        return len(bar_lines(self.metres, self.length))

    def until(self, tick: int) -> Form:
        """The form up to the end of the bar in which ``tick`` lies, or which it ends; one bar at least."""
        lines = bar_lines(self.metres, self.length)
        return self._cut(next((line for line in lines.tolist() if line >= max(tick, 1)), self.length))

    def _cut(self, length: int) -> Form:
        """With another length, and without what would count from there on."""
        chords = tuple(chord for chord in self.chords if chord[0] < length)
        return Form(chords, length, tuple(metre for metre in self.metres if metre[0] < length))


@dataclass(frozen=True, slots=True)
class Solo:
    """What was played: the part, how many of its first notes are the primer's, and whether the model ended it itself."""

    part: Part
    primed: int
    ended: bool


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
    """A part over the whole ``form``, by a model of :func:`fastrnn.music.jazz_model.jazz_model`.

    It goes on from the notes of ``primer``, whose tick 0 is the form's. ``low`` and ``high`` are the instrument's
    range, ``places`` says which tokens may stand where in a beat (:func:`places_of`); both hold for what is sampled. Without
    ``to_the_end`` the model may end before the form does. The same seed gives the same part (None: a fresh one each time).
    ``progress`` is called after each token with the tick that has been reached.
    Raises ValueError for a primer that is not shorter than the form or outside of the vocabulary, and for a range in
    which no pitch is left, and :class:`NonFiniteLogits`.
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
    """The model, where it has come to, and what it has said."""

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
        """Take tokens that are given, all but the last into the model."""
        # They need not keep to the instrument's range, as what is sampled does.
        grammar = Grammar(self.vocabulary)
        for token in ids:
            self._logits(grammar.time)
            grammar.advance(token)
            self._take(token)
        self.grammar.take_over(grammar)

    def play(self, choice: Choice, rng: np.random.Generator, progress: Callable[[int], None] | None) -> None:
        """Sample to the end of the form, or to the model's own."""
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
        if self.ids[-1:] == [self.vocabulary.long_duration]:  # it sounds on at the end of the form
            self.ids.append(self.vocabulary.first_duration)

    def _logits(self, time: int) -> NDArray[Any]:
        """Logits ``[V]`` of the next token, which stands at ``time``."""
        token = self.ids[-1] if self.ids else NOTHING
        place = np.array([min(time, self.form.length)])
        position = in_bar(after_line(self._bars, place))
        chord = self._chords[np.searchsorted(self._ticks, place, side="right")]
        before, last = np.array(self._said[-2:])[:, None]
        logits, self._state = self.model.step(np.array([token]), chord, position, last, before, state=self._state)
        row: NDArray[Any] = logits[0]
        if not np.isfinite(row).all():
            raise NonFiniteLogits("nothing can be sampled: the logits are no numbers")
        return row

    def _take(self, token: int) -> None:
        self.ids.append(token)
        if self._kinds[token] == PITCH:
            self._said.append(token - self.vocabulary.first_pitch)

    def _allowed(self) -> NDArray[np.bool_]:
        """Which ids may come next, bool ``[V]``."""
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
    """Which tokens stand where in a beat in some of the ``lines``, bool ``[12,V]``; pitches and the end may anywhere.

    One token of a triplet that goes wrong would move all that follows off the beat, to where no song has ever been: a model
    has not learned to find its way back from there.
    """
    places = np.zeros((TICKS, len(vocabulary)), np.bool_)
    for line in lines:
        places[clock(line.ids, vocabulary)[:-1] % TICKS, line.ids] = True
    places[:, np.isin(vocabulary.kinds(), (PITCH, END))] = True
    return places
