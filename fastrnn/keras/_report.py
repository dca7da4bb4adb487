"""The report of ``accelerate``: what was replaced, and which calls ran where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import TracebackType


class Report:
    """Report of :func:`fastrnn.keras.accelerate`, which prints as text; as a context manager it restores Keras at the end.

    ``replaced`` holds the names of the replaced methods. ``calls`` counts the calls that the kernels ran, by layer class.
    ``fallbacks`` counts the calls that Keras ran, by layer class and reason. A compiled call is counted when it is traced.
    """

    def __init__(self, backend: str, replaced: list[str], restore: Callable[[], None]) -> None:
        self.backend, self.replaced = backend, replaced
        self.calls: Counter[str] = Counter()
        self.fallbacks: Counter[tuple[str, str]] = Counter()
        self._restore = restore

    def __str__(self) -> str:
        lines = [f"replaced on the {self.backend} backend: {', '.join(self.replaced)}"]
        lines += [f"{name}: fastrnn ran {count} calls" for name, count in sorted(self.calls.items())]
        lines += [f"{name}: Keras ran {count} calls: {why}" for (name, why), count in sorted(self.fallbacks.items())]
        return "\n".join(lines)

    __repr__ = __str__

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
