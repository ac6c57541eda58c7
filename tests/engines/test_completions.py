from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import expected_completion

from medssr.engines.completions import find_stop, num_tokens_to_stop, read_completions
from medssr.engines.hf_engine import HFEngine
from medssr.engines.types import Completion, Sampling

PROMPTS = [[50, 51, 52], [60], [70, 71, 72, 73, 74, 75, 76]]
SEEDS = [[10 * prompt + sample for sample in range(4)] for prompt in range(3)]
SAMPLING = Sampling(temperature=0.8, max_new_tokens=50)


@pytest.mark.parametrize(
    ("text", "stop", "index"),
    [
        ("The answer is B.", ["\nQ:"], None),
        ("The answer is B.", [], None),
        ("The answer is B.\nQ: And now?\nQ:", ["\nQ:"], 16),
        ("\nQ: And now?", ["\nQ:"], 0),
        # Complete at the same place: the first in the list.
        ("B.\n\nQuestion: what", ["\nQuestion:", "\n\nQuestion:"], 3),
        ("B.\n\nQuestion: what", ["\n\nQuestion:", "\nQuestion:"], 2),
        # The one that begins earlier is complete later.
        ("one two three four", ["one two three four", "two"], 4),
    ],
)
def test_a_text_is_cut_before_the_stop_string_that_is_complete_first(text, stop, index):
    assert find_stop(text, stop) == index


@pytest.mark.slow
@given(st.text("ab\n", max_size=12), st.lists(st.text("ab\n", min_size=1, max_size=3), max_size=3))
def test_it_is_found_as_if_the_text_grew_by_single_characters(text, stop):
    expected = None
    for end in range(1, len(text) + 1):
        ending = [string for string in stop if text[:end].endswith(string)]
        if ending:
            expected = end - len(ending[0])
            break
    assert find_stop(text, stop) == expected


@pytest.mark.slow
def test_stop_strings_end_completions_token_by_token(any_policy):
    whole = [item for group in HFEngine(any_policy, 64).generate(PROMPTS, SEEDS, SAMPLING) for item in group]
    # Of completions of several lengths, a few characters from the beginning, the middle and the end.
    stop = tuple(item.text[at : at + 3] for item, at in zip(whole, (1, 9, 20, 35), strict=False) if item.text[at:])
    assert stop
    engine = HFEngine(replace(any_policy, stop=stop[:2]), 5)
    stopped = [item for group in engine.generate(PROMPTS, SEEDS, replace(SAMPLING, stop=stop[1:])) for item in group]
    assert [item.token_ids for item in stopped] == [
        expected_completion(item, any_policy, stop).token_ids for item in whole
    ]
    for item, before in zip(stopped, whole, strict=True):
        expected = expected_completion(before, any_policy, stop)
        assert (item.text, item.is_truncated) == (expected.text, expected.is_truncated)
        assert item.logps == pytest.approx(expected.logps, abs=1e-5)
    assert any(len(item.token_ids) < len(before.token_ids) for item, before in zip(stopped, whole, strict=True))
    assert any(len(item.token_ids) == len(before.token_ids) for item, before in zip(stopped, whole, strict=True))


@pytest.mark.slow
def test_rows_with_a_stop_string_are_not_sampled_to_the_limit(policy, monkeypatch):
    (whole,) = HFEngine(policy, 8).generate([PROMPTS[0]], [[1]], replace(SAMPLING, max_new_tokens=200))[0]
    calls = []
    forward = policy.model.forward
    monkeypatch.setattr(policy.model, "forward", lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs))
    engine = HFEngine(replace(policy, stop=(whole.text[:2],)), 8)
    ((stopped,),) = engine.generate([PROMPTS[0]], [[1]], replace(SAMPLING, max_new_tokens=200))
    assert len(stopped.token_ids) < 16 == len(calls) < len(whole.token_ids)


def test_an_end_token_that_is_not_special_is_not_in_the_text(policy):
    (end,) = policy.tokenizer(".", add_special_tokens=False)["input_ids"]
    policy.model.generation_config.eos_token_id = end
    tokens = [*policy.tokenizer("The answer is A", add_special_tokens=False)["input_ids"], end]
    (completion,) = read_completions(policy, [tokens], [[]], SAMPLING)
    assert completion == Completion(tokens, [], "The answer is A", is_truncated=False)


def test_a_stop_string_may_end_in_the_last_token_before_the_limit(policy):
    tokens = policy.tokenizer("The answer is A.\nQ:", add_special_tokens=False)["input_ids"]
    (completion,) = read_completions(replace(policy, stop=("\nQ:",)), [tokens], [[0.0] * len(tokens)], SAMPLING)
    assert completion == Completion(tokens, [0.0] * len(tokens), "The answer is A.", is_truncated=False)


@pytest.mark.slow
@given(st.text(min_size=1, max_size=12), st.integers(0, 20), st.text(max_size=5))
def test_the_number_of_tokens_is_the_smallest(random_policies, stop, at, after):
    tokenizer = random_policies["qwen3"].tokenizer
    text = f"{'The answer. '[:at]}{stop}{after}"
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    decoded = [tokenizer.decode(tokens[:length], skip_special_tokens=True) for length in range(len(tokens) + 1)]
    if stop in decoded[-1]:
        expected = next(length for length, beginning in enumerate(decoded) if stop in beginning)
        assert num_tokens_to_stop(tokens, tokenizer, [stop]) == expected
