"""Training of adapters: which weights change, gradients, the KL to the model without them, resuming, the command."""

from __future__ import annotations

import csv
from copy import deepcopy
from functools import partial
from pathlib import Path

import peft
import pytest
import torch
from support.adapters import CONFIG, adapter_weights, logits, shake
from support.grpo_runs import EvenTokens, fit, make_module, metrics
from support.helpers import copy_policy, grpo_config, policy_loss, typed
from torch.optim import AdamW
from transformers import AutoModelForCausalLM

import medssr
from medssr.commands.checkpoint_settings import read_trained
from medssr.commands.train import train
from medssr.config import KLEstimator, KLPlacement
from medssr.grpo.objective import MicroBatch, Objective
from medssr.grpo.rollouts import Sample
from medssr.models.lora import add_adapters, initial_adapters
from medssr.questions import read_questions, write_questions

pytestmark = pytest.mark.slow

RESOURCES = Path(medssr.__file__).parent / "resources"
BENCHMARK, TINY = RESOURCES / "questions" / "evaluation.jsonl", RESOURCES / "policies" / "tiny_qwen3"


@pytest.fixture
def base(random_policies):
    return random_policies["qwen3"].model


def lora_module(policy, config, optimizer=partial(AdamW, lr=1e-2)):  # noqa: B008
    add_adapters(policy.model, CONFIG, seed=1)
    module = make_module(policy, config, EvenTokens(), optimizer)
    if config.beta > 0:
        module.objective.reference = policy.model
    return module


def test_training_changes_the_adapters_alone(policy, base, tmp_path):
    module = lora_module(policy, grpo_config(beta=0.1))
    before = adapter_weights(policy.model)
    fit(policy, tmp_path, module=module)
    after = adapter_weights(policy.model)
    assert all(not torch.equal(before[name], after[name]) for name in before)
    with initial_adapters(policy.model):
        assert torch.equal(logits(policy.model), logits(base))


@pytest.mark.parametrize("head_chunk_tokens", [None, 3])
def test_gradients_flow_into_every_adapter(policy, head_chunk_tokens):
    module = lora_module(policy, grpo_config(beta=0.1, head_chunk_tokens=head_chunk_tokens))
    shake(policy.model)
    rows = [row(number) for number in range(3)]
    module.objective.compute_ref_and_old_logps(rows, has_old=True)
    loss, _ = module.objective.loss(MicroBatch(rows, torch.tensor([1.0, -1.0, 0.5]), 9.0, is_last=True))
    loss.backward()
    for name, weight in policy.model.named_parameters():
        assert (weight.grad is not None and weight.grad.abs().max() > 0) == ("lora_" in name), name


def row(number: int) -> Sample:
    ids = [5 + number, 9, 30 + 2 * number]
    return Sample(f"q{number}", [7, 8, 40 + number], ids, torch.zeros(len(ids)))


@pytest.mark.parametrize("placement", KLPlacement)
def test_the_kl_to_the_model_without_adapters_is_that_to_a_copy(policy, base, placement):
    config = grpo_config(beta=0.1, kl_placement=placement, kl_estimator=KLEstimator.k3)
    module = lora_module(policy, config)
    shake(policy.model)
    samples, expected = [row(number) for number in range(3)], [row(number) for number in range(3)]
    module.objective.compute_ref_and_old_logps(samples, has_old=True)
    copied = Objective(policy.model, deepcopy(base), policy_loss("dapo"), policy.tokenizer.pad_token_id, config)
    copied.compute_ref_and_old_logps(expected, has_old=True)
    for sample, expected_sample in zip(samples, expected, strict=True):
        torch.testing.assert_close(sample.ref_logps, expected_sample.ref_logps, rtol=0, atol=0)
        torch.testing.assert_close(sample.old_logps, expected_sample.old_logps, rtol=0, atol=0)
        assert not torch.equal(sample.ref_logps, sample.old_logps)


def test_an_interrupted_run_ends_with_the_same_bits(random_policies, tmp_path):
    def run(folder, num_steps):
        policy = copy_policy(random_policies["qwen3"])
        config = grpo_config(num_steps=num_steps, beta=0.1)
        fit(policy, tmp_path / folder, config, module=lora_module(policy, config))
        return adapter_weights(policy.model)

    whole = run("whole", 4)
    run("parts", 2)
    resumed = run("parts", 4)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")


def test_checkpoints_hold_no_frozen_weights(policy, tmp_path):
    fit(policy, tmp_path, module=lora_module(policy, grpo_config()))
    checkpoint = torch.load(tmp_path / "checkpoints" / "step_0000003.ckpt", weights_only=True)
    assert checkpoint["state_dict"]
    assert all(".lora_" in name for name in checkpoint["state_dict"])


def test_the_command_saves_a_merged_model_and_the_adapters(tmp_path):
    """The next stage trains the adapters further, and the policy that it starts with is its reference."""
    rare = [question for question in read_questions(BENCHMARK) if question.is_rare][:4]
    write_questions(tmp_path / "questions.jsonl", rare)

    def stage(*overrides):
        return train(
            typed(
                "train",
                "trainer=cpu",
                "logger=csv",
                "lora=default",
                "lora.rank=4",
                "grpo.num_steps=1",
                "grpo.num_prompts_per_step=4",
                "grpo.beta=0.1",
                "optim.optimizer.lr=1e-2",
                "optim.scheduler.num_warmup_steps=0",
                f"data.path={tmp_path / 'questions.jsonl'}",
                f"paths.root_dir={tmp_path}",
                "extras.progress_bar=false",
                *overrides,
            )
        )

    first = stage()
    start = AutoModelForCausalLM.from_pretrained(TINY)
    merged = AutoModelForCausalLM.from_pretrained(first.path("model"))
    assert not torch.equal(logits(merged), logits(start))
    read = peft.PeftModel.from_pretrained(start, first.path("model") / "adapter")
    torch.testing.assert_close(logits(merged), logits(read), rtol=1e-5, atol=1e-4)

    trained = read_trained(first.directory).model
    assert (trained.path, trained.adapter_path) == (str(TINY), str(first.path("model") / "adapter"))
    second = stage("stage=stage2_sup", "grpo.num_steps=2", f"model.adapter_path={trained.adapter_path}")
    with second.path("metrics.csv").open(encoding="utf-8") as stream:
        kls = [float(row["train/kl"]) for row in csv.DictReader(stream)]
    assert kls[0] == pytest.approx(0, abs=1e-9)
    assert kls[1] > 1e-6
    both = AutoModelForCausalLM.from_pretrained(second.path("model"))
    read = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(TINY), second.path("model") / "adapter")
    torch.testing.assert_close(logits(both), logits(read), rtol=1e-5, atol=1e-4)
    assert not torch.allclose(logits(both), logits(merged), atol=1e-3)
