"""A small process that runs a server and ends it, with all its children, once the parent has ended in any way.

    python -P server_guard.py PARENT_PID FOLDER COMMAND ...

The parent holds the write end of the guard's standard input. A byte on it, its end, or another parent process (the
kernel hands over the children of a killed one) means that the server is to end. FOLDER is removed then; several
guards may share it. If the server ends by itself, its exit code becomes the guard's, and FOLDER stays.

This file imports only the standard library, so that it starts at once and from any folder.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

# Seconds in which a server can end by itself after SIGTERM, before its process group is killed.
GRACE_S = 5.0
# Seconds between two looks at the server and the parent.
_INTERVAL_S = 0.25
# A segment of shared memory with a name that Python has chosen, in the list of what a process has mapped.
_SEGMENT = re.compile(r"/dev/shm/psm_\w+$", re.MULTILINE)
# The exit code of a guard that has ended its server.
_ENDED = 0


def main(arguments: list[str]) -> int:
    """Returns the exit code of the server if it ends by itself, else 0 after ending it."""
    parent, folder, *command = arguments
    # Schedulers send these to all processes of a job, but only the parent decides when the servers end. Ignored
    # signals stay so in the server, unless it handles them.
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit)
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        while server.poll() is None:
            if os.getppid() != int(parent) or select.select([0], [], [], _INTERVAL_S)[0]:
                break
        else:
            return server.returncode if server.returncode >= 0 else 128 - server.returncode
    finally:
        _end_group(server)
    shutil.rmtree(folder, ignore_errors=True)  # another guard may be removing it too
    return _ENDED


def _exit(signum: int, frame: object) -> NoReturn:
    sys.exit(128 + signum)


def _end_group(server: subprocess.Popen[bytes]) -> None:
    """Ends a server and its children, which may outlive it: SIGTERM for the server, then SIGKILL for the group.

    Python removes the shared memory of a process that is killed by another process, which is in the group, too. So the
    guard removes it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            print(f"the server did not end within {GRACE_S:g} s of SIGTERM and is killed", file=sys.stderr)
    segments = shared_memory_of(server.pid)
    try:
        os.killpg(server.pid, signal.SIGKILL)
    except ProcessLookupError:  # no child is left
        return
    server.wait()  # ends, since nothing withstands SIGKILL
    for segment in segments:
        segment.unlink(missing_ok=True)


def shared_memory_of(group: int) -> set[Path]:
    """Returns the shared memory that processes of a group have mapped."""
    segments: set[Path] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == group:
                segments |= {Path(name) for name in _SEGMENT.findall((process / "maps").read_text())}
        except OSError:  # it has ended, or is another user's
            continue
    return segments


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
