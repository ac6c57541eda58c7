"""What every rollout engine offers; training, labelling and evaluation know no more of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from medssr.rollout.types import Completion, Sampling


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
