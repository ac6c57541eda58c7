"""Hints for questions that all completions answer wrongly: who gets one, what becomes of it, and how it is trained."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from support.grpo_runs import are_equal, fit, make_module, metrics, weights
from support.helpers import LetterEngine, completion, copy_policy, grpo_config, toy_question
from support.toy_stage import ToyStage, column
from torch.optim import SGD

from medssr.answers import Choice
from medssr.errors import InputError
from medssr.grpo.hints import Hints, PassageHints, check_hints, retry_with_hints, with_hinted
from medssr.grpo.metrics import rollout_metrics
from medssr.grpo.rollouts import Rollout, RolloutGroup, make_samples
from medssr.grpo.visits import visits_of
from medssr.knowledge.corpora import BuiltinCorpus, Passage
from medssr.questions import write_questions
from medssr.rewards.label_match import LabelMatch
from medssr.rewards.votes import MajorityVote

HINT = "It is the pump."
RIGHT_WITH_HINT = toy_question(1, answer="B")
WITHOUT_HINT = toy_question(2, answer="B")
PARTLY_RIGHT = toy_question(3, answer="A")
QUESTIONS = [RIGHT_WITH_HINT, WITHOUT_HINT, PARTLY_RIGHT]
HINTS = Hints(2, {"q1": HINT, "q3": HINT})


class TakesHints(LetterEngine):
    """Answers A, but A and B in turns where the prompt has the hint."""

    def __init__(self, policy, max_batch_size=64):
        super().__init__(policy)
        self.asked = []

    def generate(self, prompts, seeds, sampling):
        texts = self._policy.tokenizer.batch_decode(prompts)
        self.asked += [(HINT in text, len(row)) for text, row in zip(texts, seeds, strict=True)]
        return [
            [self._answer("AB"[place % 2] if HINT in text else "A") for place in range(len(row))]
            for text, row in zip(texts, seeds, strict=True)
        ]


class Corpus:
    def passages(self):
        yield Passage("p1", "Heart", "The heart pumps blood.")
        yield Passage("p2", "Liver", "The liver makes bile.")


def rollout(letter, label_reward):
    return Rollout(completion(), Choice(letter, ""), label_reward, label_reward)


def module_of(policy, hints=HINTS, reward=None, **settings):
    settings = {"num_steps": 1, "num_prompts_per_step": 3, "beta": 0.0, "max_new_tokens": 16} | settings
    return make_module(
        policy, grpo_config(**settings), reward or LabelMatch(1.0), partial(SGD, lr=1.0), TakesHints, hints=hints
    )


def test_hints_are_the_passages_of_a_question_cut_to_a_length():
    questions = [
        toy_question(0, provenance={"passages": ["p2", "p1"]}),
        toy_question(1),
        toy_question(2, provenance={"passages": ["p1"]}),
    ]
    hints = PassageHints(Corpus(), num_completions=2, max_characters=30).hints(questions)
    assert hints.texts == {
        "q0": "The liver makes bile.\n\nThe hea",
        "q0/permuted": "The liver makes bile.\n\nThe hea",
        "q2": "The heart pumps blood.",
        "q2/permuted": "The heart pumps blood.",
    }
    with pytest.raises(InputError, match=r'passage "p9" of question "q0".*grpo/hints=null to train without hints'):
        PassageHints(Corpus(), 2, 30).hints([toy_question(0, provenance={"passages": ["p9"]})])


@pytest.mark.parametrize("field", ["num_completions", "max_characters"])
def test_a_number_below_one_is_refused(field):
    with pytest.raises(InputError, match=rf"grpo\.hints\.{field}: 0; at least 1"):
        PassageHints(**{"corpus": Corpus(), "num_completions": 2, "max_characters": 9, field: 0})


def test_hints_for_all_completions_and_rewards_of_groups_are_refused(random_policies):
    with pytest.raises(InputError, match=r"grpo\.hints\.num_completions: 4; fewer than grpo\.num_generations \(4\)"):
        check_hints(Hints(4), 4, [])
    with pytest.raises(InputError, match=r"grpo\.hints: .* reward\.reward compares .*grpo/hints=null"):
        module_of(random_policies["qwen3"], reward=MajorityVote(1.0, None))


def test_right_completions_with_a_hint_take_the_places_of_the_last_ones():
    wrong = [rollout("A", 0.0) for _ in range(4)]
    group = RolloutGroup(toy_question(answer="B"), [1, 2], wrong, "B", num_other_tokens=5)
    found = with_hinted(group, [rollout("B", 1.0), rollout("A", 0.0), rollout("B", 1.0)], 40)
    assert [(one.choice.letter, one.is_hinted) for one in found.rollouts] == [
        *[("A", False)] * 2,
        *[("B", True)] * 2,
    ]
    assert found.num_other_tokens == 45
    assert with_hinted(group, [rollout("A", 0.0)], 0).rollouts == wrong


def test_only_a_question_with_a_hint_and_no_right_completion_is_asked_again(random_policies):
    module = module_of(random_policies["qwen3"])
    groups = module.rollouts.collect(0, QUESTIONS)
    found = retry_with_hints(groups, module.rollouts, HINTS, step=0)
    assert module.rollouts.engine.asked == [(False, 4), (False, 4), (False, 4), (True, 2)]
    assert found[1:] == groups[1:]
    letters = [one.choice.letter for one in found[0].rollouts]
    assert letters == ["A", "A", "A", "B"]  # of the two with the hint, one is right
    assert found[0].prompt_ids == groups[0].prompt_ids
    assert found[0].question == RIGHT_WITH_HINT


@pytest.mark.slow
def test_a_completion_with_a_hint_is_trained_under_the_prompt_without_it_and_without_importance_weight(
    random_policies, tmp_path
):
    policy = copy_policy(random_policies["qwen3"])
    module = module_of(policy, tis_cap=2.0)
    groups = retry_with_hints(module.rollouts.collect(0, [RIGHT_WITH_HINT]), module.rollouts, HINTS, step=0)
    (samples,) = make_samples(groups)
    assert [bool(sample.engine_logps.isnan().all()) for sample in samples] == [False, False, False, True]
    assert len({tuple(sample.prompt_ids) for sample in samples}) == 1

    before = weights(policy)
    fit(policy, tmp_path / "hints", module.config, module=module, questions=QUESTIONS)
    assert not are_equal(before, weights(policy))
    assert all(value.isfinite().all() for value in weights(policy).values())
    (row,) = metrics(tmp_path / "hints")
    assert float(row["train/hinted_share"]) == pytest.approx(1 / 12)
    assert float(row["train/engine_logp_missing_share"]) == pytest.approx(1 / 4)  # of the one group with signal

    plain = copy_policy(random_policies["qwen3"])
    module = module_of(plain, None, tis_cap=2.0)
    fit(plain, tmp_path / "plain", module.config, module=module, questions=QUESTIONS)
    assert are_equal(before, weights(plain))  # no group has signal
    assert float(metrics(tmp_path / "plain")[0]["train/hinted_share"]) == 0


def test_completions_with_a_hint_are_no_votes_and_say_nothing_of_the_accuracy():
    question = toy_question(1, answer="B", provenance={"truth": "B"})
    group = RolloutGroup(
        question, [1], [rollout("A", 0.0), rollout("A", 0.0), replace(rollout("B", 1.0), is_hinted=True)], "B"
    )
    ((_, visit),) = visits_of(0, [group])
    assert (visit.votes, visit.num_answers, visit.pass_rate) == ({"liver": 2}, 2, 0.0)
    found = rollout_metrics([group])
    assert found["train/true_accuracy"] == 0
    assert found["train/hinted_share"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_a_stage_looks_its_passages_up_in_the_corpus(tmp_path):
    passage = next(BuiltinCorpus().passages())
    stage = ToyStage(
        tmp_path,
        2,
        *("grpo.num_steps=1", "grpo.num_prompts_per_step=2", "grpo.num_generations=4", "grpo.max_new_tokens=8"),
        *("grpo/hints=passages", "grpo.hints.max_characters=40"),
        rollout="medssr.engines.hf_engine.HFEngine",
    )
    questions = [toy_question(number, provenance={"passages": [passage.id]}) for number in range(2)]
    write_questions(tmp_path / "questions.jsonl", questions)
    made = stage("hinted", max_batch_size=16)
    plain = stage("plain", "grpo.hints=null", max_batch_size=16)
    # A random policy is never right: each question was asked twice more, with the hint.
    assert column(made, "train/num_tokens")[0] > column(plain, "train/num_tokens")[0]
    assert column(made, "train/hinted_share") == [0.0]
    with pytest.raises(InputError, match=r"grpo\.hints\.num_completions: 4"):
        stage("all", "grpo.hints.num_completions=4", max_batch_size=16)
