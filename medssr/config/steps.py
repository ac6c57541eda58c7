"""The configuration of each step of medssr-pipeline, from that of the whole; imports no torch."""

from __future__ import annotations

from pathlib import Path

from medssr.config import (
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    PipelineConfig,
    PseudoLabelConfig,
    StageQuestions,
    SynthesizeConfig,
    subconfig,
)


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


def evaluate_config(config: PipelineConfig, model: ModelConfig) -> EvaluateConfig:
    """Returns how a model is scored."""
    return subconfig(config, EvaluateConfig, task_name="evaluate", model=model, run=None)
