"""An engine for tests of interrupted commands."""

from __future__ import annotations

from medssr.engines.hf_engine import HFEngine
from medssr.models.policy import Policy


class Breaking(HFEngine):
    """Raises KeyboardInterrupt at its second call, once per process."""

    num_calls = 0

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy, max_batch_size=64)

    def generate(self, prompts, seeds, sampling):
        Breaking.num_calls += 1
        if Breaking.num_calls == 2:
            raise KeyboardInterrupt
        return super().generate(prompts, seeds, sampling)
