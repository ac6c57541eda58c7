"""Starts and stops vLLM in this process, and gives it weights."""

from __future__ import annotations

import gc
import os
import shutil
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
from torch import Tensor

from medssr.engines.separate_world import SeparateWorld
from medssr.engines.vllm_installation import HOW_TO_INSTALL
from medssr.engines.vllm_requests import LORA_RANKS
from medssr.errors import InputError
from medssr.models.lora import save_adapters
from medssr.models.policy import Policy
from medssr.models.sharding import architecture


@dataclass(frozen=True, slots=True)
class VLLMSettings:
    """The resources that vLLM may use.

    Attributes:
        max_num_seqs: Number of completions that are generated at the same time.
        max_model_len: Maximum number of tokens of prompt and completion.
        gpu_memory_utilization: Fraction of a GPU's memory.
        cpu_kv_cache_gib: Memory of the key-value cache if there is no GPU.
        sleep: Whether its memory on a GPU can be freed for a while.
        max_lora_rank: Limit of the rank of adapters; None for a policy without.
    """

    max_num_seqs: int
    max_model_len: int
    gpu_memory_utilization: float
    cpu_kv_cache_gib: float
    sleep: bool
    max_lora_rank: int | None


@contextmanager
def preserve_process_state() -> Iterator[None]:
    """Restores what vLLM changes in this process, such as random states, at the end of the block."""
    has_gpu = torch.cuda.is_available()
    set_num_threads, excepthook = torch.set_num_threads, sys.excepthook
    precision = torch.get_float32_matmul_precision()
    try:
        with (
            isolate_rng(include_cuda=has_gpu),
            # vLLM's number format must not depend on the trainer's autocast.
            torch.autocast("cuda" if has_gpu else "cpu", enabled=False),
            # On a CPU, compiling vLLM's few small functions takes longer than it saves, and needs a C++ compiler.
            torch.compiler.set_stance("default" if has_gpu else "force_eager"),
        ):
            yield
    finally:
        torch.set_num_threads, sys.excepthook = set_num_threads, excepthook
        torch.set_float32_matmul_precision(precision)


@contextmanager
def _hide_numba_module() -> Iterator[None]:
    """Hides a module of numba: on a CPU, vLLM 0.32 inspects all loaded modules, and fails at this one."""
    name = "llvmlite.binding.ffi"
    module = sys.modules.pop(name, None)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # caused by the inspection
            yield
    finally:
        if module is not None:
            sys.modules[name] = module


class VLLMProcess:
    """vLLM in this process, with a policy's architecture and random weights until weights are loaded.

    It has process groups of its own, so it neither joins nor ends those of the trainers. It runs on the current GPU.

    Args:
        policy: vLLM gets its configuration and tokenizer, but not its weights.
        settings: The resources that vLLM may use.

    Raises:
        InputError: When vLLM does not start with these settings.
    """

    # vLLM keeps its state in global variables, so only one instance can run at a time.
    _is_running: ClassVar[bool] = False

    def __init__(self, policy: Policy, settings: VLLMSettings) -> None:
        assert not VLLMProcess._is_running, "the previous engine was not closed"
        self._environment = dict(os.environ)
        self._folder = TemporaryDirectory(prefix="medssr-vllm-")
        self._world = SeparateWorld()
        self._can_sleep = settings.sleep and torch.cuda.is_available()
        self.is_asleep = False
        self.has_weights = False
        self.adapters: Any = None  # vLLM's LoRARequest for the newest adapters, which every request names
        VLLMProcess._is_running = True
        self.llm: Any = None
        try:
            with self.active(), _hide_numba_module():
                self.llm = _start(policy, Path(self._folder.name), settings)
        except (ImportError, OSError, ValueError, RuntimeError) as error:
            self.close()
            raise InputError(f"rollout: vLLM did not start: {_shortened(error)} {_remedy(error)}") from error
        except BaseException:  # such as SystemExit from a signal: a later start must find a clean state
            self.close()
            raise

    @contextmanager
    def active(self) -> Iterator[None]:
        """The block in which vLLM can be called; the state of the trainer is restored at its end."""
        with preserve_process_state(), self._world.entered():
            yield

    @property
    def cache_block_size(self) -> int:
        """Number of tokens in a block of the key-value cache; prompts share whole blocks."""
        return int(self.llm.llm_engine.vllm_config.cache_config.block_size)

    def load_weights(self, weights: Iterator[tuple[str, Tensor]], is_tied: bool) -> None:
        """Loads weights and empties the prefix cache; wakes vLLM up if it sleeps.

        Args:
            weights: Each weight with the name that vLLM uses. They are iterated over with the trainers' process groups.
            is_tied: Whether the head shares the weight of the embeddings.
        """
        with self.active():
            if self.is_asleep:
                self.llm.wake_up(["weights"])
            gathered = self._with_trainers_groups(weights)
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": gathered})
            for _ in gathered:  # all trainers gather all weights, whatever vLLM has taken
                pass
            if is_tied and not torch.cuda.is_available():
                self.llm.apply_model(_rebuild_head)
            if self.is_asleep:
                self.llm.wake_up(["kv_cache"])
                self.is_asleep = False
            is_reset = self.llm.reset_prefix_cache()
        assert is_reset, "requests are running, so the key-value cache of the old weights is still in use"
        self.has_weights = True

    def load_adapters(self, model: Any) -> None:
        """Gives vLLM the adapters of a model, in place of those before, for requests that name `adapters`.

        Each version has a name of its own, by which vLLM's prefix cache tells its entries from those of older ones.

        Raises:
            InputError: When vLLM does not support adapters of these layers.
        """
        from vllm.lora.request import LoRARequest

        number = 1 if self.adapters is None else self.adapters.lora_int_id + 1
        folder = Path(self._folder.name) / f"adapters_{number}"
        save_adapters(model, folder)
        with self.active():
            if self.adapters is not None:
                self.llm.llm_engine.remove_lora(self.adapters.lora_int_id)
            self.adapters = LoRARequest(folder.name, number, str(folder))
            try:
                self.llm.llm_engine.add_lora(self.adapters)
            except ValueError as error:
                problem = f"lora.target_modules: vLLM does not take these adapters: {_shortened(error)}"
                raise InputError(f"{problem} Adapt other layers, or take rollout=hf.") from error
        shutil.rmtree(folder)

    def weight_sums(self) -> dict[str, int]:
        """Returns the sum of the bits of each weight that vLLM has not packed into another form (see `sum_of_bits`)."""
        with self.active():
            (sums,) = self.llm.apply_model(_weight_sums)
        return dict(sums)

    def sleep(self) -> None:
        """Frees the memory of weights and cache on a GPU (level 2: the weights are lost), if the settings say so."""
        if self._can_sleep:
            with self.active():
                self.llm.sleep(level=2)
            self.is_asleep, self.has_weights = True, False

    def close(self) -> None:
        """Shuts vLLM down and frees its memory."""
        with self.active(), self._world.default_group_destroyed():
            if self.llm is not None:
                if self.is_asleep:  # vLLM cannot free memory that is asleep
                    self.llm.wake_up()
                self.llm.llm_engine.engine_core.shutdown()
                self.llm = None
            groups: Any = sys.modules.get("vllm.distributed.parallel_state")  # None if vLLM could not be imported
            if groups is not None:
                groups.destroy_model_parallel()
                groups.destroy_distributed_environment()
        gc.unfreeze()  # vLLM freezes all objects at its start
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        for name in os.environ.keys() - self._environment.keys():
            del os.environ[name]
        os.environ.update(self._environment)
        self._folder.cleanup()
        VLLMProcess._is_running = False

    def _with_trainers_groups(self, weights: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """Yields weights that are gathered over the trainers, while vLLM has other process groups."""
        while True:
            with self._world.left():
                item = next(weights, None)
            if item is None:
                return
            yield item


def _start(policy: Policy, folder: Path, settings: VLLMSettings) -> Any:
    config = deepcopy(policy.model.config)
    config.architectures = [architecture(policy.model)]
    config.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)

    # The engine core must run in this process, so that it can read the trainer's tensors.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # sends no usage statistics
    from vllm import LLM, envs

    has_gpu = torch.cuda.is_available()
    device_index = torch.cuda.current_device() if has_gpu else 0
    # Engines that compile at the same time must not write the same files.
    os.environ["VLLM_CACHE_ROOT"] = str(Path(envs.VLLM_CACHE_ROOT) / f"device_{device_index}")
    return LLM(
        str(folder),
        runner="generate",
        dtype=str(policy.engine_dtype).removeprefix("torch."),
        seed=0,  # not used: every request has a seed
        load_format="dummy",
        max_num_seqs=settings.max_num_seqs,
        max_model_len=settings.max_model_len,
        enable_prefix_caching=True,
        logprobs_mode="processed_logprobs",  # log-probs of the distribution that is sampled from
        generation_config="vllm",  # uses only the sampling settings of each request
        gpu_memory_utilization=settings.gpu_memory_utilization,
        kv_cache_memory_bytes=None if has_gpu else int(settings.cpu_kv_cache_gib * 2**30),
        enable_sleep_mode=has_gpu and settings.sleep,
        enforce_eager=not has_gpu,  # compiling takes minutes on a CPU
        # On a CPU, vLLM 0.32 fails if a prompt with a seed is split over two steps.
        enable_chunked_prefill=None if has_gpu else False,
        distributed_executor_backend=_executor_on(device_index),
        enable_lora=settings.max_lora_rank is not None,
        max_lora_rank=settings.max_lora_rank or LORA_RANKS[0],
        max_loras=1,  # only the newest version is used
    )


def _executor_on(device_index: int) -> Any:
    """Returns vLLM's executor for one process, with the GPU of this index; vLLM's own takes the first."""
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    class OneDeviceExecutor(UniProcExecutor):  # type: ignore[misc]
        def _distributed_args(self) -> tuple[str, int, int]:
            init_method, rank, _ = super()._distributed_args()
            return init_method, rank, device_index

    return OneDeviceExecutor


def sum_of_bits(weight: Tensor) -> int:
    """Returns the sum of a weight's values read as integers: another one means that the weight has changed.

    Example:
        >>> sum_of_bits(torch.zeros(3)), sum_of_bits(torch.tensor([0.0, 1.0])) == 0x3F800000
        (0, True)
    """
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return int(weight.detach().contiguous().view(kinds[weight.element_size()]).sum(dtype=torch.int64).item())


def _weight_sums(model: Any) -> dict[str, int]:
    """Returns the sum of bits of vLLM's weights; those that it has packed for a CPU are empty and left out."""
    return {name: sum_of_bits(weight) for name, weight in model.named_parameters() if weight.numel() > 0}


def _rebuild_head(model: Any) -> None:
    """Rebuilds the tied head: on a CPU it is a packed copy of the embeddings, which a reload does not update."""
    model.lm_head.quant_method.process_weights_after_loading(model.lm_head)


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 400 else text[:400] + " ..."


def _remedy(error: Exception) -> str:
    if isinstance(error, ImportError | OSError):
        return f"It may be built for another torch or for an absent GPU. {HOW_TO_INSTALL} Or take rollout=hf."
    if "memory" in str(error).lower():
        if torch.cuda.is_available():
            return "Change rollout.gpu_memory_utilization, or lower rollout.max_model_len or rollout.max_num_seqs."
        return "Change rollout.cpu_kv_cache_gib, or lower rollout.max_model_len."
    if "not supported" in str(error):
        return "Take another model, or rollout=hf."
    return "VLLM_LOGGING_LEVEL=INFO shows its own log; rollout=hf does without it."
