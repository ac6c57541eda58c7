"""Starts server processes on this machine, waits until they are healthy, and ends them for certain."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medssr.engines import server_guard
from medssr.errors import InputError

# Stands for the server's port in a command.
PORT = "{port}"
_HOST = "127.0.0.1"
_HEALTH_PATH = "/health"
# Seconds between two looks at servers that start, and the time-out of one.
_INTERVAL_S, _LOOK_S = 0.2, 5.0
# How often a server is started whose port somebody else has taken meanwhile.
_MAX_STARTS = 3
# What servers, and the libraries that they use, write if a port is taken.
_PORT_TAKEN = ("address already in use", "EADDRINUSE")
# Number of lines of a log in a message, and which are left out: those of tracebacks, also behind a logger's prefix. A
# server of several processes writes several tracebacks, the cause first.
_NUM_LOG_LINES = 15
_IN_TRACEBACK = re.compile(r"(.*?\[[\w.]+:\d+\] )?(\s|Traceback \(most recent call last\)|$)")
# What launchers of several processes set for a trainer: a server that inherits it takes itself for one of these.
_LAUNCHER_NAMES = frozenset(
    {"RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
)
_LAUNCHER_PREFIXES = ("TORCHELASTIC_", "ROLE_")


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How to start a server.

    Attributes:
        arguments: The program and its arguments, one of which is or contains `PORT`.
        environment: Variables to set for the server, in addition to those of this process.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


class ServerProcesses:
    """Servers on this machine, each under a guard that ends it when this process ends in any way.

    Args:
        commands: The servers to start.
        log_dir: The folder for the servers' output, `server_0.log` and so on; made if it is not there.
        folder: A folder of files for the servers, which is removed when they end, by the guards at the latest.
        timeout_s: Maximum time in seconds until all servers are healthy.

    Raises:
        InputError: When a server ends while it is started, or takes too long; the message has the end of its log.
    """

    def __init__(self, commands: Sequence[ServerCommand], log_dir: Path, folder: Path, timeout_s: float) -> None:
        self._folder = folder
        log_dir.mkdir(parents=True, exist_ok=True)
        self._servers: list[_Server] = []
        try:
            for number, command in enumerate(commands):
                self._servers.append(_Server(command, log_dir / f"server_{number}.log", folder))
            self._wait_until_healthy(timeout_s)
        except BaseException:  # also a signal: nothing may be left
            self.close()
            raise

    @property
    def addresses(self) -> list[str]:
        """The addresses of the servers."""
        return [server.address for server in self._servers]

    def ended(self) -> str | None:
        """Returns a description of the servers that have ended by themselves, with the end of their logs, if any."""
        return "\n".join(server.describe_end() for server in self._servers if server.has_ended()) or None

    def close(self) -> None:
        """Ends the servers, waits until they are gone, and removes their folder."""
        for server in self._servers:
            server.request_end()
        for server in self._servers:
            server.wait()
        self._servers = []
        shutil.rmtree(self._folder, ignore_errors=True)  # the guards remove it too

    def _wait_until_healthy(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        waiting = list(self._servers)
        while waiting := [server for server in waiting if not server.is_healthy()]:
            for server in waiting:
                if server.has_ended() and not server.restart_if_port_taken():
                    raise InputError(f"rollout: {server.describe_end()}")
            if time.monotonic() > deadline:
                raise InputError(
                    f"rollout.timeout_s: a server was not ready within {timeout_s:g} s; raise it if its log shows "
                    f"progress. {waiting[0].describe_log()}"
                )
            time.sleep(_INTERVAL_S)


class _Server:
    """A server process with its guard, port and log."""

    def __init__(self, command: ServerCommand, log: Path, folder: Path) -> None:
        self._command = command
        self._log = log
        self._folder = folder
        self._num_starts = 0
        self._start()

    def is_healthy(self) -> bool:
        """Returns whether the server answers its health route; from then on its port is its own."""
        from urllib3 import PoolManager, Timeout, exceptions

        with PoolManager(retries=False, timeout=Timeout(_LOOK_S)) as http:
            try:
                answer = http.request("GET", self.address + _HEALTH_PATH, preload_content=False)
            except exceptions.HTTPError:
                return False
            answer.close()  # its body may never end
        if answer.status != 200 or self.has_ended():  # after its end, somebody else answers at its port
            return False
        self._reserved.close()
        return True

    def has_ended(self) -> bool:
        """Returns whether the server has ended by itself."""
        return self._guard.poll() is not None

    def restart_if_port_taken(self) -> bool:
        """Starts a server at another port if it has ended because its port was taken; returns whether it did."""
        is_taken = any(text.lower() in self._text().lower() for text in _PORT_TAKEN)
        if not is_taken or self._num_starts == _MAX_STARTS:
            return False
        self._start()
        return True

    def describe_end(self) -> str:
        """Returns a sentence with the exit code of a server that has ended, and the end of its log."""
        return f"a server ended with code {self._guard.poll()}. {self.describe_log()}"

    def describe_log(self) -> str:
        """Returns a sentence with the path of the log, and its last lines without the frames of tracebacks."""
        lines = [line for line in self._text().splitlines() if not _IN_TRACEBACK.match(line)][-_NUM_LOG_LINES:]
        return f"The end of {self._log}:\n" + "\n".join(f"    {line}" for line in lines)

    def request_end(self) -> None:
        """Asks the guard to end the server."""
        assert self._guard.stdin is not None
        self._reserved.close()
        with contextlib.suppress(BrokenPipeError):  # it has ended
            # Not only closed: a forked child of this process may hold a copy of the pipe.
            self._guard.stdin.write(b"\n")
            self._guard.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()

    def wait(self) -> None:
        """Waits until the guard, and so the server, has ended; a guard that hangs is killed."""
        try:
            self._guard.wait(2 * server_guard.GRACE_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()  # ends, since nothing withstands SIGKILL

    def _start(self) -> None:
        self._num_starts += 1
        self._reserved, port = _reserved_port()
        self.address = f"http://{_HOST}:{port}"
        guard = [sys.executable, "-P", server_guard.__file__, str(os.getpid()), str(self._folder)]
        arguments = [argument.replace(PORT, str(port)) for argument in self._command.arguments]
        with self._log.open("wb") as log:
            self._guard = subprocess.Popen(
                [*guard, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal goes to the whole foreground group, but this process decides.
                start_new_session=True,
                env=_inherited() | dict(self._command.environment),
            )

    def _text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


def _reserved_port() -> tuple[socket.socket, int]:
    """Returns a free port and the socket that keeps others from it; a server with SO_REUSEADDR can still take it.

    On Linux, sockets with this option share a port as long as none listens.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((_HOST, 0))
    return reserved, int(reserved.getsockname()[1])


def _inherited() -> dict[str, str]:
    """Returns the environment of this process without what makes a process one of several trainers."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _LAUNCHER_NAMES and not name.startswith(_LAUNCHER_PREFIXES)
    }
