"""Checks the machine itself: Python, packages, GPUs, memory, disk, folders, processes, threads."""

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
    """Checks that Python is new enough."""
    installed = ".".join(str(part) for part in version[:3])
    if tuple(version[:2]) >= _OLDEST_PYTHON:
        return fine("Python", installed)
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    return lacking("Python", installed, f"install Python {oldest} or newer, and recreate the virtual environment.")


def check_packages(requirements: Iterable[str]) -> Finding:
    """Checks that the packages that medssr needs are installed, in versions within its bounds.

    Args:
        requirements: As in its metadata, such as "numpy>=2.0". Those of an extra have a marker and are skipped.
    """
    from packaging.requirements import Requirement

    needed = [each for each in map(Requirement, requirements) if each.marker is None or each.marker.evaluate()]
    absent, others = [], []
    for requirement in needed:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(requirement.name)
            continue
        if not requirement.specifier.contains(version, prereleases=True):  # "2.13.0+cpu", as torch has it, is 2.13.0
            others.append(f"{requirement.name} {version} (needed {requirement.specifier})")
    remedy = "install the tested versions: pip install . --constraint constraints.txt, in a checkout."
    if absent:
        return lacking("packages", f"not installed: {', '.join([*absent, *others])}", remedy)
    if others:
        return advice("packages", f"other versions: {', '.join(others)}", remedy)
    return fine("packages", f"{len(needed)} within the bounds")


def check_gpus(is_needed: bool, devices: Sequence[int], needed_bytes: int | None) -> Finding:
    """Checks which GPUs torch finds, and whether a training fits on each.

    Args:
        is_needed: Whether the command needs a GPU.
        devices: The numbers of the GPUs that it uses.
        needed_bytes: Bytes that an update needs on each GPU; None if unknown.
    """
    import torch

    if not torch.cuda.is_available():
        if is_needed:
            build = torch.version.cuda or "none"
            remedy = "take trainer=cpu; or install a driver and a CUDA build of torch (nvidia-smi shows the driver)."
            return lacking("GPU", f"torch {torch.__version__} finds none (CUDA of the build: {build})", remedy)
        return fine("GPU", "none; trainer=cpu and the tiny models need none")
    sizes = [torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count())]
    gpus = f"{len(sizes)} x {torch.cuda.get_device_name(0)}, {gigabytes(min(sizes))} each"
    if is_needed and max(devices, default=0) >= len(sizes):
        remedy = f"take fewer by trainer.devices, such as {len(sizes)}; -1 stands for all."
        return lacking("GPU", f"{gpus}; trainer.devices needs number {max(devices)}, counted from 0", remedy)
    if needed_bytes is not None and is_needed and needed_bytes > min(sizes):
        remedy = (
            "take lora=default, trainer=fsdp2 on more GPUs, or a smaller grpo.micro_batch_tokens (docs/scaling.md)."
        )
        return lacking("GPU", f"{gpus}; an update needs {gigabytes(needed_bytes)}", remedy)
    return fine("GPU", gpus)


def check_memory(available: int, needed_bytes: int | None) -> Finding:
    """Checks that a training on the CPU, or the loading of its model, fits in memory.

    Args:
        available: Bytes that a new process can use.
        needed_bytes: Bytes that it needs; None if unknown.
    """
    if needed_bytes is None or needed_bytes <= available:
        return fine("memory", f"{gigabytes(available)} available")
    remedy = "take a smaller model, lora=default, or a machine with more."
    return lacking("memory", f"{gigabytes(available)} available; {gigabytes(needed_bytes)} needed", remedy)


def available_memory(limit_file: Path = _CGROUP_LIMIT) -> int:
    """Returns the bytes that a new process can use, within the memory of the machine and the container's limit."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024  # includes reclaimable caches
    limit = limit_file.read_text(encoding="ascii").strip() if limit_file.is_file() else "max"
    return free if limit == "max" else min(free, int(limit))


def check_disk(folder: Path, needed_bytes: int | None) -> Finding:
    """Checks that the disk has space for the files that a command writes.

    Args:
        folder: The folder that it writes to, which need not exist yet.
        needed_bytes: Bytes that it writes; None if unknown.
    """
    free = shutil.disk_usage(existing_parent(folder)).free
    if needed_bytes is None or needed_bytes <= free:
        return fine("disk", f"{gigabytes(free)} free for {folder}")
    remedy = "free some space, or select another disk by paths.artifact_dir=FOLDER."
    return lacking("disk", f"{gigabytes(free)} free for {folder}; checkpoints need {gigabytes(needed_bytes)}", remedy)


def check_writing(folder: Path) -> Finding:
    """Checks that files can be created in a folder, or in its nearest existing parent."""
    parent = existing_parent(folder)
    try:
        with tempfile.TemporaryFile(dir=parent):
            return fine("folder", f"{folder} can be written")
    except OSError as error:
        remedy = "change its permissions, or select another by paths.root_dir=FOLDER or the variable MEDSSR_ROOT."
        return lacking("folder", f"{parent}: {error.strerror}", remedy)


def check_processes() -> Finding:
    """Checks that another Python process can be started, as custom rewards and vLLM require."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, timeout=60, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        return lacking(
            "processes", f"another process cannot be started ({error})", "raise the limit: ulimit -u, ulimit -n."
        )
    if soft != resource.RLIM_INFINITY and soft < _MIN_OPEN_FILES:
        return advice("processes", f"{soft} open files allowed", f"raise it: ulimit -n {_MIN_OPEN_FILES}.")
    return fine("processes", "another process can be started")


def check_threads(num_threads: int | None, environment_threads: str | None, num_cores: int) -> Finding:
    """Checks that torch does not use more threads than the cores that are available to this process.

    Args:
        num_threads: The configured number; None for torch's default.
        environment_threads: The value of the variable OMP_NUM_THREADS.
        num_cores: Cores that are available to this process.
    """
    if num_threads is not None:
        wanted, name = num_threads, "extras.num_threads"
    elif environment_threads is not None and environment_threads.isdigit():
        wanted, name = int(environment_threads), "OMP_NUM_THREADS"
    else:
        return fine("threads", f"{num_cores} cores, torch's default number of threads")
    if wanted > num_cores:
        return advice(
            "threads",
            f"{name}={wanted} on {num_cores} cores",
            f"the threads would wait for each other; use {num_cores}.",
        )
    return fine("threads", f"{name}={wanted} on {num_cores} cores")


def existing_parent(folder: Path) -> Path:
    """Returns the folder if it exists, else its nearest existing parent."""
    parent = folder.absolute()
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    return parent


def gigabytes(num_bytes: int) -> str:
    """Returns a number of bytes as text.

    Example:
        >>> gigabytes(131_051_765_760)
        '131.1 GB'
    """
    return f"{num_bytes / 1e9:.1f} GB"
