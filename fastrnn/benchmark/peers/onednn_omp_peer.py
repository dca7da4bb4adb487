"""The adapter of oneDNN's last build for OpenMP: older, but without SYCL's few microseconds per call.

Its packages install files of the same names as those of the current version, so `just bench-onednn-omp` gives them their own
prefix.
"""

from __future__ import annotations

from .onednn_build import Build
from .onednn_peer import OneDNN

PEER = OneDNN("onednn_omp", Build(("onednn-cpu-gomp", "onednn-devel-cpu-gomp"), folder="onednn-omp"))
