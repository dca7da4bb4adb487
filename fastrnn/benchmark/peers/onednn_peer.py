"""oneDNN called directly, without a framework, through the shim of ``bench/onednn``: the strongest peer."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import Problem
from .protocol import Absent, Side, Unsupported, as_arrays, require_threads

Array = NDArray[Any]

FOLDER = "FASTRNN_BENCH_ONEDNN"  # the environment variable that says where the shim's source is, if not in the checkout
KINDS = {"RNN": 0, "GRU": 1, "LSTM": 2}


def _source() -> Path:
    checkout = Path(__file__).parents[3] / "bench" / "onednn"
    source = Path(os.environ.get(FOLDER) or checkout) / "shim.cpp"
    if not source.exists():
        raise Absent(f"its shim is built from the checkout, and {source} is not there; {FOLDER} names its folder")
    return source


def _installed(package: str, suffix: str) -> Path:
    """The file of an installed package whose path ends so."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise Absent(f"the package {package} is not installed") from None
    for file in files:
        if str(file).endswith(suffix):
            return Path(str(file.locate())).resolve()
    raise Absent(f"{package} has no {suffix}")


def _build() -> Path:
    """The compiled shim, made anew where its source is newer."""
    source = _source()
    dnnl, tbb = _installed("onednn", "libdnnl.so.3"), _installed("tbb", "libtbb.so.12")
    headers = _installed("onednn-devel", "oneapi/dnnl/dnnl.hpp").parents[2]
    _installed("tbb-devel", "oneapi/tbb.h")
    target = source.parents[2] / "build" / "onednn" / f"shim-{metadata.version('onednn')}-{sys.implementation.cache_tag}.so"
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CXX", "c++")
    # An old-style rpath, because it also serves the libraries that libdnnl.so itself needs and gives no path for.
    options = ["-std=c++17", "-O2", "-shared", "-fPIC", f"-I{headers}", "-Wl,--disable-new-dtags", "-Wl,--allow-shlib-undefined"]
    scratch = target.with_suffix(f".{os.getpid()}")
    command = [compiler, *options, str(source), "-o", str(scratch), str(dnnl), str(tbb), f"-Wl,-rpath,{dnnl.parent}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Absent(f"its shim cannot be compiled: {compiler}: {error.strerror}; CXX names a C++ compiler") from error
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise Absent(f"its shim does not compile: {reason}")
    scratch.rename(target)
    return target


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(str(_build()))
    except OSError as error:
        raise Absent(str(error)) from error
    pointer, sizes = ctypes.c_void_p, [ctypes.c_int64] * 4
    library.onednn_message.restype = ctypes.c_char_p
    library.onednn_create.restype = pointer
    library.onednn_create.argtypes = [*[ctypes.c_int] * 3, *sizes, *[pointer] * 3]
    library.onednn_destroy.argtypes = [pointer]
    library.onednn_forward.argtypes = [pointer] * 3
    library.onednn_step.argtypes = [pointer] * 7
    library.onednn_train.argtypes = [pointer] * 8
    return library


def _address(array: Array) -> int:
    return int(array.ctypes.data)


def _gates(problem: Problem, array: Array) -> Array:
    """``[G*H, ...]`` in oneDNN's order, which is torch's but for GRU: z r n. It is its own inverse."""
    if problem.case.cell != "GRU":
        return array
    r, z, n = np.split(array, 3)
    return np.concatenate((z, r, n))


class Layer:
    """A oneDNN primitive with the weights that it works on."""

    def __init__(self, problem: Problem, *, training: bool = False, states: bool = False) -> None:
        case, library = problem.case, _library()
        self.W, self.R = (np.ascontiguousarray(_gates(problem, a).T) for a in (problem.W, problem.R))
        self.b = self._bias(problem)
        sizes = (case.T, case.B, case.I, case.H)
        arrays = [_address(a) for a in (self.W, self.R, self.b)]
        self.handle = library.onednn_create(KINDS[case.cell], training, states, *sizes, *arrays)
        if not self.handle:
            raise Unsupported(library.onednn_message().decode())
        self._destroy = library.onednn_destroy

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._destroy(self.handle)

    @staticmethod
    def _bias(problem: Problem) -> Array:
        """One bias a gate; for GRU those of r and z, that of W n, and that of R n."""
        both = _gates(problem, problem.b_ih + problem.b_hh)
        if problem.case.cell != "GRU":
            return both
        H = problem.case.H
        return np.concatenate((both[: 2 * H], problem.b_ih[2 * H :], problem.b_hh[2 * H :]))


class OneDNN:
    """oneDNN's RNN primitives."""

    name = "onednn"

    def __init__(self) -> None:
        self.sides: dict[str, Callable[[Problem], Side]] = {"forward": self.forward, "training": self.training}

    def version(self) -> str:
        """The library's own."""
        numbers = (ctypes.c_int * 3)()
        _library().onednn_version(numbers)
        return ".".join(map(str, numbers))

    def use_threads(self, n: int) -> None:
        """The size of the TBB arena that it runs in."""
        _library().onednn_set_threads(n)
        require_threads(n, _library().onednn_threads(), self.name)

    def forward(self, problem: Problem) -> Side:
        """forward_inference, with the weights reordered beforehand into the layout that the primitive asked for."""
        case, layer, call = problem.case, Layer(problem), _library().onednn_forward
        y = np.empty((case.T, case.B, case.H), np.float32)
        arguments = (layer.handle, _address(problem.x), _address(y))

        def run() -> Array:
            call(*arguments)
            return y

        return _kept(Side(run, lambda y: as_arrays(y=y)), layer, problem)

    def training(self, problem: Problem) -> Side:
        """forward_training and backward with all gradients; the weights, which have changed, are reordered for both.

        Weights and their gradients are in the plain layout that needs the fewest reorders, not in torch's.
        """
        layer, call = Layer(problem, training=True), _library().onednn_train
        outputs = [np.empty_like(a) for a in (problem.dy, problem.x, layer.W, layer.R, layer.b)]
        arguments = (layer.handle, *(_address(a) for a in (problem.x, problem.dy, *outputs)))

        def run() -> list[Array]:
            call(*arguments)
            return outputs

        def results(out: list[Array]) -> Any:
            y, dx, dW, dR, db = out
            dW, dR = (_gates(problem, np.ascontiguousarray(a.T)) for a in (dW, dR))
            named = as_arrays(y=y, dx=dx, dW=dW, dR=dR)
            return named if problem.case.cell == "GRU" else named | as_arrays(db_ih=db, db_hh=db)

        return _kept(Side(run, results), layer, problem)


def _kept(side: Side, *owners: Any) -> Side:
    """The side, with what its pointers point into."""

    def run(_owners: Any = owners, inner: Any = side.run) -> Any:
        return inner()

    return Side(run, side.results)


PEER = OneDNN()
