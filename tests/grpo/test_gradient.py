"""The gradient of a step does not depend on how its rows are split, ordered, padded and sharded over processes."""

import random
from itertools import product

import pytest
import torch
from support.helpers import LOSSES
from support.step_gradient import (
    COMPLETIONS,
    EVERY_ROW,
    LENGTHS,
    PROMPTS,
    data_parallel_worker,
    other_weights,
    step_gradient,
)

from medssr.models.attention import adopt_attention
from medssr.models.batching import split_by_tokens
from medssr.models.packing import split_by_packed_tokens

pytestmark = pytest.mark.slow

COMPLETION_LENGTHS = [len(completion) for completion in COMPLETIONS]
SHUFFLED = random.Random(0).sample(EVERY_ROW, 16)


def relative_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    assert expected.norm() > 1e-3
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.fixture
def reference(any_policy):
    return other_weights(any_policy.model)


@pytest.mark.parametrize("kind", LOSSES)
def test_the_gradient_is_that_of_the_whole_step(any_policy, reference, kind):
    def gradient(micro_batches, **padding):
        return step_gradient(any_policy.model, reference, micro_batches, kind, **padding)

    whole = gradient([EVERY_ROW])
    gradients = {
        "16 x 1": gradient([[row] for row in EVERY_ROW]),
        "1 x 16 in another order": gradient([SHUFFLED]),
        "16 x 1 in another order": gradient([[row] for row in SHUFFLED]),
        "uneven": gradient([SHUFFLED[:1], SHUFFLED[1:10], SHUFFLED[10:]]),
        "by tokens": gradient(split_by_tokens(LENGTHS, 40)),
        "wider on the left": gradient([EVERY_ROW[:8], EVERY_ROW[8:]], wide_prompt=17),
        "wider on the right": gradient([EVERY_ROW[:8], EVERY_ROW[8:]], wide_completion=19),
        "logits in chunks": gradient([EVERY_ROW], head_chunk_tokens=7),
    }
    assert adopt_attention(any_policy.model)
    gradients |= {
        "packed": gradient([EVERY_ROW], is_packed=True),
        "packed, 16 x 1": gradient([[row] for row in EVERY_ROW], is_packed=True),
        "packed, uneven": gradient([SHUFFLED[:1], SHUFFLED[1:10], SHUFFLED[10:]], is_packed=True),
        "packed, by tokens": gradient(split_by_packed_tokens(PROMPTS, COMPLETION_LENGTHS, 40), is_packed=True),
        "packed, logits in chunks": gradient([SHUFFLED], is_packed=True, head_chunk_tokens=7),
    }
    differences = {way: relative_difference(gradient_, whole) for way, gradient_ in gradients.items()}
    assert {way: difference for way, difference in differences.items() if difference > 1e-6} == {}


@pytest.mark.parametrize("kind", LOSSES)
def test_weights_of_questions_and_masks_of_tokens_do_not_depend_on_the_split_either(policy, kind):
    reference = other_weights(policy.model)

    def gradient(micro_batches, **ways):
        return step_gradient(policy.model, reference, micro_batches, kind, is_weighted=True, **ways)

    whole = gradient([EVERY_ROW])
    uneven = [SHUFFLED[:1], SHUFFLED[1:10], SHUFFLED[10:]]
    assert adopt_attention(policy.model)
    gradients = {
        "16 x 1": gradient([[row] for row in EVERY_ROW]),
        "uneven": gradient(uneven),
        "wider on both sides": gradient([EVERY_ROW[:8], EVERY_ROW[8:]], wide_prompt=17, wide_completion=19),
        "packed, uneven": gradient(uneven, is_packed=True),
        "packed, logits in chunks": gradient([SHUFFLED], is_packed=True, head_chunk_tokens=7),
    }
    differences = {way: relative_difference(gradient_, whole) for way, gradient_ in gradients.items()}
    # A bound above that of the test before, since fewer tokens leave more of the rounding.
    assert {way: difference for way, difference in differences.items() if difference > 3e-6} == {}
    assert relative_difference(step_gradient(policy.model, reference, [EVERY_ROW], kind), whole) > 1e-2


def test_loss_types_differ(policy):
    """Otherwise the test above could pass for a loss type that nothing reads."""
    reference = other_weights(policy.model)
    gradients = {kind: step_gradient(policy.model, reference, [EVERY_ROW], kind) for kind in LOSSES}
    kinds = [kind for kind in LOSSES if kind not in ("bnpo", "ppo")]  # on one process bnpo is dapo
    for index, first in enumerate(kinds):
        for second in kinds[index + 1 :]:
            assert relative_difference(gradients[first], gradients[second]) > 1e-3, (first, second)
    assert torch.equal(gradients["bnpo"], gradients["dapo"])


@pytest.mark.slow
def test_two_processes_make_the_gradient_of_one(random_policies, policy, tmp_path):
    rows_of_rank = [SHUFFLED[:11], SHUFFLED[11:]]  # uneven, so that the mean of local means is another gradient
    torch.multiprocessing.spawn(data_parallel_worker, (rows_of_rank, str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    reference = other_weights(policy.model)
    for kind, is_weighted in product(LOSSES, (False, True)):

        def gradient(rows, kind=kind, is_weighted=is_weighted):
            return step_gradient(policy.model, reference, [rows], kind, is_weighted=is_weighted)

        if kind == "bnpo":  # by definition the mean of the processes' local means
            expected = (gradient(rows_of_rank[0]) + gradient(rows_of_rank[1])) / 2
        else:
            expected = gradient(EVERY_ROW)
        name = f"{kind}{' weighted' * is_weighted}"
        for rank in ranks:
            assert relative_difference(rank[name], expected) < 1e-6, name
    dapo = step_gradient(policy.model, reference, [EVERY_ROW], "dapo")
    assert relative_difference(ranks[0]["bnpo"], dapo) > 1e-2
