"""Starts medssr's commands as an operator does, each with a limit of time; none outlives its case."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from outcomes import Verdict

REPOSITORY = Path(__file__).resolve().parents[2]
# Seconds that a command may take; the slowest takes 60 on a machine whose cores are busy.
LIMIT_S = 400.0
# Seconds in which the other processes of a command have to end after its first process has ended.
FAREWELL_S = 60.0
# Bytes of memory that a process may hold of its own; a broken file that makes it want more ends it with a traceback.
MEMORY_LIMIT = 6 * 2**30
# Environment variable that marks all processes of a command.
_MARK = "MEDSSR_WHAT_CAN_GO_WRONG"


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended.

    Attributes:
        code: Its exit code, negative for a signal; None where it was still running at its limit of time.
        output: Both outputs, in the order in which they came.
        command: The command line, for a shell.
    """

    code: int | None
    output: str
    command: str

    @property
    def has_traceback(self) -> bool:
        """Whether Python has printed a traceback."""
        return "Traceback (most recent call last)" in self.output

    @property
    def last_line(self) -> str:
        """The last line of the output, cut."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return f"code {self.code}, {lines[-1][:300] if lines else 'no output'}"


def environment(root: Path) -> dict[str, str]:
    """Returns the environment of a command whose project is in the folder `root`."""
    return os.environ | {
        "MEDSSR_ROOT": str(root),
        "PYTHONPATH": str(REPOSITORY),
        "CUDA_VISIBLE_DEVICES": "",  # bytes are promised to be the same on a CPU
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "TORCH_GLOO_LAZY_INIT": "0",
        "WANDB_MODE": "offline",
    }


class Command:
    """A command that runs in a process group of its own.

    Args:
        name: "train", "pipeline" ...
        overrides: The settings of its command line.
        root: The folder of its project.
        variables: Further variables of its environment.
    """

    def __init__(
        self,
        name: str,
        overrides: Sequence[str],
        root: Path,
        variables: dict[str, str] | None = None,
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._mark = uuid.uuid4().hex
        self._log = root.parent / f".{root.name}-{self._mark[:12]}.log"
        self.arguments = ["-m", f"medssr.commands.{name}", *overrides]
        shown = {"MEDSSR_ROOT": str(root)} | (variables or {})
        self.line = (
            " ".join(f"{key}={value}" for key, value in shown.items()) + " " + shlex.join(["python", *self.arguments])
        )
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=root,
                env=environment(root) | (variables or {}) | {_MARK: self._mark},
                start_new_session=True,
            )
        resource.prlimit(self.process.pid, resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))

    @property
    def is_running(self) -> bool:
        """Whether its first process has not ended."""
        return self.process.poll() is None

    def processes(self) -> dict[int, dict[str, str]]:
        """Returns the environments of its living processes, by process id."""
        return dict(_marked(self._mark))

    def trainer(self, rank: int) -> int | None:
        """Returns the id of the process that trains with this rank; None where there is none."""
        if rank == 0:
            return self.process.pid
        ranks = {variables.get("LOCAL_RANK"): pid for pid, variables in self.processes().items()}
        return ranks.get(str(rank))

    def send(self, signum: signal.Signals, pid: int | None = None) -> None:
        """Sends a signal to one process, or to the whole group."""
        try:
            if pid is None:
                os.killpg(self.process.pid, signum)
            else:
                os.kill(pid, signum)
        except ProcessLookupError:  # it has just ended by itself
            pass

    def end(self, limit_s: float = LIMIT_S) -> Ended:
        """Waits for its end and returns what came; what is left of it then is killed.

        A process that outlives the first one by `FAREWELL_S` counts as hung, too.
        """
        try:
            code: int | None = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        deadline = time.monotonic() + FAREWELL_S
        while code is not None and self.processes():
            if time.monotonic() > deadline:
                code = None
            time.sleep(0.05)
        for pid in self.processes():
            self.send(signal.SIGKILL, pid)
        self.process.wait()
        output = self._log.read_text(encoding="utf-8", errors="replace")
        self._log.unlink()
        return Ended(code, output, self.line)


def bad_end(ended: Ended, *codes: int) -> tuple[Verdict, str] | None:
    """Returns the verdict on a command that hung, printed a traceback or has another exit code; None if all is well.

    Args:
        ended: The command.
        codes: The exit codes that are well.
    """
    if ended.code is None:
        return Verdict.HUNG, ended.last_line
    if ended.has_traceback:
        return Verdict.TRACEBACK, ended.last_line
    return None if ended.code in codes else (Verdict.UNCLEAR, ended.last_line)


def run(name: str, overrides: Sequence[str], root: Path, limit_s: float = LIMIT_S) -> Ended:
    """Runs a command to its end."""
    return Command(name, overrides, root).end(limit_s)


def _marked(mark: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the living processes that have inherited a mark, with their environments."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            content = (folder / "environ").read_bytes()  # empty for a process that has ended
        except OSError:  # it has just ended, or is another user's
            continue
        if mark.encode() in content:
            pairs = (entry.partition("=") for entry in content.decode(errors="replace").split("\0") if "=" in entry)
            yield int(folder.name), {name: value for name, _, value in pairs}
