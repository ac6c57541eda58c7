import json
import shutil
from dataclasses import replace

import pytest
import torch
from support.helpers import LetterEngine, grpo_config, policy_loss, toy_question
from transformers import PreTrainedModel

from medssr.config import Dtype, LoRAConfig, ModelConfig
from medssr.errors import InputError
from medssr.grpo.minibatches import Sample
from medssr.grpo.objective import MicroBatch, Objective
from medssr.models.device import use_gpu
from medssr.models.policy import load_policy, load_reference, load_trainable_policy


@pytest.fixture
def prompt_file(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("Answer.\n{question}\n")
    return path


@pytest.fixture
def model_config(prompt_file):
    def model_config(path, dtype=Dtype.float32, **changes):
        values = {
            "path": str(path),
            "revision": None,
            "adapter_path": None,
            "dtype": dtype,
            "save_dtype": None,
            "attn_implementation": "sdpa",
            "trust_remote_code": False,
            "prompt_path": str(prompt_file),
            "chat_template_kwargs": {},
            "stop": [],
            "stop_without_template": ["\nQ:"],
            "max_new_tokens": 16,
            "grpo_lr": 1e-6,
            "grpo_adapter_lr": 1e-5,
            "grpo_beta": 0.001,
            "gradient_checkpointing": False,
            "recompute_every": 1,
            "compile_layers": False,
            "liger_kernels": False,
        }
        return ModelConfig(**(values | changes))

    return model_config


@pytest.fixture
def load(model_config):
    return lambda *args, **settings: load_policy(model_config(*args, **settings))


@pytest.fixture
def saved(any_policy, tmp_path):
    any_policy.save(tmp_path / "model")
    return tmp_path / "model"


def test_what_was_saved_is_loaded_again(any_policy, saved, load):
    loaded = load(saved)
    weights, expected = loaded.model.state_dict(), any_policy.model.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    assert loaded.model.config.tie_word_embeddings
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight
    assert loaded.eos_token_ids == any_policy.eos_token_ids
    assert loaded.prompt_template == "Answer.\n{question}"
    for tokenizer in (loaded.tokenizer, any_policy.tokenizer):
        assert tokenizer.pad_token_id == any_policy.tokenizer.pad_token_id
        assert tokenizer.chat_template == any_policy.tokenizer.chat_template
    text = "Sjögren: <|im_end|> ?\n A. "
    assert loaded.tokenizer(text)["input_ids"] == any_policy.tokenizer(text)["input_ids"]


@pytest.mark.slow
def test_prompts_are_the_same_after_a_round_trip(saved, load):
    first = load(saved)
    again = saved.parent / "again"
    first.save(again)
    assert load(again).encode([toy_question()], 10, "x") == first.encode([toy_question()], 10, "x")


def test_several_end_tokens_survive_a_round_trip(policy, tmp_path, load):
    policy.model.generation_config.eos_token_id = [5, 6]
    policy.save(tmp_path / "model")
    assert load(tmp_path / "model").eos_token_ids == {5, 6, policy.tokenizer.eos_token_id}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [Dtype.float32, Dtype.bfloat16])
def test_weights_have_the_number_format_that_was_asked_for(saved, load, dtype):
    assert load(saved, dtype).model.dtype is getattr(torch, dtype.value)


def test_weights_are_safetensors_and_nothing_else(saved):
    assert [path.name for path in saved.iterdir() if path.suffix in (".bin", ".pt", ".pkl")] == []
    assert list(saved.glob("*.safetensors"))


def test_a_tokenizer_without_pad_token_pads_with_its_end_token(policy, tmp_path, load):
    policy.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    loaded.tokenizer.pad_token = None
    loaded.save(tmp_path / "without")
    assert load(tmp_path / "without").tokenizer.pad_token_id == policy.tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("removed", "problem"),
    [
        (["config.json"], r"holds no config\.json"),
        (["*.safetensors"], r"holds no \*\.safetensors"),
        (["tokenizer*"], "holds no tokenizer"),
    ],
)
def test_a_folder_that_lacks_a_part_is_named_with_the_part(saved, load, removed, problem):
    for pattern in removed:
        for path in saved.glob(pattern):
            path.unlink()
    with pytest.raises(InputError, match=problem) as caught:
        load(saved)
    assert str(saved) in str(caught.value)
    assert "model.path" in str(caught.value)


def test_pickled_weights_are_not_read(saved, load):
    (weights,) = saved.glob("*.safetensors")
    weights.rename(saved / "pytorch_model.bin")
    with pytest.raises(InputError, match="safetensors"):
        load(saved)


@pytest.mark.slow
@pytest.mark.parametrize("is_own_class_known", [True, False])
def test_the_code_of_a_model_runs_only_where_it_is_asked_for(saved, load, tmp_path, monkeypatch, is_own_class_known):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    config = json.loads((saved / "config.json").read_text())
    config["auto_map"] = {name: f"code.{name}" for name in ("AutoConfig", "AutoModelForCausalLM")}
    if not is_own_class_known:
        config["model_type"] = "of_its_own"
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "code.py").write_text(f"open({str(tmp_path / 'has_run')!r}, 'w').close()\nraise SystemExit(7)\n")
    if is_own_class_known:  # transformers' own class is taken
        load(saved)
    else:
        with pytest.raises(InputError, match="trust_remote_code"):
            load(saved)
    assert not (tmp_path / "has_run").exists()
    with pytest.raises(SystemExit):
        load(saved, trust_remote_code=True)
    assert (tmp_path / "has_run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_that_was_not_copied_whole_is_an_input_error(saved, load, name):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"model\.path"):
        load(saved)


@pytest.mark.parametrize("name", ["absent", "absent/below"])
def test_a_folder_that_is_not_there_is_an_input_error(tmp_path, load, name):
    with pytest.raises(InputError, match=r"model\.path") as caught:
        load(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_an_absent_prompt_template_is_found_before_the_weights_are_read(saved, load, prompt_file):
    prompt_file.unlink()
    shutil.rmtree(saved)
    with pytest.raises(InputError, match=r"model\.prompt_path"):
        load(saved)


def gradients_of(policy, layer=0):
    """Gradients of a loss of two completions in training mode, by name, and how often a layer ran."""
    policy.model.train()
    calls = []
    hook = policy.model.model.layers[layer].input_layernorm.register_forward_hook(lambda *_: calls.append(1))
    objective = Objective(policy.model, None, policy_loss("dapo"), 0, grpo_config(beta=0.0))
    rows = [Sample("q", [5, 6, 7], [8, 9 + index], torch.zeros(2)) for index in range(2)]
    objective.loss(MicroBatch(rows, torch.tensor([1.0, -0.5]), 4.0, is_last=True))[0].backward()
    hook.remove()
    return {name: weight.grad for name, weight in policy.model.named_parameters()}, len(calls)


@pytest.mark.slow
def test_activation_checkpointing_computes_twice_and_changes_no_gradient(saved, load):
    kept, num_calls = gradients_of(load(saved))
    recomputed, num_calls_again = gradients_of(load(saved, gradient_checkpointing=True))
    assert (num_calls, num_calls_again) == (1, 2)
    for name, gradient in kept.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "num_calls"), [(0, 2), (1, 1)])
def test_every_second_layer_is_recomputed(saved, load, layer, num_calls):
    kept, _ = gradients_of(load(saved))
    found, num_found = gradients_of(load(saved, gradient_checkpointing=True, recompute_every=2), layer)
    assert num_found == num_calls
    for name, gradient in kept.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_what_is_trained_is_float32_unless_it_is_an_adapter(saved, model_config):
    config = model_config(saved, Dtype.bfloat16)
    assert {weight.dtype for weight in load_trainable_policy(config, None, 1).model.parameters()} == {torch.float32}
    adapted = load_trainable_policy(config, LoRAConfig(2, 4, None), 1).model
    assert {weight.dtype for weight in adapted.parameters() if weight.requires_grad} == {torch.float32}
    assert {weight.dtype for weight in adapted.parameters() if not weight.requires_grad} == {torch.bfloat16}


@pytest.mark.gpu
@pytest.mark.parametrize(("fills_gpu", "kind"), [(False, "cuda"), (True, "cpu")])
def test_the_policy_goes_to_a_gpu_that_the_engine_leaves_room_on(saved, load, fills_gpu, kind):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    policy = load(saved)
    engine = LetterEngine(policy)
    engine.fills_gpu = fills_gpu
    use_gpu(policy, is_gpu_free=not engine.fills_gpu)
    assert policy.model.device.type == kind


def test_a_large_model_is_saved_in_several_files_with_an_index(policy, tmp_path, load, monkeypatch):
    monkeypatch.setattr("medssr.models.policy._MAX_FILE_SIZE", "20KB")
    replace(policy, save_dtype=Dtype.bfloat16).save(tmp_path / "model")
    files = {path.name for path in (tmp_path / "model").glob("*.safetensors")}
    index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text())
    assert len(files) > 1
    assert set(index["weight_map"].values()) == files
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    weights = load(tmp_path / "model").model.state_dict()
    for name, weight in policy.model.state_dict().items():
        assert weight.dtype is torch.float32  # saving changes nothing in memory
        assert torch.equal(weights[name], weight.bfloat16().float())


@pytest.mark.slow
def test_the_reference_is_the_start_rounded_once_with_exact_rotary_frequencies(saved, model_config):
    config = model_config(saved, Dtype.bfloat16)
    policy, reference = load_trainable_policy(config, None, 1).model, load_reference(config, is_empty=False)
    assert not any(weight.requires_grad for weight in reference.parameters())
    for weight, rounded in zip(policy.parameters(), reference.parameters(), strict=True):
        assert torch.equal(rounded, weight.bfloat16())
    assert torch.equal(reference.model.rotary_emb.inv_freq, policy.model.rotary_emb.inv_freq)


@pytest.mark.slow
def test_a_transformers_that_cannot_recompute_some_layers_is_named(saved, load, monkeypatch):
    def enable(self, gradient_checkpointing_kwargs=None):
        """As in transformers 5.0."""

    monkeypatch.setattr(PreTrainedModel, "gradient_checkpointing_enable", enable)
    load(saved, gradient_checkpointing=True)
    with pytest.raises(InputError, match=r"model\.recompute_every: 2, .*upgrade transformers"):
        load(saved, gradient_checkpointing=True, recompute_every=2)
