"""Checkpoints on disk: whole or absent, checked before they are used, the newest and the one before it kept."""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from medssr.config.roots import AUTO, LAST
from medssr.errors import InputError

if TYPE_CHECKING:
    import lightning as L

log = logging.getLogger(__name__)

NUM_KEPT = 2


def checkpoint_folder(directory: Path) -> Path:
    """Returns where the checkpoints of an artefact's folder are."""
    return directory / "checkpoints"


def checkpoint_path(folder: Path, num_done: int) -> Path:
    """Returns the place of the checkpoint after so many training steps."""
    return folder / f"step_{num_done:07d}.ckpt"


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Has `write` make a checkpoint, a file or a folder, that takes the name `path` only once it is whole and on disk.

    Older checkpoints beyond the newest `NUM_KEPT` go, and so does what an interrupted process left half-written.
    """
    temporary = path.with_suffix(".tmp")
    try:
        for left in path.parent.glob("step_*.tmp"):
            _remove(left)
        write(temporary)
        for file in [temporary, *temporary.rglob("*")]:
            _sync(file)
        temporary.replace(path)
        _sync(path.parent)
    except OSError:
        _remove(temporary)
        raise
    for old in _checkpoints(path.parent)[:-NUM_KEPT]:
        _remove(old)


def starting_point(ckpt_path: str, directory: Path) -> Path | None:
    """Returns the checkpoint that training goes on from, or None for a fresh start.

    Args:
        ckpt_path: "auto": the newest good one of the artefact, if any. "last": the same, and there must be one.
            Else a checkpoint or a folder of checkpoints, of use until the artefact has one of its own.
        directory: The artefact's folder.

    Raises:
        InputError: When there is none where there must be one, or no good one where there are some.
    """
    own = _newest_good(checkpoint_folder(directory))
    if own is not None or ckpt_path == AUTO:
        return own
    if ckpt_path == LAST:
        problem = f"there is no checkpoint in {checkpoint_folder(directory)}; ckpt_path=auto would start afresh."
        raise InputError.at("ckpt_path", problem)
    given = Path(ckpt_path)
    if not given.exists():
        raise InputError.at("ckpt_path", f"there is nothing at {given}; give a checkpoint or a folder of them.")
    if given.is_dir() and given.suffix != ".ckpt":
        found = _newest_good(given)
        if found is None:
            raise InputError.at("ckpt_path", f"the folder {given} holds no checkpoint (step_*.ckpt).")
        return found
    fault = _fault(given)
    if fault is not None:
        raise InputError.at("ckpt_path", f"{given} {fault}.")
    return given


def _newest_good(folder: Path) -> Path | None:
    faults: list[str] = []
    for path in reversed(_checkpoints(folder)):
        fault = _fault(path)
        if fault is None:
            if faults:
                log.warning("%s; training goes on from %s, the one before", "; ".join(faults), path.name)
            return path
        faults.append(f"{path} {fault}")
    if faults:
        raise InputError(
            f"No checkpoint is left to go on from: {'; '.join(faults)}. Put a good copy in place, or remove these "
            "files (or set force=true) to train from the start."
        )
    return None


def _fault(path: Path) -> str | None:
    """Returns what is wrong with a checkpoint, as the end of a sentence, or None.

    A file is an archive with a checksum of each tensor. A folder, as sharded strategies write it, is trusted: it has
    its name only since all of it was on disk.
    """
    if path.is_dir():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        return f"is cut short, damaged or no checkpoint ({error})"
    return None if damaged is None else f"is damaged (checksum of {damaged})"


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*.ckpt"))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_NUM_SHOWN = 8

# What the optimiser's state brings along: other values here would be without effect, or would not fit it.
_BOUND_TO_STATE = "optim.optimizer."

_KEYS = ("state_dict", "optimizer_states", "hyper_parameters", "num_done", "random_states")


def check_match(path: Path, module: L.LightningModule, num_steps: int) -> None:
    """Logs in what settings the run that made a checkpoint differs from the module's.

    Settings that leave the saved state usable may differ: a longer schedule, other questions. A folder, as sharded
    strategies write it, is not looked into.

    Args:
        path: The checkpoint.
        module: What it is loaded into, with the configuration of its run as hyper-parameters.
        num_steps: Of the training.

    Raises:
        InputError: When the state does not fit.
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
    log.info("goes on after step %d", saved["num_done"])


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
