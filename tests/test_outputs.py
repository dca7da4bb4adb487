"""Commands that write a file refuse to replace another one before they do any work."""

import json

import pytest
from command_line import execute

from fastrnn.cli import main
from fastrnn.commands import corpus_files
from fastrnn.commands.outputs import check_free
from fastrnn.music.midi import read_midi

pytestmark = pytest.mark.usefixtures("quick_pictures")

EXISTS = "the file exists already; --overwrite replaces it"


@pytest.mark.parametrize("command", [["improvise", "RUN", "--changes", "C | F"], ["sample", "RUN"]])
@pytest.mark.parametrize(("option", "name"), [("--out", "x.mid"), ("--wav", "x.wav"), ("--roll", "x.png")])
def test_music_replaces_no_file(command, option, name, jazz_run, tmp_path, capsys, monkeypatch):
    taken = tmp_path / name
    taken.write_text("mine")
    others = [] if option == "--out" else ["--out", str(tmp_path / "other.mid")]
    words = [str(jazz_run) if word == "RUN" else word for word in command] + ["--seed", "1", option, str(taken), *others]
    with monkeypatch.context() as patch:
        patch.setattr("fastrnn.music.run_folder.load_player", lambda *_: pytest.fail("nothing is loaded before that"))
        assert main(words) == 2
    assert capsys.readouterr().err == f"fastrnn: error: {taken}: {EXISTS}\n"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    if option == "--out":
        execute(*words, "--overwrite")
        assert read_midi(taken, fewest=0).chords


def test_results_of_a_benchmark_replace_no_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fastrnn.benchmark.ceilings.measure", lambda *_: pytest.fail("nothing is measured before that"))
    taken = tmp_path / "figures.json"
    taken.write_text("{}")
    for path, fault in (
        (taken, f"{taken}: {EXISTS}"), (tmp_path / "no" / "x.json", f"{tmp_path}/no: no such folder"),
        (tmp_path, f"--json {tmp_path} is a folder: expected a file to write"),
    ):  # fmt: skip
        execute("bench", "--json", path, status=2)
        assert capsys.readouterr().err == f"fastrnn: error: {fault}\n"
    assert json.loads(taken.read_text()) == {}


def test_choruses_replace_no_file(tmp_path, capsys):
    corpus_files.main([str(tmp_path)])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    first = min(before)
    with pytest.raises(SystemExit) as end:
        corpus_files.main([str(tmp_path)])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"python -m fastrnn.music.corpus: error: {first}: {EXISTS}\n"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_paths_without_a_file_are_free(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    check_free([tmp_path / "none", tmp_path / "link", tmp_path, tmp_path / "/dev/null"], overwrite=False)
    (tmp_path / "gone").write_text("mine")
    with pytest.raises(FileExistsError, match=EXISTS) as error:
        check_free([tmp_path / "none", tmp_path / "link"], overwrite=False)
    assert error.value.filename == str(tmp_path / "link")
    check_free([tmp_path / "link"], overwrite=True)
