"""Generation with vLLM servers: prompts are shared among them, and those of one that dies go to the others."""

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

from medssr.engines.sync_check import probe
from medssr.engines.types import Completion, Sampling
from medssr.engines.vllm_process import check_requests, num_different, read_completions
from medssr.engines.vllm_server import ServerDownError, VLLMServer
from medssr.errors import InputError
from medssr.models.lora import merged_weights
from medssr.models.policy import Policy

log = logging.getLogger(__name__)

# The largest usual block of a prefix cache, in tokens; servers do not tell theirs.
_CACHE_UNIT = 128


class VLLMServerEngine:
    """Samples with vLLM servers that have the policy's weights, or are given them; either is checked.

    A prompt is sent once, with the number of its completions; its first seed decides them (see VLLMEngine), not the
    server that gets it. A server that was lost is tried again with the next prompts.

    Args:
        policy: Model and tokenizer.
        addresses: Of the servers.
        model: Name of the model there; None for the one that each serves.
        max_concurrency: Prompts under way at a time, for each server.
        timeout_s: Seconds until the completions of a prompt, or a part of a change of weights, are given up.
        weights_dir: Where weights are handed over, a folder that the servers see under the same name; None for servers
            that keep the weights that they have, with which nothing can be trained.
        max_logp_gap: The run stops when a server and the policy differ by more, in nats per token.

    Raises:
        InputError: When there is no address, or one is none.
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
        self._weights: Path | None = None  # the folder that servers read, once it is written
        self._ready: list[VLLMServer] = []
        self._lost: dict[str, str] = {}  # why, by address
        self._lock = threading.Lock()

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns for each prompt one completion per seed (see RolloutEngine).

        Raises:
            InputError: When no server is left, one refuses a request or has other weights than the policy.
        """
        self._connect()
        check_requests(prompts, sampling, self._max_len)
        groups: dict[int, list[Completion]] = {}
        while missing := [place for place in range(len(prompts)) if place not in groups]:
            pending: SimpleQueue[int] = SimpleQueue()
            for place in missing:
                pending.put(place)

            def work(server: VLLMServer, pending: SimpleQueue[int] = pending) -> None:
                for place in _taken(pending):
                    try:
                        groups[place] = self._complete(server, prompts[place], seeds[place], sampling)
                    except ServerDownError as error:
                        pending.put(place)
                        self._lose(server, error)
                    if server not in self._ready:
                        return

            self._share(work, pending)
        return [groups[place] for place in range(len(prompts))]

    def sync_weights(self, model: Any) -> None:
        """Makes all servers generate with the weights that `model` has now, and checks that they do.

        Raises:
            InputError: When there is no `weights_dir`, no server is left, or one differs from the trainer afterwards.
        """
        assert model is self._policy.model, "this engine serves the policy that it was made with"
        self._weights = self._write_weights()
        ready, self._ready = self._ready, []
        self._prepare(ready)

    def close(self) -> None:
        """Closes the connections; the servers stay."""
        for server in self._servers:
            server.close()
        if self._weights is not None:
            shutil.rmtree(self._weights)
            self._weights = None

    def _connect(self) -> None:
        """Makes those servers ready that are not, as far as they answer."""
        if self._weights is None and (self._weights_dir is not None or self._policy.model.training):
            self._weights = self._write_weights()
        self._prepare([server for server in self._servers if server not in self._ready])

    def _prepare(self, servers: Sequence[VLLMServer]) -> None:
        """Gives servers the weights, all at a time, and compares each with the policy; loses those that do not answer.

        Raises:
            InputError: When one is not to be used, or none is left.
        """
        with ThreadPoolExecutor(max(1, len(servers))) as pool:
            outcomes = list(pool.map(self._load_weights, servers))
        for server, outcome in zip(servers, outcomes, strict=True):
            try:
                if isinstance(outcome, ServerDownError):
                    raise outcome
                self._max_len = min(self._max_len, outcome)
                self._probe(server)
            except ServerDownError as error:
                self._lose(server, error)
                continue
            self._ready.append(server)
            if self._lost.pop(server.address, None) is not None:
                log.info("the server %s answers again", server.address)
        self._check_any_left()

    def _load_weights(self, server: VLLMServer) -> int | ServerDownError:
        """Returns the most tokens of a prompt with its completion there, or why the server is not to be had."""
        try:
            max_len = server.check()
            if self._weights is not None:
                server.load_weights(self._weights)
        except ServerDownError as error:
            return error
        return max_len

    def _probe(self, server: VLLMServer) -> None:
        def sample(prompts: list[list[int]], seeds: list[list[int]], sampling: Sampling) -> list[list[Completion]]:
            rows = zip(prompts, seeds, strict=True)
            return [self._complete(server, prompt, row, sampling) for prompt, row in rows]

        gap = probe(self._policy, sample, _CACHE_UNIT, self._max_len)
        log.debug("%s: its log-probs differ by %.2g nats per token", server.address, gap)
        if not gap <= self._max_logp_gap:  # NaN is no agreement
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
        eos_ids = sorted(self._policy.eos_token_ids)
        samples = server.complete(prompt, num_different(len(seeds), sampling), seeds[0], sampling, eos_ids)
        token_rows, logp_rows = [tokens for tokens, _ in samples], [logps for _, logps in samples]
        return read_completions(self._policy, token_rows, logp_rows, len(seeds), sampling)

    def _share(self, work: Callable[[VLLMServer], None], pending: SimpleQueue[int]) -> None:
        """Runs `work` on the servers that are ready, in some threads for each, until all of them return."""
        self._check_any_left()
        servers = list(self._ready)
        with ThreadPoolExecutor(len(servers) * self._max_concurrency) as pool:
            futures = [pool.submit(work, server) for server in servers for _ in range(self._max_concurrency)]
            try:
                for future in futures:
                    future.result()
            finally:
                list(_taken(pending))  # the others stop too

    def _lose(self, server: VLLMServer, reason: ServerDownError) -> None:
        """Takes a server out, and says so the first time."""
        with self._lock:
            if server in self._ready:
                self._ready.remove(server)
            is_known = server.address in self._lost
            self._lost[server.address] = str(reason)
        if not is_known:
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
        """Returns the folder with the policy's weights; the head is among them where it is tied, too."""
        from safetensors.torch import save_file

        if self._weights_dir is None:
            raise InputError("rollout.weights_dir: is needed for training, since servers are given weights there.")
        model = self._policy.model
        weights = {name: weight.detach().cpu().contiguous() for name, weight in merged_weights(model)}
        if model.config.tie_word_embeddings:  # the format refuses weights that share their memory
            weights["lm_head.weight"] = weights["lm_head.weight"].clone()
        # Of several trainers each hands over its own copy, so that none waits for another.
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        folder = self._weights_dir / f"trainer_{rank}"
        folder.mkdir(parents=True, exist_ok=True)
        # Renamed, so that a server that still reads the file before does so to its end.
        save_file(weights, folder / "unfinished")
        (folder / "unfinished").replace(folder / "model.safetensors")
        return folder


def _taken(pending: SimpleQueue[int]) -> Iterator[int]:
    """Yields what is in the queue until it is empty."""
    while True:
        try:
            yield pending.get_nowait()
        except Empty:
            return
