"""medssr-sft: supervised fine-tuning on demonstrations; also makes the tiny policies from scratch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Step
from medssr.cli.entry import run_command
from medssr.commands.checkpoint_settings import write_settings
from medssr.config import SFTTrainConfig
from medssr.config.roots import AUTO
from medssr.config.trainer import shards_models
from medssr.hub.model_card import write_model_card
from medssr.manifests import Artifact, point_to
from medssr.models.device import check_device, free_gpu_memory, prepared_process
from medssr.reports.wandb_steps import log_step
from medssr.training.checkpoints import starting_point
from medssr.utils.processes import is_main_process

if TYPE_CHECKING:
    from medssr.models.policy import Policy
    from medssr.training.demonstrations import Demonstration, Demonstrations

log = logging.getLogger(__name__)
# This many demonstrations contain each wording many times.
_NUM_TOKENIZER_ROWS = 5000
# Part of the seed of the demonstrations' order. The tiny policies cannot be reproduced with another name.
_SEED_NAME = "warm_start"


def sft(config: SFTTrainConfig) -> Artifact:
    """Returns the artefact of a fine-tuned policy: `model/` (a Hugging Face checkpoint), `metrics.csv`.

    Traces have `left_out.jsonl` as well: those that are not trained on, with the reasons.
    """
    made = Step.of("sft", config, is_joint=True).run(lambda directory: _run(config, directory))
    log_step(config, made)
    return made


def _run(config: SFTTrainConfig, directory: Path) -> dict[str, Any]:
    from medssr.utils.instantiate import instantiate

    # Read before torch is imported, so that an error in the files is reported immediately.
    return fine_tune(config, instantiate(config.demonstrations, "demonstrations"), directory)


def fine_tune(config: SFTTrainConfig, demonstrations: Demonstrations, directory: Path) -> dict[str, Any]:
    """Trains on demonstrations, frees the memory, and returns the counts for the manifest."""
    drawn = demonstrations.draw(config.seed)
    log.info("%d demonstrations, %d steps of %d", len(drawn), config.sft.num_steps, config.sft.num_rows_per_step)

    from medssr.training import fit  # noqa: F401  Lightning's import sets levels that `prepared_process` changes

    with prepared_process(config.extras, config.seed):
        counts = _fine_tune(config, drawn, demonstrations, directory)
    free_gpu_memory()
    return counts


def _fine_tune(
    config: SFTTrainConfig, drawn: list[Demonstration], demonstrations: Demonstrations, directory: Path
) -> dict[str, Any]:
    from medssr.models.policy import load_trainable_policy
    from medssr.training.demonstrations import encode_demonstrations
    from medssr.training.fit import fit
    from medssr.training.sft_module import SFTModule
    from medssr.training.step_loader import StepLoader
    from medssr.utils.instantiate import instantiate

    check_device(config.trainer)
    if config.scratch:
        policy = _new_policy(config, drawn)
    else:
        is_sharded = shards_models(config.trainer)
        policy = load_trainable_policy(config.model, config.lora, config.seed, is_sharded=is_sharded)
    encoded = encode_demonstrations(policy, drawn, config.sft.max_tokens, demonstrations.source)
    rows, num_too_long = encoded.samples, len(encoded.too_long)
    screened = _screened(demonstrations, encoded.too_long, directory)
    if num_too_long:
        log.info("%d of %d demonstrations have more than sft.max_tokens and are left out", num_too_long, len(drawn))
    module = SFTModule(
        policy,
        instantiate(config.optim.optimizer, "optim.optimizer"),
        instantiate(config.optim.scheduler, "optim.scheduler"),
        config.sft.micro_batch_tokens,
        config.sft.max_grad_norm,
        config.sft.max_skipped_steps,
    )
    loader = StepLoader(rows, config.seed, _SEED_NAME, config.sft.num_steps, config.sft.num_rows_per_step)
    num_steps = fit(config, module, loader, directory, starting_point(AUTO, directory), config.sft.num_steps)
    share = policy.save(directory / "model")
    if is_main_process():
        write_settings(config, directory)
        write_model_card(config, directory)
    counts: dict[str, Any] = {
        "num_demonstrations": len(rows),
        "num_too_long": num_too_long,
        "num_steps": num_steps,
        "num_parameters": sum(parameter.numel() for parameter in policy.model.parameters()),
    }
    return counts | screened | ({} if share is None else {"merged_kept_share": share})


def _new_policy(config: SFTTrainConfig, drawn: list[Demonstration]) -> Policy:
    """Returns a policy with random weights and a tokenizer trained on the built-in world or on the demonstrations."""
    from medssr.knowledge.facts import builtin_common_diseases, builtin_rare_diseases
    from medssr.models.from_scratch import new_model, train_tokenizer
    from medssr.models.policy import Policy
    from medssr.models.prompts import read_prompt_template
    from medssr.toy.demonstrations import builtin_phrases, builtin_texts
    from medssr.training.demonstrations import demonstrated_texts

    scratch = config.scratch
    assert scratch is not None
    template = read_prompt_template(config.model.prompt_path)
    entities = [*builtin_rare_diseases(), *builtin_common_diseases()]
    if scratch.has_phrases:
        texts, phrases = demonstrated_texts(drawn[:_NUM_TOKENIZER_ROWS], template), builtin_phrases(entities)
    else:
        texts, phrases = builtin_texts(entities, template), []
    tokenizer = train_tokenizer(texts, scratch.vocab_size, scratch.family, phrases)
    model = new_model(scratch.family, scratch.architecture, tokenizer)
    return Policy(model, tokenizer, template, save_dtype=config.model.save_dtype or config.model.dtype)


def _screened(demonstrations: Demonstrations, too_long: Mapping[int, str], directory: Path) -> dict[str, Any]:
    """Writes `left_out.jsonl` and returns the counts of demonstrations that are screened; none of others.

    Args:
        demonstrations: Where they come from.
        too_long: How long those of too many tokens are, by their index among those that were drawn.
        directory: The folder of the artefact.
    """
    from medssr.training.demonstrations import LeftOut, ScreenedDemonstrations, write_left_out
    from medssr.training.trace_forms import Fault

    if not isinstance(demonstrations, ScreenedDemonstrations):
        return {}
    if is_main_process():
        numbers = demonstrations.numbers
        longer = [LeftOut(numbers[index], Fault.too_long.value, length) for index, length in too_long.items()]
        write_left_out([*demonstrations.left_out, *longer], directory / "left_out.jsonl")
    return {"traces": demonstrations.counts()}


def main() -> None:
    """Console entry point."""
    run_command("sft", _main)


def _main(config: SFTTrainConfig) -> None:
    from hydra.core.hydra_config import HydraConfig

    artifact = sft(config)
    if is_main_process():
        point_to(artifact, Path(HydraConfig.get().runtime.output_dir))
    log.info("made %s\nnext: medssr-evaluate run=%s", artifact.path("model"), artifact.directory)


if __name__ == "__main__":
    main()
