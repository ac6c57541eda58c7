"""Loss and gradient of one step of a pretrained model against TRL's GRPOTrainer on the same completions."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from support.grpo_runs import make_module
from support.helpers import grpo_config

from medssr.answers import extract_choice
from medssr.engines.hf_engine import HFEngine
from medssr.engines.types import Sampling
from medssr.grpo.advantages import group_advantages, is_nonzero_std
from medssr.grpo.minibatches import make_minibatches
from medssr.grpo.rollouts import Rollout, RolloutGroup, ScoredGroups, make_samples

trl = pytest.importorskip("trl", reason="TRL is not installed: make test-export")

G = 4
REWARDS = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])


@pytest.fixture
def groups(policy, questions) -> list[RolloutGroup]:
    """Two questions with four sampled completions each."""
    asked = questions[:2]
    prompts = policy.encode(asked, 12, "the built-in questions")
    seeds = [[10 * row + column for column in range(G)] for row in range(2)]
    completions = HFEngine(policy, 64).generate(prompts, seeds, Sampling(1.0, 12))
    return [
        RolloutGroup(question, prompt, list(map(rollout_of(question), row, rewards)))
        for question, prompt, row, rewards in zip(asked, prompts, completions, REWARDS.tolist(), strict=True)
    ]


def rollout_of(question):
    def rollout(completion, reward):
        return Rollout(completion, extract_choice(completion.text, question.options), reward, reward)

    return rollout


def gradient(model) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def medssr_step(policy, groups):
    config = grpo_config(num_generations=G, max_new_tokens=12, beta=0.0, loss_values={"dual_clip": None})
    module = make_module(policy, config, None, None)
    samples = make_samples(groups)
    scored = ScoredGroups(groups, samples, REWARDS, is_nonzero_std(REWARDS))
    (minibatch,) = make_minibatches(scored, group_advantages(REWARDS, "group"), module.objective.policy_loss, config)
    total = 0.0
    policy.model.train()
    for micro_batch in module.objective.micro_batches(minibatch):
        loss, _ = module.objective.loss(micro_batch)
        loss.backward()
        total += loss.item()
    return total, gradient(policy.model)


def trl_step(policy, groups, directory):
    from datasets import Dataset

    trainer = trl.GRPOTrainer(
        model=policy.model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        processing_class=policy.tokenizer,
        train_dataset=Dataset.from_dict({"prompt": ["x"]}),
        args=trl.GRPOConfig(
            output_dir=str(directory),
            use_cpu=True,
            report_to=[],
            loss_type="dapo",
            epsilon_high=0.28,
            beta=0.0,
            num_generations=G,
            per_device_train_batch_size=2 * G,
            max_completion_length=12,
            bf16=False,
            gradient_checkpointing=False,
        ),
    )
    rows = [(group.prompt_ids, rollout.completion.token_ids) for group in groups for rollout in group.rollouts]
    width, length = max(len(prompt) for prompt, _ in rows), max(len(ids) for _, ids in rows)
    pad = policy.tokenizer.pad_token_id
    inputs = {
        "prompt_ids": torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt, _ in rows]),
        "prompt_mask": torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt, _ in rows]),
        "completion_ids": torch.tensor([ids + [pad] * (length - len(ids)) for _, ids in rows]),
        "completion_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for _, ids in rows]),
        "advantages": group_advantages(REWARDS, "group").flatten(),
        "num_items_in_batch": torch.tensor(sum(len(ids) for _, ids in rows)),
    }
    trainer.current_gradient_accumulation_steps = 1  # set by its training loop
    trainer.model.train()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.item(), gradient(trainer.model)


def test_one_step_has_the_loss_and_the_gradient_of_trl(policy, groups, tmp_path):
    other = deepcopy(policy)
    loss, ours = medssr_step(policy, groups)
    expected_loss, theirs = trl_step(other, groups, tmp_path)
    assert loss == pytest.approx(expected_loss, abs=1e-6)
    assert theirs.norm() > 0.1
    assert (ours - theirs).norm() < 1e-3 * theirs.norm()
