"""The output of a run: that of the ranks passes through unchanged, and mpiexec's own messages are held back."""

from __future__ import annotations

import os
import select
import threading
from typing import IO, Any

CHUNK = 1 << 16
# Seconds. When mpiexec has ended, a pipe that was quiet for so long is empty, even if a process still holds it.
QUIET = 1.0


class Output:
    """Threads that copy the ranks' output, and one that keeps mpiexec's own messages.

    mpiexec writes the ranks' output to two pipes, so it never mixes with its messages.

    Attributes
    ----------
    options
        The options for mpiexec.
    descriptors
        The descriptors that mpiexec inherits.
    kept
        The messages, line by line, for errors that the launcher cannot explain.
    lost
        The error of the first write to standard output that failed.
    """

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.lost: OSError | None = None
        (self._out, out), (self._err, err) = os.pipe(), os.pipe()
        self.descriptors = out, err
        self.options = ["-outfile-pattern", f"/dev/fd/{out}", "-errfile-pattern", f"/dev/fd/{err}"]
        self._ended = False

    def start(self, messages: IO[bytes], out: Any, err: Any) -> None:
        """Start to copy the ranks' output to two streams, and to keep what mpiexec writes to its own pipe, ``messages``."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        pairs = (self._out, out), (self._err, err)
        self._copies = [threading.Thread(target=self._copy, args=pair, daemon=True) for pair in pairs]
        self._keeper = threading.Thread(target=self._keep, args=(messages,), daemon=True)
        for thread in (*self._copies, self._keeper):
            thread.start()

    def _keep(self, messages: IO[bytes]) -> None:
        self.kept += filter(None, (line.decode("utf-8", "replace").strip() for line in messages))

    def _copy(self, source: int, target: Any) -> None:
        """Copy bytes to a stream. If it fails, read on, because the ranks would wait for ever."""
        binary, failed = getattr(target, "buffer", None), False
        while True:
            if not select.select([source], [], [], QUIET)[0]:
                if self._ended:
                    break
                continue
            chunk = os.read(source, CHUNK)
            if not chunk:
                break
            if failed:
                continue
            try:
                if binary is None:
                    target.write(chunk.decode("utf-8", "replace"))
                else:
                    binary.write(chunk)
                target.flush()
            except OSError as error:  # a full disk, a reader that has ended
                failed = True
                if source == self._out:
                    self.lost = OSError(error.errno, error.strerror, "standard output")
        os.close(source)

    def causes(self) -> list[str]:
        """Return the messages of other programs, such as ssh. If there are none, return the first message of mpiexec."""
        return [line for line in self.kept if not line.startswith(("[mpiexec@", "[proxy:"))] or self.kept[:1]

    def finish(self) -> None:
        """Wait until everything is copied. mpiexec has ended."""
        self._ended = True
        for thread in self._copies:
            thread.join()
        self._keeper.join(QUIET)
