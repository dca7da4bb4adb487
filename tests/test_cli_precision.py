"""``--precision``: what a run records, warnings, and what ``fastrnn info`` says."""

import re

import pytest
from command_line import CHARS, engine_of, output_of, train_chars

pytestmark = pytest.mark.usefixtures("quick_pictures")


def test_a_run_records_the_precision_that_ran(tmp_path, capsys):
    import fastrnn

    # "highest" if the processor lacks the products
    medium = fastrnn.LSTM(32, 32, precision="medium").plan(1, 32)[0].precision
    options = [*CHARS, "--hidden", 32, "--schedule", "constant", "--out", tmp_path]
    with fastrnn.use_precision("highest"):
        train_chars(*options, "--max-steps", 2, "--precision", "medium")
        assert fastrnn.get_float32_matmul_precision() == "medium"
        assert engine_of(tmp_path)["precision"] == medium
        capsys.readouterr()
        train_chars("--resume", "--max-steps", 3, "--out", tmp_path, "--precision", "highest")
    warned = "medium) and goes on with" in capsys.readouterr().err
    assert warned == (medium == "medium")
    assert engine_of(tmp_path)["precision"] == "highest"


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_a_precision_that_does_not_run_is_a_warning(names_run, capsys, isa, precision):
    import fastrnn

    folder, _ = names_run
    with fastrnn.use_precision("highest"):
        error = output_of(capsys, "score", folder, "Abelisaurus", "--precision", precision).err
    (plan,) = fastrnn.LSTM(256, 256, precision=precision).plan(64, 64)
    expected = f"fastrnn: warning: --precision {precision} runs as highest: {plan.reason}\n" if plan.reason else ""
    assert error == expected
    assert plan.reason or precision == "highest" or isa in ("amx", "avx512bf16")


def test_info_says_which_precisions_run(capsys):
    import fastrnn

    with fastrnn.use_precision("medium"):
        output = output_of(capsys, "info").out
    row = r"^precision: +medium; change it with fastrnn.set_float32_matmul_precision\(name\)"
    assert re.search(row, output, re.MULTILINE)
    for precision in ("high", "medium"):
        (plan,) = fastrnn.LSTM(256, 256, precision=precision).plan(64, 64)
        assert f"{precision:10} {f'runs as highest: {plan.reason}' if plan.reason else 'runs'}\n" in output
