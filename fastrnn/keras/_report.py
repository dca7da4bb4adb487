"""The report of ``accelerate``: what was replaced, and which calls ran where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import TracebackType


class Calls:
    """Counts of a layer's calls by what ran them, which print as text.

    ``calls`` counts those that the kernels ran, by layer class. ``fallbacks`` counts those that Keras ran, by layer class
    and reason. A compiled call is counted when it is traced.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.fallbacks: Counter[tuple[str, str]] = Counter()

    def __str__(self) -> str:
        lines = [f"{name}: fastrnn ran {count} calls" for name, count in sorted(self.calls.items())]
        lines += [f"{name}: Keras ran {count} calls: {why}" for (name, why), count in sorted(self.fallbacks.items())]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


class Report(Calls):
    """Report of :func:`fastrnn.keras.accelerate`, which prints as text; as a context manager it restores Keras at the end.

    ``replaced`` holds the names of the replaced attributes; ``calls`` and ``fallbacks`` are those of :class:`Calls`.
    """

    def __init__(self, backend: str, restore: Callable[[], None]) -> None:
        super().__init__()
        self.backend, self._restore = backend, restore
        self.replaced: list[str] = []

    def __str__(self) -> str:
        replaced = f"replaced on the {self.backend} backend: {', '.join(self.replaced)}"
        return "\n".join(filter(None, [replaced, super().__str__()]))

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
