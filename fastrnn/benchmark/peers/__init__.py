"""Adapters of the libraries that fastrnn is compared with, imported when they are needed."""

from __future__ import annotations

from importlib import import_module

from .protocol import Absent, Peer, Side, Unsupported, WrongThreads

__all__ = ["NAMES", "OWN", "Absent", "Peer", "Side", "Unsupported", "WrongThreads", "load"]

NAMES = ("torch", "onednn", "onednn_omp", "onnxruntime", "openvino", "jax", "keras", "numpy", "numba")
OWN = ("numba",)  # fastrnn's own second backend: compared, but not a rival


def load(name: str) -> Peer:
    """Import an adapter. Raises Absent, with the reason, if the library is not installed or cannot run."""
    try:
        module = import_module(f".{name}_peer", __name__)
    except ImportError as error:
        raise Absent(f"{error}") from error
    peer: Peer = module.PEER
    peer.version()
    return peer
