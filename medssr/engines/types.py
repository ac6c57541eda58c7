"""Sampling settings, completions, and the interface of rollout engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are sampled.

    Attributes:
        temperature: Divides the logits; 0 means greedy decoding.
        max_new_tokens: The length at which completions are truncated.
        top_p: Nucleus sampling: keeps the smallest set of tokens with this mass; 1 keeps all.
        top_k: Keeps the k likeliest tokens; 0 keeps all.
        has_logps: Whether log-probs are needed; otherwise an engine may omit them to save time.
        stop: Strings that end a completion, in addition to those of the policy.
    """

    temperature: float
    max_new_tokens: int
    top_p: float = 1.0
    top_k: int = 0
    has_logps: bool = True
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer.

    Attributes:
        token_ids: The sampled tokens, including the end token, or the tokens of the stop string that ended it.
        logps: Log-prob of each token under the distribution that it was sampled from; may be empty if the sampling does
            not need them.
        text: The decoded text without special tokens, up to a stop string.
        is_truncated: Whether it reached `max_new_tokens` without an end token and without a stop string.
    """

    token_ids: list[int]
    logps: list[float]
    text: str
    is_truncated: bool


class RolloutEngine(Protocol):
    """Samples completions.

    The completions of a prompt are a pure function of weights, prompt, sampling and the prompt's seeds; they do not
    depend on other prompts.

    Attributes:
        fills_gpu: Whether the engine, or a server of it on this machine, may fill the GPU's memory with a copy of the
            weights, so that outside training the policy must stay on the CPU.
    """

    fills_gpu: ClassVar[bool]

    def reserve(self, num_tokens: Callable[[], int]) -> None:
        """Announces the longest prompt plus completion to come, so that an engine starts with room for it.

        Args:
            num_tokens: Returns their tokens. An engine that does not need to know does not call it, since it encodes
                all prompts: a minute for 200,000.
        """
        ...

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns for each prompt one completion per seed.

        Args:
            prompts: Token ids of each prompt.
            seeds: The seeds of each prompt's completions; the same number for every prompt.
            sampling: How tokens are sampled.
        """
        ...

    def sync_weights(self, model: Any) -> float | None:
        """Copies the current weights of `model` to the engine, before the first training step and after each update.

        All processes of a training call it together; it is the only method with collective calls. Returns the mean
        difference of the engine's log-probs from the model's after it, in nats per token; None if it was not measured.
        """
        ...

    def release_memory(self) -> None:
        """Frees the GPU memory that an update needs; the next `sync_weights` takes it again."""
        ...

    def close(self) -> None:
        """Frees the resources of the engine."""
        ...


@runtime_checkable
class OverlappingEngine(RolloutEngine, Protocol):
    """An engine that can sample in one thread while another trains: it has its own copy of the weights.

    Its `generate` makes no collective calls.

    Attributes:
        overlap: ONE_STEP if the completions of a step are to be sampled while the step before it trains; None if
            sampling and training take turns.
    """

    overlap: str | None

    def interrupt(self) -> None:
        """Lets a `generate` under way in another thread raise an exception soon; the engine is closed after it."""
        ...
