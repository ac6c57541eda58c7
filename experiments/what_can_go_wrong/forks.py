"""Runs many commands fast, in forks of processes that have imported what they need (`fork_server`)."""

from __future__ import annotations

import json
import queue
import shlex
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from commands import MEMORY_LIMIT, Ended, environment

# Seconds that a command may take.
LIMIT_S = 90.0


class Forks:
    """Servers that run one command at a time each; they start when they are first needed.

    Args:
        root: The folder of the first project; every command names its own.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._idle: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        self._all: list[subprocess.Popen[str]] = []

    def run(self, name: str, overrides: Sequence[str], root: Path, limit_s: float = LIMIT_S) -> Ended:
        """Runs a command to its end."""
        root.mkdir(parents=True, exist_ok=True)
        log = root.parent / f".{root.name}-{uuid.uuid4().hex[:12]}.log"
        log.touch()
        request = {
            "name": name,
            "overrides": list(overrides),
            "root": str(root),
            "log": str(log),
            "limit_s": limit_s,
            "environment": {"MEDSSR_ROOT": str(root)},
            "memory_limit": MEMORY_LIMIT,
        }
        server = self._take()
        requests, answers = _pipes(server)
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        code = json.loads(answers.readline())["code"]
        self._idle.put(server)
        output = log.read_text(encoding="utf-8", errors="replace")
        log.unlink()
        line = shlex.join(["python", "-m", f"medssr.commands.{name}", *overrides])
        return Ended(code, output, f"MEDSSR_ROOT={root} {line}")

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the servers."""
        for server in self._all:
            requests, _ = _pipes(server)
            requests.close()
            server.wait()

    def _take(self) -> subprocess.Popen[str]:
        """Returns a server that runs nothing, which is a new one if there is none."""
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            command = [sys.executable, str(Path(__file__).with_name("fork_server.py"))]
            pipe = subprocess.PIPE
            started = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment(self._root))
            self._all.append(started)
            return started


def _pipes(server: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert server.stdin is not None
    assert server.stdout is not None
    return server.stdin, server.stdout
