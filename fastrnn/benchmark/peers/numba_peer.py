"""The adapter of fastrnn's Numba backend, compared with the C backend."""

from __future__ import annotations

import numba

from .fastrnn_peer import Fastrnn

PEER = Fastrnn("numba", backend="numba")
PEER.library = numba
PEER.questions = ("forward", "training", "step")
