"""An engine with its own copy of the weights, which can sample in one thread while another trains."""

from __future__ import annotations

import threading
from copy import deepcopy
from dataclasses import replace

from medssr.engines.hf_engine import HFEngine
from medssr.errors import InputError
from medssr.models.policy import Policy


class CopiedEngine(HFEngine):
    """Samples like HFEngine with a copy of the policy, which is renewed with each sync.

    A server has a tokenizer of its own, and so has the copy.

    Attributes:
        versions: For each call in turn, the number of syncs before it, and whether another thread than the main one
            made it.
        may_answer: Calls of other threads wait for it.
        fails_at: The call that raises an error.
    """

    fills_gpu = False

    def __init__(self, policy: Policy, max_batch_size: int = 64, overlap: str | None = None) -> None:
        self.overlap = overlap
        self._source = policy
        super().__init__(replace(policy, model=deepcopy(policy.model), tokenizer=deepcopy(policy.tokenizer)), 64)
        self._num_syncs = 0
        self.versions: list[tuple[int, bool]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.fails_at: int | None = None
        self._is_interrupted = False

    def sync_weights(self, model):
        self._policy.model.load_state_dict(model.state_dict())
        self._num_syncs += 1

    def interrupt(self):
        self._is_interrupted = True
        self.may_answer.set()

    def generate(self, prompts, seeds, sampling):
        is_aside = threading.current_thread() is not threading.main_thread()
        self.versions.append((self._num_syncs, is_aside))
        if len(self.versions) == self.fails_at:
            raise InputError("rollout: no server is left")
        if is_aside:
            assert self.may_answer.wait(60)
        if self._is_interrupted:
            raise InterruptedError
        return super().generate(prompts, seeds, sampling)
