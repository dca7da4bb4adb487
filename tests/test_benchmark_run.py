"""The benchmark's runs: workers, peers that fail, a stop and a second measurement, and the command ``fastrnn bench``."""

import functools
import json
import sys
from dataclasses import asdict

import pytest
from benchmark_records import CASE, CEILINGS, EFFORT, result_line
from command_line import output_of

import fastrnn
from fastrnn.benchmark import ceilings, machine, result_lines, run
from fastrnn.benchmark.cases import Case, cases
from fastrnn.benchmark.measure import Effort
from fastrnn.cli import main


def _served(peer, threads, todo, effort):
    for case in todo:
        if case.B == 8:
            yield {"peer": peer, "case": asdict(case), "refused": "y differs"}
        else:
            yield result_line(case, peer, 1.0, 2.0)


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    file, wanted, served = tmp_path / "results.jsonl", cases(["forward"], "smoke", [1]), []

    def serve(peer, threads, todo, effort):
        served.append((peer, [case.B for case in todo]))
        return _served(peer, threads, todo, effort)

    monkeypatch.setattr(run, "serve", serve)
    run.run(wanted[:1], ["torch"], EFFORT, file)
    results = run.run(wanted * 2, ["torch", "numpy", "numpy"], EFFORT, file)
    assert served == [("torch", [1]), ("torch", [8]), ("numpy", [1, 8])]
    assert len(results.records) == 2
    assert len(results.refused) == 2
    assert len(run.load(file).records) == 2


def test_ctrl_c_ends_the_command_with_what_was_measured(tmp_path, monkeypatch, capsys):
    def serve(peer, threads, todo, effort):
        yield next(_served(peer, threads, todo, effort))
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "serve", serve)
    monkeypatch.setattr("fastrnn.benchmark.ceilings.measure", lambda threads: CEILINGS)
    words = ["bench", "--subset", "smoke", "--questions", "forward", "--threads", "1", "--peers", "torch"]
    said = output_of(capsys, *words, "--json", tmp_path / "bench.json", status=130)
    assert [line.split()[:5] for line in said.out.splitlines()[2:]] == [["forward", "LSTM", "32", "1", "1"]]
    content = json.loads((tmp_path / "bench.json").read_text())
    assert [record["case"]["B"] for record in content["records"]] == [1]


def test_a_precision_that_does_not_run_is_named(monkeypatch, capsys, isa):
    monkeypatch.setattr(run, "serve", lambda *order: iter(()))
    said = output_of(capsys, "bench", "--questions", "forward", "precisions", "--threads", "1", "--peers", "torch").err
    for precision in ("highest", "high", "medium"):
        (plan,) = fastrnn.LSTM(256, 256, precision=precision).plan(64, 64)
        assert (f"fastrnn: warning: {precision} is not compared: {plan.reason}\n" in said) == bool(plan.reason)


def test_disturbed_comparisons_are_measured_once_more_whoever_gained(tmp_path, monkeypatch):
    file, (one, other) = tmp_path / "results.jsonl", cases(["forward"], "smoke", [1])
    lines = [
        result_line(one, "torch", 1.0, 2.0),
        result_line(one, "numpy", 1.05, 2.0),
        result_line(one, "onednn", 1.2, 2.0),  # slower than next to the other peers
        result_line(one, "jax", 0.8, 2.0),  # and faster
        result_line(other, "torch", 1.0, 2.0, 0.3),
    ]
    for each in lines:
        run.append(file, each)
    served, again = [], {"torch": 1.0, "onednn": 1.2, "jax": 1.0}

    def serve(peer, threads, todo, effort):
        served.extend((peer, case.B) for case in todo)
        return (result_line(case, peer, again[peer], 3.0) for case in todo)

    monkeypatch.setattr(run, "serve", serve)
    for _ in range(2):  # a comparison is measured once more, not twice
        run.run_again([one, other], ["torch", "numpy", "onednn", "jax"], EFFORT, file)
    assert served == [("torch", 8), ("onednn", 1), ("jax", 1)]
    found = {(record["peer"], record["case"]["B"]): record for record in run.load(file).records}
    assert len(found) == 5
    assert found["onednn", 1]["theirs"]["median"] == 3.0
    assert found["torch", 1]["theirs"]["median"] == 2.0
    assert len(file.read_text().splitlines()) == 8  # nothing is lost


def test_a_worker_runs_cases_beside_numba_and_reports_what_it_refuses():
    """A real process compares fastrnn with its own Numba backend."""
    found = [CASE, Case("product", "LSTM", 8, 2, 1)]
    measured, unsupported = [line for line in run.serve("numba", 1, found, Effort(0.001, 5, 0.001, 0)) if "case" in line]
    for line in (measured, unsupported, {"ceilings": ceilings.measure(1).as_json()}, {"machine": machine.describe()}):
        result_lines.check(json.loads(json.dumps(line)))
    assert measured["record"]["ratio"] > 0
    assert measured["record"]["ours"]["samples"] >= 5
    assert unsupported["unsupported"] == "numba has no product"


def test_a_peer_whose_process_dies_costs_only_that_case(monkeypatch):
    monkeypatch.setattr(
        run, "environment", lambda threads: {"PYTHONPATH": "/nowhere", "PATH": "/nowhere", "PYTHONSAFEPATH": "1"}
    )
    monkeypatch.setattr(sys, "executable", "/bin/false")
    lines = list(run.serve("torch", 1, [CASE, CASE], EFFORT))
    assert [line["refused"] for line in lines] == ["torch's process ended with 1"] * 2


def test_a_peer_whose_installation_is_damaged_is_absent(tmp_path, monkeypatch):
    (tmp_path / "openvino.py").write_text("raise OSError('libtbb.so.12: no such file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert list(run.serve("openvino", 1, [CASE], EFFORT)) == [
        {"peer": "openvino", "absent": "OSError: libtbb.so.12: no such file"}
    ]


def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys, monkeypatch, c):
    shortest = functools.partial(Effort, rounds=2, turn=0.001)
    monkeypatch.setattr("fastrnn.benchmark.measure.Effort", shortest)
    file = tmp_path / "figures.json"
    command = ["bench", "--subset", "smoke", "--questions", "forward", "--threads", "1", "--peers", "numpy"]
    assert main([*command, "--seconds", "0.001", "--json", str(file)]) == 0
    output = capsys.readouterr()
    assert "GFLOP/s" in output.out
    assert "comparing with numpy" in output.err
    content = json.loads(file.read_text())
    assert content["machine"]["processor"]
    assert content["ceilings"][0]["fma"] > 1e9
    assert {record["peer"] for record in content["records"]} == {"numpy"}


@pytest.mark.parametrize(
    "arguments", ["--subset all", "--threads 0", "--seconds 0", "--peers haste", "--questions names --hidden 8"]
)
def test_a_bad_option_gets_one_line(arguments, capsys):
    assert main(["bench", *arguments.split()]) == 2
    assert capsys.readouterr().err.count("\n") == 1
