"""Real vLLM servers on this machine's CPU."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from medssr.engines.server_guard import shared_memory_of

START_S = 600


@dataclass
class Server:
    """A server's process and address."""

    process: subprocess.Popen[bytes]
    address: str

    def signal(self, number: int) -> None:
        """Sends a signal to all of its processes; if they are killed, their shared memory goes with them."""
        left = shared_memory_of(self.process.pid) if number == signal.SIGKILL else ()
        os.killpg(self.process.pid, number)
        for segment in left:
            segment.unlink(missing_ok=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_server(folder: str, log: Path, *further: str) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--port", str(port)]
    options = (
        "--host 127.0.0.1 --logprobs-mode processed_logprobs --no-enable-chunked-prefill --enforce-eager "
        "--dtype float32 --served-model-name tiny --distributed-executor-backend uni"
    )
    environment = {
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "TORCH_COMPILE_DISABLE": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    process = subprocess.Popen(
        [*command, *options.split(), *further],
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | environment,
    )
    return Server(process, f"http://127.0.0.1:{port}")


def wait_until_it_answers(server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            urllib.request.urlopen(f"{server.address}/v1/models", timeout=5).close()
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
        else:
            return
    pytest.fail(log.read_text(encoding="utf-8")[-3000:])


@contextmanager
def running_servers(folder: Path, model: str, number: int, options: Sequence[str] = ()) -> Iterator[list[Server]]:
    """Runs servers of a model; their logs go to `folder`."""
    started: dict[Path, Server] = {}
    try:
        for place in range(number):
            log = folder / f"{place}.log"
            started[log] = start_server(model, log, *options)
        for log, server in started.items():
            wait_until_it_answers(server, log)
        yield list(started.values())
    finally:
        for server in started.values():
            if server.process.poll() is None:
                server.signal(signal.SIGKILL)
                server.process.wait()
