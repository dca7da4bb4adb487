"""The C library's own tests (``tests/c``), built by CMake: plainly, with sanitizers, and for aarch64."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest

from fastrnn.backends._c import extension as c_extension

CHECKOUT = Path(__file__).resolve().parent.parent
# Programs of this Python's environment come before those of the system, whose CMake may be too old.
SEARCH_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

# The groups of C tests that run if a process with several threads cannot be forked.
ALL_BUT_FORK = ("isa", "cells", "threads", "linear", "generate", "training", "xla")

slow = pytest.mark.slow


def find(*programs: str) -> str:
    """Return the first of these programs that is installed, or skip the test."""
    found = [path for program in programs if (path := shutil.which(program, path=SEARCH_PATH))]
    if not found:
        pytest.skip(f"needs {' or '.join(programs)}")
    return found[0]


def default_compiler() -> str:
    """The compiler that CMake takes: CC's, or the system's."""
    return find(*filter(None, [os.environ.get("CC"), "cc", "gcc"]))


def run(command: Sequence[str | Path], **options: object) -> str:
    """Run a program and return its output. If the program fails, the test fails and shows the output."""
    environment = {**os.environ, "PATH": SEARCH_PATH, **options.pop("env", {})}  # type: ignore[dict-item]
    done = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}"
    return str(done.stdout)


def only(*isas: str) -> list[str]:
    """Return CMake's option for a build of only these ISAs of x86-64; other processors have one ISA."""
    return [f"-DFASTRNN_ISAS={';'.join(isas)}"] if platform.machine() == "x86_64" else []


def configure(folder: Path, *options: str, python: bool = False) -> str:
    """Run CMake for a build of the checkout in this folder; return CMake's path."""
    cmake = find("cmake")
    version = re.search(r"(\d+)\.(\d+)", run([cmake, "--version"]))
    if not version or (int(version[1]), int(version[2])) < (3, 26):
        pytest.skip("needs CMake 3.26 or newer")
    kind = ["-DFASTRNN_PYTHON=ON", f"-DPython_EXECUTABLE={sys.executable}"] if python else ["-DFASTRNN_PYTHON=OFF"]
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=SEARCH_PATH) else []
    run([cmake, "-S", CHECKOUT, "-B", folder, *generator, *kind, "-DFASTRNN_TESTS=ON", *options])
    return cmake


def build(folder: Path, *options: str, python: bool = False) -> Path:
    """Configure and build the checkout in this folder; return the folder."""
    cmake = configure(folder, *options, python=python)
    run([cmake, "--build", folder, "--parallel", str(os.cpu_count() or 1)])
    return folder


def check(output: str) -> None:
    """Assert that the last line of the tests' output counts some passed tests and no failed one."""
    assert re.search(r"^[1-9]\d* passed, 0 failed$", output.splitlines()[-1]), output


def compiles(compiler: str, folder: Path, *flags: str) -> bool:
    """Return whether an empty program can be built with these flags; a compiler may lack the library of a sanitizer."""
    source = folder / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [compiler, *flags, str(source), "-o", str(folder / "empty")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("compiler", ["gcc", "g++", "clang", "clang++"])
def test_the_public_header_stands_alone_in_c_and_cpp(compiler: str, tmp_path: Path) -> None:
    source = tmp_path / ("header.cpp" if compiler.endswith("++") else "header.c")
    source.write_text('#include "fastrnn.h"\nint main(void) { return fastrnn_isa_count() < 0; }\n')
    run([find(compiler), "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", CHECKOUT / "csrc", source])


# The Python tests run all ISAs as the installation compiled them, and `.ci/wheel` compiles all without a warning. Here one
# compiler has the widest vectors and the matrix unit, the other the narrow ones; each can run avx2 on most machines.
@slow
@pytest.mark.parametrize(("compiler", "isas"), [("gcc", ("avx2", "base")), ("clang", ("amx", "avx512bf16", "avx2"))])
def test_kernels(compiler: str, isas: Sequence[str], tmp_path: Path) -> None:
    newest_first = [f"{compiler}-{version}" for version in range(30, 10, -1)]
    options = f"-DCMAKE_C_COMPILER={find(*newest_first, compiler)}", "-DCMAKE_C_FLAGS=-Werror"
    built = build(tmp_path / "build", *options, *only(*isas))
    check(run([built / "test_kernels"]))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have one ISA")
def test_a_build_has_the_isas_that_were_chosen(tmp_path: Path) -> None:
    configure(tmp_path, "-DFASTRNN_ISAS=base;amx;avx2")
    definition, listed = (tmp_path / "isas.h").read_text().splitlines()
    assert definition == "#define kernels_f64_amx kernels_f64_avx2"
    assert re.findall(r"X\((\w+),", listed) == ["amx", "avx2", "base"]  # the best first
    for isas, message in (("amx", "computes float64 for amx, such as avx2"), ("avx2;neon", "must be among amx;")):
        with pytest.raises(AssertionError, match=message):
            configure(tmp_path, f"-DFASTRNN_ISAS={isas}")


@slow
def test_thread_pool_under_thread_sanitizer(tmp_path: Path) -> None:
    if not compiles(default_compiler(), tmp_path, "-fsanitize=thread"):
        pytest.skip("the compiler has no ThreadSanitizer")
    built = build(tmp_path / "build", "-DFASTRNN_SANITIZE=thread", *only("avx2"))
    # Not the group "fork": the sanitizer ends a child that starts threads.
    groups = "threads", "linear", "generate", "training", "xla"
    check(run([built / "test_kernels", *groups], env={"TSAN_OPTIONS": "halt_on_error=1"}))


@slow
def test_kernels_for_aarch64(tmp_path: Path) -> None:
    compiler, qemu = find("aarch64-linux-gnu-gcc"), find("qemu-aarch64", "qemu-aarch64-static")
    target = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_C_COMPILER={compiler}"]
    built = build(tmp_path / "build", *target, "-DCMAKE_EXE_LINKER_FLAGS=-static")
    # Not the group "fork": qemu's user mode does not survive the fork of a process with several threads.
    output = run([qemu, built / "test_kernels", *ALL_BUT_FORK])
    assert all(f"{isa}: runs here" in output for isa in ("neondot", "neon"))
    check(output)


def package_with(extension: Path, folder: Path) -> Path:
    """Make a copy of the package and its tests that contains this extension."""
    package = folder / "fastrnn"
    shutil.copytree(CHECKOUT / "fastrnn", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(extension, package)
    shutil.copytree(CHECKOUT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__", "c"))
    shutil.copy(CHECKOUT / "pyproject.toml", folder)
    return folder


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the emulated ISA is x86-64's")
def test_the_emulated_matrix_unit_compiles(tmp_path: Path) -> None:
    """Other tests that build it are slow. These are the sources that see that unit."""
    configure(tmp_path, "-DFASTRNN_EMULATE_AMX=ON", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    commands = [entry["command"] for entry in json.loads((tmp_path / "compile_commands.json").read_text())]
    for source in ("entry", "gate_slices", "gemm", "integers", "layout", "linear", "matrix", "outer", "sliced"):
        [command] = [c for c in commands if f"fastrnn_f32_amx.dir/csrc/kernels/{source}.c.o" in c]
        run([*shlex.split(command), "-fsyntax-only", "-Werror"], cwd=tmp_path)


@slow
def test_kernels_on_an_emulated_matrix_unit(tmp_path: Path) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("the emulated ISA is x86-64's")
    built = build(tmp_path / "build", "-DFASTRNN_EMULATE_AMX=ON", python=True)
    here = package_with(built / "_fastrnn.abi3.so", tmp_path / "package")
    tests = [sorted(here.glob(f"tests/test_{name}*.py")) for name in ("compression", "int8", "matrix", "precision", "split")]
    assert all(tests), "a file of tests has another name now"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "not slow", *chain(*tests)]
    output = run(command, cwd=here, env={"PYTHONPATH": str(here), "FASTRNN_ISA": "amx"})
    assert "matrix unit" not in output  # no test was skipped for want of one
    assert re.search(r"^=* *[1-9]\d* passed", output.splitlines()[-1]), output


@slow
def test_kernels_and_their_python_tests_under_sanitizers(tmp_path: Path) -> None:
    compiler = default_compiler()
    if not compiles(compiler, tmp_path, "-fsanitize=address,undefined"):
        pytest.skip("the compiler has no AddressSanitizer")
    # Sanitizers see the loads and stores of emulated tiles, but not those of instructions for tiles.
    emulated = ["-DFASTRNN_EMULATE_AMX=ON"] if platform.machine() == "x86_64" else []
    built = build(tmp_path / "build", "-DFASTRNN_SANITIZE=ON", *emulated, python=True)
    # AddressSanitizer's allocator may be locked at the moment of the fork; it would then stay locked in the child.
    check(run([built / "test_kernels", *ALL_BUT_FORK], env={"UBSAN_OPTIONS": "print_stacktrace=1"}))
    libraries = [run([compiler, f"-print-file-name=lib{name}.so"]).strip() for name in ("asan", "ubsan")]
    if not all(Path(library).is_absolute() for library in libraries):
        pytest.skip("the sanitizers' shared libraries are not to be found, so the Python tests did not run under them")
    here = package_with(built / "_fastrnn.abi3.so", tmp_path / "package")
    environment = {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONPATH": str(here)}
    quick = ["-m", "not slow", "-k", "not numba and not any_size and not torch"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *quick]
    tests = [f"tests/test_{name}.py" for name in ("backends", "empty", "learn", "stack", "stepper")]
    output = run([*command, *tests], cwd=here, env=environment)
    assert f"from {here}" in output
    assert "backends: c" in output


def test_the_build_writes_down_its_sources_as_they_are_read(tmp_path: Path) -> None:
    configure(tmp_path, python=True)
    assert (tmp_path / c_extension.SOURCES).read_text() == c_extension.sources(CHECKOUT)


@slow
def test_installs_without_a_compiler(tmp_path: Path) -> None:
    """The installation falls back to the Numba backend, and importing says so; a build for others fails."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    source = tmp_path / "source"
    shutil.copytree(
        CHECKOUT, source, ignore=shutil.ignore_patterns(".git", "*.so", "__pycache__", "build", ".*_cache", "runs")
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    no_compiler = {"PATH": f"{python.parent}{os.pathsep}{empty}", "CC": "/bin/false", "CXX": "/bin/false", "PYTHONPATH": ""}
    install = [python, "-m", "pip", "install", "--quiet", str(source)]
    required = {**os.environ, **no_compiler, "FASTRNN_REQUIRE_KERNELS": "1"}
    assert subprocess.run(install, env=required, capture_output=True, check=False).returncode == 1
    run(install, env=no_compiler)
    program = (
        "import numpy as np, fastrnn; from pathlib import Path;"
        "assert not list(Path(fastrnn.__file__).parent.glob('_fastrnn*'));"
        "y, h = fastrnn.RNN(3, 4)(np.ones((2, 1, 3), np.float32));"
        "assert np.abs(y).max() > 0 and np.array_equal(y[-1], h[0]);"
        "print(fastrnn.RNN(3, 4).plan(2, 1))"
    )
    output = run([python, "-c", program], cwd=tmp_path, env={"PYTHONPATH": ""})
    assert "numba" in output
    assert output.count("Warning: fastrnn was installed without its C kernels") == 1
