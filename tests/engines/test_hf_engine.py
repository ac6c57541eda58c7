import pytest
import torch

from medssr.engines.hf_engine import HFEngine
from medssr.engines.types import Sampling
from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import completion_logits
from medssr.models.token_scores import token_logps

PROMPTS = [[50, 51, 52], [60], [70, 71, 72, 73, 74, 75, 76], [80, 81], [90, 91, 92]]
SEEDS = [[10 * prompt + sample for sample in range(4)] for prompt in range(5)]
SAMPLING = Sampling(temperature=0.8, max_new_tokens=12)
# Thirty tokens that end a completion, so that many do, at different lengths.
MANY_EOS = list(range(100, 130))


def generate(policy, prompts=PROMPTS, seeds=SEEDS, sampling=SAMPLING, max_batch_size=64):
    return HFEngine(policy, max_batch_size).generate(prompts, seeds, sampling)


def token_ids(groups):
    return [[completion.token_ids for completion in group] for group in groups]


def test_one_completion_a_seed_for_each_prompt(any_policy):
    groups = generate(any_policy)
    assert [len(group) for group in groups] == [4] * 5
    assert all(len(item.token_ids) == len(item.logps) <= 12 for group in groups for item in group)


@pytest.mark.slow
@pytest.mark.parametrize("max_batch_size", [1, 4, 9, 1000])
def test_the_batch_size_changes_nothing(any_policy, max_batch_size):
    any_policy.model.generation_config.eos_token_id = MANY_EOS
    assert token_ids(generate(any_policy, max_batch_size=max_batch_size)) == token_ids(generate(any_policy))


def test_the_order_of_the_prompts_changes_nothing(any_policy):
    order = [3, 0, 4, 2, 1]
    shuffled = generate(any_policy, [PROMPTS[i] for i in order], [SEEDS[i] for i in order])
    expected = token_ids(generate(any_policy))
    assert token_ids(shuffled) == [expected[i] for i in order]


def test_the_other_samples_of_a_prompt_change_nothing(policy):
    first = generate(policy, seeds=[row[:1] for row in SEEDS])
    assert token_ids(first) == [row[:1] for row in token_ids(generate(policy))]


def test_a_completion_follows_from_its_seed(policy):
    same, other = generate(policy, PROMPTS[:1], [[7, 7, 8]])[0][1:]
    assert generate(policy, PROMPTS[:1], [[7]])[0][0].token_ids == same.token_ids != other.token_ids


def test_temperature_zero_is_greedy_whatever_the_seed(any_policy):
    greedy = Sampling(temperature=0.0, max_new_tokens=5)
    (first, second), *_ = generate(any_policy, PROMPTS[:1], [[1, 2]], greedy)
    assert first == second
    ids = torch.tensor([PROMPTS[0]])
    expected = any_policy.model.generate(ids, do_sample=False, max_new_tokens=5)[0, len(PROMPTS[0]) :].tolist()
    assert first.token_ids == expected[: len(first.token_ids)]
    assert first.logps == [0.0] * len(first.token_ids)


def test_random_draws_elsewhere_change_nothing(policy):
    first = token_ids(generate(policy))
    torch.rand(3)
    assert token_ids(generate(policy)) == first


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_logps_are_those_of_the_trainer(any_policy, temperature):
    any_policy.model.generation_config.eos_token_id = MANY_EOS
    groups = generate(any_policy, sampling=Sampling(temperature, 12))
    rows = [(prompt, item) for prompt, group in zip(PROMPTS, groups, strict=True) for item in group]
    batch = pad_rollouts([prompt for prompt, _ in rows], [item.token_ids for _, item in rows], pad_id=0)
    with torch.no_grad():
        logps = token_logps(completion_logits(any_policy.model, batch, temperature), batch.completion_ids)
    for row, (_, item) in enumerate(rows):
        torch.testing.assert_close(logps[row, : len(item.logps)], torch.tensor(item.logps), rtol=0, atol=1e-4)


def test_a_completion_ends_with_the_first_of_several_end_tokens(any_policy):
    endless = token_ids(generate(any_policy))
    any_policy.model.generation_config.eos_token_id = MANY_EOS
    ended = generate(any_policy)
    num_finished = 0
    for group, expected in zip(ended, endless, strict=True):
        for item, tokens in zip(group, expected, strict=True):
            ends = [index for index, token in enumerate(tokens) if token in MANY_EOS]
            assert item.token_ids == tokens[: ends[0] + 1 if ends else None]
            assert item.is_truncated == (not ends)
            num_finished += bool(ends)
    assert 0 < num_finished < 20  # both kinds occurred


def test_the_tokenizer_s_end_token_counts_besides_those_of_the_model(policy):
    policy.model.generation_config.eos_token_id = 5
    assert policy.eos_token_ids == {5, policy.tokenizer.eos_token_id}
    policy.model.generation_config.eos_token_id = None
    assert policy.eos_token_ids == {policy.tokenizer.eos_token_id}


def test_an_end_token_as_the_last_token_is_no_truncation(policy):
    (completion,) = generate(policy, PROMPTS[:1], [[1]], Sampling(1.0, 1))[0]
    assert completion.is_truncated
    policy.model.generation_config.eos_token_id = completion.token_ids[0]
    (again,) = generate(policy, PROMPTS[:1], [[1]], Sampling(1.0, 1))[0]
    assert again.token_ids == completion.token_ids
    assert not again.is_truncated


def test_the_text_leaves_control_tokens_out(policy):
    any_end = policy.tokenizer.eos_token_id
    (completion,) = generate(policy, PROMPTS[:1], [[1]])[0]
    visible = [token for token in completion.token_ids if token not in policy.tokenizer.all_special_ids]
    assert completion.text == policy.tokenizer.decode(visible)
    assert policy.tokenizer.decode([any_end]) not in completion.text


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [Sampling(1e-4, 12), Sampling(1.0, 12, top_k=1), Sampling(1.0, 12, top_p=1e-6)])
def test_the_likeliest_tokens_are_those_of_transformers(any_policy, sampling):
    groups = generate(any_policy, seeds=[[1]] * 5, sampling=sampling)
    for prompt, (completion,) in zip(PROMPTS, groups, strict=True):
        expected = any_policy.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=12,
        )[0, len(prompt) :]
        assert completion.token_ids == expected.tolist()


def test_lower_temperature_draws_likelier_tokens(policy):
    def mean_logp(temperature):
        groups = generate(policy, sampling=Sampling(temperature, 12))
        rows = [(prompt, item) for prompt, group in zip(PROMPTS, groups, strict=True) for item in group]
        batch = pad_rollouts([prompt for prompt, _ in rows], [item.token_ids for _, item in rows], pad_id=0)
        with torch.no_grad():
            logps = token_logps(completion_logits(policy.model, batch, 1.0), batch.completion_ids)
        return ((logps * batch.completion_mask).sum() / batch.completion_mask.sum()).item()

    assert mean_logp(0.2) > mean_logp(1.0) > mean_logp(5.0)


@pytest.mark.parametrize("is_training", [True, False])
def test_the_model_s_mode_is_left_as_it_was(policy, is_training):
    policy.model.train(is_training)
    generate(policy, PROMPTS[:1], [[1]])
    assert policy.model.training is is_training


def test_dropout_is_off_while_sampling(policy):
    expected = token_ids(generate(policy))
    policy.model.train()
    for layer in policy.model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    assert token_ids(generate(policy)) == expected


def test_no_prompts_have_no_completions(policy):
    assert generate(policy, [], []) == []


def test_it_refuses_another_policy(policy, random_policies):
    engine = HFEngine(policy, 4)
    engine.sync_weights(policy.model)
    with pytest.raises(AssertionError):
        engine.sync_weights(random_policies["llama"].model)
