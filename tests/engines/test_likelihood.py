import pytest
import torch

from medssr.engines.likelihood import continuation_logps
from medssr.models.prompts import encode_with_continuations

PROMPTS = [[50, 51, 52], [60], [70, 71, 72, 73, 74, 75, 76]]
CONTINUATIONS = [[[5], [6], [7, 8]], [[9, 10, 11], [9, 10]], [[5], [5, 6, 7, 8]]]


def logp_by_hand(policy, prompt, continuation):
    """The sum of the log-probabilities of the tokens, one forward pass for each."""
    total = 0.0
    for index, token in enumerate(continuation):
        ids = torch.tensor([[*prompt, *continuation[:index]]])
        with torch.inference_mode():
            logits = policy.model(input_ids=ids).logits[0, -1]
        total += float(torch.log_softmax(logits.float(), dim=-1)[token])
    return total


def test_it_is_the_sum_over_the_tokens_of_the_continuation(any_policy):
    results = continuation_logps(any_policy, PROMPTS, CONTINUATIONS)
    for prompt, continuations, row in zip(PROMPTS, CONTINUATIONS, results, strict=True):
        assert row == pytest.approx([logp_by_hand(any_policy, prompt, item) for item in continuations], abs=1e-4)


def test_the_other_prompts_change_nothing(policy):
    together = continuation_logps(policy, PROMPTS, CONTINUATIONS)
    for index, prompt in enumerate(PROMPTS):
        assert continuation_logps(policy, [prompt], [CONTINUATIONS[index]])[0] == pytest.approx(
            together[index], abs=1e-4
        )


def test_all_letters_share_one_row(policy, monkeypatch):
    num_rows = []
    forward = policy.model.forward

    def counting(**arguments):
        num_rows.append(len(arguments["input_ids"]))
        return forward(**arguments)

    monkeypatch.setattr(policy.model, "forward", counting)
    continuation_logps(policy, PROMPTS, [[[5], [6], [7], [8]]] * 3)
    assert num_rows == [3]


def test_the_model_stays_in_training_mode(policy):
    policy.model.train()
    continuation_logps(policy, PROMPTS[:1], CONTINUATIONS[:1])
    assert policy.model.training


def test_nothing_asked_is_nothing_found(policy):
    assert continuation_logps(policy, [], []) == []


def test_a_continuation_is_what_the_whole_text_has_more(any_policy):
    tokenizer = any_policy.tokenizer
    contexts = ["Which organ? The answer is", "B"]
    prompts, continuations = encode_with_continuations(contexts, [[" A", " B"], [" C"]], tokenizer)
    for context, prompt, ends, texts in zip(contexts, prompts, continuations, [[" A", " B"], [" C"]], strict=True):
        for end, text in zip(ends, texts, strict=True):
            assert end
            assert tokenizer.decode([*prompt, *end]) == context + text


class PairTokenizer:
    """Makes one token of each two characters, so that a continuation changes the end of an odd context."""

    chat_template = None

    def __call__(self, texts, add_special_tokens):
        return {"input_ids": [[text[start : start + 2] for start in range(0, len(text), 2)] for text in texts]}


def test_a_context_ends_before_the_token_that_a_continuation_changes():
    prompts, continuations = encode_with_continuations(["abc", "ab"], [["de", "f"], ["cd"]], PairTokenizer())
    assert prompts == [["ab"], ["ab"]]
    assert continuations == [[["cd", "e"], ["cf"]], [["cd"]]]
