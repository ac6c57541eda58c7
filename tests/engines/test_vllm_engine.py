"""The engine with the real vLLM, one for each family with and without tied embeddings."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.helpers import expected_completion, random_policy, toy_question, typed

from medssr.engines import vllm_engine as vllm_engine_module
from medssr.engines.decoding import filtered_logps
from medssr.engines.hf_engine import HFEngine
from medssr.engines.streaming import requests_of
from medssr.engines.types import Completion, Sampling
from medssr.engines.vllm_engine import VLLMEngine
from medssr.errors import InputError
from medssr.evaluation.letter_likelihood import recover
from medssr.evaluation.runner import BenchmarkRunner, Prompter
from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import completion_logits, completion_logps
from medssr.models.policy import Policy
from medssr.utils.progress import Progress
from medssr.utils.seeding import derive_seed

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm"),
]

# Longer than a block of the key-value cache (128 tokens on a CPU), so that prompts are found there.
PROMPTS = [[(7 * index + index * start + start) % 300 for index in range(140 + 9 * start)] for start in range(5)]
SEEDS = [[derive_seed(prompt, sample) for sample in range(4)] for prompt in range(5)]
SAMPLING = Sampling(temperature=0.7, max_new_tokens=12)


def vllm_engine(policy: Policy, **settings: Any) -> VLLMEngine:
    defaults = {
        "max_num_seqs": 64,
        "max_model_len": None,
        "gpu_memory_utilization": 0.3,
        "cpu_kv_cache_gib": 0.1,
        "sleep": True,
        "max_logp_gap": 0.1,
    }
    return VLLMEngine(policy, **(defaults | settings))


@pytest.fixture(scope="module", params=["qwen3 tied", "qwen3 untied", "llama tied", "llama untied"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Policy, VLLMEngine]]:
    family, tying = request.param.split()
    # Heads of 32 dimensions: vLLM has no smaller ones.
    policy = random_policy(family, tie_word_embeddings=tying == "tied", head_dim=32, hidden_size=64)
    policy.model.generation_config.eos_token_id = list(range(300, 310))
    engine = vllm_engine(policy)
    yield policy, engine
    engine.close()


@pytest.fixture
def trainable(served: tuple[Policy, VLLMEngine]) -> Iterator[tuple[Policy, VLLMEngine]]:
    """The served policy and engine, with the weights restored afterwards."""
    policy, engine = served
    weights = deepcopy(policy.model.state_dict())
    yield policy, engine
    policy.model.load_state_dict(weights)
    engine.sync_weights(policy.model)


def generate(engine: VLLMEngine, prompts=PROMPTS, seeds=SEEDS, sampling=SAMPLING) -> list[list[Completion]]:
    return engine.generate(prompts, seeds, sampling)


def token_ids(groups: list[list[Completion]]) -> list[list[list[int]]]:
    return [[item.token_ids for item in group] for group in groups]


def rows(groups: list[list[Completion]], prompts=PROMPTS) -> tuple[list[list[int]], list[Completion]]:
    pairs = [(prompt, item) for prompt, group in zip(prompts, groups, strict=True) for item in group]
    return [prompt for prompt, _ in pairs], [item for _, item in pairs]


def batch_of(policy: Policy, groups: list[list[Completion]]):
    prompts, completions = rows(groups)
    token_rows = [item.token_ids for item in completions]
    return pad_rollouts(prompts, token_rows, policy.tokenizer.pad_token_id, policy.model.device)


def train(policy: Policy, groups: list[list[Completion]]) -> None:
    """Three steps towards the completions, large enough for log-probs to change by more than the sync check allows."""
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=3e-2)
    batch = batch_of(policy, groups)
    for _ in range(3):
        optimizer.zero_grad()
        loss = -(completion_logps(policy.model, batch, 1.0) * batch.completion_mask).mean()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def largest_gap(policy: Policy, groups: list[list[Completion]]) -> float:
    logps = completion_logps(policy.model, batch_of(policy, groups), SAMPLING.temperature)
    _, completions = rows(groups)
    return max(
        (row[: len(item.logps)] - torch.tensor(item.logps)).abs().max().item()
        for row, item in zip(logps, completions, strict=True)
    )


def test_engine_and_trainer_agree_after_training_and_a_sync(trainable):
    policy, engine = trainable
    before = generate(engine)
    assert largest_gap(policy, before) < 1e-4
    train(policy, before)
    assert largest_gap(policy, before) > 0.5
    engine.sync_weights(policy.model)
    assert largest_gap(policy, generate(engine)) < 1e-4


def test_without_the_reset_of_the_prefix_cache_the_run_stops(trainable, monkeypatch):
    policy, engine = trainable
    train(policy, generate(engine))
    with monkeypatch.context() as patch:
        patch.setattr(engine._process.llm, "reset_prefix_cache", lambda: True)
        with pytest.raises(InputError, match=r"vLLM's log-probs differ .* nats per token"):
            engine.sync_weights(policy.model)
    engine.sync_weights(policy.model)
    assert largest_gap(policy, generate(engine)) < 1e-4


def test_the_order_of_the_prompts_changes_nothing(served):
    _, engine = served
    order = [3, 0, 4, 2, 1]
    shuffled = generate(engine, [PROMPTS[i] for i in order], [SEEDS[i] for i in order])
    expected = token_ids(generate(engine))
    assert token_ids(shuffled) == [expected[i] for i in order]


def test_the_other_prompts_change_nothing(served):
    _, engine = served
    alone = [generate(engine, [prompt], [row])[0] for prompt, row in zip(PROMPTS, SEEDS, strict=True)]
    assert token_ids(alone) == token_ids(generate(engine))


def test_more_prompts_than_a_step_takes_change_nothing(served):
    _, engine = served
    others = [[(token + shift) % 300 for token in PROMPTS[4]] for shift in range(1, 80)]
    seeds = [[derive_seed("others", index)] * 4 for index in range(len(others))]
    groups = generate(engine, [*others, *PROMPTS], [*seeds, *SEEDS])
    assert token_ids(groups[len(others) :]) == token_ids(generate(engine))


def test_a_stream_has_the_completions_of_one_call_and_can_be_left(served, monkeypatch):
    _, engine = served
    expected = token_ids(generate(engine))
    monkeypatch.setattr(vllm_engine_module, "_NUM_WAVES", 0)  # room for one prompt at a time
    requests = requests_of(PROMPTS, SEEDS)
    answers = list(engine.stream(iter([requests[:2], requests[2:]]), SAMPLING))
    assert [index for index, _ in answers] == [0, 1, 2, 3, 4]
    assert token_ids([group for _, group in answers]) == expected

    monkeypatch.undo()
    left = engine.stream([requests], SAMPLING)
    next(left)
    left.close()
    assert not engine._process.llm.llm_engine.has_unfinished_requests()
    assert token_ids(generate(engine)) == expected


def test_the_second_pass_is_that_of_the_policy(served, tmp_path):
    """The policies are random, so hardly an answer has a letter."""
    policy, engine = served
    questions = [toy_question(number) for number in range(6)]
    changes = {"second_pass": True, "num_samples": 3, "max_new_tokens": 12, "questions_per_chunk": 4}
    protocol = replace(typed("evaluate").protocol, **changes)
    prompter = Prompter("{question}\n", (), policy.tokenizer)
    rows = list(
        BenchmarkRunner(policy, engine, protocol, prompter, 42, Progress("evaluate", None, "answers")).answers(
            questions, tmp_path, "toy"
        )
    )
    read = [[replace(item, recovered=None, letter_logps=None) for item in row] for row in rows]
    prompts = [prompter.text(question) for question in questions]
    expected = recover(policy, prompts, questions, read, protocol.cue)
    assert sum(item.recovered is not None for row in rows for item in row) > 9
    for row, others in zip(rows, expected, strict=True):
        assert [item.recovered for item in row] == [item.recovered for item in others]
        for item, other in zip(row, others, strict=True):
            assert (item.letter_logps or {}) == pytest.approx(other.letter_logps or {}, abs=1e-4)


def test_the_number_of_samples_changes_none_of_those_before(served):
    _, engine = served
    first = generate(engine, seeds=[row[:2] for row in SEEDS])
    assert token_ids(first) == [row[:2] for row in token_ids(generate(engine))]


def test_samples_and_prompts_are_independent_draws(served):
    _, engine = served
    samples = [
        tuple(ids)
        for group in token_ids(generate(engine, [PROMPTS[0]] * 5, sampling=Sampling(2.0, 12)))
        for ids in group
    ]
    assert len(set(samples)) == 20


def test_a_completion_ends_with_any_of_the_end_tokens_or_is_truncated(served):
    policy, engine = served
    _, completions = rows(generate(engine, sampling=Sampling(1.5, 40)))
    ends = {True: 0, False: 0}
    for item in completions:
        assert len(item.token_ids) == len(item.logps)
        assert not policy.eos_token_ids & set(item.token_ids[:-1])
        has_ended = item.token_ids[-1] in policy.eos_token_ids
        assert item.is_truncated is not has_ended
        assert has_ended or len(item.token_ids) == 40
        body = item.token_ids[:-1] if has_ended else item.token_ids
        assert item.text == policy.tokenizer.decode(body, skip_special_tokens=True)
        ends[has_ended] += 1
    assert all(ends.values())


def test_stop_strings_end_completions_as_with_transformers(served):
    policy, engine = served
    # Prompts and stop strings of whole characters: an engine shows parts of one differently while the rest is missing.
    prompts = policy.tokenizer([f"Which organ is number {number}?\n" for number in range(5)])["input_ids"]
    whole = [item for group in generate(engine, prompts, sampling=Sampling(1.5, 40)) for item in group]
    stop = tuple(sorted({pair for item in whole for pair in re.findall(r"[ -~]{2}", item.text)})[::10])
    sampling = Sampling(1.5, 40, stop=stop)
    stopped = [item for group in generate(engine, prompts, sampling=sampling) for item in group]
    for item, before in zip(stopped, whole, strict=True):
        expected = expected_completion(before, policy, stop)
        assert (item.token_ids, item.text, item.is_truncated) == (
            expected.token_ids,
            expected.text,
            expected.is_truncated,
        )
        assert item.logps == pytest.approx(expected.logps, abs=1e-4)
    assert sum(len(item.token_ids) for item in stopped) < sum(len(item.token_ids) for item in whole)


def test_temperature_zero_takes_the_likeliest_token_each_time(served):
    policy, engine = served
    greedy = Sampling(temperature=0.0, max_new_tokens=12)
    groups = generate(engine, sampling=greedy)
    assert token_ids(groups) == token_ids(HFEngine(policy, 64).generate(PROMPTS, SEEDS, greedy))
    assert all(item.logps == [0.0] * len(item.token_ids) for group in groups for item in group)


def test_top_p_and_top_k_leave_out_what_they_leave_out_elsewhere(served):
    policy, engine = served
    sampling = Sampling(temperature=0.6, max_new_tokens=12, top_p=0.9, top_k=20)
    groups = generate(engine, sampling=sampling)
    with torch.no_grad():
        logits = completion_logits(policy.model, batch_of(policy, groups), 1.0)
    for row, item in zip(logits, rows(groups)[1], strict=True):
        expected = filtered_logps(row[: len(item.token_ids)], sampling)
        expected = expected.gather(-1, torch.tensor(item.token_ids).unsqueeze(-1)).squeeze(-1)
        torch.testing.assert_close(torch.tensor(item.logps), expected, atol=1e-4, rtol=0)


def test_tokens_come_as_often_as_they_are_likely(served):
    policy, engine = served
    prompt = PROMPTS[1]
    with torch.no_grad():
        logits = policy.model(torch.tensor([prompt])).logits[0, -1]
    probabilities = torch.softmax(logits / 1.3, dim=-1)
    num_samples = 2000
    seeds = [[derive_seed("draws", sample)] for sample in range(num_samples)]
    groups = generate(engine, [prompt] * num_samples, seeds, Sampling(1.3, 1))
    counts = Counter(group[0].token_ids[0] for group in groups)
    for token, probability in enumerate(probabilities.tolist()):
        deviation = (num_samples * probability * (1 - probability)) ** 0.5
        assert abs(counts[token] - num_samples * probability) < 5 * deviation + 1


def test_without_log_probs_the_completions_are_the_same(served):
    _, engine = served
    groups = generate(engine, sampling=replace(SAMPLING, has_logps=False))
    assert token_ids(groups) == token_ids(generate(engine))
    assert all(item.logps == [] for group in groups for item in group)


def test_no_prompts_no_completions(served):
    _, engine = served
    assert generate(engine, [], []) == []
