"""The part of :class:`fastrnn.trained_run.TrainedRun` for music: sampling and scoring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from statistics import median_low
from typing import Any

import numpy as np

from ..._core import checks
from ...sampling import Choice, log_softmax
from ...text.language_model import Score
from .. import generation
from .._midi.songs import Song
from .._theory.instruments import INSTRUMENTS, Instrument, instrument
from ..changes import changes_of
from ..generation import Form, Solo, places_of
from ..jazz_model import has_memory, taken
from ..piece import STRAIGHT, TICKS, Part, Piece, beat_length, commonest_metre
from ..run_folder import Player
from .batching import evaluation, lines, range_of
from .options import TOP_P

SOLO = "solo"
LIKELY = Choice(top_p=TOP_P)


def instrument_for(player: Player, name: str | None) -> Instrument:
    """Return the named instrument or, without a name, the instrument of most songs, limited to their range.

    If the songs' program is not in INSTRUMENTS, or none of their notes is in its range, the songs' own range is used. Raises
    ValueError for an unknown name, and for an instrument that can play none of the model's notes.
    """
    if name is None:
        low, high = range_of(player.songs.train)
        program = Counter(song.head.program for song in player.songs.train).most_common(1)[0][0]
        ranges = [(known.low, known.high) for known in INSTRUMENTS.values() if known.program == program]
        bounds = [(max(low, lowest), min(high, highest)) for lowest, highest in ranges]
        return Instrument(program, *next((bound for bound in bounds if bound[0] <= bound[1]), (low, high)))
    found = instrument(name)
    lowest, highest = player.vocabulary.low, player.vocabulary.high
    if found.high < lowest or found.low > highest:
        raise ValueError(f"instrument {name} sounds {found.low}..{found.high}, this model's notes are {lowest}..{highest}")
    return found


def usual_tempo(player: Player) -> float:
    """Return the (lower) median tempo of the songs, in quarters a minute."""
    return median_low(song.frame.tempos[0][1] for song in player.songs.train)


def usual_swing(player: Player, form: Form) -> float:
    """Return the (lower) median swing of the songs; no swing if a beat of the form is not a quarter."""
    if any(beat_length(above, below) != TICKS for _, above, below in form.metres):
        return STRAIGHT
    return median_low(song.swing for song in player.songs.train)


def song_to_play_over(player: Player, seed: int | None) -> tuple[Song, Form]:
    """Draw a song from the training set, and return it with its form."""
    songs = player.songs.train
    song = songs[np.random.default_rng(seed).integers(len(songs))]
    return song, Form.of(song.piece)


def play_over(
    player: Player,
    form: Form,
    who: Instrument,
    *,
    choice: Choice,
    seed: int | None,
    primer: Part | None = None,
    to_the_end: bool = True,
    progress: Callable[[float], None] | None = None,
) -> tuple[Solo, Form]:
    """Return a solo in an instrument's range, and the form up to the solo's end.

    Arguments and errors are those of :func:`fastrnn.music.generation.improvise`, with the songs' places in a beat.
    ``progress`` is called with the number of bars that are done.
    """
    solo = generation.improvise(
        player.model,
        player.vocabulary,
        form,
        choice=choice,
        seed=seed,
        primer=primer,
        low=who.low,
        high=who.high,
        places=places_of(player.lines, player.vocabulary),
        habits=player.habits if has_memory(player.model) else None,
        to_the_end=to_the_end,
        progress=None if progress is None else lambda tick: progress(form.bars * tick / form.length),
    )
    return solo, form.until(solo.part.end) if solo.ended else form


class JazzParts:
    """A model of music with its songs."""

    stream = None  # a solo cannot be streamed
    choice = LIKELY

    def __init__(self, player: Player) -> None:
        self.player = player
        self.options, self.model, self.vocabulary = player.config.options, player.model, player.vocabulary
        self.songs = player.songs

    def score(self, item: Any) -> Score:
        """Return the log probabilities of a song's tokens, given its chords. Raises TypeError, ValueError."""
        if not isinstance(item, Song):
            raise TypeError(f"a run of jazz scores a Song, or a list of them, got {checks.describe(item)}")
        (batch,) = evaluation(lines([item], self.vocabulary), self.vocabulary, 1)
        logits, targets = self.model(*taken(self.model, batch.inputs), lengths=batch.lengths)[:, 0], batch.targets[:, 0]
        names = self.vocabulary.names()
        return Score(tuple(names[i] for i in targets.tolist()), log_softmax(logits)[np.arange(len(targets)), targets])

    def sample(
        self,
        number: int,
        *,
        changes: str | None = None,
        choruses: int | None = None,
        key: str | None = None,
        metre: tuple[int, int] | None = None,
        ending: bool = True,
        instrument: str | None = None,
        choice: Choice = LIKELY,
        seed: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> list[Piece]:
        """Return solos over changes, or over the chords of training songs. Raises TypeError, ValueError."""
        who = instrument_for(self.player, instrument)
        form, ending = self._form(changes, choruses, key, metre), checks.flag("ending", ending)
        if form is not None and ending:
            form = form.with_closing_bar()
        seeds = [None if seed is None else seed + i for i in range(number)]
        pieces = []
        for done, each in enumerate(seeds, 1):
            pieces.append(self._played(form, who, choice, each))
            if progress is not None:
                progress(done)
        return pieces

    def _form(
        self, changes: str | None, choruses: int | None, key: str | None, metre: tuple[int, int] | None
    ) -> Form | None:
        """Return the form of changes; None without.

        Raises TypeError for a value of another type, and ValueError for other arguments if there are no changes.
        """
        for name, text in (("changes", changes), ("key", key)):
            if not isinstance(text, str | None):
                raise TypeError(f"{name} must be a str, got {checks.describe(text)}")
        if changes is None:
            for name, value in (("choruses", choruses), ("key", key), ("metre", metre)):
                if value is not None:
                    raise ValueError(f"{name} needs changes, and none are given")
            return None
        if metre is None:
            metre = commonest_metre([song.frame for song in self.player.songs.train])
        number = checks.positive_int("choruses", 2 if choruses is None else choruses)
        return Form.of(changes_of(changes, key, metre).choruses(number))

    def _played(self, form: Form | None, who: Instrument, choice: Choice, seed: int | None) -> Piece:
        over = song_to_play_over(self.player, seed)[1] if form is None else form
        solo, over = play_over(self.player, over, who, choice=choice, seed=seed, to_the_end=form is not None)
        part = replace(solo.part, name=SOLO, program=who.program)
        tempo, swing = usual_tempo(self.player), usual_swing(self.player, over)
        return Piece((part,), over.metres, ((0, tempo),), over.chords, over.length, swing)
