"""The whole benchmark's command line, its file of results, its page and its pictures, from records made by hand."""

import errno
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from benchmark_records import result_line

from fastrnn.benchmark import machine, run
from fastrnn.benchmark.cases import HIGH, Case
from fastrnn.commands.guard import guarded

CHECKOUT = Path(__file__).parent.parent
CEILINGS = {
    "threads": 1,
    "fma": 4e10,
    "read": {"L1": 7e10, "L2": 6e10, "L3": 4e10, "DRAM": 1e10},
    "caches": {"L1": 1 << 15, "L2": 1 << 19, "L3": 1 << 23},
}


@pytest.fixture
def bench(monkeypatch):
    """Return a function that runs ``python -m bench`` with some arguments and returns its exit status."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(CHECKOUT)
    monkeypatch.setenv("FASTRNN_BENCH_ONEDNN", str(CHECKOUT / "bench" / "onednn"))
    program = importlib.import_module("bench.__main__")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        return guarded(program.main)

    return call


def _results(file, *cases, threads=1, peer="torch", **changed):
    run.append(file, {"machine": machine.describe() | changed})
    run.append(file, {"ceilings": CEILINGS | {"threads": threads}})
    for case in cases:
        run.append(file, result_line(case, peer, 0.001, 0.0015, 0.125))


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("--threads", "0", "an integer of at least 1, got '0'"),
        ("--threads", "-1", "an integer of at least 1, got '-1'"),
        ("--seconds", "0", "a number above 0, got '0'"),
        ("--seconds", "nan", "a number above 0, got 'nan'"),
        ("--slow-rounds", "1", "an integer of at least 2, got '1'"),
    ],
)
def test_a_bad_number_is_refused_before_the_file_is_touched(bench, option, value, wanted, tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    assert bench("run", "--file", file, "--out", tmp_path, option, value) == 2
    assert f"argument {option}: must be {wanted}" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.parametrize("content", ["a note of a stranger\n", '{"a": 1}\n', '{"peer": "torch", "rec', '{\n "machine": {}}'])
def test_a_foreign_or_damaged_file_stays_as_it_is(bench, content, tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    file.write_text(content)
    for command in (["run"], ["run", "--fresh"], ["report"]):
        assert bench(*command, "--file", file, "--out", tmp_path / "out") == 2
        assert str(file) in capsys.readouterr().err
    assert file.read_text() == content
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changed", [{"processor": "Another One"}, {"fastrnn": "0.0.1"}])
def test_results_of_another_machine_or_version_are_not_continued(bench, changed, tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    _results(file, Case("forward", "LSTM", 32, 1, 1), **changed)
    before = file.read_bytes()
    assert bench("run", "--file", file, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "must have results of one machine and version" in error
    assert " ".join(*changed.items()) in error.split("; got: ")[1]
    assert file.read_bytes() == before
    run.append(file, {"machine": machine.describe()})  # as if two files were joined
    assert bench("report", "--file", file, "--out", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, "", "results", "results of a version with other fields"])
def test_a_missing_or_empty_file_is_begun_and_fresh_empties_results_alone(content, tmp_path):
    file = tmp_path / "results.jsonl"
    if content is not None:
        file.write_text("")
    if content:
        _results(file, Case("forward", "LSTM", 32, 1, 1), fastrnn="0.0.1")
    if content and "other fields" in content:
        run.append(file, {"record": {"case": "unknown"}})
    run.begin(file, machine.describe(), fresh=bool(content))
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"machine": machine.describe()}]


SIDE = "must be an object with the fields median, spread, best, first, faults, samples, got"
RECORD = "must be an object with the fields case, peer, version, ratio, ours, theirs, again, got"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda r: r.pop("theirs"), f"record {RECORD} none named theirs"),
        (lambda r: r["ours"].pop("faults"), f"record.ours {SIDE} none named faults"),
        (lambda r: r["ours"].update(worst=1), f"record.ours {SIDE} also 'worst'"),
        (lambda r: r.update(ours=7), f"record.ours {SIDE} 7"),
        (lambda r: r["theirs"].update(median=0), "record.theirs.median must be a number above 0, got 0"),
        (lambda r: r["theirs"].update(spread=float("nan")), "record.theirs.spread must be a number of at least 0, got nan"),
        (lambda r: r.update(version=None), "record.version must be text, got None"),
        (lambda r: r["case"].update(cell="QRNN"), "case.cell must be one of 'RNN', 'GRU', 'LSTM', got 'QRNN'"),
        (lambda r: r["case"].update(H="8"), "case.H must be an integer of at least 1, got '8'"),
    ],
)
def test_a_record_with_other_fields_or_values_is_named(bench, change, fault, tmp_path, capsys):
    good, file = tmp_path / "good.jsonl", tmp_path / "results.jsonl"
    _results(good, Case("forward", "LSTM", 32, 1, 1))
    *others, last = map(json.loads, good.read_text().splitlines())
    change(last["record"] | {"case": last["case"]} if fault.startswith("case") else last["record"])
    for line in (*others, last):
        run.append(file, line)
    assert bench("report", "--file", file, "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err == f"fastrnn: error: {file}, line 3 is damaged: {fault}\n"
    assert not (tmp_path / "out").exists()


def test_a_file_without_measurements_says_why_it_has_none(bench, tmp_path, capsys):
    file, case = tmp_path / "results.jsonl", asdict(Case("trainer", "LSTM", 512, 64, 1, T=128))
    _results(file)
    for line in ({"absent": "no module"}, *2 * [{"case": case, "unsupported": "jax has no trainer"}]):
        run.append(file, {"peer": "keras" if "absent" in line else "jax"} | line)
    assert bench("report", "--file", file, "--out", tmp_path / "out") == 2
    reasons = "so there is nothing to report: jax has no trainer; keras did not take part: no module\n"
    assert capsys.readouterr().err.endswith(reasons)


@pytest.mark.parametrize("case", [Case("forward", "LSTM", 32, 1, 1), Case("forward", "LSTM", 512, 32, 1, variant=HIGH)])
def test_the_page_shows_the_records_and_names_only_pictures_that_were_drawn(bench, case, tmp_path):
    file, out = tmp_path / "results.jsonl", tmp_path / "out"
    _results(file, case)
    assert bench("report", "--file", file, "--out", out) == 0
    page = (out / "performance.md").read_text()
    drawn = {path.name for path in out.glob("*.png")}
    assert drawn == {name for name in ("ratios.png", "roofline.png", "precisions.png") if f"({name})" in page}
    assert drawn == ({"precisions.png"} if case.variant else {"ratios.png", "roofline.png"})
    assert "torch 1.5 ms | 1.50 ±12% |" in page


def test_pictures_need_a_rival_and_the_ceilings_and_show_any_number_of_threads(bench, tmp_path, capsys):
    own, three, file = tmp_path / "own.jsonl", tmp_path / "three.jsonl", tmp_path / "none.jsonl"
    _results(own, Case("forward", "LSTM", 32, 1, 1), peer="numba")  # fastrnn's own backend is no rival
    _results(three, Case("forward", "LSTM", 32, 1, 3), threads=3)
    for results, drawn in ((own, {"roofline.png"}), (three, {"roofline.png", "ratios.png"})):
        assert bench("report", "--file", results, "--out", tmp_path / results.stem) == 0
        assert {path.name for path in (tmp_path / results.stem).glob("*.png")} == drawn
    _results(file, Case("forward", "LSTM", 32, 1, 3))
    assert bench("report", "--file", file, "--out", tmp_path / "none") == 2
    assert "must have a line with the ceilings of 3 threads, got none" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_long_title_is_broken_at_the_width_of_the_picture(bench, tmp_path, monkeypatch):
    from bench import plots

    fits = []

    def check(figure, path):
        figure.canvas.draw()
        box = figure._suptitle.get_window_extent()
        fits.append(box.x0 >= 0 and box.x1 <= figure.bbox.x1)

    monkeypatch.setattr(plots, "_save", check)
    for cases in ([Case("forward", "LSTM", 32, 1, 1)], [Case("training", "GRU", H, 8, 2) for H in (32, 1024)]):
        file = tmp_path / f"{len(cases)}.jsonl"
        _results(file, *cases)
        run.append(file, {"ceilings": CEILINGS | {"threads": 2}})
        assert bench("report", "--file", file, "--out", tmp_path) == 0
    assert fits == [True] * 4


def test_a_line_that_a_full_disk_cuts_leaves_no_trace(tmp_path, monkeypatch):
    file = tmp_path / "results.jsonl"
    run.append(file, {"a": 1})
    real = Path.open

    class Full:
        """A file with space for five bytes."""

        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            if len(data) < len('{"b": 2}\n'):
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data[:5])

    monkeypatch.setattr(Path, "open", lambda self, *arguments, **more: Full(real(self, *arguments, **more)))
    with pytest.raises(OSError, match="No space"):
        run.append(file, {"b": 2})
    assert [json.loads(line) for line in file.read_bytes().splitlines()] == [{"a": 1}]


def test_the_last_line_of_the_progress_is_erased_before_the_table(monkeypatch, capsys):
    """Also on a narrow terminal, on which no line is longer than the terminal is wide."""
    from fastrnn.commands import bench as command

    case = Case("forward", "LSTM", 32, 1, 1)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(command, "is_terminal", lambda stream: True)
    monkeypatch.setattr("fastrnn.benchmark.ceilings.measure", lambda threads: run.Ceilings(**CEILINGS))

    def stopped(cases, peers, effort, progress, results):
        progress("numpy", None)
        progress("numpy", case)
        raise KeyboardInterrupt

    monkeypatch.setattr("fastrnn.benchmark.run.run", stopped)
    from fastrnn.cli import main

    assert main(["bench", "--subset", "smoke", "--threads", "1", "--peers", "numpy"]) == 130
    shown = capsys.readouterr().err.split(command.CLEAR)
    assert shown[1:] == ["starting numpy", "1/4 numpy: forward ", "fastrnn: interrupted\n"]


def test_the_models_of_onnx_need_a_folder_that_has_them(monkeypatch, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    monkeypatch.syspath_prepend(CHECKOUT)
    models = importlib.import_module("bench.onnx_models")
    for arguments, message in (([], "required: FOLDER"), ([str(tmp_path)], f"got {tmp_path}, which has none")):
        monkeypatch.setattr(sys, "argv", ["onnx_models", *arguments])
        with pytest.raises(SystemExit):
            models.main()
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("precision", ["--threads", "0"], "argument --threads: must be an integer of at least 1, got '0'"),
        ("precision", ["--sizes", "0"], "argument --sizes: must be an integer of at least 1, got '0'"),
        ("compression", ["--batch", "0"], "argument --batch: must be an integer of at least 1, got '0'"),
        ("compression", ["--seconds", "nan"], "argument --seconds: must be a number above 0, got 'nan'"),
        ("busy", ["--threads", "0"], "argument --threads: must be an integer of at least 1, got '0'"),
        ("kills", ["--kills", "0"], "argument --kills: must be an integer of at least 1, got '0'"),
        ("machines", ["table", "--rounds", "0"], "argument --rounds: must be an integer of at least 1, got '0'"),
        ("twin", ["text", "--hidden", "0"], "argument --hidden: must be an integer of at least 1, got '0'"),
        ("ranks", ["--rounds", "0"], "argument --rounds: must be an integer of at least 1, got '0'"),
        ("compilers", ["gcc"], "NAME=FOLDER must name a folder with one _fastrnn.*so, got gcc"),
        ("compilers", ["gcc=/nowhere"], "NAME=FOLDER must name a folder with one _fastrnn.*so, got gcc=/nowhere"),
    ],
)
def test_a_program_names_the_argument_that_it_cannot_take(program, arguments, message, monkeypatch, capsys):
    monkeypatch.syspath_prepend(CHECKOUT)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit):
        importlib.import_module(f"bench.{program}").main()
    assert message in capsys.readouterr().err


PROGRAMS = sorted(path.stem for path in (CHECKOUT / "bench").glob("[!_]*.py") if "\ndef main(" in path.read_text())


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_runs_as_its_docstring_says(name, monkeypatch, capsys):
    monkeypatch.syspath_prepend(CHECKOUT)
    monkeypatch.setattr(sys, "argv", ["program", "--help"])
    try:
        program = importlib.import_module(f"bench.{name}")
    except ModuleNotFoundError as error:
        if error.name not in ("jax", "onnx", "onnxruntime", "torch"):
            raise
        pytest.skip(str(error))
    assert f"``python -m bench.{name}" in program.__doc__
    with pytest.raises(SystemExit):
        program.main()
    assert capsys.readouterr().out.startswith(f"usage: python -m bench.{name} ")
