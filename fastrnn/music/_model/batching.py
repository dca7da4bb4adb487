"""Batches of songs for training, in all keys; short songs are joined.

The input of a step is the previous token, and the chord and the place in the bar at the time of the next token (its
:func:`fastrnn.music.tokens.clock`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...losses import IGNORED
from ...training._run.model_task import Batch, Batches
from ..jazz_model import in_bar, last_pitches
from ..piece import after_line
from ..tokens import clock, encode_notes, keys, transposed
from ..vocabulary import PITCH, UNIT, PartVocabulary
from .form import bar_features, bars_of
from .memory import LONGEST_RUN, form_features, moments, recalled, repeats, runs
from .song import Song

Ids = NDArray[np.int64]

NOTHING = -1  # before the first token
PADDING = (NOTHING, 0, 0, NOTHING, NOTHING, 0, NOTHING, 0, IGNORED)  # the inputs and the target of a padded step
MOST_STEPS = 2**17  # steps of a batch for evaluation, with padding: 18 MB of inputs
ENDING = 0.2  # the probability that a sequence ends with its first song: the model must learn ends


@dataclass(frozen=True, slots=True)
class Line:
    """A song as arrays of small integer types, because there may be millions of them.

    Attributes
    ----------
    ids
        Tokens ``[N]`` without the end.
    bars
        The ticks at which bars begin.
    chord_ticks
        The ticks at which chords begin, ``[M]``.
    chords
        Their features, 0 or 1, ``[M+1,24]``; row 0 is no chord.
    places
        The features of each bar's place in the form, 0 or 1, see :func:`fastrnn.music._model.form.bar_features`.
    length
        In ticks.
    moves
        The transpositions in semitones that stay within the vocabulary.
    """

    ids: NDArray[Any]
    bars: NDArray[Any]
    chord_ticks: NDArray[Any]
    chords: NDArray[Any]
    places: NDArray[Any]
    length: int
    moves: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, song: Song, vocabulary: PartVocabulary, *, transpose: bool = False) -> Line:
        """Make the line of a song. Raises ValueError for notes outside the vocabulary."""
        frame = song.frame
        ids = encode_notes(*song.notes, vocabulary, end=False).astype(np.min_scalar_type(len(vocabulary) - 1))
        length = int(frame.bar_ends()[-1])  # whole bars, so that a joined song begins on the beat
        moves = tuple(keys(ids, vocabulary).values()) if transpose else (0,)
        bars, chords = frame.bars().astype(np.int32), song.chord_features().astype(np.uint8)
        ticks, symbols = song.columns["chord_tick"], [song.head.symbols[i] for i in song.columns["chord"].tolist()]
        places = bar_features(bars_of(frame.bars(), ticks, symbols))
        return cls(ids, bars, ticks, chords, places, length, moves)

    def moved(self, semitones: int, vocabulary: PartVocabulary) -> Line:
        """Return the line transposed up by ``semitones``."""
        if not semitones:
            return self
        chords = np.concatenate([np.roll(half, semitones, axis=1) for half in np.split(self.chords, 2, axis=1)], axis=1)
        ids = transposed(self.ids, vocabulary, semitones)
        return Line(ids, self.bars, self.chord_ticks, chords, self.places, self.length)

    def then(self, other: Line, vocabulary: PartVocabulary) -> Line:
        """Join the other line to the end of this one."""
        kinds = vocabulary.kinds()
        first = int(np.argmax(kinds[other.ids] == PITCH)) if len(other.ids) else 0
        shift = self.length - int(clock(self.ids, vocabulary)[-1]) + int(clock(other.ids[:first], vocabulary)[-1])
        longs, rest = divmod(max(0, shift), UNIT)
        between = [vocabulary.long_shift] * longs + [rest]
        return Line(
            np.concatenate([self.ids, between, other.ids[first:]]),
            np.concatenate([self.bars, other.bars + self.length]),
            # "No chord" at the other's start. If the other has a chord there, that comes later in the list and wins.
            np.concatenate([self.chord_ticks, [self.length], other.chord_ticks + self.length]),
            np.concatenate([self.chords, other.chords]),
            np.concatenate([self.places, other.places]),
            self.length + other.length,
        )

    def steps(self, ids: Ids, vocabulary: PartVocabulary, start: int = 0, count: int | None = None) -> tuple[Any, ...]:
        """Return the model's inputs and the target of each step; ``ids [N]`` are this line's, with or without an end.

        They are ``token, chord, position, last, before, form, recalled, run, target``, as in
        :func:`fastrnn.music.jazz_model.jazz_model`. Chord, form and run are float32; all others are int64. Only ``count``
        steps from ``start`` on are returned.
        """
        ids = np.asarray(ids, np.int64)
        window = slice(start, len(ids) if count is None else start + count)
        ticks = clock(ids, vocabulary)[:-1][window]
        chord = self.chords[np.searchsorted(self.chord_ticks, ticks, side="right")].astype(np.float32)
        token = np.concatenate([[NOTHING], ids[:-1]])[window]
        pitches = (each[window] for each in last_pitches(ids, vocabulary))
        moment, notes = moments(ids, vocabulary)
        form = form_features(moment.part(window), notes, self.bars, self.places)
        # A run is cut to LONGEST_RUN, so it needs as many tokens before the window.
        early = max(0, start - LONGEST_RUN)
        longer = slice(early, window.stop)
        recall = recalled(moment.part(longer), notes, self.bars, vocabulary)
        past = form, recall[start - early :], runs(repeats(ids[longer], recall))[start - early :]
        return token, chord, in_bar(after_line(self.bars, ticks)), *pitches, *past, ids[window]


def lines(songs: Sequence[Song], vocabulary: PartVocabulary, *, transpose: bool = False) -> list[Line]:
    """Make the lines of songs. Raises ValueError for notes outside the vocabulary."""
    return [Line.of(song, vocabulary, transpose=transpose) for song in songs]


class SongBatches(Batches):
    """Endless batches of windows of songs, in a new order and in random keys each epoch.

    A song has one window for each ``length`` tokens. A batch has ``batch`` sequences of at most ``length`` tokens, padded to
    the longest: ``[T,B]`` with T <= length. A shorter song is mostly continued with others, because the model has to
    improvise over many choruses. Raises ValueError if there are no songs.
    """

    def __init__(self, songs: Sequence[Line], vocabulary: PartVocabulary, batch: int, length: int, *, seed: int = 0) -> None:
        if not len(songs):
            raise ValueError("songs must hold at least one, got none")
        super().__init__(seed)  # the position counts sequences
        self._songs, self._vocabulary = songs, vocabulary
        self.batch, self._length = batch, length
        per_song = [-(-max(1, len(song.ids)) // length) for song in songs]
        self._first_windows = np.cumsum([0, *per_song])  # of each song; at the end, the number of all windows

    def next(self) -> Batch:
        """Return the next batch."""
        sequences = [self._sequence(self._position + i) for i in range(self.batch)]
        self._position += self.batch
        return padded(sequences)

    def _sequence(self, number: int) -> tuple[Any, ...]:
        epoch, place = divmod(number, int(self._first_windows[-1]))
        song, start = self._window(epoch, place)
        rng = np.random.default_rng([self._seed, epoch, place])
        line = self._in_a_key(self._songs[song], rng)
        ending = rng.random() < ENDING
        spare = max(0, len(line.ids) + 1 - self._length)
        start = int(np.clip(start + rng.integers(-self._length // 2, self._length // 2 + 1), 0, spare))
        while len(line.ids) < start + self._length and not ending:
            line = line.then(self._in_a_key(self._songs[int(rng.integers(len(self._songs)))], rng), self._vocabulary)
        ids = np.append(line.ids, self._vocabulary.end)
        return line.steps(ids, self._vocabulary, start, self._length)

    def _window(self, epoch: int, place: int) -> tuple[int, int]:
        """Return the song at a place of an epoch, and the token at which its window begins."""
        window = int(self._shuffled(epoch, int(self._first_windows[-1]))[place])
        song = int(np.searchsorted(self._first_windows, window, side="right")) - 1
        return song, (window - int(self._first_windows[song])) * self._length

    def _in_a_key(self, line: Line, rng: np.random.Generator) -> Line:
        return line.moved(line.moves[rng.integers(len(line.moves))], self._vocabulary)


def evaluation(songs: Sequence[Line], vocabulary: PartVocabulary, batch: int) -> Iterator[Batch]:
    """Yield whole songs with their ends, in batches of at most ``batch`` songs and MOST_STEPS steps.

    A song with more steps is a batch of its own.
    """
    together: list[Line] = []
    for song in sorted(songs, key=lambda song: len(song.ids)):
        if together and (len(together) == batch or (len(together) + 1) * (len(song.ids) + 1) > MOST_STEPS):
            yield _whole(together, vocabulary)
            together = []
        together.append(song)
    if together:
        yield _whole(together, vocabulary)


def _whole(songs: Sequence[Line], vocabulary: PartVocabulary) -> Batch:
    return padded([song.steps(np.append(song.ids, vocabulary.end), vocabulary) for song in songs])


def padded(sequences: Sequence[tuple[Any, ...]]) -> Batch:
    """Pad sequences of :meth:`Line.steps` to a batch."""
    lengths = np.array([len(sequence[0]) for sequence in sequences], np.int64)
    T, B = int(lengths.max()), len(sequences)
    fields = []
    for fill, field in zip(PADDING, zip(*sequences, strict=True), strict=True):
        array = np.full((T, B, *field[0].shape[1:]), fill, field[0].dtype)
        for b, values in enumerate(field):
            array[: len(values), b] = values
        fields.append(array)
    return Batch(tuple(fields[:-1]), fields[-1], lengths, int(lengths.sum()), True)


def range_of(songs: Sequence[Song]) -> tuple[int, int]:
    """Return the lowest and the highest pitch. Raises ValueError if there are no notes."""
    pitches = [song.notes[2] for song in songs if len(song.notes[2])]
    if not pitches:
        raise ValueError("songs must have notes, got none")
    return int(min(map(np.min, pitches))), int(max(map(np.max, pitches)))


def vocabulary_for(songs: Sequence[Song], polyphonic: bool, transpose: bool) -> PartVocabulary:
    """Make a vocabulary for all songs; six semitones wider on both sides if they are transposed to all keys."""
    low, high = range_of(songs)
    room = 6 if transpose else 0
    return PartVocabulary(max(0, low - room), min(127, high + room), polyphonic)
