from __future__ import annotations

from copy import deepcopy

import pytest
from support.exports import PROMPT, QUESTIONS
from support.helpers import toy_question, typed
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from medssr.errors import InputError
from medssr.exporting.conversations import chat_token_ids, export_prompts, with_chat_template
from medssr.models.prompts import prompt_messages
from medssr.questions import Question

pytestmark = pytest.mark.slow


def test_the_exported_tokenizer_makes_the_policy_s_prompts(exported):
    tokenizer = AutoTokenizer.from_pretrained(exported.directory / "tokenizer")
    token_ids = [chat_token_ids(prompt_messages(question, PROMPT, tokenizer), tokenizer) for question in QUESTIONS]
    assert token_ids == exported.prompts


def test_turns_without_a_chat_template_stand_one_below_the_other(policy):
    tokenizer = deepcopy(policy.tokenizer)
    tokenizer.chat_template = None
    messages = [{"role": role, "content": text} for role, text in (("user", "a"), ("assistant", "b"), ("user", "c"))]
    rendered = with_chat_template(tokenizer).apply_chat_template(messages, tokenize=False)
    assert rendered == "a\n\nb\n\nc\n"
    assert tokenizer.chat_template is None  # the original is as it was


def test_a_tokenizer_that_no_chat_template_can_follow_is_refused(policy, tmp_path):
    """It puts a token after each text, which its chat template could only write where the token has a name."""
    tokenizer = deepcopy(policy.tokenizer)
    tokenizer.chat_template = None
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|im_end|>", special_tokens=[("<|im_end|>", tokenizer.eos_token_id)]
    )
    policy.model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    config = typed("export", f"model.path={tmp_path / 'model'}").model
    with pytest.raises(InputError, match=r'model\.path.*"q0"'):
        export_prompts([toy_question()], config, 16, "toy.jsonl")


def test_a_prompt_without_room_for_the_completion_names_its_question(policy, tmp_path):
    policy.save(tmp_path / "model")
    config = typed("export", f"model.path={tmp_path / 'model'}").model
    long = Question("long", "Which organ? " * 40, {"A": "liver", "B": "heart"}, "A", "toy")
    with pytest.raises(InputError, match=r'toy\.jsonl.*"long"'):
        export_prompts([toy_question(), long], config, 200, "toy.jsonl")


def test_every_end_token_is_known(policy, tmp_path):
    policy.model.generation_config.eos_token_id = [5, 1]
    policy.save(tmp_path / "model")
    config = typed("export", f"model.path={tmp_path / 'model'}").model
    exported = export_prompts([toy_question()], config, 16, "toy.jsonl")
    assert exported.eos_token_ids == sorted({5, 1, policy.tokenizer.eos_token_id})
    (tmp_path / "model" / "generation_config.json").unlink()
    assert export_prompts([toy_question()], config, 16, "toy.jsonl").eos_token_ids == [policy.tokenizer.eos_token_id]
