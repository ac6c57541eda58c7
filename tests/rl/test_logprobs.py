import math

import pytest
import torch

from medssr.rl.batching import pad_rollouts
from medssr.rl.logprobs import completion_logits, token_entropies, token_logps

PROMPTS = [[5, 6, 7, 8], [9], [10, 11]]
COMPLETIONS = [[20, 21], [22, 23, 24, 25], [26, 27, 28]]


def random_logits(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_logps_by_hand():
    logits = torch.tensor([[[0.0, math.log(3.0)], [math.log(4.0), 0.0]]])  # chances 1/4, 3/4 and 4/5, 1/5
    found = token_logps(logits, torch.tensor([[1, 1]]))
    assert found.exp().tolist() == [pytest.approx([0.75, 0.2])]


def test_logps_are_those_of_log_softmax():
    logits = random_logits(3, 4, 11)
    ids = torch.randint(0, 11, (3, 4), generator=torch.Generator().manual_seed(1))
    expected = torch.log_softmax(logits, dim=-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(token_logps(logits, ids), expected, rtol=1e-12, atol=1e-12)


def test_logps_stay_finite_for_huge_logits():
    found = token_logps(torch.tensor([[[1e4, -1e4, 0.0]]]), torch.tensor([[0]]))
    assert found.item() == 0


def test_entropies_by_hand():
    logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [50.0, -50.0, -50.0, -50.0], [0.0, 0.0, -200.0, -200.0]]])
    assert token_entropies(logits).tolist() == [pytest.approx([math.log(4), 0.0, math.log(2)], abs=1e-6)]


def test_entropies_are_those_of_torch():
    logits = random_logits(2, 3, 7)
    expected = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(token_entropies(logits), expected)


def test_entropies_need_no_gradient():
    assert not token_entropies(random_logits(1, 1, 3).requires_grad_()).requires_grad


def test_completion_logits_are_those_of_each_row_alone(any_policy):
    batch = pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0)
    with torch.no_grad():
        logits = completion_logits(any_policy.model, batch, temperature=1.0)
        for row, (prompt, completion) in enumerate(zip(PROMPTS, COMPLETIONS, strict=True)):
            alone = any_policy.model(torch.tensor([prompt + completion])).logits[0]
            # The token at a place is predicted one place before it.
            expected = alone[len(prompt) - 1 : -1]
            torch.testing.assert_close(logits[row, : len(completion)], expected, rtol=1e-4, atol=1e-4)


def test_completion_logits_are_divided_by_the_temperature(policy):
    batch = pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0)
    with torch.no_grad():
        cold, plain = (completion_logits(policy.model, batch, temperature) for temperature in (0.5, 1.0))
    torch.testing.assert_close(cold, 2 * plain)


def test_completion_logits_are_float32_whatever_the_weights_are(policy):
    logits = completion_logits(policy.model.bfloat16(), pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0), 1.0)
    assert logits.dtype is torch.float32
