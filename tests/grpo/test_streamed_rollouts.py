"""Completions that arrive one prompt after the other are scored at once, and give the same rollouts in any order."""

from __future__ import annotations

from functools import partial

import pytest
from support.grpo_runs import QUESTIONS, EvenTokens, make_module
from support.helpers import grpo_config
from torch.optim import SGD

from medssr.engines.hf_engine import HFEngine
from medssr.errors import InputError
from medssr.rewards.groups import GroupScore


class Backwards(HFEngine):
    """Finishes the last prompt first, and notes what has been scored before each is finished."""

    scored_before: list[int]
    reward = None
    fails_at = None

    def stream(self, batches, sampling):
        self.scored_before = []
        for batch in batches:
            groups = self.generate([one.prompt for one in batch], [one.seeds for one in batch], sampling)
            for number, (request, group) in enumerate(reversed(list(zip(batch, groups, strict=True)))):
                self.scored_before.append(0 if self.reward is None else self.reward.num_scored)
                if number == self.fails_at:
                    raise InputError("rollout: no server is left")
                yield request.index, group


class Counting(EvenTokens):
    num_scored = 0

    def __call__(self, question, completion, choice):
        self.num_scored += 1
        return super().__call__(question, completion, choice)


class CountsTokens:
    """A reward of groups: the number of tokens of each completion."""

    weight = 0.5
    is_label_free = True

    def score_group(self, group):
        return GroupScore([len(completion.token_ids) for completion in group.completions])


@pytest.fixture
def make(policy):
    return lambda engine, reward: make_module(policy, grpo_config(), reward, partial(SGD, lr=1.0), engine)


def rows(scored):
    return [(group.question.id, group.prompt_ids, group.rollouts) for group in scored.groups]


@pytest.mark.slow
@pytest.mark.parametrize("reward", [EvenTokens, CountsTokens])
def test_the_order_of_arrival_changes_nothing(make, reward):
    whole = make(HFEngine, reward()).roll_out(0, QUESTIONS)
    streamed = make(Backwards, reward()).roll_out(0, QUESTIONS)
    assert rows(streamed) == rows(whole)
    assert streamed.rewards.tolist() == whole.rewards.tolist()


def test_each_group_is_scored_before_the_next_is_finished(make):
    reward = Counting()
    module = make(Backwards, reward)
    module.rollouts.engine.reward = reward
    module.rollouts.collect(0, QUESTIONS[:3])
    assert module.rollouts.engine.scored_before == [0, 4, 8]


def test_an_engine_that_fails_ends_the_rollout(make):
    module = make(Backwards, EvenTokens())
    module.rollouts.engine.fails_at = 1
    with pytest.raises(InputError, match="no server is left"):
        module.roll_out(0, QUESTIONS)
