"""Beam search by value, compared with a search through every sequence and with a plain beam search."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

import fastrnn
from fastrnn.sampling import log_softmax
from fastrnn.text.beam import Hypothesis, beam_search, take_rows

EOS = 0


class Small:
    """A GRU over V tokens with clearly different logits; its next token depends on all earlier ones."""

    def __init__(self, V: int, seed: int, contrast: float = 3.0) -> None:
        rng = np.random.default_rng(seed)
        self.gru = fastrnn.GRU(V, 5, dtype="float64", rng=rng)
        for parameter in self.gru.parameters():
            parameter.assign(3 * parameter.data)
        self.head = contrast * rng.standard_normal((5, V))

    def step(self, tokens, state):
        y, state = self.gru(tokens[None], state)
        return y[0] @ self.head, state

    def log_probability(self, state, start: int, tokens: tuple[int, ...]) -> float:
        """Return the log probability of the tokens, in one pass over the whole sequence."""
        y, _ = self.gru(np.array([[start], *([token] for token in tokens[:-1])]), state)
        return float(log_softmax(y[:, 0] @ self.head)[np.arange(len(tokens)), list(tokens)].sum())


def every_sequence(model: Small, state, start: int, V: int, max_length: int, a: float) -> list[Hypothesis]:
    """Return all sequences that end within max_length, best first."""
    found = []
    for n in range(max_length):
        for words in itertools.product(range(1, V), repeat=n):
            logp = model.log_probability(state, start, (*words, EOS))
            found.append(Hypothesis(words, logp, logp / (n + 1) ** a, True))
    return sorted(found, key=lambda hypothesis: hypothesis.score, reverse=True)


def plain_beam(model: Small, state, start: int, width: int, max_length: int, a: float) -> list[Hypothesis]:
    """Search by the same rule with lists, for one search, and run each sequence from its beginning."""
    live, done = [((), 0.0)], []
    for _ in range(max_length):
        grown = []
        for tokens, _ in live:
            y, _ = model.gru(np.array([[start], *([token] for token in tokens)]), state)
            before = model.log_probability(state, start, tokens) if tokens else 0.0
            grown += [((*tokens, v), before + lp) for v, lp in enumerate(log_softmax(y[-1, 0] @ model.head).tolist())]
        grown = sorted(grown, key=lambda pair: -pair[1])[: width - len(done)]
        done += [pair for pair in grown if pair[0][-1] == EOS]
        live = [pair for pair in grown if pair[0][-1] != EOS]
    ended = [Hypothesis(tokens[:-1], logp, logp / len(tokens) ** a, True) for tokens, logp in done]
    others = [Hypothesis(tokens, logp, logp / len(tokens) ** a, False) for tokens, logp in live]
    return [h for group in (ended, others) for h in sorted(group, key=lambda h: -h.score)]


def assert_same(got: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [(h.tokens, h.ended) for h in got] == [(h.tokens, h.ended) for h in expected]
    np.testing.assert_allclose([h.log_probability for h in got], [h.log_probability for h in expected], rtol=1e-10)
    np.testing.assert_allclose([h.score for h in got], [h.score for h in expected], rtol=1e-10)


@pytest.mark.parametrize("a", [0.0, 0.7, 1.0])
def test_a_beam_as_wide_as_all_sequences_finds_them_all_in_order(a):
    V, max_length = 3, 4
    model = Small(V, seed=1)
    state = np.random.default_rng(2).standard_normal((1, 2, 5))
    found = beam_search(model.step, state, [1, 2], eos=EOS, width=V**max_length, max_length=max_length, length_penalty=a)
    for b, start in enumerate((1, 2)):
        expected = every_sequence(model, state[:, b : b + 1], start, V, max_length, a)
        assert_same([h for h in found[b] if h.ended], expected)
        cut = [h for h in found[b] if not h.ended]
        assert len(cut) == (V - 1) ** max_length
        total = sum(np.exp(h.log_probability) for h in found[b])
        assert total == pytest.approx(1, abs=1e-12)


def test_the_penalty_changes_what_is_best():
    # p(end) is 0.4 at first and 0.1 later, so the empty sequence is the likeliest, but a long one has the best mean.
    def step(tokens, state):
        p = np.where(tokens[:, None] == 1, [0.4, 0.0, 0.6], [0.1, 0.0, 0.9])
        with np.errstate(divide="ignore"):
            return np.log(p), state

    for a, best in ((0.0, ()), (1.0, (2,) * 9)):
        found = beam_search(step, None, [1], eos=EOS, width=20, max_length=10, length_penalty=a)[0]
        assert found[0].tokens == best
        n = len(best) + 1
        logp = np.log(0.4) if n == 1 else np.log(0.6 * 0.9 ** (n - 2) * 0.1)
        assert found[0].log_probability == pytest.approx(logp)
        assert found[0].score == pytest.approx(logp / n**a)


@settings(max_examples=25)
@given(
    st.integers(0, 10**6),
    st.integers(2, 6),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([0, 1.0]),
)
def test_searches_side_by_side_give_what_one_plain_beam_gives(seed, V, width, max_length, B, a):
    model = Small(V, seed, contrast=1.0)
    rng = np.random.default_rng(seed)
    state, start = rng.standard_normal((1, B, 5)), rng.integers(0, V, B)
    found = beam_search(model.step, state, start, eos=EOS, width=width, max_length=max_length, length_penalty=a)
    for b in range(B):
        assert_same(found[b], plain_beam(model, state[:, b : b + 1], int(start[b]), width, max_length, a))


@pytest.mark.parametrize("a", [0.0, 2.0])
def test_a_width_of_one_is_greedy(a):
    lengths = set()
    for seed in range(30):
        model = Small(5, seed)
        [[greedy]] = beam_search(model.step, None, [4], eos=EOS, width=1, max_length=12, length_penalty=a)
        token, state, tokens = 4, None, []
        while token != EOS and len(tokens) < 12:
            logits, state = model.step(np.array([token]), state)
            token = int(logits[0].argmax())
            tokens.append(token)
        assert greedy.ended == (token == EOS)
        assert greedy.tokens == tuple(tokens[:-1] if greedy.ended else tokens)
        lengths.add(len(greedy.tokens))
    assert len(lengths) > 4


def test_values_in_ended_rows_do_not_matter():
    model = Small(4, seed=5, contrast=1.0)

    def spoilt(tokens, state):
        logits, state = model.step(tokens, state)
        logits[tokens == EOS] = np.nan
        return logits, state

    options = {"eos": EOS, "width": 6, "max_length": 8}
    assert beam_search(spoilt, None, [1, 2, 3], **options) == beam_search(model.step, None, [1, 2, 3], **options)


def test_a_token_of_no_probability_is_never_chosen():
    model = Small(4, seed=6, contrast=1.0)

    def without_two(tokens, state):
        logits, state = model.step(tokens, state)
        logits[:, 2] = -np.inf
        return logits, state

    found = beam_search(without_two, None, [1], eos=EOS, width=1000, max_length=4)[0]
    assert len(found) == 1 + 2 + 4 + 8 + 16  # sequences that end after 0 to 3 words, and 16 that max_length cuts
    assert not any(2 in hypothesis.tokens for hypothesis in found)


class Pair(NamedTuple):
    h: np.ndarray
    rest: object


def test_rows_of_a_state():
    h = np.arange(12.0).reshape(2, 3, 2)
    flat = np.arange(6.0).reshape(3, 2)
    rows = np.array([2, 0, 0, 1])
    taken = take_rows(Pair(h, {"a": [flat, None]}), rows)
    assert isinstance(taken, Pair)
    assert taken.h.tolist() == h[:, [2, 0, 0, 1]].tolist()
    assert taken.rest["a"][0].tolist() == flat[[2, 0, 0, 1]].tolist()
    assert taken.rest["a"][1] is None
    with pytest.raises(TypeError, match=r"^state must be None, arrays .* got 3$"):
        take_rows((3,), rows)
    with pytest.raises(TypeError, match=r"float64 array of shape \(3,\)$"):
        take_rows(np.zeros(3), rows)


def test_own_states_are_reordered_by_the_users_function():
    model = Small(4, seed=7, contrast=1.0)

    def step(prefixes_read, state):  # the state is the list of the prefixes read
        state = [(*read, token) for read, token in zip(state, prefixes_read.tolist(), strict=True)]
        rows = [model.gru(np.array(read)[:, None])[0][-1, 0] @ model.head for read in state]
        return np.array(rows), state

    own = beam_search(step, [(), ()], [1, 2], eos=EOS, width=3, max_length=5, reorder=lambda s, rows: [s[i] for i in rows])
    for got, expected in zip(own, beam_search(model.step, None, [1, 2], eos=EOS, width=3, max_length=5), strict=True):
        assert_same(got, expected)


@each_row(
    ("change", "error", "message"),
    [
        ({"start": [0.5]}, TypeError, "start must be an integer array"),
        ({"start": np.zeros(0, int)}, ValueError, "start must hold at least one token"),
        ({"eos": -1}, ValueError, "eos must be at least 0"),
        ({"eos": 9}, ValueError, r"V above eos=9, got float64 array of shape \(1, 3\)"),
        ({"width": 0}, ValueError, "width must be at least 1"),
        ({"max_length": 1.5}, TypeError, "max_length must be an integer"),
        ({"length_penalty": -1}, ValueError, "length_penalty must lie in"),
        ({"step": lambda tokens, state: (np.full((1, 3), np.nan), state)}, ValueError, "got NaN, inf or a row of -inf"),
        ({"step": lambda tokens, state: (np.zeros((2, 3)), state)}, ValueError, r"shape \[N=1, V\]"),
        ({"step": lambda tokens, state: ([[0.0]], state)}, TypeError, "step must return logits as an array of floats"),
        ({"step": None}, TypeError, "step must be a function of tokens and a state, got None"),
        ({"step": lambda tokens, state: None}, TypeError, "step must return a pair, logits and a state, got None"),
        (
            {"step": lambda tokens, state: np.zeros((2, 3))},
            TypeError,
            r"step must return a pair, logits and a state, got float64 array of shape \(2, 3\)",
        ),
    ],
)
def test_invalid_arguments_are_named(change, error, message):
    arguments = {"step": lambda tokens, state: (np.zeros((1, 3)), state), "start": [1], "eos": 0} | change
    with pytest.raises(error, match=message):
        beam_search(arguments.pop("step"), None, arguments.pop("start"), **arguments)
