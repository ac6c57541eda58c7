"""Servers under guards: health, faults at the start, and their end, however the parent ends. No vLLM is needed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from medssr.engines.server_processes import PORT, ServerCommand, ServerProcesses
from medssr.errors import InputError

pytestmark = pytest.mark.slow

# Answers with what it inherited and which processes and shared memory are its own. It has a child, which would outlive
# it.
SERVER = """
import http.server, json, os, signal, subprocess, sys
from multiprocessing.shared_memory import SharedMemory
segment = SharedMemory(create=True, size=64)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        pids = [os.getppid(), os.getpid(), child.pid]
        about = {"pids": pids, "session": os.getsid(0), "segment": segment.name, "environment": dict(os.environ)}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(about).encode())
print("listening", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + SERVER
# Starts a server, says where it is, and waits.
PARENT = f"""
import sys, time
from contextlib import closing
from pathlib import Path
from medssr.engines.server_processes import PORT, ServerCommand, ServerProcesses
from medssr.utils.stopping import catch_signals
command = ServerCommand((sys.executable, "-c", {STUBBORN!r}, PORT), {{}})
with catch_signals(), closing(ServerProcesses([command], Path(sys.argv[1]), Path(sys.argv[2]), 60)) as servers:
    print(servers.addresses[0], flush=True)
    while True:  # not signal.pause(): a signal just before it would be lost
        time.sleep(0.1)
"""
# Fails once as a server whose port is taken, and then serves.
UNLUCKY = (
    """
import sys
from pathlib import Path
if not Path(sys.argv[2]).exists():
    Path(sys.argv[2]).touch()
    sys.exit("OSError: [Errno 98] error while attempting to bind on address: address already in use")
"""
    + SERVER
)


@pytest.fixture
def files(tmp_path) -> Path:
    """A folder that belongs to the servers."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "config.json").touch()
    return folder


def command(program: str, *arguments: str, **environment: str) -> ServerCommand:
    return ServerCommand((sys.executable, "-c", program, PORT, *arguments), environment)


def about(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}/health") as response:
        answer: dict[str, Any] = json.load(response)
    return answer


class Watched:
    """Processes that are no children of this one, so that only the kernel tells when they end."""

    def __init__(self, pids: list[int]) -> None:
        self._descriptors = [os.pidfd_open(pid) for pid in pids]

    def have_ended(self) -> bool:
        with ExitStack() as opened:
            for descriptor in self._descriptors:
                opened.callback(os.close, descriptor)
            return all(_is_readable(descriptor, timeout_s=60) for descriptor in self._descriptors)


def _is_readable(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()  # select.select refuses the high numbers that a long run of tests comes to
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(1000 * timeout_s))


def test_servers_are_started_together_and_ended_by_close(tmp_path, files, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    commands = [command(SERVER, NAME=str(number)) for number in range(2)]
    servers = ServerProcesses(commands, tmp_path / "logs", files, timeout_s=60)
    with closing(servers):
        answers = [about(address) for address in servers.addresses]
        assert [answer["environment"]["NAME"] for answer in answers] == ["0", "1"]
        for answer in answers:
            assert not {"LOCAL_RANK", "TORCHELASTIC_USE_AGENT_STORE"} & answer["environment"].keys()
            assert answer["session"] != os.getsid(0), "Ctrl-C in a terminal would reach it"
        assert servers.ended() is None
        watched = Watched([pid for answer in answers for pid in answer["pids"]])
    assert watched.have_ended()
    assert not files.exists()
    assert [log.read_text()[:9] for log in sorted((tmp_path / "logs").iterdir())] == ["listening"] * 2


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_their_children_and_files_go_when_a_signal_ends_the_parent(tmp_path, files, signum):
    arguments = [sys.executable, "-c", PARENT, str(tmp_path / "logs"), str(files)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            answer = about(parent.stdout.readline().strip())
            watched, segment = Watched(answer["pids"]), Path("/dev/shm", answer["segment"])
            assert segment.exists()
            parent.send_signal(signum)
            assert watched.have_ended()
        finally:
            parent.kill()
    assert not files.exists()
    assert not segment.exists()
    assert "did not end within 5 s" in (tmp_path / "logs" / "server_0.log").read_text()


def test_a_server_that_fails_at_the_start_is_shown_with_its_log_and_ends_the_others(tmp_path, files):
    commands = [command(SERVER), command("import sys; print('loading'); sys.exit('ValueError: unknown option')")]
    with pytest.raises(InputError, match=r"ended with code 1. The end of .*server_1.log:\n    loading?\n?") as caught:
        ServerProcesses(commands, tmp_path / "logs", files, timeout_s=60)
    assert str(caught.value).endswith("    ValueError: unknown option")
    assert not files.exists()


def test_a_server_that_does_not_get_ready_is_shown_with_its_log(tmp_path, files):
    slow = command("import signal; print('loading', flush=True); signal.pause()")
    with pytest.raises(InputError, match=r"rollout.timeout_s: .* not ready within 1 s.*server_0.log"):
        ServerProcesses([slow], tmp_path / "logs", files, timeout_s=1)


def test_a_server_whose_port_is_taken_meanwhile_gets_another(tmp_path, files):
    unlucky = command(UNLUCKY, str(tmp_path / "has_started"))
    with closing(ServerProcesses([unlucky], tmp_path / "logs", files, timeout_s=60)) as servers:
        assert about(servers.addresses[0])["pids"]


def test_a_server_that_ends_later_is_described(tmp_path, files):
    with closing(ServerProcesses([command(SERVER)], tmp_path / "logs", files, timeout_s=60)) as servers:
        guard, server, child = about(servers.addresses[0])["pids"]
        watched = Watched([guard, child])
        os.kill(server, signal.SIGKILL)
        assert watched.have_ended()
        assert "a server ended with code 137. The end of" in servers.ended()
        assert files.exists(), "other servers may still use it"
