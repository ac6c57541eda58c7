"""The configuration of each step of medssr-pipeline, from that of the whole; imports no torch."""

from __future__ import annotations

from pathlib import Path

from medssr.config import (
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    PipelineConfig,
    PseudoLabelConfig,
    SFTTrainConfig,
    StageConfig,
    StageMethod,
    StageQuestions,
    SynthesizeConfig,
    TrainConfig,
    apply_overrides,
    subconfig,
)
from medssr.config.roots import AUTO


def asks_pseudo_labelled(config: PipelineConfig) -> bool:
    """Returns whether a stage asks synthetic questions, so that they have to be made."""
    return any(stage.questions is not StageQuestions.human for stage in config.stages)


def synthesize_config(config: PipelineConfig) -> SynthesizeConfig:
    """Returns how questions are written."""
    return subconfig(config, SynthesizeConfig, task_name="synthesize")


def pseudo_label_config(config: PipelineConfig, questions: Path) -> PseudoLabelConfig:
    """Returns how the questions of a file are labelled: by the policy, or by the model that is named for it."""
    return subconfig(
        config,
        PseudoLabelConfig,
        task_name="pseudo_label",
        model=config.labeler or config.model,
        data=DataConfig(str(questions)),
        run=None,
    )


def stage_config(
    config: PipelineConfig, stage: StageConfig, model: ModelConfig, questions: Path
) -> TrainConfig | SFTTrainConfig:
    """Returns how a stage trains a model on the questions of a file, by GRPO or by imitation of their labels."""
    if stage.method is StageMethod.sft:
        return subconfig(
            config,
            SFTTrainConfig,
            task_name="sft",
            model=model,
            demonstrations={
                "_target_": "medssr.training.demonstrations.LabelDemonstrations",
                "path": str(questions),
            },
            optim=config.sft_optim,
            scratch=None,
        )
    return subconfig(
        config,
        TrainConfig,
        task_name="train",
        stage=stage.name,
        ckpt_path=AUTO,
        model=model,
        data=DataConfig(str(questions)),
        grpo=apply_overrides(config.grpo, stage.grpo),
    )


def evaluate_config(config: PipelineConfig, model: ModelConfig) -> EvaluateConfig:
    """Returns how a model is scored."""
    return subconfig(config, EvaluateConfig, task_name="evaluate", model=model, run=None)
