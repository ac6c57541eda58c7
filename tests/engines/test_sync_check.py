import math

import pytest
from support.helpers import completion

from medssr.engines.hf_engine import HFEngine
from medssr.engines.sync_check import SyncGapHistory, changed_but_stale, mean_logp_gap, sync_prompts
from medssr.engines.types import Completion, Sampling
from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import completion_logps


@pytest.mark.parametrize("num_tokens", [1, 24, 136, 500])
def test_prompts_have_the_given_length_and_differ(any_policy, num_tokens):
    prompts = sync_prompts(any_policy.tokenizer, 4, num_tokens)
    assert [len(prompt) for prompt in prompts] == [num_tokens] * 4
    assert prompts == sync_prompts(any_policy.tokenizer, 4, num_tokens)
    assert num_tokens == 1 or len({tuple(prompt) for prompt in prompts}) == 4


def test_completions_of_the_model_itself_have_no_gap(any_policy):
    prompts = sync_prompts(any_policy.tokenizer, 3, 20)
    groups = HFEngine(any_policy, 8).generate(prompts, [[1], [2], [3]], Sampling(0.7, 8))
    completions = [group[0] for group in groups]
    pad_id = any_policy.tokenizer.pad_token_id
    assert mean_logp_gap(any_policy.model, pad_id, prompts, completions, 0.7) < 1e-5
    assert mean_logp_gap(any_policy.model, pad_id, prompts, completions, 1.0) > 0.01


def test_the_gap_is_the_mean_over_tokens_in_nats(policy):
    """Three tokens that are 0.3, 0.6 and 0.9 off, in completions of two lengths."""
    prompts, token_rows = [[5, 6, 7], [8]], [[9, 10], [11]]
    batch = pad_rollouts(prompts, token_rows, 0, policy.model.device)
    logps = completion_logps(policy.model, batch, 1.0)
    first, second, third = logps[0, 0].item() + 0.3, logps[0, 1].item() - 0.6, logps[1, 0].item() + 0.9
    completions = [Completion([9, 10], [first, second], "", True), Completion([11], [third], "", True)]
    assert mean_logp_gap(policy.model, 0, prompts, completions, 1.0) == pytest.approx(0.6, abs=1e-5)


def test_a_nan_log_prob_makes_the_gap_nan(policy):
    item = Completion([9, 10], [-1.0, math.nan], "", True)
    assert math.isnan(mean_logp_gap(policy.model, 0, [[5]], [item], 1.0))


def test_the_model_stays_in_its_mode(policy):
    policy.model.train()
    mean_logp_gap(policy.model, 0, [[5]], [completion()], 1.0)
    assert policy.model.training


def test_a_gap_far_above_the_usual_ones_is_reported():
    history = SyncGapHistory()
    assert [history.add(gap) for gap in (0.02, 0.03, 0.01, 0.09)] == [None] * 4  # the medians are 0.02, 0.025 and 0.02
    warning = history.add(0.13)  # the median of the four is 0.025
    assert warning is not None
    assert "differ by 0.13 nats per token, 5 times as much as usual (0.025)" in warning
    assert history.add(0.02) is None


def test_rounding_in_float32_is_never_reported():
    history = SyncGapHistory()
    assert [history.add(gap) for gap in (0.0, 9e-5, 1e-7, 8e-5)] == [None] * 4
    assert history.add(2e-3) is not None


@pytest.mark.parametrize(
    ("sent", "held", "stale"),
    [
        ({"norm": 2, "q": 5}, {"norm": 8, "qkv": 9}, None),  # the engine's copy changed too; q is fused there
        ({"norm": 2, "q": 5}, {"norm": 7, "qkv": 9}, "norm"),
        ({"norm": 1, "q": 5}, {"norm": 7, "qkv": 9}, None),  # nothing changed, as after a skipped step
    ],
)
def test_a_weight_that_changed_only_in_the_trainer_is_named(sent, held, stale):
    assert changed_but_stale(({"norm": 1, "q": 4}, {"norm": 7, "qkv": 9}), (sent, held)) == stale
