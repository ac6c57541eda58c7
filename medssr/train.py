"""medssr-train: one stage of GRPO on labelled questions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Artifact, Step
from medssr.callbacks.checkpoint_files import starting_point
from medssr.config import GRPOConfig, TrainConfig
from medssr.utils.entry import prepare_process, run_command

if TYPE_CHECKING:
    from medssr.questions import Question
    from medssr.rewards.types import Reward

log = logging.getLogger(__name__)


def train(config: TrainConfig) -> Artifact:
    """Returns the artefact of a trained stage: `model/` (a Hugging Face checkpoint) and `metrics.csv`."""
    return Step("train", config, Path(config.paths.artifact_dir), config.force).run(
        lambda directory: _train_stage(config, directory)
    )


def _train_stage(config: TrainConfig, directory: Path) -> dict[str, Any]:
    from medssr.questions import read_labelled_questions

    # Before torch is loaded: a fault in the files shows at once.
    questions = read_labelled_questions(config.data.path)
    checkpoint = starting_point(config.ckpt_path, directory)

    from medssr.rewards.making import open_rewards

    with open_rewards(config.reward, config.grpo.reward_timeout_s) as rewards:
        _train_on(questions, rewards, config, directory, checkpoint)
    return {"num_questions": len(questions), "num_steps": config.grpo.num_steps}


def _train_on(
    questions: list[Question],
    rewards: Mapping[str, Reward],
    config: TrainConfig,
    directory: Path,
    checkpoint: Path | None,
) -> None:
    """Trains and writes `model/`."""
    from medssr.data.prompt_datamodule import PromptDataModule
    from medssr.models.fitting import fit
    from medssr.models.grpo_module import GRPOModule
    from medssr.models.lora import save_adapters
    from medssr.models.objective import Objective
    from medssr.models.policy import load_trainable_policy
    from medssr.rollout.collector import RolloutCollector
    from medssr.utils.instantiate import instantiate

    prepare_process(config.extras, config.seed)
    policy = load_trainable_policy(config.model, config.lora, config.seed)
    # An over-long prompt fails here and not at step 900.
    policy.encode(questions, config.grpo.max_new_tokens + _tokens_of_order(questions, config.grpo), config.data.path)
    rollouts = RolloutCollector(
        policy,
        engine=instantiate(config.rollout, "rollout", policy=policy),
        rewards=rewards,
        config=config.grpo,
        seed=config.seed,
        stage=config.stage,
        source=config.data.path,
    )
    module = GRPOModule(
        rollouts,
        Objective(policy.model, _reference(policy.model, config), policy.tokenizer.pad_token_id, config.grpo),
        config.grpo,
        optimizer=instantiate(config.optim.optimizer, "optim.optimizer"),
        scheduler=instantiate(config.optim.scheduler, "optim.scheduler"),
    )
    data = PromptDataModule(
        questions,
        config.seed,
        config.stage,
        config.grpo.num_steps,
        config.grpo.num_prompts_per_step,
        config.grpo.shuffle_options,
    )
    log.info(
        "%s: %d questions, %d steps of %d prompts x %d completions",
        config.stage,
        len(questions),
        config.grpo.num_steps,
        config.grpo.num_prompts_per_step,
        config.grpo.num_generations,
    )
    fit(config, module, data, directory, checkpoint, config.grpo.num_steps)
    rollouts.engine.close()
    policy.save(directory / "model")
    if config.lora is not None:
        save_adapters(policy.model, config.model.path, directory / "adapter")


def _reference(model: Any, config: TrainConfig) -> Any | None:
    """Returns what the KL is measured to: a frozen copy, or the model itself where it has adapters to do without."""
    from copy import deepcopy

    import torch

    if config.grpo.beta == 0:
        return None
    if config.lora is not None:
        return model
    return deepcopy(model).requires_grad_(False).to(getattr(torch, config.model.dtype.value))


def _tokens_of_order(questions: list[Question], config: GRPOConfig) -> int:
    """Returns by how many tokens a prompt may grow when its options change places: an end of line for each at most."""
    return max(len(question.options) for question in questions) if config.shuffle_options else 0


def main() -> None:
    """Console entry point."""
    run_command("train", _main)


def _main(config: TrainConfig) -> None:
    model = train(config).path("model")
    log.info("made %s\nnext: medssr-evaluate model.path=%s", model, model)


if __name__ == "__main__":
    main()
