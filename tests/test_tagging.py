"""Files in CoNLL's columns, and the best legal sequence of tags."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tables import each_row

from fastrnn.text.reading import TextError
from fastrnn.text.tagging import decode_bio, read_conll

TAGS = ("B-a", "I-a", "O", "B-b", "I-b")


def legal(tags):
    return all(
        tag[0] != "I" or (before != "O" and before[1:] == tag[1:]) for before, tag in zip(["O", *tags], tags, strict=False)
    )


@given(arrays(np.float64, st.tuples(st.integers(0, 4), st.just(len(TAGS))), elements=st.integers(-3, 3).map(float)))
def test_no_legal_sequence_is_better(scores):
    found = decode_bio(scores, TAGS)
    assert legal(found)
    value = {tag: k for k, tag in enumerate(TAGS)}

    def total(tags):
        return sum(row[value[tag]] for row, tag in zip(scores, tags, strict=True))

    assert total(found) == max(total(tags) for tags in product(TAGS, repeat=len(scores)) if legal(tags))


@given(arrays(np.float64, st.tuples(st.integers(0, 4), st.just(5), st.just(5)), elements=st.integers(-3, 3).map(float)))
def test_no_legal_sequence_of_pairs_is_better(scores):
    found = decode_bio(scores, TAGS)
    assert legal(found)

    def total(tags):
        ids = [TAGS.index(tag) for tag in tags]
        return sum(scores[t, ids[t - 1] if t else 0, tag] for t, tag in enumerate(ids))

    assert total(found) == max(total(tags) for tags in product(TAGS, repeat=len(scores)) if legal(tags))


@given(st.lists(st.sampled_from(TAGS), max_size=9).filter(legal), st.floats(-1e3, 1e3))
def test_the_largest_scores_win_where_they_are_legal(tags, offset):
    scores = np.zeros((len(tags), len(TAGS)), np.float32)
    for row, tag in zip(scores, tags, strict=True):
        row[TAGS.index(tag)] = 1
    assert decode_bio(scores, TAGS) == tags
    assert decode_bio(scores + offset, TAGS) == tags


def test_a_weak_beginning_is_found_for_a_strong_end():
    # Alone, the first word would be O. But the second is very likely inside a b, so the b must begin at the first.
    scores = np.log([[0.05, 0.01, 0.6, 0.3, 0.04], [0.01, 0.01, 0.07, 0.01, 0.9]])
    assert decode_bio(scores, TAGS) == ["B-b", "I-b"]


def test_decoding_refuses():
    expected = r"scores must have shape \[T, 5\] or \[T, 5, 5\], got float64 array of shape \(2"
    for shape in ((2, 4), (2,), (2, 5, 4), (2, 1, 5), (2, 5, 5, 5)):
        with pytest.raises(ValueError, match=expected):
            decode_bio(np.zeros(shape), TAGS)
    for bad in (np.nan, np.inf, -np.inf):
        scores = np.zeros((3, 5))
        scores[1, 2] = bad
        with pytest.raises(ValueError, match=f"scores must be finite, got {bad} at word 1"):
            decode_bio(scores, TAGS)
    for tags in (np.array(TAGS), set(TAGS), "O", None):
        with pytest.raises(TypeError, match="tags must be a list of O, B-x and I-x, got"):
            decode_bio(np.zeros((2, 5)), tags)
    with pytest.raises(TypeError, match="scores must be an array of floats"):
        decode_bio([[0.0]], ["O"])
    with pytest.raises(ValueError, match="tags must be O, B-x or I-x"):
        decode_bio(np.zeros((2, 2)), ["O", "S-a"])
    with pytest.raises(ValueError, match="can begin with"):
        decode_bio(np.zeros((2, 1)), ["I-a"])


def test_sentences_of_a_file(tmp_path):
    path = tmp_path / "a.conll"
    # Empty lines, single tabs, comments, hashtags, four columns, and characters at which splitlines() would split.
    text = "\ufeff# a comment\nNew\tB-place\nYork\tI-place\n\t\n\n#home\tO\nb\u200b\u0085\tNN\t_\tB-x y\n\n# end\n"
    text += "\n# tab\tO\n \t \n"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert [tuple(sentence) for sentence in read_conll(path)] == [
        (["New", "York"], ["B-place", "I-place"]),
        (["#home", "b\u200b\u0085"], ["O", "B-x y"]),
        (["# tab"], ["O"]),
    ]


@each_row("line", ["word", "word\t", "\tO", "word\tX", "word\tB-", "word O", " \tB-a"])
def test_a_line_that_is_none_is_named(line, tmp_path):
    path = tmp_path / "a.conll"
    path.write_text(f"one\tO\n\n{line}\n")
    with pytest.raises(TextError, match=r"a\.conll, line 3: expected a token, a tab and O, B-x or I-x, got"):
        read_conll(path)


def test_files_without_a_sentence_are_refused(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("# nothing\n\n")
    with pytest.raises(TextError, match="no sentence"):
        read_conll(path)
    with pytest.raises(OSError, match="missing"):
        read_conll(tmp_path / "missing.conll")
