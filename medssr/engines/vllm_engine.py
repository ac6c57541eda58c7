"""Generation with vLLM in this process, with a copy of the trainer's weights that every update refreshes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from medssr.engines.completions import stop_strings
from medssr.engines.sync_check import measure_sync_gap
from medssr.engines.types import Completion, Sampling
from medssr.engines.vllm_process import (
    VLLMProcess,
    VLLMSettings,
    check_installation,
    check_requests,
    num_distinct,
    preserve_process_state,
    read_samples,
)
from medssr.errors import InputError
from medssr.models.lora import merged_weights
from medssr.models.policy import Policy

log = logging.getLogger(__name__)


class VLLMEngine:
    """Samples with vLLM, which starts with the first prompt and then copies the policy's weights.

    A prompt is sent once, with the number of its completions; vLLM seeds sample i with the request's seed plus i. So
    the first seed of a prompt determines its completions, independent of order, batch and process.

    Args:
        policy: Model and tokenizer.
        max_num_seqs: Number of completions that are generated at the same time.
        max_model_len: Maximum number of tokens of prompt and completion; None for the model's limit.
        gpu_memory_utilization: Fraction of a GPU's memory that vLLM may use, weights included.
        cpu_kv_cache_gib: Memory of the key-value cache if there is no GPU.
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
        max_logp_gap: float,
    ) -> None:
        longest = policy.model.config.max_position_embeddings
        if max_model_len is not None and max_model_len > longest:
            raise InputError(f"rollout.max_model_len: {max_model_len}; the model's context has {longest} tokens.")
        check_installation()
        self._policy = policy
        self._settings = VLLMSettings(max_num_seqs, max_model_len, gpu_memory_utilization, cpu_kv_cache_gib)
        self._max_len = longest if max_model_len is None else max_model_len
        self._max_logp_gap = max_logp_gap
        self._process: VLLMProcess | None = None
        self._is_asleep = False

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns for each prompt one completion per seed (see RolloutEngine).

        Raises:
            InputError: When vLLM cannot be started, does not take the temperature, or a prompt is too long for
                `max_model_len`.
        """
        check_requests(prompts, sampling, self._max_len)
        if self._process is None:
            self.sync_weights(self._policy.model)
        assert self._process is not None
        assert not self._is_asleep, "weights are synced between an update and the next rollout"
        return self._sample(self._process, prompts, seeds, sampling)

    def sync_weights(self, model: Any) -> None:
        """Copies the current weights of `model` to vLLM, which it starts if needed, and checks that the log-probs agree.

        Raises:
            InputError: When vLLM cannot be started, or trainer and engine differ by more than `max_logp_gap`.
        """
        assert model is self._policy.model, "the engine was created for another policy"
        if self._process is None:
            self._process = VLLMProcess(self._policy, self._settings)
        self._load_weights(self._process)

    def release_memory(self) -> None:
        """Lets vLLM sleep at level 2 on a GPU, which discards its weights, because the update changes them."""
        if self._process is not None and torch.cuda.is_available():
            self._process.llm.sleep(level=2)
            self._is_asleep = True

    def close(self) -> None:
        """Shuts vLLM down and frees its memory."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _load_weights(self, process: VLLMProcess) -> None:
        """Copies the trainer's weights to vLLM, empties its prefix cache, and checks that the log-probs agree."""
        with preserve_process_state():
            if self._is_asleep:
                process.llm.wake_up(["weights"])
            process.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": _weights(self._policy.model)})
            if self._policy.model.config.tie_word_embeddings and not torch.cuda.is_available():
                process.llm.apply_model(_rebuild_head)
            if self._is_asleep:
                process.llm.wake_up(["kv_cache"])
                self._is_asleep = False
            is_reset = process.llm.reset_prefix_cache()
        assert is_reset, "requests are running, so the key-value cache of the old weights is still in use"
        self._check_sync(process)

    def _check_sync(self, process: VLLMProcess) -> None:
        def sample(prompts: list[list[int]], seeds: list[list[int]], sampling: Sampling) -> list[list[Completion]]:
            return self._sample(process, prompts, seeds, sampling)

        gap = measure_sync_gap(self._policy, sample, process.cache_block_size, self._max_len)
        log.debug("vLLM has new weights; its log-probs differ by %.2g nats per token", gap)
        if not gap <= self._max_logp_gap:  # also true for NaN
            raise InputError(
                f"rollout: vLLM's log-probs differ from the trainer's by {gap:.3g} nats per token after it was given "
                f"the trainer's weights (rollout.max_logp_gap is {self._max_logp_gap:g}; rounding makes 0.00001 in "
                "float32 and 0.03 in bfloat16). It would sample from another policy than the one that is trained, so "
                "the run stops. Look for NaN weights (train/grad_norm); else this vLLM does not take this model's "
                "weights right: try another version, or rollout=hf."
            )

    def _sample(
        self, process: VLLMProcess, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        from vllm import SamplingParams

        eos_ids = sorted(self._policy.eos_token_ids)
        stop = list(stop_strings(self._policy, sampling))
        params = [
            SamplingParams(
                n=num_distinct(len(row), sampling),
                seed=row[0],
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                max_tokens=sampling.max_new_tokens,
                ignore_eos=True,  # vLLM uses one such token; the policy may have several
                stop_token_ids=eos_ids,
                logprobs=0 if sampling.has_logps else None,  # 0: only of the sampled token
                flat_logprobs=True,
                stop=stop,
                detokenize=bool(stop),
            )
            for row in seeds
        ]
        with preserve_process_state():
            requests = [{"prompt_token_ids": prompt} for prompt in prompts]
            outputs = process.llm.generate(requests, params, use_tqdm=False)
        return [
            self._completions(output.outputs, len(row), sampling) for output, row in zip(outputs, seeds, strict=True)
        ]

    def _completions(self, samples: Sequence[Any], num_samples: int, sampling: Sampling) -> list[Completion]:
        token_rows = [list(sample.token_ids) for sample in samples]
        logp_rows = [list(sample.logprobs.logprobs) if sampling.has_logps else [] for sample in samples]
        return read_samples(self._policy, token_rows, logp_rows, num_samples, sampling)


def _weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields each weight with the name that vLLM uses; a head tied to the embeddings is left out."""
    is_tied = model.config.tie_word_embeddings
    return ((name, weight) for name, weight in merged_weights(model) if not (is_tied and name.startswith("lm_head.")))


def _rebuild_head(model: Any) -> None:
    """Rebuilds the tied head: on a CPU it is a packed copy of the embeddings, which a reload does not update."""
    model.lm_head.quant_method.process_weights_after_loading(model.lm_head)
