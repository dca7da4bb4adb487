"""The zoo's sequence models with tiny settings: inputs, gradients by value, and that they learn."""

from datetime import date, timedelta

import numpy as np
import pytest
from differences import assert_model_gradients
from example_scripts import example

from fastrnn import fit
from fastrnn.losses import softmax_cross_entropy

dates, names, plain = map(example, ("zoo/translate_dates", "zoo/name_from_letter", "zoo/one_to_one"))


# Dates and sums: an encoder-decoder


def test_days_are_spelled_as_people_do():
    spelled = {dates.spell(date(1979, 8, 3), way) for way in dates.WAYS}
    assert len(spelled) == len(dates.WAYS)
    for text in (
        "3 aug 1979",
        "august 3rd, 1979",
        "the 3rd of august '79",
        "friday, 3 august 1979",
        "3.8.1979",
        "08/03/1979",
    ):
        assert text in spelled, spelled
    ordinals = [dates.spell(date(2000, 1, day), "{d}{th}") for day in (1, 2, 3, 4, 11, 12, 13, 20, 21, 22, 23, 24, 30, 31)]
    assert " ".join(ordinals) == "1st 2nd 3rd 4th 11th 12th 13th 20th 21st 22nd 23rd 24th 30th 31st"


def test_no_spelling_means_two_days():
    meant = {}
    for n in range(0, 36525, 29):
        day = date(1950, 1, 1) + timedelta(n)
        for way in dates.WAYS:
            assert meant.setdefault(dates.spell(day, way), day) == day


def test_held_out_dates_are_not_trained_on():
    train, held_out = dates.dates(3000, 500, np.random.default_rng(0))
    assert (len(train), len(held_out)) == (3000, 500)
    assert not {day for _, day in train} & {day for _, day in held_out}
    train, held_out = dates.sums(3000, 500, np.random.default_rng(0))
    assert (len(train), len(held_out)) == (3000, 500)
    terms = [{frozenset(source.split("+")) for source, _ in pairs} for pairs in (train, held_out)]
    assert not terms[0] & terms[1]
    assert all(eval(source) == int(total) for source, total in train)


def test_the_digits_as_they_stand():
    texts = {"5/3/79": "1979-05-03", "05/03/1979": "1979-05-03", "1979 may 3": "1979-01-03", "3 may '79": "1979-01-03"}
    assert {text: dates.copied_digits(text) for text in texts} == texts


def test_gradients_of_the_encoder_decoder():
    pairs = [("3 may", "05-3"), ("12.1.79", "1979"), ("9", "1")]
    translator = dates.Translator.of(pairs, hidden=8, rng=np.random.default_rng(0), dtype="float64")
    assert_model_gradients(translator.model, translator.examples(pairs).batch(np.arange(3)), softmax_cross_entropy)


def test_the_encoder_decoder_learns_by_heart_and_searches_side_by_side():
    rng = np.random.default_rng(0)
    pairs, _ = dates.dates(48, 1, rng)
    translator = dates.Translator.of(pairs, hidden=64, rng=rng)
    fit(translator.model, translator.examples(pairs), epochs=60, batch_size=16, lr=1e-2, clip_norm=1.0)
    texts = [source for source, _ in pairs]
    beams = translator.translate(texts, width=3)
    answers = [translator.writes.decode(beam[0].tokens) for beam in beams]
    assert dates.share_right(answers, pairs) > 0.8
    alone = translator.translate(texts[:1], width=3)[0]
    assert [h.tokens for h in alone] == [h.tokens for h in beams[0]]
    assert alone[0].log_probability == pytest.approx(beams[0][0].log_probability, abs=1e-4)
    # The search assigns an answer the same probability as the trained model.
    batch = translator.examples(list(zip(texts, answers, strict=True))[:1]).batch(np.arange(1))
    logits = translator.model(*batch.inputs, lengths=batch.lengths)
    total, _ = softmax_cross_entropy(logits, batch.targets, reduction="sum")
    assert -alone[0].log_probability == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("task", ["dates", "sums"])
def test_translating_runs_from_end_to_end(task, tmp_path, capsys):
    text = {"dates": "3 may 1979", "sums": "1+23"}[task]
    shares = dates.main(task, number=200, held_out=20, hidden=16, epochs=1, texts=[text], out=tmp_path)
    assert set(shares) >= {"the most frequent answer", "encoder-decoder, greedy", "encoder-decoder, beam of 5"}
    printed = capsys.readouterr().out
    assert "%  encoder-decoder, beam of 5" in printed
    dates.Translator.load(tmp_path).show([text])
    assert capsys.readouterr().out.splitlines()[-1] == printed.splitlines()[-1]
    dates.Translator.load(tmp_path, task)
    other = {"dates": "sums", "sums": "dates"}[task]
    with pytest.raises(SystemExit, match=f"holds the task {task}, got --task {other}$"):
        dates.Translator.load(tmp_path, other)


# Names from a letter and a length


def made_up_names(number, rng):
    """Return names of 2 to 6 letters: consonants, with the same vowel between them throughout a name."""
    made = []
    for _ in range(number):
        vowel, length = rng.choice(list("aeiou")), rng.integers(2, 7)
        made.append("".join(vowel if i % 2 else rng.choice(list("bcdf")) for i in range(length)))
    return made


def test_gradients_of_the_name_writer():
    writer = names.NameWriter.of(["ab", "cabc", "b"], hidden=8, rng=np.random.default_rng(0), dtype="float64")
    assert_model_gradients(writer.model, writer.examples(["ab", "cabc", "b"]).batch(np.arange(3)), softmax_cross_entropy)


def test_a_saved_name_writer_writes_the_same(tmp_path, capsys):
    writer = names.NameWriter.of(["ab", "cabc", "b"], hidden=8, rng=np.random.default_rng(0))
    writer.save(tmp_path)
    loaded = names.NameWriter.load(tmp_path)
    np.testing.assert_array_equal(loaded.losses(["ab", "cabc"]), writer.losses(["ab", "cabc"]))
    printed = []
    for one in (writer, loaded):
        capsys.readouterr()
        one.show(["Ab", "cccc"], {"ab"}, np.random.default_rng(1), names.Choice(1.0))
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert printed[0].startswith("a,  2 letters: ")
    with pytest.raises(SystemExit, match="must begin with a letter of the names and have at most 4, got 'abcab'"):
        loaded.show(["abcab"], (), np.random.default_rng(1), names.Choice(1.0))


def test_losses_of_names_are_in_their_order():
    writer = names.NameWriter.of(["ab", "cabc", "b"], hidden=8, rng=np.random.default_rng(0), dtype="float64")
    together = writer.losses(["ab", "cabc", "b"])
    alone = np.concatenate([writer.losses([name]) for name in ("ab", "cabc", "b")])
    assert len(together) == 3 + 5 + 2
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_sampled_names_have_the_requested_letter_and_length(capsys):
    made_up = made_up_names(1500, np.random.default_rng(0))
    losses, shares = names.main("\n".join(made_up), hidden=64, epochs=12, lr=1e-2)
    assert shares["GRU"]["letter"] > 0.95
    assert shares["GRU"]["length"] > 0.9
    assert shares["any name of the list"]["both"] < 0.3
    # A bigram knows that one of five vowels follows a consonant, but not that it repeats the last vowel.
    of_letters = {name: loss["letters after the first"] for name, loss in losses.items()}
    assert of_letters["bigram"] == pytest.approx(np.log(5 * 4) / 2, abs=0.1)
    assert of_letters["GRU"] < of_letters["bigram"] - 0.2
    assert of_letters["unigram"] > of_letters["bigram"] + 0.3
    assert losses["GRU"]["all characters"] < losses["bigram"]["all characters"] / 2
    assert "GRU, what was asked for: letter" in capsys.readouterr().out


def test_the_share_of_the_end_is_given_back():
    # After "a", "b" and the end are equally likely, so a bigram model that knows the first letter needs no guess.
    train = ["ab", "a"] * 50
    writer = names.NameWriter.of(train, hidden=8, rng=np.random.default_rng(0))
    loss = names.compare_losses(writer, train, ["ab"])["bigram"]
    assert loss["letters after the first"] == pytest.approx(0, abs=0.05)
    assert loss["all characters"] == pytest.approx(np.log(2) / 3, abs=0.05)


def test_names_that_obey_the_request_are_counted():
    assert names.obeys(["abc", "", "b", "ba"], ["axy", "a", "ba", "bc"]) == {"letter": 0.75, "length": 0.5, "both": 0.5}


# The plain network


def test_gradients_of_the_plain_network():
    points, moons = plain.two_moons(7, np.random.default_rng(0))
    model = plain.network(4, np.random.default_rng(1), dtype="float64")
    batch = plain.Examples(points.astype(np.float64), moons).batch(np.arange(7))
    assert_model_gradients(model, batch, softmax_cross_entropy)


def test_a_network_bends_where_a_line_cannot():
    shares = plain.main(number=400, epochs=25)
    assert shares["the commoner moon"] < 0.6
    assert 0.75 < shares["a straight line"] < 0.95
    assert shares["network"] > 0.97
