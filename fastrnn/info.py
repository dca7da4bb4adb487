"""What is installed here, what would run, and how to change it: the text of ``fastrnn info``."""

from __future__ import annotations

import importlib
import os
import platform
from importlib import metadata, util
from typing import Any

import numpy as np

from . import backends

EXTRAS = {
    "train": ("rich", "matplotlib", "pretty_midi"),
    "torch": ("torch",),
    "onnx": ("onnx",),
    "bench": ("pytest_benchmark", "threadpoolctl"),
}


def text() -> str:
    """Several lines, for people."""
    from . import __version__

    rows = [
        ("fastrnn", __version__),
        ("python", f"{platform.python_version()}, numpy {np.__version__}, {platform.system()} {platform.machine()}"),
        *_backend_rows(),
        *_kernel_rows(_c_info()),
        *_extra_rows(),
    ]
    return "\n".join(f"{name + ':' if name else '':<10}{value}" for name, value in rows)


def _backend_rows() -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name in backends.NAMES:
        try:
            backends.load(name)
            state = "present"
        except backends.BackendUnavailable as error:
            state = f"missing: {error.__cause__ or error}"
        rows.append(("" if rows else "backends", f"{name:<10} {state}"))
    try:
        chosen, why = backends.current().name, "the first one present"
    except (ValueError, backends.BackendUnavailable) as error:
        chosen, why = "none", str(error)
    else:
        if os.environ.get("FASTRNN_BACKEND"):
            why = "by FASTRNN_BACKEND"
    how = "change it with FASTRNN_BACKEND, fastrnn.use_backend(name), or --backend"
    return [*rows, ("chosen", f"{chosen} ({why}); {how}")]


def _c_info() -> dict[str, Any]:
    """What the C backend says of itself: isa, isas_available, compiler, threads; {} when it is missing."""
    if "c" not in backends.available():
        return {}
    content: dict[str, Any] = importlib.import_module(".backends.c", __package__).info()
    return content


def _kernel_rows(info: dict[str, Any]) -> list[tuple[str, str]]:
    if not info:
        how = "pip install --force-reinstall --no-cache-dir fastrnn"
        return [("kernels", f"no C kernels; to have them, install gcc or clang, then {how}")]
    found = ", ".join(info["isas_available"])
    return [
        ("isa", f"{info['isa']} (found: {found}); change it with FASTRNN_ISA"),
        ("threads", f"{info['threads']}; change it with FASTRNN_NUM_THREADS, fastrnn.set_num_threads(n), or --threads"),
        ("compiler", str(info["compiler"])),
    ]


def _extra_rows() -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if util.find_spec(module) is None]
        here = ", ".join(f"{module} {_version(module)}" for module in modules if module not in absent)
        lacking = f"missing: {', '.join(absent)} (pip install 'fastrnn[{extra}]')" if absent else ""
        rows.append(("" if rows else "extras", f"{extra:<10} {'; '.join(part for part in (here, lacking) if part)}"))
    return rows


def _version(module: str) -> str:
    try:
        return metadata.version(module.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return ""
