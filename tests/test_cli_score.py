"""``fastrnn score`` with a run of lines and a run of a stream."""

import re

import numpy as np
import pytest
from command_line import output_of


def test_score_prints_consistent_numbers(names_run, capsys):
    folder, _ = names_run
    output = output_of(capsys, "score", folder, "Tyrannosaurus", "--verbose").out
    nats = float(re.search(r"log-probability: +(-[\d.]+) nats \(14 characters, the end of the line included\)", output)[1])
    bits = float(re.search(r"bits per character: ([\d.]+)", output)[1])
    perplexity = float(re.search(r"perplexity: +([\d.]+)", output)[1])
    assert bits == pytest.approx(-nats / 14 / np.log(2), abs=1e-4)
    assert perplexity == pytest.approx(np.exp(-nats / 14), abs=1e-3)
    table = re.findall(r"^ +('.'|end) +([\d.]+) +([\d.]+)$", output, re.MULTILINE)
    assert "".join(token.strip("'") for token, _, _ in table) == "Tyrannosaurusend"
    assert sum(float(cell) for _, _, cell in table) == pytest.approx(-nats / np.log(2), abs=0.01)


def test_a_name_is_more_probable_than_its_reverse(names_run, capsys):
    folder, _ = names_run
    perplexities = []
    for text in ("Abelisaurus", "suruasilebA"):
        perplexities.append(float(re.search(r"perplexity: +([\d.]+)", output_of(capsys, "score", folder, text).out)[1]))
    assert perplexities[0] < perplexities[1]


def test_a_stream_is_scored_without_an_end(play_run, capsys):
    assert "nats (7 characters)" in output_of(capsys, "score", play_run, "Speaker").out


def test_line_breaks_of_a_stream_are_characters_of_the_table(play_run, capsys):
    table = output_of(capsys, "score", play_run, "1:\nT", "--verbose").out.splitlines()[1:5]
    assert [line.split()[0] for line in table] == ["'1'", "':'", r"'\n'", "'T'"]
    rows = output_of(capsys, "score", play_run, "1:\nT", "2:\nT").out.splitlines()[1:3]
    assert [row.split()[-1] for row in rows] == [r"1:\nT", r"2:\nT"]
