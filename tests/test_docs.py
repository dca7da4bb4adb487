"""Every code block of the docs and every example runs, and the files that CONTRIBUTING names exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_scripts import EXAMPLES, example
from ragtime import rag

import fastrnn
import fastrnn.training
from fastrnn.music.midi_writing import write_midi

ROOT = Path(__file__).parent.parent
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]
PATH_IN_TEXT = re.compile(r"`((?:csrc|fastrnn|tests|examples|docs|bench)/[\w./{},*-]*)`")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


# The blocks of a page are one program, because a block may use names of earlier ones.
PYTHON = [pytest.param(code, id=page.name) for page in PAGES if (code := "\n".join(blocks(page, "python")))]


@pytest.mark.usefixtures("quick_pictures")
@pytest.mark.parametrize("code", PYTHON)
def test_python_blocks(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for framework in re.findall(r"^import (jax|keras)\b", code, re.MULTILINE):
        pytest.importorskip(framework)
    exec(compile(code, "block", "exec"), {"__name__": "__block__"})


def test_readme_has_the_commands_that_ci_runs() -> None:
    commands = blocks(ROOT / "README.md", "sh")
    assert len(commands) == 3
    assert "fastrnn train chars" in commands[0]
    assert "fastrnn sample" in commands[0]
    assert 'pip install ".[test]" && pytest' in commands[1]
    assert commands[2].strip() == "pytest -n auto -m slow"


def test_links_and_paths_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        targets = [t for t in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in t]
        missing = [t for t in targets if not (page.parent / t).exists()]
        missing += [p for p in PATH_IN_TEXT.findall(text) if not list(ROOT.glob(re.sub(r"\{[^}]*\}", "*", p)))]
        assert not missing, f"{page.name} points at {missing}"


def public_modules() -> set[str]:
    """Return the modules without an underscore. If a package defines or exports a name, return only the package itself."""
    folder = Path(fastrnn.__file__).parent
    packages = {path.parent: ast.parse(path.read_text(encoding="utf-8")).body for path in folder.rglob("__init__.py")}
    exporting = {package for package, body in packages.items() if len(body) > 1} - {folder}
    found = {package for package in exporting if not exporting & {*package.parents}}
    found |= {path.with_suffix("") for path in folder.rglob("*.py") if not exporting & {*path.parents}}
    names = {".".join(("fastrnn", *path.relative_to(folder).parts)) for path in found}
    programs = ("fastrnn.cli", "fastrnn.commands", "fastrnn.benchmark")
    return {name for name in names if "._" not in name and not name.startswith(programs)}


def test_the_page_of_public_names_is_complete() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    columns = [re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for section in page.split("\n## ")[1:]]
    names, training, modules = (sorted(re.findall(r"`([\w.]+)`", "".join(cells))) for cells in columns)
    assert names == sorted(fastrnn.__all__)
    assert training == sorted(fastrnn.training.__all__)
    assert modules == sorted(public_modules())


def test_the_hops_of_the_jazz_part_name_all_its_modules() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (hops,) = re.findall(r"^## The jazz part in .*?(?=^## )", text, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`(\w+\.py)`", hops))
    assert named == {path.name for path in (ROOT / "fastrnn" / "music").rglob("*.py")} - {"__init__.py"}


def test_the_hops_of_the_hot_path_are_the_files_that_a_call_enters() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (hops,) = re.findall(r"^## The hot path in .*?(?=^## )", text, re.MULTILINE | re.DOTALL)
    forward = hops.split("In the backward pass")[0]
    named = re.findall(r"`(fastrnn/[\w/]+\.py)`", forward)
    lstm, x = fastrnn.LSTM(8, 8, rng=0, backend="c"), np.ones((1, 1, 8), np.float32)
    _, state = lstm(x)
    entered: list[tuple[str, str]] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            entered.append((frame.f_code.co_filename, frame.f_code.co_name))

    sys.setprofile(note)
    try:
        lstm(x, state)
    finally:
        sys.setprofile(None)
    package = Path(fastrnn.__file__).parents[1]
    own = [Path(file) for file, _ in entered if Path(file).is_relative_to(package / "fastrnn")]
    assert list(dict.fromkeys(path.relative_to(package).as_posix() for path in own)) == named
    assert len(own) <= 12, entered


def site_pages() -> Any:
    return runpy.run_path(str(ROOT / "docs" / "_site" / "pages.py"))


def test_the_round_trip_of_a_folder_of_midi_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_midi(tmp_path / "rag.mid", rag(0, 0))
    runpy.run_path(str(ROOT / "docs" / "figures" / "round_trip.py"))["main"](tmp_path)
    row = capsys.readouterr().out.splitlines()[2].strip("| ").split(" | ")
    notes = sum(len(part.notes) for part in rag(0, 0).parts)
    assert [row[0], row[1], *row[3:5], row[-1]] == ["rag", f"{notes:,}", "100.00%", "100.00%", "55.6"]


def test_every_example_is_in_the_gallery() -> None:
    thumbnails = site_pages()["THUMBNAILS"]
    here = {path.relative_to(EXAMPLES).with_suffix("").as_posix() for path in EXAMPLES.rglob("*.py")}
    assert set(thumbnails) == here - {"zoo/saving", "zoo/gradient_pictures", "zoo/polyphony", "zoo/roll_features"}
    assert all((ROOT / "docs" / "figures" / f"{picture}.png").exists() for picture in thumbnails.values())


@pytest.mark.parametrize(
    ("page", "here", "there"),
    [
        ("zoo", "[a](../examples/zoo/saving.py), [b](../examples/g2p.py)", "[a](_gallery/index.rst), [b](_gallery/g2p.rst)"),
        ("zoo", "[README](../README.md), [math](math.md#1-letters)", "[README](index.md), [math](math.md#1-letters)"),
        ("math", "[`reference.py`](../fastrnn/backends/reference.py)", "`reference.py`"),
        ("contributing", "", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")),
    ],
)
def test_links_out_of_the_docs_lead_to_the_site(page: str, here: str, there: str) -> None:
    assert site_pages()["on_the_site"](page, here) == there


def test_drop_in(capsys: pytest.CaptureFixture[str]) -> None:
    example("drop_in").main()
    lines = dict(line.rsplit(" ", 1) for line in capsys.readouterr().out.splitlines() if "is" in line)
    differences = {name: float(value) for name, value in lines.items() if name.endswith("difference is")}
    assert differences
    assert max(differences.values()) < 1e-6


def test_drop_in_cell(capsys: pytest.CaptureFixture[str]) -> None:
    drop_in_cell = example("drop_in_cell")
    drop_in_cell.main()
    lines = [line.rsplit(" ", 1) for line in capsys.readouterr().out.splitlines()]
    differences = {name: float(value) for name, value in lines}
    torch = importlib.util.find_spec("torch")
    assert len(differences) == (4 if torch else 2)
    assert max(differences.values()) < 1e-6

    # The loop over cells must give the layer's y and final state, also after a weight has changed.
    gru, x = fastrnn.GRU(3, 4, rng=0), np.random.default_rng(1).standard_normal((6, 2, 3)).astype(np.float32)
    cell = drop_in_cell.cell_of(gru)
    y, h_n = gru(x)
    got, last = drop_in_cell.run(cell, x)
    np.testing.assert_allclose(got, y, rtol=0, atol=1e-6)
    np.testing.assert_allclose(last, h_n[0], rtol=0, atol=1e-6)
    cell.bias_hh.assign(cell.bias_hh.data + 1)
    assert np.abs(drop_in_cell.run(cell, x)[0] - y).max() > 1e-2


def test_custom_loop_learns() -> None:
    # A model that always answers 1 has an error of 1/6. A few steps of learning are enough to see that gradients arrive.
    assert example("custom_loop").train(steps=400, T=10) < 0.1


def test_train_names() -> None:
    names = example("train_names").main("\n".join(["anna", "hanna", "nanna", "ana", "hana"] * 20), steps=60)
    assert len(names) == 10
    assert set("".join(names)) <= set("ahn")


def test_one_model_everywhere() -> None:
    differences = example("one_model_everywhere").main(epochs=2)
    assert "NumPy" in differences
    assert max(differences.values()) < 1e-5


def test_no_block_is_of_a_kind_that_nothing_runs() -> None:
    kinds: Any = {kind for page in PAGES for kind in re.findall(r"^```(\w+)$", page.read_text("utf-8"), re.MULTILINE)}
    assert kinds <= {"python", "sh", "math"}
