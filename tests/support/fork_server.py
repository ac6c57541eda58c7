"""Starts commands as forks of a process that has imported their libraries, which takes seconds each time.

A fork is a process like any other, with an id, signals, files, environment and working folder of its own, and a child
of the tests' process. It runs `python -m MODULE` to the letter (`runpy`). What is tested of starting itself needs a
real start.
"""

from __future__ import annotations

import array
import ctypes
import faulthandler
import functools
import gc
import inspect
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from support.limited import LimitedProcess

# Variables that libraries read while they are imported have to be those of the server; these are read later, or
# are set by a library as soon as a test imports it.
_FREE = {
    "COLUMNS",
    "GLOO_SOCKET_IFNAME",
    "KMP_INIT_AT_FORK",
    "MEDSSR_HUB_COMMITS",
    "MEDSSR_ROOT",
    "OLDPWD",
    "PL_GLOBAL_SEED",
    "PL_SEED_WORKERS",
    "PWD",
    "PYTEST_CURRENT_TEST",
    "PYTHONFAULTHANDLER",
    "PYTHONPATH",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "TORCHINDUCTOR_CACHE_DIR",
    "TORCH_GLOO_LAZY_INIT",
    "WANDB_MODE",
    "WANDB_SERVICE",
}
# As it is when tests are collected: a variable that the first test to start a command has set for itself would keep all
# later commands from being forked.
_SERVER_ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# The variables with which the running test began. Libraries set what they have beside the server's in earlier tests.
_inherited: dict[str, str] = {}
_PR_SET_CHILD_SUBREAPER = 36
_MAX_REQUEST = 200_000


def note_inherited() -> None:
    """Takes note of the environment before a test sets variables of its own."""
    _inherited.clear()
    _inherited.update(os.environ)


def open_process(command: list[str], env: dict[str, str], **options: Any) -> subprocess.Popen[str]:
    """Starts `[sys.executable, "-m", MODULE, ...]` as a fork where that is the same, else from scratch.

    Args:
        command: The command line.
        env: The whole environment.
        options: Those of `subprocess.Popen`.
    """
    is_plain = not {"preexec_fn", "pass_fds", "executable", "user", "umask"} & options.keys()
    is_command = command[:2] == [sys.executable, "-m"] and command[2].startswith("medssr.commands.")
    if sys.platform == "linux" and is_plain and is_command and _set_for_it(env) == _fixed(_SERVER_ENVIRONMENT):
        return ForkedProcess(command, env=env, **options)
    return LimitedProcess(command, env=env, **options)


class ForkedProcess(LimitedProcess):
    """A process that the fork server starts in place of `fork` and `exec`."""

    def _execute_child(self, *values: Any) -> None:
        given = inspect.signature(subprocess.Popen._execute_child).bind(self, *values).arguments  # type: ignore[attr-defined]
        names = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        pipes = [given[name] for name in names]
        streams = [given["p2cread"], given["c2pwrite"], given["errwrite"]]
        try:
            request = {
                "words": list(given["args"])[2:],
                "folder": os.fspath(given["cwd"] or Path.cwd()),
                "environment": dict(given["env"]),
                "is_leader": bool(given["start_new_session"]),
                "group": given.get("process_group", -1),
            }
            self.pid = _server().fork(request, [number if fd == -1 else fd for number, fd in enumerate(streams)])
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


class _Server:
    """The client's side of a fork server; the server ends when its socket is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=_SERVER_ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                stdin=subprocess.DEVNULL,
            )

    def fork(self, request: dict[str, Any], streams: list[int]) -> int:
        """Returns the id of the process that runs the request with the three streams; it is a child of this process."""
        with self._lock:
            # The server's child starts the process and ends; the orphan comes to the nearest reaper, which is this one.
            _become_reaper(True)
            try:
                socket.send_fds(self._socket, [json.dumps(request).encode()], streams)
                answer = self._socket.recv(64)
            finally:
                _become_reaper(False)
        assert answer, "the fork server has ended"
        return int(answer)


@functools.cache
def _server() -> _Server:
    return _Server()


def _fixed(environment: dict[str, str]) -> dict[str, str]:
    """The variables that have to be the server's."""
    return {name: value for name, value in environment.items() if name not in _FREE | {"OPENBLAS_NUM_THREADS"}}


def _set_for_it(environment: dict[str, str]) -> dict[str, str]:
    """The variables that have to be the server's, without those that a library has added before the test."""
    added = {item for item in _inherited.items() if item[0] not in _SERVER_ENVIRONMENT}
    return dict(_fixed(environment).items() - added)


def _become_reaper(is_one: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, int(is_one), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _import_libraries() -> None:
    """Imports what commands spend their first seconds on; nothing of it starts a thread."""
    from medssr.utils.torchmetrics_parts import import_torchmetrics_in_parts

    import_torchmetrics_in_parts()

    import medssr.cli.entry
    import medssr.evaluation.runner
    import medssr.grpo.stage
    import medssr.tracking.loggers  # noqa: F401

    num_threads = len(list(Path("/proc/self/task").iterdir()))
    assert num_threads == 1, "a library has started a thread, which a fork would not have"


def _serve(channel: socket.socket) -> list[str]:
    """Forks processes until the socket is closed, and returns no words then.

    Returns in each of the processes as well, with the words after `python -m`.
    """
    while True:
        message, ancillary, _, _ = channel.recvmsg(_MAX_REQUEST, socket.CMSG_SPACE(3 * array.array("i").itemsize))
        if not message:
            return []
        streams = array.array("i", ancillary[0][2])
        read, write = os.pipe()
        between = os.fork()
        if between == 0:
            between = os.getpid()
            child = os.fork()
            if child == 0:
                for fd in (read, write):
                    os.close(fd)
                channel.close()
                while os.getppid() == between:
                    time.sleep(0.001)
                return _become(json.loads(message), streams.tolist())
            os.write(write, str(child).encode())
            os._exit(0)
        os.waitpid(between, 0)
        channel.send(os.read(read, 64))
        for fd in (read, write, *streams):
            os.close(fd)


def _become(request: dict[str, Any], streams: list[int]) -> list[str]:
    """Makes this process what `subprocess` would have started; returns the words after `python -m`."""
    if request["is_leader"]:
        os.setsid()
    if request["group"] >= 0:
        os.setpgid(0, request["group"])
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    for fd in streams:
        os.close(fd)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [str(Path.cwd()), *given, *(path for path in sys.path if path not in given)]
    if os.environ.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()
    _take_media_folder()
    return request["words"]


def _take_media_folder() -> None:
    """Gives this process a folder for W&B's tables; W&B makes one when it is imported, and deletes it at the end."""
    from wandb.sdk.data_types._private import MEDIA_TMP

    MEDIA_TMP._finalizer.detach()  # type: ignore[attr-defined]
    MEDIA_TMP.__init__("wandb-media")  # type: ignore[misc]


if __name__ == "__main__":
    gc.disable()
    _import_libraries()
    gc.freeze()
    gc.enable()
    words = _serve(socket.socket(fileno=int(sys.argv[1])))
    if words:
        sys.argv = ["-m", *words[1:]]
        runpy._run_module_as_main(words[0])  # type: ignore[attr-defined]
