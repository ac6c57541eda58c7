"""medssr-pipeline: the whole method, from facts to a report."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from medssr.artifacts import Artifact
from medssr.callbacks.checkpoint_files import AUTO
from medssr.config import (
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    PipelineConfig,
    PseudoLabelConfig,
    StageConfig,
    StageQuestions,
    SynthesizeConfig,
    TrainConfig,
    apply_overrides,
    subconfig,
)
from medssr.evaluate import evaluate
from medssr.plans import pipeline_plan
from medssr.pseudo_label import pseudo_label
from medssr.synthesize import synthesize
from medssr.train import train
from medssr.utils.entry import run_command

log = logging.getLogger(__name__)


def pipeline(config: PipelineConfig, run_dir: Path) -> Path:
    """Runs every step and returns the report's page; steps whose artefacts are there are skipped.

    Args:
        config: The configuration of all steps.
        run_dir: Where `results.json` and `report/` go.
    """
    from medssr.tracking.report import console_table, write_report
    from medssr.tracking.run_results import StageFiles, write_run_results
    from medssr.tracking.runs import read_run
    from medssr.tracking.step_runs import log_pipeline

    synthetic = synthesize(subconfig(config, SynthesizeConfig, task_name="synthesize"))
    labelled = pseudo_label(
        subconfig(
            config,
            PseudoLabelConfig,
            task_name="pseudo_label",
            data=DataConfig(path=str(synthetic.path("questions.jsonl"))),
            run=None,
        )
    )
    model = config.model
    scores = {"base": _evaluate(config, model)}
    stages: list[StageFiles] = []
    for stage in config.stages:
        questions = _stage_questions(config, stage, labelled)
        trained = _train(config, stage, model, questions)
        model = replace(model, path=str(trained.path("model")), revision=None)
        scores[stage.name] = _evaluate(config, model)
        stages.append(StageFiles(stage.name, questions, trained.path("metrics.csv")))

    write_run_results(run_dir, config, {"synthesize": synthetic, "pseudo_label": labelled}, scores, stages)
    run = read_run(run_dir)
    log_pipeline(config, run)
    page = write_report([run], run_dir / "report")
    _print(console_table([run]))
    return page


def _stage_questions(config: PipelineConfig, stage: StageConfig, labelled: Artifact) -> Path:
    """Returns the question file of a stage."""
    from medssr.data.mixing import mix_questions

    pseudo_labelled, human = labelled.path("questions.jsonl"), Path(config.seeds.path)
    if stage.questions is StageQuestions.pseudo_labelled:
        return pseudo_labelled
    if stage.questions is StageQuestions.human:
        return human
    return mix_questions([pseudo_labelled, human], Path(config.paths.artifact_dir) / "mixed")


def _train(config: PipelineConfig, stage: StageConfig, model: ModelConfig, questions: Path) -> Artifact:
    return train(
        subconfig(
            config,
            TrainConfig,
            task_name="train",
            stage=stage.name,
            ckpt_path=AUTO,
            model=model,
            data=DataConfig(path=str(questions)),
            grpo=apply_overrides(config.grpo, stage.grpo),
        )
    )


def _evaluate(config: PipelineConfig, model: ModelConfig) -> Artifact:
    return evaluate(subconfig(config, EvaluateConfig, task_name="evaluate", model=model, run=None))


def _print(table: object) -> None:
    from rich.console import Console

    Console().print(table)


def main() -> None:
    """Console entry point."""
    run_command("pipeline", _main, plan=pipeline_plan)


def _main(config: PipelineConfig) -> None:
    from hydra.core.hydra_config import HydraConfig

    page = pipeline(config, Path(HydraConfig.get().runtime.output_dir))
    log.info("report: %s", page)


if __name__ == "__main__":
    main()
