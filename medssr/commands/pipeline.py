"""medssr-pipeline: run the whole method, from facts to a report."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path

from medssr.cli.entry import run_command
from medssr.commands.checkpoint_settings import trained_model
from medssr.commands.evaluate import evaluate
from medssr.commands.info import pipeline_plan
from medssr.commands.pseudo_label import pseudo_label
from medssr.commands.sweep_info import sweep_plan
from medssr.commands.synthesize import synthesize
from medssr.config import (
    UNKNOWN_FILES,
    PipelineConfig,
    StageQuestions,
    TrainConfig,
    method_name,
    stage_method,
)
from medssr.config.steps import (
    asks_pseudo_labelled,
    asks_synthetic,
    evaluate_config,
    pseudo_label_config,
    synthesize_config,
)
from medssr.manifests import Artifact
from medssr.utils.console import table_console
from medssr.utils.processes import is_main_process
from medssr.utils.progress import next_step
from medssr.utils.step_plan import PlannedStep, StepPlan

log = logging.getLogger(__name__)


def pipeline(config: PipelineConfig, run_dir: Path) -> Path | None:
    """Runs all steps and returns the report's page; steps whose artefacts exist are skipped.

    If all stages use human-annotated questions only, no questions are synthesised. Where several processes train, the
    others wait for what the main process does alone, and return None.

    Args:
        config: The configuration of all steps.
        run_dir: The folder that `results.json` and `report/` are written to.
    """
    from medssr.reports.comparison import compare_groups
    from medssr.reports.pages import write_report
    from medssr.reports.results import StageFiles, write_run_results
    from medssr.reports.runs import read_run
    from medssr.reports.wandb_steps import log_pipeline

    steps = _planned_steps(config)
    if is_main_process():
        log.info("pipeline: %d steps; medssr watch %s shows them in a browser", len(steps), shlex.quote(str(run_dir)))
    plan = StepPlan(steps)
    prepared = _prepare(config, plan)
    files = _question_files(config, prepared)
    model = config.model
    with next_step(plan, "base"):
        scores = {"base": evaluate(evaluate_config(config, model))}
    stages: list[StageFiles] = []
    for stage in config.stages:
        if stage.relabels:
            with next_step(plan):
                votes = pseudo_label_config(config, files[StageQuestions.synthetic], model)
                labelled = prepared[f"pseudo_label {stage.name}"] = pseudo_label(votes)
            files |= _labelled_files(config, labelled)
        method = stage_method(stage)
        with next_step(plan):
            trained = method.run(method.configure(config, stage, model, stage.data(files)))
        model = trained_model(model, trained.directory)
        with next_step(plan, stage.name):
            scores[stage.name] = evaluate(evaluate_config(config, model))
        questions = [files[kind] for kind in stage.kinds if kind is not StageQuestions.demonstrations]
        stages.append(StageFiles(stage, questions, trained.path("metrics.csv")))
    if not is_main_process():
        return None

    write_run_results(run_dir, config, prepared, scores, stages)
    run = read_run(run_dir)
    log_pipeline(config, run)
    return write_report(compare_groups([run]), run_dir / "report")


def _planned_steps(config: PipelineConfig) -> list[PlannedStep]:
    """Returns the steps in their order; of those with GRPO, the number of its steps is the size."""
    evaluation, votes = PlannedStep("evaluate"), PlannedStep("pseudo_label")
    steps = [PlannedStep("synthesize")] if asks_synthetic(config) else []
    steps += [votes] if asks_pseudo_labelled(config) else []
    steps.append(evaluation)
    for stage in config.stages:
        training = stage_method(stage).configure(config, stage, config.model, stage.data(UNKNOWN_FILES))
        size = training.grpo.num_steps if isinstance(training, TrainConfig) else 1
        steps += [votes] if stage.relabels else []
        steps += [PlannedStep(method_name(stage), size), evaluation]
    return steps


def _prepare(config: PipelineConfig, plan: StepPlan) -> dict[str, Artifact]:
    """Returns the artefacts of synthesis and pseudo-labelling that stages ask for, which it makes if necessary."""
    if not asks_synthetic(config):
        return {}
    with next_step(plan):
        synthetic = synthesize(synthesize_config(config))
    if not asks_pseudo_labelled(config):
        return {"synthesize": synthetic}
    with next_step(plan):
        labelled = pseudo_label(pseudo_label_config(config, synthetic.path("questions.jsonl"), config.model))
    return {"synthesize": synthetic, "pseudo_label": labelled}


def _question_files(config: PipelineConfig, prepared: Mapping[str, Artifact]) -> dict[StageQuestions, Path]:
    """Returns the question file of each kind that stages ask for."""
    files = {StageQuestions.human: Path(config.seed_questions.path)}
    if "synthesize" in prepared:
        files[StageQuestions.synthetic] = prepared["synthesize"].path("questions.jsonl")
    if "pseudo_label" in prepared:
        files |= _labelled_files(config, prepared["pseudo_label"])
    return files


def _labelled_files(config: PipelineConfig, labelled: Artifact) -> dict[StageQuestions, Path]:
    """Returns the question file of each kind that has labels of a vote."""
    from medssr.questions import mix_questions

    files = {StageQuestions.pseudo_labelled: labelled.path("questions.jsonl")}
    if any(StageQuestions.mixed in stage.kinds for stage in config.stages):
        both = [files[StageQuestions.pseudo_labelled], Path(config.seed_questions.path)]
        files[StageQuestions.mixed] = mix_questions(both, Path(config.paths.artifact_dir) / "mixed")
    return files


def main() -> None:
    """Console entry point."""
    run_command("pipeline", _main, plan=pipeline_plan, sweep_plan=sweep_plan)


def _main(config: PipelineConfig) -> float | None:
    from hydra.core.hydra_config import HydraConfig

    from medssr.reports.pages import console_scores
    from medssr.reports.render import LEAST_WIDTH
    from medssr.reports.runs import read_run

    run_dir = Path(HydraConfig.get().runtime.output_dir)
    page = pipeline(config, run_dir)
    if page is None:
        return None
    run = read_run(run_dir)
    table_console(LEAST_WIDTH).print(console_scores([run]))
    log.info("report: %s", page)
    return run.objective


if __name__ == "__main__":
    main()
