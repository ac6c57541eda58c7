"""Derives the configuration of each step from that of medssr-pipeline. Imports no torch."""

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


def asks_synthetic(config: PipelineConfig) -> bool:
    """Returns whether any stage uses synthetic questions, which then must be made."""
    return any(stage.uses_votes or StageQuestions.synthetic in stage.kinds for stage in config.stages)


def asks_pseudo_labelled(config: PipelineConfig) -> bool:
    """Returns whether the starting policy has to vote: for the first stage with such labels, unless it votes itself."""
    first = next((stage for stage in config.stages if stage.uses_votes), None)
    return first is not None and not first.relabels


def synthesize_config(config: PipelineConfig) -> SynthesizeConfig:
    """Returns the configuration of synthesis."""
    return subconfig(config, SynthesizeConfig, task_name="synthesize")


def pseudo_label_config(config: PipelineConfig, questions: Path, model: ModelConfig) -> PseudoLabelConfig:
    """Returns the configuration that labels the questions of a file, by `labeler` if it is set, else by a model."""
    return subconfig(
        config,
        PseudoLabelConfig,
        task_name="pseudo_label",
        model=config.labeler or model,
        data=DataConfig(str(questions)),
        run=None,
    )


def evaluate_config(config: PipelineConfig, model: ModelConfig) -> EvaluateConfig:
    """Returns the configuration that evaluates a model."""
    return subconfig(config, EvaluateConfig, task_name="evaluate", model=model, run=None)
