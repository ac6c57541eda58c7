"""Prepares a process for torch: threads, seeds, quiet libraries, and the device that models run on."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

from medssr.config import ExtrasConfig
from medssr.config.groups import Node
from medssr.errors import InputError

if TYPE_CHECKING:
    from medssr.models.policy import Policy


def check_device(trainer: Node) -> None:
    """Raises InputError where the trainer wants a GPU and there is none; before the model is loaded."""
    import torch

    device = str(trainer["accelerator"])
    if device in ("gpu", "cuda") and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise InputError(
            f"trainer.accelerator: {device}, but torch finds no GPU here; trainer=cpu needs none. medssr-doctor says "
            "what the machine has."
        )


def prepare_process(extras: ExtrasConfig, seed: int) -> None:
    """Sets threads, seeds and the talkativeness of libraries; before the first model is loaded."""
    import torch
    import transformers
    from lightning import seed_everything

    if extras.num_threads is not None:
        torch.set_num_threads(extras.num_threads)
    # Lightning 2.6 calls what torch 2.13 has renamed; nothing that a user could act on.
    warnings.filterwarnings("ignore", message=".*treespec", module="lightning")
    # A first step in which nothing can be learnt takes no optimiser step, and the schedule goes on.
    warnings.filterwarnings("ignore", message="Detected call of .lr_scheduler")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    seed_everything(seed, verbose=False)


def use_gpu(policy: Policy, *, has_room: bool) -> None:
    """Moves the model to the GPU where there is one and the engine leaves room; training leaves that to Lightning."""
    import torch

    if torch.cuda.is_available() and has_room:
        policy.model.to("cuda")
