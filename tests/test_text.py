"""Reading text, vocabularies, batches and the choice of tokens, by value."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from fastrnn import corpora
from fastrnn.sampling import NOTHING, Choice, choose, weights
from fastrnn.text import reading
from fastrnn.text._training.batching import IGNORED, LineBatches, StreamBatches, line_evaluation, pad, stream_evaluation
from fastrnn.text._training.novelty import copied_share, known_lines, line_hashes
from fastrnn.text.vocabulary import UNK, EmptyVocabulary, UnknownCharacters, Vocabulary

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# Vocabulary


def test_ids_follow_code_points_and_first_comes_first():
    vocabulary = Vocabulary.from_text("b\ta€b", first="\n")
    assert vocabulary.tokens == ("\n", "\t", "a", "b", "€")
    assert vocabulary.encode("ab€\n").tolist() == [2, 3, 4, 0]
    assert vocabulary.decode([2, 3, 4, 0]) == "ab€\n"
    assert vocabulary.id("a") == 2
    with pytest.raises(KeyError):
        vocabulary.id("z")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_encode_and_decode_are_inverse(text):
    vocabulary = Vocabulary.from_text(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    assert len(vocabulary) == len(set(text))


def test_unknown_characters_are_named_with_their_code_points():
    with pytest.raises(UnknownCharacters, match=r"the vocabulary lacks 'z' \(U\+007A\), '€' \(U\+20AC\)$"):
        Vocabulary("ab").encode("az€za")
    with pytest.raises(UnknownCharacters, match=r"and 2 more$"):
        Vocabulary("a").encode("bcdefghijk")
    with pytest.raises(UnknownCharacters, match=r"U\+DCFF"):
        Vocabulary("a").encode("\udcff")


def test_unk_takes_the_last_id():
    vocabulary = Vocabulary.from_text("aabbc", unk=True, min_count=2)
    assert vocabulary.tokens == ("a", "b", UNK)
    assert vocabulary.encode("abcz").tolist() == [0, 1, 2, 2]
    assert vocabulary.decode([0, 2]) == "a<UNK>"
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


def test_vocabulary_bad_input():
    with pytest.raises(ValueError, match="unk must be true when min_count is 2"):
        Vocabulary.from_text("ab", min_count=2)


@pytest.mark.parametrize("first", ["", "\n"])
def test_a_vocabulary_without_characters_is_refused(first):
    with pytest.raises(EmptyVocabulary, match=r"min_count must be at most 2, the count of the commonest character, got 3"):
        Vocabulary.from_text("aabc", unk=True, min_count=3, first=first)
    with pytest.raises(ValueError, match="one character each, got 'ab'"):
        Vocabulary(["ab"])
    with pytest.raises(ValueError, match="distinct"):
        Vocabulary("aa")
    with pytest.raises(ValueError, match="at least one character"):
        Vocabulary("")
    with pytest.raises(ValueError, match=r"ids must lie in 0\.\.1, got 2"):
        Vocabulary("ab").decode([0, 2])
    with pytest.raises(ValueError, match="list of tokens"):
        Vocabulary.from_json(["a"])


# Reading


def test_read_joins_files_and_folders_in_order(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "2.txt").write_bytes("\ufeffzwei\r\ntvær".encode())
    (tmp_path / "b" / "c" / "3.txt").write_bytes(b"drei\rvier\n")
    (tmp_path / "b" / "note.md").write_text("left out")
    (tmp_path / "a").write_text("one\n")
    text = reading.read([tmp_path / "a", tmp_path / "b"])
    assert text.content == "one\nzwei\ntvær\ndrei\nvier\n"
    assert text.sources == (str(tmp_path / "a"), str(tmp_path / "b" / "2.txt"), str(tmp_path / "b" / "c" / "3.txt"))
    assert reading.reread(text.sources) == text


def test_the_hash_is_that_of_the_content(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"x\r\ny")
    (tmp_path / "b.txt").write_bytes(b"x\ny")
    assert reading.read([tmp_path / "a.txt"]).sha256 == reading.read([tmp_path / "b.txt"]).sha256
    assert reading.embedded("dinosaurs").content == corpora.load("dinosaurs")


@each_row(
    ("content", "message"),
    [
        (b"", "is empty: there is nothing to learn from"),
        (b" \n\n", "has only white space"),
        (b"a\n", "has only one character"),
        (b"abc\xffdef", r"is not UTF-8: byte 0xff at offset 3 \(invalid start byte\)"),
        ("abc".encode("utf-16-le"), "is not UTF-8, although all of its bytes could be; it looks like utf-16-le"),
        ("abc".encode("utf-16")[:-1], r"is not UTF-16-LE: byte 0x63 at offset 6 \(truncated data\)$"),
    ],
)
def test_unusable_text(tmp_path, content, message):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(reading.TextError, match=f"text.txt.*{message}"):
        reading.read([path])


def test_folder_without_text(tmp_path):
    with pytest.raises(reading.TextError, match=r"is a folder without \.txt files"):
        reading.read([tmp_path])


def test_guess():
    assert reading.guess(corpora.load("dinosaurs"))[0] == "lines"
    assert reading.guess("San José\nNew York\nBonn\n") == ("lines", "100% of its 3 lines have at most 3 words")
    assert reading.guess("To be, or not to be, that is\nthe question of all of them\n")[0] == "stream"
    assert reading.guess("First:\nSpeak.\n\nAll:\nSpeak, speak.\n\n") == ("stream", "20% of its 5 lines are blank")
    assert reading.guess("one line of text") == ("stream", "it has only one line")


@pytest.mark.skipif(not DATA.is_dir(), reason="the folder of example data is not there")
@pytest.mark.parametrize(
    ("name", "expected"), [("dinos.txt", "lines"), ("names.txt", "lines"), ("tinyshakespeare.txt", "stream")]
)
def test_guess_of_real_texts(name, expected):
    assert reading.guess(reading.read([DATA / name]).content)[0] == expected


def test_items_are_stripped_and_blank_lines_left_out():
    assert reading.items(" a b \n\n\t\nc\n") == ["a b", "c"]


# Batches


def _sequences(*texts):
    return [np.array([ord(c) - ord("a") + 1 for c in text], np.int32) for text in texts]


def test_pad_by_value():
    batch = pad([np.array([3, 4, 0]), np.array([5, 0])])
    assert batch.inputs.tolist() == [[-1, -1], [3, 5], [4, -1]]
    assert batch.targets.tolist() == [[3, 5], [4, 0], [0, IGNORED]]
    assert batch.lengths.tolist() == [3, 2]
    assert (batch.tokens, batch.first) == (5, True)


def test_line_batches_go_through_all_items_in_each_epoch():
    sequences = _sequences("a", "bb", "ccc", "dddd", "eeeee")
    batches = LineBatches(sequences, 2, 0, seed=3)
    firsts = np.concatenate([batches.next().targets[0] for _ in range(10)])
    epochs = firsts.reshape(4, 5)
    assert (np.sort(epochs, axis=1) == [1, 2, 3, 4, 5]).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > 1
    assert batches.epoch == 4


def test_line_batches_cut_long_items_and_never_repeat_one_in_a_batch():
    batches = LineBatches(_sequences("abcd", "b"), 64, 0, longest=3)
    batch = batches.next()
    assert sorted(batch.targets.T.tolist()) == [[1, 2, 3], [2, 0, IGNORED]]
    assert batches.batch == 2
    with pytest.raises(ValueError, match="at least one item"):
        LineBatches([], 2, 0)


def test_line_evaluation_has_every_item_once():
    batches = list(line_evaluation(_sequences("ccc", "a", "dddd", "bb"), 3, 0))
    assert [batch.targets.shape for batch in batches] == [(4, 3), (5, 1)]
    assert [batch.targets[0].tolist() for batch in batches] == [[1, 2, 3], [4]]
    assert sum(batch.tokens for batch in batches) == 1 + 2 + 3 + 4 + 4


def test_stream_batches_by_value():
    batches = StreamBatches(np.arange(12, dtype=np.int32), 2, 3)
    first, second, third = (batches.next() for _ in range(3))
    assert first.targets.T.tolist() == [[0, 1, 2], [6, 7, 8]]
    assert first.inputs.T.tolist() == [[-1, 0, 1], [-1, 6, 7]]
    assert second.inputs.T.tolist() == [[2, 3, 4], [8, 9, 10]]
    assert (first.first, second.first, third.first) == (True, False, True)
    assert (first.tokens, first.lengths) == (6, None)
    assert third.targets.tolist() == first.targets.tolist()


def test_stream_batches_leave_out_another_part_in_each_epoch():
    batches = StreamBatches(np.arange(100), 3, 8, seed=1)
    assert batches.chunks == 4
    starts = set()
    for _ in range(30):
        epoch = [batches.next().targets for _ in range(4)]
        starts.add(int(epoch[0][0, 0]))
        flat = np.concatenate(epoch).T
        assert (np.diff(flat, axis=1) == 1).all()
        assert flat.max() - flat.min() == 95
    assert starts == set(range(5))


def test_short_streams_get_smaller_batches():
    batches = StreamBatches(np.arange(50), 64, 20)
    assert (batches.batch, batches.seq_length, batches.chunks) == (2, 20, 1)
    batches = StreamBatches(np.arange(5), 64, 20)
    assert (batches.batch, batches.seq_length) == (1, 5)
    with pytest.raises(ValueError, match="at least two tokens, got 1"):
        StreamBatches(np.arange(1), 1, 1)


@pytest.mark.parametrize("kind", ["lines", "stream"])
def test_batches_go_on_from_their_state(kind):
    def make():
        if kind == "lines":
            return LineBatches(_sequences("a", "bb", "ccc", "dd", "e"), 2, 0, seed=5)
        return StreamBatches(np.arange(95), 2, 7, seed=5)

    one, other = make(), make()
    for _ in range(7):
        one.next()
    other.load_state_dict(one.state_dict())
    for _ in range(20):
        mine, its = one.next(), other.next()
        assert (mine.inputs == its.inputs).all()
        assert (mine.targets == its.targets).all()
    with pytest.raises(ValueError, match="position must be at least 0"):
        other.load_state_dict({"position": -1})


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 40))
def test_stream_evaluation_counts_every_token_once_in_its_context(n, batch, seq_length):
    ids = np.arange(n)
    counted = []
    for chunk in stream_evaluation(ids, batch, seq_length):
        mask = chunk.targets != IGNORED
        assert chunk.tokens == mask.sum()
        assert len(chunk.targets) <= seq_length
        counted += chunk.targets[mask].tolist()
        previous = np.where(chunk.targets == 0, NOTHING, chunk.targets - 1)
        assert (chunk.inputs[mask] == previous[mask]).all()
    assert sorted(counted) == ids.tolist()


# Choosing tokens


def _logits(*probabilities):
    return np.log(np.array([probabilities]))


def _choose(logits, uniforms, choice):
    return choose(np.repeat(logits, len(uniforms), axis=0), np.array(uniforms), choice).tolist()


def test_the_first_id_whose_cumulative_weight_exceeds_u():
    logits = _logits(0.125, 0.5, 0.25, 0.125)
    uniforms = [0.0, 0.124, 0.126, 0.624, 0.626, 0.874, 0.876, 1 - 2**-53]
    assert _choose(logits, uniforms, Choice()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert _choose(logits, uniforms, Choice(greedy=True)) == [1] * 8
    assert _choose(logits, uniforms, Choice(temperature=0)) == [1] * 8


def test_a_token_without_weight_is_never_chosen():
    logits = np.array([[-np.inf, 0.0, -1e9, 1.0, -np.inf]])
    assert _choose(logits, [0.0, 0.2, 0.3, 1 - 2**-53], Choice()) == [1, 1, 3, 3]


def test_temperature_top_k_and_top_p_by_value():
    logits = _logits(0.1, 0.4, 0.2, 0.3)
    assert weights(logits, Choice()) == pytest.approx(np.array([[0.25, 1, 0.5, 0.75]]))
    assert weights(logits, Choice(temperature=0.5)) == pytest.approx(np.array([[0.25, 1, 0.5, 0.75]]) ** 2)
    assert weights(logits, Choice(top_k=2)) == pytest.approx(np.array([[0, 1, 0, 0.75]]))
    assert weights(logits, Choice(top_k=9)) == pytest.approx(np.array([[0.25, 1, 0.5, 0.75]]))
    assert weights(logits, Choice(top_p=0.39)) == pytest.approx(np.array([[0, 1, 0, 0]]))
    assert weights(logits, Choice(top_p=0.41)) == pytest.approx(np.array([[0, 1, 0, 0.75]]))
    assert weights(logits, Choice(top_p=0.71)) == pytest.approx(np.array([[0, 1, 0.5, 0.75]]))
    # top-k leaves two tokens; the likelier one has 4/7 of their probability.
    assert weights(logits, Choice(top_k=2, top_p=0.57)) == pytest.approx(np.array([[0, 1, 0, 0]]))
    assert weights(logits, Choice(top_k=2, top_p=0.58)) == pytest.approx(np.array([[0, 1, 0, 0.75]]))


def test_equals_are_ranked_by_id():
    logits = np.zeros((1, 4), np.float32)
    assert weights(logits, Choice(top_k=2)).tolist() == [[1, 1, 0, 0]]
    assert weights(logits, Choice(top_p=0.5)).tolist() == [[1, 1, 0, 0]]
    assert _choose(logits, [0.9], Choice(greedy=True)) == [0]


def test_extreme_logits_and_temperatures():
    logits = np.array([[1e4, -1e4, 0.0]], np.float32)
    assert weights(logits, Choice(temperature=1e-9)).tolist() == [[1, 0, 0]]
    assert weights(logits, Choice(temperature=1e9)) == pytest.approx(np.array([[1, 1 - 2e-5, 1 - 1e-5]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert weights(np.array([[0.0, -np.inf, 2.0]]), Choice(temperature=5e-324)).tolist() == [[0, 0, 1]]


@each_row("choice", [Choice(), Choice(temperature=0.7), Choice(top_k=5), Choice(top_p=0.8)])
def test_choices_have_the_distribution_of_the_weights(choice):
    rng = np.random.default_rng(11)
    logits = rng.normal(size=(1, 10))
    p = weights(logits, choice)[0]
    p /= p.sum()
    n = 20_000
    counts = np.bincount(_choose(logits, rng.random(n), choice), minlength=10)
    assert (counts[p == 0] == 0).all()
    kept = p > 0
    chi_square = ((counts[kept] - n * p[kept]) ** 2 / (n * p[kept])).sum()
    assert chi_square < 27.9  # 99.9 % of chi-square with 9 degrees of freedom


@each_row(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature must lie in"),
        ({"temperature": float("nan")}, "temperature must lie in"),
        ({"temperature": float("inf")}, "temperature must be finite, got inf"),
        ({"top_k": -1}, "top_k must be at least 0"),
        ({"top_p": 0}, r"top_p must lie in \(0, 1\], got 0"),
        ({"top_p": 1.5}, "top_p must lie in"),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ValueError, match=message):
        Choice(**options)


# Novelty


def test_known_lines():
    hashes = line_hashes(["Aardonyx", "Zuul", "Zuul", "Ñandú"])
    assert len(hashes) == 3
    assert known_lines(["Zuul", "zuul", "Ñandú", ""], hashes) == [True, False, True, False]


def test_copied_share_counts_ngrams():
    training = "the quick brown fox jumps over the lazy dog"
    assert copied_share(["quick brown fox"], training, 5) == 1
    assert copied_share(["quick brown cat"], training, 5) == pytest.approx(8 / 11)
    assert copied_share(["0123456789"], training, 5) == 0
    assert copied_share(["quick"], training, 6) is None
    assert copied_share(["quick brown"], "fox", 5) == 0
    assert copied_share(["quick", "brown", "cats!", "cat"], training, 5) == 2 / 3  # none across two samples
    assert copied_share(["quick cat"], training, 5, prefix=6) == 0 / 3  # "quick" and "uick " are the user's
    assert copied_share(["quick"], training, 5, prefix=5) is None
