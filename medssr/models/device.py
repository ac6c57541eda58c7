"""Prepares a process for torch: threads, seeds, log levels of libraries, and devices."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from medssr.config import ExtrasConfig
from medssr.config.groups import Node
from medssr.config.trainer import devices_of
from medssr.errors import InputError, require
from medssr.utils.instantiate import loads_model
from medssr.utils.seeding import random_states, seed_everything, set_random_states

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


def free_gpu_bytes(device: Any) -> int:
    """Returns the free memory of a GPU, with what torch has reserved and does not use."""
    import torch

    return int(
        torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    )


@contextmanager
def prepared_process(extras: ExtrasConfig, seed: int) -> Iterator[None]:
    """Sets threads, seeds and log levels of libraries for the block, and puts back afterwards what it found.

    Entered before the first model is loaded. A program that runs several steps keeps its own random numbers and
    settings of torch, whatever a step or Lightning's Trainer sets.
    """
    import torch

    states = random_states()
    with warnings.catch_warnings(), _kept_torch_settings(), _quiet_libraries():
        # Lightning 2.6 calls a function that torch 2.13 has renamed; users cannot act on the warning.
        warnings.filterwarnings("ignore", message=".*treespec", module="lightning")
        # If no group of the first step has signal, the schedule advances without an optimiser step.
        warnings.filterwarnings("ignore", message="Detected call of .lr_scheduler")
        if extras.num_threads is not None:
            torch.set_num_threads(extras.num_threads)
        seed_everything(seed)
        try:
            yield
        finally:
            set_random_states(states)


def prepared_for(extras: ExtrasConfig, seed: int, **nodes: Node) -> AbstractContextManager[None]:
    """Returns `prepared_process` where an object of the nodes loads a model, else a context that imports no torch.

    Args:
        extras: The settings of the process.
        seed: The seed.
        nodes: Nodes with a `_target_`, by their keys in the configuration.

    Raises:
        InputError: When a class cannot be imported.
    """
    loads = any(loads_model(node, key) for key, node in nodes.items())
    return prepared_process(extras, seed) if loads else nullcontext()


@contextmanager
def _kept_torch_settings() -> Iterator[None]:
    """Puts back after the block the settings of torch that a step or Lightning's Trainer changes."""
    import torch

    num_threads = torch.get_num_threads()
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    precision, has_gradients = torch.get_float32_matmul_precision(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
        if is_deterministic != torch.are_deterministic_algorithms_enabled():  # the call itself imports much
            torch.use_deterministic_algorithms(is_deterministic, warn_only=only_warns)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        torch.set_float32_matmul_precision(precision)
        torch.set_grad_enabled(has_gradients)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keeps transformers, Lightning and the hub's client from telling of their progress and retries in the block."""
    from transformers.utils import logging as transformers_logging

    verbosity, had_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    quiet = {
        "lightning.pytorch": logging.WARNING,
        "lightning.fabric": logging.WARNING,
        "huggingface_hub": logging.ERROR,
    }
    loggers = [logging.getLogger(name) for name in quiet]
    levels = [logger.level for logger in loggers]
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(quiet[logger.name])
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bars:
            transformers_logging.enable_progress_bar()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


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
