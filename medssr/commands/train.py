"""medssr-train: one stage of GRPO on labelled questions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Artifact, Step, point_to
from medssr.cli.entry import run_command
from medssr.commands.checkpoint_settings import write_settings
from medssr.commands.info import train_plan
from medssr.config import TrainConfig
from medssr.errors import InputError
from medssr.reports.wandb_steps import log_step
from medssr.training.checkpoints import starting_point
from medssr.utils.processes import is_main_process

if TYPE_CHECKING:
    from medssr.questions import Question

log = logging.getLogger(__name__)


def train(config: TrainConfig) -> Artifact:
    """Returns the artefact of a trained stage: `model/` (a Hugging Face checkpoint) and `metrics.csv`."""
    made = Step("train", config, Path(config.paths.artifact_dir), config.force, is_joint=True).run(
        lambda directory: _train_stage(config, directory)
    )
    log_step(config, made)
    return made


def _train_stage(config: TrainConfig, directory: Path) -> dict[str, Any]:
    # Before torch is loaded: a fault in the files shows at once.
    questions, watched = _questions(config)
    checkpoint = starting_point(config.ckpt_path, directory)

    from medssr.grpo.stage import run_stage

    log.info(
        "%s: %d questions, %d steps of %d prompts x %d completions",
        config.stage,
        len(questions),
        config.grpo.num_steps,
        config.grpo.num_prompts_per_step,
        config.grpo.num_generations,
    )
    counts = run_stage(config, questions, watched, checkpoint, directory)
    if is_main_process():
        write_settings(config, directory)
    return counts


def _questions(config: TrainConfig) -> tuple[list[Question], list[Question]]:
    """Returns the questions to train on and those of the probe, which are not among them."""
    from medssr.grpo.heldout import probe_questions, without
    from medssr.questions import read_labelled_questions

    questions = read_labelled_questions(config.data.path)
    if config.probe is None:
        return questions, []
    watched = probe_questions(config.probe, config.seed)
    trained = without(questions, watched)
    if not trained:
        problem = f"holds all questions of {config.data.path}, so that none is left to train on."
        raise InputError.at(config.probe.path, problem, field="probe.path")
    log.info("probe: %d questions; %d of the training questions left out", len(watched), len(questions) - len(trained))
    return trained, watched


def main() -> None:
    """Console entry point."""
    run_command("train", _main, plan=train_plan)


def _main(config: TrainConfig) -> float | None:
    from hydra.core.hydra_config import HydraConfig

    artifact = train(config)
    if is_main_process():
        point_to(artifact, Path(HydraConfig.get().runtime.output_dir))
    log.info("made %s\nnext: medssr-evaluate run=%s", artifact.path("model"), artifact.directory)
    # What a search over settings makes large; without a probe there is no honest number.
    return artifact.manifest["counts"]["probe"]["best"] if config.probe is not None else None


if __name__ == "__main__":
    main()
