"""What the policy wrote, to read: a table of completions every few steps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L

from medssr.grpo.rollouts import StepRollouts
from medssr.utils.files import write_lines_atomically


class CompletionTable(L.Callback):
    """Writes all completions of some questions of a step, with their rewards, to a file and to Weights & Biases.

    A file holds one step and is named by it: a resumed run writes the steps that it repeats over what was there.

    Args:
        directory: The artefact's folder; files go to `completions/` in it.
        every_num_steps: Steps between tables; the first step has one.
        num_groups: Questions in a table, the first of the step; their order in it is drawn.
    """

    def __init__(self, directory: Path | str, every_num_steps: int, num_groups: int) -> None:
        self._folder = Path(directory) / "completions"
        self._every_num_steps = every_num_steps
        self._num_groups = num_groups

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes when it is time; nothing where no completions are sampled."""
        module: Any = pl_module  # a GRPOModule has a last step
        judged: StepRollouts | None = getattr(module, "last_step", None)
        if judged is None or judged.step % self._every_num_steps or not trainer.is_global_zero:
            return
        rows = completion_rows(judged, self._num_groups, module.rollouts.policy.tokenizer.decode)
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        write_lines_atomically(self._folder / f"step_{judged.step:07d}.jsonl", lines)
        for logger in trainer.loggers:
            if hasattr(logger, "log_table") and rows:
                cells = [[_cell(value) for value in row.values()] for row in rows]
                logger.log_table("completions", list(rows[0]), cells, step=judged.step)


def completion_rows(judged: StepRollouts, num_groups: int, decode: Callable[[list[int]], str]) -> list[dict[str, Any]]:
    """Returns a row for each completion of the first groups of a step; a number that nobody knows is None.

    Args:
        judged: The step.
        num_groups: How many groups.
        decode: Turns the token ids of a prompt into text.
    """
    return [
        {
            "step": judged.step,
            "question_id": group.question.id,
            "prompt": decode(group.prompt_ids),
            "completion": rollout.completion.text,
            "letter": rollout.choice.letter,
            "reason": str(rollout.choice.reason),
            "label": group.question.answer,
            "rewards": {name: _known(found.value) for name, found in rollout.results.items()},
            "faults": {name: found.fault.kind.value for name, found in rollout.results.items() if found.fault},
            "reward": _known(reward),
            "advantage": advantage,
            "is_truncated": rollout.completion.is_truncated,
            "num_tokens": len(rollout.completion.token_ids),
        }
        for group, rewards, advantages in list(zip(judged.groups, judged.rewards, judged.advantages, strict=True))[
            :num_groups
        ]
        for rollout, reward, advantage in zip(group.rollouts, rewards, advantages, strict=True)
    ]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value
