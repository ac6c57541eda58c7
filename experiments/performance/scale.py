"""Measures tokens per second of rollout and update, FLOPs utilisation and peak memory at the shapes of real models.

    python experiments/performance/scale.py --shape qwen3_1.7b --prompts 4 --micro-batch-tokens 16384
    python experiments/performance/scale.py --shape qwen3_8b --prompts 2 --micro-batch-tokens 16384
    python experiments/performance/scale.py --shape small --prompts 2 --prompt-tokens 64 --completion-tokens 64   # CPU

The models have random weights in bfloat16, activation checkpointing, and AdamW with states in bfloat16; each prompt has
8 completions of full length. The script uses a GPU if there is one. Utilisation is relative to the speed of a large
matrix product, which is measured in the same run.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf

from medssr.config import TrainConfig, register
from medssr.config.catalog import CONF_DIR
from medssr.engines.hf_engine import HFEngine
from medssr.engines.types import Completion, Sampling
from medssr.grpo.minibatches import Minibatch
from medssr.grpo.objective import Objective
from medssr.grpo.rollouts import Sample
from medssr.models.policy import Policy
from medssr.utils.instantiate import instantiate

# As in Qwen3: hidden size, intermediate size, layers, heads, key-value heads, head width, tied embeddings.
SHAPES = {
    "small": (256, 768, 4, 8, 4, 32, True),
    "qwen3_0.6b": (1024, 3072, 28, 16, 8, 128, True),
    "qwen3_1.7b": (2048, 6144, 28, 16, 8, 128, True),
    "qwen3_8b": (4096, 12288, 36, 32, 8, 128, False),
}
VOCABULARY = 151_936
NUM_GENERATIONS = 8
PRODUCT_ROWS = 4096  # of the square matrices whose product measures the machine's speed


@dataclass(frozen=True, slots=True)
class Workload:
    """The size of the computation of one step.

    Attributes:
        parameters: Parameters of layers and head, without the embedding table.
        layers: Number of layers.
        width: Number of heads times head width.
        prompts: Number of prompts.
        prompt_tokens: Tokens of each prompt.
        completion_tokens: Tokens of each completion.
    """

    parameters: int
    layers: int
    width: int
    prompts: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def completions(self) -> int:
        """Number of completions."""
        return self.prompts * NUM_GENERATIONS

    def forward_flops(self) -> float:
        """Returns the FLOPs of a forward pass: 2 per parameter and token, and 4 per query, key and unit of width."""
        tokens = self.prompts * self.prompt_tokens + self.completions * self.completion_tokens
        keys = self.prompts * self.prompt_tokens**2 / 2 + self.completions * self.completion_tokens * (
            self.prompt_tokens + self.completion_tokens / 2
        )
        return 2 * self.parameters * tokens + 4 * self.layers * self.width * keys


class NoText:
    """A tokenizer without an end token, which decodes every completion to an empty text."""

    pad_token_id = 0
    eos_token_id = None

    def batch_decode(self, rows: list[list[int]], **_: Any) -> list[str]:
        """Returns an empty text for each row."""
        return [""] * len(rows)


def new_model(shape: str, device: torch.device) -> Any:
    """Returns a Qwen3 of the shape with random weights in bfloat16."""
    from transformers import AutoConfig, AutoModelForCausalLM

    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    values = dict(zip((*names, "head_dim", "tie_word_embeddings"), SHAPES[shape], strict=True))
    config = AutoConfig.for_model("qwen3", vocab_size=VOCABULARY, max_position_embeddings=32_768, **values)
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    model.generation_config.eos_token_id = None
    model.gradient_checkpointing_enable()
    return model.train()


def timed(task: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Returns the seconds that the task took, and its result."""
    _wait(device)
    start = time.perf_counter()
    result = task()
    _wait(device)
    return time.perf_counter() - start, result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def product_flops(device: torch.device) -> float:
    """Returns the FLOPs per second of a large matrix product in bfloat16, the best of five."""
    left = torch.randn(PRODUCT_ROWS, PRODUCT_ROWS, device=device, dtype=torch.bfloat16)
    best = min(timed(lambda: left @ left, device)[0] for _ in range(5))
    return 2 * PRODUCT_ROWS**3 / best


def peak_memory(device: torch.device) -> str:
    """Returns the peak memory: on a GPU since the last reset, on a CPU of the whole process."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB of the process so far"


def measure(arguments: argparse.Namespace) -> None:
    """Measures and prints."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    model = new_model(arguments.shape, device)
    hidden, _, layers, heads, _, width, _ = SHAPES[arguments.shape]
    embedding = 0 if model.config.tie_word_embeddings else hidden * VOCABULARY
    work = Workload(
        sum(parameter.numel() for parameter in model.parameters()) - embedding,
        layers,
        heads * width,
        arguments.prompts,
        arguments.prompt_tokens,
        arguments.completion_tokens,
    )
    machine = product_flops(device)
    print(
        f"{arguments.shape}: {work.parameters / 1e9:.2f} B parameters in products; {name}; {machine / 1e12:.2f} TFLOP/s"
    )

    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(1, VOCABULARY, (work.prompts, work.prompt_tokens), generator=generator).tolist()
    seeds = [[100 * prompt + sample for sample in range(NUM_GENERATIONS)] for prompt in range(work.prompts)]
    engine = HFEngine(Policy(model, NoText(), "{question}"), arguments.max_batch_size)
    engine.generate(prompts[:1], seeds[:1], Sampling(1.0, 2))
    seconds, groups = timed(lambda: engine.generate(prompts, seeds, Sampling(1.0, work.completion_tokens)), device)
    report("rollout", seconds, work, work.forward_flops(), machine, device)

    register("train")
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        composed = hydra.compose(
            "train",
            [
                *("paths.root_dir=/tmp", "data.path=none", "grpo.beta=0", "grpo.max_new_tokens=4096"),
                f"grpo.micro_batch_tokens={arguments.micro_batch_tokens}",
                f"grpo.head_chunk_tokens={arguments.head_chunk_tokens}",
            ],
        )
    config = OmegaConf.to_object(composed)
    assert isinstance(config, TrainConfig)
    policy_loss = instantiate(config.grpo.loss, "grpo.loss")
    objective = Objective(model, None, policy_loss, NoText.pad_token_id, config.grpo)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=device.type == "cuda")
    for _ in range(2):  # the first pass allocates the optimiser's states
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds, _ = timed(lambda: update(objective, optimizer, prompts, groups), device)
    report("update", seconds, work, 3 * work.forward_flops(), machine, device)


def update(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    prompts: list[list[int]],
    groups: list[list[Completion]],
) -> None:
    """Takes one optimiser step on all completions."""
    samples = [
        Sample(str(number), prompt, completion.token_ids, torch.tensor(completion.logps))
        for number, (prompt, group) in enumerate(zip(prompts, groups, strict=True))
        for completion in group
    ]
    advantages = [1.0 if index % 2 == 0 else -1.0 for index in range(len(samples))]
    num_tokens = float(sum(len(sample.completion_ids) for sample in samples))
    for micro_batch in objective.micro_batches(Minibatch(samples, advantages, num_tokens)):
        loss, _ = objective.loss(micro_batch)
        loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def report(part: str, seconds: float, work: Workload, flops: float, machine: float, device: torch.device) -> None:
    """Prints speed, utilisation and memory of one part of a step."""
    tokens = work.completions * work.completion_tokens
    print(
        f"{part}: {seconds:.2f} s, {tokens / seconds:,.0f} completion tokens a second, "
        f"{flops / seconds / machine:.1%} of the machine's speed, {peak_memory(device)}"
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="small")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--completion-tokens", type=int, default=1024)
    parser.add_argument("--micro-batch-tokens", type=int, default=16_384)
    parser.add_argument("--head-chunk-tokens", type=int, default=512)
    parser.add_argument("--max-batch-size", type=int, default=256)
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
