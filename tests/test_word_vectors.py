"""Word vectors from files, by value: forms, damaged files, cases of letters, memory; and models that begin with them."""

import tracemalloc

import numpy as np
import pytest
from tables import each_row

from fastrnn import Embedding
from fastrnn.text.reading import TextError
from fastrnn.text.word_vectors import read_vectors, vector_width

GLOVE = b"the 0.5 -1 2e-1\nCat 1 2 3\n, 0 0 0.25\n"
EXPECTED = {"the": [0.5, -1, 0.2], "cat": [1, 2, 3], ",": [0, 0, 0.25]}


@pytest.fixture
def file(tmp_path):
    """Return a function that writes bytes to a file."""

    def write(data):
        path = tmp_path / "vectors.txt"
        path.write_bytes(data)
        return path

    return write


def found(path, words):
    """Return the vectors by word, after checking their form."""
    vectors = read_vectors(path, words)
    assert vectors.vectors.dtype == np.float32
    assert vectors.vectors.shape == (len(vectors.words), vectors.width)
    return {word: row.tolist() for word, row in zip(vectors.words, vectors.vectors, strict=True)}


@each_row(
    "data",
    [
        GLOVE,
        b"3 3\n" + GLOVE,
        b"\xef\xbb\xbf" + GLOVE,
        b"\xef\xbb\xbf3 3\n" + GLOVE,
        GLOVE.rstrip(),
        GLOVE.replace(b"\n", b"\r\n"),
        GLOVE.replace(b"\n", b" \n"),  # word2vec ends lines with a space
        GLOVE.replace(b" ", b"\t"),
        GLOVE.replace(b" ", b"  "),
        GLOVE.replace(b"the ", b"the\t"),
        b"\n" + GLOVE.replace(b"\n", b"\n\n"),
        GLOVE + b". . 7 8 9\nat home 4 5 6\n",  # words that contain spaces, as in GloVe
        b"4 3\n" + GLOVE + b"a b 1 2 3\n",  # and which the first line counts
        GLOVE + b"caf\xe9 4 5 6\n",  # Latin-1
        GLOVE + b"dog nan 5 6\n",  # only the lines of the vocabulary are parsed
    ],
)
def test_forms(data, file):
    path = file(data)
    assert vector_width(path) == 3
    values = found(path, ["cat", "the", "unknown", ","])
    assert list(values) == ["cat", "the", ","]  # the vocabulary's order
    for word, row in values.items():
        np.testing.assert_array_equal(np.float32(row), np.float32(EXPECTED[word]))


def test_counts(file):
    path = file(GLOVE + b"the 7 7 7\nCat 8 8 8\ncaf\xe9 1 1 1\nthe 9 9 9\n")
    vectors = read_vectors(path, ["the", "Cat"])
    assert (vectors.lines, vectors.duplicates, vectors.undecodable) == (7, 3, 1)
    np.testing.assert_array_equal(vectors.vectors[0], np.float32([0.5, -1, 0.2]))  # the first line counts
    expected = "3 numbers for 2 of 4 words (50.0%); 3 duplicate lines left out; 1 words not in UTF-8"
    assert vectors.summary(4) == expected


def test_cases_of_letters(file):
    path = file(b"PARIS 1\nParis 2\nparis 3\nROME 4\nRome 5\nZ\xc3\xbcrich 6\ncafe\xcc\x81 7\n")
    assert found(path, ["paris", "PARIS", "pARIS"]) == {"paris": [3], "PARIS": [1], "pARIS": [3]}
    assert found(path, ["Rome", "rome"]) == {"Rome": [5], "rome": [4]}
    assert found(path, ["zürich", "caf\u00e9"]) == {"zürich": [6], "café": [7]}  # the file's é has two code points


def test_a_lower_case_form_comes_before_other_cases(file):
    assert found(file(b"Paris 1\nparis 2\nPaRiS 3\n"), ["PARIS"]) == {"PARIS": [2]}


@each_row(
    ("data", "message"),
    [
        (b"", "vectors.txt is empty"),
        (b"\n \n", "vectors.txt is empty"),
        (b"the\n", "line 1: expected a word and its numbers, or two counts, got 'the'"),
        (b"the cat sat\n", "line 1: expected a word and its numbers, or two counts, got 'the cat sat'"),
        (b"1 2\ncat  0.5\n", "line 2: expected a word and 2 numbers, got 2 fields"),
        (
            b"2 2\nthe 1 2 3\ncat 1 2 3\n",
            "must have a word and 2 numbers in a line, as the first line says, got more in every line",
        ),
        (b"3 0\n", "line 1: expected the counts .* got 0 numbers"),
        (GLOVE + b"dog 1 2\nox 1 2 3\n", "line 4: expected a word and 3 numbers, got 3 fields$"),
        (GLOVE + b"dog 1 2", "line 4: expected a word and 3 numbers, got 3 fields: is the file cut short"),
        (b"4 3\n" + GLOVE, "must have 4 vectors, as its first line says, got 3"),
        (GLOVE + b"cat nan 5 6\n", r"line 4: expected finite numbers in float32, got nan"),
        (GLOVE + b"cat 1 -inf 6\n", r"line 4: expected finite numbers in float32, got -inf"),
        (GLOVE + b"cat 1 1e39 6\n", r"line 4: expected finite numbers in float32, got 1e\+39"),
        (GLOVE + b"cat 1 x 6\n", "line 4: expected 3 numbers after the word, got 'x'"),
        (b"dog 1 2\nox 3 4\n", "has a vector for none of the vocabulary's 2 words among its 2"),
        (b"2 3\ncat \x00\x01\x02\x03\x00", "line 2: expected a word and 3 numbers, got 2 fields: is it word2vec's binary"),
        (
            b"a" * (1 << 20),
            "line 1: expected a word and its numbers, got more than 1,048,576 bytes: is it word2vec's binary",
        ),
        (b"\x1f\x8b\x08rest", r"is compressed \(gzip\): unpack it first"),
        (b"PK\x03\x04rest", r"is compressed \(zip\): unpack it first"),
        ("the 1\n".encode("utf-16"), "must be UTF-8, got UTF-16"),
    ],
)
def test_damaged_files(data, message, file):
    with pytest.raises(TextError, match=message):
        read_vectors(file(data), ["cat", "fish"])


def test_missing_files_and_wrong_words(tmp_path, file):
    with pytest.raises(OSError, match="missing"):
        read_vectors(tmp_path / "missing", ["cat"])
    with pytest.raises(TypeError, match="words must be an iterable of words, got 'cat'"):
        read_vectors(file(GLOVE), "cat")


def test_only_the_words_of_the_vocabulary_are_held(file):
    # 8 MB of vectors, of which two are needed.
    rows = b"".join(b"word%d " % i + b"0.12345 " * 100 + b"\n" for i in range(10_000))
    path, calls = file(rows), []
    tracemalloc.start()
    vectors = read_vectors(path, ["word7", "word9999"], progress=lambda done, total: calls.append((done, total)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert vectors.words == ("word7", "word9999")
    assert peak < 1e6
    size = len(rows)
    assert calls[-1] == (size, size)
    assert [total for _, total in calls] == [size] * len(calls)
    assert len(calls) == 2
    assert 4e6 < calls[0][0] < 5e6


def test_vectors_become_rows_of_an_embedding(file):
    vectors = read_vectors(file(GLOVE), ["the", "cat", ",", "dog"])
    embedding = Embedding(6, 3, rng=0)
    before = embedding.weight.data.copy()
    vectors.assign(embedding.weight, {"the": 4, "cat": 1, ",": 2}.__getitem__)
    after = embedding.weight.data
    np.testing.assert_array_equal(after[[0, 3, 5]], before[[0, 3, 5]])
    factor = before.std(dtype=np.float64) / vectors.vectors.std(dtype=np.float64)
    np.testing.assert_allclose(after[[4, 1, 2]], vectors.vectors * factor, rtol=1e-6)
    with pytest.raises(ValueError, match="weight must have 3 columns, the width of the vectors, got 4"):
        vectors.assign(Embedding(6, 4).weight, len)
    with pytest.raises(ValueError, match=r"id_of must return ids in 0\.\.5, got 9"):
        vectors.assign(embedding.weight, lambda word: 9)
