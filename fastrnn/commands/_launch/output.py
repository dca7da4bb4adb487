"""The output of mpiexec: the ranks' output passes through, and MPICH's messages about their ends are held back."""

from __future__ import annotations

import re
import sys
import threading
from contextlib import suppress
from typing import IO, Any

# MPICH's lines about ranks that end; the launcher reports the same in one line.
NOISE = re.compile(
    rb"^(=+$|= {3}|YOUR APPLICATION TERMINATED|This typically refers|Please see the FAQ|Abort\(|\[proxy|\[mpiexec|"
    rb"Fatal error in|internal_|PMPI_|MPI[DR]I?_|HYD)"
)


class Output:
    """Two threads that copy standard output and standard error of mpiexec, line by line.

    ``kept`` has the lines that were held back.
    """

    def __init__(self, process: Any) -> None:
        self.kept: list[str] = []
        pairs = ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
        self._threads = [threading.Thread(target=self._copy, args=pair, daemon=True) for pair in pairs]
        for thread in self._threads:
            thread.start()

    def _copy(self, source: IO[bytes], target: Any) -> None:
        blank = False  # MPICH begins its message with an empty line
        for line in source:
            if not NOISE.match(line):
                text = (b"\n" if blank else b"") + (b"" if line == b"\n" else line)
                blank = line == b"\n"
                with suppress(BrokenPipeError):  # whoever read it has ended; if nobody read on, mpiexec would wait for ever
                    target.write(text.decode("utf-8", "replace"))
                    target.flush()
                continue
            blank = False
            self.kept.append(line.decode("utf-8", "replace").strip())

    def finish(self) -> None:
        """Wait until everything is copied, or for a second if something still holds the pipes."""
        for thread in self._threads:
            thread.join(1.0)
