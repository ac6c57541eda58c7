"""Tests models that are sharded over two processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from support.helpers import random_policy, typed
from support.sharded_models import in_processes, sharded
from transformers import AutoModelForCausalLM

from medssr.config import Dtype, ModelConfig
from medssr.errors import InputError
from medssr.models.batching import pad_rollouts
from medssr.models.loading import empty_model, load_model, stored_dtype
from medssr.models.logprobs import completion_logits, completion_logps
from medssr.models.policy import Policy, load_policy
from medssr.models.sharding import call_as_forward, full_weight

pytestmark = pytest.mark.slow

DTYPES = (torch.float32, torch.bfloat16)
PROMPTS, COMPLETIONS = [[5, 6, 7], [9, 4]], [[8, 9], [3, 11, 12]]


def config_of(folder: Path, **changes: Any) -> ModelConfig:
    config: ModelConfig = typed("evaluate", f"model.path={folder}").model
    return replace(config, **changes)


def checkpoint(
    folder: Path, dtype: torch.dtype, family: str = "qwen3", max_file_size: str = "5GB", **architecture: Any
) -> ModelConfig:
    """Writes a model with random weights, and returns its configuration."""
    policy = random_policy(family, **architecture)
    policy.model.to(dtype).save_pretrained(folder, max_shard_size=max_file_size)
    policy.tokenizer.save_pretrained(folder)
    return config_of(folder)


@pytest.fixture
def checkpoints(tmp_path: Path) -> dict[str, ModelConfig]:
    """Checkpoints that differ in what can go wrong: tied weights, several files, number formats."""
    untied = {"tie_word_embeddings": False}
    found = {
        "tied": checkpoint(tmp_path / "tied", torch.bfloat16),
        "untied, several files": checkpoint(
            tmp_path / "files", torch.float32, max_file_size="20KB", num_hidden_layers=3, **untied
        ),
        "llama, uneven": checkpoint(tmp_path / "llama", torch.float16, "llama", intermediate_size=63, **untied),
    }
    assert len(list((tmp_path / "files").glob("*.safetensors"))) > 2
    mixed = json.loads((tmp_path / "files" / "config.json").read_text())
    (tmp_path / "files" / "config.json").write_text(json.dumps(mixed | {"dtype": "bfloat16"}))  # not what is stored
    return found


def check_weights(rank: int, configs: list[ModelConfig], folder: Path) -> None:
    """Compares sharded models with whole ones, and saves them."""
    for number, config in enumerate(configs):
        batch = pad_rollouts(PROMPTS, COMPLETIONS, 0, torch.device("cpu"))
        for model, dtype in zip(sharded(config, *DTYPES, load_whole=whole_on_first(rank, config)), DTYPES, strict=True):
            expected = load_model(config, dtype)
            assert {weight.dtype for weight in model.parameters()} == {dtype}
            assert all(weight.to_local().numel() < weight.numel() for weight in model.parameters() if len(weight) > 1)
            weights, expected_weights = model.state_dict(), expected.state_dict()
            assert weights.keys() == expected_weights.keys()
            for name, weight in expected_weights.items():
                assert torch.equal(full_weight(weights[name]), weight), name
            for (name, buffer), (other, values) in zip(model.named_buffers(), expected.named_buffers(), strict=True):
                assert name == other
                assert torch.equal(buffer, values), name
                assert buffer.dtype is values.dtype
            assert model.generation_config.to_dict() == expected.generation_config.to_dict()
            if dtype is torch.float32:
                check_passes(model, expected, batch)
        tokenizer = load_policy(config).tokenizer
        (model,) = sharded(config, torch.float32)
        for save_dtype in (Dtype.float32, Dtype.bfloat16):
            Policy(model, tokenizer, "{question}", save_dtype=save_dtype).save(folder / f"{number}-{save_dtype.value}")


def whole_on_first(rank: int, config: ModelConfig) -> Any:
    """Returns the loader of the whole model, which no other process than the first may call."""

    def load() -> Any:
        assert rank == 0
        return load_model(config, stored_dtype(config))

    return load


def check_passes(model: Any, expected: Any, batch: Any) -> None:
    """Compares log-probs and gradients by each way to the head: in chunks beside it, and through it."""
    for compute in (
        lambda model: completion_logps(model, batch, 1.0, chunk_tokens=2),
        lambda model: completion_logits(model, batch, 1.0).log_softmax(dim=-1),
    ):
        with torch.no_grad():
            torch.testing.assert_close(call_as_forward(model, compute), compute(expected), rtol=1e-5, atol=1e-6)
        # Nothing stays gathered after a pass without a backward pass, as the reference makes them.
        assert all(hasattr(weight, "full_tensor") for weight in model.parameters())
        model.zero_grad()
        expected.zero_grad()
        values, expected_values = call_as_forward(model, compute), compute(expected)
        values.sum().backward()
        expected_values.sum().backward()
        for (name, weight), other in zip(model.named_parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(full_weight(weight.grad), other.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_sharded_models_are_the_whole_ones_and_are_saved_in_the_chosen_dtype(tmp_path, checkpoints):
    in_processes(2, check_weights, tmp_path, list(checkpoints.values()), tmp_path / "saved")
    for number, config in enumerate(checkpoints.values()):
        for dtype in DTYPES:
            name = str(dtype).removeprefix("torch.")
            folder = tmp_path / "saved" / f"{number}-{name}"
            assert json.loads((folder / "config.json").read_text())["dtype"] == name
            assert stored_dtype(config_of(folder)) is dtype
            loaded = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
            assert loaded.dtype is dtype
            expected = load_model(config, torch.float32).state_dict()
            assert loaded.state_dict().keys() == expected.keys()
            assert all(torch.equal(weight, expected[key].to(dtype)) for key, weight in loaded.state_dict().items())
            with safe_open(folder / "model.safetensors", framework="pt") as weights:
                is_tied = config.path.endswith("/tied")
                assert ("lm_head.weight" in weights.keys()) is not is_tied  # noqa: SIM118
            assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_the_stored_dtype_holds_every_weight(checkpoints):
    dtypes = {name: stored_dtype(config) for name, config in checkpoints.items()}
    assert dtypes == {
        "tied": torch.bfloat16,
        "untied, several files": torch.float32,  # whatever config.json says
        "llama, uneven": torch.float16,
    }


@pytest.mark.parametrize("name", ["tied", "untied, several files"])
def test_damaged_weights_are_found_by_processes_that_do_not_read_them(checkpoints, name):
    config = checkpoints[name]
    file = max(Path(config.path).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model\.path"):
        empty_model(config, torch.float32)
    file.unlink()
    with pytest.raises(InputError, match=r"model\.path"):
        empty_model(config, torch.float32)
