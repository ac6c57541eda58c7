"""Writes checkpoints atomically, verifies them before use, and keeps the newest two."""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from medssr.config.roots import AUTO, LAST
from medssr.errors import InputError
from medssr.manifests import kept_hashes
from medssr.utils.content_hashes import ContentHashes
from medssr.utils.files import sync
from medssr.utils.folder_hashes import folder_fault, write_hashes

if TYPE_CHECKING:
    import lightning as L

log = logging.getLogger(__name__)

NUM_KEPT = 2


def checkpoint_folder(directory: Path) -> Path:
    """Returns the folder of the checkpoints of an artefact."""
    return directory / "checkpoints"


def checkpoint_path(folder: Path, num_done: int) -> Path:
    """Returns the path of the checkpoint after `num_done` training steps."""
    return folder / f"step_{num_done:07d}.ckpt"


def steps_on_disk(folder: Path) -> list[int]:
    """Returns the numbers of training steps after which the whole checkpoints of a folder were written."""
    return [int(path.stem.removeprefix("step_")) for path in _checkpoints(folder)]


def write_checkpoint(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a checkpoint, a file or a folder, atomically: it gets the name `path` once it is complete and synced.

    Removes all but the newest `NUM_KEPT` checkpoints, and incomplete ones of interrupted processes.
    """
    temporary = path.with_suffix(".tmp")
    try:
        for incomplete in path.parent.glob("step_*.tmp"):
            _remove(incomplete)
        write(temporary)
        if temporary.is_dir():
            write_hashes(temporary)
        for file in [temporary, *temporary.rglob("*")]:
            sync(file)
        temporary.replace(path)
        sync(path.parent)
    except OSError:
        _remove(temporary)
        raise
    for old in _checkpoints(path.parent)[:-NUM_KEPT]:
        _remove(old)


def starting_point(ckpt_path: str, directory: Path) -> Path | None:
    """Returns the checkpoint to resume from, or None for a fresh start.

    Args:
        ckpt_path: "auto": the newest valid checkpoint of the artefact, if any. "last": the same, but there must be one.
            Else a checkpoint or a folder of checkpoints, which is used if the artefact has no checkpoint yet.
        directory: The artefact's folder.

    Raises:
        InputError: When a required checkpoint is missing, or all existing ones are damaged.
    """
    hashes = kept_hashes(directory.parents[1])
    local = _newest_valid(checkpoint_folder(directory), hashes)
    if local is not None or ckpt_path == AUTO:
        return local
    if ckpt_path == LAST:
        problem = f"there is no checkpoint in {checkpoint_folder(directory)}; ckpt_path=auto would start afresh."
        raise InputError.at("ckpt_path", problem)
    given = Path(ckpt_path)
    if not given.exists():
        raise InputError.at("ckpt_path", f"there is nothing at {given}; give a checkpoint or a folder of them.")
    if given.is_dir() and given.suffix != ".ckpt":
        newest = _newest_valid(given, hashes)
        if newest is None:
            raise InputError.at("ckpt_path", f"the folder {given} holds no checkpoint (step_*.ckpt).")
        return newest
    fault = _fault(given, hashes)
    if fault is not None:
        raise InputError.at("ckpt_path", f"{given} {fault}.")
    return given


def _newest_valid(folder: Path, hashes: ContentHashes) -> Path | None:
    faults: list[str] = []
    for path in reversed(_checkpoints(folder)):
        fault = _fault(path, hashes)
        if fault is None:
            if faults:
                log.warning("%s; training resumes from %s, the one before", "; ".join(faults), path.name)
            return path
        faults.append(f"{path} {fault}")
    if faults:
        raise InputError(
            f"No valid checkpoint is left to resume from: {'; '.join(faults)}. Put a good copy in place, or remove "
            "these files (or set force=true) to train from the start."
        )
    return None


def _fault(path: Path, hashes: ContentHashes) -> str | None:
    """Returns a description of the damage of a checkpoint, as the end of a sentence, or None if it is valid.

    A file is a zip archive with a checksum of each tensor. Of a folder, which sharded strategies write, the hashes of
    the files are compared with those that it was written with; processes that start together share their computation.
    """
    if path.is_dir():
        return folder_fault(path, hashes.of_file)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        return f"is cut short, damaged or no checkpoint ({error})"
    return None if damaged is None else f"is damaged (checksum of {damaged})"


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*.ckpt"))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_NUM_SHOWN = 8

# Settings that are part of the optimiser's state: other values would have no effect or would not fit the state.
_BOUND_TO_STATE = "optim.optimizer."

_KEYS = ("state_dict", "optimizer_states", "hyper_parameters", "num_done", "random_states")


def check_compatible(path: Path, module: L.LightningModule, num_steps: int) -> None:
    """Checks that a checkpoint is compatible with the module, and logs the settings that differ.

    Settings may differ if the saved state stays usable: a longer schedule, other questions. A folder, which sharded
    strategies write, is not checked.

    Args:
        path: The checkpoint.
        module: The module to load it into, with the configuration of its run as hyper-parameters.
        num_steps: Number of steps of the whole training.

    Raises:
        InputError: When the state does not fit the module.
    """
    import torch

    if path.is_dir():
        return
    try:
        saved = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except UnpicklingError as error:
        problem = "holds other things than tensors and plain values, so medssr did not make it; it is not read."
        raise InputError.at(path, problem) from error
    except (RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        raise InputError.at(path, f"cannot be read as a checkpoint ({str(error).splitlines()[0]}).") from error
    missing = [key for key in _KEYS if not isinstance(saved, dict) or key not in saved]
    if missing:
        raise InputError.at(path, f"is no checkpoint of this version of medssr: it has no {', '.join(missing)}.")
    settings = _differences(_flat(saved["hyper_parameters"]), _flat(dict(module.hparams)), "{key}: {old} -> {new}")
    shapes = _differences(
        {name: tuple(tensor.shape) for name, tensor in saved["state_dict"].items()},
        {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()},
        "{key}: {old} in the checkpoint, {new} in the model",
    )
    bound = [difference for difference in settings if difference.startswith(_BOUND_TO_STATE)]
    if shapes or bound:
        fault = "another model" if shapes else "another optimiser"
        raise InputError.at(
            path,
            f"is the state of {fault}: {_listed([*shapes[:_NUM_SHOWN], *settings] if shapes else bound)}. "
            "Give the settings that it was made with, or start afresh without it.",
        )
    if saved["num_done"] > num_steps:
        problem = f"was made after step {saved['num_done']}, and the training has {num_steps}; make it longer."
        raise InputError.at(path, problem)
    if settings:
        log.warning("%s was made with other settings: %s", path, "; ".join(settings))
    log.info("resuming after step %d", saved["num_done"])


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of nested mappings by their dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        flat |= _flat(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], template: str) -> list[str]:
    return [
        template.format(key=key, old=old.get(key, "none"), new=new.get(key, "none"))
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def _listed(differences: list[str]) -> str:
    more = f" and {len(differences) - 2 * _NUM_SHOWN} more" if len(differences) > 2 * _NUM_SHOWN else ""
    return "; ".join(differences[: 2 * _NUM_SHOWN]) + more
