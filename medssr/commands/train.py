"""medssr-train: one stage of GRPO on labelled questions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Step
from medssr.cli.entry import run_command
from medssr.commands.checkpoint_settings import write_settings
from medssr.commands.info import train_plan
from medssr.commands.sweep_info import sweep_plan
from medssr.config import TrainConfig
from medssr.errors import InputError
from medssr.hub.model_card import write_model_card
from medssr.manifests import Artifact, point_to
from medssr.reports.wandb_steps import log_step
from medssr.training.checkpoints import starting_point
from medssr.utils.processes import is_main_process

if TYPE_CHECKING:
    from medssr.questions import Question
    from medssr.training.question_sources import QuestionSource

log = logging.getLogger(__name__)


def train(config: TrainConfig) -> Artifact:
    """Returns the artefact of a trained stage: `model/` (a Hugging Face checkpoint) and `metrics.csv`."""
    artifact = Step.of("train", config, is_joint=True).run(lambda directory: _train_stage(config, directory))
    log_step(config, artifact)
    return artifact


def _train_stage(config: TrainConfig, directory: Path) -> dict[str, Any]:
    # Read before torch is imported, so that an error in the files is reported immediately.
    sources, heldout = _questions(config)
    checkpoint = starting_point(config.ckpt_path, directory)

    from medssr.grpo.stage import run_stage
    from medssr.models.device import free_gpu_memory, prepared_process

    log.info(
        "%s: %d questions, %d steps of %d prompts x %d completions",
        config.stage,
        sum(len(source.questions) for source in sources.values()),
        config.grpo.num_steps,
        config.grpo.num_prompts_per_step,
        config.grpo.num_generations,
    )
    with prepared_process(config.extras, config.seed):
        counts = run_stage(config, sources, heldout, checkpoint, directory)
    free_gpu_memory()
    if is_main_process():
        write_settings(config, directory)
        write_model_card(config, directory)
    return counts


def _questions(config: TrainConfig) -> tuple[dict[str, QuestionSource], list[Question]]:
    """Returns the sources of the questions to train on and the held-out questions, which are disjoint."""
    from medssr.training.question_sources import kept, read_sources

    sources = read_sources(config.data, config.reward)
    if config.probe is None:
        return sources, []

    from medssr.grpo.heldout import heldout_questions, remove_heldout

    heldout = heldout_questions(config.probe, config.seed)
    trained = kept(sources, lambda questions: remove_heldout(questions, heldout))
    num_left_out = 0
    for before, source in zip(sources.values(), trained.values(), strict=True):
        if not source.questions:
            problem = f"holds all questions of {source.path}, so that none is left to train on."
            raise InputError.at(config.probe.path, problem, field="probe.path")
        num_left_out += len(before.questions) - len(source.questions)
    log.info("probe: %d questions; %d of the training questions left out", len(heldout), num_left_out)
    return trained, heldout


def main() -> None:
    """Console entry point."""
    run_command("train", _main, plan=train_plan, sweep_plan=sweep_plan)


def _main(config: TrainConfig) -> float | None:
    from hydra.core.hydra_config import HydraConfig

    artifact = train(config)
    if is_main_process():
        point_to(artifact, Path(HydraConfig.get().runtime.output_dir))
    log.info("made %s\nnext: medssr-evaluate run=%s", artifact.path("model"), artifact.directory)
    # The objective that a hyper-parameter search maximises; only the held-out accuracy is an unbiased one.
    return artifact.manifest["counts"]["probe"]["best"] if config.probe is not None else None


if __name__ == "__main__":
    main()
