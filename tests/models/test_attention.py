"""Packed rows against padded ones, for every family that takes them."""

import json
from copy import deepcopy

import pytest
import torch
from support.helpers import ARCHITECTURE, random_policy
from transformers import AutoConfig, AutoModelForCausalLM

from medssr.models.attention import FAMILIES, adopt_attention, takes_blocks
from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import completion_logps_and_entropies, packed_logps
from medssr.models.packing import pack_rollouts

# Three prompts; unlike lengths, so that attention needs several blocks; one completion of a single token.
PROMPTS = [[7, 8, 9, 10, 11], [12], [7, 8, 9, 10, 11], [13, 14], [7, 8, 9, 10, 11], [12]]
COMPLETIONS = [list(range(20, 20 + length)) for length in (9, 4, 1, 30, 8, 2)]
MASK = pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0).completion_mask
FACTORS = torch.randn(MASK.shape, generator=torch.Generator().manual_seed(0)) * MASK
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1}


def model_of(family, **settings):
    settings = ARCHITECTURE | {"sliding_window": None} | (MOE if family == "qwen3_moe" else {}) | settings
    config = AutoConfig.for_model(family, vocab_size=320, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def run(model, get_logps):
    """Log-probs and entropies of the completions, and the gradient of a weighted sum of the former."""
    model.zero_grad()
    logps, entropies = get_logps()
    (logps * FACTORS).sum().backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
    return logps.detach() * MASK, entropies * MASK, gradient


def padded(model):
    batch = pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0)
    return run(model, lambda: completion_logps_and_entropies(model, batch, 0.9))


def packed(model, chunk_tokens=None):
    row = pack_rollouts(PROMPTS, COMPLETIONS, has_blocks=takes_blocks(model))
    return run(model, lambda: packed_logps(model, row, 0.9, chunk_tokens, has_entropies=True))


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("chunk_tokens", [None, 7])
def test_packed_rows_have_the_log_probs_entropies_and_gradients_of_padded_ones(family, chunk_tokens):
    model = model_of(family)
    logps, entropies, gradient = padded(model)
    assert adopt_attention(model)
    found_logps, found_entropies, found_gradient = packed(model, chunk_tokens)
    torch.testing.assert_close(found_logps, logps, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found_entropies, entropies, rtol=1e-5, atol=1e-5)
    assert ((found_gradient - gradient).norm() / gradient.norm()).item() < 1e-6


@pytest.fixture
def eager_flex(monkeypatch):
    """FlexAttention in its eager form, which has gradients on a CPU too, though torch refuses them there."""
    monkeypatch.setattr(torch.nn.attention.flex_attention, "_validate_device", lambda *_: None)
    monkeypatch.setattr(torch.nn.attention.flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_mask_by_tiles_has_the_log_probs_and_gradients_of_blocks(family, eager_flex):
    model = model_of(family)
    by_tiles = deepcopy(model)
    by_tiles.config._attn_implementation = "flex_attention"
    assert adopt_attention(model)
    assert adopt_attention(by_tiles)
    assert takes_blocks(model)
    assert not takes_blocks(by_tiles)
    for actual, value in zip(packed(by_tiles), packed(model), strict=True):
        assert ((actual - value).norm() / value.norm()).item() < 1e-5


def test_rows_that_are_not_packed_are_computed_as_with_sdpa(policy):
    by_tiles = deepcopy(policy.model)
    by_tiles.config._attn_implementation = "flex_attention"
    assert adopt_attention(by_tiles)
    for actual, value in zip(padded(by_tiles), padded(policy.model), strict=True):
        assert torch.equal(actual, value)


def test_activation_checkpointing_changes_nothing(any_policy):
    model = any_policy.model.train()
    assert adopt_attention(model)
    expected = packed(model)
    model.gradient_checkpointing_enable()
    for actual, value in zip(packed(model), expected, strict=True):
        assert torch.equal(actual, value)


def test_packed_rows_go_with_autocast(any_policy):
    model = any_policy.model
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = padded(model)
        assert adopt_attention(model)
        actual = packed(model, chunk_tokens=7)
    assert (actual[0] - expected[0]).abs().max() < 0.2  # of bfloat16; a wrong token is off by several nats
    assert torch.nn.functional.cosine_similarity(actual[2], expected[2], dim=0) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_batches_that_are_not_packed_stay_as_they_were(family):
    plain = model_of(family)
    adopted = deepcopy(plain)
    assert adopt_attention(adopted)
    for actual, value in zip(padded(adopted), padded(plain), strict=True):
        assert torch.equal(actual, value)


def test_a_token_after_others_attends_as_before(any_policy):
    """Queries that share a key head are folded, and keys are not repeated; here row 1 begins with padding."""
    adopted = deepcopy(any_policy.model)
    assert adopt_attention(adopted)
    ids, mask = torch.tensor([[5, 6, 7, 8], [0, 0, 9, 10]]), torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])

    def last_logits(model):
        with torch.no_grad():
            cache = model(ids[:, :3], attention_mask=mask[:, :3], use_cache=True).past_key_values
            positions = mask.sum(dim=1, keepdim=True) - 1
            return model(ids[:, 3:], attention_mask=mask, position_ids=positions, past_key_values=cache).logits

    torch.testing.assert_close(last_logits(adopted), last_logits(any_policy.model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "settings"),
    [("gemma2", {}), ("gpt_neox", {}), ("mistral", {"sliding_window": 4})],
    ids=["logits that are changed", "unknown family", "sliding window"],
)
def test_other_models_stay_as_they_are(family, settings):
    model = model_of(family, **settings)
    before = model.config._attn_implementation
    assert not adopt_attention(model)
    assert model.config._attn_implementation == before


def test_the_user_s_own_attention_stays(policy):
    policy.model.set_attn_implementation("eager")
    assert not adopt_attention(policy.model)
    assert policy.model.config._attn_implementation == "eager"


def test_a_checkpoint_does_not_name_the_attention(tmp_path):
    policy = random_policy("qwen3")
    assert adopt_attention(policy.model)
    policy.save(tmp_path)
    assert "medssr" not in json.dumps(json.loads((tmp_path / "config.json").read_text(encoding="utf-8")))
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"
