"""Generation with several vLLM servers; if one fails, the others take over its prompts.

In training, the first process alone changes the servers' weights, while no process samples. Each process spreads its
own prompts over the servers that had the new weights then. Of a policy with adapters, servers get these as such after
each update, and the other weights once.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from medssr.config.arrangements import ADAPTERS_NEED_FOLDER
from medssr.engines.completions import stop_strings
from medssr.engines.packed_weights import NamedWeight
from medssr.engines.served_adapters import VERSION_PREFIX
from medssr.engines.server_pool import Job, ServerPool
from medssr.engines.streaming import Answers, Request, in_order, requests_of
from medssr.engines.sync_check import SyncGapHistory, measure_sync_gap
from medssr.engines.types import Completion, Sampling
from medssr.engines.vllm_requests import (
    check_requests,
    cropped,
    num_completions,
    num_distinct,
    num_tokens,
    read_samples,
)
from medssr.engines.vllm_server import ServerDownError, VLLMServer
from medssr.engines.weight_transfer import TransferBrokenError, pushed_weights
from medssr.engines.weight_update import WeightUpdater
from medssr.errors import InputError
from medssr.models.lora import has_adapters
from medssr.models.policy import Policy
from medssr.models.sharding import is_sharded
from medssr.utils.processes import from_first_process, gather_objects, rank

log = logging.getLogger(__name__)

# An upper bound on usual block sizes of prefix caches, in tokens; servers do not report theirs.
_CACHE_BLOCK_SIZE = 128
# Seconds between two attempts to reach a lost server, for each second that the first took.
_RETRY_RATIO = 10


@dataclass(frozen=True, slots=True)
class _Update:
    """What the first process tells the others of an update of the servers' weights.

    Attributes:
        ready: Addresses of the servers that have the new weights.
        lost: The reason why another server does not, by its address.
        max_len: Maximum number of tokens of prompt and completion on all ready servers.
        is_broken: Whether the transfer broke and has to be repeated.
    """

    ready: list[str]
    lost: dict[str, str]
    max_len: int
    is_broken: bool


class VLLMServerEngine:
    """Samples with vLLM servers, which have the policy's weights or get them here; both cases are checked.

    A prompt is sent once, with the number of its completions; its first seed determines them (see VLLMEngine),
    independent of the server. Without a training, a server that failed is tried again with the next prompts; in
    training, with the next update.

    Args:
        policy: Model and tokenizer.
        addresses: The addresses of the servers.
        model: Name of the model on the servers; None for the first that each serves.
        max_concurrency: Maximum number of completions that a process has under way on a server.
        timeout_s: Time-out in seconds of the completions of a prompt, and of each part of a weight update.
        weights_dir: The folder for weights and adapters, which the servers see under the same path; None for servers
            that keep their weights, or get them without a file.
        max_logp_gap: The run stops if a server and the policy differ by more nats per token.
        overlap: When a training samples (see OverlappingEngine).

    Raises:
        InputError: When there is no address, or one is not a URL.
    """

    # A server on this machine may fill the GPU that the policy would go to.
    fills_gpu: ClassVar[bool] = True

    def __init__(
        self,
        policy: Policy,
        addresses: Sequence[str],
        model: str | None,
        max_concurrency: int,
        timeout_s: float,
        weights_dir: str | None,
        max_logp_gap: float,
        overlap: str | None,
    ) -> None:
        if not addresses:
            raise InputError("rollout.addresses: is empty; give at least one, such as [http://localhost:8000].")
        folder = None if weights_dir is None else Path(weights_dir).resolve()
        self.overlap = overlap
        self._policy = policy
        servers = [VLLMServer(address, model, timeout_s) for address in dict.fromkeys(addresses)]
        self._pool = ServerPool(servers, max_concurrency)
        self._updater = WeightUpdater(self._pool, policy, folder, timeout_s)
        self._has_folder = folder is not None
        self._model = model
        self._max_logp_gap = max_logp_gap
        self._max_len = policy.model.config.max_position_embeddings
        self._run = uuid.uuid4().hex[:8]
        self._version: str | None = None  # what servers call the weights that they were given; None if they keep theirs
        self._gaps = SyncGapHistory()
        self._is_interrupted = False
        self._num_syncs = 0  # from the first, `sync_weights` keeps the servers, and not each `generate`

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns for each prompt one completion per seed (see RolloutEngine).

        Raises:
            InputError: When no server is left, or one refuses a request or has other weights than the policy.
        """
        return in_order(self.stream([requests_of(prompts, seeds)], sampling), len(prompts))

    def stream(self, batches: Iterable[Sequence[Request]], sampling: Sampling) -> Answers:
        """Yields the index of each request with its completions (see StreamingEngine).

        Without a training, servers that were lost are tried again before each batch.

        Raises:
            InputError: As `generate`.
        """
        yield from self._spread(batches if self._num_syncs else self._reconnecting(batches), sampling)

    def reserve(self, num_tokens: Callable[[], int]) -> None:
        """Does nothing: the servers have been started with the context that they have."""

    def sync_weights(self, model: Any) -> float:
        """Copies the current weights of `model` to all servers, and checks that each has them.

        Returns the largest difference of their log-probs, in nats per token. All processes call it together. The first
        one alone asks the servers for anything, and tells the others which are ready; all take part in gathering the
        weights and in the forward pass of the check, if the model is sharded.

        Raises:
            InputError: In all processes, when the weights cannot be sent, no server is left, or one differs from the
                trainer afterwards.
        """
        assert model is self._policy.model, "the engine was created for another policy"
        run = gather_objects(self._run)[0]  # from here no process samples
        if self._num_syncs == 0:
            self._check_adapters(is_training=True)
        self._num_syncs += 1
        self._version = f"{VERSION_PREFIX}{run}-{self._num_syncs}"
        update = self._update_together(self._pool.servers)
        while update.is_broken:
            update = self._update_together(self._not_lost(self._pool.servers))
        self._pool.assign(update.ready, update.lost)
        self._max_len = update.max_len
        self._pool.check_any_left()
        return self._check_together()

    def interrupt(self) -> None:
        """Ends the requests of a `generate` under way in another thread, which raises InterruptedError."""
        self._is_interrupted = True
        for server in self._pool.servers:
            server.abort()

    def release_memory(self) -> None:
        """Does nothing: the servers' memory is their own."""

    def close(self) -> None:
        """Removes the weights that were written; the servers keep running."""
        self._updater.close()

    def _spread(self, batches: Iterable[Sequence[Request]], sampling: Sampling) -> Answers:
        """Yields the index of each request with its completions."""

        def ask(server: VLLMServer, request: Request) -> list[Completion]:
            try:
                if request.scored:
                    completions = [self._score(server, request)]
                else:
                    completions = self._complete(server, request.prompt, request.seeds, sampling)
                self._check_version(server)
            except ServerDownError:
                if self._is_interrupted:
                    raise InterruptedError("the sampling was ended") from None
                raise
            return completions

        batches = iter(batches)
        first_batch = next(batches, ())
        first_server = rank() * len(first_batch)  # so that processes with few prompts begin with different servers
        jobs = (self._jobs(batch, sampling) for batch in chain([first_batch], batches))
        with closing(self._pool.spread(jobs, first_server, ask)) as answers:
            for request, completions in answers:
                yield request.index, completions

    def _jobs(self, requests: Sequence[Request], sampling: Sampling) -> list[Job[Request]]:
        requests = [cropped(request, self._max_len) for request in requests]
        check_requests(requests, sampling, self._max_len)
        jobs = []
        for request in requests:
            number, length = num_completions(request, sampling), len(request.prompt)
            jobs.append(Job(request, number, length + number * (num_tokens(request, sampling) - length)))
        return jobs

    def _reconnecting(self, batches: Iterable[Sequence[Request]]) -> Iterator[Sequence[Request]]:
        """Yields the batches; before each, lost servers are tried again, in vain for a tenth of the time at most."""
        next_try = 0.0
        for batch in batches:
            num_ready, start = len(self._pool.ready), time.monotonic()
            if num_ready < len(self._pool.servers) and start >= next_try:
                self._connect()
                if len(self._pool.ready) == num_ready:
                    next_try = time.monotonic() + _RETRY_RATIO * (time.monotonic() - start)
            yield batch

    def _connect(self) -> None:
        """Prepares the servers that are not ready, from this process alone."""
        assert not self._policy.model.training, "in training, all processes sync the weights before they sample"
        ready = list(self._pool.ready)
        servers = [server for server in self._pool.servers if server not in ready]
        if not ready:
            self._check_adapters(is_training=False)
        if self._has_folder:
            self._version = f"{VERSION_PREFIX}{self._run}-0"
            update = self._update(servers, pushed_weights(self._policy))
            while update.is_broken:
                update = self._update(self._not_lost(servers), pushed_weights(self._policy))
            self._pool.assign([server.address for server in ready] + update.ready, update.lost)
            self._max_len = update.max_len
        else:
            lengths = self._pool.each(servers, VLLMServer.check)
            self._max_len = min([self._max_len, *lengths.values()])
            for server in lengths:
                self._pool.include(server)
        new = [server for server in self._pool.ready if server not in ready]
        self._judge(new, self._measure_gaps(new, self._sample))

    def _check_adapters(self, *, is_training: bool) -> None:
        """Refuses adapters that servers would not have, for want of a folder to give them by.

        Raises:
            InputError: In training, and for servers that are not asked for adapters that they serve by themselves.
        """
        if not has_adapters(self._policy.model) or self._has_folder:
            return
        if is_training:
            raise InputError(f"rollout.weights_dir: {ADAPTERS_NEED_FOLDER}")
        if self._model is None:
            raise InputError(
                "rollout.model: null, but the policy has adapters (model.adapter_path), and the servers may have the "
                "base model alone. Give rollout.weights_dir, and they get the adapters; or serve these (vllm serve "
                "BASE --enable-lora --lora-modules NAME=FOLDER) and give rollout.model=NAME."
            )

    def _not_lost(self, servers: Sequence[VLLMServer]) -> list[VLLMServer]:
        return [server for server in servers if server.address not in self._pool.lost]

    def _update_together(self, servers: Sequence[VLLMServer]) -> _Update:
        """Returns in all processes how the first one's update of its servers ended; see `sync_weights`."""
        weights = pushed_weights(self._policy)
        if rank() != 0 and is_sharded(self._policy.model):
            _exhaust(weights)
        return from_first_process(lambda: self._update(servers, weights))

    def _update(self, servers: Sequence[VLLMServer], weights: Iterator[NamedWeight]) -> _Update:
        is_broken = False
        lengths: dict[VLLMServer, int] = {}
        try:
            assert self._version is not None
            lengths = self._updater.update(servers, weights, self._version)
        except TransferBrokenError as error:
            log.warning("the transfer of weights broke: %s", error)
            is_broken = True
        finally:
            if is_sharded(self._policy.model):
                _exhaust(weights)  # the other processes gather all of them
        for server in lengths:
            self._pool.include(server)
        max_len = min([self._max_len, *lengths.values()])
        ready = [server.address for server in lengths]
        return _Update(ready, dict(self._pool.lost), max_len, is_broken)

    def _check_together(self) -> float:
        """Checks the log-probs of all ready servers in all processes, and returns the largest difference."""
        servers = list(self._pool.ready)
        if is_sharded(self._policy.model):

            def sample(*request: Any) -> dict[str, list[list[Completion]] | str]:
                return from_first_process(lambda: self._sample(*request))

            gaps = gather_objects(self._measure_gaps(servers, sample))[0]
        else:
            gaps = from_first_process(lambda: self._measure_gaps(servers, self._sample))
        self._judge(servers, gaps)
        largest = max(gap for gap in gaps.values() if not isinstance(gap, str))
        warning = self._gaps.add(largest)
        if warning is not None and rank() == 0:
            log.warning(warning)
        return largest

    def _measure_gaps(self, servers: Sequence[VLLMServer], sample_all: Callable[..., Any]) -> dict[str, float | str]:
        """Returns, by address, the log-prob difference between a server and the policy, or why the server is lost."""
        answers: dict[str, list[list[Completion]] | str] = {}
        gaps: dict[str, float | str] = {}
        for server in servers:

            def sample(prompts: Any, seeds: Any, sampling: Sampling, address: str = server.address) -> Any:
                if not answers:  # of all servers, at the same time
                    answers.update(sample_all(servers, prompts, seeds, sampling))
                if isinstance(answers[address], str):
                    raise ServerDownError(answers[address])
                return answers[address]

            try:
                gaps[server.address] = measure_sync_gap(self._policy, sample, _CACHE_BLOCK_SIZE, self._max_len)
            except ServerDownError as error:
                gaps[server.address] = str(error)
        return gaps

    def _judge(self, servers: Sequence[VLLMServer], gaps: Mapping[str, float | str]) -> None:
        """Excludes the servers that are lost.

        Raises:
            InputError: When no server is left, or one differs too much.
        """
        for server in servers:
            gap = gaps[server.address]
            if isinstance(gap, str):
                self._pool.exclude(server, gap)
                continue
            log.debug("%s: its log-probs differ by %.2g nats per token", server.address, gap)
            if not gap <= self._max_logp_gap:  # also true for NaN
                remedy = (
                    "serve the folder of model.path there, or give rollout.weights_dir"
                    if self._version is None
                    else "it does not take this model's weights right: try another version of vLLM, or rollout=hf"
                )
                raise InputError(
                    f"rollout.addresses: the log-probs of {server.address} differ from the policy's by {gap:.3g} nats "
                    f"per token (rollout.max_logp_gap is {self._max_logp_gap:g}). It was started without "
                    f"--logprobs-mode processed_logprobs, or it has other weights: {remedy}."
                )
        self._pool.check_any_left()

    def _sample(
        self, servers: Sequence[VLLMServer], prompts: list[list[int]], seeds: list[list[int]], sampling: Sampling
    ) -> dict[str, list[list[Completion]] | str]:
        """Returns, by address, what each server answers to all prompts, or why it is lost."""

        def ask(server: VLLMServer) -> list[list[Completion]]:
            rows = zip(prompts, seeds, strict=True)
            return [self._complete(server, prompt, row, sampling) for prompt, row in rows]

        answers = self._pool.each(servers, ask)
        return {server.address: answers.get(server, self._pool.lost.get(server.address, "")) for server in servers}

    def _complete(
        self, server: VLLMServer, prompt: list[int], seeds: Sequence[int], sampling: Sampling
    ) -> list[Completion]:
        eos_ids, stop = sorted(self._policy.eos_token_ids), stop_strings(self._policy, sampling)
        number = num_distinct(len(seeds), sampling)
        samples = server.complete(prompt, number, seeds[0], sampling, eos_ids, stop, self._adapters())
        token_rows, logp_rows = [tokens for tokens, _ in samples], [logps for _, logps in samples]
        return read_samples(self._policy, token_rows, logp_rows, len(seeds), sampling)

    def _score(self, server: VLLMServer, request: Request) -> Completion:
        logps = server.score_next(request.prompt, request.scored, self._adapters())
        return Completion(list(request.scored), logps, "", is_truncated=False)

    def _adapters(self) -> str | None:
        """Returns the name of the adapters that servers were given; None if they have none or serve them themselves."""
        return self._version if has_adapters(self._policy.model) else None

    def _check_version(self, server: VLLMServer) -> None:
        """Raises ServerDownError if a server does not have the weights that it was given.

        A server that was started again meanwhile has those of its folder.
        """
        if self._version is not None and server.weight_version() != self._version:
            raise ServerDownError(
                "it has other weights than it was given; it was started again, or another run uses it"
            )


def _exhaust(weights: Iterator[NamedWeight]) -> None:
    """Takes part in gathering the weights that are left."""
    for _ in weights:
        pass
