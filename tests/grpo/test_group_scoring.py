"""How rewards of groups join those of single completions, and what becomes of their weights, masks and shifts."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from support.grpo_runs import are_equal, fit, make_module, metrics, weights
from support.helpers import LetterEngine, completion, copy_policy, grpo_config, toy_question
from torch.optim import SGD

from medssr.answers import Choice
from medssr.config import KLPlacement, ScaleRewards
from medssr.errors import InputError
from medssr.grpo.group_scoring import GroupScoring
from medssr.grpo.rollouts import Rollout, RolloutCollector, RolloutGroup, make_samples
from medssr.grpo.visits import visits_of
from medssr.questions import write_questions
from medssr.rewards.answer_format import AnswerFormat
from medssr.rewards.certainty import SelfCertainty
from medssr.rewards.groups import GroupScore
from medssr.rewards.history import QuestionHistory, Visit
from medssr.rewards.label_match import LabelMatch
from medssr.rewards.labels import read_training_questions, require_labels
from medssr.rewards.restrain import SpreadVotes
from medssr.rewards.scoring import RewardResult
from medssr.rewards.votes import AnswerFrequency, MajorityVote

UNLABELLED = [toy_question(number, answer=None) for number in range(5)]


class Decides:
    """Returns what it is given for every group."""

    is_label_free = True

    def __init__(self, weight, **fields):
        self.weight = weight
        self._fields = fields

    def score_group(self, group):
        fields = {"rewards": [0.0] * len(group.completions)} | self._fields
        return GroupScore(**fields)


class ShowsHistory:
    """Keeps the history that each group has."""

    weight = 1.0
    is_label_free = True

    def __init__(self):
        self.seen = []

    def score_group(self, group):
        self.seen.append((group.question.id, [visit.step for visit in group.history]))
        return GroupScore([float(letter == "A") for letter in group.letters])


def scored(rewards, answer="B", letters="ABB"):
    rollouts = [
        Rollout(completion(), Choice(letter, ""), 1.0, 1.0, {"format": RewardResult(1.0)}) for letter in letters
    ]
    group = RolloutGroup(toy_question(answer=answer), [1, 2], rollouts, answer)
    collector = RolloutCollector(None, None, rewards, None, seed=1, stage="s", source="")
    scoring = GroupScoring(collector, None, QuestionHistory("s"))
    scoring.arrived(0, group.question, [one.completion for one in rollouts], [one.choice for one in rollouts])
    (found,) = scoring.score([group], make_samples([group]))
    return found


def test_both_kinds_of_rewards_are_summed():
    group = scored({"format": AnswerFormat(0.1), "vote": MajorityVote(2.0, None)}, answer=None)
    assert [rollout.reward for rollout in group.rollouts] == pytest.approx([0.1, 2.1, 2.1])
    assert [rollout.label_reward for rollout in group.rollouts] == [0, 2, 2]  # the vote decides signal
    assert list(group.rollouts[0].results) == ["format", "vote"]
    assert (group.label, group.weight, group.rollouts[0].token_mask) == ("B", 1.0, None)


def test_weights_are_multiplied_masks_joined_and_shifts_weighted():
    first = Decides(2.0, question_weight=0.5, advantage_shifts=[1.0, 0.0, -1.0], token_masks=[(1, 1, 0), None, None])
    second = Decides(
        0.5, question_weight=3.0, advantage_shifts=[1.0, 1.0, 1.0], token_masks=[(0, 1, 1), (1, 0, 1), None]
    )
    group = scored({"format": AnswerFormat(1.0), "first": first, "second": second})
    assert group.weight == 1.5
    assert [rollout.advantage_shift for rollout in group.rollouts] == [2.5, 0.5, -1.5]
    assert [rollout.token_mask for rollout in group.rollouts] == [(False, True, False), (True, False, True), None]


def test_the_label_is_the_question_s_own_where_a_reward_reads_it():
    rewards = {"format": AnswerFormat(1.0), "vote": MajorityVote(1.0, None)}
    assert scored(rewards, letters="AAB").label == "A"
    with_label = {"format": LabelMatch(1.0), "vote": MajorityVote(1.0, None)}
    assert scored(with_label, letters="AAB").label == "B"


def module_with(policy, rewards, reward_names=None, **settings):
    config = grpo_config(beta=0.0, scale_rewards=ScaleRewards.none, **settings)
    engine = lambda policy, **_: LetterEngine(policy)  # noqa: E731
    return make_module(policy, config, rewards, partial(SGD, lr=1.0), engine, reward_names=reward_names)


def test_a_shift_is_added_after_the_comparison_and_is_signal_by_itself(policy):
    """The engine answers AAAB: the vote's advantages are 1/4 and -3/4."""
    shifts = [0.5, 0.0, 0.0, -1.0]
    rewards = {"vote": MajorityVote(1.0, None), "shift": Decides(1.0, advantage_shifts=shifts)}
    module = module_with(policy, rewards)
    found = module.roll_out(0, UNLABELLED[:2])
    assert module.advantages(found).tolist() == [[0.75, 0.25, 0.25, -1.75]] * 2
    # Rewards that do not decide signal differ, but the group has none: only the shift is left.
    rewards = {"none": Decides(1.0, advantage_shifts=shifts), "form": ShowsHistory()}
    rewards["none"].decides_signal = True
    module = module_with(policy, rewards)
    found = module.roll_out(0, UNLABELLED[:2])
    assert found.has_signal.tolist() == [True, True]
    assert module.advantages(found).tolist() == [shifts] * 2


def test_a_reward_that_divides_by_deviations_itself_refuses_that_they_are_divided_again(policy):
    reward = SpreadVotes(1.0, 1.0, 0.5, 0.3, 0.5, uses_agreement=False)
    with pytest.raises(InputError, match=r"grpo\.scale_rewards: group, but reward\..*take grpo\.scale_rewards=none"):
        make_module(policy, grpo_config(), reward, partial(SGD, lr=1.0))


def test_unscored_completions_have_no_shift(policy):
    rewards = {"mine": Decides(1.0, rewards=[None, 1.0, 0.0, 0.0], advantage_shifts=[9.0, 0.0, 0.0, 0.0])}
    module = module_with(policy, rewards)
    assert module.advantages(module.roll_out(0, UNLABELLED[:1]))[0, 0] == 0


def test_weights_and_masks_reach_the_samples(policy):
    rewards = {"mine": Decides(1.0, question_weight=0.25), "soft": AnswerFrequency(1.0, 0.0, masks_answer=True)}
    found = module_with(policy, rewards).roll_out(0, UNLABELLED[:1])
    text = policy.tokenizer.decode
    for sample in found.samples[0]:
        assert sample.weight == 0.25
        # "The answer is A.": all but the letter is trained.
        pairs = list(zip(sample.completion_ids, sample.token_mask.tolist(), strict=True))
        assert text([token for token, is_trained in pairs if not is_trained]).strip() in ("A", "B")
        assert sum(not is_trained for _, is_trained in pairs) <= 2  # a space may be a token of its own


def test_the_visits_of_a_step_by_hand(policy):
    module = module_with(policy, {"vote": MajorityVote(1.0, None)})
    found = module.roll_out(0, UNLABELLED[:1])  # A is the liver, B the heart; the label is A
    assert visits_of(7, found.groups) == [("q0", Visit(7, {"heart": 1, "liver": 3}, 4, "liver", 0.75))]


@pytest.mark.slow
def test_a_resumed_run_has_the_history_of_a_whole_one(random_policies, tmp_path):
    config = grpo_config(num_steps=4)
    policies = [copy_policy(random_policies["qwen3"]) for _ in range(3)]
    whole, stopped, resumed = ShowsHistory(), ShowsHistory(), ShowsHistory()
    fit(policies[0], tmp_path / "whole", config, whole, questions=UNLABELLED)
    assert max(len(steps) for _, steps in whole.seen) > 0  # five questions, eight visits
    fit(policies[1], tmp_path / "stopped", replace(config, num_steps=2), stopped, questions=UNLABELLED)
    fit(policies[2], tmp_path / "stopped", config, resumed, questions=UNLABELLED)
    assert stopped.seen + resumed.seen == whole.seen
    assert are_equal(weights(policies[0]), weights(policies[2]))
    assert metrics(tmp_path / "stopped")[2:] == metrics(tmp_path / "whole")[2:]


def test_questions_need_labels_only_for_rewards_that_read_them(tmp_path):
    path = tmp_path / "questions.jsonl"
    write_questions(path, UNLABELLED)
    vote = {"_target_": "medssr.rewards.votes.MajorityVote", "weight": 1.0, "num_trained": None}
    label = {"_target_": "medssr.rewards.label_match.LabelMatch", "weight": 1.0}
    mine = {"_target_": "my_module.Mine", "weight": 1.0}
    assert len(read_training_questions(path, {"vote": vote, "mine": mine})) == 5
    with pytest.raises(InputError, match=r"questions\.jsonl, line 1.*has no label"):
        read_training_questions(path, {"vote": vote, "label": label})
    require_labels({"vote": MajorityVote(1.0, None)}, UNLABELLED, "file")
    with pytest.raises(InputError, match=r'file: question "q0" has no label, which reward\.form may read'):
        require_labels({"form": partial(AnswerFormat, 1.0), "vote": MajorityVote(1.0, None)}, UNLABELLED, "file")


@pytest.mark.slow
def test_metrics_of_questions_without_a_label(policy, tmp_path):
    """A tie has no label: nothing is counted as right or wrong, and no label is compared with the truth."""
    with_truth = [replace(question, provenance={"truth": "A"}) for question in UNLABELLED]
    module = module_with(policy, {"vote": MajorityVote(1.0, None)}, num_steps=1)
    fit(policy, tmp_path / "vote", module=module, config=module.config, questions=with_truth)
    (row,) = metrics(tmp_path / "vote")
    assert float(row["train/label_accuracy"]) == float(row["train/reward_accuracy"]) == 1
    module = module_with(policy, {"format": AnswerFormat(1.0)}, num_steps=1)
    fit(policy, tmp_path / "none", module=module, config=module.config, questions=with_truth)
    (row,) = metrics(tmp_path / "none")
    assert float(row["train/true_accuracy"]) == 0.75
    assert row.keys().isdisjoint({"train/label_accuracy", "train/completion_tokens_right", "train/label_share/A"})
    assert math.isfinite(float(row["train/reward"]))


@pytest.mark.slow
@pytest.mark.parametrize("placement", list(KLPlacement))
def test_one_pass_gives_statistics_and_the_log_probs_that_an_update_needs(policy, monkeypatch, placement):
    """Two minibatches need the log-probs of the policy that sampled, and so does the KL in the reward."""
    config = grpo_config(minibatch_prompts=1, beta=0.1, kl_placement=placement)
    module = make_module(policy, config, SelfCertainty(1.0), partial(SGD, lr=1.0))
    passes = []
    monkeypatch.setattr(module.objective, "_logps", lambda model, batch: passes.append(model) or real(model, batch))
    real = type(module.objective)._logps.__get__(module.objective)
    found = module.roll_out(0, UNLABELLED[:2])
    samples = [sample for row in found.samples for sample in row]
    if placement is KLPlacement.loss:
        module.objective.compute_ref_and_old_logps(samples, has_old=not module._has_old_logps)
    assert passes
    assert all(model is module.objective.reference for model in passes)
    for sample, rollout in zip(samples, [item for group in found.groups for item in group.rollouts], strict=True):
        batch = module.objective._batch([sample])
        (logps,) = real(policy.model, batch)
        torch.testing.assert_close(sample.old_logps, logps[: len(sample.completion_ids)].detach())
        (_, _, mean_logps) = module.objective._statistics(batch)
        assert rollout.results["reward"].value == pytest.approx(-mean_logps[0].mean().item(), rel=1e-4)


def test_each_source_has_its_own_rewards(policy, tmp_path):
    """Labelled questions say B, so that the engine's AAAB earns 1/4; the others earn by their majority 3/4."""
    labelled = [toy_question(number, answer="B") for number in range(10, 14)]
    rewards = {"label": LabelMatch(1.0), "vote": MajorityVote(1.0, None), "form": AnswerFormat(0.1)}
    names = {question.id: ["label"] for question in labelled}
    names |= {question.id: ["vote", "form"] for question in UNLABELLED}
    module = module_with(policy, rewards, names, num_steps=2, num_prompts_per_step=4)
    further = {"unlabelled": (UNLABELLED, 3)}
    fit(policy, tmp_path, module.config, module=module, questions=labelled, further=further)
    for row in metrics(tmp_path):
        found = [float(row[f"train/reward/{name}"]) for name in rewards]
        assert found == pytest.approx([0.25, 0.75, 1.0])
        assert float(row["train/reward"]) == pytest.approx((0.25 + 3 * 0.85) / 4)
    groups = module.last_step.groups
    assert sorted(group.label for group in groups) == ["A", "A", "A", "B"]
    assert [list(group.rollouts[0].results) for group in groups if group.label == "B"] == [["label"]]
    (checkpoint,) = (tmp_path / "checkpoints").glob("*2.ckpt")
    assert torch.load(checkpoint, weights_only=True)["reward_faults"]["label"]["has_scored"]
