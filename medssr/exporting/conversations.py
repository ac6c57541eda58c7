"""Makes a policy's prompts conversations, with a tokenizer that renders them to exactly the policy's token ids."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssr.config import ModelConfig
from medssr.errors import InputError
from medssr.models.loading import pretrained
from medssr.models.policy import eos_token_ids, load_tokenizer, policy_stop
from medssr.models.prompts import encode_prompts, prompt_messages, read_prompt_template
from medssr.questions import Question

# What render_chat does without a chat template.
_PLAIN_TURNS = (
    "{% for message in messages %}{{ message['content'] }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if not messages[-1]['content'].endswith(':') %}{{ '\\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class ExportedPrompts:
    """What another framework needs to put questions to a policy.

    Attributes:
        conversations: One per question.
        tokenizer: The policy's; its chat template renders each conversation to the policy's own prompt.
        max_tokens: Tokens of the longest prompt.
        eos_token_ids: Every token that ends a completion, ascending.
        stop: The strings that end a completion as well.
    """

    conversations: list[list[dict[str, str]]]
    tokenizer: Any
    max_tokens: int
    eos_token_ids: list[int]
    stop: tuple[str, ...]


def export_prompts(
    questions: Sequence[Question], config: ModelConfig, max_new_tokens: int, source: Path | str
) -> ExportedPrompts:
    """Returns the prompts that the policy of `config` gets in training, for another framework. Loads no weights.

    Args:
        questions: What to ask.
        config: The policy.
        max_new_tokens: The longest completion, which has to fit the context beside each prompt.
        source: The file that the questions are from, for messages.

    Raises:
        InputError: When a prompt is too long, or no chat template gives the tokenizer's plain prompts.
    """
    from transformers import AutoConfig

    template = read_prompt_template(config.prompt_path)
    tokenizer = load_tokenizer(config)
    with pretrained(config) as arguments:
        model_config = AutoConfig.from_pretrained(**arguments)
    room = model_config.max_position_embeddings - max_new_tokens
    wanted = encode_prompts(questions, template, tokenizer, room, source)
    conversations = [prompt_messages(question, template, tokenizer) for question in questions]
    exported = with_chat_template(tokenizer)
    for question, conversation, token_ids in zip(questions, conversations, wanted, strict=True):
        if chat_token_ids(conversation, exported) != token_ids:
            raise InputError(
                f"model.path: no chat template gives the prompts of {config.path} in other frameworks; the prompt of "
                f'question "{question.id}" has other tokens there. Give the tokenizer a chat template.'
            )
    return ExportedPrompts(
        conversations,
        exported,
        max(len(token_ids) for token_ids in wanted),
        sorted(eos_token_ids(_generation_config(config, model_config), tokenizer)),
        policy_stop(config, tokenizer),
    )


def with_chat_template(tokenizer: Any) -> Any:
    """Returns a copy of a tokenizer whose chat template, where it had none, renders the policy's plain prompts."""
    tokenizer = deepcopy(tokenizer)
    if tokenizer.chat_template is None:
        # A base model's tokenizer may put a start token before a text, but not before what a chat template rendered.
        has_start = tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
        tokenizer.chat_template = ("{{ bos_token }}" if has_start else "") + _PLAIN_TURNS
    return tokenizer


def chat_token_ids(conversation: Sequence[dict[str, str]], tokenizer: Any) -> list[int]:
    """Returns the prompt of a conversation as other frameworks make it: by the chat template, straight to tokens."""
    encoded = tokenizer.apply_chat_template(list(conversation), add_generation_prompt=True, return_dict=True)
    token_ids: list[int] = encoded["input_ids"]
    return token_ids


def _generation_config(config: ModelConfig, model_config: Any) -> Any:
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(config.path, revision=config.revision or "main")
    except OSError:  # a checkpoint without one
        return GenerationConfig.from_model_config(model_config)
