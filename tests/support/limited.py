"""Child processes that no test waits for without a limit."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from typing import Any

import psutil

# Seconds; the longest command of a test takes under two minutes on one busy core.
LIMIT_S = 420.0
# Seconds in which a process prints the stacks of its threads.
_DUMP_S = 5.0


class LimitedProcess(subprocess.Popen[str]):
    """A child process that fails the test when it does not end in `LIMIT_S`, with the stacks of its threads.

    Its environment needs PYTHONFAULTHANDLER=1 for the stacks.
    """

    def communicate(self, input: str | None = None, timeout: float | None = LIMIT_S) -> Any:
        """Returns what the process printed, once it has ended."""
        try:
            return super().communicate(input, timeout)
        except subprocess.TimeoutExpired:
            output = self._end_with_stacks()
            raise AssertionError(f"{self.args} did not end within {timeout} s:\n{output}") from None

    def wait(self, timeout: float | None = LIMIT_S) -> int:
        """Returns the exit code, once the process has ended."""
        try:
            return super().wait(timeout)
        except subprocess.TimeoutExpired:
            output = self._end_with_stacks()
            raise AssertionError(f"{self.args} did not end within {timeout} s:\n{output}") from None

    def _end_with_stacks(self) -> Any:
        """Ends the process and its children; returns what it printed, the stacks of its threads among it."""
        family = psutil.Process(self.pid).children(recursive=True)
        self.send_signal(signal.SIGABRT)
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGABRT)
        for member in psutil.wait_procs(family, timeout=_DUMP_S)[1]:
            member.kill()
        self.kill()
        return super().communicate(timeout=_DUMP_S)
