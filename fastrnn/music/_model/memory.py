"""The memory of bars ago: which token would repeat what was played one, two, four, eight or sixteen bars before.

Let t be the tick of the next token, b its bar, and t' the same place k bars before. The note to be repeated is the first at
or after t'; if notes were struck at t already (in a chord), it is the next one after as many at t'.

.. code-block:: text

    next token    to repeat note j
    shift         onset_j - t'                      waits until the place of note j
    pitch         p_last + (pitch_j - pitch_{j-1})  moves as the melody did,      if note j begins at t'
                  pitch_j                           or strikes the same key,      if note j begins at t'
    duration      duration_j - ticks so far         holds as long,                if note j begins at t'

All of this follows from the tokens before the next one. A run counts the tokens in succession that repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tokens import clock
from ..vocabulary import DURATION, PITCH, SHIFT, UNIT, PartVocabulary
from .form import phrase_features

LAGS = (1, 2, 4, 8, 16)  # bars
K = len(LAGS)
NOTHING = -1
LONGEST_RUN = 12  # tokens

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Notes:
    """Notes as int64 arrays ``[notes]``, in the order of their tokens."""

    onset: Ints
    duration: Ints
    pitch: Ints


@dataclass(frozen=True, slots=True)
class Moment:
    """The moments of N tokens that come next, as int64 arrays ``[N]``.

    ``due`` is the token's kind; ``at`` its tick, for a duration that of its note's onset; ``held`` the ticks of the note so
    far; ``done`` the number of complete notes, ``struck`` of those at the same tick; ``last`` the last pitch, 0..127.
    """

    due: Ints
    at: Ints
    held: Ints
    done: Ints
    struck: Ints
    last: Ints

    def part(self, window: slice) -> Moment:
        """Return the moments of the tokens in a window."""
        columns = self.due, self.at, self.held, self.done, self.struck, self.last
        return Moment(*(column[window] for column in columns))


def moments(ids: Ints, vocabulary: PartVocabulary) -> tuple[Moment, Notes]:
    """Return the moment of each token of ``ids [N]`` (without or with an end), and the notes that they make."""
    kind, value, complete = vocabulary.kinds()[ids], vocabulary.values()[ids], vocabulary.complete()[ids]
    ticks = clock(ids, vocabulary)[:-1]
    is_pitch = kind == PITCH
    of_note = np.cumsum(is_pitch) - 1  # at each token: the number of its note, for a pitch and its durations
    onset, pitch = ticks[is_pitch], value[is_pitch]
    lengths = np.where(kind == DURATION, value, 0)
    total = np.concatenate([[0], np.cumsum(lengths)])[:-1]  # before each token
    duration = np.zeros(len(onset), np.int64)
    np.add.at(duration, of_note[kind == DURATION], value[kind == DURATION])
    at, held = ticks.copy(), np.zeros(len(ids), np.int64)
    of_duration = kind == DURATION
    at[of_duration] = onset[of_note[of_duration]]
    held[of_duration] = total[of_duration] - total[is_pitch][of_note[of_duration]]
    ends = complete & of_duration
    done = np.cumsum(ends) - ends
    struck = np.where(done > 0, done - np.searchsorted(onset, at), 0)
    due = np.where(kind > DURATION, SHIFT, kind)  # an end stands in place of a shift
    heard = np.cumsum(is_pitch) - is_pitch  # pitches before each token
    last = np.append(NOTHING, pitch)[heard] if len(ids) else heard
    return Moment(due, at, held, done, np.maximum(0, np.minimum(struck, done)), last), Notes(onset, duration, pitch)


def recalled(moment: Moment, notes: Notes, bars: Ints, vocabulary: PartVocabulary) -> Ints:
    """Return the tokens that repeat what was played, int64 ``[N,2K]``, NOTHING where there is nothing to repeat.

    For each lag k there are two: at 2k the shift or duration, or the pitch that moves as the melody did; at 2k + 1 the pitch
    of the same key. ``bars`` are the ticks at which bars begin.
    """
    result = np.full((len(moment.at), 2 * K), NOTHING, np.int64)
    if not len(notes.onset):
        return result
    low, first_pitch = vocabulary.low, vocabulary.first_pitch
    bar = np.searchsorted(bars, moment.at, "right")[:, None] - 1  # [N,1]; below, all are [N,K]
    earlier = bar - np.array(LAGS)
    then = bars[np.maximum(earlier, 0)] + moment.at[:, None] - bars[bar]
    first, after = np.searchsorted(notes.onset, then), np.searchsorted(notes.onset, then, "right")
    wanted = first + moment.struck[:, None]
    j = np.minimum(wanted, after)
    known = (earlier >= 0) & (j < moment.done[:, None])
    here = known & (wanted < after)  # note j begins at the same place
    j = np.minimum(j, len(notes.onset) - 1)
    due = moment.due[:, None]
    wait = np.minimum(notes.onset[j] - then, UNIT)
    length = np.minimum(notes.duration[j] - moment.held[:, None], UNIT + 1)
    moved = moment.last[:, None] + notes.pitch[j] - notes.pitch[np.maximum(j - 1, 0)] - low
    fits = here & (j > 0) & (moved >= 0) & (moved < vocabulary.pitches)
    choices = [known, fits, here & (length > 0)]
    values = [wait, first_pitch + moved, vocabulary.first_duration + length - 1]
    result[:, ::2] = np.select([(due == kind) & ok for kind, ok in enumerate(choices)], values, NOTHING)
    result[:, 1::2] = np.where((due == PITCH) & here, first_pitch + notes.pitch[j] - low, NOTHING)
    return result


def form_features(moment: Moment, notes: Notes, bars: Ints, places: NDArray[Any]) -> NDArray[np.float32]:
    """Return the place in the form and the age of the phrase at each moment, float32 ``[N,FORM]``.

    ``places [bars,BAR]`` are features of the bars, see :func:`fastrnn.music._model.form.bar_features`.
    """
    of_bar = places[np.searchsorted(bars, moment.at, "right") - 1]
    phrase = phrase_features(moment.at, moment.done, notes.onset, notes.duration)
    features: NDArray[np.float32] = np.concatenate([of_bar, phrase], 1, dtype=np.float32)
    return features


def repeats(tokens: Ints, found: Ints) -> NDArray[np.bool_]:
    """Return whether each token of ``tokens [N]`` repeats one of ``found [N,2K]``, bool ``[N,K]``."""
    same = found == tokens[:, None]
    flags: NDArray[np.bool_] = same[:, ::2] | same[:, 1::2]
    return flags


def runs(flags: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the number of repeating tokens in succession before each token, over LONGEST_RUN and cut to 0..1, ``[N,K]``."""
    count = np.arange(len(flags))[:, None]
    last_miss = np.maximum.accumulate(np.where(flags, -1, count), axis=0)
    run = np.concatenate([np.zeros((1, K), np.int64), (count - last_miss)[:-1]])[: len(flags)]
    return _scaled(run)


def _scaled(run: NDArray[Any]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (np.minimum(run, LONGEST_RUN) / LONGEST_RUN).astype(np.float32)
    return scaled


class Memory:
    """The memory of a part that is being played: :meth:`take` takes its tokens one by one.

    ``bars`` are the ticks at which bars begin, and ``places`` their features. Its results equal those that the
    functions above return for the whole part.
    """

    def __init__(self, vocabulary: PartVocabulary, bars: Ints, places: NDArray[Any]) -> None:
        self._vocabulary, self._bars, self._places = vocabulary, bars, places
        self._kinds, self._values = vocabulary.kinds().tolist(), vocabulary.values().tolist()
        self._complete = vocabulary.complete().tolist()
        self._notes = np.zeros((3, 64), np.int64)
        self._done = 0
        self._due, self._time, self._held = SHIFT, 0, 0
        self._onset, self._pitch = 0, NOTHING
        self._recalled = np.full((1, 2 * K), NOTHING, np.int64)
        self._runs = np.zeros((1, K), np.int64)

    def inputs(self) -> tuple[Any, Any, Any]:
        """Return ``form, recalled, run`` of the next token, for the model's step."""
        _, at = self.next()
        notes = Notes(*self._notes[:, : self._done])
        struck = self._done - int(np.searchsorted(notes.onset, at))
        values = (self._due, at, self._held, self._done, struck, self._pitch)
        moment = Moment(*np.array(values, np.int64)[:, None])
        self._recalled = recalled(moment, notes, self._bars, self._vocabulary)
        return form_features(moment, notes, self._bars, self._places), self._recalled, _scaled(self._runs)

    def next(self) -> tuple[int, int]:
        """Return the kind of the next token and its tick."""
        return self._due, self._onset if self._due == DURATION else self._time

    def take(self, token: int) -> None:
        """Take the token for which :meth:`inputs` were computed."""
        self._runs = np.where(repeats(np.array([token]), self._recalled), self._runs + 1, 0)
        kind, value = self._kinds[token], self._values[token]
        if kind == SHIFT:
            self._time += value
        elif kind == PITCH:
            self._onset, self._pitch, self._held = self._time, value, 0
        elif kind == DURATION:
            self._held += value
            self._time += 0 if self._vocabulary.polyphonic else value
        if self._complete[token]:
            self._due = (kind + 1) % 3
            if kind == DURATION:
                self._add()

    def _add(self) -> None:
        """Add the complete note."""
        if self._done == self._notes.shape[1]:
            self._notes = np.concatenate([self._notes, np.zeros_like(self._notes)], 1)
        self._notes[:, self._done] = self._onset, self._held, self._pitch
        self._done += 1
        self._held = 0
