"""RLPR: the probability of the label after a completion's reasoning, by hand and against the model's own logits."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from support.grpo_runs import make_module
from support.helpers import LetterEngine, completion, grpo_config, toy_question
from torch.optim import SGD

from medssr.answers import Choice
from medssr.errors import InputError
from medssr.grpo.answer_probability import answer_probabilities, named_tokens, restated
from medssr.grpo.rollouts import Rollout, RolloutGroup
from medssr.grpo.selection import Candidate, SpreadFilter
from medssr.rewards.answer_probability import AnswerProbability
from medssr.rewards.groups import AnswerProbabilities, GroupInput
from medssr.rewards.history import QuestionHistory, Visit

QUESTION = toy_question(answer="B")  # A is the liver, B the heart


@pytest.mark.parametrize(
    ("statement", "letter", "expected"),
    [
        (" A", "A", (" ", "B")),
        ("**A. liver**", "A", ("**", "B")),
        (" is Liver", "A", (" is ", "heart")),
        (" B", "B", (" ", "B")),
        (" the first one", "A", (" ", "B")),  # named in another way: by the label's letter
    ],
)
def test_the_label_takes_the_form_of_the_answer(statement, letter, expected):
    assert restated(statement, QUESTION, letter, "B") == expected


def test_tokens_that_lead_to_the_name_are_not_scored():
    encode = lambda text: [ord(char) for char in text.replace(" B", "#")]  # noqa: E731
    assert named_tokens("is ", "B", encode).num_scored == 1  # " B" is one token
    assert named_tokens("(", "B", encode).num_scored == 1
    assert named_tokens("", "heart", encode).num_scored == 5


def test_probabilities_by_hand():
    """Each character is a token; its probability is 1/2, that of the label 3/4 after "ab" and 1/4 without reasoning."""

    def group(letters, question=QUESTION):
        texts = {"A": "ab A.", "-": "hm"}
        rollouts = []
        for letter in letters:
            choice = Choice(None if letter == "-" else letter, "")
            rollouts.append(Rollout(completion([ord(char) for char in texts[letter]]), choice, 0.0, 0.0))
        return RolloutGroup(question, [1, 2], rollouts)

    asked = []

    def logps_of(samples):
        asked.extend("".join(map(chr, sample.completion_ids)) for sample in samples)
        last = {"ab B": 3 / 4, "The answer is B": 1 / 4}
        return [torch.tensor([1 / 2] * (len(text) - 1) + [last[text]]).log() for text in asked[-len(samples) :]]

    statements = [[(range(2, 4),), None], [(range(2, 4),)], [(range(2, 4),)]]
    groups = [group("A-"), group("A", toy_question(answer=None)), group("A")]
    found = answer_probabilities(
        groups,
        [True, True, False],
        statements,
        lambda text: [ord(char) for char in text],
        lambda ids: "".join(map(chr, ids)),
        logps_of,
    )
    assert asked == ["ab B", "The answer is B"]
    assert found[0].after_reasoning == [pytest.approx(3 / 4), None]
    assert found[0].without_reasoning == pytest.approx(1 / 4)
    assert found[1:] == [None, None]  # without a label, and without a reader


@pytest.mark.parametrize(("is_debiased", "expected"), [(True, [0.5, 0.0, 0.0]), (False, [0.75, 0.125, 0.0])])
def test_the_reward_by_hand(is_debiased, expected):
    group = GroupInput(
        QUESTION,
        [completion()] * 3,
        [Choice("A", "")] * 3,
        answer_probabilities=AnswerProbabilities([0.75, 0.125, None], 0.25),
    )
    score = AnswerProbability(1.0, is_debiased=is_debiased).score_group(group)
    assert (score.rewards, score.label) == (expected, "B")


def test_a_training_step_computes_what_the_model_s_logits_say(policy):
    """The engine answers "The answer is A." three times and B once; the label is B."""
    config = grpo_config(beta=0.0)
    reward = AnswerProbability(1.0, is_debiased=False)
    module = make_module(policy, config, reward, partial(SGD, lr=1.0), lambda policy, **_: LetterEngine(policy))
    found = module.roll_out(0, [QUESTION])
    prompt = found.groups[0].prompt_ids
    encode = partial(policy.tokenizer, add_special_tokens=False)
    text = "The answer is "
    values = []
    for rollout in found.groups[0].rollouts:
        before = [token for token in rollout.completion.token_ids if token != policy.tokenizer.eos_token_id]
        letter_at = max(
            index
            for index in range(len(before))
            if policy.tokenizer.decode(before[: index + 1]).rstrip(".").endswith(rollout.choice.letter)
            and not policy.tokenizer.decode(before[: index + 1]).endswith(".")
        )
        kept = policy.tokenizer.decode(before[:letter_at])
        assert text.startswith(kept)
        named = encode(text[len(kept) :] + "B")["input_ids"]
        ids = torch.tensor([[*prompt, *before[:letter_at], *named]])
        with torch.no_grad():
            logps = policy.model(ids).logits[0].float().div(config.temperature).log_softmax(-1)
        values.append(math.exp(logps[-2, named[-1]].item()))
    assert [rollout.results["reward"].value for rollout in found.groups[0].rollouts] == pytest.approx(values, rel=1e-3)
    assert found.groups[0].label == "B"


def test_the_filter_of_small_deviations_by_hand():
    """m is 0.4, then 0.5 * 0.4 + 0.5 * 0.2 = 0.3: the bound is 0.15 from the second step on."""
    visit = Visit(0, {}, 8, None, None)

    def select(rule, step, *deviations):
        candidates = [Candidate(f"q{number}", visit, value) for number, value in enumerate(deviations)]
        flags = rule.select(step, candidates, QuestionHistory("s"))
        assert rule.select(step, candidates, QuestionHistory("s")) == flags  # the step may be begun anew
        rule.record(candidates, [])
        return flags

    rule = SpreadFilter(factor=0.5, decay=0.5, first_step=1)
    assert select(rule, 0, 0.0, 0.8) == [True, True]
    resumed = SpreadFilter(factor=0.5, decay=0.5, first_step=1)
    resumed.load_state_dict(rule.state_dict())
    for each in (rule, resumed):
        assert select(each, 1, 0.1, 0.16, 0.34) == [False, True, True]
    with pytest.raises(InputError, match=r"SpreadFilter\.decay: 2; 0 to 1"):
        SpreadFilter(0.5, 2, 10)
