"""Adapters: which weights are trained, which stay frozen, and what is saved."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from pathlib import Path

import peft
import pytest
import torch
from support.grpo_runs import EvenTokens, fit, make_module, metrics
from support.helpers import copy_policy, grpo_config, policy_loss, typed
from torch.optim import AdamW
from transformers import AutoModelForCausalLM

import medssr
from medssr.commands.train import train
from medssr.config import KLEstimator, KLPlacement, LoRAConfig
from medssr.errors import InputError
from medssr.grpo.objective import MicroBatch, Objective
from medssr.grpo.rollouts import Sample
from medssr.models.lora import add_adapters, disabled_adapters, merged_weights
from medssr.questions import read_questions, write_questions

pytestmark = pytest.mark.slow

CONFIG = LoRAConfig(rank=4, alpha=8, target_modules=None)
RESOURCES = Path(medssr.__file__).parent / "resources"
BENCHMARK, TINY = RESOURCES / "questions" / "evaluation.jsonl", RESOURCES / "policies" / "tiny_qwen3"
IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])


@pytest.fixture
def base(random_policies):
    return random_policies["qwen3"].model


@pytest.fixture
def adapted(any_policy):
    """A policy whose adapters have been trained a little."""
    add_adapters(any_policy.model, CONFIG, seed=1)
    shake(any_policy.model)
    return any_policy


def shake(model):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn(weight.shape, generator=generator))


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def adapter_weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if "lora_" in name}


def test_new_adapters_change_nothing(policy, base):
    add_adapters(policy.model, CONFIG, seed=1)
    assert torch.equal(logits(policy.model), logits(base))


def test_every_linear_layer_but_the_head_has_an_adapter(policy):
    add_adapters(policy.model, CONFIG, seed=1)
    names = {name.split(".lora_")[0].split(".")[-1] for name in adapter_weights(policy.model)}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_layers_are_chosen_by_name(policy):
    add_adapters(policy.model, LoRAConfig(2, 4, ["q_proj"]), seed=1)
    assert {name.split(".lora_")[0].split(".")[-1] for name in adapter_weights(policy.model)} == {"q_proj"}


def test_an_unknown_layer_is_an_input_error(policy):
    with pytest.raises(InputError, match=r"lora\.target_modules: \['no_such'\]"):
        add_adapters(policy.model, LoRAConfig(2, 4, ["no_such"]), seed=1)


def test_the_first_weights_derive_from_the_seed(random_policies):
    def made(seed):
        policy = copy_policy(random_policies["qwen3"])
        torch.manual_seed(torch.seed())
        add_adapters(policy.model, CONFIG, seed)
        return torch.cat([weight.flatten() for weight in adapter_weights(policy.model).values()])

    assert torch.equal(made(1), made(1))
    assert not torch.equal(made(1), made(2))


def test_a_model_without_its_adapters_is_the_base(adapted, random_policies):
    base = random_policies["llama" if "Llama" in type(adapted.model).__name__ else "qwen3"].model
    before = logits(adapted.model)
    assert not torch.allclose(before, logits(base), atol=1e-3)
    with disabled_adapters(adapted.model):
        assert torch.equal(logits(adapted.model), logits(base))
    assert torch.equal(logits(adapted.model), before)
    assert all(weight.requires_grad == ("lora_" in name) for name, weight in adapted.model.named_parameters())


def test_what_is_saved_is_a_plain_model_with_the_same_logits(adapted, tmp_path):
    adapted.save(tmp_path / "model")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype="float32")
    assert not any("lora" in name or "base_layer" in name for name in merged.state_dict())
    torch.testing.assert_close(logits(merged), logits(adapted.model), rtol=1e-5, atol=1e-5)
    assert not (tmp_path / "model" / "adapter_config.json").exists()


def test_merging_leaves_the_model_as_it_is(adapted):
    before = deepcopy(adapted.model.state_dict())
    merged = dict(merged_weights(adapted.model))
    assert all(torch.equal(before[name], weight) for name, weight in adapted.model.state_dict().items())
    assert not torch.equal(
        merged["model.layers.0.mlp.up_proj.weight"], before["model.layers.0.mlp.up_proj.base_layer.weight"]
    )


def test_the_weights_of_a_plain_model_are_its_own(base):
    assert {name: id(weight) for name, weight in merged_weights(base)}.keys() == base.state_dict().keys()
    assert all(torch.equal(weight, base.state_dict()[name]) for name, weight in merged_weights(base))


def test_weights_are_cast_one_at_a_time(adapted):
    merged, cast = dict(merged_weights(adapted.model)), dict(merged_weights(adapted.model, torch.bfloat16))
    assert {weight.dtype for weight in cast.values()} == {torch.bfloat16}
    assert all(torch.equal(cast[name], weight.bfloat16()) for name, weight in merged.items())


def test_peft_reads_the_adapters(adapted, random_policies, tmp_path):
    base = random_policies["llama" if "Llama" in type(adapted.model).__name__ else "qwen3"].model
    adapted.save(tmp_path / "model")
    read = peft.PeftModel.from_pretrained(deepcopy(base), tmp_path / "model" / "adapter")
    torch.testing.assert_close(logits(read), logits(adapted.model), rtol=1e-6, atol=1e-6)


# In training.


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
    with disabled_adapters(policy.model):
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
    """The next stage starts from the merged model, with new adapters."""
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
    second = stage("stage=stage2_sup", f"model.path={first.path('model')}")
    assert not torch.equal(logits(AutoModelForCausalLM.from_pretrained(second.path("model"))), logits(merged))
