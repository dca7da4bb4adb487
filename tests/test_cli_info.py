"""``fastrnn info``: what is chosen, what is missing, and how to change it."""

import re
import tomllib
from pathlib import Path

import pytest
from command_line import output_of

from fastrnn.info import EXTRAS

REINSTALL = "CC=gcc pip install --force-reinstall --no-deps --no-cache-dir"
REBUILD = f"{REINSTALL} --no-binary fastrnn fastrnn; in a checkout: {REINSTALL} ."


def test_info_says_what_is_chosen_and_how_to_change_it(capsys):
    import fastrnn

    output = output_of(capsys, "info").out
    assert output.startswith(f"fastrnn:    {fastrnn.__version__}\n")
    for word in ("reference", "numba", "fastrnn.use_backend(name)", "numpy", "train"):
        assert word in output


def _info(capsys):
    """Return the rows of ``fastrnn info`` by name."""
    return dict(re.findall(r"^(\w[\w ]*): +(.*)$", output_of(capsys, "info").out, re.MULTILINE))


@pytest.mark.parametrize(("backend", "isa"), [("numba", "[a-z0-9]+"), ("reference", "numpy")])
def test_info_shows_the_chosen_backends_own_isa_and_threads(capsys, monkeypatch, backend, isa):
    from fastrnn import backends

    if backend not in backends.available():
        pytest.skip(f"there is no {backend} here")
    monkeypatch.setenv("FASTRNN_BACKEND", backend)
    with backends.use_backend(None):
        chosen = _info(capsys)["chosen"]
    assert re.match(rf"{backend} \(by FASTRNN_BACKEND\), isa {isa}, 1 thread for a large layer; change it with", chosen)


def test_info_shows_cs_isa_threads_and_compiler(capsys, monkeypatch, isa, c, set_threads):
    from fastrnn import backends

    monkeypatch.delenv("FASTRNN_BACKEND", raising=False)
    set_threads(2)
    with backends.use_backend(None):
        rows = _info(capsys)
    assert rows["chosen"].startswith(f"c (the first one present), isa {isa}, 2 threads for a large layer; ")
    assert rows["c isa"] == f"{isa} (found: {', '.join(c.isa_names())}); change it with FASTRNN_ISA"
    assert rows["c threads"].startswith("at most 2; change it with FASTRNN_NUM_THREADS")
    assert rows["c compiler"] == f"{c.info()['compiler']}; to change it, {REBUILD}"


def test_info_says_how_to_install_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr("fastrnn.info.util.find_spec", lambda module: None)
    missing = f"missing: {', '.join(EXTRAS['train'])} (pip install 'fastrnn[train]')"
    assert _info(capsys)["extras"] == f"train      {missing}"


def test_info_shows_all_that_an_extra_installs():
    extras = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert list(EXTRAS) == [extra for extra in extras if extra in EXTRAS]
    for extra in EXTRAS.keys() - {"bench"}:
        named = [re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in extras[extra]]
        assert list(EXTRAS[extra]) == [name for name in named if name != "mpich"]


def test_info_without_a_c_backend_says_why(capsys, monkeypatch):
    from fastrnn import backends

    def load(name):
        if name == "c":
            raise backends.BackendUnavailable("no C") from ImportError("it was not built")
        return real(name)

    real = backends.load
    monkeypatch.setattr(backends, "load", load)
    monkeypatch.setattr(backends, "available", lambda: ("reference",))
    monkeypatch.setattr(backends, "current", lambda: real("reference"))
    rows = _info(capsys)
    assert rows["backends"] == "c          missing: it was not built"
    assert rows["c isa"] == "none; change it with FASTRNN_ISA"
    assert rows["c threads"].startswith("none; change it with FASTRNN_NUM_THREADS")
    assert rows["c compiler"] == f"none; to have C kernels, install gcc or clang, then {REBUILD}"
