"""Engines that sample beside training, without a server, and a slow optimiser: `one_step_ahead.py` uses them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from torch.optim import AdamW

from medssr.engines.hf_engine import HFEngine
from medssr.engines.types import Completion, Sampling
from medssr.models.policy import Policy


class CopiedEngine(HFEngine):
    """Samples with a copy of the policy, which is renewed with each sync; to be interrupted, it has to finish."""

    def __init__(self, policy: Policy, max_batch_size: int, overlap: str | None) -> None:
        """Copies model and tokenizer."""
        self.overlap = overlap
        copy = replace(policy, model=deepcopy(policy.model), tokenizer=deepcopy(policy.tokenizer))
        super().__init__(copy, max_batch_size)

    def sync_weights(self, model: Any) -> None:
        """Copies the weights."""
        self._policy.model.load_state_dict(model.state_dict())

    def interrupt(self) -> None:
        """Does nothing: a sampling takes a second."""


class DelayedAdamW(AdamW):
    """AdamW whose step takes a fixed time longer, in which it leaves the processors alone."""

    def __init__(self, params: Any, seconds: float, **settings: Any) -> None:
        """Takes the time, and the settings of AdamW."""
        super().__init__(params, **settings)
        self._seconds = seconds

    def step(self, closure: Any = None) -> Any:
        """Waits, and takes the step."""
        time.sleep(self._seconds)
        return super().step(closure)


class DelayedEngine:
    """Answers after a fixed time, in which it leaves the processors alone, with random tokens and the letter A or B.

    Args:
        policy: Its vocabulary is sampled from.
        max_batch_size: Has no effect.
        seconds: The time of each call.
        num_tokens: The length of a completion.
        overlap: When a training samples.
    """

    fills_gpu = False

    def __init__(
        self, policy: Policy, max_batch_size: int, seconds: float, num_tokens: int, overlap: str | None
    ) -> None:
        self.overlap = overlap
        self._vocabulary = len(policy.tokenizer)
        self._seconds = seconds
        self._num_tokens = num_tokens
        self._is_interrupted = threading.Event()

    def generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Returns one completion per seed (see medssr.engines.types.RolloutEngine)."""
        if self._is_interrupted.wait(self._seconds):
            raise InterruptedError
        return [[self._completion(seed) for seed in row] for row in seeds]

    def _completion(self, seed: int) -> Completion:
        draw = random.Random(seed)
        tokens = [draw.randrange(self._vocabulary) for _ in range(self._num_tokens)]
        return Completion(tokens, [-1.0] * len(tokens), f"The answer is {draw.choice('AB')}.", is_truncated=False)

    def interrupt(self) -> None:
        """Ends a call under way."""
        self._is_interrupted.set()

    def reserve(self, num_tokens: int) -> None:
        """Does nothing."""

    def sync_weights(self, model: Any) -> None:
        """Does nothing."""

    def release_memory(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""
