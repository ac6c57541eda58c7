"""medssr-warm-start: supervised fine-tuning on demonstrations; also makes the tiny policies from scratch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Artifact, Step
from medssr.callbacks.checkpoint_files import AUTO, starting_point
from medssr.config import WarmStartConfig
from medssr.tracking.step_runs import log_step
from medssr.utils.entry import check_device, prepare_process, run_command

if TYPE_CHECKING:
    from medssr.models.policy import Policy
    from medssr.synthesis.demonstrations import Demonstration

log = logging.getLogger(__name__)


def warm_start(config: WarmStartConfig) -> Artifact:
    """Returns the artefact of a fine-tuned policy: `model/` (a Hugging Face checkpoint) and `metrics.csv`."""
    made = Step("warm_start", config, Path(config.paths.artifact_dir), config.force, is_joint=True).run(
        lambda directory: _fine_tune(config, directory)
    )
    log_step(config, made)
    return made


def _fine_tune(config: WarmStartConfig, directory: Path) -> dict[str, Any]:
    from medssr.data.step_loader import StepLoader
    from medssr.models.fitting import fit
    from medssr.models.policy import load_trainable_policy
    from medssr.models.sft_module import SFTModule
    from medssr.utils.instantiate import instantiate

    prepare_process(config.extras, config.seed)
    check_device(config.trainer)
    demonstrations = _demonstrations(config)
    policy = load_trainable_policy(config.model, None, config.seed) if config.scratch is None else _new_policy(config)
    rows = _encode(policy, demonstrations, str(config.demonstrations.path))
    module = SFTModule(
        policy,
        instantiate(config.optim.optimizer, "optim.optimizer"),
        instantiate(config.optim.scheduler, "optim.scheduler"),
        config.sft.micro_batch_tokens,
        config.sft.max_grad_norm,
        config.sft.max_skipped_steps,
    )
    loader = StepLoader(rows, config.seed, "warm_start", config.sft.num_steps, config.sft.num_rows_per_step)
    fit(config, module, loader, directory, starting_point(AUTO, directory), config.sft.num_steps)
    policy.save(directory / "model")
    return {
        "num_demonstrations": len(rows),
        "num_steps": config.sft.num_steps,
        "num_parameters": sum(parameter.numel() for parameter in policy.model.parameters()),
    }


def _demonstrations(config: WarmStartConfig) -> list[Demonstration]:
    from medssr.knowledge.facts import builtin_common_diseases, builtin_rare_diseases
    from medssr.synthesis.builtin_questions import NUM_OPTIONS, evaluation_questions
    from medssr.synthesis.demonstrations import builtin_demonstrations, read_demonstrations

    settings = config.demonstrations
    if settings.path is not None:
        return read_demonstrations(settings.path)
    return list(
        builtin_demonstrations(
            [*builtin_rare_diseases(), *builtin_common_diseases()],
            frozenset(question.content_key for question in evaluation_questions()),
            settings.num_rows,
            NUM_OPTIONS,
            settings.rare_belief,
            settings.rare_weight,
            config.seed,
        )
    )


def _new_policy(config: WarmStartConfig) -> Policy:
    """Returns a policy with random weights and a tokenizer trained on the sentences of the built-in world."""
    from medssr.knowledge.facts import builtin_common_diseases, builtin_rare_diseases
    from medssr.models.from_scratch import new_model, train_tokenizer
    from medssr.models.policy import Policy
    from medssr.rollout.prompts import read_prompt_template
    from medssr.synthesis.demonstrations import builtin_texts

    assert config.scratch is not None
    template = read_prompt_template(config.model.prompt_path)
    texts = builtin_texts([*builtin_rare_diseases(), *builtin_common_diseases()], template)
    tokenizer = train_tokenizer(texts, config.scratch.vocab_size, config.scratch.family)
    return Policy(new_model(config.scratch.family, config.scratch.architecture, tokenizer), tokenizer, template)


def _encode(policy: Policy, demonstrations: list[Demonstration], source: str) -> list[tuple[list[int], list[int]]]:
    """Returns prompt and completion of each demonstration as token ids, the completion with its end token."""
    texts = [demonstration.completion for demonstration in demonstrations]
    completions = [
        [*token_ids, policy.tokenizer.eos_token_id]
        for token_ids in policy.tokenizer(texts, add_special_tokens=False)["input_ids"]
    ]
    longest = max(len(completion) for completion in completions)
    prompts = policy.encode([demonstration.question for demonstration in demonstrations], longest, source)
    return list(zip(prompts, completions, strict=True))


def main() -> None:
    """Console entry point."""
    run_command("warm_start", _main)


def _main(config: WarmStartConfig) -> None:
    model = warm_start(config).path("model")
    log.info("made %s\nnext: medssr-evaluate model.path=%s", model, model)


if __name__ == "__main__":
    main()
