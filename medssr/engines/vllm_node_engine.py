"""Generation with vLLM servers that start with the command on the free GPUs of its machine, and end with it."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import torch

from medssr.engines.server_processes import PORT, ServerCommand, ServerProcesses
from medssr.engines.streaming import Answers, Request
from medssr.engines.types import Completion, Sampling
from medssr.engines.vllm_installation import check_installation
from medssr.engines.vllm_requests import check_length, context_limit, max_lora_rank
from medssr.engines.vllm_server import VLLMServer
from medssr.engines.vllm_server_engine import VLLMServerEngine
from medssr.errors import InputError
from medssr.models.policy import Policy
from medssr.models.sharding import architecture
from medssr.utils.processes import from_first_process, gather_objects

log = logging.getLogger(__name__)

# Number of servers on a machine without a GPU.
_NUM_CPU_SERVERS = 2
# Seconds that a healthy server needs at most for a change of its settings.
_QUICK_S = 60.0
# The name of the policy on the servers.
_MODEL_NAME = "policy"
# A file system in memory, by which weights are handed over if it has room.
_SHARED_MEMORY = Path("/dev/shm")
# The old and the new weights are there at the same time.
_NUM_COPIES = 2


@dataclass(frozen=True, slots=True)
class _Started:
    """What the first process tells the others about its servers: their addresses, and the folder for weights."""

    addresses: list[str]
    weights_dir: str


class VLLMNodeEngine:
    """Samples with vLLM servers of this machine, which it starts with the first prompt or the first sync of weights.

    In votes and evaluation the servers take all visible GPUs, in training those that no trainer uses. Of several
    trainers the first process starts the servers, and all use them. The servers start with the policy's configuration
    and tokenizer, and get its weights and adapters from `VLLMServerEngine`.

    Args:
        policy: Model and tokenizer.
        num_servers: Number of servers; None for as many as free GPUs allow, or 2 without a GPU.
        tensor_parallel_size: Number of GPUs of each server.
        max_model_len: Maximum number of tokens of prompt and completion; None for the model's limit, or what fits.
        gpu_memory_utilization: Fraction of the memory of its GPUs that a server may use.
        cpu_kv_cache_gib: Memory of a server's key-value cache if there is no GPU.
        max_concurrency: Maximum number of completions that a process has under way on a server.
        timeout_s: Time-out in seconds of the start, of the completions of a prompt, and of each part of an update.
        max_logp_gap: The run stops if a server and the policy differ by more nats per token.
        log_dir: The folder for the servers' logs, in a subfolder per start.
        overlap: When a training samples (see OverlappingEngine).

    Raises:
        InputError: When vLLM is not installed or too old, or a setting is out of range.
    """

    fills_gpu: ClassVar[bool] = True

    def __init__(
        self,
        policy: Policy,
        num_servers: int | None,
        tensor_parallel_size: int,
        max_model_len: int | None,
        gpu_memory_utilization: float,
        cpu_kv_cache_gib: float,
        max_concurrency: int,
        timeout_s: float,
        max_logp_gap: float,
        log_dir: str,
        overlap: str | None,
    ) -> None:
        self._limit = context_limit(policy, max_model_len)
        for name, number in (("num_servers", num_servers), ("tensor_parallel_size", tensor_parallel_size)):
            if number is not None and number < 1:
                raise InputError(f"rollout.{name}: {number}; at least 1.")
        check_installation()
        self._max_lora_rank = max_lora_rank(policy.model)
        self.overlap = overlap
        self._policy = policy
        self._num_servers = num_servers
        self._tensor_parallel_size = tensor_parallel_size
        self._max_model_len = max_model_len
        self._gpu_memory_utilization = gpu_memory_utilization
        self._cpu_kv_cache_gib = cpu_kv_cache_gib
        self._max_concurrency = max_concurrency
        self._timeout_s = timeout_s
        self._max_logp_gap = max_logp_gap
        self._log_dir = Path(log_dir)
        self._processes: ServerProcesses | None = None  # of the first process only
        self._engine: VLLMServerEngine | None = None

    def reserve(self, num_tokens: Callable[[], int]) -> None:
        """Checks that the longest prompt plus completion to come fits; servers take the longest context that they can.

        Raises:
            InputError: When it is longer than `max_model_len` or the model's context.
        """
        check_length(num_tokens(), self._limit)

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns for each prompt one completion per seed (see RolloutEngine).

        Raises:
            InputError: When the servers cannot be started, or as `VLLMServerEngine.generate`.
        """
        engine = self._started()
        with self._logs_in_errors():
            return engine.generate(prompts, seeds, sampling)

    def stream(self, batches: Iterable[Sequence[Request]], sampling: Sampling) -> Answers:
        """Yields the index of each request with its completions (see StreamingEngine).

        Raises:
            InputError: As `generate`.
        """
        engine = self._started()
        with self._logs_in_errors():
            yield from engine.stream(batches, sampling)

    def sync_weights(self, model: Any) -> float:
        """Copies the current weights of `model` to all servers, which are started if needed.

        Returns the largest difference of their log-probs, in nats per token.

        Raises:
            InputError: When the servers cannot be started, or as `VLLMServerEngine.sync_weights`.
        """
        if self._engine is None:
            self._engine = self._client_of(self._start_together(model))
        with self._logs_in_errors():
            return self._engine.sync_weights(model)

    def interrupt(self) -> None:
        """Ends the requests of a `generate` under way in another thread (see VLLMServerEngine)."""
        assert self._engine is not None, "a training syncs the weights before it samples"
        self._engine.interrupt()

    def release_memory(self) -> None:
        """Does nothing: the servers have GPUs of their own."""

    def close(self) -> None:
        """Ends the servers, and removes what they were given."""
        try:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
        finally:
            if self._processes is not None:
                self._processes.close()
                self._processes = None

    def _started(self) -> VLLMServerEngine:
        """Returns the client of the servers, which it starts for votes and evaluation; a training has started them."""
        if self._engine is None:
            self._engine = self._client_of(self._start(used=frozenset()))
        return self._engine

    @contextmanager
    def _logs_in_errors(self) -> Iterator[None]:
        """Adds the ends of the logs of servers that have ended to an error in the block."""
        try:
            yield
        except InputError as error:
            ended = None if self._processes is None else self._processes.ended()
            if ended is None:
                raise
            raise InputError(f"{error}\n{ended}") from error

    def _start_together(self, model: Any) -> _Started:
        """Returns the servers that the first process starts; all processes of a training have to call this."""
        device = model.device
        gpu = visible_gpus()[device.index] if device.type == "cuda" else None
        trainers = gather_objects((socket.gethostname(), gpu))
        if len({host for host, _ in trainers}) > 1:
            raise InputError(
                "rollout: vllm_node starts servers for the trainers of one node only. Start servers with `vllm serve` "
                "and take rollout=vllm_server."
            )
        used = frozenset(name for _, name in trainers if name is not None)
        return from_first_process(lambda: self._start(used))

    def _start(self, used: Collection[str]) -> _Started:
        """Starts the servers on GPUs other than `used`, and waits until they are healthy."""
        gpus = gpus_of_servers(visible_gpus(), used, self._tensor_parallel_size, self._num_servers)
        devices = [f"GPU {'+'.join(group)}" if group else "the CPU" for group in gpus]
        log_dir = self._log_dir / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{os.getpid()}"
        log.info(
            "vLLM servers: starting %d on %s; their logs: %s", len(gpus), ", ".join(dict.fromkeys(devices)), log_dir
        )
        start = time.monotonic()
        folder = _shared_folder(self._policy.model)
        try:
            _save_architecture(self._policy, folder / "model")
        except BaseException:
            shutil.rmtree(folder)
            raise
        commands = [self._command(folder / "model", group, len(gpus)) for group in gpus]
        self._processes = ServerProcesses(commands, log_dir, folder, self._timeout_s)
        for address in self._processes.addresses:
            VLLMServer(address, _MODEL_NAME, _QUICK_S).let_read_weights()
        seconds = time.monotonic() - start
        log.info("vLLM servers ready after %.0f s: %s", seconds, ", ".join(self._processes.addresses))
        return _Started(self._processes.addresses, str(folder / "weights"))

    def _command(self, model: Path, gpus: Sequence[str], num_servers: int) -> ServerCommand:
        """Returns the command of a server on the given GPUs; none for a server on the CPU."""
        options: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": PORT,
            "served-model-name": _MODEL_NAME,
            "load-format": "dummy",  # random weights, until the policy's are sent
            "dtype": str(self._policy.engine_dtype).removeprefix("torch."),
            "logprobs-mode": "processed_logprobs",  # log-probs of the distribution that is sampled from
            "generation-config": "vllm",  # uses only the sampling settings of each request
            "max-model-len": "auto" if self._max_model_len is None else self._max_model_len,
        }
        flags = ["enable-prefix-caching", "disable-uvicorn-access-log"]
        # Lets the server take weights; and it sends no usage statistics.
        environment = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1"}
        if self._max_lora_rank is not None:
            options["max-lora-rank"] = self._max_lora_rank
            flags.append("enable-lora")
            environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
        if gpus:
            options["tensor-parallel-size"] = len(gpus)
            options["gpu-memory-utilization"] = self._gpu_memory_utilization
            options["weight-transfer-config"] = '{"backend": "nccl"}'  # from a trainer's GPU, without a file
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        else:
            options["kv-cache-memory-bytes"] = int(self._cpu_kv_cache_gib * 2**30)
            # On a CPU, compiling takes minutes, and vLLM 0.32 fails if a prompt with a seed is split over two steps.
            flags += ["enforce-eager", "no-enable-chunked-prefill"]
            environment |= {"TORCH_COMPILE_DISABLE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
            environment["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // num_servers))
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        # Not `vllm serve`, whose program lacks its metadata in vLLM's builds for CPUs.
        program = (sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model))
        return ServerCommand((*program, *arguments, *(f"--{flag}" for flag in flags)), environment)

    def _client_of(self, started: _Started) -> VLLMServerEngine:
        return VLLMServerEngine(
            self._policy,
            started.addresses,
            _MODEL_NAME,
            self._max_concurrency,
            self._timeout_s,
            started.weights_dir,
            self._max_logp_gap,
            self.overlap,
        )


def visible_gpus() -> list[str]:
    """Returns the names of the GPUs that this process may use, as in CUDA_VISIBLE_DEVICES: numbers, UUIDs or MIG."""
    number = torch.cuda.device_count()
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return [str(index) for index in range(number)]
    return [name.strip() for name in variable.split(",")][:number]  # CUDA ignores what follows a wrong name


def gpus_of_servers(
    visible: Sequence[str], used: Collection[str], tensor_parallel_size: int, num_servers: int | None
) -> list[tuple[str, ...]]:
    """Returns the names of the GPUs of each server; an empty tuple for a server on the CPU.

    Args:
        visible: The names of all GPUs that may be used, in order.
        used: Those that trainers use.
        tensor_parallel_size: Number of GPUs of each server.
        num_servers: Number of servers; None for as many as fit, or 2 without a GPU.

    Raises:
        InputError: When there are not enough GPUs.

    Example:
        >>> gpus_of_servers(["0", "1", "2", "3", "4"], {"0"}, 2, None)
        [('1', '2'), ('3', '4')]
    """
    if not visible:
        if tensor_parallel_size > 1:
            raise InputError(f"rollout.tensor_parallel_size: {tensor_parallel_size}, but there is no GPU here; take 1.")
        return [()] * (_NUM_CPU_SERVERS if num_servers is None else num_servers)
    size, least = tensor_parallel_size, tensor_parallel_size * (num_servers or 1)
    free = [name for name in visible if name not in used]
    num_fitting = len(free) // size
    if num_fitting < (num_servers or 1):
        wanted = f"{num_servers or 1} x {size} for servers (num_servers x tensor_parallel_size)"
        if not used:
            raise InputError(f"rollout: {wanted} are more GPUs than the {len(visible)} visible; lower one of the two.")
        remedy = "rollout=vllm samples on the GPUs of the trainers."
        if least < len(visible):
            num_trainers = min(len(visible) // 2, len(visible) - least)
            remedy = f"Give the trainers fewer, such as trainer.devices={num_trainers}; or {remedy}"
        raise InputError(
            f"rollout: trainers use {len(used)} of {len(visible)} visible GPUs, which leaves {len(free)}, too few for "
            f"{wanted}. {remedy}"
        )
    return [tuple(free[index * size : (index + 1) * size]) for index in range(num_servers or num_fitting)]


def _shared_folder(model: Any) -> Path:
    """Returns a new folder for the servers' files, in shared memory if it has room for the weights."""
    num_bytes = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    has_room = _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > _NUM_COPIES * num_bytes
    return Path(tempfile.mkdtemp(prefix="medssr-servers-", dir=_SHARED_MEMORY if has_room else None))


def _save_architecture(policy: Policy, folder: Path) -> None:
    """Writes the policy's configuration and tokenizer, without weights."""
    config = deepcopy(policy.model.config)
    config.architectures = [architecture(policy.model)]
    config.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
