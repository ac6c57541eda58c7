"""Assigns GPUs to the processes of sweeps on one machine: each process locks one until it ends."""

from __future__ import annotations

import getpass
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filelock import FileLock

log = logging.getLogger(__name__)

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_held: list[FileLock] = []  # locks end with the process, however it ends


def take_gpu() -> str | None:
    """Returns the GPU that this process has from now on as its only one; None on a machine without.

    Waits while other sweeps' processes hold them all. The choice has to be made before CUDA is used.
    """
    gpus = visible_gpus()
    if not gpus:
        return None
    if not _held:
        os.environ[_VISIBLE] = _first_free(gpus, Path(tempfile.gettempdir()) / f"medssr-gpus-{getpass.getuser()}")
    return os.environ[_VISIBLE]


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    if _VISIBLE in os.environ:
        return [gpu.strip() for gpu in os.environ[_VISIBLE].split(",") if gpu.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _first_free(gpus: Sequence[str], folder: Path) -> str:
    from filelock import FileLock, Timeout

    folder.mkdir(exist_ok=True)
    locks = {gpu: FileLock(folder / f"{gpu}.lock") for gpu in gpus}
    is_told = False
    while True:
        for gpu, lock in locks.items():
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _held.append(lock)
            log.info("GPU %s", gpu)
            return gpu
        if not is_told:
            log.info("waiting for one of the GPUs %s", ", ".join(gpus))
            is_told = True
        time.sleep(1)  # until a job ends, which frees its lock however it ends
