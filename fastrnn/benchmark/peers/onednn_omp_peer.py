"""oneDNN called directly, in its last build for OpenMP: an older version, but without SYCL's few microseconds a call.

Its packages and those of the current version put files of the same names into an environment; `just bench-onednn-omp`
gives this one a prefix of its own.
"""

from __future__ import annotations

from .onednn_build import Build
from .onednn_peer import OneDNN

PEER = OneDNN("onednn_omp", Build(("onednn-cpu-gomp", "onednn-devel-cpu-gomp"), folder="onednn-omp"))
