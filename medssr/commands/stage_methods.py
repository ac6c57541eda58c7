"""The training methods that a stage of medssr-pipeline can use; each has a file in `conf/method/`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medssr.commands.info import Rows, grpo_rows, time_rows
from medssr.config import (
    ModelConfig,
    PipelineConfig,
    SFTTrainConfig,
    StageConfig,
    StageQuestions,
    TrainConfig,
    TrainDataConfig,
    subconfig,
    with_settings,
)
from medssr.config.groups import Node
from medssr.config.roots import AUTO
from medssr.errors import require

if TYPE_CHECKING:
    from medssr.manifests import Artifact

_LABELS = "medssr.training.demonstrations.LabelDemonstrations"


class GRPOMethod:
    """GRPO: the policy learns from the rewards of its own completions."""

    def configure(
        self, config: PipelineConfig, stage: StageConfig, model: ModelConfig, data: TrainDataConfig | None
    ) -> TrainConfig:
        """Returns the configuration of medssr-train."""
        problem = "demonstrations, which grpo does not imitate; take method: sft, or human questions."
        require(data is not None, f"stages, {stage.name}.questions", problem)
        return subconfig(
            config,
            TrainConfig,
            task_name="train",
            stage=stage.name,
            ckpt_path=AUTO,
            model=model,
            data=data,
            reward=config.stage_rewards.get(stage.name, config.reward),
            grpo=with_settings(config.grpo, stage, "grpo"),
        )

    def run(self, config: TrainConfig) -> Artifact:
        """Runs medssr-train."""
        from medssr.commands.train import train

        return train(config)

    def describe(self, name: str, config: TrainConfig) -> Rows:
        """Returns the batch sizes, totals and time of the stage as rows."""
        return [*grpo_rows(name, config.grpo), *time_rows(config, config.grpo)]


class SFTMethod:
    """Supervised fine-tuning: the policy imitates demonstrations, or the sentence that states a question's label."""

    def configure(
        self, config: PipelineConfig, stage: StageConfig, model: ModelConfig, data: TrainDataConfig | None
    ) -> SFTTrainConfig:
        """Returns the configuration of medssr-sft."""
        key = f"stages, {stage.name}.method"
        require(config.probe is None, key, "sft, which cannot use a probe; set probe=null, or method: grpo.")
        has_rewards = bool(stage.rewards or stage.further or stage.name in config.stage_rewards)
        require(not has_rewards, key, "sft, which has one source of questions and no rewards; take method: grpo.")
        return subconfig(
            config,
            SFTTrainConfig,
            task_name="sft",
            model=model,
            demonstrations=self._demonstrations(config, stage, data),
            sft=with_settings(config.sft, stage, "sft"),
            optim=config.sft_optim,
            scratch=None,
        )

    def _demonstrations(self, config: PipelineConfig, stage: StageConfig, data: TrainDataConfig | None) -> Node:
        return _chosen(config, stage) if data is None else {"_target_": _LABELS, "path": data.path}

    def run(self, config: SFTTrainConfig) -> Artifact:
        """Runs medssr-sft."""
        from medssr.commands.sft import sft

        return sft(config)

    def describe(self, name: str, config: SFTTrainConfig) -> Rows:
        """Returns the number of steps and demonstrations of the stage as a row."""
        what = "labels" if config.demonstrations["_target_"] == _LABELS else "demonstrations"
        return [(name, f"fine-tuning: {config.sft.num_steps:,} steps of {config.sft.num_rows_per_step} {what}")]


class RFTMethod(SFTMethod):
    """Supervised fine-tuning on the policy's own answers to synthetic questions that gave the label of the vote.

    Args:
        max_per_question: The most answers of a question; None for all.
    """

    def __init__(self, max_per_question: int | None) -> None:
        self._max_per_question = max_per_question

    def _demonstrations(self, config: PipelineConfig, stage: StageConfig, data: TrainDataConfig | None) -> Node:
        problem = f"{stage.questions.value}, but rft imitates the answers of a vote; take pseudo_labelled."
        is_voted = data is not None and stage.questions is StageQuestions.pseudo_labelled
        require(is_voted, f"stages, {stage.name}.questions", problem)
        assert data is not None
        return {
            "_target_": "medssr.training.majority_answers.MajorityAnswers",
            "path": str(Path(data.path).parent),
            "max_per_question": self._max_per_question,
        }


def _chosen(config: PipelineConfig, stage: StageConfig) -> Node:
    """Returns the demonstrations of the pipeline, without those that repeat what synthesis must not repeat."""
    key = f"stages, {stage.name}.questions"
    chosen = config.demonstrations
    require(
        chosen is not None, key, "demonstrations, but demonstrations is null; take demonstrations=traces, or another."
    )
    assert chosen is not None
    if "benchmark_path" in chosen and chosen["benchmark_path"] is None:
        return chosen | {"benchmark_path": config.synthesis.benchmark_path}
    return chosen
