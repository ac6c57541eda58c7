"""One stage of GRPO with TRL 1.16 on the questions beside this file.

    python trl_train.py --config recommended.yaml --model_name_or_path MODEL --output_dir OUT
    accelerate launch trl_train.py --config parity.yaml --model_name_or_path MODEL --output_dir OUT --use_vllm

MODEL is a folder or a hub name, for stage 2 what stage 1 made. Every field of GRPOConfig can be given on the command
line. Where TRL differs from medssr-train with the same settings:

- Advantages are divided by the deviation + 1e-4, not + 1e-6.
- Groups whose rewards are all equal are not left out of the forward pass; they take part in the KL's gradient.
- The learning rate starts at 0 and is one step behind during warm-up.
- The log-ratio is not held within +-20, and cispo's weight has no lower bound.
- Seeds of completions are the engine's; questions are drawn in another order, and what is left of a pass over them when
  it fills no rollout is dropped.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from datasets import load_dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer, ModelConfig, TrlParser
from trl_reward import label_match

HERE = Path(__file__).resolve().parent


@dataclass
class StageArguments:
    """What the YAML file says beside GRPOConfig."""

    completions_per_update: int = field(metadata={"help": "Completions of one optimiser step, over all processes."})
    eos_token_ids: list[int] = field(metadata={"help": "Every token that ends a completion."})


def main() -> None:
    """Trains, and saves the model with a tokenizer that makes the same prompts."""
    parser = TrlParser((StageArguments, GRPOConfig, ModelConfig))
    stage, config, model = parser.parse_args_and_config()
    per_pass = config.per_device_train_batch_size * int(os.environ.get("WORLD_SIZE", "1"))
    if stage.completions_per_update % per_pass:
        raise SystemExit(
            f"per_device_train_batch_size x processes = {per_pass} does not divide the {stage.completions_per_update} "
            "completions of an update; change --per_device_train_batch_size."
        )
    config.gradient_accumulation_steps = stage.completions_per_update // per_pass
    trainer = GRPOTrainer(
        model=model.model_name_or_path,
        reward_funcs=label_match(stage.eos_token_ids),
        args=config,
        train_dataset=load_dataset(str(HERE / "questions"), split="train"),
        processing_class=AutoTokenizer.from_pretrained(HERE.parent / "tokenizer", padding_side="left"),
    )
    trainer.train()
    trainer.save_model(config.output_dir)


if __name__ == "__main__":
    main()
