"""Checks the settings of Lightning's Trainer: those that work here, and what to set in place of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medssr.errors import InputError, require
from medssr.utils.nearest import did_you_mean

# Values that Lightning accepts, the common ones first.
_DEVICES = ("cpu", "gpu", "auto", "cuda", "mps", "tpu")
_PRECISIONS = (
    *("32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true", "32", "64", "16", "bf16"),
    *("transformer-engine", "transformer-engine-float16"),
)
_STRATEGIES = ("auto", "ddp")
_FSDP2 = "medssr.training.fsdp2.FSDP2"
_LENGTH = "a training has one pass of a fixed number of steps: set grpo.num_steps or sft.num_steps."
_CLIPPING = "gradients are clipped by grpo.max_grad_norm or sft.max_grad_norm."
_VALIDATION = "there is no validation loop; medssr-train probe=seed_questions evaluates during training."
# Arguments of the Trainer that would have no effect, or would break what a finished artefact stands for.
_REFUSED = {
    "logger": "the group logger sets it, for example logger=csv.",
    "callbacks": "the group callbacks has them: +callbacks.NAME._target_=CLASS.",
    "default_root_dir": "files go into the folder of the artefact; set paths.artifact_dir.",
    "enable_progress_bar": "set extras.progress_bar.",
    "barebones": "it turns off what an artefact is made of; for a quick check +trainer.fast_dev_run=true.",
    "min_epochs": _LENGTH,
    "max_steps": _LENGTH,
    "min_steps": _LENGTH,
    "max_time": _LENGTH,
    "reload_dataloaders_every_n_epochs": _LENGTH,
    "overfit_batches": "each step has questions of its own; to overfit, give data.path a file of few questions.",
    "accumulate_grad_batches": "a step is split by grpo.micro_batch_tokens or sft.micro_batch_tokens.",
    "gradient_clip_val": _CLIPPING,
    "gradient_clip_algorithm": _CLIPPING,
    "limit_val_batches": _VALIDATION,
    "limit_test_batches": _VALIDATION,
    "limit_predict_batches": _VALIDATION,
    "val_check_interval": _VALIDATION,
    "check_val_every_n_epoch": _VALIDATION,
    "num_sanity_val_steps": _VALIDATION,
    "inference_mode": _VALIDATION,
}


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Raises InputError for settings that Lightning does not take, and for those that training here cannot use.

    Weights of 16 bits, for example, lose small updates.
    """
    device = str(trainer["accelerator"])
    if device not in _DEVICES:
        raise InputError(f"trainer.accelerator: {device}; expected one of {', '.join(_DEVICES)}.")
    devices_of(trainer)
    _check_strategy(trainer)
    precision = str(trainer["precision"])
    if precision not in _PRECISIONS:
        allowed = ", ".join(_PRECISIONS[:4])
        raise InputError(
            f"trainer.precision: {precision}; expected one of {allowed}.{did_you_mean(precision, _PRECISIONS)}"
        )
    if precision in ("bf16-true", "16-true"):
        mixed = precision.replace("true", "mixed")
        raise InputError(f"trainer.precision: {precision} rounds small updates of the weights to zero; use {mixed}.")
    for name, advice in _REFUSED.items():
        require(trainer.get(name) is None, f"trainer.{name}", f"{trainer.get(name)}; {advice}")
    epochs = trainer.get("max_epochs")
    require(epochs == 1, "trainer.max_epochs", f"{epochs}; {_LENGTH}")
    batches = trainer.get("fast_dev_run")
    is_number = batches is None or (isinstance(batches, int) and batches >= 0)  # a truth value is a number in Python
    require(is_number, "trainer.fast_dev_run", f"{batches}; true, or a number of steps.")


def _check_strategy(trainer: Mapping[str, Any]) -> None:
    strategy = trainer.get("strategy", "auto")
    remedy = "take trainer=ddp, trainer=fsdp2, which shards the model, or {_target_: CLASS}."
    require(isinstance(strategy, Mapping) or strategy in _STRATEGIES, "trainer.strategy", f"{strategy}; {remedy}")


def devices_of(trainer: Mapping[str, Any]) -> list[int] | None:
    """Returns the numbers of the devices that a training uses on each node; None if it uses all that there are.

    Like Lightning, takes a number of devices (2, "2"), the devices themselves ([4, 5], "4,5", "4,"), or -1 or "auto".

    Raises:
        InputError: When the setting is none of these.

    Example:
        >>> [devices_of({"accelerator": "gpu", "devices": given}) for given in (2, "4,5", -1)]
        [[0, 1], [4, 5], None]
    """
    given = trainer["devices"]
    if given in (-1, "-1", "auto"):
        return None
    named = [part for part in given.split(",") if part.strip()] if isinstance(given, str) and "," in given else given
    try:
        devices = [int(part) for part in named] if isinstance(named, list) else list(range(int(named)))
    except (TypeError, ValueError):
        devices = []
    is_valid = bool(devices) and min(devices) >= 0 and len({*devices}) == len(devices) and not isinstance(given, bool)
    expected = "expected a number of devices, their numbers as [4,5], or -1 for all."
    require(is_valid, "trainer.devices", f"{given}; {expected}")
    is_on_cpu = str(trainer["accelerator"]) == "cpu"
    problem = f"{given}; a CPU has no numbered devices: give the number of processes, such as {len(devices)}."
    require(not (is_on_cpu and isinstance(named, list)), "trainer.devices", problem)
    return devices


def num_processes(trainer: Mapping[str, Any]) -> int | None:
    """Returns the number of a training's processes, one for each device of each node; None if the machine decides."""
    devices = devices_of(trainer)
    return None if devices is None else len(devices) * int(trainer.get("num_nodes", 1))


def shards_models(trainer: Mapping[str, Any]) -> bool:
    """Returns whether each process of the trainer holds a part of every weight (`trainer=fsdp2`)."""
    strategy = trainer.get("strategy")
    return isinstance(strategy, Mapping) and strategy["_target_"] == _FSDP2


def num_check_steps(config: Any) -> int:
    """Returns the steps of a quick check by `trainer.fast_dev_run`; 0 where a command trains in full, or not at all."""
    return int((getattr(config, "trainer", None) or {}).get("fast_dev_run") or 0)
