"""Starts a training in a folder, interrupts it, and tells how it ended and what it left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import psutil

GOOD, HUNG = "ended well", "hung"
# Seconds after which a training counts as hung; on two free cores one takes about a minute.
LIMIT_S = 7200.0
# Seconds in which what has been asked to end may do so.
_GRACE_S = 10.0
_PROGRAM = "medssr.commands.train"


class Interruption(StrEnum):
    """What happens to a training."""

    KILLED = "all trainers killed"
    ONE_KILLED = "one trainer killed"
    SIGNAL = "SIGTERM"


class Training:
    """A training whose output goes to a file.

    Args:
        root: The folder for its artefacts and its output.
        overrides: Its settings.
    """

    def __init__(self, root: Path, overrides: Sequence[str]) -> None:
        self._root = root
        self.log = root / "log"
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *(path for path in sys.path if path)]),
            "MEDSSR_ROOT": str(root),
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
            "PYTHONFAULTHANDLER": "1",
        }
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _PROGRAM, *overrides], stdout=stream, stderr=stream, cwd=root, env=environment
            )

    def outcome(self) -> str:
        """Waits for the end and returns how it was; a training that hangs is ended, with the stacks of its threads."""
        try:
            code = self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            trainers = self._trainers()
            for trainer in trainers:
                trainer.send_signal(signal.SIGABRT)
            psutil.wait_procs(trainers, timeout=_GRACE_S)
            self._process.kill()
            self._process.wait()
            return HUNG
        return f"code {code}" if code else GOOD

    def interrupt(self, how: Interruption, text: str) -> float | None:
        """Interrupts the training once its output has a text.

        Returns:
            The seconds until all trainers had ended; None if the training ended before, or hung.
        """
        while text not in self.log.read_text(encoding="utf-8", errors="replace"):
            if self._process.poll() is not None:
                return None
            time.sleep(0.1)
        trainers, begin = self._trainers(), time.monotonic()
        if how is Interruption.SIGNAL:
            self._process.send_signal(signal.SIGTERM)
        else:
            for trainer in trainers if how is Interruption.KILLED else trainers[-1:]:
                trainer.kill()
        if self.outcome() == HUNG:
            return None
        psutil.wait_procs(trainers)
        return time.monotonic() - begin

    def end_what_is_left(self) -> int:
        """Ends the processes that are left ten seconds after the end of the training, and returns their number."""
        deadline = time.monotonic() + _GRACE_S
        while (left := list(self._left())) and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in left:
            process.kill()
        return len(left)

    def _trainers(self) -> list[psutil.Process]:
        """The trainers, the first one first."""
        first = psutil.Process(self._process.pid)
        return [first, *(child for child in first.children() if _PROGRAM in child.cmdline())]

    def _left(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get("MEDSSR_ROOT") == str(self._root):
                    yield process
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
