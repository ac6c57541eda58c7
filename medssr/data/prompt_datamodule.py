"""The labelled questions of a training stage, as Lightning wants them."""

from __future__ import annotations

from collections.abc import Sequence

import lightning as L
import torch

from medssr.data.option_order import shuffle_options
from medssr.data.step_loader import StepBatch, StepLoader
from medssr.questions import Question
from medssr.utils.seeding import derive_seed


class PromptDataModule(L.LightningDataModule):
    """Hands out the questions of each training step.

    Args:
        questions: Each with an answer.
        seed: Run seed.
        stage: Name of the stage.
        num_steps: Training steps.
        num_prompts_per_step: Questions a step.
        num_refills: How often as many questions again may be asked for in a step.
        has_shuffled_options: Whether the options of a question have another order in each epoch.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        seed: int,
        stage: str,
        num_steps: int,
        num_prompts_per_step: int,
        num_refills: int = 0,
        has_shuffled_options: bool = False,
    ) -> None:
        super().__init__()

        def shuffled(question: Question, epoch: int) -> Question:
            return shuffle_options(question, derive_seed(seed, stage, "options", epoch, question.id))

        vary = shuffled if has_shuffled_options else None
        self._loader = StepLoader(questions, seed, stage, num_steps, num_prompts_per_step, num_refills, vary)

    def train_dataloader(self) -> StepLoader[Question]:
        """Returns the loader of the stage."""
        return self._loader

    def transfer_batch_to_device(
        self, batch: StepBatch[Question], device: torch.device, dataloader_idx: int
    ) -> StepBatch[Question]:
        """Returns the batch as it is: questions are text."""
        return batch
