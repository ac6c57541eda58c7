"""Runs commands in forks of a process that has imported what they need, a fifth of a second instead of five each.

Reads one request a line from its input, as JSON, and answers each with the exit code, null at the limit of time.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from contextlib import suppress
from typing import Any

# What commands import while they run.
_LIBRARIES = ["hydra.main", "lightning", "matplotlib.pyplot", "pandas", "peft", "pyarrow", "scipy.stats", "torch"]
_LIBRARIES += ["transformers.models.qwen3.modeling_qwen3", "transformers.models.auto.modeling_auto"]
_COMMANDS = ["audit", "evaluate", "export", "pipeline", "pseudo_label", "retrieve", "synthesize", "train"]
_PARTS = ["engines.hf_engine", "grpo.module", "reports.pages", "training.fit"]
_PARTS += [f"commands.{name}" for name in _COMMANDS]


def main() -> None:
    """Answers requests until the input ends."""
    for name in [*_LIBRARIES, *(f"medssr.{part}" for part in _PARTS)]:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(request)
        print(json.dumps({"code": _end(child, request["limit_s"])}), flush=True)


def _run(request: dict[str, Any]) -> None:
    """Runs a command in this process as `python -m` does, and ends the process."""
    os.setsid()
    os.chdir(request["root"])
    os.environ.update(request["environment"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    resource.setrlimit(resource.RLIMIT_DATA, (request["memory_limit"],) * 2)
    sys.argv = [f"medssr-{request['name']}", *request["overrides"]]
    code: Any = 0
    try:
        importlib.import_module(f"medssr.commands.{request['name']}").main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _end(child: int, limit_s: float) -> int | None:
    """Waits for the end of a child and kills what its group leaves; returns the exit code, None at the limit."""
    deadline = time.monotonic() + limit_s
    ended, status = 0, 0
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0 if ended else 0.005)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
        return None
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
