"""Runs synthesis against servers of which no answer is of use, and checks that each run ends soon and says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MAX_CONCURRENCY = 4
NUM_AT_ONCE = 3
TIMEOUT_S = 2
# Slow machines need seconds to load the packages, and some of these servers are given up after 30 time-outs.
MOST_SECONDS = 180
# The command alone takes 120 MB; four responses of 16 MiB come at a time, some of them compressed and not.
MOST_MB = 400
# Ten drafts that end alike, with one retry or repair each, and what is under way by then; on a busy machine, time-outs
# come between other faults, and fifty drafts are the limit.
MOST_REQUESTS = 2 * (50 + 2 * MAX_CONCURRENCY)
# What the command says about each mode of the server.
MESSAGES = {
    "trickling": f"no whole answer within generator.timeout_s={TIMEOUT_S} seconds",
    "trickling_headers": f"no whole answer within generator.timeout_s={TIMEOUT_S} seconds",
    "keep_alive_lines": f"no whole answer within generator.timeout_s={TIMEOUT_S} seconds",
    "gzip_bomb": "the response is longer than 16 MiB",
    "endless_body": "the response is longer than 16 MiB",
    "endless_headers": "the connection was lost",
    "redirect": "to go there, set generator.base_url=http://127.0.0.1:{port}/moved/v1;",
    "never_usable": "The answer: I am a helpful assistant.",
    "login_page": "<title>Sign in to the network</title>",
}


def check_modes(folder: Path) -> dict[str, Any]:
    """Returns the figures of a run against each mode, and of one that two signals end.

    Raises:
        AssertionError: When a run does not end soon, with code 2 and the right message.
    """
    with ThreadPoolExecutor(NUM_AT_ONCE) as threads:  # the runs wait for their servers most of the time
        figures = dict(zip(MESSAGES, threads.map(lambda mode: check_mode(folder, mode), MESSAGES), strict=True))
    with running_server(folder / "signals.log", "trickling") as port:
        figures["two_signals"] = run_that_signals_end(folder / "signals", port, folder / "signals.log")
    return figures


def check_mode(folder: Path, mode: str) -> dict[str, Any]:
    """Returns the figures of a run against a server of a mode. Raises as `check_modes`."""
    log = folder / f"{mode}.log"
    with running_server(log, mode) as port:
        figures = run_to_its_end(folder / mode, port, MESSAGES[mode].format(port=port))
    requests = read(log)
    assert len(requests) <= MOST_REQUESTS, f"{mode}: {len(requests)} requests"
    assert {request["path"] for request in requests} == {"/v1/chat/completions"}, f"{mode}: followed a redirect"
    return figures | {"requests": len(requests)}


@contextmanager
def running_server(log: Path, mode: str | None = None) -> Iterator[int]:
    """Yields the port of a hostile server that runs until the context ends; without a mode, it has all faults."""
    command = [sys.executable, str(HERE / "server.py"), str(log), "600", *([] if mode is None else [mode])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def synthesis(folder: Path, port: int, *settings: str) -> list[str]:
    """Returns the command line of `medssr-synthesize` with a hostile server."""
    return [
        *(sys.executable, "-m", "medssr.commands.synthesize", "generator=openai", "generator.model=hostile"),
        *(f"generator.base_url=http://127.0.0.1:{port}/v1", "generator.api_key_env=HOSTILE_KEY"),
        *(f"paths.root_dir={folder}", f"hydra.run.dir={folder}/run", "extras.progress_bar=false"),
        *settings,
    ]


def started(command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Returns the process of a command that has the key of the hostile server."""
    return subprocess.Popen(command, env=os.environ | {"HOSTILE_KEY": "hostile-secret"}, text=True, **options)


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the records of a JSONL file, without an incomplete last line."""
    lines = path.read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def run_to_its_end(folder: Path, port: int, message: str) -> dict[str, Any]:
    """Runs the command until it ends by itself, and returns its seconds and memory."""
    pace = [f"generator.timeout_s={TIMEOUT_S}", "generator.max_retries=1"]
    pace += [f"generator.max_concurrency={MAX_CONCURRENCY}", "synthesis.num_questions=200"]
    folder.mkdir()
    output = folder / "output.txt"
    begin = time.monotonic()
    with output.open("w") as stream:
        process = started(synthesis(folder, port, *pace), stdout=stream, stderr=subprocess.STDOUT)
        code, most_mb = ended(process)
    said = output.read_text()
    assert code == 2, f"{folder.name}: code {code}\n{said}"
    assert "Traceback" not in said, said
    assert message in said, said
    assert "hostile-secret" not in said
    assert most_mb <= MOST_MB, f"{folder.name}: {most_mb:.0f} MB"
    return {"seconds": round(time.monotonic() - begin, 1), "megabytes": round(most_mb)}


def ended(process: subprocess.Popen[str]) -> tuple[int, float]:
    """Waits for a process, and returns its exit code and the most memory that it took, in megabytes."""
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_maxrss / 1000
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"{process.args}: did not end within {MOST_SECONDS} s")


def run_that_signals_end(folder: Path, port: int, log: Path) -> dict[str, Any]:
    """Ends the command by two signals while each of its calls waits for an answer, and returns what that took."""
    patient = synthesis(folder, port, "generator.timeout_s=3600", f"generator.max_concurrency={MAX_CONCURRENCY}")
    process = started(patient, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + MOST_SECONDS
    while len(read(log) if log.exists() else []) < MAX_CONCURRENCY:
        assert time.monotonic() < deadline and process.poll() is None, "the command made no calls"
        time.sleep(0.05)
    assert process.stdout is not None
    process.send_signal(signal.SIGTERM)
    for line in process.stdout:  # ends with the process at the latest, which the server's end brings about
        if "waiting for the calls under way" in line:
            break
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=MOST_SECONDS)
    assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM), f"code {process.returncode}"
    return {"seconds": round(time.monotonic() - begin, 1)}
