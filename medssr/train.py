"""medssr-train: one stage of GRPO on labelled questions."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Artifact, Step
from medssr.config import TrainConfig
from medssr.errors import InputError
from medssr.utils.entry import prepare_process, run_command

if TYPE_CHECKING:
    from medssr.questions import Question

log = logging.getLogger(__name__)


def train(config: TrainConfig) -> Artifact:
    """Returns the artefact of a trained stage: `model/` (a Hugging Face checkpoint) and `metrics.csv`."""
    return Step("train", config, Path(config.paths.artifact_dir), config.force).run(
        lambda directory: _train_stage(config, directory)
    )


def _train_stage(config: TrainConfig, directory: Path) -> dict[str, Any]:
    questions = _labelled_questions(config.data.path)  # before torch is loaded: a fault in the file shows at once

    from copy import deepcopy

    from medssr.data.prompt_datamodule import PromptDataModule
    from medssr.models.fitting import fit
    from medssr.models.grpo_module import GRPOModule
    from medssr.models.policy import load_policy
    from medssr.utils.instantiate import instantiate

    prepare_process(config.extras, config.seed)
    policy = load_policy(config.model)
    # An over-long prompt fails here and not at step 900.
    policy.encode(questions, config.grpo.max_new_tokens, config.data.path)
    module = GRPOModule(
        policy,
        reference=deepcopy(policy.model).requires_grad_(False) if config.grpo.beta > 0 else None,
        engine=instantiate(config.rollout, "rollout", policy=policy),
        rewards={name: instantiate(node, f"reward.{name}") for name, node in config.reward.items()},
        config=config.grpo,
        optimizer=instantiate(config.optim.optimizer, "optim.optimizer"),
        scheduler=instantiate(config.optim.scheduler, "optim.scheduler"),
        seed=config.seed,
        stage=config.stage,
        source=config.data.path,
    )
    data = PromptDataModule(
        questions, config.seed, config.stage, config.grpo.num_steps, config.grpo.num_prompts_per_step
    )
    log.info(
        "%s: %d questions, %d steps of %d prompts x %d completions",
        config.stage,
        len(questions),
        config.grpo.num_steps,
        config.grpo.num_prompts_per_step,
        config.grpo.num_generations,
    )
    with closing(module.engine):
        fit(config, module, data, directory)
    policy.save(directory / "model")
    return {"num_questions": len(questions), "num_steps": config.grpo.num_steps}


def _labelled_questions(path: str) -> list[Question]:
    from medssr.questions import read_questions

    questions = list(read_questions(path))
    for question in questions:
        if question.answer is None:
            problem = f'question "{question.id}" has no label; run medssr-pseudo-label on the file first.'
            raise InputError.at(path, problem, field="answer")
    return questions


def main() -> None:
    """Console entry point."""
    run_command("train", _main)


def _main(config: TrainConfig) -> None:
    model = train(config).path("model")
    log.info("made %s\nnext: medssr-evaluate model.path=%s", model, model)


if __name__ == "__main__":
    main()
