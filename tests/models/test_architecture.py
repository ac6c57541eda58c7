"""Numbers of weights by the architecture, against released totals and against the weights themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import peft
import pytest
from support.helpers import random_policy, typed
from transformers import AutoConfig, AutoModelForCausalLM

from medssr.config import LoRAConfig
from medssr.config.catalog import CONF_DIR
from medssr.errors import InputError
from medssr.models.architecture import architecture_of, from_config, num_stored_parameters
from medssr.models.lora import add_adapters
from medssr.models.meta_model import MeasuredModel, measured

PRESETS = sorted({file.stem for file in (CONF_DIR / "model").glob("*.yaml")} - {"local", "real", "gguf"})
# Sums of the tensors in the released checkpoints.
RELEASED = {
    "qwen3_1_7b_base": 1_720_574_976,
    "qwen3_4b_base": 4_022_468_096,
    "qwen3_8b_base": 8_190_735_360,
    "qwen3_14b_base": 14_768_307_200,
    "qwen3_30b_a3b_base": 30_532_122_624,
    "llama32_3b_instruct": 3_212_749_824,
    "llama31_8b_instruct": 8_030_261_248,
    "tiny_qwen3": 1_115_520,
    "tiny_llama": 1_115_264,
    "tiny_writer": 614_464,
}


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_the_formula_gives_the_number_of_weights_of_every_preset(preset):
    model = typed("evaluate", f"model={preset}").model
    architecture = architecture_of(model.path)
    assert architecture is not None
    assert architecture.num_parameters == RELEASED[preset]
    if Path(model.path).is_dir():
        assert num_stored_parameters(Path(model.path)) == RELEASED[preset]


@pytest.mark.parametrize(
    ("family", "fields"),
    [("qwen3", {}), ("llama", {}), ("qwen3", {"tie_word_embeddings": False}), ("llama", {"num_key_value_heads": 4})],
)
def test_the_formula_counts_the_weights_of_a_real_model(family, fields, tmp_path):
    policy = random_policy(family, **fields)
    policy.save(tmp_path)
    counted = from_config(json.loads((tmp_path / "config.json").read_text()))
    assert counted is not None
    assert counted.num_parameters == policy.model.num_parameters() == num_stored_parameters(tmp_path)


def test_the_formula_counts_experts():
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    config = Qwen3MoeConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        moe_intermediate_size=16,
        num_experts=6,
        num_experts_per_tok=2,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    counted = from_config(config.to_dict())
    assert counted is not None
    assert counted.num_parameters == Qwen3MoeForCausalLM(config).num_parameters()


@pytest.mark.parametrize("modules", [None, ["q_proj", "down_proj"]])
def test_the_formula_counts_adapters(modules, tmp_path):
    policy = random_policy("qwen3")
    policy.save(tmp_path)
    architecture = architecture_of(str(tmp_path))
    assert architecture is not None
    add_adapters(policy.model, LoRAConfig(rank=4, alpha=8, target_modules=modules), seed=0)
    trained = sum(weight.numel() for weight in policy.model.parameters() if weight.requires_grad)
    assert architecture.num_adapter_parameters(4, modules) == trained


SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("qwen2", {}),
        ("gemma2", {"head_dim": 8, "num_key_value_heads": 2}),
        ("phi3", {"num_key_value_heads": 2, "pad_token_id": 0}),
        ("llama", {"attention_bias": True}),
        ("gpt2", {"n_positions": 64}),
    ],
)
def test_a_model_of_another_family_is_measured(family, fields):
    config = AutoConfig.for_model(family, **SIZES, **fields)
    model = AutoModelForCausalLM.from_config(config)
    counted = architecture_of("me/mine", config.to_dict())
    assert isinstance(counted, MeasuredModel)
    assert counted.num_parameters == sum(weight.numel() for weight in model.parameters())
    assert (counted.vocab_size, counted.width, counted.num_layers) == (300, 32, 3)
    policy = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules="all-linear"))
    trained = sum(weight.numel() for weight in policy.parameters() if weight.requires_grad)
    assert counted.num_adapter_parameters(4, None) == trained


@pytest.mark.parametrize("known", ["llama", "qwen3", "qwen3_moe"])
def test_measuring_agrees_with_the_formula(known):
    config = AutoConfig.for_model(known, **SIZES, num_key_value_heads=2, head_dim=8, moe_intermediate_size=16).to_dict()
    formula, counted = from_config(config), measured(config)
    assert formula is not None
    assert counted is not None
    for name in ("vocab_size", "width", "num_layers", "layer_parameters", "num_parameters"):
        assert getattr(formula, name) == getattr(counted, name), name


@pytest.mark.parametrize(
    ("hub_config", "part"),
    [
        ({"vocab_size": 1}, "model.hub_config: has no model_type"),
        ({"model_type": "llama"}, "model.hub_config: lacks num_attention_heads"),
        ({"model_type": "llama", **SIZES, "num_attention_heads": 0}, "model.hub_config: a size is no whole number"),
        ({"model_type": "llama", **SIZES, "vocab_size": "32"}, "model.hub_config: vocab_size is no whole number"),
    ],
)
def test_sizes_that_are_missing_or_wrong_are_named(hub_config, part):
    with pytest.raises(InputError, match=re.escape(part)):
        architecture_of("me/mine", hub_config)


def test_a_family_that_transformers_does_not_know_has_no_size():
    assert architecture_of("me/mine", {"model_type": "no_such_family"}) is None
    assert architecture_of("me/mine", {"model_type": "gemma2", "hidden_size": "wide"}) is None


def test_other_families_are_not_guessed(tmp_path):
    assert from_config({"model_type": "gpt2"}) is None
    assert architecture_of("nobody/nothing") is None
    assert num_stored_parameters(tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize("preset", [preset for preset in PRESETS if not preset.startswith("tiny_")])
def test_the_table_of_models_is_that_of_the_formula(preset):
    page = (CONF_DIR.parent / "docs" / "configs.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{preset}` \|.*$", page, re.M)
    _, name, *numbers = (cell.strip() for cell in row.strip("|").split("|"))
    architecture = architecture_of(name)
    assert architecture is not None
    weights, adapters = architecture.num_parameters, architecture.num_adapter_parameters(32, None)
    expected = [weights / 1e9, 16 * weights / 1e9, 2 * weights / 1e9, (2 * weights + 16 * adapters) / 1e9]
    assert [float(number) for number in numbers[:4]] == [
        round(expected[0], 2),
        *(round(size, 1) for size in expected[1:]),
    ]
    model = typed("evaluate", f"model={preset}").model
    assert model.path == name
    assert numbers[4] == model.cost.gpus


@pytest.mark.parametrize(
    "content", [b"", b"\x05", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"[]", b"\x09" + b"\0" * 7 + b'{"a": {}}']
)
def test_a_cut_file_of_weights_is_named(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors: is cut or no safetensors file"):
        num_stored_parameters(tmp_path)
