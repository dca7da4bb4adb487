"""The installed package is light to import, complete, and has the C kernels wherever they can be built."""

from __future__ import annotations

import graphlib
import inspect
import os
import re
import runpy
import shutil
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import fastrnn
from fastrnn import backends

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def test_import_is_light(run_python):
    # `import fastrnn` needs only NumPy and cffi's runtime. Each of these modules would take a tenth of a second or more.
    heavy = "numba", "llvmlite", "torch", "scipy", "rich", "matplotlib", "safetensors", "hypothesis", "onnx", "pretty_midi"
    heavy += "keras", "jax"
    loaded = run_python("import sys, fastrnn; print(*sys.modules)").stdout.split()
    assert "numpy" in loaded
    assert not set(heavy) & set(loaded)


def test_import_does_not_need_threadpoolctl(run_python):
    program = "import sys; sys.modules['threadpoolctl'] = None; import fastrnn; print(fastrnn.get_num_threads() > 0)"
    assert run_python(program).stdout.split() == ["True"]


def test_the_library_does_not_need_the_commands():
    folder = Path(fastrnn.__file__).parent
    for path in folder.rglob("*.py"):
        if "commands" not in path.parts and path.name != "cli.py":
            library = path.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(from|import) .*\bcommands\b", library, re.MULTILINE), path


@pytest.mark.slow
def test_modules_import_each_other_in_no_circle():
    # import-linter (in pyproject.toml) checks packages; this test checks their modules.
    graph = pytest.importorskip("grimp").build_graph("fastrnn", exclude_type_checking_imports=True)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the modules


def test_version_is_the_same_everywhere():
    source = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["scikit-build"]["metadata"]["version"]["input"]
    assert source == "fastrnn/_core/version.py"
    assert metadata.version("fastrnn") == fastrnn.__version__


@pytest.mark.parametrize(
    ("tag", "section", "wrong"),
    [
        ("v0.1.0", "## 0.1.0 - 2027-01-31", []),
        ("v0.2.0", "## 0.1.0 - 2027-01-31", ["the tag must be v0.1.0, got v0.2.0"]),
        ("v0.1.0", "## 0.1.0", ["CHANGELOG.md must have the section `## 0.1.0 - YYYY-MM-DD`"]),
    ],
)
def test_a_tag_needs_the_version_and_a_dated_section(tag, section, wrong):
    faults = runpy.run_path(str(PYPROJECT.parent / ".ci" / "check_tag.py"))["faults"]
    assert faults(tag, "0.1.0", f"# Changelog\n\n## Unreleased\n\n{section}\n") == wrong


@pytest.mark.skipif(not (shutil.which("cc") or os.environ.get("CC")), reason="no C compiler")
def test_the_c_backend_was_built():
    # The installation succeeds even without it, so only this test notices a broken build.
    assert "c" in backends.available()
    assert backends.current().name == "c"


def test_every_public_name_is_documented():
    undocumented = [name for name in fastrnn.__all__ if not inspect.getdoc(getattr(fastrnn, name))]
    assert not undocumented
