import math

import pytest
import torch

from medssr.rl.losses import policy_loss

CLIP = {"epsilon": 0.2, "epsilon_high": 0.28}


def logp(*ratios: float) -> torch.Tensor:
    """Log-probs `[1, T]` whose ratios to old log-probs of 0 are the given ones."""
    return torch.tensor([[math.log(ratio) for ratio in ratios]], dtype=torch.float64)


def slow_loss(logps, old, advantages, mask, normalizer, ref, beta):
    """The formula with loops and plain numbers."""
    total = 0.0
    for row, advantage in enumerate(advantages):
        for place, is_token in enumerate(mask[row]):
            if not is_token:
                continue
            ratio = math.exp(logps[row][place] - old[row][place])
            gain = min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage)
            difference = ref[row][place] - logps[row][place]
            total += -gain + beta * (math.exp(difference) - difference - 1)
    return total / normalizer


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        # The gradient is by the log-prob: -ratio * advantage, or nothing where the clip binds.
        (1.0, 2.0, -2.0, -2.0),
        (1.0, -2.0, 2.0, 2.0),
        (1.1, 1.0, -1.1, -1.1),
        (1.5, 1.0, -1.28, 0.0),  # good and already much likelier: no further
        (0.5, 1.0, -0.5, -0.5),  # good but less likely: back
        (0.5, -1.0, 0.8, 0.0),  # bad and already much less likely: no further
        (1.5, -1.0, 1.5, 1.5),  # bad but likelier: back
        (0.9, -1.0, 0.9, 0.9),
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_one_token_by_hand(ratio, advantage, loss, gradient):
    logps = logp(ratio).requires_grad_()
    found, _ = policy_loss(
        logps,
        torch.zeros_like(logps),
        torch.tensor([advantage], dtype=torch.float64),
        torch.ones(1, 1),
        **CLIP,
        normalizer=1,
    )
    found.backward()
    assert found.item() == pytest.approx(loss)
    assert logps.grad.item() == pytest.approx(gradient)


def test_every_token_of_the_step_weighs_the_same():
    # a row of three tokens with advantage 1, a row of one token with advantage -1: (-3 + 1) / 4
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    logps = torch.full((2, 3), -1.0)
    loss, _ = policy_loss(logps, logps, torch.tensor([1.0, -1.0]), mask, **CLIP, normalizer=4)
    assert loss.item() == pytest.approx(-0.5)


def test_the_normalizer_is_the_step_s_and_not_the_batch_s():
    logps = torch.full((1, 2), -1.0)
    loss, _ = policy_loss(logps, logps, torch.tensor([1.0]), torch.ones(1, 2), **CLIP, normalizer=8)
    assert loss.item() == pytest.approx(-2 / 8)


def test_the_kl_term_by_hand():
    logps, reference = torch.tensor([[math.log(0.25)]]), torch.tensor([[math.log(0.5)]])
    loss, metrics = policy_loss(
        logps,
        logps,
        torch.tensor([0.0]),
        torch.ones(1, 1),
        **CLIP,
        normalizer=1,
        ref_per_token_logps=reference,
        beta=0.1,
    )
    assert loss.item() == pytest.approx(0.1 * (1 - math.log(2)))
    assert metrics["kl"].item() == pytest.approx(1 - math.log(2))


def test_agrees_with_loops():
    generator = torch.Generator().manual_seed(0)
    shape = (5, 7)
    logps, old, ref = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    advantages = torch.randn(5, generator=generator, dtype=torch.float64)
    mask = (torch.rand(shape, generator=generator) < 0.7).double()
    loss, _ = policy_loss(logps, old, advantages, mask, **CLIP, normalizer=11, ref_per_token_logps=ref, beta=0.04)
    expected = slow_loss(logps.tolist(), old.tolist(), advantages.tolist(), mask.tolist(), 11, ref.tolist(), 0.04)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_losses_and_metrics_of_parts_add_up_to_those_of_the_whole():
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(3)]
    advantages = torch.randn(6, generator=generator, dtype=torch.float64)
    mask = (torch.rand(6, 4, generator=generator) < 0.7).double()

    def run(rows):
        logps, old, ref = (tensor[rows] for tensor in tensors)
        loss, metrics = policy_loss(
            logps, old, advantages[rows], mask[rows], **CLIP, normalizer=9, ref_per_token_logps=ref, beta=0.1
        )
        return metrics | {"loss": loss}

    whole, parts = run([0, 1, 2, 3, 4, 5]), [run([4]), run([5, 0, 2]), run([3, 1])]
    for name, value in whole.items():
        assert sum(part[name] for part in parts).item() == pytest.approx(value.item(), rel=1e-12)


def test_clipped_tokens_are_counted_where_their_gradient_vanishes():
    #           clipped high, not (bad: pulled back), clipped low, not (good: pulled back)
    logps = torch.cat([logp(1.5, 1.0), logp(1.5, 0.5), logp(0.5, 1.0)])
    advantages = torch.tensor([1.0, -1.0, 1.0])
    _, metrics = policy_loss(logps, torch.zeros(3, 2), advantages, torch.ones(3, 2), **CLIP, normalizer=6)
    assert metrics["clip_high_share"].item() == pytest.approx(1 / 6)
    assert metrics["clip_low_share"].item() == pytest.approx(1 / 6)


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_padding_does_not_reach_the_loss_its_metrics_or_the_gradient(garbage):
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    advantages = torch.tensor([1.0, -2.0])

    def run(padding):
        logps, old, ref = (torch.full((2, 3), value) for value in (-1.0, -1.1, -1.2))
        for tensor in (old, ref):
            tensor[mask == 0] = padding
        logps.requires_grad_()
        loss, metrics = policy_loss(
            logps, old, advantages, mask, **CLIP, normalizer=3, ref_per_token_logps=ref, beta=0.1
        )
        loss.backward()
        return [loss.detach(), logps.grad, *(metrics[name] for name in sorted(metrics))]

    for found, expected in zip(run(garbage), run(0.0), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_fully_masked_batch_has_no_loss():
    logps = torch.full((2, 3), -1.0, requires_grad=True)
    loss, _ = policy_loss(logps, logps.detach(), torch.ones(2), torch.zeros(2, 3), **CLIP, normalizer=1)
    loss.backward()
    assert loss.item() == 0
    assert logps.grad.abs().max() == 0


def test_the_old_and_the_reference_policy_need_no_gradient():
    logps, old, ref = (torch.full((1, 2), -1.0, requires_grad=is_trained) for is_trained in (True, False, False))
    loss, metrics = policy_loss(
        logps, old, torch.ones(1), torch.ones(1, 2), **CLIP, normalizer=2, ref_per_token_logps=ref, beta=0.1
    )
    assert loss.requires_grad
    assert not any(value.requires_grad for value in metrics.values())
