"""Generation with vLLM in this process, with a copy of the trainer's weights that every update refreshes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from medssr.engines.streaming import Answers, Request, in_order, requests_of
from medssr.engines.sync_check import SyncGapHistory, changed_but_stale, measure_sync_gap
from medssr.engines.types import Completion, Sampling
from medssr.engines.vllm_feed import VLLMFeed
from medssr.engines.vllm_installation import check_installation
from medssr.engines.vllm_process import VLLMProcess, VLLMSettings, sum_of_bits
from medssr.engines.vllm_requests import check_length, check_requests, context_limit, cropped, max_lora_rank, num_tokens
from medssr.errors import InputError
from medssr.models.lora import base_weights, has_adapters
from medssr.models.policy import Policy
from medssr.models.sharding import is_sharded
from medssr.utils.processes import fail_together, gather_objects

log = logging.getLogger(__name__)

# vLLM starts with at least this context, so that the prompts of the sync check are longer than a block of its cache.
_MIN_CONTEXT = 256
# Completions under way for each that vLLM can work on at the same time; see VLLMFeed.
_NUM_WAVES = 4


class VLLMEngine:
    """Samples with vLLM, which starts with the first weights or prompt and has a copy of the policy's weights.

    If the policy has adapters, vLLM gets its other weights once, and the adapters as such after every update: merged
    into 16-bit weights, most of a small change would be rounded away.

    A prompt is sent once, with the number of its completions; vLLM seeds sample i with the request's seed plus i. So
    the first seed of a prompt determines its completions, independent of order, batch and process.

    Each trainer of several has its own engine on its own device. vLLM's context is the power of two that the longest
    request needs; it starts again if a longer one comes.

    Args:
        policy: Model and tokenizer.
        max_num_seqs: Number of completions that are generated at the same time.
        max_model_len: Limit of the number of tokens of prompt and completion; None for the model's.
        gpu_memory_utilization: Fraction of a GPU's memory that vLLM may use, weights included.
        cpu_kv_cache_gib: Memory of the key-value cache if there is no GPU.
        sleep: Whether vLLM frees its memory on a GPU while the policy is updated.
        max_logp_gap: The run stops if, after a weight sync, trainer and engine differ by more nats per token.

    Raises:
        InputError: When vLLM is not installed or too old, or a setting is out of range.
    """

    fills_gpu: ClassVar[bool] = True

    def __init__(
        self,
        policy: Policy,
        max_num_seqs: int,
        max_model_len: int | None,
        gpu_memory_utilization: float,
        cpu_kv_cache_gib: float,
        sleep: bool,
        max_logp_gap: float,
    ) -> None:
        self._limit = context_limit(policy, max_model_len)
        check_installation()
        self._policy = policy
        context = min(_MIN_CONTEXT, self._limit)
        rank = max_lora_rank(policy.model)
        self._settings = VLLMSettings(max_num_seqs, context, gpu_memory_utilization, cpu_kv_cache_gib, sleep, rank)
        self._max_logp_gap = max_logp_gap
        self._gaps = SyncGapHistory()
        self._process: VLLMProcess | None = None
        # The sums of the bits of the weights that were last sent to vLLM, and of those that it then had.
        self._sums: tuple[dict[str, int], dict[str, int]] | None = None

    def reserve(self, num_tokens: Callable[[], int]) -> None:
        """Makes vLLM take requests of this length; ends it if it runs with a shorter context.

        Raises:
            InputError: When the length is above the limit.
        """
        self._make_room(num_tokens())

    def _make_room(self, num_tokens: int) -> None:
        check_length(num_tokens, self._limit)
        if num_tokens > self._settings.max_model_len:
            self.close()
            context = min(1 << (num_tokens - 1).bit_length(), self._limit)
            self._settings = replace(self._settings, max_model_len=context)

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns for each prompt one completion per seed (see RolloutEngine).

        Raises:
            InputError: When vLLM cannot be started, does not take the temperature, or a prompt is too long for
                `max_model_len`.
        """
        return in_order(self.stream([requests_of(prompts, seeds)], sampling), len(prompts))

    def stream(self, batches: Iterable[Sequence[Request]], sampling: Sampling) -> Answers:
        """Yields the index of each request with its completions (see StreamingEngine).

        Raises:
            InputError: As `generate`.
        """
        feed: VLLMFeed | None = None
        try:
            for batch in batches:
                batch = [cropped(request, self._limit) for request in batch]
                check_requests(batch, sampling, self._limit)
                longest = max((num_tokens(request, sampling) for request in batch), default=0)
                if feed is not None and longest > self._settings.max_model_len:
                    yield from feed.rest()  # vLLM starts again
                    feed = None
                if feed is None:
                    feed = self._feed(self._ready(longest), sampling)
                for request in batch:
                    while not feed.has_room(request):
                        yield from feed.finished()
                    feed.add(request)
            if feed is not None:
                yield from feed.rest()
        except (Exception, GeneratorExit):
            if feed is not None:
                feed.abort()
            raise

    def sync_weights(self, model: Any) -> float:
        """Copies the current weights of `model` to vLLM, which it starts if needed, and checks that it has them.

        All trainers have to call it. Returns the largest difference of their log-probs, in nats per token.

        Raises:
            InputError: In all of them, when vLLM cannot be started for one, or one differs from its engine by more than
                `max_logp_gap`.
        """
        assert model is self._policy.model, "the engine was created for another policy"
        process = fail_together(self._started)
        problem = self._load_weights(process)
        gaps, problems = zip(*gather_objects((self._measure_gap(process), problem)), strict=True)
        gap: float = max(gaps, key=lambda value: (value != value, value))  # NaN is the largest
        self._check_sync(gap, next(filter(None, problems), None))
        return gap

    def release_memory(self) -> None:
        """Lets vLLM sleep at level 2 on a GPU, which discards its weights, because the update changes them."""
        if self._process is not None:
            self._process.sleep()

    def close(self) -> None:
        """Shuts vLLM down and frees its memory."""
        if self._process is not None:
            self._process.close()
            self._process = None
            self._sums = None

    def _ready(self, longest: int) -> VLLMProcess:
        """Returns vLLM with the policy's weights and a context of at least so many tokens; starts it if needed."""
        self._make_room(longest)
        if self._process is None:
            assert not is_sharded(self._policy.model), "a sharded model's weights are synced by all processes together"
            process = self._started()
            problem = self._load_weights(process)
            self._check_sync(self._measure_gap(process), problem)
            return process
        assert not self._process.is_asleep, "weights are synced between an update and the next rollout"
        return self._process

    def _feed(self, process: VLLMProcess, sampling: Sampling) -> VLLMFeed:
        return VLLMFeed(process, self._policy, sampling, _NUM_WAVES * self._settings.max_num_seqs)

    def _started(self) -> VLLMProcess:
        if self._process is None:
            self._process = VLLMProcess(self._policy, self._settings)
        return self._process

    def _load_weights(self, process: VLLMProcess) -> str | None:
        """Copies the trainer's weights to vLLM; returns the name of one that changed here but not there, if any."""
        sent: dict[str, int] = {}
        is_tied = self._policy.model.config.tie_word_embeddings
        if has_adapters(self._policy.model):
            if not process.has_weights:
                process.load_weights(_weights(self._policy, is_tied, sent), is_tied)
            process.load_adapters(self._policy.model)
            return None
        process.load_weights(_weights(self._policy, is_tied, sent), is_tied)
        before, self._sums = self._sums, (sent, process.weight_sums())
        return None if before is None else changed_but_stale(before, self._sums)

    def _measure_gap(self, process: VLLMProcess) -> float:
        def sample(prompts: list[list[int]], seeds: list[list[int]], sampling: Sampling) -> list[list[Completion]]:
            feed = self._feed(process, sampling)
            for request in requests_of(prompts, seeds):
                feed.add(request)
            return in_order(feed.rest(), len(prompts))

        return measure_sync_gap(self._policy, sample, process.cache_block_size, self._settings.max_model_len)

    def _check_sync(self, gap: float, stale_name: str | None) -> None:
        """Stops the run if vLLM does not have the trainer's weights, and logs a warning if it is in doubt."""
        log.debug("vLLM has new weights; its log-probs differ by %.2g nats per token", gap)
        if stale_name is not None:
            raise InputError(
                f"rollout: vLLM was given the trainer's new weights, but {stale_name} is the old one. It would sample "
                "from an older policy than the one that is trained, so the run stops. This vLLM does not take this "
                "model's weights right: try another version, or rollout=hf."
            )
        if not gap <= self._max_logp_gap:  # also true for NaN
            raise InputError(
                f"rollout: vLLM's log-probs differ from the trainer's by {gap:.3g} nats per token after it was given "
                f"the trainer's weights (rollout.max_logp_gap is {self._max_logp_gap:g}; rounding makes 0.00001 in "
                "float32 and 0.03 in bfloat16). It would sample from another policy than the one that is trained, so "
                "the run stops. Look for NaN weights (train/grad_norm); else this vLLM does not take this model's "
                "weights right: try another version, or rollout=hf."
            )
        warning = self._gaps.add(gap)
        if warning is not None:
            log.warning(warning)


def _weights(policy: Policy, is_tied: bool, sums: dict[str, int]) -> Iterator[tuple[str, Tensor]]:
    """Yields each weight with the name that vLLM uses, but not a head tied to the embeddings, and fills in `sums`."""
    for name, weight in base_weights(policy.model, policy.engine_dtype):
        if is_tied and name.startswith("lm_head."):
            continue
        sums[name] = sum_of_bits(weight)
        yield name, weight
