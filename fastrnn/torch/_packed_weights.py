"""Packed weights, cached by the parameters' addresses until the parameters change.

A tensor's version counts the changes that torch notices. It misses changes through ``.data``, which many training scripts
make (``p.data.add_(p.grad, alpha=-lr)``), so a hash of the parameters' bits decides as well. Hashing takes a tenth of the
time of packing, but it would make a call of a few steps up to twice as long. Such a call hashes only ``PART_BYTES`` of the
parameters, a different part each time. So it notices an optimiser's step at once, and a change of a single number some calls
later. Tensors that torch has put at the address of freed ones are hashed as a whole, because their versions say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from .. import backends
from .._core.cache import SETTINGS, VERSION
from ..backends.base import Run
from ._stack import Stack

PART_BYTES = 32 * 1024
FEW_ROWS = 8  # calls of fewer rows of x hash one part
MOST_PACKED = 256  # sets of parameters
MOST_RUNS = 256  # sizes of x
_expired = torch.UntypedStorage._expired
_data_ptr, _is_contiguous, _is_neg = torch.Tensor.data_ptr, torch.Tensor.is_contiguous, torch.Tensor.is_neg


class PackedWeights:
    """A stack's parameters in the backend's form, with the versions and the hash of the parameters that it was made from."""

    def __init__(self, stack: Stack, weights: Sequence[torch.Tensor], training: bool) -> None:
        self._latest, settings = VERSION.latest, SETTINGS.latest
        self.backend = backend = backends.current(None)
        self.training = training
        self._settings: Any = backend.settings()
        self._versions = _versions(weights)
        counts = [w.numel() for w in weights]
        self._hash = backend.hash_arrays(stack.spec, [w.data_ptr() for w in weights], counts)
        self._phases = -(-sum(counts) * weights[0].element_size() // PART_BYTES)
        self._whole = self._hash(0, 1)
        self._parts: list[int] = []  # the hash of each part, once a call of few rows has come
        self._next = 0
        arrays = [w.detach().numpy() for w in weights]
        self.prepared: Any = backend.prepare_copy(stack.spec, stack.by_part(arrays), training)
        if not SETTINGS.unchanged_since(settings):  # perhaps they are packed for another setting
            self._settings = None
        self._storages = [StorageWeakRef(w.untyped_storage()) for w in weights]
        self._addresses = [storage.cdata for storage in self._storages]
        self._runs: dict[Any, Run] = {}  # by the shape of x and the order of its rows

    def alive(self) -> bool:
        """Return whether the parameters' memory is still in use."""
        return not any(map(_expired, self._addresses))

    def fits(self, weights: Sequence[torch.Tensor], training: bool, shape: torch.Size) -> bool:
        """Return whether this serves a call with x of this shape: the parameters, backend and settings are unchanged."""
        if self._latest is not VERSION.latest:
            latest, backend = VERSION.latest, backends.current(None)
            if backend is not self.backend or backend.settings() != self._settings:
                return False
            self._latest = latest
        if (training and not self.training) or _versions(weights) != self._versions:
            return False
        few = self._versions and shape[0] < FEW_ROWS and (len(shape) == 2 or shape[0] * shape[1] < FEW_ROWS)
        few = few and self.alive()  # other tensors may have taken the place of freed ones
        if not few or not self._parts:
            unchanged = self._hash(0, 1) == self._whole
            if few and unchanged:
                self._parts = [self._hash(phase, self._phases) for phase in range(self._phases)]
            return unchanged
        self._next = phase = (self._next + 1) % self._phases
        return self._hash(phase, self._phases) == self._parts[phase]

    def run(self, shape: torch.Size, rows: str) -> Run:
        """Return the backend's function for inference on x of this shape."""
        run = self._runs.get((shape, rows))
        if run is None:
            if len(self._runs) >= MOST_RUNS:
                self._runs.clear()
            self._runs[shape, rows] = run = self.backend.run_of(self.prepared, tuple(shape), rows)
        return run


_cache: dict[tuple[Stack, tuple[int, ...]], PackedWeights] = {}


def packed_weights(stack: Stack, weights: Sequence[torch.Tensor], training: bool, shape: torch.Size) -> PackedWeights:
    """Return the packed weights for a call with x of this shape, from the cache if the parameters are unchanged."""
    addresses = tuple(map(_data_ptr, weights))
    # A transposed or negated view has the address of its base and other values, and zeros may have no address. They are
    # packed for each call.
    plain = all(map(_is_contiguous, weights)) and not any(map(_is_neg, weights)) and 0 not in addresses
    key = stack, addresses
    found = _cache.get(key) if plain else None
    if found is None or not found.fits(weights, training, shape):
        stack.check(weights)
        _remove_dead()
        found = PackedWeights(stack, [with_values(w.contiguous()) for w in weights], training)
        if plain:
            _cache[key] = found
    return found


def with_values(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor, or a copy of one whose values torch computes when it reads them: a negated view, or zeros."""
    return tensor.clone() if tensor._is_zerotensor() else tensor.resolve_neg()


def _versions(weights: Sequence[torch.Tensor]) -> list[int]:
    """Return the versions of tensors; none if they were made in inference mode, where torch counts no changes."""
    try:
        return [w._version for w in weights]
    except RuntimeError:
        return []


def _remove_dead() -> None:
    """Remove the packed weights of deleted parameters, and the oldest ones if there are too many."""
    for key, packed in list(_cache.items()):
        if not packed.alive():
            _cache.pop(key, None)
    while len(_cache) >= MOST_PACKED:
        _cache.pop(next(iter(_cache)), None)
