"""The divergence from a teacher over the vocabulary: by hand, against loops, in chunks, packed and padded."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import copy_policy
from support.step_gradient import other_weights

from medssr.errors import InputError
from medssr.models.attention import adopt_attention
from medssr.models.batching import pad_rollouts
from medssr.models.divergence import check_head, generalized_jsd, scores_and_divergences, teacher_states
from medssr.models.logprobs import completion_logits, completion_logps_and_entropies
from medssr.models.packing import pack_rollouts

PROMPTS = [[5, 6, 7, 8], [5, 6, 7, 8], [10, 11]]
COMPLETIONS = [[20, 21], [22, 23, 24, 25], [26, 27, 28]]
CPU = torch.device("cpu")


def kl(first, second):
    return sum(p * (math.log(p) - math.log(q)) for p, q in zip(first, second, strict=True))


def divergence(policy, teacher, interpolation):
    logits = [torch.tensor([row], dtype=torch.float64).log() for row in (policy, teacher)]
    return generalized_jsd(*logits, interpolation).item()


def test_by_hand():
    """Policy (1/2, 1/2), teacher (3/4, 1/4), mixture of b = 1/2 (5/8, 3/8)."""
    assert divergence([0.5, 0.5], [0.75, 0.25], 0) == pytest.approx(0.75 * math.log(1.5) - 0.25 * math.log(2))
    assert divergence([0.5, 0.5], [0.75, 0.25], 1) == pytest.approx(0.5 * math.log(2 / 3) + 0.5 * math.log(2))
    expected = (0.75 * math.log(6 / 5) + 0.25 * math.log(2 / 3) + 0.5 * math.log(4 / 5) + 0.5 * math.log(4 / 3)) / 2
    assert divergence([0.5, 0.5], [0.75, 0.25], 0.5) == pytest.approx(expected)


@pytest.mark.slow
@given(
    st.lists(st.tuples(*[st.floats(0.01, 1)] * 2), min_size=2, max_size=5),
    st.floats(0.05, 0.95),
)
def test_it_is_that_of_the_description_in_loops_and_no_less_than_zero(pairs, interpolation):
    policy, teacher = ([value / sum(column) for value in column] for column in zip(*pairs, strict=True))
    mixture = [interpolation * p + (1 - interpolation) * q for p, q in zip(teacher, policy, strict=True)]
    expected = interpolation * kl(teacher, mixture) + (1 - interpolation) * kl(policy, mixture)
    actual = divergence(policy, teacher, interpolation)
    assert actual == pytest.approx(expected, abs=1e-12)
    assert actual >= -1e-12
    assert divergence(policy, policy, interpolation) == pytest.approx(0, abs=1e-12)


def test_the_gradient_for_the_policy_of_the_kl_from_a_teacher_is_policy_minus_teacher():
    logits = torch.tensor([[0.0, math.log(3.0)]], requires_grad=True)  # 1/4, 3/4
    generalized_jsd(logits, torch.tensor([[0.0, 0.0]]), 0).sum().backward()
    assert logits.grad.tolist() == [pytest.approx([-0.25, 0.25])]


@pytest.mark.slow
@pytest.mark.parametrize("chunk_tokens", [2, 100])
@pytest.mark.parametrize("is_packed", [False, True], ids=["padded", "packed"])
def test_one_pass_gives_scores_divergences_and_their_gradient(random_policies, is_packed, chunk_tokens):
    model = copy_policy(random_policies["qwen3"]).model
    plain = deepcopy(model)
    teacher = other_weights(model)
    padded = pad_rollouts(PROMPTS, COMPLETIONS, 0, CPU)
    if is_packed:
        assert adopt_attention(model)
        assert adopt_attention(teacher)
    batch = pack_rollouts(PROMPTS, COMPLETIONS) if is_packed else padded
    is_compared = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 1], [0, 0, 0, 0]]).bool()
    states = teacher_states(teacher, batch, is_lent=False)
    assert not states.hidden.requires_grad
    logps, entropies, divergences = scores_and_divergences(model, batch, states, is_compared, 0.7, chunk_tokens, 0.5)
    (0.3 * logps[padded.completion_mask.bool()].sum() + divergences.sum()).backward()

    expected_logps, expected_entropies = completion_logps_and_entropies(plain, padded, 0.7)
    logits = completion_logits(plain, padded, 1.0)
    with torch.no_grad():
        teacher_logits = completion_logits(teacher, padded, 1.0)
    expected = generalized_jsd(logits.flatten(0, 1), teacher_logits.flatten(0, 1), 0.5).view(is_compared.shape)
    expected = expected.where(is_compared, 0.0)
    is_token = padded.completion_mask.bool()
    (0.3 * expected_logps[is_token].sum() + expected.sum()).backward()
    torch.testing.assert_close(divergences, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(logps[is_token], expected_logps[is_token], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(entropies[is_token], expected_entropies[is_token], rtol=1e-4, atol=1e-5)
    for weight, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad, rtol=1e-3, atol=1e-5)
    assert all(weight.grad is None for weight in teacher.parameters())


def test_the_head_of_weights_that_are_lent_is_copied(random_policies):
    model = copy_policy(random_policies["qwen3"]).model
    batch = pad_rollouts(PROMPTS, COMPLETIONS, 0, CPU)
    head = model.get_output_embeddings().weight
    assert teacher_states(model, batch, is_lent=False).head_weight.data_ptr() == head.data_ptr()
    copied = teacher_states(model, batch, is_lent=True).head_weight
    assert copied.data_ptr() != head.data_ptr()
    assert torch.equal(copied, head)


def test_a_model_that_changes_its_logits_is_refused(random_policies):
    model = copy_policy(random_policies["qwen3"]).model
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(InputError, match=r"grpo\.distillation: .*final_logit_softcapping"):
        check_head(model)
