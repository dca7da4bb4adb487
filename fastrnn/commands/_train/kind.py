"""The interface between ``fastrnn train KIND`` and a kind of task."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ...distributed.communicator import Communicator
    from ...layers._recurrent.base import Recurrent
    from ...training import Trainer
    from ...training._run.samples import SampleWriter
    from .help_texts import Words
    from .options import CommonOptions


@dataclass(frozen=True)
class Material:
    """The data of a run, in the kind's own form, and its options. ``sources`` and ``sha256`` identify the data."""

    content: Any
    options: Any
    sources: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start.

    ``data`` is of the kind's own class. It has ``baselines``, losses by name, and a ``vocabulary`` with ``unit`` and
    ``to_json()``. ``sampler`` samples at each evaluation. ``files`` write a new run's files other than its configuration.
    """

    trainer: Trainer
    data: Any
    recurrent: Recurrent
    sampler: SampleWriter
    files: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)


class Kind(Protocol):
    """A kind of task: its name on the command line, its words for the screen, its options, its data and its model."""

    name: str
    words: Words
    flags: CommonOptions

    def load_config(self, where: Path) -> Any:
        """Read the configuration of a run. Raises RunError."""

    def read(self, arguments: argparse.Namespace) -> Material:
        """Read the data of a new run. Raises UsageError, InputError, and the errors of the data's format."""

    def reread(self, arguments: argparse.Namespace, out: Path, config: Any, options: Any) -> Material:
        """Read the data of the run in ``out`` again. Raises InputError if it has changed, and as :meth:`read` does."""

    def prepare(self, material: Any, out: Path, overwrite: bool, ranks: Communicator) -> Prepared:
        """Make the trainer and the rest of the run. Raises the errors of the data's format, and MemoryError."""

    def introduction(self, material: Any, data: Any) -> Iterator[str]:
        """Return the lines that describe the data."""
