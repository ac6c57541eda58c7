"""Logs a table of the policy's completions every few steps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L

from medssr.grpo.rollouts import StepRollouts
from medssr.utils.disk_faults import only_watches
from medssr.utils.files import write_lines_atomically


class CompletionTable(L.Callback):
    """Writes all completions of some questions of a step, with their rewards, to a file and to Weights & Biases.

    Each file holds one step and is named by it, so a resumed run overwrites the files of the steps that it repeats.

    Args:
        directory: The artefact's folder; files go to `completions/` in it.
        every_num_steps: Steps between tables; step 0 has one.
        num_groups: Number of questions in a table: the first ones of the step, whose order is random.
    """

    def __init__(self, directory: Path | str, every_num_steps: int, num_groups: int) -> None:
        self._folder = Path(directory) / "completions"
        self._every_num_steps = every_num_steps
        self._num_groups = num_groups

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes a table every `every_num_steps` steps, if the module samples completions."""
        module: Any = pl_module  # only a GRPOModule has `last_step`
        step: StepRollouts | None = getattr(module, "last_step", None)
        if step is None or step.step % self._every_num_steps or not trainer.is_global_zero:
            return
        rows = completion_rows(step, self._num_groups, module.rollouts.policy.tokenizer.decode)
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        with only_watches("tables of completions", self._folder):
            write_lines_atomically(self._folder / f"step_{step.step:07d}.jsonl", lines)
        for logger in trainer.loggers:
            if hasattr(logger, "log_table") and rows:
                cells = [[_cell(value) for value in row.values()] for row in rows]
                logger.log_table("completions", list(rows[0]), cells, step=step.step)


def completion_rows(step: StepRollouts, num_groups: int, decode: Callable[[list[int]], str]) -> list[dict[str, Any]]:
    """Returns one row per completion of the first groups of a step; an unknown number is None.

    Args:
        step: The rollouts of the step.
        num_groups: Number of groups to take.
        decode: Turns the token ids of a prompt into text.
    """
    return [
        {
            "step": step.step,
            "question_id": group.question.id,
            "prompt": decode(group.prompt_ids),
            "completion": rollout.completion.text,
            "letter": rollout.choice.letter,
            "reason": str(rollout.choice.reason),
            "label": group.label,
            "rewards": {name: _finite_or_none(result.value) for name, result in rollout.results.items()},
            "faults": {name: result.fault.kind.value for name, result in rollout.results.items() if result.fault},
            "reward": _finite_or_none(reward),
            "advantage": advantage,
            "is_truncated": rollout.completion.is_truncated,
            "num_tokens": len(rollout.completion.token_ids),
        }
        for group, rewards, advantages in list(zip(step.groups, step.rewards, step.advantages, strict=True))[
            :num_groups
        ]
        for rollout, reward, advantage in zip(group.rollouts, rewards, advantages, strict=True)
    ]


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value
