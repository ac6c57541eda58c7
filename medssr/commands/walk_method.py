"""The stage method that imitates correct walks in a knowledge graph, on the states that the policy visits itself."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medssr.artifacts import Step
from medssr.commands.info import Rows
from medssr.commands.pseudo_label import sampled_answers
from medssr.commands.sft import fine_tune
from medssr.commands.stage_methods import SFTMethod
from medssr.config import (
    DataConfig,
    LabelingConfig,
    ModelConfig,
    PipelineConfig,
    PseudoLabelConfig,
    SFTTrainConfig,
    StageConfig,
    TrainDataConfig,
    subconfig,
)
from medssr.config.groups import Node
from medssr.errors import InputError, require
from medssr.manifests import Artifact
from medssr.reports.wandb_steps import log_step

_TARGET = "medssr.training.walk_demonstrations.WalkDemonstrations"


@dataclass(kw_only=True)
class WalkTrainConfig(SFTTrainConfig):
    """A round of imitation: fine-tuning, and how the policy walks before it."""

    rollout: Node
    labeling: LabelingConfig

    @property
    def questions(self) -> str:
        """The file of the questions."""
        return str(self.demonstrations["path"])


class WalkMethod(SFTMethod):
    """One round of imitating correct walks, after arXiv 2405.13640 and DAgger (arXiv 1011.0686).

    The policy walks; each state that it visits gets a correct way to go on as its label, enumerated from the graph; and
    the policy is fine-tuned on these. A further stage of this method is a further round, on the states that the
    policy then visits.

    Args:
        num_walks: Walks that the policy samples for each question.

    Raises:
        InputError: When the number is below 2.
    """

    def __init__(self, num_walks: int) -> None:
        if num_walks < 2:
            raise InputError(f"method.num_walks: {num_walks}; at least 2.")
        self._num_walks = num_walks

    def configure(
        self, config: PipelineConfig, stage: StageConfig, model: ModelConfig, data: TrainDataConfig | None
    ) -> WalkTrainConfig:
        """Returns the configuration of medssr-sft, with what the sampling of walks depends on."""
        trained = super().configure(config, stage, model, data)
        fields: dict[str, Any] = {name: getattr(trained, name) for name in SFTTrainConfig.__dataclass_fields__}
        labeling = replace(config.labeling, num_votes=self._num_walks, max_new_tokens=model.max_new_tokens)
        return WalkTrainConfig(**fields, rollout=config.rollout, labeling=labeling)

    def _demonstrations(self, config: PipelineConfig, stage: StageConfig, data: TrainDataConfig | None) -> Node:
        problem = f"{stage.questions.value}, but walk needs questions of walks with their answers; take human."
        require(data is not None, f"stages, {stage.name}.questions", problem)
        assert data is not None
        return {"_target_": _TARGET, "path": data.path}

    def run(self, config: SFTTrainConfig) -> Artifact:
        """Samples walks and runs medssr-sft on the states that they visit."""
        assert isinstance(config, WalkTrainConfig)
        made = Step.of("sft", config, is_joint=True).run(lambda directory: _round(config, directory))
        log_step(config, made)
        return made

    def describe(self, name: str, config: SFTTrainConfig) -> Rows:
        """Returns the numbers of steps and of walks of the stage as a row."""
        steps = f"{config.sft.num_steps:,} steps of {config.sft.num_rows_per_step} states"
        return [(name, f"fine-tuning: {steps} of {self._num_walks} walks of each question")]


def _round(config: WalkTrainConfig, directory: Path) -> dict[str, Any]:
    from medssr.training.walk_demonstrations import WalkDemonstrations

    sampling = subconfig(
        config, PseudoLabelConfig, task_name="walks", data=DataConfig(config.questions), run=None, logger=None
    )
    # A step of its own, which one process makes, and which a killed round does not make again.
    walks = Step.of("walks", sampling).run(lambda folder: _sample(sampling, folder))
    return fine_tune(config, WalkDemonstrations(config.questions, walks.path("answers")), directory)


def _sample(config: PseudoLabelConfig, directory: Path) -> dict[str, Any]:
    from medssr.models.device import free_gpu_memory
    from medssr.questions import read_labelled_questions
    from medssr.training.walk_demonstrations import walk_task

    questions = list(read_labelled_questions(config.data.path))
    for question in questions:
        walk_task(question, config.data.path)  # before any is sampled
    with closing(sampled_answers(config, questions, directory)) as answers:
        num_walks = sum(map(len, answers))
    free_gpu_memory()
    return {"num_questions": len(questions), "num_walks": num_walks}
