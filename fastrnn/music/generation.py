"""Improvising over given chords: tokens are sampled one by one from the model, under the grammar's mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..console import quantity
from ..graph import Model
from ..sampling import PLAIN, Choice, choose
from ._model.batching import NOTHING, Line
from ._model.ending import Ending
from ._model.form import bar_features, bars_of
from ._model.grammar import Grammar
from ._model.habits import STRONG, TAIL, WAIT, Habits, Plan, rested
from ._model.memory import Memory
from ._theory.cadence import closing_chord
from .changes import Changes
from .chords import Chord, chord_table
from .jazz_model import has_memory, in_bar
from .piece import TICKS, Metre, Part, Piece, after_line, bar_length, bar_lines, separated
from .tokens import clock, decode, encode
from .vocabulary import END, PITCH, SHIFT, UNIT, PartVocabulary

LONGEST = 4  # consecutive LONG tokens: four bars of rest, or of one note


class NonFiniteLogits(ArithmeticError):
    """NaN or infinity among a model's logits: nothing can be sampled."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a solo: chords by tick, metres, the length in ticks, and the tick at which a closing bar begins."""

    chords: tuple[tuple[int, Chord], ...]
    length: int
    metres: tuple[Metre, ...] = ((0, 4, 4),)
    closing: int | None = None

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

    def with_closing_bar(self) -> Form:
        """Return the form with one more bar, in which a solo ends, over the chord of ``closing_chord``."""
        bar = math.ceil(bar_length(*self.metres[-1][1:]))
        chords = [chord for _, chord in self.chords]
        close = closing_chord(chords) if chords else None
        new = () if close is None or close == chords[-1] else ((self.length, close),)
        return Form((*self.chords, *new), self.length + bar, self.metres, self.length)

    def frame(self) -> Piece:
        """Return a piece with these metres and this length, without parts and chords."""
        return Piece(metres=self.metres, length=self.length)

    def places(self) -> NDArray[np.uint8]:
        """Return the features of each bar, and of one more, by :func:`fastrnn.music._model.form.bar_features`."""
        bars = bar_lines(self.metres, self.length)
        ticks = np.array([tick for tick, _ in self.chords], np.int64)
        features = bar_features(bars_of(bars, ticks, [chord.symbol for _, chord in self.chords]))
        return np.concatenate([features, features[-1:]])

    def until(self, tick: int) -> Form:
        """Return the form cut at the first bar line at or after ``tick``, at least one bar long."""
        lines = bar_lines(self.metres, self.length)
        return self._cut(next((line for line in lines.tolist() if line >= max(tick, 1)), self.length))

    def _cut(self, length: int) -> Form:
        """Return the form with another length, without the chords and metres from there on."""
        chords = tuple(chord for chord in self.chords if chord[0] < length)
        closing = None if self.closing is None or self.closing >= length else self.closing
        return Form(chords, length, tuple(metre for metre in self.metres if metre[0] < length), closing)


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
    habits: Habits | None = None,
    to_the_end: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Solo:
    """Sample a part over the whole ``form``. In a closing bar the part ends by the rule in ``_model/ending.py``.

    Parameters
    ----------
    model
        A model of :func:`fastrnn.music.jazz_model.jazz_model`, trained on tokens of ``vocabulary``.
    form
        The chords, metres and length to play over.
    choice
        The temperature and cut-offs of sampling. With ``habits``, less of the rhythm of a line is cut off by ``top_p``.
    seed
        The same seed gives the same part; None draws a new one each time.
    primer
        Notes to continue from; its tick 0 is that of the form.
    low, high
        The instrument's range. It limits the sampled notes, not the primer.
    places
        The tokens that may be sampled at each place in a beat, see :func:`places_of`; None allows all.
    habits
        How often bars repeat earlier ones, see :func:`fastrnn.music._model.habits.habits_of`; in a bar that is to repeat
        one, a model with memory favours its tokens. None favours none.
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
        raise ValueError(f"primer must be shorter than the form, of {quantity(form.bars, 'bar')}, got one of {bars}")
    rng = np.random.default_rng(seed)
    player.follow(given)
    if habits is not None and has_memory(model):
        player.plan(habits, rng)
    player.play(choice, rng, progress)
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
        self._onset = NOTHING  # of the last note
        self._kinds = vocabulary.kinds()
        self._state: Any = None
        self._bars = bar_lines(form.metres, form.length + 1)
        self._ticks = np.array([tick for tick, _ in form.chords], np.int64)
        self._chords = chord_table(chord for _, chord in form.chords)
        self._plan: Plan | None = None
        self._strong: frozenset[int] = frozenset()  # ticks
        self._tail, self._wait = 1.0, 0.0
        self._past: tuple[Any, ...] = ()  # the inputs from the memory
        self._ending = _ending_of(form, vocabulary)
        self._memory = Memory(vocabulary, self._bars, form.places()) if has_memory(model) else None
        self._long = (vocabulary.long_shift, vocabulary.long_duration)

    def follow(self, ids: Sequence[int]) -> None:
        """Take given tokens, and run the model over all but the last."""
        grammar = Grammar(self.vocabulary)  # without the instrument's range, which does not bind a primer
        for token in ids:
            self._logits(grammar.time)
            grammar.advance(token)
            self._take(token, grammar.time)
        self.grammar.take_over(grammar)

    def plan(self, habits: Habits, rng: np.random.Generator) -> None:
        """Plan to repeat bars as often as ``habits`` say."""
        roots = np.array([0, *(chord.root for _, chord in self.form.chords)])
        of_bar = roots[np.searchsorted(self._ticks, np.minimum(self._bars, self.form.length), side="right")]
        self._strong = frozenset(self.form.frame().strong_beats().tolist())
        self._plan = Plan(habits, self._bars, of_bar, self.vocabulary, rng)
        if not self.vocabulary.polyphonic:
            self._tail, self._wait = TAIL, WAIT

    def play(self, choice: Choice, rng: np.random.Generator, progress: Callable[[int], None] | None) -> None:
        """Sample up to the end of the form, or up to an end token."""
        rhythm = replace(choice, top_p=choice.top_p + (1 - self._tail) * (1 - choice.top_p))
        while self.grammar.time < self.form.length:
            logits = self._logits(self.grammar.time)
            if self._plan is not None and self._memory is not None:
                self._favour(logits, self._plan, self._memory)
            logits[~self._allowed()] = -np.inf
            rule = choice if self.grammar.due == PITCH else rhythm
            token = int(choose(logits[None], rng.random(1), rule)[0])
            self.grammar.advance(token)
            self._take(token, self.grammar.time)
            closed = self._closed()
            if progress is not None:
                progress(self.form.length if closed else min(self.grammar.time, self.form.length))
            if token == self.vocabulary.end or closed:
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
        self._past = () if self._memory is None else self._memory.inputs()
        inputs = np.array([token]), chord, position, last, before, *self._past
        logits, self._state = self.model.step(*inputs, state=self._state)
        row: NDArray[Any] = logits[0]
        if not np.isfinite(row).all():
            raise NonFiniteLogits("nothing can be sampled: a logit is NaN or infinite")
        return row

    def _take(self, token: int, time: int) -> None:
        """Take a token, after which the tick is ``time``."""
        self.ids.append(token)
        if self._memory is not None:
            self._memory.take(token)
        if self._kinds[token] == PITCH:
            self._onset = time
            self._said.append(token - self.vocabulary.first_pitch)

    def _favour(self, logits: NDArray[Any], plan: Plan, memory: Memory) -> None:
        """Raise the logits of tokens that repeat a bar and of chord tones on strong beats, and lower the logits of rests."""
        form, found, _ = self._past
        due, time = memory.next()
        plan.favour(logits, due, time, found[0], bool(rested(form)[0]))
        if due == SHIFT:
            logits[TICKS : self.vocabulary.long_shift + 1] += self._wait
        if due == PITCH and time in self._strong:
            chord = self._chords[np.searchsorted(self._ticks, time, side="right")]
            pitches = np.arange(self.vocabulary.low, self.vocabulary.high + 1)
            logits[self.vocabulary.first_pitch : self.vocabulary.first_duration] += STRONG * chord[pitches % 12]

    def _allowed(self) -> NDArray[np.bool_]:
        """Return a mask of the ids that may come next, bool ``[V]``."""
        allowed = self.grammar.mask()
        if self._ending is not None:
            allowed = self._lead_to_the_end(allowed, self._ending)
        elif self.to_the_end:
            allowed[self.vocabulary.end] = False
        for long in self._long:
            if self.ids[-LONGEST:] == [long] * LONGEST:
                allowed[long] = False
        if self.places is None:
            return allowed
        usual = allowed & self.places[_place_in_beat(self._bars, np.array(self.grammar.time))]
        return usual if usual.any() else allowed

    def _lead_to_the_end(self, allowed: NDArray[np.bool_], ending: Ending) -> NDArray[np.bool_]:
        """Restrict the allowed tokens to those that lead to an ending, if there are any."""
        long = self.vocabulary.long_duration
        held = UNIT * next((i for i, token in enumerate(reversed(self.ids)) if token != long), 0)
        free = self.grammar.keys() if self._onset >= ending.start else None
        leading = allowed & ending.mask(self.grammar.due, self.grammar.time, held, free)
        return leading if leading.any() else allowed

    def _closed(self) -> bool:
        """Return whether the last note of an ending is complete; a polyphonic part ends by a token."""
        complete = self.grammar.due == SHIFT and self.ids[-1] != self.vocabulary.long_shift
        ending = self._ending
        return ending is not None and complete and not self.vocabulary.polyphonic and self._onset >= ending.start


def _ending_of(form: Form, vocabulary: PartVocabulary) -> Ending | None:
    """Return the rule for the closing bar of a form; None without one."""
    if form.closing is None:
        return None
    beats = [tick for tick in form.frame().beats().tolist() if tick >= form.closing]
    tones = form.chords[-1][1].pitch_classes if form.chords else frozenset()
    return Ending(vocabulary, form.closing, form.length, beats, tones)


def places_of(lines: Iterable[Line], vocabulary: PartVocabulary) -> NDArray[np.bool_]:
    """Return the tokens that occur at each place in a beat in the ``lines``, bool ``[12,V]``.

    A beat is a quarter here. Pitches and the end are allowed everywhere. Without this mask one wrong token of a triplet
    moves all later notes to places where no song has any, and the model has not learned to return from there.
    """
    places = np.zeros((TICKS, len(vocabulary)), np.bool_)
    for line in lines:
        places[_place_in_beat(line.bars, clock(line.ids, vocabulary)[:-1]), line.ids] = True
    places[:, np.isin(vocabulary.kinds(), (PITCH, END))] = True
    places[0, 0] = True  # a solo may begin on the beat, even if all songs begin with a pickup
    return places


def _place_in_beat(bars: NDArray[Any], ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place in a quarter, 0..11, of ticks (any shape), counted from the last of the bar lines ``bars``.

    In a pickup, a first bar shorter than the second, it is counted from the next one. Bars of seven eighths, or after a
    pickup of one, do not begin at a multiple of a quarter.
    """
    lines = bars.astype(np.int64)
    if len(lines) > 2 and lines[1] - lines[0] < lines[2] - lines[1]:
        lines = lines[1:]
    place: NDArray[np.int64] = (ticks - lines[np.maximum(np.searchsorted(lines, ticks, side="right") - 1, 0)]) % TICKS
    return place
