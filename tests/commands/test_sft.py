"""Tests medssr-sft from random weights, with phrases as tokens, and then from the resulting model."""

from __future__ import annotations

import pytest
from support.helpers import typed
from transformers import AutoModelForCausalLM, AutoTokenizer

from medssr.commands.sft import sft

pytestmark = pytest.mark.slow

QUICK = ["sft.num_steps=2", "sft.num_rows_per_step=4", "demonstrations.num_rows=200", "extras.progress_bar=false"]


def test_a_writer_is_made_and_trained_further(tmp_path):
    def made(*overrides):
        return sft(typed("sft", *overrides, *QUICK, f"paths.root_dir={tmp_path}")).path("model")

    first = made("experiment=tiny_writer", "scratch.architecture.hidden_size=32")
    second = made("experiment=tiny_writer_reading", f"model.path={first}")
    tokenizer = AutoTokenizer.from_pretrained(second)
    assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(first).get_vocab()
    assert [tokenizer.decode(token) for token in tokenizer('A": "Fabry disease"}}')["input_ids"]][-2:] == [
        "Fabry disease",
        '"}}',
    ]
    before, after = (AutoModelForCausalLM.from_pretrained(folder) for folder in (first, second))
    assert len(tokenizer) == after.config.vocab_size <= 2048
    assert any((old != new).any() for old, new in zip(before.parameters(), after.parameters(), strict=True))
