"""The text of ``fastrnn info``: what is installed, which kernels run, and how to change them."""

from __future__ import annotations

import importlib
import os
import platform
from dataclasses import replace
from importlib import metadata, util
from typing import Any

import numpy as np

from . import backends
from ._core.precision import PRECISIONS, get_float32_matmul_precision
from ._core.version import __version__
from .backends.structs import CellSpec, StackSpec
from .console import quantity

EXTRAS = {
    "train": ("rich", "matplotlib", "pretty_midi", "mido", "charset_normalizer", "chardet"),
    "torch": ("torch",),
    "onnx": ("onnx",),
    "keras": ("keras", "h5py"),
    "jax": ("jax",),
    "mpi": ("mpi4py",),  # MPI itself, such as MPICH, is no Python module
    "zoo": ("seqeval",),
    "bench": ("pytest_benchmark", "threadpoolctl"),
}


# The call that the row "chosen" plans: large enough for all threads.
TYPICAL, TYPICAL_T, TYPICAL_B = StackSpec(CellSpec("lstm", 256, 256)), 64, 64
REINSTALL = "CC=gcc pip install --force-reinstall --no-deps --no-cache-dir"
REBUILD = f"{REINSTALL} --no-binary fastrnn fastrnn; in a checkout: {REINSTALL} ."


def text() -> str:
    """Return the text, in several lines."""
    rows = [
        ("fastrnn", __version__),
        ("python", f"{platform.python_version()}, numpy {np.__version__}, {platform.system()} {platform.machine()}"),
        *_backend_rows(),
        _chosen_row(),
        *_precision_rows(),
        *_c_rows(_c_info()),
        *_extra_rows(),
    ]
    return "\n".join(f"{name + ':' if name else '':<12}{value}" for name, value in rows)


def install_extra(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'fastrnn[{extra}]'"


def obstacle_to(precision: str) -> str:
    """Return why a large layer does not run in a precision, or an empty string. Raises ValueError and BackendUnavailable."""
    plan, *_ = backends.current().plan(replace(TYPICAL, precision=precision), TYPICAL_T, TYPICAL_B)
    return plan.reason


def _backend_rows() -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name in backends.NAMES:
        try:
            backends.load(name)
            state = "present"
        except backends.BackendUnavailable as error:
            state = f"missing: {error.__cause__ or error}"
        rows.append(("" if rows else "backends", f"{name:<10} {state}"))
    return rows


def _chosen_row() -> tuple[str, str]:
    how = "change it with FASTRNN_BACKEND, fastrnn.use_backend(name), or --backend"
    try:
        plan, *_ = backends.current().plan(TYPICAL, TYPICAL_T, TYPICAL_B)
    except (ValueError, backends.BackendUnavailable) as error:
        return "chosen", f"none ({error}); {how}"
    why = "by FASTRNN_BACKEND" if os.environ.get("FASTRNN_BACKEND") else "the first one present"
    threads = f"{quantity(plan.threads, 'thread')}"
    return "chosen", f"{plan.backend} ({why}), isa {plan.isa}, {threads} for a large layer; {how}"


def _precision_rows() -> list[tuple[str, str]]:
    """Return the setting, and for the other precisions whether a large layer would run in them."""
    how = "change it with fastrnn.set_float32_matmul_precision(name), precision=name of a layer, or --precision"
    rows = [("precision", f"{get_float32_matmul_precision()}; {how}")]
    for name in PRECISIONS[1:]:
        try:
            obstacle = obstacle_to(name)
        except (ValueError, backends.BackendUnavailable):  # the row "chosen" says why
            continue
        rows.append(("", f"{name:<10} {f'runs as highest: {obstacle}' if obstacle else 'runs'}"))
    return rows


def _c_info() -> dict[str, Any]:
    """Return the C backend's isa, isas_available, compiler, threads and workers; {} if the backend is missing."""
    if "c" not in backends.available():
        return {}
    content: dict[str, Any] = importlib.import_module(".backends._c.backend", __package__).info()
    return content


def _c_rows(info: dict[str, Any]) -> list[tuple[str, str]]:
    isa = f"{info['isa']} (found: {', '.join(info['isas_available'])})" if info else "none"
    threads = f"at most {info['threads']}" if info else "none"
    workers = {"own": "the library's own", "openmp": "PyTorch's (OpenMP)"}[info["workers"]] if info else "none"
    compiler = f"{info['compiler']}; to change it," if info else "none; to have C kernels, install gcc or clang, then"
    return [
        ("c isa", f"{isa}; change it with FASTRNN_ISA"),
        ("c threads", f"{threads}; change it with FASTRNN_NUM_THREADS, fastrnn.set_num_threads(n), or --threads"),
        ("c workers", f"{workers}; change it with fastrnn.threads.use_openmp_workers(), after import torch"),
        ("c compiler", f"{compiler} {REBUILD}"),
    ]


def _extra_rows() -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if util.find_spec(module) is None]
        here = ", ".join(f"{module} {_version(module)}" for module in modules if module not in absent)
        lacking = f"missing: {', '.join(absent)} ({install_extra(extra)})" if absent else ""
        rows.append(("" if rows else "extras", f"{extra:<10} {'; '.join(part for part in (here, lacking) if part)}"))
    return rows


def _version(module: str) -> str:
    try:
        return metadata.version(module.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return ""
