"""The libraries that fastrnn is measured beside, one small adapter each; imported when they are asked for."""

from __future__ import annotations

from importlib import import_module

from .protocol import Absent, Peer, Side, Unsupported, WrongThreads

__all__ = ["NAMES", "OWN", "Absent", "Peer", "Side", "Unsupported", "WrongThreads", "load"]

NAMES = ("torch", "onednn", "onednn_omp", "onnxruntime", "openvino", "jax", "keras", "numpy", "numba")
OWN = ("numba",)  # fastrnn in another form: compared, but no rival


def load(name: str) -> Peer:
    """The adapter. Raises Absent, with the reason, where the library is not installed or cannot run."""
    try:
        module = import_module(f".{name}_peer", __name__)
    except ImportError as error:
        raise Absent(f"{error}") from error
    peer: Peer = module.PEER
    peer.version()
    return peer
