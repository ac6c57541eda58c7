"""Measures an update with a head as large as Qwen3's: in chunks, and with a plain log-softmax.

    python experiments/performance/head_memory.py [--rounds 3] [--chunk-tokens 512]

The model has 151,936 vocabulary entries on a small body with random weights; there are 32 completions of 64 tokens. The
script measures peak memory and time of the forward and backward pass of a policy gradient, including the entropy that
is logged. The two variants take turns, each in a separate process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

NUM_PROMPTS, NUM_GENERATIONS, PROMPT_TOKENS, COMPLETION_TOKENS = 4, 8, 32, 64
BODY = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
}
VOCABULARY = 151_936


def new_model() -> Any:
    """Returns a Qwen3 with random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model("qwen3", vocab_size=VOCABULARY, tie_word_embeddings=True, **BODY)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def rollouts() -> tuple[list[list[int]], list[list[int]], Tensor]:
    """Returns prompts, completions, and an advantage for each completion."""
    generator = torch.Generator().manual_seed(1)

    def tokens(count: int) -> list[int]:
        return torch.randint(0, VOCABULARY, (count,), generator=generator).tolist()

    prompts = [prompt for prompt in (tokens(PROMPT_TOKENS) for _ in range(NUM_PROMPTS)) for _ in range(NUM_GENERATIONS)]
    return prompts, [tokens(COMPLETION_TOKENS) for _ in prompts], torch.randn(len(prompts), generator=generator)


def in_chunks(model: Any, chunk_tokens: int) -> tuple[Tensor, Tensor]:
    """Returns log-probs and entropies as medssr computes them."""
    from medssr.models.attention import adopt_attention
    from medssr.models.logprobs import packed_logps
    from medssr.models.packing import pack_rollouts

    assert adopt_attention(model)
    prompts, completions, _ = rollouts()
    return packed_logps(model, pack_rollouts(prompts, completions), 1.0, chunk_tokens, has_entropies=True)


def plain(model: Any) -> tuple[Tensor, Tensor]:
    """Returns log-probs and entropies by log-softmax over the logits of all completion tokens."""
    prompts, completions, _ = rollouts()
    ids = torch.tensor([prompt + completion for prompt, completion in zip(prompts, completions, strict=True)])
    logits = model(ids, logits_to_keep=COMPLETION_TOKENS + 1, use_cache=False).logits[:, :-1]
    logps = logits.log_softmax(dim=-1)
    with torch.no_grad():
        entropies = -(logps.exp() * logps).sum(dim=-1)
    return logps.gather(-1, ids[:, -COMPLETION_TOKENS:, None]).squeeze(-1), entropies


def memory(name: str) -> float:
    """Returns a memory field of the process in MiB: VmRSS is current, VmHWM the peak."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def measure(variant: str, chunk_tokens: int) -> None:
    """Prints the MiB that an update adds, its wall and CPU seconds, and figures that identify its result."""
    model, advantages = new_model(), rollouts()[2]
    model(
        torch.tensor([[1, 2]])
    ).logits.sum().backward()  # allocates gradients and what the first pass of a process needs
    model.zero_grad(set_to_none=False)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    start = time.perf_counter(), time.process_time()
    logps, entropies = plain(model) if variant == "plain" else in_chunks(model, chunk_tokens)
    (-(logps * advantages.unsqueeze(1)).mean()).backward()
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    peak = memory("VmHWM") - before
    print(peak, *seconds, logps.mean().item(), entropies.mean().item(), norm.item())


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk-tokens", type=int, default=512)
    parser.add_argument("--variant", choices=["chunks", "plain"], help="measure in this process")
    arguments = parser.parse_args()
    if arguments.variant:
        measure(arguments.variant, arguments.chunk_tokens)
        return
    measured: dict[str, list[list[float]]] = {"chunks": [], "plain": []}
    for _ in range(arguments.rounds):
        for variant, rows in measured.items():
            command = [sys.executable, __file__, "--variant", variant, "--chunk-tokens", str(arguments.chunk_tokens)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append([float(word) for word in output.split()])
    medians = {variant: [median(column) for column in zip(*rows, strict=True)] for variant, rows in measured.items()}
    for variant, (peak, clock, processors, logp, entropy, norm) in medians.items():
        print(f"{variant:7s} {peak:7.0f} MiB, {clock:5.2f} s, {processors:5.2f} s of processors; ", end="")
        print(f"mean log-prob {logp:.5f}, entropy {entropy:.5f}, norm of the gradient {norm:.6f}")
    peak, clock, processors = (a / b for a, b in zip(medians["chunks"][:3], medians["plain"][:3], strict=True))
    print(
        f"chunks / plain: memory {peak:.2f}, at most 0.5; time {clock:.2f} by the clock, {processors:.2f} of processors"
    )


if __name__ == "__main__":
    main()
