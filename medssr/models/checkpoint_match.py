"""Whether a checkpoint can be gone on from with a configuration, and what differs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lightning as L
import torch

from medssr.errors import InputError

log = logging.getLogger(__name__)

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
