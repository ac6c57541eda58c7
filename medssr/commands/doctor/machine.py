"""Checks of the machine itself: Python, packages, GPUs, memory, disk, folders, processes."""

from __future__ import annotations

import importlib.metadata
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from medssr.commands.doctor.findings import Finding, advice, fine, lacking

_OLDEST_PYTHON = (3, 11)
_MIN_OPEN_FILES = 1024
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def check_python(version: Sequence[int]) -> Finding:
    """Returns whether Python is new enough."""
    found = ".".join(str(part) for part in version[:3])
    if tuple(version[:2]) >= _OLDEST_PYTHON:
        return fine("Python", found)
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    return lacking("Python", found, f"install Python {oldest} or newer, and make the virtual environment anew.")


def check_packages(requirements: Iterable[str]) -> Finding:
    """Returns whether the packages are installed in the versions that are known to work together.

    Args:
        requirements: Exact ones, such as "numpy==2.3.5"; those of an extra have a marker and are left out.
    """
    needed = [text.split("==") for text in requirements if ";" not in text]
    absent, others = [], []
    for name, pinned in needed:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if version.split("+")[0] != pinned:  # torch adds its build: 2.13.0+cpu
            others.append(f"{name} {version} (pinned {pinned})")
    remedy = "install the pinned versions: make setup, or pip install --editable ."
    if absent:
        return lacking("packages", f"not installed: {', '.join([*absent, *others])}", remedy)
    if others:
        return advice("packages", f"other versions: {', '.join(others)}", remedy)
    return fine("packages", f"{len(needed)} as pinned")


def check_gpus(is_needed: bool, needed_bytes: int | None) -> Finding:
    """Returns which GPUs torch finds, and whether a training fits into each.

    Args:
        is_needed: Whether the command wants a GPU.
        needed_bytes: What an update takes on each; None where it is not known.
    """
    import torch

    if not torch.cuda.is_available():
        if is_needed:
            build = torch.version.cuda or "none"
            remedy = "take trainer=cpu; or install a driver and a CUDA build of torch (nvidia-smi shows the driver)."
            return lacking("GPU", f"torch {torch.__version__} finds none (CUDA of the build: {build})", remedy)
        return fine("GPU", "none; trainer=cpu and the tiny models need none")
    sizes = [torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count())]
    found = f"{len(sizes)} x {torch.cuda.get_device_name(0)}, {gigabytes(min(sizes))} each"
    if needed_bytes is not None and is_needed and needed_bytes > min(sizes):
        remedy = (
            "take lora=default, trainer=fsdp2 on more GPUs, or a smaller grpo.micro_batch_tokens (docs/scaling.md)."
        )
        return lacking("GPU", f"{found}; an update takes {gigabytes(needed_bytes)}", remedy)
    return fine("GPU", found)


def check_memory(available: int, needed_bytes: int | None) -> Finding:
    """Returns whether a training on the CPU, or the loading of its model, fits into memory.

    Args:
        available: Bytes that a new process can have.
        needed_bytes: What it takes; None where it is not known.
    """
    if needed_bytes is None or needed_bytes <= available:
        return fine("memory", f"{gigabytes(available)} available")
    remedy = "take a smaller model, lora=default, or a machine with more."
    return lacking("memory", f"{gigabytes(available)} available; {gigabytes(needed_bytes)} needed", remedy)


def available_memory(limit_file: Path = _CGROUP_LIMIT) -> int:
    """Returns the bytes that a new process can have: of the machine, and of the container's limit."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024  # with what caches would give back
    limit = limit_file.read_text(encoding="ascii").strip() if limit_file.is_file() else "max"
    return free if limit == "max" else min(free, int(limit))


def check_disk(folder: Path, needed_bytes: int | None) -> Finding:
    """Returns whether there is room for what a command writes.

    Args:
        folder: Where it writes; it need not exist yet.
        needed_bytes: What it writes; None where it is not known.
    """
    free = shutil.disk_usage(existing_parent(folder)).free
    if needed_bytes is None or needed_bytes <= free:
        return fine("disk", f"{gigabytes(free)} free for {folder}")
    remedy = "make room, or name another disk by paths.artifact_dir=FOLDER."
    return lacking("disk", f"{gigabytes(free)} free for {folder}; checkpoints take {gigabytes(needed_bytes)}", remedy)


def check_writing(folder: Path) -> Finding:
    """Returns whether files can be made in a folder, or in the place where it will be made."""
    parent = existing_parent(folder)
    try:
        with tempfile.TemporaryFile(dir=parent):
            return fine("folder", f"{folder} can be written")
    except OSError as error:
        remedy = "change its rights, or name another by paths.root_dir=FOLDER or the variable MEDSSR_ROOT."
        return lacking("folder", f"{parent}: {error.strerror}", remedy)


def check_processes() -> Finding:
    """Returns whether another process of Python can be started, as rewards of one's own and vLLM need."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, timeout=60, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        return lacking("processes", f"another cannot be started ({error})", "raise the limit: ulimit -u, ulimit -n.")
    if soft != resource.RLIM_INFINITY and soft < _MIN_OPEN_FILES:
        return advice("processes", f"{soft} open files allowed", f"raise it: ulimit -n {_MIN_OPEN_FILES}.")
    return fine("processes", "others can be started")


def check_threads(num_threads: int | None, environment_threads: str | None, num_cores: int) -> Finding:
    """Returns whether the threads of torch are as many as the cores that this process may use.

    Args:
        num_threads: As configured; None for torch's choice.
        environment_threads: The variable OMP_NUM_THREADS.
        num_cores: Cores that this process may use.
    """
    if num_threads is not None:
        wanted, name = num_threads, "extras.num_threads"
    elif environment_threads is not None and environment_threads.isdigit():
        wanted, name = int(environment_threads), "OMP_NUM_THREADS"
    else:
        return fine("threads", f"{num_cores} cores, torch's choice of threads")
    if wanted > num_cores:
        return advice(
            "threads", f"{name}={wanted} on {num_cores} cores", f"they would wait for each other: {num_cores}."
        )
    return fine("threads", f"{name}={wanted} on {num_cores} cores")


def existing_parent(folder: Path) -> Path:
    """Returns the folder, or the nearest above it that there is."""
    found = folder.absolute()
    while not found.exists() and found != found.parent:
        found = found.parent
    return found


def gigabytes(num_bytes: int) -> str:
    """Returns a number of bytes in words.

    Example:
        >>> gigabytes(131_051_765_760)
        '131.1 GB'
    """
    return f"{num_bytes / 1e9:.1f} GB"
