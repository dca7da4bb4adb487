"""Damaged, deep or foreign JSON gives a one-line error that names the file, wherever the package reads JSON."""

import json
import sys

import pytest
from tables import each_row

import fastrnn
from fastrnn.benchmark import run as benchmark
from fastrnn.cli import main
from fastrnn.json_reading import DEEPEST, JsonError, parse
from fastrnn.music.run_folder import load_songs
from fastrnn.serialization import FileFormatError, load_arrays, save_arrays
from fastrnn.training import CheckpointError, checkpoint
from fastrnn.training._run.folder import RunError, kind_of, load_config

DEEP = "[" * 100_000 + "]" * 100_000
HUGE = "9" * 5000
FAULTS = [
    pytest.param(DEEP, "it is nested more than 200 deep", id="deep"),
    pytest.param(f'{{"format": {DEEP[99_000:101_000]}}}', "it is nested more than 200 deep", id="deep within"),
    pytest.param("[" * 100_000, "it is nested more than 200 deep", id="deep and cut"),
    pytest.param('{"a": 1', "it is not JSON: Expecting ',' delimiter: line 1 column 8 (char 7)", id="cut"),
    pytest.param("", "it is not JSON: Expecting value: line 1 column 1 (char 0)", id="empty"),
    pytest.param(f'{{"a": {HUGE}}}', "it holds an integer of too many digits", id="huge integer"),
    pytest.param('{"a": 1, "b": 2, "a": 3}', "the key 'a' comes twice in one object", id="twice"),
]
NUMBERS = [
    pytest.param('{"a": NaN}', "it holds NaN, where numbers must be finite", id="NaN"),
    pytest.param('{"a": -Infinity}', "it holds -Infinity, where numbers must be finite", id="infinity"),
    pytest.param('{"a": 1e999}', "it holds '1e999', where numbers must be finite", id="huge float"),
]


@each_row(("text", "fault"), FAULTS + NUMBERS)
def test_the_reader(text, fault):
    for content in (text, text.encode()):
        with pytest.raises(JsonError) as caught:
            parse(content)
        assert str(caught.value) == fault


def test_valid_json():
    value = {"a": [1, -2.5, "é\n", None, True], "b": {"a": "[[" * DEEPEST + '"\\'}, "c": 2**128, "d": []}
    assert parse(json.dumps(value)) == parse(json.dumps(value, ensure_ascii=False).encode()) == value
    deepest = "[" * DEEPEST + "]" * DEEPEST
    assert json.dumps(parse(deepest)) == deepest
    assert parse("[NaN, 1e999]", nonfinite=True)[1] == float("inf")
    assert parse('"\ud800"') == "\ud800"
    with pytest.raises(JsonError, match=r"^it is not UTF-8: byte 0xff at offset 2$"):
        parse(b'["\xff"]')


def test_a_callers_stack_that_is_deep_already():
    def called(levels):
        return called(levels - 1) if levels else parse("[" * 150 + "]" * 150)

    depth = 0
    frame = sys._getframe()
    while frame:
        depth, frame = depth + 1, frame.f_back
    if sys.version_info >= (3, 12):
        pytest.skip("the limit of JSON is not that of calls")
    with pytest.raises(JsonError, match=r"^it is nested too deeply$"):
        called(sys.getrecursionlimit() - depth - 60)


@each_row(("text", "fault"), FAULTS + NUMBERS)
def test_run_folders(tmp_path, capsys, text, fault):
    for name, readers in {
        "config.json": (kind_of, lambda folder: load_config(folder, {}, "a run")),
        "pieces.json": (load_songs,),
    }.items():
        (tmp_path / name).write_text(text)
        for read in readers:
            with pytest.raises(RunError) as caught:
                read(tmp_path)
            assert str(caught.value) == f"{tmp_path / name} is damaged: {fault}"
    assert main(["sample", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"fastrnn: error: {tmp_path}/config.json is damaged: {fault}\n"


@each_row(("text", "fault"), FAULTS)
def test_checkpoints(tmp_path, text, fault):
    path = tmp_path / "last.safetensors"
    save_arrays(path, {}, {checkpoint.KEY: text})
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert str(caught.value) == f"{path} is damaged: {fault}"


@each_row(("text", "fault"), FAULTS + NUMBERS)
def test_models(tmp_path, text, fault):
    path = tmp_path / "model.safetensors"
    save_arrays(path, {}, {"fastrnn.layer": text})
    with pytest.raises(ValueError, match="text must be JSON of a layer") as caught:
        fastrnn.load_model(path)
    assert str(caught.value) == f"{path}: text must be JSON of a layer: {fault}"
    with pytest.raises(ValueError, match="text must be JSON of a layer") as caught:
        fastrnn.Model.from_json(text)
    assert str(caught.value) == f"text must be JSON of a layer: {fault}"


@pytest.mark.parametrize(("text", "fault"), [*FAULTS[:4], pytest.param("[1]", "", id="list")])
def test_results_of_benchmarks(tmp_path, text, fault):
    path = tmp_path / "bench.jsonl"
    path.write_text(f'{{"peer": "torch", "absent": "why"}}\n{text}\n')
    kinds = "machine, ceilings, record, absent, refused, unsupported"
    fault = fault or f"it must be an object with one of the fields {kinds}, got [1]"
    for read in (benchmark.load, lambda file: benchmark.run([], [], None, file)):
        with pytest.raises(FileFormatError) as caught:
            read(path)
        assert str(caught.value) == f"{path}, line 2 is damaged: {fault}"


def test_headers_of_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    for header in (f'{{"a": {DEEP}}}', f'{{"__metadata__": {{"a": {DEEP}}}}}', f'{{"a": {HUGE}}}'):
        path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
        for read in (load_arrays, fastrnn.load_model):
            with pytest.raises(FileFormatError, match=r"model.safetensors is truncated or damaged: [^\n]*$"):
                read(path)
        with pytest.raises(CheckpointError, match=r"model.safetensors is truncated or damaged: [^\n]*$"):
            checkpoint.load(path)
