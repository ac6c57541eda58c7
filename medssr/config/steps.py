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

_LABELLED = frozenset({StageQuestions.pseudo_labelled, StageQuestions.mixed})


def asks_synthetic(config: PipelineConfig) -> bool:
    """Returns whether any stage uses synthetic questions, which then must be made."""
    return any(not {StageQuestions.synthetic, *_LABELLED}.isdisjoint(stage.kinds) for stage in config.stages)


def asks_pseudo_labelled(config: PipelineConfig) -> bool:
    """Returns whether any stage uses synthetic questions with labels, which then must be made too."""
    return any(not _LABELLED.isdisjoint(stage.kinds) for stage in config.stages)


def synthesize_config(config: PipelineConfig) -> SynthesizeConfig:
    """Returns the configuration of synthesis."""
    return subconfig(config, SynthesizeConfig, task_name="synthesize")


def pseudo_label_config(config: PipelineConfig, questions: Path) -> PseudoLabelConfig:
    """Returns the configuration that labels the questions of a file, by `labeler` if it is set, else by the policy."""
    return subconfig(
        config,
        PseudoLabelConfig,
        task_name="pseudo_label",
        model=config.labeler or config.model,
        data=DataConfig(str(questions)),
        run=None,
    )


def evaluate_config(config: PipelineConfig, model: ModelConfig) -> EvaluateConfig:
    """Returns the configuration that evaluates a model."""
    return subconfig(config, EvaluateConfig, task_name="evaluate", model=model, run=None)
