"""Generation with several vLLM servers; if one fails, the others take over its prompts."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

import torch

from medssr.engines.completions import stop_strings
from medssr.engines.sync_check import measure_sync_gap
from medssr.engines.types import Completion, Sampling
from medssr.engines.vllm_process import check_requests, num_distinct, read_samples
from medssr.engines.vllm_server import ServerDownError, VLLMServer
from medssr.errors import InputError
from medssr.models.lora import merged_weights
from medssr.models.policy import Policy

log = logging.getLogger(__name__)

# An upper bound on usual block sizes of prefix caches, in tokens; servers do not report theirs.
_CACHE_BLOCK_SIZE = 128


class VLLMServerEngine:
    """Samples with vLLM servers, which have the policy's weights or get them here; both cases are checked.

    A prompt is sent once, with the number of its completions; its first seed determines them (see VLLMEngine),
    independent of the server. A server that failed is tried again with the next prompts.

    Args:
        policy: Model and tokenizer.
        addresses: The addresses of the servers.
        model: Name of the model on the servers; None for the first that each serves.
        max_concurrency: Maximum number of simultaneous prompts per server.
        timeout_s: Time-out in seconds of the completions of a prompt, and of each part of a weight update.
        weights_dir: The folder for weights, which the servers see under the same path; None for servers that keep
            their weights, which is not possible in training.
        max_logp_gap: The run stops if a server and the policy differ by more nats per token.

    Raises:
        InputError: When there is no address, or one is not a URL.
    """

    fills_gpu: ClassVar[bool] = False

    def __init__(
        self,
        policy: Policy,
        addresses: Sequence[str],
        model: str | None,
        max_concurrency: int,
        timeout_s: float,
        weights_dir: str | None,
        max_logp_gap: float,
    ) -> None:
        if not addresses:
            raise InputError("rollout.addresses: is empty; give at least one, such as [http://localhost:8000].")
        self._policy = policy
        self._servers = [VLLMServer(address, model, timeout_s, max_concurrency) for address in dict.fromkeys(addresses)]
        self._max_concurrency = max_concurrency
        self._weights_dir = None if weights_dir is None else Path(weights_dir).resolve()
        self._max_logp_gap = max_logp_gap
        self._max_len = policy.model.config.max_position_embeddings
        self._weights: Path | None = None  # the folder that the servers read, once it is written
        self._ready: list[VLLMServer] = []
        self._lost: dict[str, str] = {}  # the reason, by address
        self._lock = threading.Lock()

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns for each prompt one completion per seed (see RolloutEngine).

        Raises:
            InputError: When no server is left, or one refuses a request or has other weights than the policy.
        """
        self._connect()
        check_requests(prompts, sampling, self._max_len)
        groups: dict[int, list[Completion]] = {}
        while missing := [index for index in range(len(prompts)) if index not in groups]:
            pending: SimpleQueue[int] = SimpleQueue()
            for index in missing:
                pending.put(index)

            def work(server: VLLMServer, pending: SimpleQueue[int] = pending) -> None:
                for index in _drain(pending):
                    try:
                        groups[index] = self._complete(server, prompts[index], seeds[index], sampling)
                    except ServerDownError as error:
                        pending.put(index)
                        self._exclude(server, error)
                    if server not in self._ready:
                        return

            self._run_on_servers(work, pending)
        return [groups[index] for index in range(len(prompts))]

    def reserve(self, num_tokens: int) -> None:
        """Does nothing: the servers have been started with the context that they have."""

    def sync_weights(self, model: Any) -> None:
        """Copies the current weights of `model` to all servers, and checks that their log-probs agree.

        Raises:
            InputError: When there is no `weights_dir`, no server is left, or one differs from the trainer afterwards.
        """
        assert model is self._policy.model, "the engine was created for another policy"
        self._weights = self._write_weights()
        ready, self._ready = self._ready, []
        self._prepare(ready)

    def release_memory(self) -> None:
        """Does nothing: the servers have GPUs of their own."""

    def close(self) -> None:
        """Closes the connections; the servers keep running."""
        for server in self._servers:
            server.close()
        if self._weights is not None:
            shutil.rmtree(self._weights)
            self._weights = None

    def _connect(self) -> None:
        """Prepares the servers that are not ready."""
        if self._weights is None and (self._weights_dir is not None or self._policy.model.training):
            self._weights = self._write_weights()
        self._prepare([server for server in self._servers if server not in self._ready])

    def _prepare(self, servers: Sequence[VLLMServer]) -> None:
        """Loads weights on all given servers at the same time, and compares each with the policy.

        Servers that do not answer are excluded.

        Raises:
            InputError: When one cannot be used, or none is left.
        """
        with ThreadPoolExecutor(max(1, len(servers))) as pool:
            outcomes = list(pool.map(self._load_weights, servers))
        for server, outcome in zip(servers, outcomes, strict=True):
            try:
                if isinstance(outcome, ServerDownError):
                    raise outcome
                self._max_len = min(self._max_len, outcome)
                self._check_sync(server)
            except ServerDownError as error:
                self._exclude(server, error)
                continue
            self._ready.append(server)
            if self._lost.pop(server.address, None) is not None:
                log.info("the server %s answers again", server.address)
        self._check_any_left()

    def _load_weights(self, server: VLLMServer) -> int | ServerDownError:
        """Returns the server's maximum number of tokens of prompt and completion, or its error if it is down."""
        try:
            max_len = server.check()
            if self._weights is not None:
                server.load_weights(self._weights)
        except ServerDownError as error:
            return error
        return max_len

    def _check_sync(self, server: VLLMServer) -> None:
        def sample(prompts: list[list[int]], seeds: list[list[int]], sampling: Sampling) -> list[list[Completion]]:
            rows = zip(prompts, seeds, strict=True)
            return [self._complete(server, prompt, row, sampling) for prompt, row in rows]

        gap = measure_sync_gap(self._policy, sample, _CACHE_BLOCK_SIZE, self._max_len)
        log.debug("%s: its log-probs differ by %.2g nats per token", server.address, gap)
        if not gap <= self._max_logp_gap:  # also true for NaN
            remedy = (
                "serve the folder of model.path there, or give rollout.weights_dir"
                if self._weights is None
                else "it does not take this model's weights right: try another version of vLLM, or rollout=hf"
            )
            raise InputError(
                f"rollout.addresses: the log-probs of {server.address} differ from the policy's by {gap:.3g} nats per "
                f"token (rollout.max_logp_gap is {self._max_logp_gap:g}). It was started without --logprobs-mode "
                f"processed_logprobs, or it has other weights: {remedy}."
            )

    def _complete(
        self, server: VLLMServer, prompt: list[int], seeds: Sequence[int], sampling: Sampling
    ) -> list[Completion]:
        eos_ids, stop = sorted(self._policy.eos_token_ids), stop_strings(self._policy, sampling)
        samples = server.complete(prompt, num_distinct(len(seeds), sampling), seeds[0], sampling, eos_ids, stop)
        token_rows, logp_rows = [tokens for tokens, _ in samples], [logps for _, logps in samples]
        return read_samples(self._policy, token_rows, logp_rows, len(seeds), sampling)

    def _run_on_servers(self, work: Callable[[VLLMServer], None], pending: SimpleQueue[int]) -> None:
        """Runs `work` in `max_concurrency` threads per ready server until all return."""
        self._check_any_left()
        servers = list(self._ready)
        with ThreadPoolExecutor(len(servers) * self._max_concurrency) as pool:
            futures = [pool.submit(work, server) for server in servers for _ in range(self._max_concurrency)]
            try:
                for future in futures:
                    future.result()
            finally:
                list(_drain(pending))  # after an error, stops the other threads

    def _exclude(self, server: VLLMServer, reason: ServerDownError) -> None:
        """Excludes a server, and logs it the first time."""
        with self._lock:
            if server in self._ready:
                self._ready.remove(server)
            is_repeated = server.address in self._lost
            self._lost[server.address] = str(reason)
        if not is_repeated:
            number = len(self._ready)
            log.warning("lost the server %s: %s; its prompts go to the %d left", server.address, reason, number)

    def _check_any_left(self) -> None:
        if not self._ready:
            reasons = "; ".join(f"{address}: {reason}" for address, reason in self._lost.items())
            raise InputError(
                f"rollout.addresses: no server is left ({reasons}). Start one with: vllm serve FOLDER; the same "
                "command then goes on. Where answers take long, raise rollout.timeout_s."
            )

    def _write_weights(self) -> Path:
        """Writes the policy's weights, a tied head included, and returns their folder."""
        from safetensors.torch import save_file

        if self._weights_dir is None:
            raise InputError("rollout.weights_dir: is needed for training, since servers are given weights there.")
        model = self._policy.model
        weights = {name: weight.detach().cpu().contiguous() for name, weight in merged_weights(model)}
        if model.config.tie_word_embeddings:  # safetensors refuses weights that share memory
            weights["lm_head.weight"] = weights["lm_head.weight"].clone()
        # Each of several trainers writes its own copy, so that none waits for another.
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        folder = self._weights_dir / f"trainer_{rank}"
        folder.mkdir(parents=True, exist_ok=True)
        # Replaced by renaming, so that a server that still reads the old file is not disturbed.
        save_file(weights, folder / "unfinished")
        (folder / "unfinished").replace(folder / "model.safetensors")
        return folder


def _drain(pending: SimpleQueue[int]) -> Iterator[int]:
    """Yields the items of the queue until it is empty."""
    while True:
        try:
            yield pending.get_nowait()
        except Empty:
            return
