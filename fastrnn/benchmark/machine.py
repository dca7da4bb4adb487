"""The description of the machine: processor, instruction set, versions."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from .ceilings import cache_sizes


def processor() -> str:
    """Return the processor's name, as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe() -> dict[str, Any]:
    """Return the machine's properties as plain values."""
    from .. import backends
    from .._core.version import __version__

    found: dict[str, Any] = {
        "processor": processor(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "caches": cache_sizes(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "fastrnn": __version__,
    }
    if "c" in backends.available():
        from ..backends._c.library import info

        c = info()
        found |= {"isa": c["isa"], "compiler": c["compiler"]}
    return found
