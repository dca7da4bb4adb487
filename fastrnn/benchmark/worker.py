"""A process for one peer at one number of threads: it reads cases from standard input and prints records as lines of JSON.

Libraries read their settings from the environment when they are loaded, so the parent starts it with :func:`environment`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..json_reading import parse

# Environment variables that would change the kernels that NumPy's BLAS chooses, or a pool's number of threads.
UNWANTED = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_DYNAMIC",
)


def environment(threads: int) -> dict[str, str]:
    """Return the environment variables of a worker."""
    inherited = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1", "JAX_PLATFORMS": "cpu", "OPENVINO_TELEMETRY": "0"}
    from .peers.onednn_build import sycl_environment

    home = str(Path(__file__).parents[2])
    found_here = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))}
    return (
        inherited
        | quiet
        | found_here
        | sycl_environment()
        | {"OMP_NUM_THREADS": str(threads), "FASTRNN_NUM_THREADS": str(threads)}
    )


def main() -> None:
    """Serve the cases of one peer."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # prints of libraries go to standard error

    def say(**line: Any) -> None:
        print(json.dumps(line), file=out, flush=True)

    order: Mapping[str, Any] = parse(sys.stdin.read())
    from .cases import Case
    from .peers import Absent, WrongThreads, load

    try:
        peer = load(order["peer"])
        peer.use_threads(order["threads"])
    except (Absent, WrongThreads) as error:
        say(absent=f"{error}")
        return
    except Exception as error:  # its installation is damaged
        say(absent=_failure(error))
        return
    ours = load("fastrnn")
    ours.use_threads(order["threads"])
    say(version=peer.version())
    for fields in order["cases"]:
        say(case=fields, **_measured(ours, peer, Case(**fields), order["effort"]))


def _measured(ours: Any, peer: Any, case: Any, effort: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record, or the reason for its absence."""
    from .agreement import Disagreement
    from .compare import compare
    from .measure import Effort
    from .peers import Unsupported, WrongThreads

    try:
        return {"record": compare(ours, peer, case, Effort(**effort)).as_json()}
    except Unsupported as error:
        return {"unsupported": f"{error}"}
    except (Disagreement, WrongThreads) as error:
        return {"refused": f"{error}"}
    except Exception as error:  # a peer's own failure is reported
        return {"refused": _failure(error)}


def _failure(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


if __name__ == "__main__":
    main()
