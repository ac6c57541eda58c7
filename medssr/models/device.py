"""Prepares a process for torch: threads, seeds, log levels of libraries, and devices."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

from medssr.config import ExtrasConfig
from medssr.config.groups import Node
from medssr.config.trainer import devices_of
from medssr.errors import InputError, require

if TYPE_CHECKING:
    from medssr.models.policy import Policy


def check_device(trainer: Node) -> None:
    """Raises InputError if the trainer needs a GPU that this machine lacks; called before the model is loaded."""
    import torch

    device = str(trainer["accelerator"])
    if device in ("gpu", "cuda") and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise InputError(
            f"trainer.accelerator: {device}, but torch finds no GPU here; trainer=cpu needs none. medssr-doctor says "
            "what the machine has."
        )
    devices = devices_of(trainer)
    if device in ("gpu", "cuda") and torch.cuda.is_available() and devices is not None:
        missing = [number for number in devices if number >= torch.cuda.device_count()]
        problem = f"{trainer['devices']}, but torch finds {torch.cuda.device_count()} GPUs here."
        require(not missing, "trainer.devices", problem)


def gpu_name() -> str | None:
    """Returns the name of the GPU, such as "NVIDIA H200"; None without one."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def prepare_process(extras: ExtrasConfig, seed: int) -> None:
    """Sets threads, seeds and log levels of libraries; called before the first model is loaded."""
    import torch
    import transformers
    from lightning import seed_everything

    if extras.num_threads is not None:
        torch.set_num_threads(extras.num_threads)
    # Lightning 2.6 calls a function that torch 2.13 has renamed; users cannot act on the warning.
    warnings.filterwarnings("ignore", message=".*treespec", module="lightning")
    # If no group of the first step has signal, the schedule advances without an optimiser step.
    warnings.filterwarnings("ignore", message="Detected call of .lr_scheduler")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    seed_everything(seed, verbose=False)


def free_gpu_memory() -> None:
    """Gives the memory of a training that has ended back to the GPU, for the engines and servers of the next step."""
    import gc

    import torch

    gc.collect()  # Lightning's trainer and the module refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def use_gpu(policy: Policy, *, is_gpu_free: bool) -> None:
    """Moves the model to the GPU if there is one and it is free; in training, Lightning moves the model."""
    import torch

    if torch.cuda.is_available() and is_gpu_free:
        policy.model.to("cuda")
