"""The build of oneDNN's shim: finds its packages and compiles ``bench/onednn`` for them, once."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .protocol import Absent

FOLDER = "FASTRNN_BENCH_ONEDNN"  # environment variable: the folder of the shim's source, if not in the checkout


@dataclass(frozen=True, slots=True)
class Build:
    """The packages of one build. ``folder`` is their prefix in the checkout's ``build/``, if they have their own."""

    packages: tuple[str, ...]
    folder: str = ""


def _source() -> Path:
    checkout = Path(__file__).parents[3] / "bench" / "onednn"
    source = Path(os.environ.get(FOLDER) or checkout).resolve() / "shim.cpp"
    if not source.exists():
        raise Absent(f"its shim is compiled from the checkout, and {source} is not there; {FOLDER} names its folder")
    return source


def _files(build: Build, place: Path) -> list[Path]:
    """Return all files of the packages. Raises Absent."""
    prefix = {"base": str(place / build.folder)}
    own = [sysconfig.get_path("purelib", vars=prefix)] if build.folder else []
    found: list[Path] = []
    for package in build.packages:
        here = next(iter(metadata.distributions(name=package, path=[*own, *sys.path])), None)
        if here is None:
            raise Absent(f"the package {package} is not installed")
        found += [Path(str(file.locate())).resolve() for file in here.files or []]
    return found


def _ending(files: list[Path], suffix: str) -> Path:
    for file in files:
        if str(file).endswith(suffix):
            return file
    raise Absent(f"its packages have no {suffix}")


def _compile(build: Build) -> Path:
    """Return the compiled shim, rebuilt if its source or a library is newer."""
    source = _source()
    place = source.parents[2] / "build"
    files = _files(build, place)
    libraries = [_ending(files, "lib/libdnnl.so.3")]
    includes = [_ending(files, "oneapi/dnnl/dnnl.hpp").parents[2]]
    if "tbb" in build.packages:
        libraries.append(_ending(files, "lib/libtbb.so.12"))
        includes.append(_ending(files, "oneapi/tbb.h").parents[1])
    target = place / "onednn" / f"shim-{build.packages[0]}.so"
    if target.exists() and target.stat().st_mtime > max(f.stat().st_mtime for f in (source, *libraries)):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(f".{os.getpid()}")
    # An old-style rpath, because it also applies to the libraries that libdnnl.so itself needs.
    _run(
        [
            *(os.environ.get("CXX", "c++"), "-std=c++17", "-O2", "-shared", "-fPIC", "-fopenmp", str(source)),
            *(f"-I{folder}" for folder in includes),
            *("-o", str(scratch), *map(str, libraries)),
            *("-Wl,--disable-new-dtags", "-Wl,--allow-shlib-undefined", f"-Wl,-rpath,{libraries[0].parent}"),
        ]
    )
    scratch.rename(target)
    return target


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Absent(f"its shim cannot be compiled: {command[0]}: {error.strerror}; CXX names a C++ compiler") from error
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise Absent(f"its shim does not compile: {reason}")


def sycl_environment() -> dict[str, str]:
    """Return the variable that tells SYCL where OpenCL's driver for the processor is.

    oneDNN's current build needs it, and pip installs the driver without registering it.
    """
    try:
        files = metadata.files("intel-opencl-rt") or []
    except metadata.PackageNotFoundError:
        return {}
    paths = [Path(str(file.locate())).resolve() for file in files if file.name == "libintelocl.so"]
    return {"OCL_ICD_FILENAMES": str(paths[0])} if paths else {}


def load(build: Build) -> Any:
    """Load the shim and declare the types of its functions. Raises Absent."""
    try:
        library = ctypes.CDLL(str(_compile(build)))
    except OSError as error:
        raise Absent(str(error)) from error
    pointer, sizes = ctypes.c_void_p, [ctypes.c_int64] * 4
    library.onednn_message.restype = ctypes.c_char_p
    library.onednn_create.restype = pointer
    library.onednn_create.argtypes = [*[ctypes.c_int] * 4, *sizes, *[pointer] * 3]
    library.onednn_destroy.argtypes = [pointer]
    library.onednn_forward.argtypes = [pointer] * 3
    library.onednn_step.argtypes = [pointer] * 7
    library.onednn_train.argtypes = [pointer] * 8
    return library
