"""Records of generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: Divides the logits; 0 takes the likeliest token each time.
        max_new_tokens: Completions are cut here.
        top_p: Nucleus: the smallest set of tokens with this mass stays; 1 keeps all.
        top_k: The k likeliest tokens stay; 0 keeps all.
        has_logps: Whether log-probabilities are wanted; an engine may leave them out otherwise, where they take time.
    """

    temperature: float
    max_new_tokens: int
    top_p: float = 1.0
    top_k: int = 0
    has_logps: bool = True


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer.

    Attributes:
        token_ids: The sampled tokens, the end-of-sequence token included.
        logps: Log-probability of each of them under the distribution that they were drawn from; may be empty where
            the sampling does not ask for them.
        text: The tokens as text, control tokens left out.
        is_truncated: Whether `max_new_tokens` cut it before an end-of-sequence token.
    """

    token_ids: list[int]
    logps: list[float]
    text: str
    is_truncated: bool


class RolloutEngine(Protocol):
    """Samples completions.

    Those of a prompt are a pure function of weights, prompt, sampling and the prompt's seeds; not of the other prompts.

    Attributes:
        fills_gpu: Whether it takes the GPU's memory for weights of its own, so that the policy has to stay off it.
    """

    fills_gpu: ClassVar[bool]

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns for each prompt one completion per seed.

        Args:
            prompts: Token ids of each prompt.
            seeds: For each prompt the seeds of its completions; the same number for every prompt.
            sampling: How tokens are drawn.
        """
        ...

    def sync_weights(self, model: Any) -> None:
        """Makes the engine generate with the weights that `model` has now."""
        ...

    def close(self) -> None:
        """Frees what the engine holds."""
        ...
