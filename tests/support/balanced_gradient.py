"""The gradient of an optimiser step in two processes, as its samples were rolled out and after balancing."""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from support.helpers import grpo_config, policy_loss, random_policy
from support.step_gradient import other_weights

from medssr.grpo.balance import balance
from medssr.grpo.minibatches import Minibatch
from medssr.grpo.objective import Objective
from medssr.grpo.rollouts import Sample, require_logps
from medssr.utils.processes import average_number

# Of each optimiser step and process: the lengths of the completions of each prompt with signal.
LENGTHS = [
    [[[9, 8, 7, 6], [5, 6, 7, 8], [4, 4, 4, 4]], [[2, 1, 1, 2]]],
    [[], [[5, 9, 6, 7]]],
    [[], []],
]
KINDS = ("dapo", "gspo")


def _sample(process: int, prompt: int, row: int, length: int) -> Sample:
    prompt_ids = [11 + 7 * process + prompt, *range(20, 24 + 3 * prompt)]
    completion_ids = [40 + (31 * process + 7 * prompt + 5 * row + place) % 200 for place in range(length)]
    return Sample(f"q{process}{prompt}", prompt_ids, completion_ids, torch.zeros(length))


def minibatches_of(process: int, kind: str) -> list[Minibatch]:
    """What a process has rolled out, with normalisers over both."""
    minibatches = []
    for by_process in LENGTHS:
        groups = by_process[process]
        samples = [
            _sample(process, prompt, row, length)
            for prompt, group in enumerate(groups)
            for row, length in enumerate(group)
        ]
        advantages = [1.5 - row + prompt / 4 for prompt, group in enumerate(groups) for row in range(len(group))]
        # As if a group without signal had left, so that no normaliser is 0.
        local = policy_loss(kind).normalizer([3, *(len(sample.completion_ids) for sample in samples)], 12)
        minibatches.append(Minibatch(samples, advantages, average_number(local)))
    return minibatches


def _gradient(objective: Objective, minibatch: Minibatch) -> torch.Tensor:
    """The gradient that the optimiser step takes: the mean over the processes."""
    objective.model.zero_grad()
    for micro_batch in objective.micro_batches(minibatch):
        loss, _ = objective.loss(micro_batch)
        loss.backward()
    weights = list(objective.model.parameters())
    gradient = torch.cat(
        [(torch.zeros_like(weight) if weight.grad is None else weight.grad).flatten() for weight in weights]
    )
    torch.distributed.all_reduce(gradient)
    return gradient / torch.distributed.get_world_size()


def worker(rank: int, folder: str) -> None:
    """One of two processes: writes the gradients of each step and loss in both arrangements, and who has which rows."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    written: dict[str, Any] = {}
    model = random_policy("qwen3").model
    reference = other_weights(model)
    for kind in KINDS:
        config = grpo_config(kind, beta=0.1, tis_cap=2.0, micro_batch_tokens=40)
        objective = Objective(model, reference, policy_loss(kind), 0, config)
        before = minibatches_of(rank, kind)
        for minibatch in before:
            objective.compute_ref_and_old_logps(minibatch.samples, has_old=True)
            for sample in minibatch.samples:  # some tokens are clipped, and no importance weight is 1
                sample.old_logps = require_logps([sample.old_logps])[0] + 0.3 * (-1) ** len(sample.completion_ids)
                sample.engine_logps = sample.old_logps + 0.1
        after = balance(deepcopy(before), has_shared_prompts=objective.is_packed)
        written[kind] = {
            "before": [_gradient(objective, minibatch) for minibatch in before],
            "after": [_gradient(objective, minibatch) for minibatch in after],
            "tokens": [sum(len(sample.completion_ids) for sample in minibatch.samples) for minibatch in after],
        }
    torch.save(written, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()
