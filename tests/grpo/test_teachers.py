"""The moving average of a policy's weights: its formula, its place in the policy's model, and what it is asked for."""

from __future__ import annotations

import os
import signal
from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from support.copied_engine import CopiedEngine
from support.grpo_runs import EvenTokens, are_equal, fit, make_module, weights
from support.helpers import copy_policy, grpo_config, random_policy, toy_question
from torch.optim import SGD

from medssr.answers import extract_choice
from medssr.config import LoRAConfig
from medssr.engines.hf_engine import HFEngine
from medssr.engines.types import Sampling
from medssr.errors import InputError
from medssr.grpo.peers import with_teacher_answers
from medssr.grpo.rollouts import make_samples
from medssr.grpo.teachers import MovingAverage
from medssr.models.averaged_weights import AveragedWeights
from medssr.models.lora import adapter_weights, add_adapters
from medssr.rewards.peer_vote import PeerVote
from medssr.utils.seeding import derive_seed
from medssr.utils.stopping import Stopped, catch_signals

TEACHER = {
    "_target_": "medssr.grpo.teachers.MovingAverage",
    "decay": 0.75,
    "final_decay": 0.75,
    "num_answers": 3,
    "anchors_kl": True,
}
QUESTIONS = [toy_question(number, answer=None) for number in range(2)]


class EvenTokensWithPeers(EvenTokens):
    needs_peers = True


def one_weight(value):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, value)
    return model


def shifted(model, step):
    """Changes each trained weight."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.mul_(1 + step).add_(step)


def test_the_average_moves_by_its_formula():
    model = one_weight(4.0)
    average = AveragedWeights(model)
    for value, expected in [(8.0, 5.0), (1.0, 4.0)]:  # 0.75 4 + 0.25 8, then 0.75 5 + 0.25 1
        torch.nn.init.constant_(model.weight, value)
        average.update(model, 0.75)
        assert average.weights[0].item() == expected
    average.update(model, 1.0)
    assert average.weights[0].item() == 4.0
    with average.in_place_of(model):
        assert model(torch.ones(1, 1)).item() == 4.0
    assert (model.weight.item(), average.weights[0].item()) == (1.0, 4.0)


@pytest.mark.parametrize("field", ["decay", "final_decay"])
@pytest.mark.parametrize("value", [-0.1, 1.01, "0.5", True])
def test_a_decay_that_is_no_fraction_is_refused(field, value):
    with pytest.raises(InputError, match=rf"grpo\.teacher\.{field}: .*0 to 1"):
        MovingAverage(**{"decay": 0.9, "final_decay": 0.9, "num_answers": 1, "anchors_kl": True, field: value})


def test_a_teacher_without_answers_is_refused():
    with pytest.raises(InputError, match=r"grpo\.teacher\.num_answers: 0; at least 1"):
        MovingAverage(decay=0.9, final_decay=0.9, num_answers=0, anchors_kl=True)


@pytest.mark.parametrize("fault", [ZeroDivisionError, Stopped])
def test_the_policy_has_its_weights_back_however_the_block_ends(random_policies, fault):
    policy = copy_policy(random_policies["qwen3"])
    average = AveragedWeights(policy.model)
    shifted(policy.model, 0.01)
    before = weights(policy)

    def work():
        with average.in_place_of(policy.model):
            assert not are_equal(before, weights(policy))
            if fault is Stopped:
                os.kill(os.getpid(), signal.SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(fault), catch_signals():
        work()
    assert are_equal(before, weights(policy))


def test_a_signal_within_the_exchange_waits_for_its_end(monkeypatch):
    """It comes between two of the weights, on the way in and on the way back."""
    model = torch.nn.Sequential(one_weight(1.0), one_weight(2.0))
    for when in ("in", "back"):
        average = AveragedWeights(model)
        shifted(model, 1.0)
        before = [weight.item() for weight in model.parameters()]
        exchange, calls = AveragedWeights._exchange, []

        def interrupted(self, model, when=when, exchange=exchange, calls=calls):
            calls.append(when)
            if len(calls) == (1 if when == "in" else 2):
                pairs = list(self._pairs(model))

                def with_signal(model):
                    yield pairs[0]
                    os.kill(os.getpid(), signal.SIGTERM)
                    yield pairs[1]

                self._pairs = with_signal
            exchange(self, model)
            self.__dict__.pop("_pairs", None)

        monkeypatch.setattr(AveragedWeights, "_exchange", interrupted)
        with pytest.raises(Stopped), catch_signals(), average.in_place_of(model):
            pass
        monkeypatch.setattr(AveragedWeights, "_exchange", exchange)
        assert len(calls) == 2
        assert [weight.item() for weight in model.parameters()] == before


def test_of_a_model_with_adapters_these_alone_are_averaged(random_policies):
    policy = copy_policy(random_policies["qwen3"])
    add_adapters(policy.model, LoRAConfig(2, 4, None), seed=1)
    average = AveragedWeights(policy.model)
    trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
    assert [weight.shape for weight in average.weights] == [weight.shape for weight in trained]
    at_start = {name: weight.clone() for name, weight in adapter_weights(policy.model).items()}
    shifted(policy.model, 0.5)
    with average.in_place_of(policy.model):
        assert are_equal(at_start, adapter_weights(policy.model))
    assert not are_equal(at_start, adapter_weights(policy.model))


def test_a_teacher_samples_what_a_model_with_its_weights_samples(random_policies):
    policy = copy_policy(random_policies["qwen3"])
    config = grpo_config(teacher=TEACHER, max_new_tokens=8)
    module = make_module(policy, config, EvenTokens(), partial(SGD, lr=1.0))
    alone = replace(policy, model=deepcopy(policy.model))
    shifted(policy.model, 0.05)
    groups = module.rollouts.collect(0, QUESTIONS)
    asked = with_teacher_answers(groups, module.rollouts, module.average, policy.model, step=0, num_answers=3)
    prompts = [group.prompt_ids for group in groups]
    seeds = [[derive_seed(42, "toy", 0, question.id, "teacher", index) for index in range(3)] for question in QUESTIONS]
    expected = HFEngine(alone, 64).generate(prompts, seeds, Sampling(config.temperature, 8))
    policy_answers = HFEngine(policy, 64).generate(prompts, seeds, Sampling(config.temperature, 8))
    assert [one.text for row in expected for one in row] != [one.text for row in policy_answers for one in row]
    for group, row, question in zip(asked, expected, QUESTIONS, strict=True):
        read = [extract_choice(one.text, question.options).letter for one in row]
        assert group.peer_letters == [
            None if one.is_truncated else letter for one, letter in zip(row, read, strict=True)
        ]
        assert group.num_other_tokens == sum(len(group.prompt_ids) + len(one.token_ids) for one in row)
    assert [group.rollouts for group in asked] == [group.rollouts for group in groups]


@pytest.mark.slow
def test_an_engine_with_a_copy_of_the_weights_gets_the_teachers_and_the_policys_in_turns(random_policies, tmp_path):
    found = []
    for engine in (HFEngine, CopiedEngine):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(teacher=TEACHER | {"num_answers": 4}, has_permuted_view=True)
        module = make_module(policy, config, EvenTokensWithPeers(), partial(SGD, lr=0.5), engine)
        fit(policy, tmp_path / engine.__name__, config, module=module)
        found.append(weights(policy))
    versions = [version for version, _ in module.rollouts.engine.versions]
    assert versions == [1, 2, 3, 4, 5, 6]  # in each of three steps the policy samples, then the teacher
    assert are_equal(*found)


@pytest.mark.slow
@pytest.mark.parametrize("has_adapters", [False, True], ids=["all weights", "adapters"])
def test_the_kl_is_to_the_average(random_policies, has_adapters):
    policy = copy_policy(random_policies["qwen3"])
    if has_adapters:
        add_adapters(policy.model, LoRAConfig(2, 4, None), seed=1)
    config = grpo_config(teacher=TEACHER, beta=0.1)
    assert not config.keeps_reference
    module = make_module(policy, config, EvenTokens(), partial(SGD, lr=1.0))
    module.objective.reference = None
    shifted(policy.model, 0.05)
    module.average.update(policy.model, 0.5)
    shifted(policy.model, 0.05)
    (samples,) = make_samples(module.rollouts.collect(0, QUESTIONS[:1]))
    module.objective.compute_ref_and_old_logps(samples, has_old=True)
    with module.average.in_place_of(policy.model):
        averaged = deepcopy(policy.model)
    other = make_module(replace(policy, model=averaged), config, EvenTokens(), partial(SGD, lr=1.0))
    again = [replace(sample) for sample in samples]
    other.objective.compute_ref_and_old_logps(again, has_old=True)
    for sample, expected in zip(samples, again, strict=True):
        assert torch.equal(sample.ref_logps, expected.old_logps)
        assert not torch.equal(sample.ref_logps, sample.old_logps)


@pytest.mark.slow
def test_the_average_follows_each_optimiser_step_of_a_training(random_policies, tmp_path):
    """Four steps of two optimiser steps each, followed by the formula on the weights after each."""
    policy = copy_policy(random_policies["qwen3"])
    config = grpo_config(teacher=TEACHER | {"final_decay": 1.0}, num_steps=4, minibatch_prompts=1)
    module = make_module(policy, config, EvenTokens(), partial(SGD, lr=0.5))
    expected = [weight.detach().clone() for weight in policy.model.parameters()]
    take_step, decays = module.take_step, []

    def followed(step, minibatch, statistics):
        result = take_step(step, minibatch, statistics)
        decays.append(round(module.objective.teacher.decay_at(step, 4), 4))
        for mean, weight in zip(expected, policy.model.parameters(), strict=True):
            mean.mul_(decays[-1]).add_(weight.detach(), alpha=1 - decays[-1])
        return result

    module.take_step = followed
    fit(policy, tmp_path, config, module=module)
    assert decays == [0.75, 0.75, 0.7866, 0.7866, 0.875, 0.875, 0.9634, 0.9634]
    for mean, average in zip(expected, module.average.weights, strict=True):
        torch.testing.assert_close(average.data, mean, rtol=1e-4, atol=1e-5)
        assert not average.requires_grad
    assert not all(torch.equal(a, w) for a, w in zip(module.average.weights, policy.model.parameters(), strict=True))


def test_a_teacher_that_nothing_uses_and_a_reward_without_peers_are_refused():
    policy = random_policy("qwen3")
    for settings in ({"beta": 0.0}, {"beta": 0.1, "teacher": TEACHER | {"anchors_kl": False}}):
        config = grpo_config(**{"teacher": TEACHER} | settings)
        with pytest.raises(InputError, match=r"grpo\.teacher: nothing uses it; take .*reward=peer_vote"):
            make_module(policy, config, EvenTokens(), partial(SGD, lr=1.0))
    with pytest.raises(InputError, match=r"reward\.reward: .*grpo\.has_permuted_view=true, or a teacher"):
        make_module(policy, grpo_config(), PeerVote(1.0), partial(SGD, lr=1.0))
