"""Adapters: which weights are trained, which stay frozen, what is saved, and what rounding does to them."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from support.adapters import CONFIG, IDS, adapter_weights, logits, shake
from support.helpers import copy_policy, typed
from transformers import AutoModelForCausalLM

import medssr
from medssr.config import Dtype, LoRAConfig
from medssr.errors import InputError
from medssr.models.lora import add_adapters, initial_adapters, keep_initial_adapters, kept_share, merged_weights
from medssr.models.policy import load_policy, load_trainable_policy

pytestmark = pytest.mark.slow

RESOURCES = Path(medssr.__file__).parent / "resources"
BENCHMARK, TINY = RESOURCES / "questions" / "evaluation.jsonl", RESOURCES / "policies" / "tiny_qwen3"


@pytest.fixture
def base(random_policies):
    return random_policies["qwen3"].model


@pytest.fixture
def adapted(any_policy):
    """A policy whose adapters have been trained a little."""
    add_adapters(any_policy.model, CONFIG, seed=1)
    shake(any_policy.model)
    return any_policy


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
    with initial_adapters(adapted.model):
        assert torch.equal(logits(adapted.model), logits(base))
    assert torch.equal(logits(adapted.model), before)
    assert all(weight.requires_grad == ("lora_" in name) for name, weight in adapted.model.named_parameters())


def test_later_training_begins_with_the_adapters_as_they_were_loaded(adapted):
    """With several named adapters: the copy stays as it is, is not trained, and is not saved."""
    start = logits(adapted.model)
    names = set(adapter_weights(adapted.model))
    keep_initial_adapters(adapted.model)
    assert torch.equal(logits(adapted.model), start)
    trained = {name for name, weight in adapted.model.named_parameters() if weight.requires_grad}
    assert trained == names
    shake(adapted.model)
    after = logits(adapted.model)
    assert not torch.allclose(after, start, atol=1e-3)
    with initial_adapters(adapted.model):
        assert torch.equal(logits(adapted.model), start)
    assert torch.equal(logits(adapted.model), after)
    assert {name for name, weight in adapted.model.named_parameters() if weight.requires_grad} == names


def test_autocast_casts_the_input_of_adapters_once(policy):
    """Without the cast to float32 in between, outputs and gradients are the same bits."""
    model = policy.model.bfloat16()
    add_adapters(model, CONFIG, seed=1)
    shake(model)

    def outputs():
        with torch.autocast("cpu", torch.bfloat16):
            result = model(input_ids=IDS).logits
        model.zero_grad()
        result.float().square().mean().backward()
        return [result, *(weight.grad for weight in model.parameters() if weight.requires_grad)]

    layer = model.model.layers[0].mlp.up_proj
    once = outputs()
    assert not layer.cast_input_dtype_enabled
    logits(model)  # without autocast, layers of bfloat16 and adapters of float32 need the cast
    assert layer.cast_input_dtype_enabled
    for module in model.modules():
        module._forward_pre_hooks.clear()
    assert all(torch.equal(one, other) for one, other in zip(once, outputs(), strict=True))
    assert layer.cast_input_dtype_enabled


# Files.


def model_config(path, *overrides):
    return typed("evaluate", "model=local", f"model.path={path}", *overrides).model


@pytest.fixture
def grid(policy, tmp_path):
    """The folder of a base model whose weights are numbers of bfloat16."""
    policy.model.bfloat16()
    policy.save(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def slightly_changed(grid):
    """A policy on that base with adapters after a step of the size of AdamW's first at a learning rate of 1e-5."""
    policy = load_trainable_policy(model_config(grid), CONFIG, 1)
    shake(policy.model, size=1e-5)
    return policy


def test_base_and_adapters_are_the_trained_model_and_a_rounded_merge_is_not(slightly_changed, grid, tmp_path, caplog):
    """The first step of a training at a small learning rate, which a merge in bfloat16 mostly undoes."""
    slightly_changed.save(tmp_path / "model")
    trained = logits(slightly_changed.model).log_softmax(-1)
    change = trained - logits(load_policy(model_config(grid)).model).log_softmax(-1)

    loaded = load_policy(model_config(grid, f"model.adapter_path={tmp_path / 'model' / 'adapter'}"))
    assert torch.equal(logits(loaded.model).log_softmax(-1), trained)
    assert not any(weight.requires_grad for weight in loaded.model.parameters())

    assert not caplog.records
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype="auto")
    assert merged.dtype == torch.float32  # as config.json says
    error = logits(merged).log_softmax(-1) - trained
    assert error.norm() < 0.01 * change.norm()

    rounded = load_policy(model_config(tmp_path / "model", "model.dtype=bfloat16")).model.float()
    error = logits(rounded).log_softmax(-1) - trained
    assert error.norm() > 0.5 * change.norm()
    assert kept_share(slightly_changed.model, torch.bfloat16) < 0.2
    assert kept_share(slightly_changed.model, torch.float32) == pytest.approx(1, abs=1e-3)
    (warning,) = caplog.records
    assert "model.dtype=bfloat16 rounds small changes" in warning.getMessage()

    # Who chooses 16 bits for the merged file is told what is left.
    share = replace(slightly_changed, save_dtype=Dtype.bfloat16).save(tmp_path / "rounded")
    assert share == kept_share(slightly_changed.model, torch.bfloat16)
    assert f"rounding to torch.bfloat16 kept {100 * share:.0f}%" in caplog.messages[-1]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "rounded", dtype="auto").dtype == torch.bfloat16


def test_the_kept_share_is_computed_by_hand(policy):
    """Weights of 1 with changes of 1/128, the distance of numbers of bfloat16 there, and of a quarter of it."""
    add_adapters(policy.model, LoRAConfig(rank=1, alpha=2, target_modules=["up_proj"]), seed=1)
    for layer in policy.model.model.layers:
        adapted, half = layer.mlp.up_proj, layer.mlp.up_proj.out_features // 2
        with torch.no_grad():
            adapted.base_layer.weight.fill_(1.0)
            adapted.lora_A["default"].weight.fill_(1.0)
            adapted.lora_B["default"].weight[:half] = 1 / 256  # alpha / rank is 2
            adapted.lora_B["default"].weight[half:] = 1 / 1024
    assert kept_share(policy.model, torch.bfloat16) == pytest.approx(16 / 17)
    assert kept_share(policy.model, torch.float32) == 1


def test_adapters_that_change_nothing_lose_nothing(policy):
    add_adapters(policy.model, CONFIG, seed=1)
    assert kept_share(policy.model, torch.bfloat16) == 1


def test_training_goes_on_with_adapters_of_a_folder(slightly_changed, grid, tmp_path):
    slightly_changed.save(tmp_path / "model")
    config = model_config(grid, f"model.adapter_path={tmp_path / 'model' / 'adapter'}")
    continued = load_trainable_policy(config, CONFIG, seed=2)
    expected = adapter_weights(slightly_changed.model)
    assert all(torch.equal(weight, expected[name]) for name, weight in adapter_weights(continued.model).items())
    assert all(weight.requires_grad == ("lora_" in name) for name, weight in continued.model.named_parameters())


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        (LoRAConfig(8, 16, None), r"lora\.rank: 8 with lora\.alpha=16, .* which have rank 4 and alpha 8"),
        (LoRAConfig(4, 16, None), r"lora\.rank: 4 with lora\.alpha=16"),
        (LoRAConfig(4, 8, ["q_proj"]), r"layers\.0\.mlp\.down_proj\.lora_A\.weight is \[.*\] in the file and absent"),
    ],
    ids=["rank", "scale", "layers"],
)
def test_training_goes_on_with_the_same_adapters_alone(slightly_changed, grid, tmp_path, lora, message):
    slightly_changed.save(tmp_path / "model")
    config = model_config(grid, f"model.adapter_path={tmp_path / 'model' / 'adapter'}")
    with pytest.raises(InputError, match=message):
        load_trainable_policy(config, lora, seed=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["no_such"]}, "names layers that the model does not have"),
        ({"r": 2}, r"\[4, .*\] in the file and \[2, .*\] in the model"),
        ({"use_dora": True}, "has use_dora; plain LoRA"),
        ({"target_modules": ".*_proj"}, "no list of names"),
        (None, "no such file, so no adapters"),
    ],
    ids=["layers", "rank", "variant", "pattern", "file"],
)
def test_adapters_that_cannot_be_used_are_refused(slightly_changed, grid, tmp_path, settings, message):
    folder = tmp_path / "model" / "adapter"
    slightly_changed.save(tmp_path / "model")
    file = folder / "adapter_config.json"
    if settings is None:
        file.unlink()
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    with pytest.raises(InputError, match=message) as refusal:
        load_policy(model_config(grid, f"model.adapter_path={folder}"))
    assert "model.adapter_path" in str(refusal.value)


def test_without_lora_adapters_are_no_start_of_a_training():
    with pytest.raises(InputError, match=r"model\.adapter_path: some/folder, but without lora all weights are trained"):
        typed("train", "data.path=unused.jsonl", "model.adapter_path=some/folder")


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
