"""The gradient of one optimiser step on sixteen completions, split, padded or packed in different ways."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from support.helpers import LOSSES, policy_loss, random_policy
from support.losses import step_loss

from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import completion_logps, completion_logps_and_entropies, packed_logps
from medssr.models.packing import pack_rollouts
from medssr.utils.processes import average_number

# Some of them shared by two completions.
PROMPTS = [[5 + row % 12 + column for column in range(1 + 3 * (row % 12) % 7)] for row in range(16)]
COMPLETIONS = [[40 + 5 * row + column for column in range(1 + 5 * row % 9)] for row in range(16)]
ADVANTAGES = [1.2, -0.7, 0.3, -1.5, 0.9, -0.2, 0.6, -0.4] * 2
OLD_SHIFT = [0.0, 0.3, -0.4, 0.1, -0.3, 0.25, 0.02, -1.3] * 2  # so that some tokens are clipped, from both sides
# Of the question of each row, and every how manieth token of it is trained.
WEIGHTS = [0.5, 1.0, 2.0, 0.25, 1.5, 1.0, 0.75, 3.0] * 2
EVERY = [1, 2, 1, 3] * 4
MAX_NEW_TOKENS = 12
CLIP = {"epsilon": 0.2, "epsilon_high": 0.28}  # wide enough that gspo clips only some sequences
LENGTHS = [len(prompt) + len(completion) for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True)]
EVERY_ROW = list(range(16))


def other_weights(model: Any) -> Any:
    """A reference policy that differs from the model."""
    reference = deepcopy(model)
    with torch.no_grad():
        for number, parameter in enumerate(reference.parameters()):
            parameter.mul_(1 + 0.02 * (-1) ** number)
    return reference


def step_gradient(
    model: Any,
    reference: Any,
    micro_batches: Sequence[Sequence[int]],
    kind: str,
    *,
    wide_prompt: int = 0,
    wide_completion: int = 0,
    head_chunk_tokens: int | None = None,
    is_packed: bool = False,
    is_weighted: bool = False,
) -> torch.Tensor:
    """The gradient of one step on the rows of the micro-batches, padded to at least the given widths, or packed.

    If it is weighted, each row has the weight of its question and a mask of the tokens that are trained, and the loss
    has a term for the entropy.
    """
    model.zero_grad()
    loss_class = policy_loss(kind)
    every_row = [row for rows in micro_batches for row in rows]
    every = EVERY if is_weighted else [1] * len(EVERY)
    all_weights = WEIGHTS if is_weighted else [1.0] * len(WEIGHTS)
    lengths = [len(COMPLETIONS[row][:: every[row]]) for row in every_row]
    normalizer = loss_class.normalizer(lengths, MAX_NEW_TOKENS, [all_weights[row] for row in every_row])
    if loss_class.is_global_mean:
        normalizer = average_number(normalizer)
    bounds = {name: value for name, value in CLIP.items() if hasattr(loss_class, name)}
    for rows in micro_batches:
        prompts, completions = [PROMPTS[row] for row in rows], [COMPLETIONS[row] for row in rows]
        shifts, advantages = [OLD_SHIFT[row] for row in rows], [ADVANTAGES[row] for row in rows]
        weights = [all_weights[row] for row in rows]
        if wide_prompt or wide_completion:  # one more row, wider than all others, that no loss counts
            prompts, completions = [*prompts, [1] * max(1, wide_prompt)], [*completions, [1] * max(1, wide_completion)]
            shifts, advantages, weights = [*shifts, 0.0], [*advantages, 1.0], [*weights, 1.0]
        batch = pad_rollouts(prompts, completions, pad_id=0)
        mask = batch.completion_mask.clone()
        mask[len(rows) :] = 0
        for place, row in enumerate(rows):
            mask[place] *= torch.arange(mask.shape[1]) % every[row] == 0
        if is_packed:
            packed = pack_rollouts(prompts, completions)
            logps, entropies = packed_logps(model, packed, 0.9, head_chunk_tokens, has_entropies=is_weighted)
        else:
            logps, entropies = completion_logps_and_entropies(model, batch, 0.9, head_chunk_tokens)
        with torch.no_grad():
            ref_logps = completion_logps(reference, batch, 0.9)
        loss, _ = step_loss(
            logps,
            logps.detach() + torch.tensor(shifts).unsqueeze(1) + 0.15 * (-1.0) ** torch.arange(logps.shape[1]),
            torch.tensor(advantages),
            mask,
            kind,
            question_weights=torch.tensor(weights) if is_weighted else None,
            normalizer=normalizer,
            ref_logps=ref_logps,
            beta=0.1,
            entropies=entropies if is_weighted else None,
            entropy_coef=0.05,
            **bounds,
        )
        loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def data_parallel_worker(rank: int, rows_of_rank: list[list[int]], folder: str) -> None:
    """One of several processes: writes its gradient of data-parallel training on its local rows."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(rows_of_rank)
    )
    policy = random_policy("qwen3")
    reference = other_weights(policy.model)
    model = torch.nn.parallel.DistributedDataParallel(policy.model)
    gradients = {
        f"{kind}{' weighted' * is_weighted}": step_gradient(
            model, reference, [rows_of_rank[rank]], kind, is_weighted=is_weighted
        )
        for kind in LOSSES
        for is_weighted in (False, True)
    }
    torch.save(gradients, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()
