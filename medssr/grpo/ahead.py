"""Samples the completions of the next training step while the present one trains (`rollout.overlap=one_step`).

::

    trainer   | rewards of step k | train on step k ...................... | wait | weights to the engine |
    engine                        | completions of step k + 1 |

The engine has the weights of the end of step k - 1, and gets new ones once it has ended: so all completions that are
sampled ahead come from the same weights, and a run depends on its seeds and not on how long anything takes. The first
step samples and trains in turns. The thread that waits for the engine makes no collective calls.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from typing import Any

from medssr.engines.types import Completion, OverlappingEngine, RolloutEngine
from medssr.grpo.rollouts import Asked, RolloutCollector
from medssr.questions import Question
from medssr.training.step_loader import StepBatch
from medssr.utils import stopping
from medssr.utils.processes import fail_together, gather_objects
from medssr.utils.stopping import Stopped

# Seconds between looks for a signal, and between attempts to end a sampling.
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class SampledStep:
    """Completions that were sampled before their step began.

    Attributes:
        step: The index of the step; None if there are no completions.
        completions: By question and prompt.
    """

    step: int | None = None
    completions: Mapping[Asked, list[Completion]] = field(default_factory=dict)

    def only(self, questions: Iterable[Question]) -> SampledStep:
        """Returns the step with the completions of some questions alone."""
        ids = {question.id for question in questions}
        return SampledStep(self.step, {asked: row for asked, row in self.completions.items() if asked[0] in ids})

    def state_dict(self) -> dict[str, Any]:
        """Returns the step with the completions of all processes, for the checkpoint; all call it together."""
        parts = gather_objects(dict(self.completions))
        merged = {asked: completions for part in parts for asked, completions in part.items()}
        rows = [
            {"question_id": name, "prompt_ids": list(prompt), "completions": [asdict(one) for one in completions]}
            for (name, prompt), completions in merged.items()
        ]
        return {"step": self.step, "rows": rows}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SampledStep:
        """Returns the step of a checkpoint, with the completions of all processes."""
        completions = {
            (row["question_id"], tuple(row["prompt_ids"])): [Completion(**one) for one in row["completions"]]
            for row in state["rows"]
        }
        return cls(state["step"], completions)


def samples_ahead(engine: RolloutEngine) -> bool:
    """Returns whether an engine samples while the policy trains."""
    return isinstance(engine, OverlappingEngine) and engine.overlap is not None


class StepAhead:
    """Samples one step ahead in a thread.

    Args:
        rollouts: Samples the completions; its engine can do so while the policy trains (`samples_ahead`).

    Attributes:
        sampled: The completions of the step that trains, or of the next one between two steps.
    """

    checkpoint_key = "sampled_ahead"

    def __init__(self, rollouts: RolloutCollector) -> None:
        assert samples_ahead(rollouts.engine)
        self._rollouts = rollouts
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="rollout")
        self._running: Future[SampledStep] | None = None
        self._begun: int | None = None  # the step that trains
        self.sampled = SampledStep()

    def of_step(self, step: int, questions: Sequence[Question]) -> Mapping[Asked, list[Completion]]:
        """Returns the completions of a step that are already there.

        When the step begins, those of other questions are forgotten: what a checkpoint had of other processes'
        questions is by other weights than what is sampled now, in rounds of dynamic sampling.
        """
        if self._begun != step:
            self._begun = step
            self.sampled = self.sampled.only(questions) if self.sampled.step == step else SampledStep()
        return self.sampled.completions

    def start(self, batch: StepBatch[Question] | None) -> None:
        """Starts to sample the completions of this process's questions of the next step; None: there is none."""
        if batch is None:
            return
        prompts = self._rollouts.encode(batch.items)  # here, since another thread may not use the tokenizer at once

        def sample() -> SampledStep:
            rows = self._rollouts.sample(batch.step, batch.items, prompts)
            asked = [(question.id, tuple(prompt)) for question, prompt in zip(batch.items, prompts, strict=True)]
            return SampledStep(batch.step, dict(zip(asked, rows, strict=True)))

        self._running = self._threads.submit(sample)

    def finish(self) -> None:
        """Waits for the completions of the next step; all processes call it together, before weights change.

        Raises:
            InputError: In all processes, when the engine raises it in any.
            Stopped: In all processes, when a signal came and some engine does not end soon after it.
        """
        is_done = fail_together(self._timed_wait)
        if not all(gather_objects(is_done)):
            raise Stopped(max(gather_objects(stopping.received() or 0)))
        self.sampled = SampledStep() if self._running is None else self._running.result()
        self._running = None

    def state_dict(self) -> dict[str, Any]:
        """Returns what has been sampled ahead in all processes, and how; all call it together."""
        return self.sampled.state_dict() | {"sampling": self._rollouts.sampling_settings()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes the completions of a checkpoint for the next step, if they would be sampled with the same settings."""
        if state["sampling"] == self._rollouts.sampling_settings():
            self.sampled = SampledStep.from_state(state)

    def close(self) -> None:
        """Ends a sampling that is under way."""
        while self._running is not None and wait([self._running], timeout=_LOOK_S).not_done:
            engine = self._rollouts.engine
            assert isinstance(engine, OverlappingEngine)
            engine.interrupt()
        self._threads.shutdown()

    def _timed_wait(self) -> bool:
        with self._rollouts.times.part("rollout"):
            return self._wait()

    def _wait(self) -> bool:
        """Returns whether the completions are there, and not still under way some seconds after a signal."""
        if self._running is None:
            return True
        deadline: float | None = None
        while wait([self._running], timeout=_LOOK_S).not_done:
            if deadline is None and stopping.received() is not None:
                deadline = time.monotonic() + stopping.PATIENCE_S
            if deadline is not None and time.monotonic() > deadline:
                return False
        self._running.result()
        return True
