"""The gradient of a step does not depend on how its rows are put into micro-batches."""

from copy import deepcopy

import pytest
import torch

from medssr.rl.batching import pad_rollouts, split_by_tokens
from medssr.rl.logprobs import completion_logits, token_logps
from medssr.rl.losses import policy_loss

PROMPTS = [[5, 6, 7, 8], [9], [10, 11], [12, 13, 14, 15, 16, 17], [18, 19, 20], [21]]
COMPLETIONS = [[30, 31], [32, 33, 34, 35, 36, 37, 38], [39], [40, 41, 42], [43, 44, 45, 46], [47, 48]]
ADVANTAGES = [1.2, -0.7, 0.3, -1.5, 0.9, -0.2]
OLD_SHIFT = [0.0, 0.3, -0.4, 0.1, -0.3, 0.25]  # so that some tokens are clipped


def gradient(policy, reference, micro_batches, pad_columns=0):
    """The gradient of one step over all rows, `pad_columns` wider than the rows need."""
    model = policy.model
    model.zero_grad()
    num_tokens = sum(len(completion) for completion in COMPLETIONS)
    for rows in micro_batches:
        prompts, completions = [PROMPTS[row] for row in rows], [COMPLETIONS[row] for row in rows]
        if pad_columns:  # one more row, wider than all others, that no loss counts
            prompts, completions = [*prompts, [1] * (6 + pad_columns)], [*completions, [1] * (7 + pad_columns)]
        batch = pad_rollouts(prompts, completions, pad_id=0)
        kept = torch.ones(len(prompts), 1)
        kept[len(rows) :] = 0
        logps = token_logps(completion_logits(model, batch, 0.9), batch.completion_ids)
        with torch.no_grad():
            ref_logps = token_logps(completion_logits(reference, batch, 0.9), batch.completion_ids)
        shifts = torch.tensor([OLD_SHIFT[row] for row in rows] + [0.0] * (len(prompts) - len(rows)))
        loss, _ = policy_loss(
            logps,
            logps.detach() + shifts.unsqueeze(1),
            torch.tensor([ADVANTAGES[row] for row in rows] + [1.0] * (len(prompts) - len(rows))),
            batch.completion_mask * kept,
            epsilon=0.2,
            epsilon_high=0.28,
            normalizer=num_tokens,
            ref_per_token_logps=ref_logps,
            beta=0.1,
        )
        loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.fixture
def reference(any_policy):
    model = deepcopy(any_policy.model)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.mul_(1 + 0.02 * (-1) ** number)
    return model


@pytest.mark.parametrize(
    "micro_batches",
    [
        pytest.param([[0], [1], [2], [3], [4], [5]], id="one row each"),
        pytest.param([[0, 1], [2, 3, 4], [5]], id="uneven"),
        pytest.param([[5, 3, 1], [4, 2, 0]], id="another order"),
        pytest.param(
            split_by_tokens([len(p) + len(c) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)], 16), id="by tokens"
        ),
    ],
)
def test_micro_batches_make_the_gradient_of_the_whole(any_policy, reference, micro_batches):
    whole = gradient(any_policy, reference, [[0, 1, 2, 3, 4, 5]])
    parts = gradient(any_policy, reference, micro_batches)
    assert whole.norm() > 1e-3
    assert (parts - whole).norm() / whole.norm() < 1e-5


def test_padding_does_not_change_the_gradient(any_policy, reference):
    plain = gradient(any_policy, reference, [[0, 1, 2], [3, 4, 5]])
    padded = gradient(any_policy, reference, [[0, 1, 2], [3, 4, 5]], pad_columns=9)
    assert (padded - plain).norm() / plain.norm() < 1e-5
