"""Says of a fault of the disk which folder it is about, and which setting moves that folder."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.utils.disk_faults import disk_fault

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Faults of a path that the system names.
_PATH_FAULTS = frozenset(
    (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOENT)
)
# The variables that move the folders of others.
_VARIABLES = ("TMPDIR", "WANDB_DIR", "HF_HOME", "HF_HUB_CACHE", "VLLM_CACHE_ROOT")


@dataclass(frozen=True, slots=True)
class UsedFolder:
    """A folder that a command writes to, and how another one is chosen: "paths.log_dir=FOLDER"."""

    path: Path
    choice: str


def folders_in_use(config: DictConfig) -> list[UsedFolder]:
    """Returns the folders that a command writes to, by its composed configuration, which may have Hydra's own part."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    of_command = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    folders = _settings(OmegaConf.to_container(of_command, resolve=True), "")
    with suppress(OSError):  # a step's folder may lie on a disk of its own
        steps = [entry.path for entry in os.scandir(config.paths.artifact_dir) if entry.is_dir()]
        folders += [UsedFolder(Path(step), "paths.artifact_dir=FOLDER") for step in steps]
    if "hydra" in config:
        folders += [UsedFolder(Path(config.hydra[kind].dir), "paths.log_dir=FOLDER") for kind in ("sweep", "run")]
    if HydraConfig.initialized() and not OmegaConf.is_missing(HydraConfig.get().runtime, "output_dir"):
        folders.append(UsedFolder(Path(HydraConfig.get().runtime.output_dir), "paths.log_dir=FOLDER"))
    output = Path("/dev/fd/1").resolve()
    if output.is_file():
        folders.append(UsedFolder(output, "sending the output elsewhere"))
    folders += [UsedFolder(Path(os.environ[name]), f"the variable {name}") for name in _VARIABLES if name in os.environ]
    return [*folders, UsedFolder(Path(tempfile.gettempdir()), "the variable TMPDIR")]


def _settings(node: Any, key: str) -> list[UsedFolder]:
    """Returns the folders that settings called `..._dir` name."""
    if isinstance(node, dict):
        return [folder for name, value in node.items() for folder in _settings(value, f"{key}.{name}".lstrip("."))]
    if isinstance(node, list):
        return [folder for value in node for folder in _settings(value, key)]
    return [UsedFolder(Path(node), f"{key}=FOLDER")] if key.endswith("_dir") and isinstance(node, str) and node else []


def path_fault(error: BaseException) -> OSError | None:
    """Returns the fault of a disk, a folder or a file that an error is about; None where it is about none."""
    fault = disk_fault(error)
    if fault is None and isinstance(error, OSError) and error.errno in _PATH_FAULTS and error.filename is not None:
        return error
    return fault


def disk_message(fault: OSError, folders: Sequence[UsedFolder]) -> str:
    """Returns what is wrong with a disk, a folder or a file, and what to do.

    Args:
        fault: What `path_fault` returns.
        folders: The folders that the command writes to. Where the system names no file, that of them with the least
            room is named.
    """
    if fault.errno == errno.ENOENT:
        return (
            f"{fault.filename}: {fault.strerror}. Check the setting that names it, or paths.root_dir where it is made."
        )
    if fault.filename is not None:
        return f"{fault.filename}: {fault.strerror}. {_remedy(Path(os.fsdecode(fault.filename)), folders)}"
    folder = _suspect(fault, folders)
    if folder is None:
        return f"{fault.strerror}: the system does not say which file. {_remedy(Path(), folders)}"
    return f"{folder.path}: {fault.strerror} (no file is named; {_state(folder.path)}). {_remedy(folder.path, folders)}"


def _remedy(path: Path, folders: Sequence[UsedFolder]) -> str:
    above = [folder for folder in folders if path.absolute().is_relative_to(folder.path.absolute())]
    general = "paths.root_dir=FOLDER (or the variable MEDSSR_ROOT) is where artefacts and logs go."
    nearest = max(above, key=lambda folder: len(folder.path.absolute().parts), default=None)
    if nearest is None or nearest.choice.startswith("paths.root_dir"):
        return f"Make room or choose a folder that can be written: {general}"
    return f"Make room or choose a folder that can be written by {nearest.choice}; {general}"


def _suspect(fault: OSError, folders: Sequence[UsedFolder]) -> UsedFolder | None:
    """Returns the folder that a fault without a file name is most likely about: read-only, or with the least room."""
    disks = {folder: disk for folder in folders if (disk := _statvfs(folder.path)) is not None}
    if fault.errno == errno.EROFS:
        disks = {folder: disk for folder, disk in disks.items() if disk.f_flag & os.ST_RDONLY}
    return min(disks, key=lambda folder: _free_bytes(disks[folder]), default=None)


def _state(path: Path) -> str:
    disk = _statvfs(path)
    room = "" if disk is None else f", {_free_bytes(disk) / 2**20:,.1f} MiB"
    return f"of the folders in use it has the least room{room}"


def _free_bytes(disk: os.statvfs_result) -> int:
    return disk.f_bavail * disk.f_frsize


def _statvfs(path: Path) -> os.statvfs_result | None:
    """Returns what is known of the disk of a path, or of the nearest folder above it that there is; None if nothing."""
    for each in (path.absolute(), *path.absolute().parents):
        with suppress(OSError):  # it is not there, or may not be seen
            return os.statvfs(each)
    return None
