import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import LOSSES, policy_loss
from support.losses import step_loss

from medssr.errors import InputError
from medssr.grpo.losses import LossInputs, LossOutputs, PolicyLoss, summed_loss

CLIP = {"epsilon": 0.2, "epsilon_high": 0.28}
PARAMETERS = {kind: vars(policy_loss(kind)) for kind in LOSSES}


def logp(*ratios: float) -> torch.Tensor:
    """Log-probs `[1, T]` whose ratios to old log-probs of 0 are the given ones."""
    return torch.tensor([[math.log(ratio) for ratio in ratios]], dtype=torch.float64)


def token_loss(ratio: float, advantage: float, loss: str = "dapo", **values):
    """The loss of one token with a ratio to an old log-prob of 0, its gradient by the log-prob, and the metrics."""
    logps, advantages = logp(ratio).requires_grad_(), torch.tensor([advantage], dtype=torch.float64)
    value, metrics = step_loss(logps, torch.zeros(1, 1), advantages, torch.ones(1, 1), loss, **values)
    value.backward()
    return value.item(), logps.grad.item(), metrics


def slow_token(kind, logp, log_ratio, advantage, clip):
    """Loss of one token and its derivative by the log-ratio (cispo: by the log-prob), with plain numbers."""
    ratio = math.exp(log_ratio)
    if kind == "sapo":
        steepness = clip["temperature_positive" if advantage > 0 else "temperature_negative"]
        gate = 1 / (1 + math.exp(-steepness * (ratio - 1)))
        return -gate * 4 / steepness * advantage, -4 * gate * (1 - gate) * ratio * advantage
    bounded = min(max(ratio, 1 - clip["epsilon"]), 1 + clip["epsilon_high"])
    if kind == "cispo":
        return -bounded * advantage * logp, -bounded * advantage
    gain, slope = ratio * advantage, ratio * advantage
    if bounded * advantage < gain:
        gain, slope = bounded * advantage, 0.0
    if advantage < 0 and clip["dual_clip"] is not None and gain < clip["dual_clip"] * advantage:
        gain, slope = clip["dual_clip"] * advantage, 0.0
    return -gain, -slope


def slow_kl(estimator, logp, ref):
    difference = ref - logp
    return {
        "k1": (-difference, 1.0),
        "k2": (difference**2 / 2, -difference),
        "k3": (math.exp(difference) - difference - 1, 1 - math.exp(difference)),
    }[estimator]


def slow_loss(kind, logps, old, advantages, mask, ref, *, weights, beta, estimator, max_new_tokens, **clip):
    """The whole loss and its gradient by the log-probs, with loops and plain numbers."""
    lengths = [sum(row) for row in mask]
    num_rows = sum(length > 0 for length in lengths)
    total, gradient = 0.0, [[0.0] * len(row) for row in mask]
    for row, length in enumerate(lengths):
        columns = [column for column, is_token in enumerate(mask[row]) if is_token]
        mean = sum(logps[row][column] - old[row][column] for column in columns) / max(length, 1)
        row_weight = {
            "grpo": lambda length=length: 1 / length / num_rows,
            "gspo": lambda length=length: 1 / length / num_rows,
            "sapo": lambda length=length: 1 / length / num_rows,
            "dr_grpo": lambda: 1 / (num_rows * max_new_tokens),
        }.get(kind, lambda: 1 / sum(lengths))
        for column in columns:
            log_ratio = mean if kind == "gspo" else logps[row][column] - old[row][column]
            loss, slope = slow_token(kind, logps[row][column], log_ratio, advantages[row], clip)
            kl, kl_slope = slow_kl(estimator, logps[row][column], ref[row][column])
            total += row_weight() * (weights[row][column] * loss + beta * kl)
            gradient[row][column] += row_weight() * beta * kl_slope
            # The mean log-ratio of a sequence depends on all of its tokens.
            for moved in columns if kind == "gspo" else [column]:
                gradient[row][moved] += row_weight() * weights[row][column] * slope / (length if kind == "gspo" else 1)
    return total, gradient


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        # The gradient is by the log-prob: -ratio * advantage, or 0 where the ratio is clipped.
        (1.0, 2.0, -2.0, -2.0),
        (1.0, -2.0, 2.0, 2.0),
        (1.1, 1.0, -1.1, -1.1),
        (1.5, 1.0, -1.28, 0.0),  # good and already much likelier: no gradient
        (0.5, 1.0, -0.5, -0.5),  # good but less likely: gradient back up
        (0.5, -1.0, 0.8, 0.0),  # bad and already much less likely: no gradient
        (1.5, -1.0, 1.5, 1.5),  # bad but likelier: gradient back down
        (0.9, -1.0, 0.9, 0.9),
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_one_token_by_hand(ratio, advantage, loss, gradient):
    assert token_loss(ratio, advantage, **CLIP)[:2] == pytest.approx((loss, gradient))


def test_the_kl_term_by_hand():
    logps, reference = torch.tensor([[math.log(0.25)]]), torch.tensor([[math.log(0.5)]])
    loss, _ = step_loss(logps, logps, torch.zeros(1), torch.ones(1, 1), ref_logps=reference, beta=0.1)
    assert loss.item() == pytest.approx(0.1 * (1 - math.log(2)))


ANY_CASE = st.tuples(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 7))


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
@given(ANY_CASE, st.sampled_from(["k1", "k2", "k3"]), st.sampled_from([None, 2.0]), st.booleans())
def test_every_loss_and_its_gradient_agree_with_loops(kind, case, estimator, dual_clip, has_weights):
    seed, *shape = case
    generator = torch.Generator().manual_seed(seed)
    logps, old, ref = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    advantages = torch.randn(shape[0], generator=generator, dtype=torch.float64)
    mask = (torch.rand(shape, generator=generator) < 0.7).double()
    weights = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 if has_weights else torch.ones(shape)
    values = {"dual_clip": dual_clip, "temperature_positive": 1.5, "temperature_negative": 2.5, **CLIP}
    values = {name: value for name, value in values.items() if name in PARAMETERS[kind]}
    values |= {"beta": 0.04, "max_new_tokens": 9}
    plain = [value.tolist() for value in (logps, old, advantages, mask, ref)]
    expected, gradient = slow_loss(kind, *plain, weights=weights.tolist(), estimator=estimator, **values)
    values |= {"ref_logps": ref, "kl_estimator": estimator, "importance_weights": weights if has_weights else None}
    loss, _ = step_loss(logps.requires_grad_(), old, advantages, mask, kind, **values)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    torch.testing.assert_close(logps.grad, torch.tensor(gradient, dtype=torch.float64), rtol=1e-9, atol=1e-11)


def test_dr_grpo_divides_by_the_width_of_the_batch_where_nothing_else_is_known():
    logps = torch.full((1, 4), -1.0)
    loss, _ = step_loss(logps, logps, torch.ones(1), torch.tensor([[1.0, 1.0, 0.0, 0.0]]), loss="dr_grpo")
    assert loss.item() == pytest.approx(-2 / 4)


def test_gspo_by_hand():
    # ratios 2 and 1/2 have the sequence ratio 1; ratios 4 and 1 have 2, which is clipped to 1.28 where A > 0
    logps = torch.cat([logp(2.0, 0.5), logp(4.0, 1.0)]).requires_grad_()
    advantages = torch.tensor([1.0, 1.0], dtype=torch.float64)
    loss, metrics = step_loss(logps, torch.zeros(2, 2), advantages, torch.ones(2, 2), "gspo", **CLIP)
    loss.backward()
    assert loss.item() == pytest.approx(-(1 + 1.28) / 2)
    # half of a sequence's weight for each of its two tokens, of 1/2 for the sequence; all tokens of the other are cut
    assert logps.grad.tolist() == [pytest.approx([-0.25, -0.25]), [0.0, 0.0]]
    assert metrics["clip_high_share"].item() == pytest.approx(2 / 2)  # two tokens, divided by two sequences


def test_the_gradient_of_gspo_is_that_of_its_token_form():
    """sg[s] pi / sg[pi] of each token, as verl writes it, has the gradient of the mean log-ratio, clipped or not."""
    generator = torch.Generator().manual_seed(2)
    logps, old = (torch.randn(6, 5, generator=generator, dtype=torch.float64) * 0.4 for _ in range(2))
    advantages = torch.randn(6, generator=generator, dtype=torch.float64)
    logps.requires_grad_()
    step_loss(logps, old, advantages, torch.ones(6, 5), "gspo", **CLIP)[0].backward()
    straight = logps.detach().clone().requires_grad_()
    sequence_ratio = (straight - old).mean(dim=1, keepdim=True).exp().detach()
    ratio, gains = sequence_ratio * (straight - straight.detach()).exp(), advantages.unsqueeze(1)
    (-torch.minimum(ratio * gains, ratio.clamp(0.8, 1.28) * gains)).mean().backward()
    torch.testing.assert_close(logps.grad, straight.grad)


@pytest.mark.parametrize(("ratio", "weight"), [(0.5, 0.8), (1.1, 1.1), (3.0, 1.28)])
@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_cispo_bounds_the_weight_and_silences_no_token(ratio, weight, advantage):
    loss, gradient, metrics = token_loss(ratio, advantage, "cispo", **CLIP)
    assert (loss, gradient) == pytest.approx((-weight * advantage * math.log(ratio), -weight * advantage))
    assert metrics["clip_low_share"].item() == float(ratio < 0.8)
    assert metrics["clip_high_share"].item() == float(ratio > 1.28)


@pytest.mark.parametrize(("ratio", "advantage", "gate"), [(1.0, 1.0, 2.0), (1 + math.log(3), 1.0, 3.0)])
def test_sapo_by_hand(ratio, advantage, gate):
    # sigmoid(0) = 1/2 and sigmoid(ln 3) = 3/4, times 4 with a temperature of 1
    loss, _, metrics = token_loss(ratio, advantage, "sapo")
    assert (loss, metrics) == (pytest.approx(-gate * advantage), {})


@pytest.mark.parametrize("kind", [kind for kind in LOSSES if kind != "cispo"])
@pytest.mark.parametrize("advantage", [1.5, -1.5])
def test_on_policy_every_loss_has_the_gradient_of_reinforce(kind, advantage):
    logps = torch.full((1, 3), -1.0, dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([advantage], dtype=torch.float64)
    step_loss(logps, logps.detach(), advantages, torch.ones(1, 3), loss=kind)[0].backward()
    assert logps.grad.tolist() == [pytest.approx([-advantage / 3] * 3)]


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [(2.5, -1.0, 2.5, 2.5), (4.0, -1.0, 3.0, 0.0), (4.0, 1.0, -1.28, 0.0), (0.5, -1.0, 0.8, 0.0)],
)
def test_dual_clip_bounds_what_a_bad_token_costs(ratio, advantage, loss, gradient):
    actual, slope, metrics = token_loss(ratio, advantage, dual_clip=3.0, **CLIP)
    assert (actual, slope) == pytest.approx((loss, gradient))
    assert metrics["dual_clip_share"].item() == float(ratio > 3 and advantage < 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
def test_tokens_may_have_advantages_of_their_own(kind):
    logps = torch.tensor([[-1.0, -1.0], [-2.0, -1.0]])
    rows, mask = torch.tensor([1.0, -2.0]), torch.ones(2, 2)
    by_row, _ = step_loss(logps, logps + 0.1, rows, mask, loss=kind)
    by_token, _ = step_loss(logps, logps + 0.1, rows.unsqueeze(1).expand(2, 2), mask, loss=kind)
    assert by_row.item() == by_token.item()


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
def test_a_fully_masked_row_counts_as_none(kind):
    mask = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    logps, advantages = torch.full((2, 3), -1.0), torch.tensor([1.0, 5.0])
    both, _ = step_loss(logps, logps, advantages, mask, loss=kind)
    alone, _ = step_loss(logps[:1], logps[:1], advantages[:1], mask[:1], loss=kind)
    assert both.item() == alone.item() != 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("log_ratio", [100.0, -100.0])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_an_extreme_ratio_leaves_loss_and_gradient_finite(kind, log_ratio, advantage):
    logps = torch.full((1, 2), -1.0, requires_grad=True)
    old, reference = logps.detach() - log_ratio, logps.detach() + log_ratio
    advantages = torch.tensor([advantage])
    loss, _ = step_loss(logps, old, advantages, torch.ones(1, 2), kind, ref_logps=reference, beta=0.1)
    loss.backward()
    assert loss.isfinite()
    assert logps.grad.isfinite().all()


class Reinforce(PolicyLoss):
    """A user-defined loss with its own parameter."""

    def __init__(self, scale):
        self.scale = scale

    def token_loss(self, logps, ratio, advantages):
        return LossOutputs(-self.scale * advantages * logps)


def test_a_loss_is_a_class_with_parameters_of_its_own():
    logps = torch.tensor([[-1.0, -2.0]])
    inputs = LossInputs(logps, logps, torch.tensor([2.0]), torch.ones(1, 2))
    loss, metrics = summed_loss(Reinforce(0.5), inputs, normalizer=2)
    assert (loss.item(), metrics) == (1.5, {})


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("dapo", {"epsilon": 0.0}, r"grpo\.loss\.epsilon: 0\.0; between 0 and 1"),
        ("cispo", {"epsilon": 1.5}, r"grpo\.loss\.epsilon: 1\.5; between 0 and 1"),
        ("gspo", {"epsilon_high": -1.0}, r"grpo\.loss\.epsilon_high: -1\.0; above 0"),
        ("grpo", {"dual_clip": 1.2}, r"grpo\.loss\.dual_clip: 1\.2; above 1 \+ grpo\.loss\.epsilon_high \(1\.28\)"),
        ("sapo", {"temperature_negative": 0.0}, r"grpo\.loss\.temperature_negative: 0\.0; above 0"),
    ],
)
def test_a_parameter_out_of_range_is_refused(kind, values, message):
    with pytest.raises(InputError, match=message):
        policy_loss(kind, **values)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
def test_losses_and_metrics_of_parts_add_up_to_those_of_the_whole(kind):
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(3)]
    advantages = torch.randn(6, generator=generator, dtype=torch.float64)
    mask = (torch.rand(6, 4, generator=generator) < 0.7).double()

    def run(rows):
        logps, old, ref, *others = (tensor[rows] for tensor in (*tensors, advantages, mask))
        loss, metrics = step_loss(logps, old, *others, kind, normalizer=9, ref_logps=ref, beta=0.1)
        return metrics | {"loss": loss}

    whole, parts = run([0, 1, 2, 3, 4, 5]), [run([4]), run([5, 0, 2]), run([3, 1])]
    for name, value in whole.items():
        assert sum(part[name] for part in parts).item() == pytest.approx(value.item(), rel=1e-12)


def test_clipped_tokens_are_counted_where_their_gradient_vanishes():
    #           clipped high, not (bad: pulled back), clipped low, not (good: pulled back)
    logps = torch.cat([logp(1.5, 1.0), logp(1.5, 0.5), logp(0.5, 1.0)])
    advantages = torch.tensor([1.0, -1.0, 1.0])
    _, metrics = step_loss(logps, torch.zeros(3, 2), advantages, torch.ones(3, 2), **CLIP, normalizer=6)
    assert metrics["clip_high_share"].item() == pytest.approx(1 / 6)
    assert metrics["clip_low_share"].item() == pytest.approx(1 / 6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_padding_does_not_reach_the_loss_its_metrics_or_the_gradient(garbage, kind):
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    advantages = torch.tensor([1.0, -2.0])

    def run(padding):
        logps, old, ref = (torch.full((2, 3), value) for value in (-1.0, -1.1, -1.2))
        for tensor in (old, ref):
            tensor[mask == 0] = padding
        weights = torch.where(mask.bool(), 0.9, padding)
        values = {"importance_weights": weights, "normalizer": 3, "ref_logps": ref, "beta": 0.1}
        loss, metrics = step_loss(logps.requires_grad_(), old, advantages, mask, kind, **values)
        loss.backward()
        return [loss.detach(), logps.grad, *(metrics[name] for name in sorted(metrics))]

    for actual, expected in zip(run(garbage), run(0.0), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_a_fully_masked_batch_has_no_loss():
    logps = torch.full((2, 3), -1.0, requires_grad=True)
    loss, _ = step_loss(logps, logps.detach(), torch.ones(2), torch.zeros(2, 3), **CLIP, normalizer=1)
    loss.backward()
    assert loss.item() == 0
    assert logps.grad.abs().max() == 0


def test_the_old_and_the_reference_policy_need_no_gradient():
    logps, old, ref = (torch.full((1, 2), -1.0, requires_grad=is_trained) for is_trained in (True, False, False))
    loss, metrics = step_loss(logps, old, torch.ones(1), torch.ones(1, 2), ref_logps=ref, beta=0.1)
    assert loss.requires_grad
    assert not any(value.requires_grad for value in metrics.values())
