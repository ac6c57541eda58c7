"""What the checks on a GPU run on, and the updates of models with random weights that one of them takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import medssr

RESOURCES = Path(medssr.__file__).parent / "resources"
QUESTIONS = RESOURCES / "questions" / "human.jsonl"
# The architecture of Qwen3-1.7B (its config.json), and one that a CPU trains in seconds.
QWEN3_1_7B = {
    "vocab_size": 151_936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
}
QWEN3_8B = QWEN3_1_7B | {
    "hidden_size": 4096,
    "intermediate_size": 12_288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "tie_word_embeddings": False,
}
SMALL = QWEN3_1_7B | {
    "vocab_size": 4096,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
# A stage that takes seconds on any device.
SHORT = ["extras.progress_bar=false", "logger=csv", "grpo.num_prompts_per_step=8", "grpo.num_generations=4"]
PROMPT_TOKENS, COMPLETION_TOKENS = 64, 448
# What an update is compared with and without.
UPDATE_SETTINGS = {
    "as it is": [],
    "flex_attention": ["model.attn_implementation=flex_attention"],
    "every second layer recomputed": ["model.recompute_every=2"],
    "head in chunks of 512": ["grpo.head_chunk_tokens=512"],
    "layers compiled": ["model.compile_layers=true"],
    "kernels of Liger": ["model.liger_kernels=true"],
    "layers compiled, flex_attention, kernels of Liger": [
        *("model.compile_layers=true", "model.liger_kernels=true", "model.attn_implementation=flex_attention")
    ],
}


@dataclass(frozen=True)
class Machine:
    """What the checks run on.

    Attributes:
        folder: Where artefacts, logs and the report go.
        has_gpu: Whether the commands run on a GPU.
        has_vllm: Whether vLLM is installed; else transformers samples.
    """

    folder: Path
    has_gpu: bool
    has_vllm: bool

    def settings(self, name: str, *, trainer: str = "") -> list[str]:
        """Returns the settings of device, engine and folder of one check."""
        trainer = trainer or ("gpu" if self.has_gpu else "cpu")
        on_cpu = [] if self.has_gpu else ["trainer.accelerator=cpu", "trainer.precision=32-true"]
        rollout = "vllm" if self.has_vllm else "hf"
        return [f"trainer={trainer}", *on_cpu, f"rollout={rollout}", f"paths.root_dir={self.folder / name}", *SHORT]


def check_update(machine: Machine) -> dict[str, Any]:
    """Takes updates of 14,336 tokens with adapters at the shapes of Qwen3-1.7B and 8B, with and without settings."""
    shapes = {"qwen3_1.7b": QWEN3_1_7B, "qwen3_8b": QWEN3_8B} if machine.has_gpu else {"small": SMALL}
    return {
        f"{shape}, {name}": timed_update(machine, shape, shapes[shape], settings)
        for shape in shapes
        for name, settings in UPDATE_SETTINGS.items()
        if can_run(machine, settings)
    }


def can_run(machine: Machine, settings: list[str]) -> bool:
    """Returns whether an update runs here: FlexAttention has no gradients on a CPU, and Liger is a package for GPUs."""
    needs_gpu = any("flex_attention" in setting or "liger" in setting for setting in settings)
    return not needs_gpu or (
        machine.has_gpu and (find_spec("liger_kernel") is not None or "liger" not in str(settings))
    )


def timed_update(machine: Machine, shape: str, sizes: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Returns speed and memory of an update; adapters, so that 8B fits one GPU."""
    import torch

    from medssr.cli.entry import composed
    from medssr.grpo.losses import DAPO
    from medssr.grpo.minibatches import Minibatch
    from medssr.grpo.objective import Objective
    from medssr.models.device import free_gpu_memory
    from medssr.models.policy import load_trainable_policy

    device = "cuda" if machine.has_gpu else "cpu"
    free_gpu_memory()  # of the update before
    folder = random_model(machine, shape, sizes)
    overrides = ["model=local", f"model.path={folder}", f"data.path={QUESTIONS}", "lora=default", "grpo=large"]
    overrides += ["model.dtype=bfloat16", "model.gradient_checkpointing=true", *machine.settings("update")]
    config = composed("train", [*overrides, *settings])
    policy = load_trainable_policy(config.model, config.lora, config.seed)
    policy.model.to(device).train()
    objective = Objective(policy.model, policy.model, DAPO(0.2, 0.28, None), 0, config.grpo)
    samples = random_samples(32 if machine.has_gpu else 4)
    minibatch = Minibatch(samples, [1.0, -1.0] * (len(samples) // 2), float(len(samples) * COMPLETION_TOKENS))
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, 1e-5)

    def update() -> None:
        objective.compute_ref_and_old_logps(samples, has_old=False)
        for part in objective.micro_batches(minibatch):
            with torch.autocast(device, torch.bfloat16):
                loss, _ = objective.loss(part)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if machine.has_gpu:
            torch.cuda.synchronize()

    update()  # compiles and allocates
    if machine.has_gpu:
        torch.cuda.reset_peak_memory_stats()
    begin = time.monotonic()
    update()
    seconds = time.monotonic() - begin
    return {
        "seconds": seconds,
        "tokens_per_second": len(samples) * COMPLETION_TOKENS / seconds,
        "mfu": model_flops(config, len(samples)) / seconds / product_flops() if machine.has_gpu else None,
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if machine.has_gpu else None,
        "computed_gb": computed_gb(config),
        "kernels": slowest_kernels(machine, update),
    }


def random_samples(number: int) -> list[Any]:
    """Returns completions of random tokens, eight of each prompt."""
    import torch

    from medssr.grpo.rollouts import Sample

    generator = torch.Generator().manual_seed(0)

    def tokens(count: int) -> list[int]:
        return torch.randint(10, 4000, (count,), generator=generator).tolist()

    prompts = [tokens(PROMPT_TOKENS) for _ in range(number // 8 or 1)]
    logps = torch.full((COMPLETION_TOKENS,), -8.0)
    return [Sample("", prompts[index // 8], tokens(COMPLETION_TOKENS), logps) for index in range(number)]


def model_flops(config: Any, num_samples: int) -> float:
    """Returns the FLOPs of an update that no arrangement saves: frozen weights have no gradient; nothing is recomputed.

    One forward pass of the reference, one of the policy, and the gradient of each input.
    """
    from medssr.models.architecture import Architecture, architecture_of

    model = architecture_of(config.model.path)
    assert isinstance(model, Architecture)
    weights = model.num_layers * model.num_active_layer_weights
    completions = num_samples * COMPLETION_TOKENS
    tokens = completions + num_samples / 8 * PROMPT_TOKENS
    attended = completions * (PROMPT_TOKENS + COMPLETION_TOKENS / 2)
    attention = 4 * model.num_layers * model.num_heads * model.head_dim * attended
    return 3 * (2 * weights * tokens + 2 * model.vocab_size * model.width * completions + attention)


def product_flops() -> float:
    """Returns the published bfloat16 product speed of the GPU, and raises RuntimeError for one that is not known."""
    import torch

    from medssr.models.hardware import known_gpu, peak_flops, published

    name = torch.cuda.get_device_name()
    gpu = known_gpu(name)
    if gpu is None:
        raise RuntimeError(f"no published speed is known of {name}")
    return peak_flops(published(gpu), num_bytes=2)


def slowest_kernels(machine: Machine, update: Callable[[], None]) -> list[str]:
    """Returns what took most of an update."""
    import torch

    activity = getattr(torch.profiler.ProfilerActivity, "CUDA" if machine.has_gpu else "CPU")
    with torch.profiler.profile(activities=[activity]) as profile:
        update()
    by_time = sorted(profile.key_averages(), key=lambda row: -row.self_device_time_total)
    return [f"{row.key[:80]}: {row.self_device_time_total / 1e3:.1f} ms" for row in by_time[:8]]


def computed_gb(config: Any) -> float | None:
    """Returns the memory of an update on one device by `--info`."""
    from medssr.commands.info import memory_needed

    needed = memory_needed(config)
    return None if needed is None else needed / 1e9


def random_model(machine: Machine, name: str, shape: dict[str, Any]) -> Path:
    """Returns the folder of a model of a shape with random weights in bfloat16, which it writes the first time."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = machine.folder / f"random_{name}"
    if not folder.is_dir():
        tokenizer = AutoTokenizer.from_pretrained(RESOURCES / "policies" / "tiny_qwen3")
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
        config = AutoConfig.for_model("qwen3", max_position_embeddings=32_768, **shape, **ends)
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder
