import math

import pytest
import torch
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from medssr.engines.decoding import draw_tokens, filtered_logps, seeded_uniforms
from medssr.engines.types import Sampling

LOGITS = 3 * torch.randn(16, 50, generator=torch.Generator().manual_seed(0))


def chances(logits: list[float], **sampling) -> list[float]:
    logps = filtered_logps(torch.tensor([logits]), Sampling(**({"temperature": 1.0, "max_new_tokens": 1} | sampling)))
    return logps.exp()[0].tolist()


def logs(*weights: float) -> list[float]:
    return [math.log(weight) for weight in weights]


def test_without_filters_it_is_the_softmax():
    assert chances(logs(1, 3, 4)) == pytest.approx([1 / 8, 3 / 8, 4 / 8])


def test_temperature_zero_takes_the_likeliest_token():
    logps = filtered_logps(LOGITS, Sampling(temperature=0.0, max_new_tokens=1, top_p=0.5, top_k=3))
    assert logps.exp().sum(dim=-1).tolist() == [1.0] * 16
    for uniform in (0.0, 0.5, 0.999999):
        assert torch.equal(draw_tokens(logps, torch.full((16,), uniform)), LOGITS.argmax(dim=-1))
    tie = filtered_logps(torch.tensor([[1.0, 2.0, 2.0]]), Sampling(0.0, 1))
    assert tie.tolist() == [[-math.inf, 0.0, -math.inf]]


def test_temperature_by_hand():
    assert chances(logs(1, 3), temperature=0.5) == pytest.approx([1 / 10, 9 / 10])  # chances squared
    assert chances(logs(1, 9), temperature=2.0) == pytest.approx([1 / 4, 3 / 4])  # their square roots


def test_top_k_by_hand():
    assert chances(logs(1, 3, 4), top_k=2) == pytest.approx([0, 3 / 7, 4 / 7])
    assert chances(logs(1, 3, 4), top_k=1) == pytest.approx([0, 0, 1])


@pytest.mark.parametrize("top_k", [0, 3, 100])
def test_top_k_of_nothing_or_everything_keeps_all(top_k):
    assert chances(logs(1, 3, 4), top_k=top_k) == pytest.approx([1 / 8, 3 / 8, 4 / 8])


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (0.1, [0, 0, 1, 0]),  # the likeliest token always stays
        (0.45, [0, 0, 1, 0]),
        (0.55, [0, 3 / 8, 5 / 8, 0]),  # the token that crosses the mass stays
        (0.85, [2 / 10, 3 / 10, 5 / 10, 0]),
        (1.0, [2 / 11, 3 / 11, 5 / 11, 1 / 11]),
    ],
)
def test_top_p_by_hand(top_p, expected):
    # of a mass of 11: 5 (.4545), 3 (.7273), 2 (.9091), 1
    assert chances(logs(2, 3, 5, 1), top_p=top_p) == pytest.approx(expected)


def test_temperature_comes_first_then_top_k_then_top_p():
    # chances squared: 1, 4, 16; top_k leaves 4 and 16, of which 16 has the mass of 0.8
    assert chances(logs(1, 2, 4), temperature=0.5, top_k=2, top_p=0.79) == pytest.approx([0, 0, 1])
    assert chances(logs(1, 2, 4), temperature=0.5, top_k=2, top_p=0.81) == pytest.approx([0, 1 / 5, 4 / 5])


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("top_k", [0, 1, 5, 50])
@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.95, 1.0])
def test_agrees_with_the_warpers_of_transformers(temperature, top_k, top_p):
    scores = TemperatureLogitsWarper(temperature)(None, LOGITS) if temperature != 1 else LOGITS
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    logps = filtered_logps(LOGITS, Sampling(temperature, 1, top_p, top_k))
    torch.testing.assert_close(logps, torch.log_softmax(scores, dim=-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sampling", [Sampling(0.7, 1), Sampling(1.0, 1, 0.5), Sampling(1.0, 1, 1.0, 3)])
def test_chances_sum_to_one(sampling):
    torch.testing.assert_close(filtered_logps(LOGITS, sampling).exp().sum(dim=-1), torch.ones(16))


def test_evenly_spread_uniforms_draw_every_token_in_proportion():
    counts = [5, 0, 1, 8, 2]  # of 16
    uniforms = (torch.arange(160) + 0.5) / 160
    logps = torch.tensor([counts]).div(16).log().expand(160, -1)
    assert torch.bincount(draw_tokens(logps, uniforms), minlength=5).tolist() == [10 * count for count in counts]


def test_each_row_is_drawn_by_its_own_number():
    logps = torch.tensor([[0.25, 0.75], [0.75, 0.25], [0.25, 0.75]]).log()
    assert draw_tokens(logps, torch.tensor([0.5, 0.5, 0.1])).tolist() == [1, 0, 0]


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-24])
def test_tokens_without_a_chance_are_never_drawn(uniform):
    logps = filtered_logps(LOGITS, Sampling(1.0, 1, top_k=4))
    # Left-out tokens at both ends, where rounding would put a draw that falls off the scale.
    padded = torch.nn.functional.pad(logps, (3, 3), value=-torch.inf)
    tokens = draw_tokens(padded, torch.full((16,), uniform))
    assert torch.isfinite(padded.gather(-1, tokens.unsqueeze(-1))).all()


def test_uniforms_of_a_seed_are_its_own():
    together, alone = seeded_uniforms([3, 2**62, 5], 7), seeded_uniforms([2**62], 7)
    torch.testing.assert_close(together[1], alone[0], rtol=0, atol=0)
    assert together.shape == (3, 7)
    assert len(set(together.flatten().tolist())) == 21


def test_longer_rows_begin_like_shorter_ones():
    torch.testing.assert_close(seeded_uniforms([1, 2], 9)[:, :4], seeded_uniforms([1, 2], 4), rtol=0, atol=0)


def test_uniforms_leave_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    seeded_uniforms([1, 2], 5)
    assert torch.equal(torch.rand(1), expected)


def test_uniforms_lie_in_the_half_open_unit_interval():
    uniforms = seeded_uniforms(list(range(50)), 40)
    assert uniforms.min() >= 0
    assert uniforms.max() < 1
